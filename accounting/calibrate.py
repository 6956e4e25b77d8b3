"""Calibration: the parameter that spends a given total, found by search and never on the unsafe side."""

from __future__ import annotations

import math
from collections.abc import Callable
from fractions import Fraction

from accounting import arguments
from accounting.composition import compose
from accounting.events import (
    EventLike,
    PoissonSubsampledGaussian,
    RandomizedResponse,
    Repeated,
    Sequence,
    as_event,
)
from accounting.numerics.rounding import float_down

NOISE = (2.0**-6, 2.0**20)
"""Noise multipliers that are searched."""

SMALLEST = 2.0**-960
"""Epsilon from which on larger ones are tried; the share of a total may be too small for a float."""


def epsilon_per_answer(epsilon: float, delta: float, *, count: int, num_classes: int) -> float:
    """Returns the largest epsilon of one answer for which all answers together keep (epsilon, delta).

    Args:
        epsilon: the total, > 0.
        delta: in [0, 1); at 0 the total is divided.
        count: n, the number of answers by K-ary randomized response about one thing (unit record: all answers).
        num_classes: K >= 2, the least alphabet of an answer; 2 where sizes are not fixed beforehand.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: `RandomizedResponse(result, num_classes)` composed `count` times has an upper bound of epsilon
    that is at most the total; so has every smaller result.

    Error: on the lower side, by at most 1e-7 of it and the width of the bracket.
    """
    total, share = _target(epsilon, delta)
    classes = arguments.whole("num_classes", num_classes, least=2, largest=arguments.LARGEST_ALPHABET)
    low = float_down(Fraction(total) / arguments.whole("count", count))
    if share == 0:
        return low

    def room(each: float) -> float:
        loss = RandomizedResponse(each, classes).privacy_loss().self_compose(count)
        spent = float(loss.epsilon(share).upper)
        return math.log(total / spent) if spent > 0 else math.inf

    high = max(2 * low, SMALLEST)
    while room(high) > 0:
        low, high = high, 2 * high
    return crossing(room, low, high)[0]


def noise_multiplier(
    epsilon: float,
    delta: float,
    *,
    count: int = 1,
    sampling_probability: float = 1.0,
    beside: EventLike = (),
) -> float:
    """Returns the least noise multiplier for which `count` Gaussian steps together keep (epsilon, delta).

    Args:
        epsilon: the total, > 0.
        delta: in (0, 1).
        count: the number of steps on the same records.
        sampling_probability: of one record in one step, Poisson sampling; 1 uses every record.
        beside: what else happened to the same records and has to fit into the total.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range, or no multiplier from 2^-6 to 2^20 does.

    Privacy: the Gaussian event (add or remove one record) of the result, composed `count` times and with `beside`, has an
    upper bound of epsilon that is at most the total.

    Error: on the upper side, by at most 1e-7 of it and the width of the bracket.
    """
    total, share = _target(epsilon, delta)
    if share == 0:
        raise ValueError("Expected delta > 0: Gaussian noise never gives pure differential privacy.")
    steps = arguments.whole("count", count)

    others = as_event(beside)

    def excess(noise: float) -> float:
        step = PoissonSubsampledGaussian(noise, sampling_probability)
        spent = compose(Sequence([Repeated(step, steps), others]), disjoint="all parts").epsilon_at(share)
        return math.log(spent / total) if spent > 0 else -math.inf

    high = 1.0
    while excess(high) > 0:
        high *= 2
        if high > NOISE[1]:
            raise ValueError(
                f"Expected a target that a noise multiplier <= {NOISE[1]:g} meets; raise epsilon or delta."
            )
    low = high / 2
    while low > NOISE[0] and excess(low) <= 0:
        high, low = low, low / 2
    return crossing(excess, low, high)[1]


def _target(epsilon: float, delta: float) -> tuple[float, float]:
    total, share = arguments.budget("epsilon", epsilon), arguments.probability("delta", delta)
    if total == 0 or share == 1:
        raise ValueError(
            f"Expected epsilon > 0 and delta < 1, got {total!r} and {share!r}; anything is ({total!r}, 1)-DP."
        )
    return total, share


def crossing(
    gap: Callable[[float], float], low: float, high: float, *, tolerance: float = 1e-7
) -> tuple[float, float]:
    """Returns `(left, right)` with `gap(left) > 0 >= gap(right)`, both evaluated, near to one another.

    Args:
        gap: a function that falls; -inf is welcome.
        low, high: where to look; `(low, low)` comes back if already `gap(low) <= 0`.
        tolerance: largest `(right - left) / right`.

    Error: each side holds by its own evaluation; a function that does not fall costs tightness only.
    """
    left, right, above = low, high, gap(low)
    if above <= 0:
        return low, low
    below, last = gap(high), 0
    assert below <= 0
    for step in range(300):
        if right - left <= tolerance * right:
            break
        at = (left + right) / 2
        if step % 4 != 3 and math.isfinite(above) and math.isfinite(below):
            margin = min(tolerance * right / 3, (right - left) / 2)
            at = left + (right - left) * above / (above - below)
            at = min(max(at, left + margin), right - margin)
        value = gap(at)
        side = 1 if value > 0 else -1
        if side > 0:
            left, above, below = at, value, below / 2 if last > 0 else below
        else:
            right, below, above = at, value, above / 2 if last < 0 else above
        last = side
    return left, right
