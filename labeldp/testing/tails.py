"""Probabilities of chance events, never understated: every alarm of the joint battery is one of these, below its rate."""

import functools
import math
from typing import Any

import numpy as np
import numpy.typing as npt

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]

ALARM = 1e-6
"""Probability that one check of the battery raises although the release is sound, registered before any of them ran."""


def log_chance(successes: float, trials: float, chance: float) -> float:
    """Logarithm of a bound on the probability of a binomial count at least this far from its mean, on the same side.

    Error: above the true probability, by H. Chernoff, 1952: exp(-n KL(successes / n || chance)).
    """
    if not trials:
        return 0.0
    share, chance = successes / trials, min(max(chance, 1e-300), 1 - 1e-16)
    parts = [(share, chance), (1 - share, 1 - chance)]
    return -trials * sum(p * math.log(p / q) for p, q in parts if p > 0)


def log_split(first: Counts, first_size: Counts, second: Counts, second_size: Counts) -> Floats:
    """Logarithm of a bound on the probability that a total splits at least so unevenly over two samples of one law.

    Given the total, the count in the first sample is hypergeometric; it has at most `total + 1` values, each further out less likely.

    Args:
        first, second: how often something was seen in each sample; any shape.
        first_size, second_size: sizes of the samples.
    """
    total, size = first + second, first_size + second_size
    pmf = _log_choose(first_size, first) + _log_choose(second_size, second) - _log_choose(size, total)
    return np.minimum(pmf + np.log(np.minimum(total, size - total) + 1), 0)


def log_dependence(one: Counts, other: Counts) -> float:
    """Logarithm of a bound on the probability that two independent columns of codes (n,) agree so well in some pair of codes, or so badly.

    The bound on the worst cell, times the number of cells.
    """
    _, one = np.unique(one, return_inverse=True)
    _, other = np.unique(other, return_inverse=True)
    table = np.zeros((int(one.max()) + 1, int(other.max()) + 1), dtype=np.int64)
    np.add.at(table, (one, other), 1)
    rows, columns = table.sum(axis=1, keepdims=True), table.sum(axis=0, keepdims=True)
    worst = log_split(table, rows + 0 * table, columns - table, len(one) - rows + 0 * table)
    return float(worst.min()) + math.log(table.size)


def worst_split(first: Counts, second: Counts) -> tuple[int, float]:
    """The code that splits least evenly over two samples, and the logarithm of a bound on the probability that any does."""
    values, which = np.unique(np.concatenate([first, second]), return_inverse=True)
    counts = np.bincount(which[: len(first)], minlength=len(values))
    others = np.bincount(which[len(first) :], minlength=len(values))
    sizes = np.full_like(counts, len(first)), np.full_like(others, len(second))
    surprise = log_split(counts, sizes[0], others, sizes[1])
    return int(values[surprise.argmin()]), float(surprise.min()) + math.log(len(values))


def split_of(first: npt.NDArray[np.bool_], second: npt.NDArray[np.bool_]) -> float:
    """Logarithm of a bound on the probability that two samples of one law differ so much in how often something holds."""
    counts = (np.array([value]) for value in (first.sum(), len(first), second.sum(), len(second)))
    return float(log_split(*counts)[0])


def split_by_label(
    first: npt.NDArray[np.bool_], labels: Counts, second: npt.NDArray[np.bool_], others: Counts
) -> float:
    """Logarithm of a bound on the probability that something holds so often in the first sample, by a law for each label that both share.

    Given the totals of each label the counts are independent and hypergeometric; W. Hoeffding, 1963: their sum's moments are below those of a
    binomial of the same size and mean.
    """
    expected = 0.0
    for label in np.unique(labels):
        one, other = first[labels == label], second[others == label]
        expected += len(one) * float(one.sum() + other.sum()) / (len(one) + len(other))
    return log_chance(float(first.sum()), len(first), expected / len(first)) + math.log(2)


def largest_sum(variance: float, bound: float, terms: int, log_alarm: float) -> float:
    """What the sum of that many centred terms, each product independent of all but one other, exceeds in size with probability e^log_alarm at most.

    The terms fall into two halves, independent within each; S. Bernstein's inequality holds for both.
    """
    nats = math.log(4) - log_alarm
    linear = bound * nats / 3
    return 2 * (linear + math.sqrt(linear**2 + terms * variance * nats))


def log_arrangements(codes: Counts, groups: Counts) -> float:
    """Logarithm of the number of ways to rearrange the codes within each group; (n,) each.

    Where codes of one group are exchangeable, none of the ways is likelier than any other.
    """
    _, group = np.unique(groups, return_inverse=True)
    _, code = np.unique(codes, return_inverse=True)
    table = np.zeros((int(group.max()) + 1, int(code.max()) + 1), dtype=np.int64)
    np.add.at(table, (group, code), 1)
    factorials = _log_factorials(_rounded(len(codes)))
    return float(factorials[table.sum(axis=1)].sum() - factorials[table].sum())


def centred(values: npt.NDArray[Any], labels: Counts) -> Floats:
    """Values less the mean of their label, (n,)."""
    centred = values.astype(np.float64)
    for label in np.unique(labels):
        centred[labels == label] -= centred[labels == label].mean()
    return centred


def _log_choose(size: Counts, count: Counts) -> Floats:
    table = _log_factorials(_rounded(int(np.max(size))))
    return table[size] - table[count] - table[size - count]


def _rounded(number: int) -> int:
    return 1 << max(10, number.bit_length())


@functools.lru_cache(maxsize=4)
def _log_factorials(size: int) -> Floats:
    return np.concatenate([[0.0], np.cumsum(np.log(np.arange(1, size + 1)))])
