"""The best bins of a real-valued label: which values to answer with, so that the expected loss under a prior is least.

Randomized response on B bins answers with the label's bin with probability E / (E + B - 1). If bin b answers v_b and holds the
labels I_b, its expected loss is the sum over bins of

    c(b) = (1 - a) sum_(y in I_b) p_y loss(v_b, y) + a sum_y p_y loss(v_b, y),    a = 1 / E,

divided by 1 + a (B - 1). Each bin chooses v_b on its own. The least ratio is found by W. Dinkelbach's method (1967): under a
trial ratio t the partition that minimises sum_b (c(b) - a t) comes from a dynamic program over the ends of bins, in K^2 steps; its
own ratio is the next trial. Trials fall, and the first that does not is the least.

Bins can be taken as intervals with different values, none of them empty. With the values held fixed, giving every label to the
nearest is best. Merging two bins of one value v, or dropping a bin without labels, takes a sum_y p_y loss(v, y) off the sum, which
is at least a t because one bin alone reaches no less, and takes a off the divisor: the ratio does not rise.
"""

import functools
import math

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.label_grid import nearest

Floats = npt.NDArray[np.float64]

CONVERGED = 1e-12
"""Trials that fall by less, relatively, are the same: equal ratios go to the fewer bins found first."""


@functools.lru_cache(maxsize=64)
def best_outputs(
    label_values: tuple[float, ...], prior: tuple[float, ...], epsilon: float, loss: str
) -> tuple[float, ...]:
    """The output values that minimise the expected loss, increasing; labels go to the nearest."""
    least, span = label_values[0], label_values[-1] - label_values[0]
    points = (np.array(label_values) - least) / span
    weights = np.array(prior) / max(prior)
    weights /= weights.sum()
    tables = {"squared": _squared, "absolute": _absolute}[loss]
    costs, outputs = tables(points, weights, math.exp(-epsilon), -math.expm1(-epsilon))
    chosen = np.array([outputs[end, start] for start, end in _best_intervals(costs, math.exp(-epsilon))])
    if loss == "absolute":
        values = np.array(label_values)[np.searchsorted(points, chosen)]
    else:
        values = np.clip(least + span * chosen, least, label_values[-1])
    values = np.unique(values)
    used = np.unique(nearest(np.array(label_values), tuple(values.tolist())))
    return tuple(values[used].tolist())


def _best_intervals(costs: Floats, lie: float) -> list[tuple[int, int]]:
    """First and last label of each bin; costs[end, start] is what a bin of these labels costs."""
    count = len(costs)
    best, ratio = [(0, count - 1)], float(costs[-1, 0])
    while True:
        intervals = _cheapest_intervals(costs, lie * ratio)
        total = math.fsum(costs[end, start] for start, end in intervals)
        trial = total / (1 + lie * (len(intervals) - 1))
        if not trial < ratio * (1 - CONVERGED):
            return best
        best, ratio = intervals, trial


def _cheapest_intervals(costs: Floats, refund: float) -> list[tuple[int, int]]:
    """The partition of the labels that costs least when every bin gets a refund; ties go to longer bins."""
    count = len(costs)
    total, starts = np.zeros(count + 1), np.zeros(count, dtype=np.int64)
    for end in range(count):
        through = total[: end + 1] + (costs[end, : end + 1] - refund)
        starts[end] = through.argmin()
        total[end + 1] = through[starts[end]]
    intervals: list[tuple[int, int]] = []
    end = count - 1
    while end >= 0:
        intervals.append((int(starts[end]), end))
        end = int(starts[end]) - 1
    return intervals


def _squared(points: Floats, weights: Floats, lie: float, kept: float) -> tuple[Floats, Floats]:
    """Costs and best values of every interval [end, start], squared loss: the value is a weighted mean.

    Every term is a sum of what is not negative, so that costs near 0, at a large epsilon, keep their digits.
    """
    count, mean_of_all = len(points), float(weights @ points)
    spread_of_all = float(weights @ (points - mean_of_all) ** 2)
    costs, values = np.zeros((count, count)), np.zeros((count, count))
    mass, mean, within = np.zeros(count), points.copy(), np.zeros(count)
    for end in range(count):
        part = slice(0, end + 1)
        before = mass[part].copy()
        mass[part] += weights[end]
        share = np.divide(weights[end], mass[part], out=np.zeros(end + 1), where=mass[part] > 0)
        step = points[end] - mean[part]
        within[part] += before * share * step**2
        mean[part] += share * step
        own = kept * mass[part]
        away = mean[part] - mean_of_all
        costs[end, part] = kept * within[part] + lie * spread_of_all + own * lie / (own + lie) * away**2
        values[end, part] = mean_of_all + own / (own + lie) * away
    return costs, values


def _absolute(points: Floats, weights: Floats, lie: float, kept: float) -> tuple[Floats, Floats]:
    """Costs and best values of every interval [end, start], absolute loss: the value is a weighted median, a label."""
    count, total = len(points), np.cumsum(weights)
    costs, values = np.zeros((count, count)), np.zeros((count, count))
    below = np.zeros(
        (count, count)
    )  # [start, middle]: what the labels start .. middle are below the middle one, weighted
    above, mass = np.zeros(count), np.zeros(count)  # [middle]: the same of middle .. end, above
    anywhere = np.abs(points[:, None] - points) @ weights
    earlier = np.concatenate([[0.0], total[:-1]])
    for end in range(count):
        if end:
            below[:end, end] = below[:end, end - 1] + mass[:end] * (points[end] - points[end - 1])
        above[: end + 1] += weights[end] * (points[end] - points[: end + 1])
        mass[: end + 1] += weights[end]
        start = np.arange(end + 1)
        median = np.zeros(end + 1, dtype=np.int64)
        half = (kept * mass[: end + 1] + lie) / 2
        for step in (2**bit for bit in reversed(range(count.bit_length()))):
            probe = np.minimum(median + step, count) - 1
            inside = np.clip(total[probe] - earlier[: end + 1], 0, mass[: end + 1])
            median += step * ((median + step < count) & (kept * inside + lie * total[probe] < half))
        closest = np.clip(median, start, end)
        inner = below[start, closest] + above[closest]
        inner += mass[: end + 1] * np.abs(points[median] - points[closest])
        costs[end, : end + 1] = kept * inner + lie * anywhere[median]
        values[end, : end + 1] = points[median]
    return costs, values
