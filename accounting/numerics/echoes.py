"""Echoes of delta in the sum of `contour`, bounded by Chernoff at tilts on both sides of the line.

For every `v >= 0` and every real y, `delta(y) <= M(v) e^(-v y) v^v / (1+v)^(1+v)`, as the last factor is the largest
value of `(1 - e^-x) e^(-v x)`. The echoes ahead, `e^(theta l L) delta(y + l L)` for l >= 1, are then below a geometric
series for any v > theta, and those behind for any v < theta.

Error: the exponents of each bound carry 16 roundings of all their parts; the smallest bound is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accounting.numerics.factor import Factor
from accounting.numerics.kernel import Kernel
from accounting.numerics.rounding import UNIT
from accounting.numerics.saddle import Saddle, log_moment
from accounting.numerics.trinomial import Floats


@dataclass(frozen=True, eq=False)
class Echoes:
    """Bounds at other tilts than that of the line.

    Attributes:
        tilt: of the line.
        others: tilts >= 0, some below and some above it.
        logs: upper bounds on `log (M(v) v^v / (1+v)^(1+v))`, and of the kernel there.
        peaks: the part of them that is `log (v^v / (1+v)^(1+v))`.
    """

    tilt: float
    others: Floats
    logs: Floats
    peaks: Floats

    @staticmethod
    def around(factors: Sequence[Factor], at: Saddle, kernel: Kernel) -> Echoes:
        """Returns bounds at tilts from 0.25 to 30 inverse spreads away."""
        away = np.geomspace(0.25, 30, 14) / at.spread
        last = min(factor.highest for factor in factors)
        above = at.tilt + away[at.tilt + away < last]
        if not len(above):
            above = np.array([last])
        below = at.tilt - away[away < at.tilt * (1 - 1e-6)]
        others = np.concatenate([[0.0], below, above])
        moment, error = log_moment(factors, others)
        with np.errstate(divide="ignore", invalid="ignore"):
            # v log(v / (1+v)) - log(1+v): no term is positive
            peaks = np.where(others > 0, -others * np.log1p(1 / others), 0.0) - np.log1p(others)
        logs = moment + error + peaks * (1 - 16 * UNIT) + kernel.log_real(others)
        return Echoes(at.tilt, others, logs, peaks)

    def without_peak(self) -> Echoes:
        """Returns bounds for the echoes of `E e^(y - X) [X >= y] <= M(v) e^(-v y)`."""
        return Echoes(self.tilt, self.others, self.logs - self.peaks * (1 + 16 * UNIT), self.peaks)

    def period(self, epsilon: float, allowed: float) -> float:
        """Returns a distance L at which each side's echoes are about `e^allowed`."""
        needed = (self.logs - self.others * epsilon - allowed) / np.abs(self.others - self.tilt)
        behind = self.others < self.tilt
        return max(float(np.min(needed[behind])), float(np.min(needed[~behind])))

    def log_bound(self, epsilon: float, period: float) -> float:
        """Returns the logarithm of a bound on the sum of all echoes."""
        fall = np.abs(self.others - self.tilt) * period * (1 - 8 * UNIT)
        size = np.abs(self.logs) + np.abs(self.others * epsilon)
        with np.errstate(divide="ignore"):
            rest = np.log(-np.expm1(-fall))
        sums = self.logs - self.others * epsilon - fall - rest + 16 * UNIT * (size + fall + 1)
        behind = self.others < self.tilt
        return float(np.logaddexp(np.min(sums[behind]), np.min(sums[~behind]))) + 8 * UNIT
