"""The variants of the ablation: the seed preset with one thing changed at a time, and what it is compared with."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal

from distill.label_schemes import LabelScheme, label_scheme
from labeldp import Mechanism, RandomizedResponse, SelectiveRandomizedResponse, SubsetSelection
from labeldp.learning.stages import Stage

K = 10


@dataclass(frozen=True)
class Variant:
    """How a pool is asked and learnt from.

    Attributes:
        scheme: of an epsilon; its loss trains the student that is the prior, too.
        prior: of the second stage: "student" of the first, or "uniform".
        pool: of `benchmarks.ablation.POOLS`.
        loss_of_prior: of the student that is the prior, where it differs.
    """

    scheme: Callable[[float], LabelScheme]
    prior: Literal["student", "uniform"] = "student"
    pool: str = "trajectory"
    loss_of_prior: Literal["likelihood", "cross-entropy"] | None = None


def _seed(epsilon: float) -> LabelScheme:
    return label_scheme("seed", epsilon=epsilon, num_classes=K)


def _seed_with(**changes: Any) -> Callable[[float], LabelScheme]:
    return lambda epsilon: replace(_seed(epsilon), **changes)


def _halves(
    first: Callable[[float, int], Mechanism], second: Callable[[float, int], Mechanism], **how: Any
) -> Callable[[float], LabelScheme]:
    return lambda epsilon: LabelScheme((Stage(first(epsilon, K), 0.5), Stage(second(epsilon, K), 0.5)), **how)


def _by_information(epsilon: float, num_classes: int) -> Mechanism:
    return SelectiveRandomizedResponse(epsilon, num_classes, size="information")


VARIANTS = {
    "seed preset: rr, then srr by accuracy; cross-entropy on the second half": Variant(_seed),
    "selected by information": Variant(
        _halves(RandomizedResponse, _by_information, loss="cross-entropy", learns_from="last")
    ),
    "prior: nothing known (rr twice)": Variant(_seed, prior="uniform"),
    "prior: student of a subset stage": Variant(
        _halves(SubsetSelection, SelectiveRandomizedResponse, loss="cross-entropy", learns_from="last"),
        loss_of_prior="likelihood",
    ),
    "loss: likelihood": Variant(_seed_with(loss="likelihood")),
    "loss: likelihood, on both halves": Variant(_seed_with(loss="likelihood", learns_from="all")),
    "loss: likelihood, on both halves; selected by information": Variant(
        _halves(RandomizedResponse, _by_information)
    ),
    "pool: procedural": Variant(_seed, pool="procedural"),
    "pool: strokes": Variant(_seed, pool="strokes"),
    "rr alone, cross-entropy": Variant(
        lambda epsilon: LabelScheme((Stage(RandomizedResponse(epsilon, K), 1.0),), "cross-entropy")
    ),
    "rr alone, likelihood": Variant(lambda epsilon: label_scheme("rr", epsilon=epsilon, num_classes=K)),
    "subset alone, likelihood": Variant(
        lambda epsilon: label_scheme("subset", epsilon=epsilon, num_classes=K)
    ),
    "all at once: subset, then srr by information; likelihood on both halves": Variant(
        lambda epsilon: label_scheme("subset+srr", epsilon=epsilon, num_classes=K)
    ),
}


SEED, SUBSET, BEST = (
    next(name for name in VARIANTS if name.startswith(start))
    for start in ("seed preset", "prior: student", "all at once")
)
PRIORS = {"rr": SEED, "subset": SUBSET}
"""First stages whose student is a prior, each with a variant in which it is."""
LINES = {
    "subset, then srr by information, likelihood": BEST,
    "subset alone, likelihood": "subset alone, likelihood",
    "rr alone, likelihood": "rr alone, likelihood",
    "rr, then srr by accuracy, cross-entropy (seed preset)": SEED,
    "rr alone, cross-entropy": "rr alone, cross-entropy",
}
