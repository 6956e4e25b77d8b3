"""Two normal densities, mixed: the integral behind the subsampled Gaussian mechanism, by a proved quadrature.

In units of the noise one use compares `N(0, 1)` with `(1-q) N(0, 1) + q N(m, 1)`, m the inverse noise multiplier. With
`L(y) = log(1 - q + q e^(m y - m^2/2))` and f the normal density, everything asked for is

    I(s) = int f(y) e^(s L(y)) dy,        s = s_0 + i t.

The integrand is analytic for `|Im y| < pi / m`, so that the trapezoid of step d converges geometrically: for any a in
that strip its error is at most `2 N / (e^(2 pi a / d) - 1)`, with N the largest integral of the modulus along `Im y = b`,
`|b| <= a`. There `|f(y + ib)| = f(y) e^(b^2/2)`; with `c = m b`, the modulus of `1 - q + q e^(..+ic)` lies between
`cos(c/2)` times and once its value at c = 0, and its argument is `atan2(w sin c, 1 - w + w cos c)`, w being the share of
the second density. The argument rises with w, and for `|b| <= a` is at most `W(y)`: its value at `c = m a`, or `asin(w /
(1-w))` if that is passed on the way. So, for `0 < a < pi / m`,

    N <= e^(a^2/2) cos(m a/2)^(-|s_0|, if s_0 < 0) int f(y) e^(s_0 L(y) + |t| W(y)) dy,

bounded by a sum over cells with the largest value of every part. The ends are cut where the rest is negligible: for
s_0 >= 1, by Jensen, `e^(s_0 L) <= 1 - q + q e^(s_0 (m y - m^2/2))`, two normal densities; for s_0 < 0, `e^(s_0 L) <=
(1-q)^(s_0)`; and closer by sums over cells again. In both cases `I(s_0) >= 1`, by Jensen.

Error: quadrature and ends are below `8 e^-EXACT` of `I(s_0)`. The exponents carry `4 y^2 + 4 |s_0 L| + 16` units and |s_0|
times the error of L, which is at most `4 |L| + 8 w (1 + m |y| + m^2)` units (one of them is that of m itself). A sum
of J terms errs by J units of the sum of their moduli.

Source: Trefethen and Weideman 2014, theorem 5.1 (trapezoid on the line); Mironov, Talwar, Zhang 2019 for I.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accounting.numerics.kernel import Complexes
from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats

EXACT = 48.0
"""Quadrature and ends are left out below e^-48 of I."""

MOST_NODES, CELLS = 1 << 20, 1 << 12

AT_ONCE = 1 << 18
"""Entries of a table of times and nodes that is made at once."""

HEIGHTS: Floats = np.geomspace(1e-3, 1, 28)
"""Shares of the strip in which its half-width a is looked for."""


@dataclass(frozen=True)
class Mixture:
    """The two densities of one use.

    Attributes:
        distance: m, within a unit.
        share: q, in (0, 1]; 1 is the Gaussian mechanism without sampling.
    """

    distance: float
    share: float

    def losses(self, y: Floats) -> tuple[Floats, Floats]:
        """Returns L, and the share w of the second density, which is `L' / m`."""
        exponent = self.distance * y - self.distance**2 / 2
        if self.share == 1:
            return exponent, np.ones_like(y)
        small = np.log1p(self.share * np.expm1(np.minimum(exponent, 30.0)))
        rest = math.log1p(-self.share) - math.log(self.share)
        large = exponent + math.log(self.share) + np.log1p(np.exp(rest - np.maximum(exponent, 30.0)))
        losses = np.where(exponent <= 30, small, large)
        return losses, np.exp(np.minimum(exponent + math.log(self.share) - losses, 0.0))

    def largest(self, power: float, edges: Floats) -> Floats:
        """Returns an upper bound on `-y^2/2 + power L(y)` in each cell."""
        losses, _ = self.losses(edges)
        nearest = np.where(edges[:-1] * edges[1:] < 0, 0.0, np.minimum(np.abs(edges[:-1]), np.abs(edges[1:])))
        return power * (losses[1:] if power >= 0 else losses[:-1]) - nearest**2 / 2

    def smallest(self, power: float, edges: Floats) -> Floats:
        """Returns a lower bound on `-y^2/2 + power L(y)` in each cell."""
        losses, _ = self.losses(edges)
        farthest = np.maximum(np.abs(edges[:-1]), np.abs(edges[1:]))
        return power * (losses[:-1] if power >= 0 else losses[1:]) - farthest**2 / 2

    def ends(self, power: float) -> tuple[float, float]:
        """Returns the ends of the integral for s_0."""
        return _ends(self, power)

    def outer_ends(self, power: float) -> tuple[float, float]:
        """Returns ends beyond which two normal densities hold next to nothing."""
        m, log_q = self.distance, math.log(self.share)
        plain = math.sqrt(2 * (EXACT + 3 + m * m / 8))
        if power >= 1:
            moved = m * m * power * (power - 1) / 2
            gap = max(0.0, log_q + moved - max(0.0, power * log_q + moved))
            return -plain, power * m + math.sqrt(2 * (EXACT + 3 + gap))
        if power >= 0:
            return -plain, m + plain
        wide = math.sqrt(2 * (EXACT + 3 + power * math.log1p(-self.share)))
        return -wide, wide


@lru_cache(maxsize=4096)
def _ends(mixture: Mixture, power: float) -> tuple[float, float]:
    """Returns the ends of the integral: by normal densities, then over cells that hold next to nothing."""
    left, right = mixture.outer_ends(power)
    if right - left < 30 or 0 <= power < 1:
        return left, right
    edges = np.linspace(left, right, CELLS + 1)
    logs = mixture.largest(power, edges) + math.log((right - left) / CELLS / math.sqrt(2 * math.pi))
    small = np.exp(np.minimum(logs + EXACT + 6, 1.0))
    first = int(np.searchsorted(np.cumsum(small), 0.5))
    last = CELLS - int(np.searchsorted(np.cumsum(small[::-1]), 0.5))
    return (float(edges[first]), float(edges[last])) if first < last else (left, right)


@dataclass(frozen=True, eq=False)
class Nodes:
    """A quadrature of `I(s_0 + i t)`.

    Attributes:
        places: y.
        losses, weights: L, and its share of `I(s_0)`, at each node.
        off, weight_off: bounds on the error of L, and on the relative error of its weight.
        log_total: `log I(s_0)`.
    """

    places: Floats
    losses: Floats
    weights: Floats
    off: Floats
    weight_off: Floats
    log_total: float

    @property
    def rounding(self) -> float:
        """Bound on the error of `log I`."""
        return 8 * math.exp(-EXACT) + UNIT * (len(self.losses) + 64) + float(self.weights @ self.weight_off)

    def turned(self, times: Floats, *, exactly: bool) -> tuple[Floats, Floats, Floats]:
        """Returns `log |phi|`, the angle of `phi = I(s_0 + i t) / I(s_0)`, and a bound on the error of both.

        Args:
            times: equally spaced.
            exactly: whether `phi - 1` is summed instead of phi, which is slower and errs by less near time 0.
        """
        wave = self._near(times) if exactly else self._far(times)
        length = (len(self.losses) + 64) * UNIT
        slow = self.weights @ (self.off + np.abs(self.losses) * (self.weight_off + length + 8 * UNIT))
        error = 16 * math.exp(-EXACT) + (4 * UNIT if exactly else 8 * length) + times * float(slow)
        modulus = np.abs(wave)
        doubt = np.where(error <= modulus / 2, 4 * error / np.maximum(modulus, 1e-300), 10.0)
        return np.minimum(np.log(modulus + error), 0.0), np.angle(wave), doubt

    def _near(self, times: Floats) -> Complexes:
        waves: list[Complexes] = []
        for part in np.array_split(times, math.ceil(len(times) * len(self.losses) / AT_ONCE)):
            half = part[:, None] * (self.losses * 0.5)
            sine = np.sin(half)
            waves.append(1 - 2 * (sine * sine) @ self.weights + 2j * ((sine * np.cos(half)) @ self.weights))
        return np.concatenate(waves)

    def _far(self, times: Floats) -> Complexes:
        """By `e^(i (t + r s) L) = e^(i t L) e^(i r s L)`: a product of two tables."""
        steps = min(len(times), 64, max(1, AT_ONCE // len(self.losses)))
        inner = np.exp(1j * (times[:steps] - times[0])[:, None] * self.losses) * self.weights
        starts = times[::steps]
        waves: list[Complexes] = [
            np.exp(1j * part[:, None] * self.losses) @ inner.T
            for part in np.array_split(starts, math.ceil(len(starts) * len(self.losses) / AT_ONCE))
        ]
        return np.concatenate(waves).ravel()[: len(times)]


def nodes(mixture: Mixture, power: float, time: float) -> Nodes:
    """Returns a quadrature that is proved for all `|t| <= time`.

    Raises:
        ValueError: it would take too many nodes.
    """
    size = step(mixture, power, time)
    left, right = mixture.ends(power)
    count = math.ceil((right - left) / size) + 1
    if count > MOST_NODES:
        raise ValueError(
            f"Expected a noise multiplier that is not so small under subsampling, got {1 / mixture.distance:g}; "
            f"use Gaussian(noise_multiplier), which loses more, or sampling_probability=1."
        )
    y = left + size * np.arange(count, dtype=np.float64)
    losses, slope = mixture.losses(y)
    logs = power * losses - y * y / 2
    weights = np.exp(logs - np.max(logs))
    total = float(np.sum(weights))
    log_total = float(np.max(logs)) + math.log(total * size / math.sqrt(2 * math.pi))
    off = UNIT * (4 * np.abs(losses) + 8 * slope * (1 + mixture.distance * np.abs(y) + mixture.distance**2))
    weight_off = UNIT * (4 * y * y + 4 * np.abs(power * losses) + 16) + abs(power) * off
    return Nodes(y, losses, weights / total, off, weight_off, log_total)


@lru_cache(maxsize=4096)
def moments(mixture: Mixture, power: float) -> tuple[float, float, float, float]:
    """Returns `log I(s_0)`, a bound on its error, and mean and variance of the tilted L."""
    found = nodes(mixture, power, 0.0)
    mean = float(found.weights @ found.losses)
    return found.log_total, found.rounding, mean, float(found.weights @ (found.losses - mean) ** 2)


@lru_cache(maxsize=256)
def step(mixture: Mixture, power: float, time: float) -> float:
    """Returns the largest step for which quadrature is proved to err by less than e^-EXACT of `I(s_0)`."""
    m = mixture.distance
    heights = HEIGHTS * min(12.0, 0.97 * math.pi / m)
    price = heights**2 / 2
    if power < 0:
        price += power * np.log(np.cos(m * heights / 2))
    if time > 0:
        price += _turning(mixture, power, time, m * heights)
    return float(np.max(2 * math.pi * heights / (EXACT + 2 + np.maximum(price, 0.0))))


def _turning(mixture: Mixture, power: float, time: float, turns: Floats) -> Floats:
    """Returns the logarithm of a bound on `int f e^(s_0 L + time W) / I(s_0)` for each `c = m a`."""
    left, right = mixture.ends(power)
    edges = np.linspace(left, right, 257)
    _, slope = mixture.losses(edges)
    logs = mixture.largest(power, edges) + math.log((right - left) / 256 / math.sqrt(2 * math.pi))
    upper = slope[1:, None]
    angles = np.arctan2(upper * np.sin(turns), 1 - upper + upper * np.cos(turns))
    passed = np.cos(turns) * (1 - upper) < -upper
    angles = np.where(passed, np.arcsin(np.minimum(upper / np.maximum(1 - upper, 1e-300), 1.0)), angles)
    sums = logs[:, None] + time * angles
    top = np.max(sums, axis=0)
    inside = top + np.log(np.sum(np.exp(sums - top), axis=0))
    return np.logaddexp(inside - moments(mixture, power)[0], time * turns - EXACT) + 1e-9
