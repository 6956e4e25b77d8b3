"""Exact channels: the sampler that ships, run over every word it could draw."""

from fractions import Fraction

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism, Plan

MAX_DRAWS = 2**20


def enumerate_channel(
    mechanism: Mechanism, *, prior_row: npt.ArrayLike | None = None, bits: int | None = None
) -> list[list[Fraction]]:
    """The channel of one item as exact fractions, from the code that runs, at a small word width.

    `mechanism.choose` answers every label once with every possible row of words; the answers are counted, and words that it
    rejects are left out, as drawing again does. No randomness and no statistics are involved.

    Args:
        mechanism: a mechanism of `labeldp`, or one with the same methods.
        prior_row: the item's prior (K,), where the mechanism needs one.
        bits: width of a word; by default the widest, up to 12, at which a label has no more than 2^20 draws.

    Returns:
        K rows of m fractions, each row summing to exactly 1; columns as in `mechanism.channel`.

    Raises:
        ValueError: words so narrow that an outcome would get none, or so wide that there are too many draws.
    """
    width = min(12, 20 // mechanism.num_words) if bits is None else bits
    draws = 2 ** (width * mechanism.num_words)
    if width < 1 or draws > MAX_DRAWS:
        raise ValueError(
            f"Expected at most 2^20 draws, got {mechanism.num_words} words of {width} bits; "
            f"use narrower words, or a smaller mechanism of the same kind."
        )
    plan = mechanism.plan(prior_row, 1)[np.zeros(draws, dtype=np.intp)]
    words = _every_row(width, mechanism.num_words)
    return [_row(mechanism, words, label, plan, width) for label in range(mechanism.num_classes)]


def largest_ratio(channel: list[list[Fraction]]) -> Fraction | None:
    """The largest ratio of two entries of one column, exactly; None if it is infinite."""
    columns = [column for column in zip(*channel, strict=True) if any(column)]
    if any(0 in column for column in columns):
        return None
    return max(max(column) / min(column) for column in columns)


def _every_row(width: int, num_words: int) -> npt.NDArray[np.uint64]:
    """All rows of num_words words of the given width; (2^(width * num_words), num_words)."""
    number = np.arange(2 ** (width * num_words), dtype=np.uint64)[:, None]
    shift = np.arange(num_words, dtype=np.uint64) * np.uint64(width)
    return (number >> shift) & np.uint64(2**width - 1)


def _row(
    mechanism: Mechanism, words: npt.NDArray[np.uint64], label: int, plan: Plan, width: int
) -> list[Fraction]:
    """The exact law of the answer to one label."""
    values, rejected = mechanism.choose(words, np.full(len(words), label), plan, width)
    accepted = values[~rejected]
    column = {output.tobytes(): index for index, output in enumerate(mechanism.outputs())}
    row = [Fraction(0)] * len(column)
    for value, count in zip(*np.unique(accepted, axis=0, return_counts=True), strict=True):
        row[column[value.tobytes()]] = Fraction(int(count), len(accepted))
    return row
