"""Unary encoding: every class gets a bit, and every bit is flipped on its own."""

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.mechanism import Plan, checked_labels, items_event, require_channel
from labeldp.mechanisms.parameters import (
    checked_choice,
    checked_epsilon,
    checked_num_classes,
)
from labeldp.mechanisms.thresholds import Words, exponential_below, integers, word_bits


@dataclass(frozen=True)
class UnaryEncoding:
    """Answers with a set of classes: the one-hot vector of the label, each bit of it flipped independently.

    Law, with E = e^epsilon. variant="symmetric" (the vector approximation): a bit is flipped with probability 1 / (e^(epsilon / 2) + 1).
    variant="optimized": the label's bit is set with probability 1/2, any other with 1 / (E + 1).

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        num_classes: K >= 2, public.
        variant: "symmetric" or "optimized".

    Privacy:
        epsilon-DP for one label (pure): two labels differ in two bits, whose ratios multiply to E.

    Source: T. Wang et al., USENIX Security 2017 (optimized); P. Zhao et al., ICLR 2025 (vector approximation).
    """

    epsilon: float
    num_classes: int
    variant: Literal["symmetric", "optimized"] = "symmetric"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        checked_choice("variant", self.variant, ("symmetric", "optimized"))

    @property
    def num_words(self) -> int:
        """Words read for one answer: one for each bit."""
        return self.num_classes

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
        """Number of possible answers: every set of classes."""
        return 2**self.num_classes

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every class; a prior is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        """Answers each item from K words, one for each bit; see `Mechanism.choose`.

        The last words of a bit, as many as round the ratio down, say what is unlikely for it; none is drawn again.
        """
        own = np.arange(self.num_classes) == labels[:, None]
        ends = integers(self.ends(bits), bits)
        likely = np.less(words, ends[0]).astype(np.bool_)
        mine = likely if self.variant == "symmetric" else words < ends[1]
        return np.where(own, mine, ~likely), np.zeros(len(labels), dtype=np.bool_)

    def ends(self, bits: int) -> tuple[int, int]:
        """Where words end that give a bit its likely value, and half of all words, for the label's bit in the optimized variant."""
        shared = 2 if self.variant == "symmetric" else 1
        return 2**bits - _unlikely(self.epsilon / shared, bits), 2 ** (bits - 1)

    def outputs(self) -> npt.NDArray[np.bool_]:
        """Every set of classes as a row (2^K, K).

        Raises:
            TypeError: more than 2^12 sets.
        """
        require_channel(self)
        numbers = np.arange(self.num_outputs)[:, None]
        return (numbers >> np.arange(self.num_classes)) % 2 == 1

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law over `outputs()` given labels[i]; (n, 2^K)."""
        return self.channel()[self.read(labels)]

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, s] over `outputs()`; (K, 2^K)."""
        return np.ascontiguousarray(np.exp(self._log_likelihood(self.outputs())).T)

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | c) for every class c; (n, K). With more than 12 classes the largest of each row is scaled to 1."""
        rows = self._log_likelihood(values.astype(np.bool_))
        if self.num_classes > 12:
            rows -= rows.max(axis=1, keepdims=True)
        return np.exp(rows)

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        fits = values.dtype == np.bool_ and values.shape == (plan.num_items, self.num_classes)
        return fits and plan.unrestricted

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each an epsilon-DP answer."""
        return items_event(accounting.PureDP(self.epsilon), plan.num_items)

    def realized_ratio(self) -> Fraction:
        """The largest likelihood ratio of two labels, at the width in use."""
        shared, bits = 2 if self.variant == "symmetric" else 1, word_bits(self.epsilon)
        return (2**bits / Fraction(_unlikely(self.epsilon / shared, bits)) - 1) ** shared

    def indicators(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """1 for each class in the set; (n, K)."""
        return values.astype(np.float64)

    def indicator_moments(self) -> IndicatorMoments:
        """Bits are flipped independently; a bit that is not the label's is set with probability q = 1 / (r + 1)."""
        exponent = self.epsilon / 2 if self.variant == "symmetric" else self.epsilon
        other = 1 / (math.exp(exponent) + 1)
        variance = other / (1 + math.exp(-exponent))
        if self.variant == "symmetric":
            return IndicatorMoments(math.tanh(exponent / 2), other, variance, variance)
        return IndicatorMoments(math.tanh(exponent / 2) / 2, other, 0.25, variance)

    def log_probabilities(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """Logarithms of the probabilities that the label's bit is set and cleared, and that another bit is."""
        if self.variant == "symmetric":
            truth, lie = -math.log1p(math.exp(-self.epsilon / 2)), -math.log1p(math.exp(self.epsilon / 2))
            return (truth, lie), (lie, truth)
        half = -math.log(2)
        return (half, half), (-math.log1p(math.exp(self.epsilon)), -math.log1p(math.exp(-self.epsilon)))

    def _log_likelihood(self, sets: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
        """log Q(s | c): as if no bit were the label's, then bit c corrected; (n, K)."""
        own, other = (np.where(sets, *logs) for logs in self.log_probabilities())
        return other.sum(axis=1, keepdims=True) - other + own


def _unlikely(epsilon: float, bits: int) -> int:
    """Words of a bit's unlikely value, s = ceil(2^bits / (r + 1)): the ratio (2^bits - s) / s is at most r, and at least 1."""
    return -(-(2**bits) // (exponential_below(epsilon) + 1))
