"""Choosing candidates from a prior alone: which classes a selective mechanism answers in.

No function here takes a label. Everything is decided by sums of integers and by +, -, *, / and rounding of floats in a fixed
order, so that the candidates are the same on every path (numpy, compiled, other devices) and every machine.
"""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.compiled import loops_in_use
from labeldp.mechanisms.thresholds import exponential_below

Weights: TypeAlias = npt.NDArray[np.int64]
Candidates: TypeAlias = npt.NDArray[np.bool_]
Floats: TypeAlias = npt.NDArray[np.float64]

NAT = float(2**48)
"""Information is counted in integer units of 2^-48 nat; a sum of them does not depend on its order."""

NOT_ALLOWED = -(2**62)
"""Less than any information in units: some are a little below 0, by rounding."""

SMALLEST_EPSILON = 2.0**-12
"""Below it the most informative size is that of this epsilon: the best size tends to a limit, and units would run out."""


_Function = TypeVar("_Function", bound=Callable[..., Any])


def compiled_too(function: _Function) -> _Function:
    """Marks a function of numbers or arrays whose one text is compiled as well, by `kernels_many_classes`."""
    return function


def sizes(candidates: Candidates) -> npt.NDArray[np.int64]:
    """Number of candidates of each item, (n,)."""
    compiled = loops_in_use()
    if compiled is not None:
        return compiled.sizes(candidates)
    return np.einsum("ij->i", candidates.view(np.uint8), dtype=np.int64)


def largest_classes(weights: Weights, size: int) -> Candidates:
    """The `size` largest classes of each row, ties by index, zeros last; shape (n, K)."""
    level = np.partition(weights, weights.shape[1] - size, axis=1)[:, weights.shape[1] - size]
    return _classes_from(weights, level, np.full(len(weights), size))


def _classes_from(weights: Weights, level: Weights, size: npt.NDArray[np.int64]) -> Candidates:
    """The classes above the level of their row, then the first ones at it, as many as the size of the row says."""
    mask = weights > level[:, None]
    equal = weights == level[:, None]
    room = size - sizes(mask)
    if (sizes(equal) > room).any():
        equal &= equal.cumsum(axis=1) <= room[:, None]
    return mask | equal


def most_accurate(weights: Weights, epsilon: float) -> Candidates:
    """The candidates that maximise P[output = label] under the prior, over all sizes; shape (n, K).

    For a set S that probability is V(S) E, with V(S) = weight of S / (E + size of S - 1). A further class raises V exactly
    when its weight is above V, so the best set is the fixed point S = {weight > V(S)}. No V(S) is above the best, so the
    passes climb to it from any set; they start at the most likely class alone. Two values near 2^-53 of each other
    may be told apart either way: S stays a function of the prior alone.

    Source: arXiv 2102.06062, Theorem 3 (optimality among all epsilon-DP mechanisms); the fixed point is proved in docs/design.
    """
    ratio = float(exponential_below(epsilon))
    largest = weights.max(axis=1, initial=0)
    mask = weights > (largest / ratio).astype(np.int64)[:, None]
    count = sizes(mask)
    active = np.flatnonzero(count > 1)
    while active.size:
        chosen, kept = weights[active], mask[active]
        total = (chosen * kept).sum(axis=1)
        level = (total / (ratio + (count[active] - 1))).astype(np.int64)
        kept = chosen > level[:, None]
        mask[active], before = kept, count[active]
        count[active] = after = sizes(kept)
        active = active[(after < before) & (after > 1)]
    lonely = np.flatnonzero(
        count == 0
    )  # at epsilon 0 no class is above V; the most likely one, the first of equals
    mask[lonely, weights[lonely].argmax(axis=1)] = True
    return mask


class Information(NamedTuple):
    """What the information of each size k is computed from; arrays are indexed by k, from 0 to K + 1.

    Attributes:
        lie, lift: probability of one lie, and of the truth less that of a lie, on the alphabet of a outputs (a = k, or k + 1 and
            at most K where "other" is an output).
        entropy, log: of an answer to a label inside, in nats, and of k.
        gain: E / (E + a - 1).
        most, bend, steep, inverse: for `information_bound`; `most` is the information if all mass were inside and even.
        most_beyond: the largest `most` from k on.
        base, slope, turn, slope_times_size: two lines, for `kernels_many_classes.information_beyond`: the information of k classes of
            mass P is at most base + slope P.
        odds, heat, all_heat: E - 1, NAT / E, and ln E in units.
        slack: more than all roundings of an information and its bounds together, in nats.
    """

    lie: Floats
    lift: Floats
    entropy: Floats
    log: Floats
    gain: Floats
    most: Floats
    bend: Floats
    steep: Floats
    inverse: Floats
    most_beyond: Floats
    base: Floats
    slope: Floats
    turn: Floats
    slope_times_size: Floats
    odds: float
    heat: float
    all_heat: int
    slack: float


