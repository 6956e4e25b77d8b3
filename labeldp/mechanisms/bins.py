"""Randomized response on bins, for real-valued labels."""

import math
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.binning import best_outputs
from labeldp.mechanisms.label_grid import (
    are_outputs,
    checked_prior_of,
    checked_values,
    columns_of,
    nearest,
    read_values,
)
from labeldp.mechanisms.mechanism import Plan
from labeldp.mechanisms.parameters import checked_choice, checked_epsilon
from labeldp.mechanisms.thresholds import Words, randomized_rank, thresholds, word_bits


@dataclass(frozen=True)
class RandomizedResponseOnBins:
    """Answers with the value of the label's bin, or of another bin, each of them equally likely.

    Law, with E = e^epsilon and B output values: Q(o | y) = E / (E + B - 1) for the output value o nearest to y, else
    1 / (E + B - 1). The output values, and with them B and the bins, are those of least expected loss under the prior; no
    epsilon-DP answer to one label has less. A label is first rounded to the nearest of `label_values`, downwards in a tie.

    For the mean of each label given its answer, take `noisy.posterior(prior) @ label_values`.

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        label_values: the K >= 2 values that a label may have, increasing, at most 2^11; public, not taken from the labels.
        prior: probabilities of these values, up to scale; public, or released on their own (see `labeldp.laplace_histogram`).
        loss: "squared" or "absolute", what is expected of (answer - label).
        output_values: what to answer with, increasing; by default the best values, which then stand here.
        adaptive: whether the prior may depend on what the same transcript released earlier, such as a histogram of these very labels;
            False where it was public all along.

    Privacy:
        epsilon-DP for one label (pure), however it changes within the grid; nothing is lost at B = 1, a constant. Where the prior
        depends on earlier outputs, B does too, and is no basis for a guarantee: with adaptive=True answers count as generic
        epsilon-DP ones.

    Source: B. Ghazi et al., arXiv 2212.06074.
    """

    epsilon: float
    label_values: tuple[float, ...] = field(repr=False)
    prior: tuple[float, ...] = field(repr=False)
    loss: Literal["squared", "absolute"] = "squared"
    output_values: tuple[float, ...] | None = field(default=None, repr=False)
    adaptive: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "label_values", checked_values("label_values", self.label_values, least=2))
        object.__setattr__(self, "prior", checked_prior_of(self.prior, len(self.label_values)))
        checked_choice("loss", self.loss, ("squared", "absolute"))
        if not isinstance(self.adaptive, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Expected adaptive to be True or False, got {self.adaptive!r}.")
        if self.output_values is None:
            outputs = best_outputs(self.label_values, self.prior, self.epsilon, self.loss)
        else:
            outputs = checked_values("output_values", self.output_values, least=1)
        object.__setattr__(self, "output_values", outputs)

    @property
    def num_classes(self) -> int:
        """K, the number of values that a label may have."""
        return len(self.label_values)

    @property
    def bins(self) -> npt.NDArray[np.int64]:
        """Number of the output value that each label value goes to, non-decreasing; (K,)."""
        return nearest(np.array(self.label_values), self._outputs)

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
        """Number of possible answers B."""
        return len(self._outputs)

    def plan(self, prior: object, num_items: int) -> Plan:
        """Every item has every value; the prior is that of the mechanism, and one for items is not used and may be None."""
        return Plan(num_items)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as numbers of the nearest label values; see `read_values`."""
        return read_values(labels, self.label_values)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.bool_]]:
        """Answers each item from one word; see `Mechanism.choose`."""
        alphabet = np.full(len(labels), self.num_outputs, dtype=np.uint64)
        own = self.bins.astype(np.uint64)[labels]
        ranks, rejected = randomized_rank(words[:, 0], own, alphabet, epsilon=self.epsilon, bits=bits)
        return self.outputs()[ranks.astype(np.int64)], rejected

    def outputs(self) -> npt.NDArray[np.float64]:
        """The output values."""
        return np.array(self._outputs)

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law over `outputs()` given labels[i]; (n, B)."""
        return self.channel()[self.read(labels)]

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, o] over `outputs()`; (K, B)."""
        return np.ascontiguousarray(self.likelihood(self.outputs(), Plan(0)).T)

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q(values[i] | y) for every label value y; (n, K).

        Raises:
            ValueError: a value that is no output.
        """
        ratio = math.exp(self.epsilon)
        scale = ratio + self.num_outputs - 1
        own = columns_of(values, self._outputs)[:, None] == self.bins
        return np.where(own, ratio / scale, 1 / scale)

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        return are_outputs(values, plan.num_items, self._outputs) and plan.unrestricted

    def event(self, plan: Plan) -> accounting.Event:
        """n items, each answered on the alphabet of all bins."""
        answer = accounting.RandomizedResponse(self.epsilon, self.num_outputs)
        count = [plan.num_items] if plan.num_items else []
        return accounting.Disjoint([answer] * len(count), counts=count, adaptive=self.adaptive)

    def realized_ratio(self) -> Fraction:
        """T / step at the width in use; 1 for a constant."""
        if self.num_outputs == 1:
            return Fraction(1)
        return Fraction(*thresholds(self.epsilon, 1, self.num_outputs - 1, word_bits(self.epsilon)))

    @property
    def _outputs(self) -> tuple[float, ...]:
        assert self.output_values is not None
        return self.output_values
