"""Rényi divergence of three-point losses, and what it says about epsilon and delta.

For weights `q, q e^-epsilon` of the losses `+epsilon, -epsilon` and `s = q (1 - e^(-alpha epsilon))`, one use
has

    E exp((alpha - 1) L) = 1 + s (e^x - 1),        x = (alpha - 1) epsilon,

since `q (e^x - 1) + q e^-epsilon (e^-x - 1) = q (e^x - 1)(1 - e^-(x + epsilon))`: positive factors only.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from accounting.rounding import relative
from accounting.trinomial import Floats

Weighted = tuple[float, float, int]
"""Epsilon, probability q of the loss `+epsilon`, and count of the equal losses of one group."""

ERROR = relative(4096)
"""Relative error of a divergence.

With z = s (e^x - 1), where `middle <= 2^54` gives s >= 2^-56 as soon as x
>= 1: z carries at most 2x + 12 + 2 LIBRARY roundings; log1p divides that by at least max(1, x - 40), and x
beyond 700 is summed as x + log(s) >= 600 instead. No step subtracts, so 164 + one sum per group stay below
4096."""

LARGEST_SUM, SMALLEST_EPSILON, LARGEST_USES, MOST_GROUPS = 1e12, 1e-100, 2**53, 3000
"""Range in which none of the terms below overflows or underflows."""


def divergence(groups: tuple[Weighted, ...], orders: Floats) -> Floats:
    """Returns the Rényi divergence of the composition at each finite order > 1, to nearest.

    Error: within a factor `1 +- ERROR` for at most MOST_GROUPS groups in the range above.
    """
    total = np.zeros_like(orders)
    for epsilon, plus, count in groups:
        tilt = (orders - 1) * epsilon
        share = -plus * np.expm1(-orders * epsilon)
        small = np.log1p(share * np.expm1(np.minimum(tilt, 700.0)))
        total += count * np.where(tilt <= 700.0, small, tilt + np.log(share)) / (orders - 1)
    return total


def epsilon_from(groups: tuple[Weighted, ...], delta: float) -> float:
    """Returns an epsilon that holds for `delta > 0`.

    The best order is searched; every order gives a bound, so the search decides tightness and never validity.

    Error: on the upper side, with the rounding of every term added.

    Source: Canonne, Kamath, Steinke 2020, proposition 12:
    `epsilon = D_alpha + log(1 - 1/alpha) - log(delta alpha) / (alpha - 1)`.
    """

    def bound(orders: Floats) -> Floats:
        loss = divergence(groups, orders)
        gain = np.log1p(1 / (orders - 1))
        price = -(math.log(delta) + np.log(orders)) / (orders - 1)
        size = loss + gain + (abs(math.log(delta)) + np.log(orders)) / (orders - 1)
        return loss - gain + price + ERROR * size

    return max(0.0, _least(bound))


def log_delta_from(groups: tuple[Weighted, ...], epsilon: float) -> float:
    """Returns the logarithm of a delta that holds for `epsilon >= 0`; Error and Source as `epsilon_from`."""

    def bound(orders: Floats) -> Floats:
        loss = divergence(groups, orders)
        rest = -(orders - 1) * np.log1p(1 / (orders - 1)) - np.log(orders)
        size = (orders - 1) * (loss + epsilon) - rest
        return (orders - 1) * (loss - epsilon) + rest + ERROR * size

    return min(0.0, _least(bound))


def _least(bound: Callable[[Floats], Floats]) -> float:
    """Returns the least value of a bound on the orders `1 + e^t`, on a grid refined twice."""
    low, high = -14.0, 20.0
    best = math.inf
    for _ in range(3):
        grid = np.linspace(low, high, 129)
        values = bound(1.0 + np.exp(grid))
        at = int(np.argmin(values))
        best = min(best, float(values[at]))
        low, high = float(grid[max(0, at - 1)]), float(grid[min(128, at + 1)])
    return best
