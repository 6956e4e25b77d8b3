"""A few cells of the curve of one lattice, by the contour of `contour` in its periodic form.

On the lattice `{m h}` the transform has the period `2 pi / h`, and N terms a turn, `omega_k = 2 pi k / N`, give

    (1/N) e^(-theta m h) sum_k M(z_k) g(z_k) e^(-i omega_k m) = F_m + echoes of F, at distances l N h,

with `u = e^(-z h)` and `g = 1 / (1 - u e^-h)` for `F = B`, `g = (1 - e^-h) u / ((1 - u)(1 - u e^-h))` for `F = D`, the
two numbers of a cell in `lattice`. Terms matter near omega = 0 and, where the loss 0 is rare, near pi; between
two angles `|phi|^2` is largest at one of them, which bounds all that is left out.

Error: as in `contour`: terms, what is left out and echoes are part of the relative error of the table returned.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from accounting.numerics.contour import ECHO
from accounting.numerics.echoes import Echoes
from accounting.numerics.finite import Finite
from accounting.numerics.kernel import Complexes, Kernel
from accounting.numerics.lattice import Table
from accounting.numerics.rounding import UNIT
from accounting.numerics.saddle import Goal, Saddle, log_moment, saddle
from accounting.numerics.trinomial import SCALE_BITS, Floats

WINDOW = 7
"""Cells looked at when an epsilon is searched."""

MOST_TERMS = 1 << 14
"""Terms beyond which the running sums of `lattice` are taken instead."""


@dataclass(frozen=True, eq=False)
class LatticeLine:
    """Terms of the two sums for one tilt.

    Attributes:
        tilt, moment, moment_error, step: theta, `log M(theta)`, a bound on its error, h.
        turns: N, odd.
        angles, phases, moduli: omega_k; the angle of phi; `|phi|`, twice for all but the first.
        errors: relative error of each term.
        ahead, deltas: the factors g of B and D.
        cut: bound on the moduli of all terms left out.
        echoes, echoes_ahead: bounds on the echoes of D and of B.
    """

    tilt: float
    moment: float
    moment_error: float
    step: float
    turns: int
    angles: Floats
    phases: Floats
    moduli: Floats
    errors: Floats
    ahead: Complexes
    deltas: Complexes
    cut: float
    echoes: Echoes
    echoes_ahead: Echoes

    def cells(self, first: int, count: int) -> Table | None:
        """Returns the cells `first ... first + count - 1`; None where the relative error is above 1e-6."""
        places = np.arange(first, first + count, dtype=np.float64)[:, None]
        turn = self.phases - self.angles * places
        errors = self.errors + 4 * UNIT * (np.abs(self.phases) + self.angles * np.abs(places))
        wave = self.moduli * (np.cos(turn) + 1j * np.sin(turn))
        exponents = self.moment - self.tilt * self.step * places[:, 0] - math.log(self.turns)
        slack = 8 * UNIT * (abs(self.moment) + np.abs(self.tilt * self.step * places[:, 0]) + 800)
        values: list[Floats] = []
        worst = 0.0
        for factor, echoes in ((self.ahead, self.echoes_ahead), (self.deltas, self.echoes)):
            size = np.abs(factor)
            total = np.sum((wave * factor).real, axis=1)
            off = np.sum(self.moduli * np.minimum(2.0, np.expm1(np.minimum(errors, 2.0))) * size, axis=1)
            off = off + self.cut * float(size[0])
            heard = [echoes.log_bound(m * self.step, self.turns * self.step) for m in places[:, 0].tolist()]
            off = off + np.exp(np.minimum(np.array(heard) - exponents + slack, 700.0))
            with np.errstate(divide="ignore", invalid="ignore"):
                worst = max(worst, float(np.max(np.where(total > 0, off / total, np.inf))))
            values.append(np.exp(exponents + SCALE_BITS * math.log(2)) * total)
        error = (worst + self.moment_error + float(np.max(slack))) * 1.01
        if not error < 1e-6 or np.any(np.diff(values[1]) > 0):
            return None
        return Table(self.step, values[0], values[1], error, 0.0, first)


def lattice_line(finite: Finite, at: Saddle) -> LatticeLine | None:
    """Returns the line through a saddle point; None where it has too many terms."""
    step = float(finite.epsilons[0])
    echoes = Echoes.around([finite], at, Kernel.none())
    ahead = echoes.without_peak()
    period = max(
        echoes.period(at.epsilon, at.log_delta + ECHO), ahead.period(at.epsilon, at.log_delta + ECHO)
    )
    turns = 2 * math.ceil(period / step / 2 * (1 + 1e-9)) + 3
    half, kept = turns // 2, _kept(finite, at, turns)
    if kept is None:
        return None
    near, far, cut = kept
    index: NDArray[np.int64] = (
        np.arange(half + 1) if near + far > half else np.r_[0:near, half + 1 - far : half + 1]
    )
    angles: Floats = 2 * math.pi / turns * index.astype(np.float64)
    sizes, phases, errors = finite.turned(at.tilt, angles / step)
    moment, moment_error = log_moment([finite], np.array([at.tilt]))
    once, twice = _geometric(at.tilt * step, angles), _geometric((at.tilt + 1) * step, angles)
    u = math.exp(-at.tilt * step) * (np.cos(angles) - 1j * np.sin(angles))
    return LatticeLine(
        at.tilt,
        float(moment[0]),
        float(moment_error[0]),
        step,
        turns,
        angles,
        phases,
        np.where(index > 0, 2.0, 1.0) * np.exp(sizes),
        errors + 64 * UNIT * (1 + np.abs(sizes) + np.abs(phases)),
        1 / twice,
        -math.expm1(-step) * u / (once * twice),
        turns * cut,
        echoes,
        ahead,
    )


def _geometric(decay: float, angles: Floats) -> Complexes:
    """Returns `1 - e^(-decay - i angle)`, from positive parts."""
    down = math.exp(-decay)
    return -math.expm1(-decay) + 2 * down * np.sin(angles / 2) ** 2 + 1j * down * np.sin(angles)


def _kept(finite: Finite, at: Saddle, turns: int) -> tuple[int, int, float] | None:
    """Returns how many terms to keep near 0 and near pi, and a bound on each of the others."""
    half, step = turns // 2, 2 * math.pi / turns
    near = math.ceil(9.5 / at.spread * float(finite.epsilons[0]) / step) + 1
    while near <= min(half, MOST_TERMS):
        for far in (0, near):
            end = math.pi if far == 0 else (half + 1 - far) * step
            if (left := finite.between(at.tilt, near * step, end)) < ECHO - math.log(turns):
                return near, far, math.exp(left)
        near = near + near // 4 + 1
    return (half + 1, 0, 0.0) if half < MOST_TERMS else None


def epsilon_bracket(finite: Finite, delta: float) -> tuple[float, float] | None:
    """Returns a bracket of the least epsilon >= 0 for a delta in (0, 1); None where sums have to be taken."""
    at = saddle([finite], Goal(log_delta=math.log(delta)))
    line = None if at is None else lattice_line(finite, at)
    if at is None or line is None:
        return None
    target, first = math.ldexp(delta, SCALE_BITS), max(0, math.ceil(at.epsilon / line.step) - WINDOW // 2)
    for _ in range(8):
        table = line.cells(first, WINDOW)
        if table is None:
            return None
        above, below = float(table.deltas[0]), float(table.deltas[-1])
        if (first == 0 or above > target * (1 + 1e-5)) and below < target * (1 - 1e-5):
            return table.epsilon(delta)
        off = math.log(max(table.deltas[WINDOW // 2], 5e-324) / target) / (line.tilt * line.step)
        first = max(0, first + (round(off) or (1 if below >= target * (1 - 1e-5) else -1)))
    return None


def delta_near(finite: Finite, epsilon: float) -> Callable[[float], tuple[float, float] | None] | None:
    """Returns delta as a function of epsilon >= 0: a bracket near this one, None elsewhere or everywhere."""
    at = saddle([finite], Goal(epsilon=epsilon))
    line = None if at is None else lattice_line(finite, at)
    if line is None:
        return None

    def delta(where: float) -> tuple[float, float] | None:
        table = line.cells(-(-Fraction(where) // Fraction(line.step)), 1)
        return None if table is None else table.delta(where)

    return delta
