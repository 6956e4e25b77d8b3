"""The Poisson-subsampled Gaussian mechanism as a factor of the contour, in either direction.

With the integral I of `mixture`, M(z) is `I(1 + z)` when the record is removed and `I(-z)` when it is added.

How it fades, for one use: with cells of y that have at least the mass m_j and losses in [l_j, l_(j+1)],

    1 - |phi|^2 = E (1 - cos(t (L - L'))) >= sum m_j m_k (1 - cos(t gap_jk))     over pairs with t far_jk <= pi,

gap and far being the least and the largest distance of losses in two cells. For all later times `|phi| <= V / t` by
parts, V being the variation of the density `h = f e^(s_0 L) / (I L')` of L between the ends (beyond them lies next to
nothing). As `(log h)' = (s_0 + 1) m w - y - m` has at most three zeros, w being logistic, h has at most two maxima
there, the ends counted, and `V <= 4 max h`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from accounting.numerics.mixture import EXACT, Mixture, moments, nodes, step
from accounting.numerics.rounding import UNIT
from accounting.numerics.trinomial import Floats

FIRST = 64
"""Times that are summed exactly; later blocks are each as long as all before."""

RATIO = 1.25
"""Ratio of the times at which fading is bounded."""


@dataclass(frozen=True, order=True)
class SubsampledUses:
    """Uses of a Gaussian mechanism on a Poisson sample of the records.

    Attributes:
        noise_multiplier: standard deviation against sensitivity, finite and > 0.
        sampling_probability: q, in (0, 1).
        count: number of uses, >= 1.
    """

    noise_multiplier: float
    sampling_probability: float
    count: int

    def largest(self, *, removal: bool) -> Fraction | None:
        """Returns what no loss reaches: `-log(1 - q)` a use, rounded up, for a record that is added; else None."""
        if removal:
            return None
        return self.count * Fraction(-math.log1p(-self.sampling_probability) * (1 + 16 * UNIT))

    def times(self, count: int) -> SubsampledUses:
        """Returns so many more uses, all together."""
        return SubsampledUses(self.noise_multiplier, self.sampling_probability, self.count * count)

    def factor(self, *, removal: bool) -> Subsampled:
        """Returns the loss for the contour, when the record is removed or when it is added."""
        return Subsampled(Mixture(1 / self.noise_multiplier, self.sampling_probability), self.count, removal)


@dataclass(frozen=True)
class Subsampled:
    """The loss in one direction as `Factor`.

    Attributes:
        mixture: the two densities.
        count: number of uses.
        removal: whether the record is removed; else added.
    """

    mixture: Mixture
    count: int
    removal: bool

    @property
    def highest(self) -> float:
        """Beyond, the quadrature takes more than some 10^5 nodes."""
        m = self.mixture.distance
        if self.removal:
            return 1e5 / m
        return min(1e4 / max(m * m, 1e-300), -1e6 / math.log1p(-self.mixture.share))

    def log_moment(self, tilts: Floats) -> tuple[Floats, Floats]:
        parts = np.array([moments(self.mixture, self._power(tilt))[:2] for tilt in tilts.tolist()])
        values: Floats = self.count * parts.reshape(-1, 2)
        return values[:, 0], values[:, 1]

    def slopes(self, tilts: Floats) -> tuple[Floats, Floats]:
        parts = np.array([moments(self.mixture, self._power(tilt))[2:] for tilt in tilts.tolist()])
        values: Floats = self.count * parts.reshape(-1, 2)
        return values[:, 0] if self.removal else -values[:, 0], values[:, 1]

    def turned(self, tilt: float, times: Floats) -> tuple[Floats, Floats, Floats]:
        """In blocks of times, with the step that the last one needs."""
        parts: list[tuple[Floats, Floats, Floats]] = []
        begin, end = 0, min(len(times), FIRST)
        while begin < len(times):
            found = nodes(self.mixture, self._power(tilt), float(times[end - 1]))
            parts.append(found.turned(times[begin:end], exactly=begin == 0))
            begin, end = end, min(len(times), 2 * end)
        size, angle, error = (np.concatenate(rows) for rows in zip(*parts, strict=True))
        sign = 1 if self.removal else -1
        return self.count * size, sign * self.count * angle, self.count * error

    def fading(self, tilt: float, time: float) -> float:
        times, bounds = _profile(self.mixture, self._power(tilt), self.count)
        at = int(np.searchsorted(times, time, side="right")) - 1
        return self.count * float(bounds[at]) if at >= 0 else 0.0

    def work(self, tilt: float, time: float) -> float:
        """A fifth of the nodes: most products are made by a table."""
        power = self._power(tilt)
        left, right = self.mixture.ends(power)
        return 0.2 * (right - left) / step(self.mixture, power, time)

    def _power(self, tilt: float) -> float:
        """Returns s_0."""
        return 1 + tilt if self.removal else -tilt


@lru_cache(maxsize=64)
def _profile(mixture: Mixture, power: float, count: int) -> tuple[Floats, Floats]:
    """Returns times, and for each a bound on `log |phi|` of one use from there on, see the module."""
    _, _, _, variance = moments(mixture, power)
    if variance < 1e-200:
        return np.zeros(1), np.zeros(1)
    steps = 60 + int(2.3 * math.log(count))
    times = 0.3 / math.sqrt(variance * count) * RATIO ** np.arange(steps, dtype=np.float64)
    losses, masses = _cells(mixture, power)
    higher, lower = np.tril_indices(len(masses), -2)  # next to one another there is no gap
    gap: Floats = losses[higher] - losses[lower + 1]
    far: Floats = losses[higher + 1] - losses[lower]
    weight: Floats = 4 * masses[higher] * masses[lower]
    drops = np.empty_like(times)
    for at, t in enumerate(times.tolist()):
        seen = far <= math.pi / (RATIO * t)
        drops[at] = weight[seen] @ np.sin(t / 2 * gap[seen]) ** 2
    now = 0.5 * np.log1p(-np.minimum(drops * (1 - 1e-9), 0.999))
    later = np.minimum(np.log(4 * _highest(mixture, power) / times + 2 * math.exp(-EXACT)), 0.0)
    best, bounds = float(later[-1]), np.empty_like(times)
    for at in range(len(times) - 1, -1, -1):
        best = min(max(best, float(now[at])), float(later[at]))
        bounds[at] = best
    return times, bounds


def _cells(mixture: Mixture, power: float) -> tuple[Floats, Floats]:
    """Returns the losses at the edges of cells where most of the tilted mass is, and the least mass of each."""
    found = nodes(mixture, power, 0.0)
    heavy = np.flatnonzero(found.weights > 1e-6)
    edges = np.linspace(float(found.places[heavy[0]]), float(found.places[heavy[-1]]), 129)
    logs = mixture.smallest(power, edges) - math.log(2 * math.pi) / 2 - found.log_total
    losses, _ = mixture.losses(edges)
    return losses, np.exp(logs) * np.diff(edges) * (1 - 1e-9)


def _highest(mixture: Mixture, power: float) -> float:
    """Returns a bound on the density h, by the largest of each part in each of many cells."""
    m = mixture.distance
    count = min(4096, 64 * math.ceil(abs(power + 1) * m + 4))
    edges = np.linspace(*mixture.ends(power), count + 1)
    # 1 / L' = e^(L - (m y - m^2/2)) / (m q)
    logs = mixture.largest(power + 1, edges) - m * edges[:-1] + m * m / 2
    scale = math.log(m * mixture.share) + math.log(2 * math.pi) / 2 + moments(mixture, power)[0]
    return math.exp(min(float(np.max(logs)) - scale, 700.0)) * (1 + 1e-9)
