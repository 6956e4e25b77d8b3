"""Where to put the line of `contour`: the saddle point, which keeps relative accuracy however small delta is.

The exponent of the inversion is `log M(theta) - theta epsilon - log(theta (theta + 1))`, convex in theta. Nothing here
proves anything: a line anywhere gives a bracket, and only its width depends on where.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accounting.numerics.factor import Factor
from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats

LOWEST, HIGHEST = 0.03, 1e18
"""Range of tilts: against the distance of epsilon from the mean, and times the standard deviation of the loss."""


@dataclass(frozen=True)
class Saddle:
    """A tilt, and what the saddle-point approximation says there.

    Attributes:
        tilt: theta > 0.
        epsilon: of which the tilt is the saddle point, roughly.
        log_delta: of delta at epsilon, roughly.
        spread: square root of the second derivative of the exponent.
        excess: of `log (M e^(-theta epsilon))` over log_delta; least at the saddle point.
    """

    tilt: float
    epsilon: float
    log_delta: float
    spread: float
    excess: float


@dataclass(frozen=True)
class Goal:
    """What a saddle point is wanted for: an epsilon, or a delta; one of the two.

    Attributes:
        epsilon: any real number.
        log_delta: < 0.
    """

    epsilon: float | None = None
    log_delta: float | None = None

    def gaps(self, factors: Sequence[Factor], tilts: Floats) -> tuple[Floats, Floats, Floats]:
        """Returns how far each tilt is beyond the goal, and epsilon and spread there."""
        mean, spread = slopes(factors, tilts)
        at = mean - 1 / tilts - 1 / (1 + tilts)
        width = np.sqrt(spread + 1 / tilts / tilts + 1 / (1 + tilts) / (1 + tilts))
        if self.epsilon is not None:
            return at - self.epsilon, at, width
        assert self.log_delta is not None
        moment = log_moment(factors, tilts)[0]
        height = moment - tilts * at - np.log(tilts) - np.log1p(tilts) - np.log(2.5 * width)
        return self.log_delta - height, at, width


def saddle(factors: Sequence[Factor], goal: Goal) -> Saddle | None:
    """Returns the saddle point for a goal, or what comes nearest to it; None where floats end."""
    found = _range(factors, goal)
    if found is None:
        return None
    low, high = found
    at, tilts, places, widths = 0, np.array([low]), np.zeros(1), np.zeros(1)
    for _ in range(3):
        tilts = np.geomspace(low, high, 9) if low < high else np.array([low])
        gaps, places, widths = goal.gaps(factors, tilts)
        at = int(np.argmax(gaps > 0)) if gaps[-1] > 0 else len(tilts) - 1
        low, high = float(tilts[max(at - 1, 0)]), float(tilts[at])
    tilt, width = float(tilts[at]), float(widths[at])
    epsilon = float(places[at]) if goal.epsilon is None else goal.epsilon
    excess = math.log(tilt) + math.log1p(tilt) + math.log(2.5 * width)
    return Saddle(tilt, epsilon, _exponent(factors, tilt, epsilon) - excess, width, excess)


def less_tilted(factors: Sequence[Factor], at: Saddle, share: float) -> Saddle:
    """Returns a smaller tilt for the same epsilon, not a saddle point."""
    tilt = at.tilt * share
    spread = math.sqrt(
        float(slopes(factors, np.array([tilt]))[1][0]) + 1 / tilt / tilt + 1 / (1 + tilt) / (1 + tilt)
    )
    return Saddle(tilt, at.epsilon, at.log_delta, spread, _exponent(factors, tilt, at.epsilon) - at.log_delta)


def log_moment(factors: Sequence[Factor], tilts: Floats) -> tuple[Floats, Floats]:
    """Returns `log M` of the composition, and a bound on its absolute error."""
    total, error = np.zeros_like(tilts), np.zeros_like(tilts)
    for factor in factors:
        value, off = factor.log_moment(tilts)
        total, error = total + value, error + off + (len(factors) + 2) * UNIT * np.abs(value)
    return total, error


def slopes(factors: Sequence[Factor], tilts: Floats) -> tuple[Floats, Floats]:
    """Returns first and second derivative of `log M` of the composition, to some digits."""
    mean, spread = np.zeros_like(tilts), np.zeros_like(tilts)
    for factor in factors:
        first, second = factor.slopes(tilts)
        mean, spread = mean + first, spread + second
    return mean, spread


def _range(factors: Sequence[Factor], goal: Goal) -> tuple[float, float] | None:
    """Returns two tilts around the goal, or the last one twice."""
    mean, variance = (float(part[0]) for part in slopes(factors, np.zeros(1)))
    if not 1e-240 < variance < 1e240:
        return None
    scale, last = math.sqrt(variance), min(factor.highest for factor in factors) / 2
    high = min(LOWEST / (scale + abs(mean - (goal.epsilon or 0.0))), last / 2)
    while high < HIGHEST / scale:
        tilts = np.minimum(high * 2.0 ** np.arange(6), last)
        gaps, _, _ = goal.gaps(factors, tilts)
        if not np.all(np.isfinite(gaps)):
            return None
        if gaps[-1] > 0:
            at = int(np.argmax(gaps > 0))
            return float(tilts[max(at - 1, 0)]), float(tilts[at])
        if tilts[-1] == last:
            return last, last
        high = float(tilts[-1])
    return None


def _exponent(factors: Sequence[Factor], tilt: float, epsilon: float) -> float:
    return float(log_moment(factors, np.array([tilt]))[0][0]) - tilt * epsilon
