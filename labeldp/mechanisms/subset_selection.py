"""Subset selection: the answer is a set of classes that holds the label more often than others."""

import math
from dataclasses import dataclass
from fractions import Fraction
from itertools import combinations
from typing import Any

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.mechanism import Plan, checked_labels, items_event, require_channel
from labeldp.mechanisms.parameters import checked_epsilon, checked_integer, checked_num_classes
from labeldp.mechanisms.thresholds import Words, integers, thresholds, uniform_below, word_bits


@dataclass(frozen=True)
class SubsetSelection:
    """Answers with a set of w classes; the label is in it with probability w E / (w E + K - w), the rest is uniform.

    Law: Q(s | y) is proportional to E = e^epsilon if y is in s, else to 1, over all sets s of w classes.

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        num_classes: K >= 2, public.
        subset_size: w in 1 .. K - 1; by default max(1, round(K / (E + 1))), which minimises the variance of estimates.

    Privacy:
        epsilon-DP for one label (pure), at every w.

    Source: M. Ye and A. Barg, arXiv 1702.00610; S. Wang et al., arXiv 1607.08025.
    """

    epsilon: float
    num_classes: int
    subset_size: int | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        size = self.subset_size
        if size is None:
            size = max(1, round(self.num_classes / (math.exp(self.epsilon) + 1)))
        size = checked_integer("subset_size", size, least=1, most=self.num_classes - 1)
        object.__setattr__(self, "subset_size", size)

    @property
    def size(self) -> int:
        """w, the number of classes in an answer."""
        assert self.subset_size is not None
        return self.subset_size

    @property
    def num_words(self) -> int:
        """Words read for one answer: a coin and one draw for each member."""
        return 1 + self.size

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of one answer."""
        return (self.num_classes,)

    @property
    def answer_dtype(self) -> np.dtype[np.generic]:
        """Type of an answer."""
        return np.dtype(np.bool_)

    @property
    def num_outputs(self) -> int:
        """Number of possible answers."""
        return math.comb(self.num_classes, self.size)

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every class; a prior is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Answers each item from 1 + w words; see `Mechanism.choose`.

        The first word says whether the label is in the set. The others fill it from the K - 1 other classes by R. Floyd's
        sampling without replacement: the draws for w - 1 members are the last w - 1 of those for w members, so every
        item takes the same w steps and the first is undone where the label is in.
        """
        others = self.num_classes - 1
        included, rejected = self._coin(words[:, 0], bits)
        chosen = np.zeros((len(labels), others), dtype=np.bool_)
        rows = np.arange(len(labels))
        for step in range(self.size):
            last = others - self.size + step
            limit = integers([2**bits - 1], bits)
            drawn, again = uniform_below(words[:, 1 + step], np.uint64(last + 1), limit=limit)
            rejected = rejected | again
            drawn = drawn.astype(np.intp)
            member = np.where(chosen[rows, drawn], last, drawn)
            chosen[rows, member] = True
            if step == 0:
                chosen &= ~included[:, None]
        classes = np.arange(self.num_classes)
        source = np.minimum(classes - (classes > labels[:, None]), others - 1)
        answer = np.take_along_axis(chosen, source, axis=1)
        return np.where(classes == labels[:, None], included[:, None], answer), rejected

    def _coin(self, words: Words, bits: int) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Whether the label is in the set."""
        ends = integers(self.ends(bits), bits)
        return words < ends[0], words >= ends[1]

    def ends(self, bits: int) -> tuple[int, int]:
        """Where words end that put the label in the set, w stretches of T words, and those that leave it out, K - w of `step` words."""
        outside = self.num_classes - self.size
        top, step = thresholds(self.epsilon, self.size, outside, bits)
        return self.size * top, self.size * top + outside * step

    def outputs(self) -> npt.NDArray[np.bool_]:
        """Every set of w classes as a row (m, K), in lexicographic order of its members.

        Raises:
            TypeError: more than 2^12 sets.
        """
        require_channel(self)
        members = np.array(list(combinations(range(self.num_classes), self.size)))
        return (members[:, :, None] == np.arange(self.num_classes)).any(axis=1)

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law over `outputs()` given labels[i]; (n, m)."""
        return self.channel()[self.read(labels)]

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, s] over `outputs()`; (K, m)."""
        return np.ascontiguousarray(self.likelihood(self.outputs(), Plan(0)).T)

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | c) for every class c; (n, K). With more than about 1000 classes the largest of each row is scaled to 1."""
        inside, outside = self.probabilities()
        return np.where(values, inside, outside)

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        return (
            values.dtype == np.bool_
            and values.shape == (plan.num_items, self.num_classes)
            and bool((values.sum(axis=1) == self.size).all())
            and plan.unrestricted
        )

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each answered with a set of w of the K classes."""
        return items_event(
            accounting.SubsetSelection(self.epsilon, self.num_classes, self.size), plan.num_items
        )

    def realized_ratio(self) -> Fraction:
        """T / step at the width in use."""
        return Fraction(
            *thresholds(self.epsilon, self.size, self.num_classes - self.size, word_bits(self.epsilon))
        )

    def indicators(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """1 for each class in the set; (n, K)."""
        return values.astype(np.float64)

    def indicator_moments(self) -> IndicatorMoments:
        """The label is in the set with probability p = w E / (w E + K - w), another class with q = (w - p) / (K - 1).

        The set has w members whatever the label, so each indicator's covariances with all of them sum to 0.
        """
        w, others, left = self.size, self.num_classes - 1, self.num_classes - self.size
        inside = w * math.exp(self.epsilon)
        total = inside + left
        own_variance = inside / total * left / total
        in_set = w * ((w - 1) * math.exp(self.epsilon) + left) / (others * total)
        in_rest = left * (inside + left - 1) / (others * total)
        other_variance = in_set * in_rest
        own_covariance = -own_variance / others
        return IndicatorMoments(
            gap=w * left * math.expm1(self.epsilon) / (others * total),
            other_mean=in_set,
            own_variance=own_variance,
            other_variance=other_variance,
            own_covariance=own_covariance,
            other_covariance=-(other_variance + own_covariance) / (others - 1) if others > 1 else 0.0,
        )

    def probabilities(self) -> tuple[float, float]:
        """Probability of one set that holds the label, and of one that does not; up to a factor where floats have no room."""
        heavy = math.comb(self.num_classes - 1, self.size - 1)
        light = math.comb(self.num_classes - 1, self.size)
        ratio = math.exp(self.epsilon)
        outside = float(1 / (Fraction(ratio) * heavy + light))
        if outside < 1e-300:
            return 1.0, 1 / ratio
        return ratio * outside, outside
