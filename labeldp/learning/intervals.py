"""Confidence limits for numbers and shares of items from answers that are 0 or 1; they hold for every number of items."""

import math
from collections.abc import Callable
from statistics import NormalDist
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import special, stats  # pyright: ignore[reportMissingTypeStubs]

Limits = tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]


def count_limits(
    ones: npt.NDArray[np.float64],
    items: npt.NDArray[np.float64],
    *,
    own: float,
    other: float,
    confidence: float,
) -> Limits:
    """Limits for the number N of items that have a property, when they answer 1 more often than items that do not.

    The number of ones is Binomial(N, own) + Binomial(items - N, other), which grows with N in every quantile; N is in the interval
    if neither that many ones nor that few would be rarer than (1 - confidence) / 2. About a millisecond for each pair that differs.

    Args:
        ones: number of items that answered 1, any shape.
        items: number of items, same shape.
        own: probability that an item with the property answers 1.
        other: probability that another item does, at most `own`; 0 or at least 1e-100.
        confidence: in (0, 1).

    Returns:
        Whole numbers lower <= upper in 0 .. items, in the shape of `ones`. Where no N would do they are 0 or all items, both.

    Error:
        None for any number of items but that of the binomial tails in floats, about 1e-8.

    Source: C. J. Clopper and E. S. Pearson, 1934, for this sum of two binomials.
    """
    tail, own = (1 - confidence) / 2, min(own, 1.0)
    pairs, which = np.unique(np.stack([ones.ravel(), items.ravel()]), axis=1, return_inverse=True)
    limits = np.array(
        [
            (
                _least(int(s), int(n), own, other, tail),
                n - _least(int(n - s), int(n), 1 - other, 1 - own, tail),
            )
            for s, n in pairs.T
        ]
    ).reshape(-1, 2)
    lower, upper = limits[which.ravel()].T.reshape(2, *ones.shape)
    return lower, upper


def share_limits(ones: npt.NDArray[Any], items: npt.NDArray[Any] | float, *, confidence: float) -> Limits:
    """Limits of Clopper and Pearson for the probability of a 1 among independent, identically distributed answers.

    Args:
        ones: number of items that answered 1, any shape; a real number interpolates.
        items: number of items.
        confidence: in (0, 1).

    Error:
        None for any number of items but that of the incomplete beta function in floats, about 1e-8.

    Source: C. J. Clopper and E. S. Pearson, Biometrika 1934.
    """
    tail, zeros = (1 - confidence) / 2, items - ones
    lower = np.where(ones > 0, _beta_quantile(ones, zeros + 1, tail), 0.0)
    upper = np.where(zeros > 0, 1 - _beta_quantile(zeros, ones + 1, tail), 1.0)
    return lower, upper


def normal_limits(value: npt.NDArray[Any], deviation: npt.NDArray[Any], confidence: float) -> Limits:
    """Limits for the mean of normal variables of known standard deviation."""
    reach = normal_quantile(confidence) * deviation
    return value - reach, value + reach


def normal_quantile(confidence: float) -> float:
    """Half the width, in standard errors, of the interval that a normal variable is in with that probability."""
    return -NormalDist().inv_cdf((1 - confidence) / 2)


def _beta_quantile(first: npt.NDArray[Any], second: npt.NDArray[Any], tail: float) -> npt.NDArray[np.float64]:
    """Where the law Beta(first, second) has probability `tail` below it; of no meaning where `first` is 0.

    scipy's inverse is far off at isolated points (scipy 1.17: 1 of some 10^4), so it is checked, and bisection finds what it missed.
    """
    a, b = np.broadcast_arrays(np.where(first > 0, first, 1.0), second)
    found = np.array(special.betaincinv(a, b, tail))
    missed = ~(abs(special.betainc(a, b, found) / tail - 1) < 1e-9)
    low, high = np.zeros(missed.sum()), np.ones(missed.sum())
    for _ in range(100 if len(low) else 0):
        middle = (low + high) / 2
        below = special.betainc(a[missed], b[missed], middle) < tail
        low, high = np.where(below, middle, low), np.where(below, high, middle)
    found[missed] = low
    return found


def _least(ones: int, items: int, own: float, other: float, tail: float) -> int:
    """The least N at which as many ones are no rarer than `tail`; `items` if there is none."""

    def plausible(count: int) -> bool:
        return _at_least(ones, count, items - count, own, other) > tail * (1 - 1e-9)

    return min(items, _first(plausible, items, _guess(ones, items, own, other, tail)))


def _first(holds: Callable[[int], bool], most: int, guess: int) -> int:
    """The least integer in 0 .. most from which on `holds`, or most + 1; looked for in growing steps from the guess."""
    low, high, step = -1, most + 1, 1
    at = min(max(guess, 0), most)
    while high - low > 1:
        if holds(at):
            high, at = at, at - step
        else:
            low, at = at, at + step
        step *= 2
        if not low < at < high:
            at = (low + high) // 2
    return high


def _guess(ones: int, items: int, own: float, other: float, tail: float) -> int:
    """Where the normal approximation with a correction for whole numbers puts the lower limit: the smaller root of a quadratic."""
    gap, excess = own - other, ones - 0.5 - items * other
    if gap < 1e-100:
        return 0  # so near one another that floats hold no difference
    squared = NormalDist().inv_cdf(tail) ** 2
    base, slope = items * other * (1 - other), own * (1 - own) - other * (1 - other)
    half = gap * excess + squared * slope / 2
    root = half**2 - gap**2 * (excess**2 - squared * base)
    return math.ceil(min(max((half - math.sqrt(max(root, 0.0))) / gap**2, 0.0), items))


def _at_least(ones: int, with_property: int, without: int, own: float, other: float) -> float:
    """P[Binomial(with_property, own) + Binomial(without, other) >= ones].

    Sums over values of the first binomial; by Bernstein's inequality those left out have probability below 1e-17.
    """
    mean = with_property * own
    reach = 9 * math.sqrt(mean * (1 - own)) + 60
    first = np.arange(
        max(0, math.floor(mean - reach)), min(with_property, math.ceil(mean + reach)) + 1, dtype=np.float64
    )
    binomial: Any = stats.binom
    weights = binomial.pmf(first, with_property, own)
    return float(weights @ binomial.sf(ones - first - 1, without, other))
