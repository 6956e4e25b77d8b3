"""The whole law of a few three-point losses with unlike epsilons, value by value.

Each epsilon has its lattice law (`trinomial`, `lattice`); their product is listed. With values x and probabilities p

    delta(epsilon) = sum over x > epsilon of p (1 - e^(epsilon - x)),

positive terms only. Between two neighbouring values it is inverted in closed form.

Error: probabilities carry the roundings of their laws and one for each product; the sum, one a term. A value is off
by at most `2 (G + 2)` units of the largest one, for G epsilons, which moves epsilon by as much.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accounting.numerics import trinomial
from accounting.numerics.lattice import LARGEST_STEP, SMALLEST_STEP
from accounting.numerics.rounding import LIBRARY, UNIT, relative
from accounting.numerics.three_point import Group
from accounting.numerics.trinomial import SCALE_BITS, Floats

Pair = tuple[float, float]

HALF = 2.0 ** (-SCALE_BITS // 2)

MOST_VALUES = 1 << 18
"""Values listed (about 10 MB, and 20 ms to look up an epsilon)."""


@dataclass(frozen=True, eq=False)
class Atoms:
    """A law.

    Attributes:
        values: ascending.
        masses: their probabilities, times 2^900.
        relative_error: of every sum of masses.
        shift: bound on the error of every value.
        dropped: mass that is missing, times 2^900.
    """

    values: Floats
    masses: Floats
    relative_error: float
    shift: float
    dropped: float

    def delta(self, epsilon: float) -> Pair:
        """Returns a bracket of delta at a finite epsilon."""
        lower = self._sum(epsilon + self.shift) * (1 - self.relative_error)
        upper = self._sum(epsilon - self.shift) * (1 + self.relative_error) + self.dropped
        return (
            max(0.0, math.nextafter(math.ldexp(lower, -SCALE_BITS), 0.0)),
            min(1.0, math.nextafter(math.ldexp(upper, -SCALE_BITS), math.inf)),
        )

    def epsilon(self, delta: float) -> Pair:
        """Returns a bracket of the least `epsilon >= 0` with `delta(epsilon) <= delta`, for `delta > 0`."""
        target = math.ldexp(delta, SCALE_BITS)
        safe = (target - self.dropped) * (1 - relative(6)) / (1 + self.relative_error)
        bold = target * (1 + relative(6)) / (1 - self.relative_error)
        upper = math.inf if safe <= 0 else self._inverse(safe, guard=1 + relative(8 + LIBRARY)) + self.shift
        lower = self._inverse(bold, guard=1 - relative(8 + LIBRARY)) - self.shift
        return max(0.0, math.nextafter(lower, -math.inf)), max(0.0, math.nextafter(upper, math.inf))

    def _sum(self, epsilon: float) -> float:
        first = int(np.searchsorted(self.values, epsilon, side="right"))
        return float(self.masses[first:] @ -np.expm1(epsilon - self.values[first:]))

    def _inverse(self, target: float, *, guard: float) -> float:
        """Returns where the listed curve meets `target`, moved up (guard > 1) or down (guard < 1)."""
        low, high = -1, len(self.values) - 1
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (low, middle) if self._sum(float(self.values[middle])) <= target else (middle, high)
        value = float(self.values[high])
        ahead = float(self.masses[high:] @ np.exp(value - self.values[high:]))
        share = (target - self._sum(value)) / ahead / guard if ahead > 0 else math.inf
        gap = math.inf if share >= 1 else -math.log1p(-share) / guard
        return max(value - gap, float(self.values[low]) if low >= 0 else -math.inf)


@lru_cache(maxsize=8)
def atoms(groups: tuple[Group, ...]) -> Atoms | None:
    """Returns the law of a composition, or None where it has too many values or is beyond floats."""
    uses: dict[float, int] = {}
    for group in groups:
        uses[group.epsilon] = uses.get(group.epsilon, 0) + group.count
    if math.prod(2 * count + 1 for count in uses.values()) > MOST_VALUES:
        return None
    if not all(SMALLEST_STEP <= step <= LARGEST_STEP for step in uses):
        return None
    values, masses, roundings = np.zeros(1), np.array([2.0**SCALE_BITS]), 0
    for step in sorted(uses):
        law = np.array([2.0**SCALE_BITS])
        for group in (group for group in groups if group.epsilon == step):
            own = trinomial.both_halves(step, group.middle, group.count)[1]
            roundings += min(len(law), len(own)) + 2 + trinomial.roundings(group.count) + 2048
            law = np.convolve(law * HALF, own * HALF)
        places = step * (np.arange(len(law)) - len(law) // 2)
        values = (values[:, None] + places).ravel()
        masses = (masses[:, None] * HALF * (law * HALF)).ravel()
    order = np.argsort(values, kind="stable")
    error = relative(roundings + len(values) + 64)
    shift = 2 * (len(uses) + 2) * UNIT * float(np.max(np.abs(values)))
    return Atoms(values[order], masses[order], error, shift, len(values) * len(groups) * 2.0**-560)
