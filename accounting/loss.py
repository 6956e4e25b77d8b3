"""Privacy loss of finite mechanisms and of their compositions, answered as brackets that hold."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accounting import arguments, lattice, renyi
from accounting.rounding import LIBRARY, float_down, float_up, relative
from accounting.three_point import Group, dominating

FloatOrArray = float | NDArray[np.float64]
Pair = tuple[float, float]


@dataclass(frozen=True, eq=False)
class Bounds:
    """A bracket of the exact answer: `lower <= answer <= upper`, floats or arrays of one shape.

    Attributes:
        lower: never above the truth.
        upper: never below the truth; the number to report.
    """

    lower: FloatOrArray
    upper: FloatOrArray

    def __eq__(self, other: object) -> bool:
        """Says whether both ends agree everywhere."""
        if not isinstance(other, Bounds):
            return NotImplemented
        return np.array_equal(self.lower, other.lower) and np.array_equal(self.upper, other.upper)


@dataclass(frozen=True)
class PrivacyLoss:
    """The privacy loss of independent (or adaptively chosen) uses of finite mechanisms.

    The two outputs that are compared have the law P and the law Q; the loss is `log P(o)/Q(o)` under P, and
    here it is symmetric under exchange of P and Q. `delta(epsilon)` is `sum_o (P(o) - e^epsilon Q(o))_+`.

    Attributes:
        groups: equal losses counted together; normalised on construction.

    Privacy: upper bounds are guarantees between neighbours as the event defines them, also when each use is
    chosen after seeing earlier outputs, as long as its group is fixed beforehand.

    Error: groups of one epsilon are exact up to the rounding bound proved in `trinomial` and `lattice`, which
    both sides contain. Groups of different epsilons: upper is the least of three sound bounds (sum of
    epsilons, Rényi, all uses raised to the largest epsilon); lower is the largest one-lattice part (leaving
    uses out loses less).
    """

    groups: tuple[Group, ...] = ()

    def __post_init__(self) -> None:
        counts: dict[tuple[float, float], int] = {}
        for group in self.groups:
            if group.epsilon > 0:
                key = (group.epsilon, group.middle)
                counts[key] = counts.get(key, 0) + group.count
        object.__setattr__(self, "groups", tuple(sorted(Group(*key, count) for key, count in counts.items())))

    def compose(self, other: PrivacyLoss) -> PrivacyLoss:
        """Returns the loss of both, on the same data."""
        return PrivacyLoss(self.groups + other.groups)

    def self_compose(self, count: int) -> PrivacyLoss:
        """Returns the loss of `count` uses on the same data; repeating costs more."""
        times = arguments.whole("count", count)
        return PrivacyLoss(tuple(Group(g.epsilon, g.middle, g.count * times) for g in self.groups))

    def epsilon(self, delta: ArrayLike) -> Bounds:
        """Returns a bracket of the least `epsilon >= 0` for which (epsilon, delta) holds.

        Args:
            delta: in [0, 1], scalar or array. 0 asks for the pure guarantee, the sum of epsilons.

        Returns:
            Bounds of the shape of `delta`; both 0 where delta is at least the total variation distance.

        Raises:
            TypeError: delta is not a number.
            ValueError: delta lies outside [0, 1].
        """
        return _each(lambda value: self._epsilon(arguments.probability("delta", value)), "delta", delta)

    def delta(self, epsilon: ArrayLike) -> Bounds:
        """Returns a bracket of the least delta for which (epsilon, delta) holds.

        Args:
            epsilon: any real number, negative ones too, scalar or array.

        Returns:
            Bounds of the shape of `epsilon`, in [0, 1].

        Raises:
            TypeError: epsilon is not a number.
            ValueError: epsilon is NaN.
        """
        return _each(lambda value: self._delta(arguments.real("epsilon", value)), "epsilon", epsilon)

    def renyi(self, alpha: ArrayLike) -> Bounds:
        """Returns a bracket of the Rényi divergence `log E_P[(P/Q)^(alpha-1)] / (alpha - 1)`.

        Args:
            alpha: orders > 1, scalar or array; infinity gives the sum of epsilons.

        Raises:
            TypeError: alpha is not a number.
            ValueError: alpha is at most 1, or the losses are outside the range where floats can deliver.
        """
        return _each(lambda value: self._renyi(arguments.real("alpha", value)), "alpha", alpha)

    @property
    def _sum(self) -> Fraction:
        """The sum of epsilons, exactly."""
        return sum((Fraction(group.epsilon) * group.count for group in self.groups), Fraction(0))

    @property
    def _weighted(self) -> tuple[renyi.Weighted, ...]:
        return tuple((group.epsilon, group.plus, group.count) for group in self.groups)

    @property
    def _renyi_holds(self) -> bool:
        uses, least = sum(g.count for g in self.groups), min(g.epsilon for g in self.groups)
        in_range = least >= renyi.SMALLEST_EPSILON and self._sum <= renyi.LARGEST_SUM
        return in_range and uses <= renyi.LARGEST_USES and len(self.groups) <= renyi.MOST_GROUPS

    def _renyi(self, alpha: float) -> Pair:
        if alpha <= 1:
            raise ValueError(f"Expected alpha > 1, got {alpha!r}; alpha = 1 + 1e-6 is close to the limit.")
        low, high = float_down(self._sum), float_up(self._sum)
        if math.isinf(alpha) or not self.groups:
            return low, high
        if not self._renyi_holds:
            raise ValueError(
                f"Expected epsilons >= {renyi.SMALLEST_EPSILON}, their sum <= {renyi.LARGEST_SUM:g} and at most 2^53 "
                f"uses, got {self}; use epsilon(delta=0), which is exact for any of them."
            )
        value = float(renyi.divergence(self._weighted, np.array([min(alpha, 1e15)]))[0])
        above = high if alpha > 1e15 else min(value * (1 + renyi.ERROR), high)
        return min(value * (1 - renyi.ERROR), low), above

    def _epsilon(self, delta: float) -> Pair:
        low, high = float_down(self._sum), float_up(self._sum)
        if delta == 0 or not self.groups:
            return low, high
        if (table := self._table(_tolerance(delta))) is not None:
            lower, upper = table.epsilon(delta)
            return min(lower, low), min(upper, high)
        above = [high]
        if self._renyi_holds:
            above.append(renyi.epsilon_from(self._weighted, delta))
        if (table := self._raised()._table(0)) is not None:
            above.append(table.epsilon(delta)[1])
        below = [table.epsilon(delta)[0] for table in self._parts(_tolerance(delta))]
        return min(max(below, default=0.0), low), min(above)

    def _delta(self, epsilon: float) -> Pair:
        if epsilon == -math.inf:
            return 1.0, 1.0
        if epsilon < 0:  # P and Q are exchangeable: delta(-x) = 1 - e^-x + e^-x delta(x)
            lower, upper = self._delta(-epsilon)
            less, more = 1 - relative(8 + 2 * LIBRARY), 1 + relative(8 + 2 * LIBRARY)
            known, weight = -math.expm1(epsilon), math.exp(epsilon)
            return (known + weight * lower) * less, min(1.0, (known + weight * upper) * more)
        if math.isinf(epsilon) or Fraction(epsilon) >= self._sum:
            return 0.0, 0.0
        for bits in (128, 512, 1152):
            table = self._table(bits)
            if table is None:
                return self._loose_delta(epsilon)
            lower, upper = table.delta(epsilon)
            if upper - lower <= 2.0**-20 * upper:
                break
        return lower, upper

    def _loose_delta(self, epsilon: float) -> Pair:
        above = [1.0]
        if self._renyi_holds:
            power = math.exp(renyi.log_delta_from(self._weighted, epsilon))
            above.append(math.nextafter(power, math.inf) * (1 + renyi.ERROR))
        if (table := self._raised()._table(0)) is not None:
            above.append(table.delta(epsilon)[1])
        below = [table.delta(epsilon)[0] for table in self._parts(1152)]
        return max(below, default=0.0), min(above)

    def _table(self, tolerance_bits: int) -> lattice.Table | None:
        """Returns the exact curve where all uses share one epsilon and are not too many."""
        steps = {group.epsilon for group in self.groups}
        if len(steps) != 1:
            return None
        return lattice.table(steps.pop(), tuple((g.middle, g.count) for g in self.groups), tolerance_bits)

    def _raised(self) -> PrivacyLoss:
        """Returns a loss on one lattice that dominates this one, every use raised to the worst of all."""
        worst = self.groups[0]
        for group in self.groups[1:]:
            worst = dominating(worst, group)
        return PrivacyLoss((Group(worst.epsilon, worst.middle, sum(group.count for group in self.groups)),))

    def _parts(self, tolerance_bits: int) -> list[lattice.Table]:
        """Returns curves that this loss dominates, one for each epsilon in reach."""
        parts: list[lattice.Table] = []
        for step in sorted({group.epsilon for group in self.groups}):
            same = PrivacyLoss(tuple(group for group in self.groups if group.epsilon == step))
            most = max(group.middle for group in same.groups)
            count = min(lattice.LARGEST_COUNT, sum(group.count for group in same.groups))
            weakest = PrivacyLoss((Group(step, most, count),))
            table = same._table(tolerance_bits) or weakest._table(tolerance_bits)
            parts += [] if table is None else [table]
        return parts


def _each(answer: Callable[[object], Pair], name: str, values: ArrayLike) -> Bounds:
    """Returns the answers for a scalar, or for each entry of an array, as Bounds."""
    array = np.asarray(values)
    if array.ndim == 0:
        return Bounds(*answer(array.item()))
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Expected {name} to be a number or an array of numbers, got dtype {array.dtype}.")
    pairs = np.array([answer(value) for value in array.ravel().tolist()], dtype=np.float64).reshape(-1, 2)
    return Bounds(pairs[:, 0].reshape(array.shape), pairs[:, 1].reshape(array.shape))


def _tolerance(delta: float) -> int:
    """Returns the bits of mass a window may drop for this delta; in steps of 64, so tables are shared."""
    return 64 * math.ceil((48 - math.log2(delta)) / 64)
