"""Whether noisy labels look as their law says, given the true labels: for the data holder, with the rate of false alarms stated."""

import importlib
import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.mechanism import MAX_CHANNEL_OUTPUTS
from labeldp.release import NoisyLabels

ALARM = 1e-6
"""The probability, at most, that sound noise is called unsound: over all counts together."""

MOST_COUNTS = 64
"""Outputs that are counted one by one where every item has candidates of its own."""

CHUNK_ROWS = 2**17

STRETCHES = 16
"""Into how many stretches of the grid, equally likely without a label, the coordinates of vectors are counted."""

Cells = list[tuple[str, npt.NDArray[Any], npt.NDArray[Any], npt.NDArray[Any]]]


def law_problem(noisy: NoisyLabels, labels: npt.NDArray[np.integer]) -> str | None:
    """What does not look like noise of the law that is stated; None where everything does.

    Where all items have one law, the answers of every class are counted by output, and each count is compared with its binomial law.
    Otherwise counts are sums of independent coins, compared by Bernstein's inequality: how many answers are the label, and how many
    are each output. Rates are divided by the number of comparisons.

    Args:
        noisy: what was released.
        labels: the true labels as class numbers, (n,).

    Privacy: the answer depends on the true labels; it is for those who hold them. It names no label.
    """
    mechanism = noisy.mechanism
    if not len(labels):
        return None
    if noisy.plan.unrestricted and noisy.values.dtype == np.bool_:
        moments, K = _moments(mechanism), mechanism.num_classes
        law = np.full((K, K), moments.other_mean) + moments.gap * np.eye(K)
        counts = _sums(noisy.values, labels, K)
        return _binomial(counts, np.bincount(labels, minlength=K), law)
    if noisy.plan.unrestricted and noisy.values.ndim == 2:
        return _vectors(noisy, labels)
    if noisy.plan.unrestricted and mechanism.num_outputs <= MAX_CHANNEL_OUTPUTS:
        law, outputs = mechanism.channel(), mechanism.outputs()
        column = np.searchsorted(outputs, noisy.values)
        shape = law.shape
        counts = np.bincount(labels.astype(np.int64) * shape[1] + column, minlength=law.size).reshape(shape)
        return _binomial(counts, np.bincount(labels, minlength=shape[0]), law)
    return _coins(noisy, labels)


def _moments(mechanism: Any) -> IndicatorMoments:
    return mechanism.indicator_moments()


def _binomial(
    counts: npt.NDArray[Any], totals: npt.NDArray[np.integer], law: npt.NDArray[np.float64]
) -> str | None:
    """Compares counts[y, o] with Binomial(totals[y], law[y, o]) for all y and o."""
    stats: Any = importlib.import_module("scipy.stats")
    rows = np.broadcast_to(totals[:, None], counts.shape)
    law = np.clip(law, 0.0, 1.0)
    below, above = stats.binom.cdf(counts, rows, law), stats.binom.sf(counts - 1, rows, law)
    smallest = float(np.minimum(below, above).min())
    limit = ALARM / (2 * counts.size)
    if smallest >= limit:
        return None
    return (
        f"the noise does not follow its law: one of {counts.size} counts of answers by class has a tail probability of {smallest:.1e}, "
        f"below {limit:.1e} (false alarms: {ALARM:g})"
    )


def _vectors(noisy: NoisyLabels, labels: npt.NDArray[np.integer]) -> str | None:
    """Counts coordinates by stretches of the grid, the labels' own and others, for every coordinate."""
    mechanism: Any = noisy.mechanism
    law: npt.NDArray[np.float64] = mechanism.coordinate_law()
    stretch = np.minimum((np.cumsum(law[0]) * STRETCHES).astype(np.int64), STRETCHES - 1)
    inside: npt.NDArray[Any] = np.stack(
        [np.bincount(stretch, weights=row, minlength=STRETCHES) for row in law]
    )
    places = stretch[np.searchsorted(mechanism.points, noisy.values)]
    counts: list[npt.NDArray[Any]] = []
    for coordinate, column in enumerate(places.T):
        own = labels == coordinate
        counts += [np.bincount(column[rows], minlength=STRETCHES) for rows in (~own, own)]
    stacked = np.stack(counts)
    totals: npt.NDArray[Any] = stacked.sum(axis=1)
    return _binomial(stacked, totals, np.tile(inside, (places.shape[1], 1)))


def _coins(noisy: NoisyLabels, labels: npt.NDArray[np.integer]) -> str | None:
    """Compares counts over items that have each a law of its own."""
    mechanism, count = noisy.mechanism, 1
    counted = mechanism.num_outputs if mechanism.num_outputs <= MOST_COUNTS else 0
    seen, mean, variance = (np.zeros(count + counted) for _ in range(3))
    for rows in noisy.plan.chunks(CHUNK_ROWS):
        for place, values, probability in _laws(mechanism, noisy, labels, rows, counted):
            seen[place] += (noisy.values[rows] == values).sum()
            mean[place] += probability.sum()
            variance[place] += (probability * (1 - probability)).sum()
    return _bernstein(seen, mean, variance)


def _laws(
    mechanism: Mechanism, noisy: NoisyLabels, labels: npt.NDArray[np.integer], rows: slice, counted: int
) -> Iterator[tuple[int, npt.NDArray[Any], npt.NDArray[np.float64]]]:
    """An output for each item, and its probability given the item's label: first the label itself, then every output in turn."""
    plan, own = noisy.plan[rows], labels[rows].astype(np.int64)
    here = np.arange(len(own))
    answer = own if plan.blocks is None else plan.blocks[here, own].astype(np.int64)
    inside = np.ones(len(own)) if plan.candidates is None else plan.candidates[here, own]
    yield 0, answer, mechanism.likelihood(answer, plan)[here, own] * inside
    for output in range(counted):
        values = np.full(len(own), output)
        possible = np.ones(len(own))
        if plan.candidates is not None:
            others = ~plan.candidates.all(axis=1)
            possible = np.column_stack([plan.candidates, others])[:, output]
        if plan.blocks is not None:
            possible = output <= plan.blocks.max(axis=1)
        yield 1 + output, values, mechanism.likelihood(values, plan)[here, own] * possible


def _bernstein(seen: npt.NDArray[Any], mean: npt.NDArray[Any], variance: npt.NDArray[Any]) -> str | None:
    """Compares counts of independent coins with their means."""
    room = math.log(2 * seen.size / ALARM)
    most = room / 3 + np.sqrt((room / 3) ** 2 + 2 * variance * room)
    far = np.abs(seen - mean) > most + 1e-9 * (np.abs(mean) + 1)
    if not far.any():
        return None
    return (
        f"the noise does not follow its law: {int(far.sum())} of {seen.size} counts of answers are further from their means than "
        f"sound noise is with probability {ALARM:g} in all"
    )


def _sums(values: npt.NDArray[Any], labels: npt.NDArray[np.integer], num_classes: int) -> npt.NDArray[Any]:
    """How many items of every class have each class in their sets, (K, K)."""
    columns = [np.bincount(labels, weights=column, minlength=num_classes) for column in values.T]
    return np.rint(np.stack(columns, axis=1))
