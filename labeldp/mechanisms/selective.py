"""Selective randomized response: randomized response on a few candidates, chosen from a public prior."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms import selection
from labeldp.mechanisms.compiled import loops, loops_in_use
from labeldp.mechanisms.mechanism import Plan, are_integers, checked_labels, one_dimensional_length
from labeldp.mechanisms.parameters import (
    checked_choice,
    checked_epsilon,
    checked_integer,
    checked_num_classes,
)
from labeldp.mechanisms.prior import integer_weights, prior_rows, row_chunks
from labeldp.mechanisms.thresholds import (
    Words,
    integers,
    largest_ratio,
    randomized_rank,
    thresholds,
    thresholds_by_alphabet,
    uniform_below,
    word_bits,
)

EVENT_ROWS = 2**18
"""Items whose alphabets are counted at a time."""


@dataclass(frozen=True)
class SelectiveRandomizedResponse:
    """Answers inside a set S of k candidates that is chosen from the prior alone.

    Law, with E = e^epsilon. outside="uniform": a label in S is kept with probability E / (E + k - 1), else one of the other
    candidates is answered, each with 1 / (E + k - 1); a label outside S is answered uniformly on S. outside="other": "not a
    candidate" is one more output, numbered K, and the answer is randomized response on the k + 1 possibilities (on K when k = K).

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        num_classes: K >= 2, public.
        size: "accuracy" (the set that maximises P[output = label] under the prior), "information" (the k >= 2 that maximises the
            mutual information of label and output under the prior) or an integer k in 1 .. K, obeyed exactly.
        outside: "uniform" or "other", what a label that is not a candidate does.

    Privacy:
        epsilon-DP for one label (pure), given a prior that does not depend on it. "uniform": no loss at k = 1, exactly epsilon
        at k >= 2. "other": exactly epsilon at every k. A prior taken from the labels, or from the labeller's own
        confidence, voids this.

    Source: the mechanism named in arXiv 2409.12384, reconstructed; the accuracy rule is Theorem 3 of arXiv 2102.06062.
    """

    epsilon: float
    num_classes: int
    size: Literal["accuracy", "information"] | int = "accuracy"
    outside: Literal["uniform", "other"] = "uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        if isinstance(self.size, str):
            checked_choice("size", self.size, ("accuracy", "information"))
        else:
            size = checked_integer("size", self.size, least=1, most=self.num_classes)
            object.__setattr__(self, "size", size)
        checked_choice("outside", self.outside, ("uniform", "other"))

    @property
    def num_words(self) -> int:
        """Words read for one answer."""
        return 1

    def candidates(self, prior: object) -> npt.NDArray[np.bool_]:
        """The candidate set of each prior row, (n, K) bool; sees the prior only.

        Raises:
            ValueError, TypeError: a prior that is no array of shape (n, K), or a row that is no distribution up to scale.
        """
        shape = np.shape(cast(npt.ArrayLike, prior))
        rows = prior_rows(prior, shape[0] if len(shape) == 2 else 1, self.num_classes)
        mask = np.empty(rows.shape, dtype=np.bool_)
        if len(rows) > 1 and rows.strides[0] == 0:  # one row for all items
            mask[:] = self.candidates(rows[0])
            return mask
        compiled = loops(rows.size)
        for chunk in row_chunks(len(rows), (128 if compiled is None else 8) * self.num_classes):
            if compiled is None or not compiled.select(
                rows[chunk], mask[chunk], epsilon=self.epsilon, size=self.size, other=self.outside == "other"
            ):
                # numpy makes many arrays on the way, and sums long axes faster than short ones
                chunk_rows = np.asarray(rows[chunk], order="F" if self.num_classes <= 64 else None)
                mask[chunk] = self._select(integer_weights(chunk_rows, first_row=chunk.start))
        return mask

    def _select(self, weights: npt.NDArray[np.int64]) -> npt.NDArray[np.bool_]:
        match self.size:
            case "accuracy":
                return selection.most_accurate(weights, self.epsilon)
            case "information":
                return selection.most_informative(weights, self.epsilon, other=self.outside == "other")
            case int():
                return selection.largest_classes(weights, self.size)

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
        return self.num_classes + (self.outside == "other")

    def plan(self, prior: object, num_items: int) -> Plan:
        """Chooses the candidates of n items from their prior, (n, K) or one row (K,) for all."""
        rows = prior_rows(prior, num_items, self.num_classes)
        return Plan(num_items, self.candidates(rows))

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Answers each item from one word; every step is taken for every item, candidate or not; see `Mechanism.choose`."""
        mask = plan.candidates
        assert mask is not None
        size = plan.alphabets()
        alphabet, compiled = self._alphabet(size), loops_in_use()
        if compiled is not None and bits <= 64:
            table = thresholds_by_alphabet(alphabet, self.epsilon, bits)
            stretch = self._accepted(size, bits) // np.maximum(
                np.arange(size.max(initial=0) + 1, dtype=np.uint64), 1
            )
            return compiled.choose(words[:, 0], labels, mask, size, table, stretch, self.outside == "other")
        rows = np.arange(len(labels))
        position = np.cumsum(mask, axis=1, dtype=np.int32)
        inside = mask[rows, labels]
        rank = np.where(inside, position[rows, labels] - 1, size).astype(np.uint64)
        answer, rejected = randomized_rank(
            words[:, 0], rank, alphabet.astype(np.uint64), epsilon=self.epsilon, bits=bits
        )
        if self.outside == "uniform":
            drawn, again = uniform_below(
                words[:, 0], size.astype(np.uint64), limit=self._accepted(size, bits)[size]
            )
            answer, rejected = np.where(inside, answer, drawn), np.where(inside, rejected, again)
        # arithmetic, where argmax would stop at the answer; an answer beyond the candidates is K
        return (position <= answer.astype(np.int32)[:, None]).sum(axis=1, dtype=np.int64), rejected

    def outputs(self) -> npt.NDArray[np.int64]:
        """The classes, and K for "not a candidate" with outside="other"."""
        return np.arange(self.num_outputs)

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is Q_i(. | labels[i]); (n, K), or (n, K + 1) with outside="other"."""
        plan = self.plan(prior, one_dimensional_length(labels))
        return self._rows(checked_labels(labels, self.num_classes), plan)

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, o] of an item with this prior; (K, m)."""
        return self._rows(
            np.arange(self.num_classes), self.plan(prior_row, 1)[np.zeros(self.num_classes, dtype=np.intp)]
        )

    def _rows(self, labels: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        assert plan.candidates is not None
        size = plan.alphabets()
        reachable = plan.candidates
        cell = np.arange(self.num_classes) == labels[:, None]
        inside = (cell & reachable).any(axis=1)
        if self.outside == "other":
            reachable = np.column_stack([reachable, size < self.num_classes])
            cell = np.column_stack([cell & plan.candidates, ~inside])
        lie, keep = self._probabilities(size)
        rows = np.where(cell, keep[:, None], lie[:, None])
        if self.outside == "uniform":
            rows = np.where(inside[:, None], rows, (1 / size)[:, None])
        return rows * reachable

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q_i(values[i] | c) for every class c; (n, K)."""
        assert plan.candidates is not None
        size = plan.alphabets()
        lie, keep = self._probabilities(size)
        same = np.arange(self.num_classes) == values[:, None]
        if self.outside == "other":
            same = same | (~plan.candidates & (values == self.num_classes)[:, None])
            return np.where(same, keep[:, None], lie[:, None])
        return np.where(plan.candidates, np.where(same, keep[:, None], lie[:, None]), (1 / size)[:, None])

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan."""
        mask = plan.candidates
        if mask is None or plan.blocks is not None or mask.shape != (plan.num_items, self.num_classes):
            return False
        if not mask.any(axis=1).all() or not are_integers(values, plan.num_items, below=self.num_outputs):
            return False
        if isinstance(self.size, int) and not (mask.sum(axis=1) == self.size).all():
            return False
        reachable = np.column_stack([mask, ~mask.all(axis=1)])
        return bool(reachable[np.arange(plan.num_items), values].all())

    def event(self, plan: Plan) -> accounting.Event:
        """n items by the alphabet each was answered in; adaptive unless the size is a fixed integer."""
        count = np.zeros(self.num_classes + 1, dtype=np.int64)
        for chunk in plan.chunks(EVENT_ROWS):
            alphabet = self._alphabet(plan[chunk].alphabets())
            count += np.bincount(alphabet, minlength=len(count))
        sizes = np.flatnonzero(count)
        answers = [accounting.RandomizedResponse(self.epsilon, int(size)) for size in sizes]
        return accounting.Disjoint(answers, counts=count[sizes].tolist(), adaptive=isinstance(self.size, str))

    def realized_ratio(self) -> Fraction:
        """The largest T / step over all alphabets, at the width in use."""
        return largest_ratio(self.epsilon, self.num_classes, word_bits(self.epsilon))

    def accepted(self, size: int, bits: int) -> int:
        """Words that a label inside k candidates accepts; a label outside draws from the same ones."""
        top, step = thresholds(self.epsilon, 1, size - 1, bits)
        return top + (size - 1) * step

    def _accepted(self, sizes: npt.NDArray[np.int64], bits: int) -> Words:
        """`accepted` for every size that occurs, (largest + 1,)."""
        count = np.bincount(sizes)
        table = np.ones(len(count), dtype=integers([], bits).dtype)
        for size in np.flatnonzero(count).tolist():
            table[size] = self.accepted(size, bits)
        return table

    def _alphabet(self, size: npt.NDArray[np.generic]) -> npt.NDArray[np.int64]:
        """Number of possible outputs of an item with k candidates."""
        return np.minimum(size.astype(np.int64) + (self.outside == "other"), self.num_classes)

    def _probabilities(
        self, size: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Probabilities of one lie and of the truth."""
        lie = 1 / (np.exp(self.epsilon) + self._alphabet(size) - 1)
        return lie, np.exp(self.epsilon) * lie
