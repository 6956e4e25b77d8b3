"""The named label stages: how the answers to a pool become noisy labels."""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import numpy.typing as npt

import accounting
from distill.config import Stages
from labeldp import (
    NoisyLabels,
    PartitionedRandomizedResponse,
    RandomizedResponse,
    SelectiveRandomizedResponse,
    SubsetSelection,
)
from labeldp.learning.stages import Stage, StagedLabels
from labeldp.mechanisms import Plan


@dataclass(frozen=True)
class LabelScheme:
    """How answers become noisy labels, and how students learn from them.

    Attributes:
        stages: what answers which share of the pool, in order; none for answers that are not protected.
        loss: "likelihood" learns from Q(released | c) of every class, "cross-entropy" takes the released class for the truth.
        learns_from: stages that the final student learns from.
    """

    stages: tuple[Stage, ...]
    loss: Literal["likelihood", "cross-entropy"] = "likelihood"
    learns_from: Literal["all", "last"] = "all"


def label_scheme(name: Stages, *, epsilon: float, num_classes: int) -> LabelScheme:
    """The label stages of that name.

    - "subset+srr": subset selection on half the pool; selective randomized response (by information, honest about outsiders) on the
      other half with the student as prior.
    - "seed": the scheme of arXiv 2409.12384 as reconstructed: randomized response, then selective randomized response by accuracy;
      learns from the second half by cross-entropy.
    - "rr", "subset": randomized response or subset selection on the whole pool.
    - "partition": subset selection on half the pool; on the other half the number of a block of classes, the classes of each image
      being split anew into blocks that the student finds equally likely, ties at random.
    - "clean": the answers themselves: for the ceiling, or of a teacher that is private itself; no answer is protected.

    All but "seed" learn from all stages by likelihood.
    """
    subset = SubsetSelection(epsilon, num_classes)
    match name:
        case "subset+srr":
            second = SelectiveRandomizedResponse(epsilon, num_classes, size="information", outside="other")
            return LabelScheme((Stage(subset, 0.5), Stage(second, 0.5)))
        case "seed":
            first = RandomizedResponse(epsilon, num_classes)
            second = SelectiveRandomizedResponse(epsilon, num_classes, size="accuracy")
            return LabelScheme((Stage(first, 0.5), Stage(second, 0.5)), "cross-entropy", "last")
        case "rr":
            return LabelScheme((Stage(RandomizedResponse(epsilon, num_classes), 1.0),))
        case "subset":
            return LabelScheme((Stage(subset, 1.0),))
        case "partition":
            second = PartitionedRandomizedResponse(epsilon, num_classes)
            return LabelScheme((Stage(subset, 0.5), Stage(second, 0.5)))
        case "clean":
            return LabelScheme(())
        case _:
            assert_never(name)


UNPROTECTED = accounting.ApproximateDP(epsilon=0.0, delta=1.0)
"""What an answer without noise gives away: everything."""


@dataclass(frozen=True)
class NoNoise:
    """Answers with the label itself. It protects nothing, so it is no mechanism of `labeldp` and cannot pass its barrier."""

    num_classes: int

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """One for what was answered, zero for every other class; (n, K)."""
        return (values[:, None] == np.arange(self.num_classes)).astype(np.float64)


def without_noise(answers: np.ndarray, items: np.ndarray, *, num_classes: int) -> StagedLabels:
    """The answers to the items in the shape of released ones.

    Privacy: none. Its event is one that everybody can undo, so no accountant promises anything about it or lets it be released; only
    who holds a teacher's certificate may put something else in its place, see `event_of`.
    """
    event = accounting.Seeded(UNPROTECTED)
    labels = NoisyLabels(NoNoise(num_classes), answers[items], Plan(len(items)), event)  # pyright: ignore[reportArgumentType]
    return StagedLabels((items,), (labels,))


def event_of(released: StagedLabels, *, stages: Stages, certified: bool) -> accounting.Event:
    """What the release did to the answers, for the transcript of a run.

    Args:
        released: the answers, noisy or not.
        stages: the name of the label stages.
        certified: whether the teacher carries a certificate about its training records.

    Privacy: no answer without noise is protected. Where the teacher is certified, what its answers show of a training record is
        post-processing of the teacher, whose certificate covers it, so that they do not forbid a release.
    """
    return UNPROTECTED if stages == "clean" and certified else released.event
