"""K-ary randomized response."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.mechanism import Plan, are_integers, checked_labels, items_event
from labeldp.mechanisms.parameters import checked_epsilon, checked_num_classes
from labeldp.mechanisms.thresholds import Words, integers, thresholds, word_bits


@dataclass(frozen=True)
class RandomizedResponse:
    """Answers with the label, or with another class, each of them equally likely.

    Law: Q(o | y) = E / (E + K - 1) if o = y, else 1 / (E + K - 1), with E = e^epsilon.

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        num_classes: K >= 2, public.

    Privacy:
        epsilon-DP for one label (pure), whatever the prior; exactly T / step <= E for the sampler that runs.

    Source: S. L. Warner, 1965; K-ary form in P. Kairouz et al., arXiv 1407.1338.
    """

    epsilon: float
    num_classes: int

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))

    @property
    def num_words(self) -> int:
        """Words read for one answer."""
        return 1

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of one answer."""
        return ()

    @property
    def answer_dtype(self) -> np.dtype[np.generic]:
        """Type of an answer."""
        return np.dtype(np.int64)

    @property
    def num_outputs(self) -> int:
        """Number of possible answers."""
        return self.num_classes

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every class; a prior is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Answers each item from one word; see `Mechanism.choose`.

        The label for the first T words, then every other class in turn for `step` words: as `randomized_rank`, in few passes
        over small numbers. What a lie does not fit into wraps, and is not used.
        """
        top, step = thresholds(self.epsilon, 1, self.num_classes - 1, bits)
        top, step, end = integers([top, step, top + (self.num_classes - 1) * step], bits)
        small = np.min_scalar_type(self.num_classes)
        own, word = labels.astype(small), words[:, 0]
        lie = (word - top) // step
        if bits > 64:
            lie &= np.iinfo(small).max
        answer = lie.astype(small)
        answer += answer >= own
        answer += (own - answer) * (word < top)
        rejected = word >= end
        return np.where(rejected, 0, answer).astype(np.int64), rejected

    def outputs(self) -> npt.NDArray[np.int64]:
        """The classes."""
        return np.arange(self.num_classes)

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is Q(. | labels[i]); (n, K)."""
        return self._rows(self.read(labels))

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, o]; (K, K)."""
        return self._rows(np.arange(self.num_classes))

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | c); (n, K). The channel is symmetric, so this is the row of the value."""
        return self._rows(values)

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        return are_integers(values, plan.num_items, below=self.num_classes) and plan.unrestricted

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each answered on the alphabet of all classes."""
        return items_event(accounting.RandomizedResponse(self.epsilon, self.num_classes), plan.num_items)

    def realized_ratio(self) -> Fraction:
        """T / step at the width in use."""
        return Fraction(*thresholds(self.epsilon, 1, self.num_classes - 1, word_bits(self.epsilon)))

    def indicators(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """1 for the class that was answered; (n, K)."""
        return (values[:, None] == np.arange(self.num_classes)).astype(np.float64)

    def indicator_moments(self) -> IndicatorMoments:
        """Exactly one class is answered: p = E q on the label, q = 1 / (E + K - 1) on any other."""
        ratio, others = math.exp(self.epsilon), self.num_classes - 1
        other = 1 / (ratio + others)
        own = ratio * other
        return IndicatorMoments(
            gap=math.expm1(self.epsilon) * other,
            other_mean=other,
            own_variance=own * others * other,
            other_variance=other * (ratio + others - 1) * other,
            own_covariance=-own * other,
            other_covariance=-other * other,
        )

    def _rows(self, labels: npt.NDArray[np.generic]) -> npt.NDArray[np.float64]:
        ratio = math.exp(self.epsilon)
        scale = ratio + self.num_classes - 1
        same = labels[:, None] == np.arange(self.num_classes)
        return np.where(same, ratio / scale, 1 / scale)
