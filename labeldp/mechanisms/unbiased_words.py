"""Words for a channel whose answers have the label as their mean: exactly as private as claimed, whatever a solver got wrong.

A solution meets its equations nearly; words must meet them exactly. The solution takes all words but a few, rounded down so that no
ratio exceeds r <= e^epsilon. What is missing in each label's row goes to the lowest output A and the highest Z: two numbers, fixed by
the row's sum and mean. Up to rounding they are a share of the channel that answers Z with probability (y - A) / (Z - A), else
A. That channel is unbiased, and its ratios, (Y - A) / (y - A) and (Z - y) / (Z - Y) for the ends y < Y of the grid, are below E,
so that a large enough share keeps the sum of both below r; the whole of it does unless the words are too narrow. The smallest
share that passes the exact check is taken.
"""

from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.label_grid import checked_values
from labeldp.mechanisms.thresholds import Words, exponential_below, word_bits

Counts = tuple[tuple[int, ...], ...]
"""Words of each output (m) for each label (K rows, equal sums)."""

Solution = tuple[tuple[float, ...], Counts]
"""Output values and their words."""

TOLERATED_BIAS = Fraction(1, 10**9)
"""Largest bias at the width in use, in ranges of the labels; it is reached at epsilon 1e-10, and 1e-19 at epsilon 1."""


def words_for(
    epsilon: float,
    label_values: tuple[float, ...],
    output_values: tuple[float, ...],
    levels: npt.NDArray[np.float64],
    shares: npt.NDArray[np.float64],
) -> Solution:
    """Words at the width in use for Q = a M + (1 - a) U, and the outputs that have any.

    Args:
        epsilon, label_values: those of the mechanism.
        output_values: m increasing values beyond the labels on both sides, see `require_fitting_outputs`.
        levels: M, (m,), not negative.
        shares: U, (K, m), in 0 .. M.

    Raises:
        ValueError: the words are too narrow for this epsilon.
    """
    weights = _weights(levels, shares, exponential_below(epsilon))
    counts = fitted(epsilon, label_values, output_values, weights, word_bits(epsilon))
    given = counts.any(axis=0)
    outputs = np.array(output_values)[given]
    return tuple(outputs.tolist()), tuple(tuple(row) for row in counts[:, given].tolist())


def _weights(
    levels: npt.NDArray[np.float64], shares: npt.NDArray[np.float64], ratio: Fraction
) -> npt.NDArray[np.object_]:
    """Integers proportional to M + (r - 1) U; no two of one output have a ratio above r."""
    one, top = ratio.denominator, ratio.numerator
    base = [int(level * 2.0**62) for level in levels.tolist()]
    rows = [[min(int(u * 2.0**62), m) for u, m in zip(row, base, strict=True)] for row in shares.tolist()]
    return np.array(base, dtype=object) * one + np.array(rows, dtype=object) * (top - one)


