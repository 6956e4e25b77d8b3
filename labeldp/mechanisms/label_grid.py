"""The public grid of a real-valued label: labels are rounded to it before anything else, and answers are looked up exactly."""

import functools
import itertools
import math
import numbers
from collections.abc import Iterable
from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.prior import integer_weights, prior_rows
from labeldp.mechanisms.thresholds import Words

MAX_VALUES = 2**11
"""Largest grid: the best bins are found in a table of that many values squared."""


def checked_values(name: str, values: object, *, least: int) -> tuple[float, ...]:
    """A public list of real values as floats: finite, increasing, at least `least` and at most 2^11 of them.

    Raises:
        TypeError: not a list of real numbers.
        ValueError: too few or too many, not finite, not increasing, or of a range that is no finite float.
    """
    refused = isinstance(values, str | bytes | dict | set | np.ma.MaskedArray)
    refused = refused or (isinstance(values, np.ndarray) and values.ndim != 1)
    if refused or not isinstance(values, Iterable):
        kind = type(cast(object, values)).__name__
        raise TypeError(f"Expected {name} to be a list of real numbers, got {kind}.")
    given: list[Any] = list(cast(Iterable[Any], values))
    for value in given:
        if isinstance(value, bool | np.bool_) or not isinstance(value, numbers.Real):
            kind = type(cast(object, value)).__name__
            raise TypeError(f"Expected {name} to be a list of real numbers, got {kind} in it.")
    if not least <= len(given) <= MAX_VALUES:
        raise ValueError(
            f"Expected {name} to hold {least} to {MAX_VALUES} values, got {len(given)}; use a coarser grid."
        )
    try:
        grid = tuple(float(value) + 0.0 for value in given)  # no negative zero
    except OverflowError:
        grid = (math.inf,)
    if not all(map(math.isfinite, grid)):
        raise ValueError(f"Expected {name} to be finite, got an infinity or a NaN.")
    if any(first >= second for first, second in itertools.pairwise(grid)):
        raise ValueError(
            f"Expected {name} to be increasing without repetition; sort it and leave out doubles."
        )
    if not math.isfinite(grid[-1] - grid[0]):
        raise ValueError(f"Expected {name} to span a range that a float can hold; use another unit.")
    return grid


def checked_prior_of(prior: object, num_values: int) -> tuple[float, ...]:
    """Public probabilities of the grid's values, up to scale; one for each.

    Raises:
        TypeError, ValueError: not that many real numbers, or not finite, non-negative and positive somewhere.
    """
    if prior is None:
        raise TypeError(
            f"Expected prior to hold {num_values} probabilities, one for each of label_values, got None; "
            f"take public ones, those of `labeldp.laplace_histogram`, or equal ones."
        )
    row = prior_rows(prior, 1, num_values)
    integer_weights(row)
    return tuple(map(float, row[0]))


def read_values(labels: object, label_values: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """Real labels as the numbers of the nearest grid values, ties downwards; the one check that may depend on them.

    Raises:
        TypeError: not an array of real numbers.
        ValueError: not one-dimensional, or a label that is not finite or outside the grid. No message holds a label.
    """
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError(
            "Expected labels without a mask, got a masked array; decide what a missing label is first."
        )
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError):
        raise TypeError("Expected labels that numpy turns into an array of numbers; it could not.") from None
    if array.ndim != 1:
        raise ValueError(f"Expected labels of shape (n,), got {array.shape}.")
    if array.dtype.kind not in "iuf":
        raise TypeError(
            f"Expected labels that are real numbers, got an array of {array.dtype.type.__name__}."
        )
    with np.errstate(over="ignore"):
        array = array.astype(np.float64)
    least, most = label_values[0], label_values[-1]
    if array.size and not (array.min() >= least and array.max() <= most):
        raise ValueError(
            f"Expected every label to be finite and in {least} .. {most}, got at least one that is not; "
            f"clip or round them first, to a range that does not come from the labels."
        )
    return nearest(array, label_values)


def nearest(points: npt.NDArray[np.float64], values: tuple[float, ...]) -> npt.NDArray[np.int64]:
    """Number of the value nearest to each point, exactly, ties downwards; every point takes the same steps."""
    return count_at_most(_starts(values), np.zeros(len(points), dtype=np.int64), points)


@functools.lru_cache(maxsize=64)
def _starts(values: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """The lowest float beyond the middle of each value and the one before, (1, K - 1): from there on the later is nearer."""
    starts: list[float] = []
    for first, second in itertools.pairwise(values):
        middle = (Fraction(first) + Fraction(second)) / 2
        rounded = float(middle)
        starts.append(rounded if Fraction(rounded) > middle else math.nextafter(rounded, math.inf))
    return np.array([starts], dtype=np.float64)


def count_at_most(table: Words, rows: npt.NDArray[np.int64], keys: Words) -> npt.NDArray[np.int64]:
    """How many entries of table[rows[i]], which do not decrease, are at most keys[i]; every key takes the same steps."""
    length = table.shape[1]
    found = np.zeros(len(keys), dtype=np.int64)
    for step in (2**bit for bit in reversed(range(length.bit_length()))):
        probe = np.minimum(found + step, length) - 1
        found += step * ((found + step <= length) & (table[rows, probe] <= keys))
    return found


def columns_of(values: npt.NDArray[Any], outputs: tuple[float, ...]) -> npt.NDArray[np.intp]:
    """Number of each released value among the outputs.

    Raises:
        ValueError: a value that is none of them.
    """
    columns = np.minimum(np.searchsorted(outputs, values), len(outputs) - 1)
    if not are_outputs(values, len(values), outputs):
        raise ValueError("Expected values that are outputs of the mechanism, got at least one that is not.")
    return columns


def are_outputs(values: npt.NDArray[Any], num_items: int, outputs: tuple[float, ...]) -> bool:
    """Whether the values are n floats, each of them exactly one of the outputs."""
    if values.dtype != np.float64 or values.shape != (num_items,):
        return False
    columns = np.minimum(np.searchsorted(outputs, values), len(outputs) - 1)
    return bool((np.array(outputs)[columns] == values).all())
