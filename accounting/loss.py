"""Privacy loss of mechanisms and of their compositions, answered as brackets that hold."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from accounting import arguments
from accounting.numerics import tradeoff
from accounting.numerics.answers import Direction
from accounting.numerics.noises import Noise, merged
from accounting.numerics.rounding import LIBRARY, relative
from accounting.numerics.subsampled import SubsampledUses
from accounting.numerics.three_point import Group

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
    """The privacy loss of independent (or adaptively chosen) uses of mechanisms.

    The two outputs that are compared have the law P and the law Q; the loss is `log P(o)/Q(o)` under P, and
    `delta(epsilon)` is `sum_o (P(o) - e^epsilon Q(o))_+`. Subsampled noise tells removing a record from adding
    one; every answer is then the worse of the two, taken for the whole composition.

    Attributes:
        groups: equal three-point losses counted together; normalised on construction.
        noises: equal uses of noise mechanisms counted together; normalised on construction.

    Privacy: upper bounds are guarantees between neighbours as the event defines them, also when each use is
    chosen after seeing earlier outputs, as long as its group is fixed beforehand.

    Error: both ends hold whatever rounding, truncation and quadrature did. Gaussian noise alone: neighbouring
    floats. Groups of one epsilon: a relative width of 1e-9 and less. Mixtures: about 1e-6 where many uses
    are composed, see `contour`. Where floats end, the upper end is a Rényi bound or the sum of epsilons,
    and the lower end 0.
    """

    groups: tuple[Group, ...] = ()
    noises: tuple[Noise, ...] = ()

    def __post_init__(self) -> None:
        counts: dict[tuple[float, float], int] = {}
        for group in self.groups:
            if group.epsilon > 0:
                key = (group.epsilon, group.middle)
                counts[key] = counts.get(key, 0) + group.count
        object.__setattr__(self, "groups", tuple(sorted(Group(*key, count) for key, count in counts.items())))
        object.__setattr__(self, "noises", merged(self.noises))

    def compose(self, other: PrivacyLoss) -> PrivacyLoss:
        """Returns the loss of both, on the same data."""
        return PrivacyLoss(self.groups + other.groups, self.noises + other.noises)

    def self_compose(self, count: int) -> PrivacyLoss:
        """Returns the loss of `count` uses on the same data; repeating costs more."""
        times = arguments.whole("count", count)
        groups = tuple(Group(g.epsilon, g.middle, g.count * times) for g in self.groups)
        return PrivacyLoss(groups, tuple(noise.times(times) for noise in self.noises))

    def epsilon(self, delta: ArrayLike) -> Bounds:
        """Returns a bracket of the least `epsilon >= 0` for which (epsilon, delta) holds.

        Args:
            delta: in [0, 1], scalar or array. 0 asks for the pure guarantee: the sum of epsilons, or infinity.

        Returns:
            Bounds of the shape of `delta`; both 0 where delta is at least the total variation distance.

        Raises:
            TypeError: delta is not a number.
            ValueError: delta lies outside [0, 1].
        """
        return _each(self._epsilon, arguments.probability, "delta", delta)

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
        return _each(self._delta, arguments.real, "epsilon", epsilon)

    def renyi(self, alpha: ArrayLike) -> Bounds:
        """Returns a bracket of the Rényi divergence `log E_P[(P/Q)^(alpha-1)] / (alpha - 1)`.

        Args:
            alpha: orders > 1, scalar or array; infinity gives the sum of epsilons, or infinity.

        Raises:
            TypeError: alpha is not a number.
            ValueError: alpha is at most 1, or the losses are outside the range where floats can deliver.
        """
        return _each(self._renyi, arguments.real, "alpha", alpha)

    def tradeoff(self, fpr: ArrayLike) -> Bounds:
        """Returns a bracket of the false negative rate that an attacker cannot go below.

        The attacker tests which of two neighbours was used, and knows all but that. `lower` is the guarantee.

        Args:
            fpr: false positive rate, in [0, 1], scalar or array.

        Returns:
            Bounds of the shape of `fpr`; for subsampled noise in the direction that is easier to attack.

        Raises:
            TypeError: fpr is not a number.
            ValueError: fpr lies outside [0, 1].
        """
        return _each(self._tradeoff, arguments.probability, "fpr", fpr)

    @property
    def _directions(self) -> tuple[Direction, ...]:
        """The directions that differ."""
        one_way = not any(isinstance(noise, SubsampledUses) for noise in self.noises)
        return tuple(Direction(self.groups, self.noises, removal) for removal in (True, False)[: 2 - one_way])

    def _epsilon(self, delta: float) -> Pair:
        first, *others = self._directions
        lower, upper = first.epsilon(delta)
        for other in others:
            if other.exceeds(lower, delta):
                low, high = other.epsilon(delta)
                lower, upper = max(lower, low), max(upper, high)
        return lower, upper

    def _delta(self, epsilon: float) -> Pair:
        if math.isinf(epsilon):
            return (0.0, 0.0) if epsilon > 0 else (1.0, 1.0)
        lower, upper = _worst(direction.delta(abs(epsilon)) for direction in self._directions)
        if epsilon >= 0:
            return lower, upper
        # delta(-x) = 1 - e^-x + e^-x delta(x), P and Q exchanged
        less, more = 1 - relative(8 + 2 * LIBRARY), 1 + relative(8 + 2 * LIBRARY)
        known, weight = -math.expm1(epsilon), math.exp(epsilon)
        return (known + weight * lower) * less, min(1.0, (known + weight * upper) * more)

    def _renyi(self, alpha: float) -> Pair:
        if alpha <= 1:
            raise ValueError(f"Expected alpha > 1, got {alpha!r}; alpha = 1 + 1e-6 is close to the limit.")
        pure = self._epsilon(0.0)
        if math.isinf(alpha):
            return pure
        lower, upper = _worst(direction.renyi(alpha) for direction in self._directions)
        return min(lower, pure[0]), min(upper, pure[1])

    def _tradeoff(self, fpr: float) -> Pair:
        directions = self._directions
        pairs = [
            tradeoff.least_miss(forth, back, fpr)
            for forth, back in zip(directions, reversed(directions), strict=True)
        ]
        return min(lower for lower, _ in pairs), min(upper for _, upper in pairs)


def _worst(pairs: Iterable[Pair]) -> Pair:
    """Returns a bracket of the largest of several numbers."""
    lowers, uppers = zip(*pairs, strict=True)
    return max(lowers), max(uppers)


def _each(
    answer: Callable[[float], Pair], check: Callable[..., float], name: str, values: ArrayLike
) -> Bounds:
    """Returns the answers for a scalar, or for each entry of an array, as Bounds.

    A number that is no float is answered at the floats on both sides of it; every answer is monotone.
    """
    array = np.asarray(values)

    def around(value: float) -> Pair:
        low, high = (check(name, value, side=side) for side in ("down", "up"))
        first = answer(low)
        second = first if low == high else answer(high)
        return min(first[0], second[0]), max(first[1], second[1])

    if array.ndim == 0:
        return Bounds(*around(array.item()))
    if array.dtype.kind not in "iuf":
        raise TypeError(f"Expected {name} to be a number or an array of numbers, got dtype {array.dtype}.")
    pairs = np.array([around(value) for value in array.ravel().tolist()], dtype=np.float64).reshape(-1, 2)
    return Bounds(pairs[:, 0].reshape(array.shape), pairs[:, 1].reshape(array.shape))
