"""The trade-off curve: how often an attacker must miss, for how often they may cry wolf.

For two laws P and Q let a test mistake Q for P with probability fpr. Then it misses P with at least

    f(fpr) = max over real epsilon of  h(epsilon) = 1 - delta(epsilon) - e^epsilon fpr,

and some test attains it. As a function of `s = e^epsilon` h is concave, because delta is convex. Any epsilon
gives a lower bound. For the upper one take three points `s_a < s_0 < s_b` with `h(s_a), h(s_b) <= h(s_0)`: the maximum
lies between the outer ones, and below the two chords prolonged over `s_0`.

Error: each h is a bracket, and both ends of f are made from the ends that prove them.

Source: Dong, Roth, Su 2022, proposition 6 (the curve and delta are each other's conjugates).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from statistics import NormalDist

from accounting.numerics.answers import Direction, within_floats
from accounting.numerics.rounding import LIBRARY, relative

Pair = tuple[float, float]
Located = tuple[float, Callable[[float], Pair]]

SPANS = (0.3, 0.1, 3e-2, 1e-2, 3e-3, 1e-3, 1e-4, 1e-5, 1e-7, 1e-9)
"""Distances of the outer points in epsilon, for losses of spread 1 and more."""

GUARD = relative(16 + 2 * LIBRARY)


def least_miss(forth: Direction, back: Direction, rate: float) -> Pair:
    """Returns a bracket of f at a false positive rate.

    Args:
        forth: the direction in question, P against Q.
        back: the same composition with P and Q exchanged.
        rate: in [0, 1].
    """
    if rate == 0 or rate == 1 or not forth.factors:
        return 1 - rate, 1 - rate if rate in (0, 1) else math.nextafter(1 - rate, 2)
    curve = _Curve(forth, back)
    if not 1e-100 < forth.moments[1] < 1e100:
        return max(0.0, _height(curve, 0.0, rate)[0]), math.nextafter(1 - rate, 2)
    best, scale = within_floats(lambda: _best(curve, rate)) or 0.0, min(1.0, forth.moments[1])
    middle = _height(curve, best, rate)
    lower, upper = max(0.0, middle[0]), math.nextafter(1 - rate, 2)
    for span in SPANS:
        before, after = best - span * scale, best + span * scale
        left, right = _height(curve, before, rate), _height(curve, after, rate)
        lower = max(lower, left[0], right[0])
        if left[1] > middle[0] or right[1] > middle[0] or not before < best < after:
            continue
        stretch = math.expm1(after - best) / -math.expm1(before - best) * (1 + GUARD)
        over = max((middle[1] - left[0]) * stretch, (middle[1] - right[0]) / stretch * (1 + 2 * GUARD))
        upper = min(upper, (middle[1] + over) * (1 + GUARD))
    return min(lower, upper), upper


@dataclass
class _Curve:
    """Delta of both directions, from a line near the last epsilon that was asked for.

    Attributes:
        forth, back: P against Q, and Q against P, which answers for negative epsilons.
        lines: for each direction where the last line was put, and its function.
    """

    forth: Direction
    back: Direction
    lines: dict[int, Located] = field(default_factory=dict[int, Located])

    def __call__(self, epsilon: float) -> Pair:
        """Returns a bracket of delta at |epsilon|, of the direction that its sign asks about."""
        side, where = int(epsilon < 0), abs(epsilon)
        direction = self.back if side else self.forth
        if side not in self.lines or abs(where - self.lines[side][0]) > 0.3 * direction.moments[1]:
            self.lines[side] = where, direction.near(where)
        return self.lines[side][1](where)


def _height(curve: _Curve, epsilon: float, rate: float) -> Pair:
    """Returns a bracket of h; for epsilon < 0 by `delta(-x) = 1 - e^-x + e^-x delta'(x)`, P and Q exchanged."""
    lower, upper = curve(epsilon)
    if epsilon >= 0:
        cost = math.exp(min(700.0, epsilon + math.log(rate)))
        return 1 - (upper + cost) * (1 + 2 * GUARD) - GUARD, 1 - (lower + cost) * (1 - 2 * GUARD) + GUARD
    weight = math.exp(epsilon)
    return weight * (1 - upper - rate - 2 * GUARD), weight * (1 - lower - rate + 2 * GUARD) * (1 + GUARD)


def _best(curve: _Curve, rate: float) -> float:
    """Returns about where h is largest: where the rate of false alarms of the test `loss > epsilon` is fpr."""
    mean, spread = curve.forth.moments
    span = 1e-4 * min(1.0, spread)

    def gap(epsilon: float) -> float:
        step = span if epsilon >= 0 else -span
        first, second = (sum(curve(at)) / 2 for at in (epsilon, epsilon + step))
        slope = (second - first) / span
        # fpr = -e^-epsilon delta'(epsilon), and by the exchange of P and Q below 0
        alarms = -slope * math.exp(-epsilon) if epsilon >= 0 else 1 - first + slope
        return math.log(alarms / rate) if alarms > 0 else -math.inf

    # where it would be if the loss were normal, with the mean -mean under Q
    guess = -mean - spread * NormalDist().inv_cdf(rate)
    low, high, width = guess - 0.1 * spread, guess + 0.1 * spread, 0.3 * spread
    for _ in range(60):
        if gap(high) > 0 and high < curve.forth.top:
            low, high = high, min(high + width, curve.forth.top)
        elif gap(low) <= 0 and low > -curve.back.top:
            low, high = max(low - width, -curve.back.top), low
        else:
            break
        width *= 2
    best = _crossing(gap, low, high, 3e-6 * min(1.0, spread))
    value = curve.forth.value_near(best)
    return value if abs(value - best) < 1e-4 * spread else best


def _crossing(gap: Callable[[float], float], low: float, high: float, tolerance: float) -> float:
    """Returns about where a falling function crosses 0, by false position and bisection in turn."""
    above, below = gap(low), gap(high)
    for step in range(80):
        if high - low <= tolerance:
            break
        at = (low + high) / 2
        if step % 3 and math.isfinite(above) and math.isfinite(below) and above > 0 > below:
            at = low + (high - low) * above / (above - below)
            at = min(max(at, low + tolerance / 3), high - tolerance / 3)
        value = gap(at)
        low, high, above, below = (at, high, value, below) if value > 0 else (low, at, above, value)
    return (low + high) / 2