@compiled_too
def natural_log(x: Any) -> Any:
    """ln x for normal x > 0, a number or an array, within 1e-15 (1 + |ln x|); the same bits on every machine and path.

    x = 2^e m with m in [sqrt(1/2), sqrt(2)), and ln m = 2 artanh((m - 1) / (m + 1)).
    """
    pattern = np.float64(x).view(np.int64)
    exponent = (pattern - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(pattern - (exponent << 52)).view(np.float64)
    s = (m - 1.0) / (m + 1.0)
    z = s * s
    series = 1.0 + z * (
        1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * (1 / 11 + z * (1 / 13 + z * (1 / 15 + z / 17))))))
    )
    return exponent * 0.6931471805599453 + 2.0 * s * series


def entropy_units(probability: Any) -> Any:
    """-p ln p in units, an integer or an array of them."""
    return np.int64(np.rint(probability * natural_log(probability) * -NAT))


def heat_units(x: Any, heat: float) -> Any:
    """x ln x / E in units, for x = 1 + (E - 1) p."""
    return np.int64(np.rint(x * natural_log(x) * heat))


@functools.lru_cache(maxsize=32)
def information_table(epsilon: float, num_classes: int, other: bool) -> Information:
    """The table for every size up to K."""
    epsilon = max(epsilon, SMALLEST_EPSILON)
    ratio = exponential_below(epsilon)
    truth, odds = float(ratio), float(ratio - 1)
    size = np.arange(num_classes + 2, dtype=np.float64)
    alphabet = np.clip(size + other, 1, num_classes)
    lie, log = 1 / (odds + alphabet), natural_log(np.maximum(size, 1))
    lift = odds * lie
    entropy = natural_log(odds + alphabet) - epsilon * truth * lie
    most = natural_log(alphabet) - entropy
    most[-1] = 0  # no size is above K
    lines = (
        [_tangent(size, lie, lift, entropy, mass) for mass in (0.1, 0.4)] if other else 2 * [(0 * most, most)]
    )
    base, slope = np.array(lines).swapaxes(0, 1)
    if other:  # K classes are answered like K - 1 of them with the last one as the other
        base[:, -2:] = slope[:, -2:] = 0
    fall, rise = slope[:, :-1] - slope[:, 1:], np.diff(slope * size)
    turn = np.where(rise <= 0, 0, np.where(fall > 0, rise / np.maximum(fall, 1e-300), np.inf))
    return Information(
        *(lie, lift, entropy, log, truth * lie),
        *(most, size * lift * lift, 2 / 3 * size * lift, 1 / np.maximum(size, 1)),
        *(_largest_from(column) for column in (most, base, slope, np.pad(turn, ((0, 0), (0, 1))))),
        slope_times_size=(slope * size).max(axis=1),
        odds=odds,
        heat=NAT / truth,
        all_heat=int(heat_units(np.float64(1 + odds), NAT / truth)),
        slack=(num_classes + 100) * 2.0**-47,
    )


def _tangent(size: Floats, lie: Floats, lift: Floats, entropy: Floats, mass: float) -> tuple[Floats, Floats]:
    """Base and slope of a line above the information with "other", as a function of the mass of the k classes.

    If they share it evenly their information is largest, and concave in their mass: the line touches it at the mass given.
    """
    size = np.maximum(size, 1)
    own, other = lie + lift * (mass / size), lie + lift * (1 - mass)
    slope = lift * (natural_log(other) - natural_log(own))
    return -size * own * natural_log(own) - other * natural_log(other) - entropy - slope * mass, slope


def _largest_from(columns: Floats) -> Floats:
    """The largest entry from each one on, along the last axis."""
    return np.ascontiguousarray(np.maximum.accumulate(columns[..., ::-1], axis=-1)[..., ::-1])


