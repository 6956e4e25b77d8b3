"""Learning from people's own labels: the mechanism is applied once to the real training labels, features are public.

The unit is `label`: what one person's label may change. Everything after the release is post-processing.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor, nn

from distill import models
from distill.config import Stages
from distill.data import Dataset
from distill.label_schemes import label_scheme
from distill.randomness import stream
from distill.student import targets
from distill.train import (
    Distort,
    Progress,
    Settings,
    negative_log_likelihood,
    one_hot,
    predict,
    total_steps,
    train,
)
from labeldp import Mechanism, NoisyOneHot, UnaryEncoding
from labeldp.learning.stages import Stage, StagedLabels, privatize
from labeldp.release import Source

HELD_OUT = 0.1
"""Share of the noisy labels that no model learns from: what choices are made by, inside the same epsilon."""


@dataclass(frozen=True)
class Method:
    """How labels become noisy, and how a model learns from them.

    Attributes:
        stages: what answers which share of the items, in order; later stages take the model of earlier ones as prior.
        loss: "likelihood" learns from Q(released | c) of every class, "cross-entropy" takes the released class for the truth.
        mixup: alpha of mixup, 0 for none.
    """

    stages: tuple[Stage, ...]
    loss: Literal["likelihood", "cross-entropy"] = "likelihood"
    mixup: float = 0.0


def _as_answers(name: Stages, **rest: Any) -> Callable[[float, int], Method]:
    """The stages that answers of a teacher pass through under that name."""
    return lambda epsilon, num_classes: Method(
        label_scheme(name, epsilon=epsilon, num_classes=num_classes).stages, **rest
    )


def _one(make: Callable[[float, int], Mechanism]) -> Callable[[float, int], Method]:
    return lambda epsilon, num_classes: Method((Stage(make(epsilon, num_classes), 1.0),))


METHODS: dict[str, Callable[[float, int], Method]] = {
    "rr": _as_answers("rr", loss="cross-entropy"),
    "rr+likelihood": _as_answers("rr"),
    "lp-2st": _as_answers("seed", loss="cross-entropy", mixup=4.0),
    "alibi": _one(NoisyOneHot),
    "unary": _one(UnaryEncoding),
    "subset": _as_answers("subset"),
    "partition": _as_answers("partition"),
    "srr": _as_answers("subset+srr"),
}
"""Methods by name: epsilon and K to what is done.

"rr": randomized response, the answers taken for the truth. "lp-2st": two stages as published (arXiv 2102.06062): randomized response,
then selective randomized response by accuracy, mixup and cross-entropy. "alibi": Laplace noise on the one-hot vector (arXiv 2106.03408);
its iterated Bayesian posterior has the gradient of the likelihood. "srr": subset selection on half the items, then selective randomized
response by information on the other half, honest about labels outside.
"""


@dataclass(frozen=True)
class Learnt:
    """What came of it.

    Attributes:
        model: the last model, in eval mode.
        released: the noisy labels it learnt from, and those held out; None if the labels were clean.
        validation: the loss on held-out noisy labels, negative: nats, up to a constant of the release; of one method's choices the
            larger is better.
        settings: with which of the settings it was trained.
    """

    model: nn.Module
    released: StagedLabels | None
    validation: float
    settings: Settings


@dataclass(frozen=True)
class Learner:
    """Trains models on features and what was released about their labels.

    Attributes:
        model: name of the network.
        settings: how long and how fast; of several, the one whose loss on held-out noisy labels is least.
        distort: random changes of the images while a model is trained.
        seed: of weights, order and the choice of what is held out.
        device: where models are trained.
        progress: who shows it.
    """

    model: str
    settings: tuple[Settings, ...]
    distort: Distort | None
    seed: int
    device: torch.device | str
    progress: Progress

    def best(
        self, name: str, images: Tensor, wanted: Tensor, kept: np.ndarray, mixup: float = 0.0
    ) -> tuple[nn.Module, float, Settings]:
        """Returns the best model on items that are not held out, with its validation score and its settings.

        A training that diverged, so that its score is no number, is the last choice.

        Args:
            name: of the model, for its public draws and the progress.
            images: (n, C, H, W).
            wanted: (n, K), what it learns from and is chosen by.
            kept: (n,) bool, which items are learnt from.
            mixup: see `distill.train.train`.
        """
        found: list[tuple[nn.Module, float, Settings]] = []
        for settings in self.settings:
            network = models.build(
                self.model,
                shape=(images.shape[1], images.shape[2], images.shape[3]),
                num_classes=wanted.shape[1],
                generator=stream(self.seed, f"{name} weights"),
            ).to(self.device)
            with self.progress.phase(name, total=total_steps(int(kept.sum()), settings)) as phase:
                train(
                    network,
                    images[kept],
                    wanted[kept],
                    settings=settings,
                    generator=stream(self.seed, f"{name} order"),
                    phase=phase,
                    distort=self.distort,
                    mixup=mixup,
                )
            found.append((network, _score(network, images[~kept], wanted[~kept]), settings))
        return max(found, key=lambda one: -math.inf if math.isnan(one[1]) else one[1])


def learn(
    dataset: Dataset, method: Method | None, learner: Learner, *, source: Source | None = None
) -> Learnt:
    """Releases the training labels once and learns from what was released.

    Args:
        dataset: real images with labels; only the training part is looked at.
        method: one of METHODS, made for an epsilon; None learns from the labels themselves, for the ceiling.
        learner: how models are trained.
        source: where the noise comes from; a fresh `SystemSource` by default.

    Privacy:
        epsilon-DP for each label, with the mechanisms' epsilon: each label enters one answer, and settings are chosen by answers
        too. With method None: none.
    """
    images = torch.from_numpy(dataset.train_images)
    kept = _kept(len(images), learner.seed)
    if method is None:
        rows = one_hot(dataset.train_labels, dataset.num_classes)
        model, validation, settings = learner.best("model", images, rows, kept)
        return Learnt(model, None, validation, settings)

    def best(released: StagedLabels, name: str) -> tuple[nn.Module, float, Settings]:
        wanted = torch.cat([targets(part, method.loss) for part in released.parts])
        numbers = released.numbers
        return learner.best(name, images[numbers], wanted, kept[numbers], method.mixup)

    def prior(released: StagedLabels, items: np.ndarray) -> np.ndarray | None:
        if not released.parts:
            return None
        return predict(best(released, f"model {len(released.parts)}")[0], images[items])

    released = privatize(dataset.train_labels, method.stages, prior=prior, seed=learner.seed, source=source)
    model, validation, settings = best(released, "model")
    return Learnt(model, released, validation, settings)


def _kept(n: int, seed: int) -> np.ndarray:
    """Which items are learnt from: a public random choice."""
    order = torch.randperm(n, generator=stream(seed, "held out")).numpy()
    kept = np.ones(n, dtype=bool)
    kept[order[: round(HELD_OUT * n)]] = False
    return kept


def _score(model: nn.Module, images: Tensor, likelihood: Tensor) -> float:
    """The loss on what was released, negative."""
    log_probabilities = torch.from_numpy(predict(model, images)).double().clamp_min(1e-12).log()
    return -float(negative_log_likelihood(log_probabilities, likelihood.double().log()))
