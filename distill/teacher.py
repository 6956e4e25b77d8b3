"""The teacher: where it comes from, what it may claim about its records, and its answers."""

import hashlib
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distill import loaded_teacher, models
from distill.certificate import Certificate, calibrated, certified, read_certificate
from distill.checkpoint import UNSAVED, Saved
from distill.config import Config, Teacher
from distill.data import Dataset
from distill.randomness import stream
from distill.train import Progress, device_of, one_hot, predict, total_steps, train
from labeldp import SeededSource, SystemSource
from labeldp.release.randomness import Source


@dataclass(frozen=True)
class HeldTeacher:
    """A teacher ready to answer.

    Attributes:
        network: in eval mode, returns logits (n, K).
        certificate: what may be claimed about one training record; None where nothing may.
    """

    network: nn.Module
    certificate: Certificate | None = None


def obtain_teacher(
    dataset: Dataset,
    config: Config,
    *,
    progress: Progress,
    device: torch.device | str = "cpu",
    saved: Saved = UNSAVED,
) -> HeldTeacher:
    """Trains or loads the teacher that the configuration asks for.

    Raises:
        UsageError: a file that is missing or holds something else, or a module that does not answer as a teacher must.

    Privacy: that of the certificate; without one the teacher is a private artefact, and all that is made with it. A run that is
        resumed goes on with the teacher it had, also where training again would give another: its certificate is about one.
    """
    settings = config.teacher
    if settings.kind == "trained":
        network = train_teacher(
            dataset, settings, seed=config.seed, progress=progress, device=device, saved=saved
        )
        return HeldTeacher(network)
    checkpoint = saved.phase("teacher")
    network = same_network(dataset, config).to(device)
    if checkpoint.state is not None:
        certificate = checkpoint.state["certificate"]
        network.load_state_dict(
            checkpoint.state["model"], assign=True
        )  # an expanded buffer cannot be written to
        return HeldTeacher(network.to(device).eval(), certificate and Certificate.from_dict(certificate))
    if settings.kind == "private":
        held = private_teacher(network, dataset, config, progress=progress)
    else:
        held = _loaded(network, dataset, config)
    certificate = held.certificate and held.certificate.to_dict()
    checkpoint.finish({"step": 1, "model": held.network.state_dict(), "certificate": certificate})
    return held


def same_network(dataset: Dataset, config: Config) -> nn.Module:
    """A network like the teacher's, whose weights are still to be trained or loaded."""
    settings = config.teacher
    if settings.kind == "module":
        return loaded_teacher.from_module(settings.module)
    return models.build(
        settings.model,
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        generator=stream(config.seed, "teacher weights"),
    )


def _loaded(network: nn.Module, dataset: Dataset, config: Config) -> HeldTeacher:
    """A teacher from elsewhere, which says itself how private it is."""
    settings, of = config.teacher, {"shape": dataset.shape, "num_classes": dataset.num_classes}
    if settings.kind == "file":
        device = device_of(network)
        network = loaded_teacher.from_file(settings.path, settings.model, **of).to(device)
    network = loaded_teacher.checked(network, **of, seed=config.seed)
    return HeldTeacher(network, read_certificate(settings.certificate) if settings.certificate else None)


def private_teacher(
    network: nn.Module, dataset: Dataset, config: Config, *, progress: Progress
) -> HeldTeacher:
    """Trains a teacher by DP-SGD and releases the moments of its features, within one (epsilon, delta) for both.

    It keeps no checkpoints on the way: what was lost by a kill has been seen by nobody, and training starts again with fresh noise.

    Privacy: the certificate, about adding or removing one record. Samples and noise are secret, unless
    `privacy.source` is "seeded"; the weights it starts from are public.
    """
    from distill.moments import release_moments
    from distill.private_teacher import train_privately

    settings, secure = config.teacher.private, config.privacy.source == "system"
    source = SystemSource() if secure else _seeded(config.seed)
    noise_multiplier = calibrated(settings)
    with progress.phase("teacher", total=settings.steps) as phase:
        train_privately(
            network,
            dataset.train_images,
            dataset.train_labels,
            settings=settings,
            noise_multiplier=noise_multiplier,
            source=source,
            phase=phase,
        )
    if settings.moment_noise:
        with progress.phase("moments", total=100) as phase:  # per cent
            release_moments(
                network,
                dataset.train_images,
                noise=settings.moment_noise,
                clip=settings.moment_clip,
                source=source,
                phase=phase,
            )
    return HeldTeacher(network, certified(settings, noise_multiplier, secure=secure))


def _seeded(seed: int) -> Source:
    """Noise that can be repeated, from other words than the labels' noise."""
    return SeededSource(int.from_bytes(hashlib.sha256(b"teacher %d" % seed).digest()[:8], "big"))


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
