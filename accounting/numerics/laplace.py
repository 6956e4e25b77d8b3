"""Laplace noise as a factor of the contour.

With `r = 1 / noise multiplier` the loss has mass 1/2 at r, mass `e^-r / 2` at -r, and a density between. With
`g(z) = (1 - e^(-(2z+1) r)) / (2z+1)`

    M(z) = e^(z r) (1 - z g(z)),

and `|z g| <= |z| min(r, 1 / |z + 1/2|)`.

Error: 64 units of `r |z| + 1 + |z g|` over `|1 - z g|`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats


@dataclass(frozen=True, order=True)
class LaplaceUses:
    """Uses of a Laplace mechanism.

    Attributes:
        noise_multiplier: scale against sensitivity in the 1-norm, finite and > 0.
        count: number of uses, >= 1.
    """

    noise_multiplier: float
    count: int

    def largest(self, *, removal: bool) -> Fraction | None:
        """Returns the largest loss, which it has with positive probability."""
        return self.count / Fraction(self.noise_multiplier)

    def times(self, count: int) -> LaplaceUses:
        """Returns so many more uses, all together."""
        return LaplaceUses(self.noise_multiplier, self.count * count)

    def factor(self, *, removal: bool) -> DoubleExponential:
        """Returns the loss for the contour; adding and removing are alike."""
        return DoubleExponential(1 / self.noise_multiplier, self.count)


@dataclass(frozen=True)
class DoubleExponential:
    """The loss of Laplace mechanisms as `Factor`.

    Attributes:
        reach: r, the largest loss of one use, within a unit.
        count: number of uses.
    """

    reach: float
    count: int

    @property
    def highest(self) -> float:
        return math.inf

    def log_moment(self, tilts: Floats) -> tuple[Floats, Floats]:
        share = tilts * self._share(tilts, np.zeros_like(tilts))[0]
        moment = tilts * self.reach + np.log1p(-share)
        size = np.abs(tilts) * self.reach * (1 + 1 / (1 - share))
        return self.count * moment, self.count * 64 * UNIT * size

    def slopes(self, tilts: Floats) -> tuple[Floats, Floats]:
        """By the two exponentials apart, or by the first terms of the series where they nearly cancel."""
        r, k = self.reach, 2 * tilts + 1
        x = np.maximum(k * r, -300.0)
        small = np.exp(-np.minimum(x, 700.0))
        far = np.abs(x) > 1e-4
        # tilted mass at r, at -r, and a density proportional to e^(k l / 2) between
        with np.errstate(invalid="ignore", divide="ignore"):
            middle = np.where(far, -np.expm1(-x) / k, r)
            mean_between = np.where(far, r - 2 / k + 2 * r * small / -np.expm1(-x), r * x / 6)
            square = np.where(far, 4 / k**2 - (2 * r) ** 2 * small / np.expm1(-x) ** 2, r * r / 3)
        total = 0.5 + 0.5 * small + 0.5 * middle
        top, end, inner = 0.5 / total, 0.5 * small / total, 0.5 * middle / total
        mean = (top - end) * r + inner * mean_between
        second = (top + end) * r * r + inner * (square + mean_between**2)
        return self.count * mean, self.count * np.maximum(second - mean * mean, 0)

    def turned(self, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
        real, imag = self._share(np.full_like(times, tilt), times)
        share = (tilt + 1j * times) * (real + 1j * imag)
        base = 1 - tilt * self._share(np.array([tilt]), np.zeros(1))[0][0]
        rounding = 64 * UNIT * (1 + np.abs(share))
        # Rounded up, so that the size is an upper bound also where phi is nearly 0.
        size = np.minimum(np.log((np.abs(1 - share) + rounding) / base), 0.0)
        angle = np.angle(1 - share) + times * self.reach
        error = 2 * rounding / np.abs(1 - share) + 64 * UNIT * (2 / base + self.reach * times)
        return self.count * size, self.count * angle, self.count * error

    def fading(self, tilt: float, time: float) -> float:
        """The mass at the two ends turns back, so that nothing is claimed."""
        return 0.0

    def work(self, tilt: float, time: float) -> float:
        return 3.0

    def _share(self, tilts: Floats, times: Floats) -> tuple[Floats, Floats]:
        """Returns real and imaginary part of g."""
        a, b = (2 * tilts + 1) * self.reach, 2 * times * self.reach
        down = np.exp(-a)
        real, imag = -np.expm1(-a) + 2 * down * np.sin(b / 2) ** 2, down * np.sin(b)
        quotient = (real + 1j * imag) / ((2 * tilts + 1) + 2j * times)
        return quotient.real, quotient.imag
