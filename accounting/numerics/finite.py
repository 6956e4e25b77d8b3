"""Three-point losses as a factor of the contour, many groups at once.

One use with weights `1 : middle : e^-epsilon` of the losses `+epsilon, 0, -epsilon` and probability q of the
first has, with `share = q (1 - e^(-(theta+1) epsilon))`,

    M(theta) = 1 + share (e^(theta epsilon) - 1),

a sum of positive terms for theta > 0. Tilted by theta it has weights `1 : middle e^(-theta epsilon) :
e^(-(2 theta + 1) epsilon)`; with their probabilities p, p_0, p_-, `a = p + p_-` and `s = sin(time epsilon / 2)`,

    |phi|^2 = 1 - D,   D = 4 s^2 (p_0 a + 4 p p_- (1 - s^2)),   phi = 1 - 2 a s^2 + i (p - p_-) sin(time epsilon).

Error: let the probabilities and the angle carry eta, the sum of their relative errors, which is at most 64 + 4
min(theta epsilon, 800) units (an exponential e^-x errs by 2x + 4 units, and weighs at most e^-x). Real and
imaginary part of `phi - 1` are then known within eta `2 a s^2` and eta `a min(x, 2)` where `x = |time| epsilon`, so
that `log phi` is known within `8 eta a min(x, 2) / (1 - D)`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accounting.numerics.rounding import UNIT
from accounting.numerics.three_point import Group
from accounting.numerics.trinomial import Floats

NEGLIGIBLE = -90.0
"""Times at which |phi| is below e^-90 are not followed further."""

UNKNOWN = 10.0
"""An error that makes no use of the angle."""

AT_ONCE = 1 << 15


@dataclass(frozen=True, eq=False)
class Finite:
    """Three-point losses; implements `Factor`.

    Attributes:
        epsilons, middles, pluses, counts: (G,) one entry a group; pluses is the probability of `+epsilon`.
    """

    epsilons: Floats
    middles: Floats
    pluses: Floats
    counts: Floats

    @staticmethod
    def of(groups: tuple[Group, ...]) -> Finite:
        """Returns the factor of these groups."""
        rows = [(g.epsilon, g.middle, g.plus, float(g.count)) for g in groups]
        return Finite(*np.array(rows, dtype=np.float64).reshape(-1, 4).T.copy())

    @property
    def highest(self) -> float:
        return math.inf

    def log_moment(self, tilts: Floats) -> tuple[Floats, Floats]:
        """Error: `_log_moments`, and one unit for each group in the sum."""
        total, error = np.zeros_like(tilts), np.zeros_like(tilts)
        for begin in range(0, len(self.epsilons), AT_ONCE // 64):
            part = slice(begin, begin + AT_ONCE // 64)
            logs, units = self._log_moments(tilts, part)
            total += self.counts[part] @ logs
            error += self.counts[part] @ ((units + len(self.epsilons) * np.abs(logs)) * UNIT)
        return total, error * (1 + 1e-6)

    def _log_moments(self, tilts: Floats, part: slice) -> tuple[Floats, Floats]:
        """Returns `log M` of one use of each group, and its error in units.

        For tilts >= 0 all terms are positive, one exponential errs by `2 theta epsilon` units, and the logarithm
        has no larger relative error than its argument less 1. Below 0 the three weights are added as logarithms.
        """
        epsilon, middle = self.epsilons[part, None], self.middles[part, None]
        plus, tilt = self.pluses[part, None], self.epsilons[part, None] * tilts
        share = -plus * np.expm1(-epsilon - tilt)
        with np.errstate(divide="ignore", invalid="ignore"):
            near = np.log1p(share * np.expm1(np.clip(tilt, 0, 700)))
            ahead = np.where(tilt <= 700, near, tilt + np.log(share))
            weights = np.logaddexp(np.logaddexp(tilt, np.log(middle)), -epsilon - tilt)
        behind = np.log(plus) + weights
        units = np.where(tilt >= 0, (64 + 4 * np.clip(tilt, 0, 700)) * np.abs(ahead), 64 * (1 + epsilon))
        return np.where(tilt >= 0, ahead, behind), units + 16 * np.abs(np.log(plus)) * (tilt < 0)

    def slopes(self, tilts: Floats) -> tuple[Floats, Floats]:
        mean, spread = np.zeros_like(tilts), np.zeros_like(tilts)
        for begin in range(0, len(self.epsilons), AT_ONCE // 64):
            part = slice(begin, begin + AT_ONCE // 64)
            plus, none, minus = self._tilted(tilts, part)
            mean += (self.counts[part] * self.epsilons[part]) @ (plus - minus)
            spread += (self.counts[part] * self.epsilons[part] ** 2) @ (
                none * (plus + minus) + 4 * plus * minus
            )
        return mean, spread

    def turned(self, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
        sizes, angles, errors = (np.zeros_like(times) for _ in range(3))
        order = np.argsort(-self._drop(tilt))
        live, begin = np.arange(len(times)), 0
        while begin < len(order) and len(live):
            part = order[begin : begin + max(1, AT_ONCE // len(live))]
            size, angle, error = self._turn(tilt, times[live], part)
            sizes[live] += size
            angles[live] += angle
            errors[live] += error
            begin += len(part)
            if begin < len(order):
                errors[live[sizes[live] <= NEGLIGIBLE]] = UNKNOWN
                live = live[sizes[live] > NEGLIGIBLE]
        return sizes, angles, errors

    def fading(self, tilt: float, time: float) -> float:
        """Several epsilons may all turn back together, so that nothing is claimed."""
        return 0.0

    def work(self, tilt: float, time: float) -> float:
        return min(float(len(self.epsilons)), 16.0)

    def between(self, tilt: float, low: float, high: float) -> float:
        """Returns a bound on `log |phi|` between two angles `time epsilon` in [0, pi], of one epsilon.

        `|phi|^2` is a convex quadratic of the cosine of the angle, so that one of the ends is the largest.
        """
        times = np.array([low, high]) / self.epsilons[0]
        total = 0.0
        for at in range(len(self.epsilons)):
            size, _, error = self._turn(tilt, times, np.array([at]))
            total += float(np.max(size + error))
        return total

    def _tilted(self, tilts: Floats | float, part: slice | np.ndarray) -> tuple[Floats, Floats, Floats]:
        epsilon, middle = self.epsilons[part, None], self.middles[part, None]
        none = middle * np.exp(-epsilon * tilts)
        minus = np.exp(-epsilon * (2 * np.asarray(tilts) + 1))
        total = 1 + none + minus
        return 1 / total, none / total, minus / total

    def _drop(self, tilt: float) -> Floats:
        """Returns how fast each group fades, by its largest D."""
        plus, none, minus = self._tilted(tilt, slice(None))
        return (self.counts[:, None] * (none * (plus + minus) + 4 * plus * minus))[:, 0]

    def _turn(self, tilt: float, times: Floats, part: np.ndarray) -> tuple[Floats, Floats, Floats]:
        """Returns `turned` of some groups."""
        plus, none, minus = self._tilted(tilt, part)
        epsilon, count = self.epsilons[part, None], self.counts[part]
        outer, half = plus + minus, epsilon * times * 0.5
        sine = np.sin(half)
        square = sine * sine
        eta = (64 + 4 * np.minimum(tilt * epsilon, 800.0) + len(self.epsilons)) * UNIT
        # Rounded down, so that the size is an upper bound also where phi is nearly 0.
        drop = 4 * square * (none * outer + 4 * plus * minus * (1 - square)) * (1 - eta)
        size = 0.5 * np.log1p(-drop)
        angle = np.arctan2((plus - minus) * 2 * sine * np.cos(half), 1 - 2 * outer * square)
        error = 8 * eta * outer * np.minimum(2 * half, 2.0) / (1 - drop)
        return count @ size, count @ angle, count @ error
