"""Gaussian noise: any composition is one Gaussian mechanism, answered in closed form.

Uses with noise multipliers s_i compose to two unit normals a distance mu apart, `mu^2 = sum 1 / s_i^2`. With
`a = epsilon/mu - mu/2` and `b = epsilon/mu + mu/2`

    delta(epsilon) = Q(a) - e^epsilon Q(b) = f(a) (R(a) - R(b)),     f the normal density, Q its tail, R = Q/f,

as `e^epsilon f(b) = f(a)`. Decimal numbers do not underflow here, and digits are added until 25 of the difference
are right.

Error: at p digits every operation errs by at most `10^(1-p)`. R is bracketed by two consecutive convergents of its
continued fraction, positive and stable, for x >= 2; below, a series of positive terms gives `1/2 - Q`. Fewer than 10^5
operations enter a value, and a is off by `10^(1-p) 2 mu` where it is below 45, which the density multiplies by 45:
together `(1 + mu) 10^(7-p)` of the larger of the two terms that are subtracted.

Source: Balle and Wang 2018, theorem 8; the continued fraction is Laplace's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from decimal import MAX_EMAX, MIN_EMIN, Context, Decimal, getcontext, localcontext
from fractions import Fraction
from functools import lru_cache
from itertools import count

import numpy as np

from accounting.numerics.rounding import UNIT, float_down, float_up
from accounting.numerics.trinomial import Floats

Pair = tuple[float, float]

DIGITS = 25
"""Digits of delta that are right."""


@dataclass(frozen=True, order=True)
class GaussianUses:
    """Uses of a Gaussian mechanism.

    Attributes:
        noise_multiplier: standard deviation against sensitivity, finite and > 0.
        count: number of uses, >= 1.
    """

    noise_multiplier: float
    count: int

    def largest(self, *, removal: bool) -> Fraction | None:
        """Returns None: the loss has no largest value."""
        return None

    def times(self, count: int) -> GaussianUses:
        """Returns so many more uses, all together."""
        return GaussianUses(self.noise_multiplier, self.count * count)

    def factor(self, *, removal: bool = True) -> Normal:
        """Returns the loss for the contour; adding and removing are alike."""
        return Normal(self.count / self.noise_multiplier / self.noise_multiplier)


@dataclass(frozen=True)
class Normal:
    """A Gaussian mechanism as `Factor`: the loss is normal, with mean `mu^2 / 2` and variance `mu^2`.

    Attributes:
        variance: mu^2, within 4 units.
    """

    variance: float

    @property
    def highest(self) -> float:
        return math.inf

    def log_moment(self, tilts: Floats) -> tuple[Floats, Floats]:
        moment = tilts * (tilts + 1) * self.variance / 2
        return moment, 16 * UNIT * np.abs(moment)

    def slopes(self, tilts: Floats) -> tuple[Floats, Floats]:
        return (tilts + 0.5) * self.variance, np.full_like(tilts, self.variance)

    def turned(self, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
        size, angle = -self.variance * times * times / 2, (tilt + 0.5) * self.variance * times
        return size, angle, 16 * UNIT * (np.abs(size) + np.abs(angle))

    def fading(self, tilt: float, time: float) -> float:
        return -self.variance * time * time / 2 * (1 - 16 * UNIT)

    def work(self, tilt: float, time: float) -> float:
        return 1.0


def delta_of(uses: tuple[GaussianUses, ...], epsilon: float) -> Pair:
    """Returns the two floats around the delta of a composition, for a finite epsilon.

    Error: none but the rounding to the floats, apart.
    """
    lower, upper = _ends(uses, epsilon)
    return max(0.0, float_down(lower)), min(1.0, float_up(upper))


def epsilon_of(uses: tuple[GaussianUses, ...], delta: float) -> Pair:
    """Returns floats around the least `epsilon >= 0` with `delta(epsilon) <= delta`, for delta in (0, 1].

    Newton's method on log delta, which is concave: begun on the right it never passes the root. It only
    proposes; the two floats are tried, and those farther and farther out where they fail.
    """
    goal = Fraction(delta)
    if _ends(uses, 0.0)[1] <= goal:
        return 0.0, 0.0
    root = Fraction(_root(uses, Decimal(delta)))
    lower, upper = max(0.0, float_down(root)), float_up(root)
    step = 1
    while upper < math.inf and _ends(uses, upper)[1] > goal:
        upper, step = upper + step * math.ulp(upper), 2 * step
    step = 1
    while lower > 0 and _ends(uses, lower)[0] < goal:
        lower, step = max(0.0, lower - step * math.ulp(lower)), 2 * step
    return lower, upper


def _ends(uses: tuple[GaussianUses, ...], epsilon: float) -> tuple[Fraction, Fraction]:
    """Returns a bracket of delta in rationals, which no decimal context of a caller can round."""
    value, error = delta_in_digits(uses, Decimal(epsilon))
    return Fraction(value) - Fraction(error), Fraction(value) + Fraction(error)


def _root(uses: tuple[GaussianUses, ...], goal: Decimal) -> Decimal:
    with localcontext(context(_first_digits(uses))):
        mu = _distance(uses)
        # delta(epsilon) <= Q(a) <= e^(-a^2/2) to the right of a = 0
        at = mu * mu / 2 + mu * (max(Decimal(0), -2 * goal.ln())).sqrt()
        for _ in range(60):
            a, b = at / mu - mu / 2, at / mu + mu / 2
            first, second = _two_tails(a, b)
            step = ((first - second) / goal).ln() * (first - second) / second
            at += step
            if abs(step) <= at * Decimal(10) ** -20:
                break
        return max(at, Decimal(0))


def delta_in_digits(uses: tuple[GaussianUses, ...], epsilon: Decimal) -> tuple[Decimal, Decimal]:
    """Returns delta and a bound on its error, DIGITS digits apart (or both below 1e-400)."""
    digits = _first_digits(uses)
    while True:
        with localcontext(context(digits)):
            mu = _distance(uses)
            a, b = epsilon / mu - mu / 2, epsilon / mu + mu / 2
            if a > 45:
                return Decimal("1e-400"), Decimal("1e-400")  # Q(45) is below 1e-440
            first, second = _two_tails(a, b)
            error = max(first, second) * (1 + mu) * Decimal(10) ** (7 - digits)
            if error <= abs(first - second) * Decimal(10) ** -DIGITS:
                return first - second, error
        digits *= 2


def _first_digits(uses: tuple[GaussianUses, ...]) -> int:
    """Returns digits to begin with: 50, and as many as a difference may lose."""
    with localcontext(context(40)):
        return 50 + 2 * abs(_distance(uses).adjusted())


def context(digits: int) -> Context:
    return Context(prec=digits, Emax=MAX_EMAX, Emin=MIN_EMIN)


def _distance(uses: tuple[GaussianUses, ...]) -> Decimal:
    """Returns mu."""
    parts = (use.count / Decimal(use.noise_multiplier) ** 2 for use in uses)
    return sum(parts, Decimal(0)).sqrt()


def _two_tails(a: Decimal, b: Decimal) -> tuple[Decimal, Decimal]:
    """Returns `Q(a)` and `e^((b^2 - a^2)/2) Q(b) = f(a) Q(b) / f(b)`."""
    if b < 2:
        return _tail(a), ((b * b - a * a) / 2).exp() * _tail(b)
    return _tail(a), _density(a) * _mills(b)


def _tail(x: Decimal) -> Decimal:
    """Returns the normal tail Q(x)."""
    if x < 0:
        return 1 - _tail(-x)
    if x >= 2:
        return _density(x) * _mills(x)
    term = total = x
    odd = 1
    while term > total * Decimal(10) ** (-_precision()):
        odd += 2
        term = term * x * x / odd
        total += term
    return Decimal("0.5") - _density(x) * total


def _density(x: Decimal) -> Decimal:
    return (-x * x / 2).exp() / (2 * _pi(_precision())).sqrt()


def _mills(x: Decimal) -> Decimal:
    """Returns `R(x) = Q(x) / f(x)` for x >= 2 as the last of two convergents, which lie on both sides of it."""
    before, above = Decimal(0), Decimal(1)
    under, below = Decimal(1), x
    near = Decimal(10) ** (2 - _precision())
    for k in count(1):
        before, above = above, x * above + k * before
        under, below = below, x * below + k * under
        if k % 16 == 0 and abs(above * under - before * below) <= above * under * near:
            break
    return above / below


def _precision() -> int:
    return getcontext().prec


@lru_cache(maxsize=8)
def _pi(digits: int) -> Decimal:
    """Returns pi by Machin's formula, with 10 digits to spare."""
    with localcontext(context(digits + 10)):
        return 4 * (4 * _arctan_of_inverse(5) - _arctan_of_inverse(239))


def _arctan_of_inverse(n: int) -> Decimal:
    power, total, odd = 1 / Decimal(n), Decimal(0), 1
    while power > Decimal(10) ** (-_precision()):
        total += power / odd if odd % 4 == 1 else -power / odd
        power /= n * n
        odd += 2
    return total
