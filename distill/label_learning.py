"""Learning from people's own labels: the mechanism is applied once to the real training labels, features are public.

The unit is `label`: what one person's label may change. Everything after the release is post-processing.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from distill import models
from distill.data import Dataset
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
from labeldp import (
    Mechanism,
    NoisyLabels,
    NoisyOneHot,
    PartitionedRandomizedResponse,
    RandomizedResponse,
    SelectiveRandomizedResponse,
    SubsetSelection,
    UnaryEncoding,
)
from labeldp.learning.stages import Stage, StagedLabels, privatize
from labeldp.release import Source

HELD_OUT = 0.05
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


def _one(make: Callable[[float, int], Mechanism]) -> Callable[[float, int], Method]:
    return lambda epsilon, num_classes: Method((Stage(make(epsilon, num_classes), 1.0),))


def _two(first: Mechanism, second: Mechanism) -> tuple[Stage, ...]:
    return Stage(first, 0.5), Stage(second, 0.5)


METHODS: dict[str, Callable[[float, int], Method]] = {
    "rr": lambda e, k: Method((Stage(RandomizedResponse(e, k), 1.0),), loss="cross-entropy"),
    "rr+likelihood": _one(RandomizedResponse),
    "lp-2st": lambda e, k: Method(
        _two(RandomizedResponse(e, k), SelectiveRandomizedResponse(e, k)), loss="cross-entropy", mixup=4.0
    ),
    "alibi": _one(NoisyOneHot),
    "unary": _one(UnaryEncoding),
    "subset": _one(SubsetSelection),
    "partition": lambda e, k: Method(_two(SubsetSelection(e, k), PartitionedRandomizedResponse(e, k))),
    "srr": lambda e, k: Method(
        _two(
            SubsetSelection(e, k),
            SelectiveRandomizedResponse(e, k, size="information", outside="other"),
        )
    ),
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
        validation: mean log-likelihood of the held-out noisy labels, in nats: what may be used for choices.
    """

    model: nn.Module
    released: StagedLabels | None
    validation: float


def learn(
    dataset: Dataset,
    method: Method | None,
    *,
    model: str,
    settings: Settings,
    distort: Distort | None = None,
    seed: int,
    source: Source | None = None,
    device: torch.device | str = "cpu",
    progress: Progress,
) -> Learnt:
    """Releases the training labels once and learns from what was released.

    Args:
        dataset: real images with labels; only the training part is looked at.
        method: one of METHODS, made for an epsilon; None learns from the labels themselves, for the ceiling.
        model: name of the network.
        settings: how long and how fast each model is trained.
        distort: random changes of the images while a model is trained.
        seed: of every public draw.
        source: where the noise comes from; a fresh `SystemSource` by default.
        device: where models are trained.
        progress: who shows it.

    Privacy:
        epsilon-DP for each label, with the mechanisms' epsilon: each label enters one answer. With method None: none.
    """
    images = torch.from_numpy(dataset.train_images)
    kept = _kept(len(images), seed)

    def trained(items: np.ndarray, likelihood: Tensor, mixup: float, name: str) -> nn.Module:
        network = models.build(
            model,
            shape=dataset.shape,
            num_classes=dataset.num_classes,
            generator=stream(seed, f"{name} weights"),
        ).to(device)
        with progress.phase(name, total=total_steps(len(items), settings)) as phase:
            return train(
                network,
                images[items],
                likelihood,
                settings=settings,
                generator=stream(seed, f"{name} order"),
                phase=phase,
                distort=distort,
                mixup=mixup,
            )

    if method is None:
        rows = one_hot(dataset.train_labels, dataset.num_classes)
        network = trained(np.flatnonzero(kept), rows[kept], 0.0, "model")
        return Learnt(network, None, _score(network, images[~kept], rows[~kept]))

    def learnt(released: StagedLabels, name: str) -> nn.Module:
        use = kept[released.numbers]
        rows = torch.cat([targets(part, method.loss) for part in released.parts])
        return trained(released.numbers[use], rows[use], method.mixup, name)

    def prior(released: StagedLabels, items: np.ndarray) -> np.ndarray | None:
        if not released.parts:
            return None
        return predict(learnt(released, f"model {len(released.parts)}"), images[items])

    released = privatize(dataset.train_labels, method.stages, prior=prior, seed=seed, source=source)
    network = learnt(released, "model")
    out = ~kept[released.numbers]
    rows = torch.cat([_likelihood(part) for part in released.parts])
    return Learnt(network, released, _score(network, images[released.numbers[out]], rows[out]))


def _kept(n: int, seed: int) -> np.ndarray:
    """Which items are learnt from: a public random choice."""
    order = torch.randperm(n, generator=stream(seed, "held out")).numpy()
    kept = np.ones(n, dtype=bool)
    kept[order[: round(HELD_OUT * n)]] = False
    return kept


def _likelihood(noisy: NoisyLabels) -> Tensor:
    rows = noisy.likelihood()
    return torch.from_numpy(rows / rows.max(axis=1, keepdims=True))


def _score(model: nn.Module, images: Tensor, likelihood: Tensor) -> float:
    """The mean log-likelihood of what was released, up to a constant of the release."""
    log_probabilities = torch.from_numpy(predict(model, images)).double().clamp_min(1e-12).log()
    return -float(negative_log_likelihood(log_probabilities, likelihood.double().log()))
