"""Checks of the parameters that mechanisms share; every message has one shape and none sees a label."""

import math
import numbers
import operator

EPSILON_LIMIT = 80.0
"""Largest epsilon whose ratio fits a 128-bit word, with room for millions of classes."""

MAX_CLASSES = 2**24


def checked_epsilon(epsilon: object) -> float:
    """Epsilon as a float in [0, 80]."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, numbers.Real):
        raise TypeError(f"Expected epsilon to be a real number, got {type(epsilon).__name__}.")
    try:
        value = float(epsilon)
    except OverflowError:
        value = math.inf
    if not math.isfinite(value) or value < 0:
        raise ValueError(f"Expected a finite epsilon >= 0, got {value}.")
    if value > EPSILON_LIMIT:
        raise ValueError(
            f"Expected epsilon <= {EPSILON_LIMIT:g}, got {value:g}: the sampler counts outcomes in words of at most 128 bits, and "
            f"a larger ratio leaves none for the lies. An answer at such an epsilon is not private in practice."
        )
    return value


def checked_integer(name: str, value: object, *, least: int, most: int | None = None) -> int:
    """An integer parameter within its range; booleans and floats are refused."""
    if isinstance(value, bool) or not hasattr(value, "__index__"):
        raise TypeError(f"Expected {name} to be an integer, got {type(value).__name__}.")
    number = operator.index(value)  # pyright: ignore[reportArgumentType]
    if number < least or (most is not None and number > most):
        allowed = f"{name} >= {least}" if most is None else f"{name} in {least} .. {most}"
        raise ValueError(f"Expected {allowed}, got {number}.")
    return number


def checked_num_classes(value: object) -> int:
    """Number of classes, at least 2 and few enough for their numbers and counts to be exact on every path."""
    return checked_integer("num_classes", value, least=2, most=MAX_CLASSES)


def checked_choice(name: str, value: object, choices: tuple[str, ...]) -> str:
    """A named option."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"Expected {name} to be one of {', '.join(map(repr, choices))}, got {value!r}.")
    return value
