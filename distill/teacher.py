"""The teacher: trained on private data, and asked for its answers."""

import numpy as np
import torch
from torch import Tensor, nn

from distill import models
from distill.checkpoint import UNSAVED, Saved
from distill.config import Teacher
from distill.data import Dataset
from distill.randomness import stream
from distill.train import Progress, one_hot, predict, total_steps, train


def train_teacher(
    dataset: Dataset,
    config: Teacher,
    *,
    seed: int,
    progress: Progress,
    device: torch.device | str = "cpu",
    saved: Saved = UNSAVED,
) -> nn.Module:
    """Trains the teacher on the real training images and labels; returns it in eval mode.

    Privacy: none. The teacher is a private artefact.
    """
    images, labels = dataset.train_images, dataset.train_labels
    model = models.build(
        config.model,
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        generator=stream(seed, "teacher weights"),
    ).to(device)
    checkpoint = saved.phase("teacher")
    total = total_steps(len(images), config)
    with progress.phase("teacher", total, start=checkpoint.step, spent=checkpoint.spent) as phase:
        return train(
            model,
            images,
            one_hot(labels, dataset.num_classes),
            settings=config,
            generator=stream(seed, "teacher order"),
            phase=phase,
            checkpoint=checkpoint,
        )


def answers(teacher: nn.Module, images: Tensor | np.ndarray) -> np.ndarray:
    """Returns the teacher's most probable class (n,), int64, for each image.

    Privacy: these are the secrets. In eval mode one answer does not depend on the other images asked, which
    the guarantee about one answer needs.
    """
    return predict(teacher, images).argmax(axis=1)
