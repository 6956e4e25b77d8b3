"""Rényi divergence of a composition, and what it says about epsilon and delta.

`D_alpha = log E exp((alpha - 1) L) / (alpha - 1)` under P, so that it is `log M(alpha - 1) / (alpha - 1)` for the
moment function M of `factor`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from accounting.numerics.factor import Factor
from accounting.numerics.rounding import relative
from accounting.numerics.saddle import log_moment
from accounting.numerics.trinomial import Floats

ROUNDING = relative(64)
"""Relative error of every term of a conversion."""


def divergence(factors: Sequence[Factor], order: float) -> tuple[float, float]:
    """Returns a bracket of the Rényi divergence at a finite order > 1; not finite where floats overflow."""
    moment, error = (float(part[0]) for part in log_moment(factors, np.array([order - 1])))
    room = (error + ROUNDING * abs(moment)) / (order - 1)
    return moment / (order - 1) - room, moment / (order - 1) + room


def epsilon_from(factors: Sequence[Factor], delta: float) -> float:
    """Returns an epsilon that holds for `delta > 0`, infinity where floats do not deliver one.

    The best order is searched; every order gives a bound, so the search decides tightness and never validity.

    Error: on the upper side, with the rounding of every term added.

    Source: Canonne, Kamath, Steinke 2020, proposition 12:
    `epsilon = D_alpha + log(1 - 1/alpha) - log(delta alpha) / (alpha - 1)`.
    """

    def bound(tilts: Floats) -> Floats:
        moment, error = log_moment(factors, tilts)
        gain, price = np.log1p(1 / tilts), (math.log(delta) + np.log1p(tilts)) / tilts
        size = np.abs(moment) / tilts + gain + (abs(math.log(delta)) + np.log1p(tilts)) / tilts
        return (moment + error) / tilts - gain - price + ROUNDING * size

    return max(0.0, _least(bound, factors))


def log_delta_from(factors: Sequence[Factor], epsilon: float) -> float:
    """Returns the logarithm of a delta that holds for `epsilon >= 0`; Error and Source as `epsilon_from`."""

    def bound(tilts: Floats) -> Floats:
        moment, error = log_moment(factors, tilts)
        rest = -tilts * np.log1p(1 / tilts) - np.log1p(tilts)
        size = np.abs(moment) + tilts * epsilon - rest
        return moment + error - tilts * epsilon + rest + ROUNDING * size

    return min(0.0, _least(bound, factors))


def _least(bound: Callable[[Floats], Floats], factors: Sequence[Factor]) -> float:
    """Returns the least value of a bound on the tilts `e^t`, on a grid refined three times; infinity for NaN."""
    last, low, best = min(factor.highest for factor in factors), -40.0, math.inf
    if last <= math.exp(low):
        return best
    high = min(40.0, math.log(last))
    for _ in range(4):
        grid = np.linspace(low, high, 65)
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            values = bound(np.exp(grid))
        values = np.where(np.isnan(values), np.inf, values)
        at = int(np.argmin(values))
        best = min(best, float(values[at]))
        low, high = float(grid[max(0, at - 1)]), float(grid[min(64, at + 1)])
    return best