def most_informative(weights: Weights, epsilon: float, *, other: bool) -> Candidates:
    """The candidates of size k >= 2 that maximise the mutual information of label and output under the prior; (n, K).

    A class of prior zero is never a candidate, so a row with one positive class gets k = 1. Equal to a unit of 2^-48 nat, the
    smaller size wins.
    """
    ordered = -np.sort(-weights, axis=1)
    table = information_table(epsilon, weights.shape[1], other)
    rule = _informative_sizes_with_other if other else _informative_sizes_uniform_outside
    size = np.where((ordered > 0).sum(axis=1) > 1, rule(ordered, table), 1)
    return _classes_from(weights, np.take_along_axis(ordered, size[:, None] - 1, axis=1)[:, 0], size)


def _informative_sizes_with_other(ordered: Weights, table: Information) -> npt.NDArray[np.int64]:
    """I = (E ln E - sum_j x_j ln x_j) / (E + a - 1) with x = 1 + (E - 1) p, for the k classes and all others as one."""
    inside = ordered.cumsum(axis=1)
    total = inside[:, -1:]
    share = table.odds / total
    heat = heat_units(1 + ordered * share, table.heat).cumsum(axis=1)
    heat += heat_units(1 + (total - inside) * share, table.heat)
    units = np.rint((table.all_heat - heat) * table.gain[1:-1]).astype(np.int64)
    units[:, 0] = NOT_ALLOWED
    return np.where(ordered > 0, units, NOT_ALLOWED).argmax(axis=1) + 1


def _informative_sizes_uniform_outside(ordered: Weights, table: Information) -> npt.NDArray[np.int64]:
    """I(k) takes k logarithms, so it is computed only where `information_bound` leaves a chance."""
    inside = ordered.cumsum(axis=1)
    share = 1 / inside[:, -1:]
    p, mass, outside = ordered * share, inside * share, (inside[:, -1:] - inside) * share
    columns = (column[1:-1] for column in (table.most, table.bend, table.steep, table.inverse))
    bound: Floats = information_bound(p[:, :1], mass, (p * p).cumsum(axis=1), *columns)
    bound[:, 0] = -np.inf
    bound[ordered == 0] = -np.inf
    first = bound.argmax(axis=1)
    best, size = np.empty(len(first), dtype=np.int64), first + 1
    for k in np.unique(size).tolist():
        rows = np.flatnonzero(size == k)
        best[rows] = _information(
            ordered[rows], share[rows, 0], mass[rows, k - 1], outside[rows, k - 1], k, table
        )
    np.put_along_axis(bound, first[:, None], -np.inf, axis=1)
    promising = bound > (best / NAT - table.slack)[:, None]
    for k in (np.flatnonzero(promising.any(axis=0)) + 1).tolist():
        rows = np.flatnonzero(promising[:, k - 1])
        units = _information(ordered[rows], share[rows, 0], mass[rows, k - 1], outside[rows, k - 1], k, table)
        better = (units > best[rows]) | ((units == best[rows]) & (k < size[rows]))
        best[rows[better]], size[rows[better]] = units[better], k
    return size


def _information(
    ordered: Weights, share: Floats, mass: Floats, outside: Floats, k: int, table: Information
) -> npt.NDArray[np.int64]:
    """I = H(output) - P H(answer) - (1 - P) ln k in units: labels outside answer uniformly on the k candidates."""
    even = mass * table.lie[k] + outside * table.inverse[k]
    output = ordered[:, :k] * (table.lift[k] * share)[:, None] + even[:, None]
    return entropy_units(output).sum(axis=1) - answer_units(mass, outside, table.entropy[k], table.log[k])


@compiled_too
def answer_units(mass: Any, outside: Any, entropy: float, log: float) -> Any:
    """P H(answer) + (1 - P) ln k in units."""
    return np.int64(np.rint((mass * entropy + outside * log) * NAT))


@compiled_too
def information_bound(
    largest: Any, mass: Any, squares: Any, most: Any, bend: Any, steep: Any, inverse: Any
) -> Any:
    """An upper bound on the information of the k most likely classes under "uniform", in nats.

    I = P (ln k - H(answer)) - KL(output || uniform on k), and KL = (1 / k) sum_j h(u_j) with u_j = k P[output = j] - 1 and
    h(u) = (1 + u) ln(1 + u) - u >= u^2 / (2 + 2 u / 3), Bennett's inequality.

    Args:
        largest: probability of the most likely class.
        mass: P, the sum of the k largest probabilities.
        squares: the sum of their squares.
        most, bend, steep, inverse: the entries of k in the table.
    """
    uneven = np.maximum(squares - mass * mass * inverse, 0.0)
    return mass * most - bend * uneven / (2.0 + steep * np.maximum(largest - mass * inverse, 0.0))
