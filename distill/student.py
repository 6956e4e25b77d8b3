"""Students: the named label stages, the prior that a student gives to a stage, and the released student."""

from dataclasses import dataclass
from typing import Literal, assert_never

import numpy as np
import torch
from torch import Tensor, nn

from distill import models
from distill.config import Config, Stages
from distill.config_file import UsageError
from distill.randomness import stream
from distill.train import Progress, one_hot, predict, total_steps, train
from labeldp import NoisyLabels, RandomizedResponse, SelectiveRandomizedResponse, SubsetSelection
from labeldp.learning.stages import Stage, StagedLabels


@dataclass(frozen=True)
class LabelScheme:
    """How answers become noisy labels, and how students learn from them.

    Attributes:
        stages: what answers which share of the pool, in order.
        loss: "likelihood" learns from Q(released | c) of every class, "cross-entropy" takes the released class for the truth.
        learns_from: stages that the final student learns from.
    """

    stages: tuple[Stage, ...]
    loss: Literal["likelihood", "cross-entropy"]
    learns_from: Literal["all", "last"]


def label_scheme(name: Stages, *, epsilon: float, num_classes: int) -> LabelScheme:
    """The label stages of that name.

    "subset+srr": subset selection on half the pool; selective randomized response (by information, honest about outsiders) on the
    other half with the student as prior; learns from all by likelihood. "seed": the scheme of arXiv 2409.12384 as reconstructed:
    randomized response, then selective randomized response by accuracy; learns from the second half by cross-entropy.
    """
    match name:
        case "subset+srr":
            first = SubsetSelection(epsilon, num_classes)
            second = SelectiveRandomizedResponse(epsilon, num_classes, size="information", outside="other")
            return LabelScheme((Stage(first, 0.5), Stage(second, 0.5)), "likelihood", "all")
        case "seed":
            first = RandomizedResponse(epsilon, num_classes)
            second = SelectiveRandomizedResponse(epsilon, num_classes, size="accuracy")
            return LabelScheme((Stage(first, 0.5), Stage(second, 0.5)), "cross-entropy", "last")
        case _:
            assert_never(name)


def targets(noisy: NoisyLabels, loss: Literal["likelihood", "cross-entropy"]) -> Tensor:
    """What the trainer learns from, (n, K): the likelihood of each class, or the released class as if it were true."""
    if loss == "cross-entropy":
        return one_hot(noisy.values, noisy.mechanism.num_classes)
    rows = noisy.likelihood()
    return torch.from_numpy(rows / rows.max(axis=1, keepdims=True)).float()  # scaled while it is double


def train_student(
    config: Config, images: Tensor, likelihood: Tensor, *, name: str, progress: Progress
) -> nn.Module:
    """Trains a student from scratch on images of the pool and what was released about them; returns it in eval mode."""
    model = models.build(
        config.student.model,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        num_classes=likelihood.shape[1],
        generator=stream(config.seed, f"{name} weights"),
    ).to(resolved_device(config.device))
    with progress.phase(name, total=total_steps(len(images), config.student)) as phase:
        order = stream(config.seed, f"{name} order")
        return train(model, images, likelihood, settings=config.student, generator=order, phase=phase)


def student_prior(
    config: Config,
    scheme: LabelScheme,
    images: Tensor,
    released: StagedLabels,
    items: np.ndarray,
    progress: Progress,
) -> np.ndarray | None:
    """The prior of the next stage's items: what a student of the earlier stages' noisy labels predicts for them.

    Sees the pool and what was released, nothing else; None before the first stage.
    """
    if not released.parts:
        return None
    likelihood = torch.cat([targets(part, scheme.loss) for part in released.parts])
    name = f"student {len(released.parts)}"
    student = train_student(config, images[released.numbers], likelihood, name=name, progress=progress)
    return predict(student, images[items])


def final_student(config: Config, images: Tensor, released: StagedLabels, *, progress: Progress) -> nn.Module:
    """The student to be released: a function of the pool, the noisy labels and the public configuration."""
    scheme = label_scheme(
        config.privacy.stages,
        epsilon=config.privacy.epsilon,
        num_classes=released.parts[0].mechanism.num_classes,
    )
    used = slice(None) if scheme.learns_from == "all" else slice(-1, None)
    items = np.concatenate(released.items[used])
    likelihood = torch.cat([targets(part, scheme.loss) for part in released.parts[used]])
    return train_student(config, images[items], likelihood, name="private student", progress=progress)


def resolved_device(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        return torch.empty(0, device=name).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(
            f"Expected device to be auto, cpu or a torch device such as cuda, got {name!r}."
        ) from None
