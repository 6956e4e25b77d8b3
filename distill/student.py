"""Students: the prior that a student gives to a stage, and the released student."""

import hashlib
import warnings
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from distill import models
from distill.checkpoint import UNSAVED, Saved
from distill.config import Config
from distill.config_file import UsageError
from distill.label_schemes import LabelScheme, label_scheme
from distill.randomness import stream
from distill.train import Progress, one_hot, predict, total_steps, train
from labeldp import NoisyLabels
from labeldp.learning.stages import StagedLabels


def targets(noisy: NoisyLabels, loss: Literal["likelihood", "cross-entropy"]) -> Tensor:
    """What the trainer learns from, (n, K): the likelihood of each class, or the released class as if it were true."""
    if loss == "cross-entropy":
        return one_hot(noisy.values, noisy.mechanism.num_classes)
    rows = noisy.likelihood()
    return torch.from_numpy(rows / rows.max(axis=1, keepdims=True)).float()  # scaled while it is double


def train_student(
    config: Config,
    images: Tensor,
    likelihood: Tensor,
    *,
    name: str,
    progress: Progress,
    saved: Saved = UNSAVED,
    shown: str = "",
) -> nn.Module:
    """Trains a student from scratch on images of the pool and what was released about them; returns it in eval mode.

    Its random streams and its checkpoint are called `name`; so is its phase, unless `shown` gives that another name.
    """
    model = models.build(
        config.student.model,
        shape=(images.shape[1], images.shape[2], images.shape[3]),
        num_classes=likelihood.shape[1],
        generator=stream(config.seed, f"{name} weights"),
    ).to(resolved_device(config.device))
    learnt = hashlib.blake2b(likelihood.contiguous().numpy().data, digest_size=16).hexdigest()
    checkpoint = saved.phase(name, about=learnt)
    total = total_steps(len(images), config.student)
    with progress.phase(shown or name, total, start=checkpoint.step, spent=checkpoint.spent) as phase:
        order = stream(config.seed, f"{name} order")
        return train(
            model,
            images,
            likelihood,
            settings=config.student,
            generator=order,
            phase=phase,
            checkpoint=checkpoint,
        )


def student_prior(
    config: Config,
    scheme: LabelScheme,
    images: Tensor,
    released: StagedLabels,
    items: np.ndarray,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> np.ndarray | None:
    """The prior of the next stage's items: what a student of the earlier stages' noisy labels predicts for them.

    Sees the pool and what was released, nothing else; None before the first stage. A student that diverged has no opinion: its
    prior is uniform.
    """
    if not released.parts:
        return None
    likelihood = torch.cat([targets(part, scheme.loss) for part in released.parts])
    name = f"student {len(released.parts)}"
    student = train_student(
        config, images[released.numbers], likelihood, name=name, progress=progress, saved=saved
    )
    prior = predict(student, images[torch.tensor(items)])
    if np.isfinite(prior).all():
        return prior
    warnings.warn(
        "The student of the earlier stages diverged: the next one is answered under a uniform prior. A smaller "
        "student.learning_rate may help.",
        stacklevel=2,
    )
    return np.full_like(prior, 1 / prior.shape[1])


def final_student(
    config: Config, images: Tensor, released: StagedLabels, *, progress: Progress, saved: Saved = UNSAVED
) -> nn.Module:
    """The student to be released: a function of the pool, the noisy labels and the public configuration."""
    scheme = label_scheme(
        config.privacy.stages,
        epsilon=config.privacy.epsilon,
        num_classes=released.parts[0].mechanism.num_classes,
    )
    return student_of(config, scheme, images, released, progress=progress, saved=saved)


def student_of(
    config: Config,
    scheme: LabelScheme,
    images: Tensor,
    released: StagedLabels,
    *,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> nn.Module:
    """The student of noisy labels, by the loss and from the stages that a scheme names."""
    used = slice(None) if scheme.learns_from == "all" else slice(-1, None)
    items = np.concatenate(released.items[used])
    likelihood = torch.cat([targets(part, scheme.loss) for part in released.parts[used]])
    return train_student(
        config,
        images[items],
        likelihood,
        name="private student",
        progress=progress,
        saved=saved,
        shown="" if scheme.stages else "student of clean answers",
    )


def resolved_device(name: str) -> torch.device:
    """The device of that name; "auto" is the GPU where there is one."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(
            f"Expected device to be auto, cpu or a torch device such as cuda, got {name!r}."
        ) from None
    try:
        return torch.empty(0, device=device).device
    except (RuntimeError, AssertionError, NotImplementedError):
        raise UsageError(
            f"Expected a device that is available here, got {name!r}, which torch cannot use on this machine; device = 'auto' takes "
            f"what there is."
        ) from None
