"""Unbiased randomizers, for real-valued labels: the mean of the answers is the label."""

import functools
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.label_grid import (
    are_outputs,
    checked_prior_of,
    checked_values,
    columns_of,
    count_at_most,
    read_values,
)
from labeldp.mechanisms.mechanism import Plan, items_event
from labeldp.mechanisms.parameters import checked_epsilon
from labeldp.mechanisms.thresholds import Words, integers, word_bits
from labeldp.mechanisms.unbiased_program import default_outputs, solved
from labeldp.mechanisms.unbiased_words import Counts, checked_counts, fitted, largest_bias


@dataclass(frozen=True)
class UnbiasedRandomizer:
    """Answers with a real value whose mean is the label, of the least variance under a prior that epsilon allows.

    Law: the channel Q on the output values that minimises sum_y p_y sum_o Q(o | y) (o - y)^2 subject to sum_o o Q(o | y) = y and
    Q(o | y) <= E Q(o | y') for all labels y, y' and outputs o; E = e^epsilon. A label is first rounded to the nearest of
    `label_values`, downwards in a tie; the answer is unbiased for that value.

    For the mean of each label given its answer, take `noisy.posterior(prior) @ label_values`; averages of `noisy.values` need none.

    Args:
        epsilon: privacy parameter of one answer, above 0 and up to 80.
        label_values: the K >= 2 values that a label may have, increasing; public, not taken from the labels.
        prior: probabilities of these values, up to scale; public, or released on their own (see `labeldp.laplace_histogram`).
            It weighs variances; unbiased are the answers to every label, likely or not.
        output_values: what may be answered, increasing, reaching beyond the labels by more than (their range) / (E - 1) on both
            sides; by default 2 K + 101 values at most. Those that the best channel uses then stand here.
        counts: words of each output for each label, (K, m) integers; by default solved for, and then here, so that a release that
            is saved is read with the channel that made it.

    Privacy:
        epsilon-DP for one label (pure), however it changes within the grid: the words of every output for any two labels are
        compared exactly, and a channel above e^epsilon is refused.

    Error:
        Means are exact up to half a word: (Z - A) / (2 N) for outputs from A to Z and N words, about 1e-19 of the labels' range at
        epsilon 1; an epsilon so small that it could exceed 1e-9 of that range is refused. See `bias`.
        The variance is the least on these outputs up to a solver's tolerance, a relative 1e-4 up to epsilon 12; with the default
        outputs it is at every epsilon at most that of debiased randomized response, up to 1e-4 and the floats of the outputs.

    Source: A. Badanidiyuru et al., arXiv 2312.05659.
    """

    epsilon: float
    label_values: tuple[float, ...] = field(repr=False)
    prior: tuple[float, ...] = field(repr=False)
    output_values: tuple[float, ...] | None = field(default=None, repr=False)
    counts: Counts | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "label_values", checked_values("label_values", self.label_values, least=2))
        object.__setattr__(self, "prior", checked_prior_of(self.prior, len(self.label_values)))
        if self.counts is None:
            if self.output_values is None:
                outputs = default_outputs(self.epsilon, self.label_values)
            else:
                outputs = checked_values("output_values", self.output_values, least=2)
            outputs, counts = solved(self.epsilon, self.label_values, self.prior, outputs)
        else:
            outputs, counts = checked_counts(self.epsilon, self.label_values, self.output_values, self.counts)
        object.__setattr__(self, "output_values", outputs)
        object.__setattr__(self, "counts", counts)

    @property
    def num_classes(self) -> int:
        """K, the number of values that a label may have."""
        return len(self.label_values)

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
        return np.dtype(np.float64)

    @property
    def num_outputs(self) -> int:
        """Number of possible answers m."""
        return len(self._solution[0])

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every value; the prior is that of the mechanism, and one for items is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as numbers of the nearest label values; see `read_values`."""
        return read_values(labels, self.label_values)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Answers each item from one word: the output in whose stretch it lies; see `Mechanism.choose`.

        All rows have equally many words, so every label rejects the same ones.
        """
        ends = _ends(self, bits)
        column = count_at_most(ends, labels, words[:, 0])
        return self.outputs()[np.minimum(column, self.num_outputs - 1)], column == self.num_outputs

    def outputs(self) -> npt.NDArray[np.float64]:
        """The output values."""
        return np.array(self._solution[0])

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law over `outputs()` given labels[i]; (n, m)."""
        return self.channel()[self.read(labels)]

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, o] over `outputs()`, of the sampler that runs; (K, m)."""
        counts = self._solution[1]
        total = sum(counts[0])
        return np.array([[count / total for count in row] for row in counts])

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | y) for every label value y; (n, K).

        Raises:
            ValueError: a value that is no output.
        """
        return self.channel().T[columns_of(values, self._solution[0])]

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        return are_outputs(values, plan.num_items, self._solution[0]) and plan.unrestricted

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each an epsilon-DP answer."""
        return items_event(accounting.PureDP(self.epsilon), plan.num_items)

    def realized_ratio(self) -> Fraction:
        """The largest ratio of two counts of one output."""
        return max(Fraction(max(column), min(column)) for column in zip(*self._solution[1], strict=True))

    def bias(self) -> Fraction:
        """The largest distance of a label value from the mean of its answers, exactly; at most half a word of the outputs' range."""
        outputs, counts = self._solution
        return largest_bias(self.label_values, outputs, np.array(counts, dtype=object))

    @property
    def _solution(self) -> tuple[tuple[float, ...], Counts]:
        assert self.output_values is not None
        assert self.counts is not None
        return self.output_values, self.counts


@functools.lru_cache(maxsize=16)
def _ends(mechanism: UnbiasedRandomizer, bits: int) -> Words:
    """The first word after those of each output; (K, m). Other widths than that in use get words in proportion."""
    outputs, rows = mechanism._solution  # pyright: ignore[reportPrivateUsage]
    counts = np.array(rows, dtype=object)
    if bits != word_bits(mechanism.epsilon):
        counts = fitted(mechanism.epsilon, mechanism.label_values, outputs, counts, bits)
    return integers(counts.cumsum(axis=1).tolist(), bits)
