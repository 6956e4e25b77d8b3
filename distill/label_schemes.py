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
    - "clean": the answers themselves, for the ceiling; private to nobody.

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


@dataclass(frozen=True)
class NoNoise:
    """Answers with the label itself. It protects nothing, so it is no mechanism of `labeldp` and cannot pass its barrier."""

    num_classes: int

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """One for what was answered, zero for every other class; (n, K)."""
        return (values[:, None] == np.arange(self.num_classes)).astype(np.float64)


def without_noise(answers: np.ndarray, items: np.ndarray, *, num_classes: int) -> StagedLabels:
    """The answers to the items in the shape of released ones, for a student that shows the ceiling.

    Privacy: none. Its event is one that everybody can undo, so no accountant promises anything about it or lets it be released.
    """
    event = accounting.Seeded(accounting.ApproximateDP(epsilon=0.0, delta=1.0))
    labels = NoisyLabels(NoNoise(num_classes), answers[items], Plan(len(items)), event)  # pyright: ignore[reportArgumentType]
    return StagedLabels((items,), (labels,))
