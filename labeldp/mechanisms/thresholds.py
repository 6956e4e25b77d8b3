"""Integer thresholds that turn one uniform word into one answer, rounded in the private direction.

A word chooses between `heavy` outcomes of T words each and `light` outcomes of `step` words each; a word past the last
outcome is rejected and drawn again. The ratio that runs is therefore exactly T / step, whatever the rejections, and it
never exceeds e^epsilon because T is floored *after* step.
"""

import decimal
import functools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Words: TypeAlias = npt.NDArray[Any]
"""Uniform words: uint64 up to 64 bits; Python integers, in an array of objects, beyond."""

WIDE_EPSILON = 40.0
"""Up to here words of 64 bits hold every ratio, with room for millions of classes; beyond, words of 128 bits do."""

_PRECISION = decimal.Context(prec=60, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN)


def word_bits(epsilon: float) -> int:
    """Width of the words that a mechanism draws."""
    return 64 if epsilon <= WIDE_EPSILON else 128


def integers(values: Sequence[Any], bits: int) -> Words:
    """Thresholds for words of that width, as an array of the words' type."""
    return np.array(values, dtype=np.uint64 if bits <= 64 else object)


@functools.lru_cache(maxsize=256)
def exponential_below(epsilon: float) -> Fraction:
    """A rational r with 1 <= r <= e^epsilon, within a relative 1e-58 of it.

    The decimal exponential is correctly rounded, so the next decimal below it is a lower bound.
    """
    rounded = decimal.Decimal(epsilon).exp(_PRECISION)
    return max(Fraction(1), Fraction(rounded.next_minus(_PRECISION)))


@functools.lru_cache(maxsize=8192)
def thresholds(epsilon: float, heavy: int, light: int, bits: int) -> tuple[int, int]:
    """The pair (T, step): words of each heavy outcome and of each light outcome.

    Args:
        epsilon: privacy parameter of one answer, >= 0.
        heavy: number of outcomes that carry the ratio, >= 1 (1 in randomized response: the label itself).
        light: number of the other outcomes, >= 0.
        bits: width of a word.

    Returns:
        Integers with 1 <= step <= T, T / step <= e^epsilon and heavy * T + light * step < 2^bits, so that sums fit into a word.

    Raises:
        ValueError: the words are too narrow to give a light outcome one word.

    Privacy:
        Every likelihood ratio of the sampler is T / step, step / T or 1; none exceeds e^epsilon.
    """
    if light == 0:
        return (2**bits - 1) // heavy, 1
    ratio = exponential_below(epsilon)
    step = int((2**bits - 1) / (ratio * heavy + light))
    if step < 1:
        raise ValueError(
            f"Expected epsilon small enough for words of {bits} bits and {heavy + light} outcomes, got {epsilon}; "
            f"use wider words or a smaller epsilon."
        )
    return int(ratio * step), step


@functools.lru_cache(maxsize=256)
def largest_ratio(epsilon: float, largest_alphabet: int, bits: int) -> Fraction:
    """The largest T / step of randomized response on 2 .. the largest alphabet."""
    ratio = exponential_below(epsilon)
    over, under = ratio.numerator, ratio.denominator
    best, best_step = 0, 1
    for alphabet in range(2, largest_alphabet + 1):
        step = (2**bits - 1) * under // (over + (alphabet - 1) * under)
        top = over * step // under
        if top * best_step > best * step:
            best, best_step = top, step
    return Fraction(best, best_step)


def randomized_rank(
    words: Words,
    ranks: npt.NDArray[np.uint64],
    alphabet: npt.NDArray[np.uint64],
    *,
    epsilon: float,
    bits: int,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Randomized response of each rank on its own alphabet, one word an answer.

    Returns the answered ranks and a mask of the words to be drawn again (their answer is 0). The rank itself
    for the first T words; then every other rank in turn for `step` words.
    """
    top, step = thresholds_by_alphabet(alphabet, epsilon, bits)[:, alphabet.astype(np.intp)]
    kept = words < top
    lie = (words - top) // step  # wraps where the rank is kept, and is not used there
    rejected = ~kept & (lie >= alphabet - np.uint64(1))
    lie = lie + (lie >= ranks)
    return np.where(rejected, 0, np.where(kept, ranks, lie)).astype(np.uint64), rejected


def thresholds_by_alphabet(alphabet: npt.NDArray[np.integer], epsilon: float, bits: int) -> Words:
    """T and step of randomized response on every alphabet that occurs, (2, largest + 1); ones for those that do not."""
    count = np.bincount(alphabet.astype(np.intp))
    table = np.ones((2, len(count)), dtype=integers([], bits).dtype)
    for size in np.flatnonzero(count).tolist():
        table[:, size] = integers(thresholds(epsilon, 1, size - 1, bits), bits)
    return table


def uniform_below(
    words: Words,
    count: npt.NDArray[np.uint64] | np.uint64,
    *,
    limit: Any,
) -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.bool_]]:
    """Uniform integers below count from words below limit, and a mask of the words to be drawn again (integer 0 there).

    The limit is an integer, or one for each word. The words are cut into `count` stretches of equal length, so no integer is favoured; fewer than `count` of them, and
    those from the limit on, are rejected.
    """
    drawn = words // (limit // count)
    rejected = drawn >= count
    return np.where(rejected, 0, drawn).astype(np.uint64), rejected
