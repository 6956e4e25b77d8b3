"""Delta, epsilon and divergence of a composition: which route answers which question.

Gaussian noise alone has a closed form. Three-point losses on one lattice have running sums, which are exact, and for
many uses the periodic contour, as good as exact. Everything else goes through the contour; where its floats
end, a Rényi bound holds above and nothing below.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property, partial
from typing import TypeVar

import numpy as np

from accounting.numerics import brackets, gaussian, lattice, lattice_line, renyi
from accounting.numerics.atoms import Atoms, atoms
from accounting.numerics.factor import Factor
from accounting.numerics.finite import Finite
from accounting.numerics.gaussian import GaussianUses
from accounting.numerics.ladder import ladder
from accounting.numerics.noises import Noise
from accounting.numerics.once import delta_once, epsilon_once
from accounting.numerics.rounding import float_down, float_up
from accounting.numerics.saddle import slopes
from accounting.numerics.subsampled import SubsampledUses
from accounting.numerics.three_point import Group

Pair = tuple[float, float]
Curve = Callable[[float], Pair]
Answer = TypeVar("Answer")

FEW = 4096
"""Uses on one lattice up to which the running sums are the faster way."""

MOST_USES = 2**200

WIDE = 2e-3
"""Relative width from which on other routes are tried as well."""


def within_floats(ask: Callable[[], Answer]) -> Answer | None:
    """Returns an answer, or None where numbers leave the range of floats on the way to it."""
    with np.errstate(all="ignore"):
        try:
            return ask()
        except ArithmeticError:
            return None


@dataclass(frozen=True)
class Direction:
    """A composition seen in one direction: what is compared is (with, without) the record, or the reverse.

    Attributes:
        groups: three-point losses.
        noises: noise mechanisms.
        removal: the direction; it matters to subsampled noise only.
    """

    groups: tuple[Group, ...]
    noises: tuple[Noise, ...]
    removal: bool

    @cached_property
    def largest(self) -> Fraction | None:
        """The largest loss, exactly; None where there is none. For a record that is added, an upper bound."""
        total = sum((Fraction(group.epsilon) * group.count for group in self.groups), Fraction(0))
        for noise in self.noises:
            own = noise.largest(removal=self.removal)
            if own is None:
                return None
            total += own
        return total

    @property
    def top(self) -> float:
        """The largest loss, rounded up, or infinity."""
        return math.inf if self.largest is None else float_up(self.largest)

    @cached_property
    def factors(self) -> list[Factor]:
        """The independent parts, for the contour."""
        finite: list[Factor] = [Finite.of(self.groups)] if self.groups else []
        variance = sum(use.factor().variance for use in self._gaussians)
        normal: list[Factor] = [gaussian.Normal(variance)] if self._gaussians else []
        others = [
            use.factor(removal=self.removal) for use in self.noises if not isinstance(use, GaussianUses)
        ]
        return [*finite, *normal, *others]

    @cached_property
    def moments(self) -> tuple[float, float]:
        """Mean and standard deviation of the loss, roughly."""
        mean, spread = within_floats(lambda: slopes(self.factors, np.zeros(1))) or np.full((2, 1), math.nan)
        return float(mean[0]), math.sqrt(float(spread[0]))

    def value_near(self, epsilon: float) -> float:
        """Returns the value of the loss nearest to an epsilon, where there are such values, else epsilon."""
        if self._on_a_lattice:
            return self.groups[0].epsilon * round(epsilon / self.groups[0].epsilon)
        listed = self._listed(lambda law: float(law.values[np.argmin(np.abs(law.values - epsilon))]))
        return epsilon if listed is None else listed

    @property
    def _gaussians(self) -> tuple[GaussianUses, ...]:
        return tuple(use for use in self.noises if isinstance(use, GaussianUses))

    def epsilon(self, delta: float) -> Pair:
        """Returns a bracket of the least `epsilon >= 0` for a delta in [0, 1]."""
        low = math.inf if self.largest is None else float_down(self.largest)
        if delta == 0 or not (self.groups or self.noises):
            return low, self.top
        if delta == 1:
            return 0.0, 0.0
        if self.noises == self._gaussians and not self.groups:
            return gaussian.epsilon_of(self._gaussians, delta)
        if (once := self._once) is not None:
            return epsilon_once(once, delta, removal=self.removal)
        if not self._countable:
            return 0.0, self.top
        exact = self._lattice_epsilon(delta) or self._listed(lambda law: law.epsilon(delta))
        lower, upper = exact or self._contour_epsilon(delta)
        return min(lower, low), min(upper, self.top)

    def _contour_epsilon(self, delta: float) -> Pair:
        """Answers any composition; the other routes where the contour is wide."""
        found = within_floats(lambda: brackets.epsilon_bracket(self.factors, delta, self.top))
        lower, upper = found or (0.0, math.inf)
        if not upper - lower <= WIDE * min(upper, 1e300):
            bound = within_floats(lambda: renyi.epsilon_from(self.factors, delta))
            upper = upper if bound is None else min(upper, bound)
            if (laws := self._ladder) is not None:
                lower = max(lower, laws[0].epsilon(delta)[0])
                upper = min(upper, laws[1].epsilon(delta)[1])
        return lower, upper

    @cached_property
    def _ladder(self) -> tuple[Atoms, Atoms] | None:
        return within_floats(lambda: ladder(self.groups, self.noises, self.removal))

    def exceeds(self, epsilon: float, delta: float) -> bool:
        """Says whether delta at an epsilon may be above this one; False is proved, by Chernoff."""
        if delta == 0 or not self._countable or self._once is not None:
            return True
        bound = within_floats(lambda: brackets.log_chernoff(self.factors, epsilon))
        return bound is None or not bound < math.log(delta) * (1 + 1e-12)

    def delta(self, epsilon: float) -> Pair:
        """Returns a bracket of delta at a finite `epsilon >= 0`."""
        return self.near(epsilon)(epsilon)

    def near(self, epsilon: float) -> Curve:
        """Returns delta as a function: a bracket at any epsilon >= 0, narrow near this one."""
        if self.noises == self._gaussians and not self.groups:
            return lambda at: gaussian.delta_of(self._gaussians, at) if self.noises else (0.0, 0.0)
        if (once := self._once) is not None:
            return lambda at: delta_once(once, at, removal=self.removal)
        if not self._countable:
            return lambda at: (0.0, 1.0 if self.largest is None or Fraction(at) < self.largest else 0.0)
        found = (
            self._lattice_delta(epsilon)
            or self._listed(lambda law: law.delta)
            or self._contour_delta(epsilon)
        )

        def delta(at: float) -> Pair:
            beyond = self.largest is not None and Fraction(at) >= self.largest
            return (0.0, 0.0) if beyond else within_floats(lambda: found(at)) or (0.0, 1.0)

        return delta

    def _contour_delta(self, epsilon: float) -> Curve:
        """Answers any composition; the other routes where the contour is wide."""
        line = within_floats(lambda: brackets.curve_near(self.factors, epsilon, self.top))

        def delta(at: float) -> Pair:
            lower, upper = (0.0, 1.0) if line is None else line(at)
            if upper - lower > WIDE * upper and upper > 0:
                bound = within_floats(lambda: renyi.log_delta_from(self.factors, at))
                upper = upper if bound is None else min(upper, brackets.exp_up(bound))
                if (laws := self._ladder) is not None:
                    lower, upper = max(lower, laws[0].delta(at)[0]), min(upper, laws[1].delta(at)[1])
            return lower, upper

        return delta

    def renyi(self, order: float) -> Pair:
        """Returns a bracket of the Rényi divergence at a finite order > 1.

        Raises:
            ValueError: floats do not deliver it.
        """
        lower, upper = -math.inf, math.inf
        if self._countable and all(order - 1 <= factor.highest for factor in self.factors):
            lower, upper = within_floats(lambda: renyi.divergence(self.factors, order)) or (lower, upper)
        if not (math.isfinite(lower) and math.isfinite(upper)):
            raise ValueError(
                f"Expected losses whose Rényi divergence at {order!r} is within floats, got {self}; use a smaller order, "
                "or epsilon(delta=0), which is exact for any finite mechanism."
            )
        return max(0.0, lower), upper

    @property
    def _once(self) -> SubsampledUses | None:
        """The one use that is all there is, which has a closed form."""
        if self.groups or len(self.noises) != 1 or self.noises[0].count > 1:
            return None
        return self.noises[0] if isinstance(self.noises[0], SubsampledUses) else None

    @property
    def _countable(self) -> bool:
        """Whether all counts are within floats, and far from their end."""
        return all(part.count <= MOST_USES for part in (*self.groups, *self.noises))

    @property
    def _on_a_lattice(self) -> bool:
        return not self.noises and len({group.epsilon for group in self.groups}) == 1

    def _listed(self, answer: Callable[[Atoms], Answer]) -> Answer | None:
        """Answers where the values of the loss can be listed."""
        law = None if self.noises else atoms(self.groups)
        return None if law is None else answer(law)

    def _lattice_epsilon(self, delta: float) -> Pair | None:
        """Answers where all uses share one epsilon."""
        if not self._on_a_lattice:
            return None
        if sum(group.count for group in self.groups) > FEW:
            line = within_floats(lambda: lattice_line.epsilon_bracket(Finite.of(self.groups), delta))
            if line is not None:
                return line
        table = self._table(64 * math.ceil((48 - math.log2(delta)) / 64))
        return None if table is None else table.epsilon(delta)

    def _lattice_delta(self, epsilon: float) -> Curve | None:
        """Answers where all uses share one epsilon: near this one by the line, else by running sums."""
        if not self._on_a_lattice:
            return None
        finite, line = Finite.of(self.groups), None
        if sum(group.count for group in self.groups) > FEW:
            line = within_floats(lambda: lattice_line.delta_near(finite, epsilon))
        if (line is None or within_floats(partial(line, epsilon)) is None) and self._table(128) is None:
            return None

        def delta(at: float) -> Pair:
            known = None if line is None else line(at)
            return known or self._summed(at) or self._contour_delta(at)(at)

        return delta

    def _summed(self, epsilon: float) -> Pair | None:
        """Returns delta from the running sums, with windows as small as it needs."""
        found: Pair | None = None
        for bits in (128, 512, 1152):
            table = self._table(bits)
            if table is None:
                return found
            found = table.delta(epsilon)
            if found[1] - found[0] <= 2.0**-20 * found[1]:
                break
        return found

    def _table(self, tolerance_bits: int) -> lattice.Table | None:
        """Returns the running sums; in steps of 64 bits, so that tables are shared."""
        parts = tuple((group.middle, group.count) for group in self.groups)
        return lattice.table(self.groups[0].epsilon, parts, tolerance_bits)
