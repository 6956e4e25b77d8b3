"""Noisy one-hot vectors: Laplace or Gaussian noise on every coordinate of the label's one-hot, on a public grid."""

import numbers
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.grid_noise import Table, gaussian_scale, gaussian_table, laplace_table
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.mechanism import (
    MAX_CHANNEL_OUTPUTS,
    Plan,
    checked_labels,
    items_event,
    require_channel,
)
from labeldp.mechanisms.parameters import (
    checked_choice,
    checked_epsilon,
    checked_integer,
    checked_num_classes,
)
from labeldp.mechanisms.thresholds import Words, exponential_below, word_bits

MOST_GRID_POINTS = 2**16


@dataclass(frozen=True)
class NoisyOneHot:
    """Answers with the one-hot vector of the label plus independent noise on each coordinate, on a public grid.

    Law: coordinate j is [j = y] + noise, rounded to the nearest multiple of a public power of two and clamped to a public range
    that is symmetric about 1/2. noise="laplace": of scale 2 / epsilon. noise="gaussian": of the least standard deviation at
    which the release is (epsilon, delta)-DP. Rounding and clamping come after the noise and cost nothing; every point has at
    least one word, also where the noise all but never falls.

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80; above 0 for Gaussian noise.
        num_classes: K >= 2, public.
        noise: "laplace" or "gaussian".
        delta: in (0, 1) for Gaussian noise; None for Laplace noise.
        grid_points: at most this many points on the grid, in 3 .. 2^16. The default is enough for steps of at most 1/16 of the
            noise and ends that it hardly ever reaches, at epsilon >= 0.1; fewer make the answers coarser, never less private.

    Privacy:
        Laplace: epsilon-DP for one label (pure); two labels differ in two coordinates, and no coordinate's ratio exceeds
        e^(epsilon / 2). Gaussian: (epsilon, delta)-DP for one label, delta computed exactly from the table that runs.

    Source: M. Malek et al. (ALIBI), arXiv 2106.03408; Gaussian scale: B. Balle and Y.-X. Wang, arXiv 1805.06530.
    """

    epsilon: float
    num_classes: int
    noise: Literal["laplace", "gaussian"] = "laplace"
    delta: float | None = None
    grid_points: int = 4096

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        checked_choice("noise", self.noise, ("laplace", "gaussian"))
        object.__setattr__(self, "delta", _checked_delta(self.noise, self.delta))
        if self.noise == "gaussian" and self.epsilon == 0:
            raise ValueError('Expected epsilon > 0 with noise="gaussian", got 0; use noise="laplace" there.')
        points = checked_integer("grid_points", self.grid_points, least=3, most=MOST_GRID_POINTS)
        object.__setattr__(self, "grid_points", points)

    @property
    def scale(self) -> float:
        """Scale of the Laplace noise, or standard deviation of the Gaussian."""
        if self.delta is not None:
            return gaussian_scale(self.epsilon, self.delta, self.grid_points)
        return 2 / self.epsilon if self.epsilon else float("inf")

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """The values that a coordinate may have, upwards; all are multiples of one power of two."""
        return self._table(word_bits(self.epsilon)).grid.points

    def coordinate_law(self) -> npt.NDArray[np.float64]:
        """Probabilities of `points` for a coordinate that is not the label's, and for the label's own; (2, points)."""
        masses = np.exp(self._table(word_bits(self.epsilon)).log_masses)
        return np.stack([masses, masses[::-1]])

    @property
    def num_words(self) -> int:
        """Words read for one answer: one for each coordinate."""
        return self.num_classes

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of one answer."""
        return (self.num_classes,)

    @property
    def answer_dtype(self) -> np.dtype[np.generic]:
        """Type of an answer."""
        return np.dtype(np.float64)

    @property
    def num_outputs(self) -> int:
        """Number of possible answers: every vector of grid points."""
        return len(self.points) ** self.num_classes

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every class; a prior is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Answers each item from K words, one for each coordinate; see `Mechanism.choose`.

        All coordinates are looked up as if the input were 0, and the label's own is mirrored; no word is drawn again.
        """
        table = self._table(bits)
        index = np.searchsorted(table.ends, words, side="right")
        own = np.arange(self.num_classes) == labels[:, None]
        index = np.where(own, len(table.counts) - 1 - index, index)
        return table.grid.points[index], np.zeros(len(labels), dtype=np.bool_)

    def outputs(self) -> npt.NDArray[np.float64]:
        """Every vector of grid points as a row (m, K), the first coordinate running fastest.

        Raises:
            TypeError: more than 2^12 vectors.
        """
        require_channel(self)
        points = self.points
        digits = np.arange(self.num_outputs)[:, None] // len(points) ** np.arange(self.num_classes)
        return points[digits % len(points)]

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law over `outputs()` given labels[i]; (n, m)."""
        return self.channel()[self.read(labels)]

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, x] over `outputs()`; (K, m)."""
        return np.ascontiguousarray(self.likelihood(self.outputs(), Plan(0)).T)

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | c) for every class c; (n, K). With more than 2^12 outputs the largest of each row is scaled to 1.

        As if no coordinate were the label's, then coordinate c corrected; from the table that runs.
        """
        table = self._table(word_bits(self.epsilon))
        index = self._index(values)
        rows = (table.log_masses[::-1] - table.log_masses)[index]
        if self.num_outputs > MAX_CHANNEL_OUTPUTS:
            return np.exp(rows - rows.max(axis=1, keepdims=True))
        return np.exp(rows + table.log_masses[index].sum(axis=1, keepdims=True))

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan: finite, in range and on the grid."""
        if values.dtype != np.float64 or values.shape != (plan.num_items, self.num_classes):
            return False
        points = self.points
        if not plan.unrestricted or not ((values >= points[0]) & (values <= points[-1])).all():
            return False
        return bool((points[self._index(values)] == values).all())

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each an epsilon-DP answer; (epsilon, delta)-DP with Gaussian noise."""
        if self.delta is None:
            return items_event(accounting.PureDP(self.epsilon), plan.num_items)
        return items_event(accounting.ApproximateDP(self.epsilon, self.delta), plan.num_items)

    def realized_ratio(self) -> Fraction:
        """The largest likelihood ratio of two labels, at the width in use.

        Raises:
            ValueError: Gaussian noise; no ratio bounds it, `realized_delta` does.
        """
        if self.noise == "gaussian":
            raise ValueError(
                'Expected noise="laplace" for a largest ratio, got "gaussian", whose ratios exceed e^epsilon with '
                "probability up to delta; see realized_delta."
            )
        return self._table(word_bits(self.epsilon)).largest_ratio() ** 2

    def realized_delta(self) -> Fraction:
        """The delta of the sampler that runs, exactly, at a rational just below e^epsilon; never above delta. 0 for Laplace noise."""
        if self.noise == "laplace":
            return Fraction(0)
        return self._table(word_bits(self.epsilon)).delta(exponential_below(self.epsilon))

    def indicators(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """The coordinate of each class; (n, K)."""
        return values.astype(np.float64)

    def indicator_moments(self) -> IndicatorMoments:
        """Coordinates are independent, and the label's is the mirror image of another; from the table that runs."""
        mean, variance = self._table(word_bits(self.epsilon)).moments()
        return IndicatorMoments(
            gap=float(1 - 2 * mean),
            other_mean=float(mean),
            own_variance=float(variance),
            other_variance=float(variance),
        )

    def _table(self, bits: int) -> Table:
        """Words of each grid point at that width."""
        if self.delta is None:
            return laplace_table(self.epsilon, self.grid_points, bits)
        return gaussian_table(self.scale, self.grid_points, bits)

    def _index(self, values: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Number of the grid point of every value in range, rounded down."""
        grid = self._table(word_bits(self.epsilon)).grid
        return np.floor((values.astype(np.float64) - 0.5) / grid.step).astype(np.int64) + grid.reach


def _checked_delta(noise: str, delta: object) -> float | None:
    """Delta as a float in (0, 1) for Gaussian noise; None for Laplace noise, which has none."""
    if noise == "laplace":
        if delta is not None:
            raise ValueError(
                f'Expected no delta with noise="laplace", which is epsilon-DP alone, got {delta!r}.'
            )
        return None
    if isinstance(delta, bool) or not isinstance(delta, numbers.Real):
        kind = type(delta).__name__
        raise TypeError(f'Expected delta with noise="gaussian" to be a real number in (0, 1), got {kind}.')
    value = float(delta)
    if not 0 < value < 1:
        raise ValueError(f'Expected delta in (0, 1) with noise="gaussian", got {value}.')
    return value