def fitted(
    epsilon: float,
    label_values: tuple[float, ...],
    output_values: tuple[float, ...],
    weights: npt.NDArray[np.object_],
    bits: int,
) -> Words:
    """Words of that width in proportion to the weights (K, m), but for what makes rows sum alike and answers unbiased; (K, m) integers.

    Privacy:
        No ratio of two entries of a column exceeds r <= e^epsilon; a column is positive or all 0.

    Error:
        The mean of a row is within (Z - A) / 2 words of the label.

    Raises:
        ValueError: the words are too narrow for this epsilon.
    """
    ratio = exponential_below(epsilon)
    labels, outputs = _common_integers(label_values, output_values)
    low, high = outputs[0], outputs[-1]
    largest = weights.sum(axis=1).max()
    steps = max(1, bits // 32)
    for spare in (*(2**power for power in range(steps, bits, steps)), 2**bits - 1):
        counts = weights * (2**bits - 1 - spare) // largest
        counts = np.minimum(counts, counts.min(axis=0) * ratio.numerator // ratio.denominator)
        sums = counts.sum(axis=1)
        total = sums.max() + spare
        missing = total - sums
        moments = total * labels - counts @ outputs - missing * low
        upper = (2 * moments + (high - low)) // (2 * (high - low))  # the nearest integer
        counts[:, 0] += missing - upper
        counts[:, -1] += upper
        if within(counts, ratio):
            return counts
    raise ValueError(too_small(epsilon, f" of {bits} bits"))


def within(counts: npt.NDArray[np.object_], ratio: Fraction) -> bool:
    """Whether no two entries of one column have a ratio above that; 0 stands beside 0 only."""
    least, most = counts.min(axis=0), counts.max(axis=0)
    return bool((least >= 0).all() and (most * ratio.denominator <= least * ratio.numerator).all())


def largest_bias(
    label_values: tuple[float, ...], output_values: tuple[float, ...], counts: npt.NDArray[np.object_]
) -> Fraction:
    """The largest distance of a label from the mean of its answers, exactly."""
    means = [
        Fraction(sum(c * Fraction(o) for c, o in zip(row, output_values, strict=True)), sum(row))
        for row in counts.tolist()
    ]
    return max(abs(mean - Fraction(y)) for mean, y in zip(means, label_values, strict=True))


def checked_counts(
    epsilon: float, label_values: tuple[float, ...], output_values: object, counts: object
) -> Solution:
    """Outputs and words that were solved for before, such as those of a saved release.

    Raises:
        TypeError: not lists of numbers.
        ValueError: not the words of an unbiased randomizer of this epsilon.
    """
    outputs = checked_values("output_values", output_values, least=2)
    rows = tuple(tuple(_listed(row)) for row in _listed(counts))
    if not all(type(count) is int for row in rows for count in row):
        raise TypeError("Expected counts to be rows of integers, got something else in them.")
    if [len(row) for row in rows] != [len(outputs)] * len(label_values):
        raise ValueError(
            f"Expected counts of shape (K, m) = ({len(label_values)}, {len(outputs)}), got another."
        )
    table = np.array(rows, dtype=object)
    total = table[0].sum()
    fits = 0 < total < 2 ** word_bits(epsilon) and (table.sum(axis=1) == total).all()
    allowed = TOLERATED_BIAS * (Fraction(label_values[-1]) - Fraction(label_values[0]))
    if not (
        fits
        and table.min() > 0
        and within(table, exponential_below(epsilon))
        and largest_bias(label_values, outputs, table) <= allowed
    ):
        raise ValueError(
            f"Expected counts of an unbiased randomizer of epsilon {epsilon}: positive, in rows of one sum, of ratios up to "
            f"e^epsilon in every column, with each label as the mean of its row; got others. Leave counts out to solve for them."
        )
    return outputs, rows


def _listed(value: object) -> list[Any]:
    if not isinstance(value, list | tuple):
        raise TypeError(f"Expected counts to be rows of integers, got {type(value).__name__}.")
    return list(cast("list[Any]", value))


def _common_integers(
    label_values: tuple[float, ...], output_values: tuple[float, ...]
) -> tuple[npt.NDArray[np.object_], npt.NDArray[np.object_]]:
    """Labels and outputs in one unit in which all are integers; floats are fractions of a power of two."""
    every = [Fraction(value) for value in (*label_values, *output_values)]
    unit = max(value.denominator for value in every)
    whole = [int(value * unit) for value in every]
    return (
        np.array(whole[: len(label_values)], dtype=object),
        np.array(whole[len(label_values) :], dtype=object),
    )


def too_small(epsilon: float, words: str = "") -> str:
    return (
        f"Expected an epsilon large enough for an unbiased randomizer in words{words}, got {epsilon}: its answers would have to reach "
        f"further than floats or words tell apart; use a larger epsilon or RandomizedResponseOnBins."
    )
