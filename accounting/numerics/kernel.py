"""Smoothing of delta on both sides, for losses whose characteristic function does not fade.

Let V be a random shift with `E e^V = 1` and a log-concave density k that is positive at 0. As a function of `e^y`,
delta is convex, so by Jensen

    delta(y) <= E delta(y + V) = E_X G(X - y),    G(x) = E (1 - e^(V - x))_+,

and `r = G - (1 - e^-x)_+` is what smoothing adds. For x >= 0 it is `E (e^(V-x) - 1)_+`, hence

    r(x) / k(x) = int_0^inf (e^u - 1) k(x+u) / k(x) du,

where log-concavity makes the fraction fall in x; for x < 0 the mirrored expression rises. Its largest value is the
one at 0, `b = E (e^V - 1)_+ / k(0)`, from both sides the same. So `r <= b k` everywhere, and

    E delta(y + V) - b E k(X - y)  <=  delta(y)  <=  E delta(y + V):

two smooth functions of y, a distance of about `var(V)` times the density of X apart.

Here `V = W - C`, W a sum of 16 uniform variables on [-w/2, w/2], and `C = 16 log(sinh(w/2) / (w/2))`. Transforms:

    E delta(y + V):  M(z) g(z) / (z (z+1)),    E k(X - y):  M(z) g(z),    g(z) = e^(z C) (sinh(z w/2) / (z w/2))^16,

and `|g| <= e^(theta C) (cosh(theta w/2) / (|z| w/2))^16` fades.

Error: `E (e^V - 1)_+ = E |e^V - 1| / 2 <= sqrt(E e^(2V) - 1) / 2`, `E e^(2V) = ((w/2) coth(w/2))^16 <=
(1 + w^2/12)^16`; the density of W is at least `(c_16 - (C/w)^2 c_14) / w` at C, c_m the central value of the B-spline
of order m, as its second derivative is at least -2 c_14.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats

Complexes = NDArray[np.complex128]

ORDER = 16
CENTRE, CENTRE_BEFORE = 0.34224026, 0.36537088
"""Below and above the central value of the B-splines of order 16 and 14: 0.342240261..., 0.365370869..."""


@dataclass(frozen=True)
class Kernel:
    """A smoothing width, 0 for none.

    Attributes:
        width: w, at most 1/2.
        shift: C, never below its exact value by more than rounding.
        lift: b, rounded up; 0 for none.
    """

    width: float
    shift: float
    lift: float

    @staticmethod
    def none() -> Kernel:
        """Returns no smoothing."""
        return Kernel(0.0, 0.0, 0.0)

    @staticmethod
    def of_width(width: float) -> Kernel:
        """Returns the kernel of a width, which is cut to 1/2."""
        w = min(width, 0.5)
        h = w * w / 4
        # sinh(h)/h - 1 for h = w/2; the next term is below 1e-17 of the first.
        excess = h / 6 * (1 + h / 20 * (1 + h / 42 * (1 + h / 72 * (1 + h / 110))))
        shift = ORDER * math.log1p(excess)
        lift = math.sqrt(math.expm1(ORDER * math.log1p(w * w / 12))) / 2
        lift *= w / (CENTRE - (shift / w) ** 2 * CENTRE_BEFORE) * (1 + 1e-6)
        return Kernel(w, shift, lift)

    @property
    def skew(self) -> float:
        """Bound on `|E e^V - 1|`, from the rounding of the shift."""
        return 32 * UNIT * self.shift

    def transforms(self, tilt: float, times: Floats) -> tuple[Complexes, Complexes, Floats]:
        """Returns `g / (z (z+1))`, `b g` at `z = tilt + i time`, and a bound on the sum of their errors."""
        z = tilt + 1j * times
        plain = 1 / (z * (z + 1))
        if self.width == 0:
            return plain, np.zeros_like(plain), 16 * UNIT * np.abs(plain)
        half = z * (self.width / 2)
        a, b = half.real, half.imag
        base = (np.sinh(a) * np.cos(b) + 1j * np.cosh(a) * np.sin(b)) / half
        turn = times * self.shift
        g = base**ORDER * (math.exp(tilt * self.shift) * (np.cos(turn) + 1j * np.sin(turn)))
        bound = math.exp(tilt * self.shift) * (np.cosh(a) * np.minimum(1, 1 / np.abs(half))) ** ORDER
        weight = np.abs(plain) + self.lift
        error = (ORDER * 32 + 8 * (np.abs(b) + turn)) * UNIT * bound * weight
        return g * plain, self.lift * g, error

    def log_real(self, tilts: Floats) -> Floats:
        """Returns an upper bound on `log g` at real tilts: `sinh(h)/h <= min(e^(h^2/6), e^h)`."""
        h = tilts * (self.width / 2)
        return tilts * self.shift + ORDER * np.minimum(h * h / 6, h)

    def start(self, tilt: float) -> float:
        """Returns a time near which g begins to fade."""
        return 2 * math.cosh(tilt * self.width / 2) / self.width

    def tail(self, tilt: float, time: float) -> float:
        """Returns a bound on the integral of both transforms' moduli beyond a time."""
        if self.width == 0:
            return 1 / time
        ratio = math.exp(tilt * self.shift / ORDER) * self.start(tilt) / time
        return ratio**ORDER * (1 / (17 * time) + self.lift * time / 15) * (1 + 1e-9)
