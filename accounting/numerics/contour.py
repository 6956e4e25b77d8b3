"""delta(epsilon) of any composition, by Fourier inversion along a line, as a bracket.

With `M(z) = E e^(z X)` of the total loss X under P, and any line `Re z = theta > 0`,

    e^(theta y) delta(y)   has the Fourier transform   M(z) / (z (z + 1)),      z = theta + i t,

because `delta(y) = E (1 - e^(y - X))_+`. Sampling the transform at `t = k s` gives, by Poisson's summation, exactly

    (s / 2 pi) e^(-theta y) sum_k M(z_k) / (z_k (z_k + 1)) e^(-i t_k y) = sum_l e^(theta l L) delta(y + l L),   L = 2 pi / s:

delta itself and its echoes, none of them negative. So the sum is an upper bound before anything is estimated. The
echoes are bounded in `echoes`; theta is the saddle point (`saddle`), where relative accuracy is kept however small
delta is.

What is left is the end of the sum. Where M fades (Gaussian, subsampled Gaussian) it is cut when the rest is
proved negligible. Where it does not (unlike epsilons come back together at some time), delta is smoothed, see
`kernel`: the transform gets a factor that fades, and both sides stay bounds.

Error: every term has a bound on its own error; terms, cut, echoes and the exponent are added up into both ends.

Source: Poisson summation for transforms, Abate and Whitt 1992; here with the sign of the echoes used.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from accounting.numerics.echoes import Echoes
from accounting.numerics.factor import Factor
from accounting.numerics.kernel import Complexes, Kernel
from accounting.numerics.rounding import UNIT
from accounting.numerics.saddle import Saddle, less_tilted, log_moment
from accounting.numerics.trinomial import Floats

ECHO, CUT = -36.0, -36.0
"""Logarithms of what echoes and cut may add, relative to delta."""

WIDTH = 1e-6
"""Relative width that smoothing aims at."""

MOST_WORK, MOST_TIMES = 6e6, 1 << 19
"""Exponentials and times of one line (a tenth of a second, 40 MB)."""


@dataclass(frozen=True, eq=False)
class Line:
    """Terms of the sum for one tilt, ready for any epsilon near its saddle point.

    Attributes:
        tilt, moment, moment_error: theta, `log M(theta)` and a bound on its error.
        spacing: s; the k-th time is `k s`, exactly.
        sizes, angles, errors: `log |phi|`, angle and error of each term.
        smoothed, density: the two transforms of the kernel at each time, see `kernel`.
        blur: bound on the errors of these two, one each.
        cut: bound on the sum of moduli of all later terms, for both together.
        echoes: bounds on the echoes.
    """

    tilt: float
    moment: float
    moment_error: float
    spacing: float
    sizes: Floats
    angles: Floats
    errors: Floats
    smoothed: Complexes
    density: Complexes
    blur: Floats
    cut: float
    echoes: Echoes

    def log_delta(self, epsilon: float) -> tuple[float, float]:
        """Returns a bracket of `log delta(epsilon)`; the lower end may be -infinity."""
        times = self.spacing * np.arange(len(self.sizes), dtype=np.float64)
        turn = self.angles - times * epsilon
        errors = self.errors + 4 * UNIT * (np.abs(self.angles) + np.abs(times * epsilon)) + 32 * UNIT
        modulus = np.where(times > 0, 2.0, 1.0) * np.exp(self.sizes)
        wave = modulus * (np.cos(turn) + 1j * np.sin(turn))
        share = np.minimum(2.0, np.expm1(np.minimum(errors, 2.0)))
        weight = np.abs(self.smoothed) + np.abs(self.density)
        off = float(np.sum(modulus * (share * weight + self.blur))) * (1 + 1e-6) + self.cut
        upper = float(np.sum((wave * self.smoothed).real))
        lower = upper - float(np.sum((wave * self.density).real))
        exponent = self.moment - self.tilt * epsilon + math.log(self.spacing / (2 * math.pi))
        slack = self.moment_error + 8 * UNIT * (abs(self.moment) + abs(self.tilt * epsilon) + 800)
        heard = self.echoes.log_bound(epsilon, 2 * math.pi / self.spacing) - exponent + slack
        below, above = lower - off - math.exp(min(heard, 700.0)), upper + off
        if not math.isfinite(exponent + slack):
            return -math.inf, math.inf
        return (
            exponent + math.log(below) - slack if below > 0 else -math.inf,
            exponent + math.log(above) + slack if 0 < above < math.inf else math.inf,
        )


def line(factors: Sequence[Factor], at: Saddle) -> Line | None:
    """Returns the line through a saddle point: without smoothing where the terms fade, else smoothed.

    None where every line costs too much.

    Error: `Line.log_delta` is a bracket whatever is chosen here; the choice decides its width.
    """
    echoes, spacing = _spaced(factors, at)
    if 9.0 / at.spread / spacing > 200:
        # Where a rare large loss begins to carry M, a little less tilt asks for a much shorter period.
        for share in (0.75, 0.45, 0.2):
            other = less_tilted(factors, at, share)
            heard, wider = _spaced(factors, other)
            if other.excess < at.excess + 9 and wider * other.spread > 1.5 * spacing * at.spread:
                at, echoes, spacing = other, heard, wider
    plain = Kernel.none()
    end = 9.0 / at.spread
    while _affordable(factors, at, end, spacing):
        if _fade(factors, at, end) + _rest(at, plain, end) <= CUT:
            return _line(factors, at, plain, echoes, spacing, end)
        end *= 1.25
    return _smoothed(factors, at, spacing)


def _spaced(factors: Sequence[Factor], at: Saddle) -> tuple[Echoes, float]:
    """Returns bounds on the echoes, and the spacing at which they are negligible."""
    echoes = Echoes.around(factors, at, Kernel.none())
    return echoes, _coarse(2 * math.pi / max(echoes.period(at.epsilon, at.log_delta + ECHO), 2 * at.spread))


def _smoothed(factors: Sequence[Factor], at: Saddle, spacing: float) -> Line | None:
    """Returns a line with a kernel, narrowed until it is as narrow as it is meant to be, or costs too much."""
    goal = WIDTH * min(max(1.0, 0.1 * at.tilt * abs(at.epsilon)), 1e3)
    width, wide = math.sqrt(goal / (1.7 * at.tilt * (1 + at.tilt))), None
    while width * at.tilt < 1:
        kernel = Kernel.of_width(width)
        end = kernel.start(at.tilt)
        while _rest(at, kernel, end) + _fade(factors, at, end) > math.log(0.03 * goal):
            end *= 1.05
        if not _affordable(factors, at, end, spacing):
            if wide is not None:
                return wide
            width, goal = 1.4 * width, 2 * goal
            continue
        wide = _line(factors, at, kernel, Echoes.around(factors, at, kernel), spacing, end)
        below, above = wide.log_delta(at.epsilon)
        if not above - below >= 8 * goal:
            return wide
        width *= max(0.1, math.sqrt(goal / (above - below)))
    return wide


def _line(
    factors: Sequence[Factor], at: Saddle, kernel: Kernel, echoes: Echoes, spacing: float, end: float
) -> Line:
    count = min(math.ceil(end / spacing) + 1, MOST_TIMES)
    times = spacing * np.arange(count, dtype=np.float64)
    sizes, angles, errors = (np.zeros(count) for _ in range(3))
    for factor in factors:
        size, angle, error = factor.turned(at.tilt, times)
        sizes, angles, errors = sizes + size, angles + angle, errors + error
    errors += (len(factors) + 4) * UNIT * (np.abs(sizes) + np.abs(angles))
    smoothed, density, blur = kernel.transforms(at.tilt, times)
    moment, moment_error = log_moment(factors, np.array([at.tilt]))
    last = float(times[-1])
    cut = 2 * kernel.tail(at.tilt, last) / spacing * math.exp(_fade(factors, at, last)) * (1 + 1e-6)
    cut += 2 * math.pi / spacing * kernel.skew
    return Line(
        at.tilt,
        float(moment[0]),
        float(moment_error[0]),
        spacing,
        sizes,
        angles,
        errors,
        smoothed,
        density,
        blur,
        cut,
        echoes,
    )


def _fade(factors: Sequence[Factor], at: Saddle, time: float) -> float:
    return sum(factor.fading(at.tilt, time) for factor in factors)


def _rest(at: Saddle, kernel: Kernel, end: float) -> float:
    """Returns the logarithm of the cut relative to delta, where the terms do not fade."""
    return math.log(kernel.tail(at.tilt, end) + 1e-300) + at.excess


def _affordable(factors: Sequence[Factor], at: Saddle, end: float, spacing: float) -> bool:
    work = sum(factor.work(at.tilt, end) for factor in factors)
    return max(end / spacing, 64.0) * (1 + work) <= MOST_WORK and end / spacing <= MOST_TIMES


def _coarse(spacing: float) -> float:
    """Returns the spacing rounded down to 30 bits, so that its multiples are exact."""
    mantissa, exponent = math.frexp(spacing)
    return math.ldexp(math.floor(math.ldexp(mantissa, 30)), exponent - 30)
