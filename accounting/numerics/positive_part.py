"""Mean of the positive part of a sum of many equal steps, by Fourier inversion along a line, from both sides.

Let S be a sum of n independent steps, `M(z) = E e^(z S)`, `F(x) = E (S - x)_+`; `E S_+ = F(0)` is wanted. F is
convex, so with a symmetric random shift V, by Jensen, `F(0) <= G(0)`, `G(x) = E F(x + V)`. The excess is the
mean over S of `E (V - |S|)_+`; for a log-concave density k of V that is at most `b k(S)` with
`b = E V_+ / k(0)`, because `int_0^inf u k(x+u) / k(x) du` falls in x >= 0. So

    G(0) - b E k(S)  <=  E S_+  <=  G(0).

V is the sum of 16 uniform variables on [-w/2, w/2]: `g(z) = E e^(z V) = (sinh(z w/2) / (z w/2))^16` fades. Along
a line `Re z = theta > 0`, at the times `2 pi k / L`, Poisson's summation gives exactly

    (1/L) sum_k M(z_k) g(z_k) / z_k^2 = sum_l e^(theta l L) G(l L),
    (1/L) sum_k M(z_k) g(z_k)         = sum_l e^(theta l L) E k(S - l L).

No term on the right is negative: both are upper bounds before anything is estimated. For the lower side the
echoes `l != 0` of G are bounded by `G(x) <= M(v) g(v) e^(-v x) / (e v)`, every v > 0, since
`y_+ <= e^(v y) / (e v)`: v > theta ahead and v < theta behind. theta is the saddle point of `M(z) / z^2`.

Error: cut, echoes, and the rounding of every term are added to both sides. With q the tilted law of a step,
v its values and e the error of one factor of M, phi is off by at most `(128 + 4 theta |v| + e) q min(2, |t v|) +
4 q |t v|` units, summed over the values; a power n multiplies that by n.

Source: as `contour`, where it is done for delta itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accounting.numerics.kernel import Complexes
from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats

ORDER, CENTRE = 16, 0.34224026
"""Uniform variables in V; below the central value of the B-spline of that order, 0.342240261..."""

WIDTH, END = 3e-3, 4.0
"""`w theta`, and `w t / 2` at the last time."""

ECHO, MOST_TERMS = 36.0, 1 << 19
"""Nepers by which echoes are kept below the mean; times of one line."""

LARGEST_EXPONENT = 500.0


@dataclass(frozen=True, eq=False)
class Steps:
    """The law of one step, and how many there are.

    Attributes:
        values: v, exact.
        weights: their probabilities, within 40 units each; the rest of the probability is at 0.
        count: n.
    """

    values: Floats
    weights: Floats
    count: int

    def log_moment(self, tilt: float) -> tuple[float, float]:
        """Returns `log M(tilt)` and a bound on its error: only what departs from 1 carries rounding."""
        turn = tilt * self.values
        change = self.weights * np.expm1(turn)
        total = math.fsum(change.tolist())
        off = UNIT * float(np.sum(48 * np.abs(change) + 2 * np.abs(turn) * self.weights * np.exp(turn)))
        log = math.log1p(total)
        return self.count * log, self.count * (off / (1 + total) * 1.01 + 8 * UNIT * abs(log))

    @property
    def farthest(self) -> float:
        """The largest tilt for which nothing overflows."""
        return LARGEST_EXPONENT / float(np.max(self.values))

    def tilted(self, tilt: float) -> Floats:
        """Returns q, the tilted probabilities of the values."""
        law = self.weights * np.exp(tilt * self.values)
        return law / (1 + float(np.sum(self.weights * np.expm1(tilt * self.values))))

    def mean_and_spread(self, tilt: float) -> tuple[float, float]:
        """Returns mean and variance of the tilted sum; they steer, and prove nothing."""
        law = self.tilted(tilt)
        mean = float(law @ self.values)
        return self.count * mean, self.count * max(0.0, float(law @ self.values**2) - mean * mean)


def positive_part(steps: Steps) -> tuple[float, float] | None:
    """Returns a bracket of `E S_+`; None where the line is too long.

    Error: a relative width of about 2e-5; the upper side is above by a third of that.
    """
    tilt = _saddle(steps)
    if tilt is None:
        return None
    width = WIDTH / tilt
    moment, moment_error = steps.log_moment(tilt)
    spread = steps.mean_and_spread(tilt)[1] + 2 / tilt**2
    guess = moment - 2 * math.log(tilt) - 0.5 * math.log(2 * math.pi * spread)
    if guess < -700:
        return 0.0, math.exp(max(-744.0, moment + moment_error - 1 - math.log(tilt))) * (1 + 1e-9) + 5e-324
    period, echoes = _echoes(steps, tilt, width, guess)
    wanted = 2 * END / width * period / (2 * math.pi)
    if wanted > MOST_TERMS or guess > 700:
        return None
    (mean, mean_off), (density, density_off) = _sums(steps, tilt, width, period)
    unit = math.exp(moment - math.log(period))
    slack = 1.01 * (moment_error + 16 * UNIT * (1 + abs(moment) + abs(math.log(period))))
    # E V_+ = E |V| / 2 <= sqrt(16 w^2 / 12) / 2
    lift = math.sqrt(ORDER / 12) / 2 * width * width / CENTRE * (1 + 1e-9)
    upper = unit * (mean + mean_off) * (1 + slack)
    lost = lift * unit * (density + density_off) * (1 + slack)
    return max(0.0, unit * (mean - mean_off) * (1 - slack) - lost - echoes), upper


def _saddle(steps: Steps) -> float | None:
    """Returns about where `log M(theta) - 2 log theta` is least; None out of the range of exponents."""
    low, high = math.log(steps.farthest) - 690.0, math.log(steps.farthest)
    for _ in range(60):
        at = (low + high) / 2
        tilt = math.exp(at)
        low, high = (low, at) if steps.mean_and_spread(tilt)[0] * tilt > 2 else (at, high)
    return None if high >= math.log(steps.farthest) - 1e-9 else math.exp(high)


def _echoes(steps: Steps, tilt: float, width: float, guess: float) -> tuple[float, float]:
    """Returns a period L, and a bound on the echoes at it."""
    found: list[tuple[float, float, float]] = []
    for place in (*(tilt * (1 + 2.0**k) for k in range(-8, 9)), *(tilt * (1 - 2.0**-k) for k in range(1, 9))):
        if place > steps.farthest:
            continue
        moment, error = steps.log_moment(place)
        size = moment + error + ORDER * (place * width / 2) ** 2 / 6 - 1 - math.log(place)
        found.append((max(0.0, size - guess + ECHO) / abs(place - tilt), place, size))
    if not any(row[1] > tilt for row in found):
        return math.inf, math.inf
    ahead = min(row for row in found if row[1] > tilt)
    behind = min(row for row in found if row[1] < tilt)
    period = max(ahead[0], behind[0], 1 / tilt)
    bound = 0.0
    for _, place, size in (ahead, behind):
        rate = abs(place - tilt) * period
        bound += math.exp(size - rate) / -math.expm1(-rate) * (1 + 1e-9)
    return period, bound


def _sums(
    steps: Steps, tilt: float, width: float, period: float
) -> tuple[tuple[float, float], tuple[float, float]]:
    """Returns `sum phi^n g / z^2` and `sum phi^n g` over all times and their mirror images, each with its error."""
    step = 2 * math.pi / period
    times: Floats = step * np.arange(math.ceil(2 * END / width / step) + 2, dtype=np.float64)
    size, angle, off = _powers(steps, tilt, times)
    line: Complexes = np.asarray(tilt + 1j * times, dtype=np.complex128)
    half: Complexes = line * (width / 2)
    base: Complexes = (
        np.sinh(half.real) * np.cos(half.imag) + 1j * np.cosh(half.real) * np.sin(half.imag)
    ) / half
    shape = base**ORDER
    modulus = (np.cosh(half.real) * np.minimum(1.0, 1 / np.abs(half))) ** ORDER
    wave: Complexes = size * (np.cos(angle) + 1j * np.sin(angle)) * np.where(times > 0, 2.0, 1.0)
    off = 2 * (off * modulus + size * modulus * ORDER * (32 + 4 * np.abs(half.imag)) * UNIT)
    last = float(times[-1])
    cut = 2 / step * float(np.cosh(half.real[0]) / (width / 2 * last)) ** ORDER * 1.001
    answers: list[tuple[float, float]] = []
    for weight, rest in ((1 / (line * line), 1 / (17 * last)), (np.ones_like(half), last / 15)):
        terms = (wave * shape * weight).real
        rounding = (len(times) + 16) * UNIT * float(np.sum(np.abs(terms)))
        answers.append((float(np.sum(terms)), float(np.sum(off * np.abs(weight))) + cut * rest + rounding))
    return answers[0], answers[1]


def _powers(steps: Steps, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns `|phi|^n`, its angle, and a bound on the error of `phi^n`, at each time."""
    real, imag, off = np.zeros_like(times), np.zeros_like(times), np.zeros_like(times)
    common = 128 + steps.log_moment(tilt)[1] / (steps.count * UNIT)
    for value, share in zip(steps.values.tolist(), steps.tilted(tilt).tolist(), strict=True):
        turn = times * value
        real -= 2 * share * np.sin(turn / 2) ** 2
        imag += share * np.sin(turn)
        units = common + 4 * tilt * abs(value)
        off += UNIT * share * (units * np.minimum(2.0, np.abs(turn)) + 4 * np.abs(turn))
    modulus = np.hypot(1 + real, imag)
    near = 0.5 * np.log1p(np.maximum(2 * real + real * real + imag * imag, -0.9))
    log = np.where(modulus > 0.5, near, np.log(np.maximum(modulus, 1e-300)))
    angle = steps.count * np.arctan2(imag, 1 + real)
    size = np.exp(steps.count * log)
    rounding = size * UNIT * (8 * steps.count * np.abs(log) + 8 * np.abs(angle) + 64)
    return (
        size,
        angle,
        steps.count * off * np.exp((steps.count - 1) * np.log(np.exp(log) + off)) * 1.01 + rounding,
    )
