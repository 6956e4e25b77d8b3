"""Checks of plain arguments: every message says what was expected and what came."""

from __future__ import annotations

import math
from collections.abc import Collection
from numbers import Integral, Real

LARGEST_ALPHABET = 2**53
"""Alphabets beyond this are no longer whole numbers in double precision."""


def real(name: str, value: object) -> float:
    """Returns `value` as a float.

    Args:
        name: what the message calls it.
        value: any real number that is not a bool; numpy scalars are welcome.

    Raises:
        TypeError: `value` is not a real number.
        ValueError: `value` is NaN.
    """
    if isinstance(value, bool) or not isinstance(value, Real):
        raise TypeError(f"Expected {name} to be a real number, got {value!r}.")
    number = float(value)
    if math.isnan(number):
        raise ValueError(f"Expected {name} to be a real number, got NaN.")
    return number


def budget(name: str, value: object) -> float:
    """Returns a finite float >= 0, the form every epsilon of an event has."""
    number = real(name, value)
    if not 0 <= number < math.inf:
        raise ValueError(f"Expected {name} to be finite and >= 0, got {number!r}.")
    return number + 0.0  # -0.0 becomes 0.0, so that equal events compare and print equal


def probability(name: str, value: object) -> float:
    """Returns a float in [0, 1], the form every delta has."""
    number = real(name, value)
    if not 0 <= number <= 1:
        raise ValueError(f"Expected {name} to lie in [0, 1], got {number!r}.")
    return number + 0.0


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
