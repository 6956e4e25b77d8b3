"""Partitioned randomized response: randomized response on blocks of classes that are equally likely under a public prior."""

from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.mechanism import Plan, are_integers, checked_labels, one_dimensional_length
from labeldp.mechanisms.parameters import (
    checked_choice,
    checked_epsilon,
    checked_integer,
    checked_num_classes,
)
from labeldp.mechanisms.partition import balanced_blocks
from labeldp.mechanisms.prior import integer_weights, prior_rows, row_chunks
from labeldp.mechanisms.thresholds import Words, randomized_rank, thresholds, word_bits


@dataclass(frozen=True)
class PartitionedRandomizedResponse:
    """Answers with the number of a block of classes, after splitting each item's classes into blocks of nearly equal prior mass.

    Law, with E = e^epsilon and B the block of each class: Q(o | y) = E / (E + g - 1) if o = B(y), else 1 / (E + g - 1), for the
    g blocks o = 0 .. g - 1. The heaviest class goes first, each into the lightest block so far; ties are broken at random, anew for
    each item. Classes of prior zero are spread over the blocks: every label has an answer.

    Answers to items with ties, or with different priors, tell all classes apart. One prior without ties gives all items one
    partition, and nothing is learnt of the classes inside a block: a uniform prior, for one, gives each item its own.

    Args:
        epsilon: privacy parameter of one answer, in 0 .. 80.
        num_classes: K >= 2, public.
        num_blocks: "information" (for each item the g >= 2, at most the number of classes of positive prior, that maximises the
            mutual information of label and answer under the prior) or an integer g in 2 .. K.
        seed: of the ties, in 0 .. 2^64 - 1. It is public and need not be secret: the partition of row i depends on the seed, i
            and the prior of that row only, and is released with the answers. An item in another row may get another partition,
            so a `KeyedSource`, whose reruns may come in any order, is refused.

    Privacy:
        epsilon-DP for one label (pure), given a prior that does not depend on it: the answer depends on the label through its
        block only, and exactly epsilon separates two blocks. A prior taken from the labels voids this.

    Source: K-ary randomized response (arXiv 1407.1338) on the blocks; the partition and the number of blocks are ours.
    """

    epsilon: float
    num_classes: int
    num_blocks: Literal["information"] | int = "information"
    seed: int = 0

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", checked_epsilon(self.epsilon))
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        if isinstance(self.num_blocks, str):
            checked_choice("num_blocks", self.num_blocks, ("information",))
        else:
            blocks = checked_integer("num_blocks", self.num_blocks, least=2, most=self.num_classes)
            object.__setattr__(self, "num_blocks", blocks)
        object.__setattr__(self, "seed", checked_integer("seed", self.seed, least=0, most=2**64 - 1))

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
        """Number of possible answers: an item may have as many blocks as classes."""
        return self.num_classes

    def plan(self, prior: object, num_items: int) -> Plan:
        """Partitions the classes of n items by their prior, (n, K) or one row (K,) for all."""
        rows = prior_rows(prior, num_items, self.num_classes)
        blocks = np.empty(rows.shape, dtype=self._block_dtype())
        number = self.num_blocks if isinstance(self.num_blocks, int) else None
        for chunk in row_chunks(len(rows), 128 * self.num_classes):
            weights = integer_weights(rows[chunk], first_row=chunk.start)
            blocks[chunk] = balanced_blocks(
                weights, number, self.epsilon, seed=self.seed, first_row=chunk.start
            )
        return Plan(num_items, blocks=blocks)

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as class numbers; see `checked_labels`."""
        return checked_labels(labels, self.num_classes)

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
        """Answers each item from one word; see `Mechanism.choose`."""
        assert plan.blocks is not None
        block = plan.blocks[np.arange(len(labels)), labels].astype(np.uint64)
        alphabet = _alphabets(plan).astype(np.uint64)
        ranks, rejected = randomized_rank(words[:, 0], block, alphabet, epsilon=self.epsilon, bits=bits)
        return ranks.astype(np.int64), rejected

    def outputs(self) -> npt.NDArray[np.int64]:
        """The numbers that blocks may have."""
        return np.arange(self.num_classes)

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is Q_i(. | labels[i]); (n, K), zero from column g_i on."""
        plan = self.plan(prior, one_dimensional_length(labels))
        return self._rows(checked_labels(labels, self.num_classes), plan)

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """Q[y, o] of an item with this prior, the first of a release; (K, K), zero from column g on."""
        plan = self.plan(prior_row, 1)[np.zeros(self.num_classes, dtype=np.intp)]
        return self._rows(np.arange(self.num_classes), plan)

    def _rows(self, labels: npt.NDArray[np.integer], plan: Plan) -> npt.NDArray[np.float64]:
        assert plan.blocks is not None
        alphabet = _alphabets(plan)
        lie, keep = self._probabilities(alphabet)
        numbers = np.arange(self.num_classes)
        same = numbers == plan.blocks[np.arange(len(labels)), labels][:, None]
        return np.where(same, keep[:, None], lie[:, None]) * (numbers < alphabet[:, None])

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q_i(values[i] | c) for every class c; (n, K)."""
        assert plan.blocks is not None
        lie, keep = self._probabilities(_alphabets(plan))
        return np.where(plan.blocks == values[:, None], keep[:, None], lie[:, None])

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether every value is an answer that can be given under the plan, and the plan one with no empty block."""
        blocks = plan.blocks
        if blocks is None or plan.candidates is not None or blocks.dtype != self._block_dtype():
            return False
        if blocks.shape != (plan.num_items, self.num_classes):
            return False
        numbers = np.sort(blocks, axis=1)
        if numbers[:, 0].any() or (np.diff(numbers, axis=1) > 1).any():
            return False
        alphabet = _alphabets(plan)
        if (alphabet < 2).any() or (isinstance(self.num_blocks, int) and (alphabet != self.num_blocks).any()):
            return False
        return are_integers(values, plan.num_items, below=self.num_classes) and bool(
            (values < alphabet).all()
        )

    def event(self, plan: Plan) -> accounting.Event:
        """n items by the number of blocks each was answered on; adaptive unless that is a fixed integer."""
        sizes, counts = np.unique(_alphabets(plan), return_counts=True)
        answers = [accounting.RandomizedResponse(self.epsilon, int(size)) for size in sizes]
        return accounting.Disjoint(answers, counts=counts.tolist(), adaptive=isinstance(self.num_blocks, str))

    def realized_ratio(self) -> Fraction:
        """The largest T / step over all numbers of blocks, at the width in use."""
        bits = word_bits(self.epsilon)
        numbers = range(2, self.num_classes + 1) if isinstance(self.num_blocks, str) else [self.num_blocks]
        return max(Fraction(*thresholds(self.epsilon, 1, number - 1, bits)) for number in numbers)

    def _block_dtype(self) -> np.dtype[np.unsignedinteger]:
        """The smallest unsigned type that numbers K blocks."""
        return np.min_scalar_type(self.num_classes - 1)

    def _probabilities(
        self, alphabet: npt.NDArray[np.int64]
    ) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
        """Probabilities of one lie and of the truth."""
        lie = 1 / (np.exp(self.epsilon) + alphabet - 1)
        return lie, np.exp(self.epsilon) * lie


def _alphabets(plan: Plan) -> npt.NDArray[np.int64]:
    """Number of blocks of each item, (n,)."""
    assert plan.blocks is not None
    return plan.blocks.max(axis=1).astype(np.int64) + 1
