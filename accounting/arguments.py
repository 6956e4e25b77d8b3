"""Checks of plain arguments: every message says what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Collection
from fractions import Fraction
from numbers import Integral, Rational, Real
from typing import Any, Literal, TypeAlias, assert_never, cast

import numpy as np

from accounting.numerics.rounding import float_down, float_up

LARGEST_ALPHABET = 2**53
"""Alphabets beyond this are no longer whole numbers in double precision."""


LARGEST = Fraction(math.nextafter(math.inf, 0.0))

Side: TypeAlias = Literal["nearest", "down", "up"]
"""Where a number goes that is not a float; an epsilon of an event goes up, the private side."""


def real(name: str, value: object, *, side: Side = "nearest") -> float:
    """Returns `value` as a float.

    Args:
        name: what the message calls it.
        value: any real number that is not a bool; fractions, integers and numpy scalars are welcome.
        side: which float is taken for a number between two.

    Raises:
        TypeError: `value` is not a real number.
        ValueError: `value` is NaN, or beyond the largest float without being infinite.
    """
    if isinstance(value, bool | np.bool_) or not isinstance(value, Real):
        raise TypeError(f"Expected {name} to be a real number, got {value!r}.")
    if value != value:
        raise ValueError(f"Expected {name} to be a real number, got NaN.")
    if isinstance(value, float):
        return float(value)
    exact = _exact(value)
    if exact is None:
        return math.copysign(math.inf, float(value))
    if abs(exact) > LARGEST:
        raise ValueError(f"Expected {name} to be within the range of floats, got a number beyond 1.79e308.")
    match side:
        case "nearest":
            return float(exact)
        case "down":
            return float_down(exact)
        case "up":
            return float_up(exact)
        case _:
            assert_never(side)


def _exact(value: Real) -> Fraction | None:
    """Returns a real number as a fraction; None for an infinite one."""
    if isinstance(value, Rational):
        return Fraction(value)
    try:
        numerator, denominator = cast("Any", value).as_integer_ratio()
    except OverflowError:
        return None
    except AttributeError:
        return Fraction(float(value))
    return Fraction(int(numerator), int(denominator))


def budget(name: str, value: object) -> float:
    """Returns a finite float >= 0, the form every epsilon of an event has; rounded up."""
    number = real(name, value, side="up")
    if not 0 <= number < math.inf:
        raise ValueError(f"Expected {name} to be finite and >= 0, got {number!r}.")
    return number + 0.0  # -0.0 becomes 0.0, so that equal events compare and print equal


def probability(name: str, value: object, *, side: Side = "nearest") -> float:
    """Returns a float in [0, 1], the form every delta has."""
    number = real(name, value, side=side)
    if not 0 <= number <= 1:
        raise ValueError(f"Expected {name} to lie in [0, 1], got {number!r}.")
    return number + 0.0


def noise(name: str, value: object) -> float:
    """Returns a finite float > 0, the form every noise multiplier has; rounded down."""
    number = real(name, value, side="down")
    if not 0 < number < math.inf:
        raise ValueError(f"Expected {name} to be finite and > 0, got {number!r}.")
    return number


def whole(name: str, value: object, *, least: int = 1, largest: int | None = None) -> int:
    """Returns an int in [least, largest]; numpy integers are welcome, bools are not.

    Raises:
        TypeError: `value` is not an integer.
        ValueError: `value` is out of range.
    """
    if isinstance(value, bool) or not isinstance(value, Integral):
        raise TypeError(f"Expected {name} to be an integer, got {value!r}.")
    number = int(value)
    if number < least or (largest is not None and number > largest):
        upper = "" if largest is None else f" and <= {largest}"
        raise ValueError(f"Expected {name} to be an integer >= {least}{upper}, got {number}.")
    return number


def one_of(name: str, value: object, choices: Collection[str]) -> str:
    """Returns `value` when it is one of `choices`.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or value not in choices:
        listed = ", ".join(repr(choice) for choice in choices)
        raise ValueError(f"Expected {name} to be one of {listed}, got {value!r}.")
    return value
