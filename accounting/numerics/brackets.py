"""Questions to the contour: delta at an epsilon, epsilon at a delta, as brackets that are verified, never trusted."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

from accounting.numerics import contour
from accounting.numerics.factor import Factor
from accounting.numerics.rounding import UNIT
from accounting.numerics.saddle import Goal, log_moment, saddle
from accounting.numerics.trinomial import Floats

Pair = tuple[float, float]

CERTAIN = -38.0
"""Where 1 - delta is proved to be below e^-38 the bracket is [1 - 2^-52, 1]."""

NARROW, HOPELESS = 1e-5, 2.0
"""Widths of `log delta` between which another line is tried, when the first was put elsewhere."""

NEAREST = 1e-11
"""Epsilons this close to the largest loss, relative to it, are not told apart from it."""


def curve_near(factors: Sequence[Factor], epsilon: float, top: float) -> Callable[[float], Pair] | None:
    """Returns delta as a function: a bracket at any epsilon >= 0, narrow near this one.

    Args:
        factors: the independent parts of the loss.
        epsilon: >= 0, where the line is put.
        top: the largest loss, rounded up; infinity if there is none.

    Returns:
        The function; None where the contour has nothing to say.
    """
    last = top * (1 - NEAREST)
    tilts: Floats = -np.linspace(0.03, 0.97, 14)
    moment, error = log_moment(factors, tilts)
    # 1 - delta <= M(v) e^(-v epsilon) for every v in (-1, 0)
    complement = moment + error + 1
    line = _line_at(factors, min(epsilon, last))
    if line is None:
        return None

    def delta(at: float) -> Pair:
        if at >= top:
            return 0.0, 0.0
        if np.min(complement - tilts * at) < CERTAIN:
            return 1 - 2.0**-52, 1.0
        below, above = line.log_delta(min(at, last))
        return 0.0 if at > last else exp_down(below), exp_up(above)

    return delta


def epsilon_bracket(factors: Sequence[Factor], delta: float, top: float) -> Pair | None:
    """Returns a bracket of the least epsilon >= 0 for a delta in (0, 1); None as `curve_near`.

    A line is put through the saddle point for delta; where its curve meets delta far from there, through that
    point. The ends are then moved outwards until the curve proves them.
    """
    goal, flat = math.log(delta), delta > 1 - 1e-9
    if flat:  # the curve is too flat to be inverted; a smaller delta asks for more
        goal = math.log1p(-1e-9)
    at = saddle(factors, Goal(log_delta=goal))
    where = top * (1 - NEAREST) if at is None else min(max(at.epsilon, 0.0), top * (1 - NEAREST))
    line = contour.line(factors, at) if at is not None and where == at.epsilon else _line_at(factors, where)
    if line is None:
        return None
    for _ in range(6):
        root = min(max(_meet(line, goal, where), 0.0), top * (1 - NEAREST))
        moved, where = abs(root - where) * line.tilt, root
        below, above = line.log_delta(where)
        if moved < 2 or not NARROW < above - below < HOPELESS:
            break
        line = _line_at(factors, where) or line
    upper = _proved(line, where, goal, top)
    return 0.0 if flat else _refuted(line, where, goal), upper


def log_chernoff(factors: Sequence[Factor], epsilon: float) -> float:
    """Returns a number above `log delta(epsilon)`, by Chernoff at the saddle point; infinity where there is none."""
    at = saddle(factors, Goal(epsilon=epsilon)) if math.isfinite(epsilon) else None
    if at is None:
        return math.inf
    moment, error = log_moment(factors, np.array([at.tilt]))
    peak = -at.tilt * math.log1p(1 / at.tilt) - math.log1p(at.tilt)
    size = abs(float(moment[0])) + at.tilt * epsilon - peak
    return float(moment[0] + error[0]) - at.tilt * epsilon + peak + 64 * UNIT * size


def _line_at(factors: Sequence[Factor], epsilon: float) -> contour.Line | None:
    at = saddle(factors, Goal(epsilon=epsilon)) if math.isfinite(epsilon) else None
    return None if at is None else contour.line(factors, at)


def _meet(line: contour.Line, goal: float, where: float) -> float:
    """Returns about where the upper curve meets a delta, by secants."""
    value = line.log_delta(where)[1] - goal
    slope = -line.tilt
    for _ in range(12):
        step = -value / slope
        if not math.isfinite(step) or abs(step) <= 1e-15 * abs(where) + 1e-300:
            break
        step = math.copysign(min(abs(step), 3 / line.tilt), step)
        after = line.log_delta(where + step)[1] - goal
        where += step
        if abs(after) < 1e-13:
            break
        if after != value and (after - value) / step < 0:
            slope = (after - value) / step
        value = after
    return where


def _proved(line: contour.Line, where: float, goal: float, top: float) -> float:
    """Returns an epsilon at which the upper curve is at most delta."""
    least = goal - 8 * UNIT * abs(goal) - 8 * UNIT
    if line.log_delta(0.0)[1] <= least:
        return 0.0
    margin = 0.0
    for power in range(80):
        epsilon = where + margin
        if epsilon >= top:
            return top
        if line.log_delta(epsilon)[1] <= least:
            return math.nextafter(epsilon, math.inf)
        margin = max(1e-13 * abs(where), 1e-13 / line.tilt) * 2.0**power
    return top


def _refuted(line: contour.Line, where: float, goal: float) -> float:
    """Returns an epsilon at which the lower curve is still at least delta, or 0."""
    most = goal + 8 * UNIT * abs(goal) + 8 * UNIT
    margin = 0.0
    for power in range(80):
        epsilon = where - margin
        if epsilon <= 0:
            return 0.0
        below = line.log_delta(epsilon)[0]
        if below >= most:
            return math.nextafter(epsilon, 0.0)
        gap = (most - below) / line.tilt if math.isfinite(below) else 0.0
        margin = max(margin + 1.5 * gap, 1e-13 * abs(where) * 2.0**power, 1e-13 / line.tilt * 2.0**power)
    return 0.0


def exp_down(log: float) -> float:
    """Returns a float below e^log."""
    return max(0.0, math.exp(min(log, 0.0)) * (1 - 8 * UNIT) - 5e-324) if log > -745 else 0.0


def exp_up(log: float) -> float:
    """Returns a float above e^log, at most 1."""
    return min(1.0, math.exp(min(log, 0.0)) * (1 + 8 * UNIT) + 5e-324)
