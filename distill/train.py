"""The one trainer: from images and likelihoods to a classifier."""

import copy
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

Distort = Callable[[Tensor, torch.Generator], Tensor]
"""Takes images (n, C, H, W) in [0, 1], returns as many of the same shape; what it draws comes from the generator."""

_REPORT_EVERY = 20
_PREDICT_BATCH = 2048


class Phase(Protocol):
    """One long phase of which progress is shown."""

    def advance(self, n: int = 1, **figures: float) -> None: ...


class Progress(Protocol):
    """Whoever shows progress."""

    def phase(self, name: str, total: int) -> AbstractContextManager[Phase]: ...


class Settings(Protocol):
    """What the trainer wants to know; the teacher's and the student's configurations say it."""

    @property
    def epochs(self) -> int: ...
    @property
    def batch_size(self) -> int: ...
    @property
    def learning_rate(self) -> float: ...
    @property
    def weight_decay(self) -> float: ...
    @property
    def averaging(self) -> float: ...


def pixels(images: Tensor | np.ndarray) -> Tensor:
    """Returns images as float32 in [0, 1]; bytes are divided by 255, floats are taken as they are."""
    images = torch.as_tensor(images)
    return images.float() / 255 if images.dtype == torch.uint8 else images.float()


def negative_log_likelihood(logits: Tensor, log_likelihood: Tensor) -> Tensor:
    """Returns the mean of -log sum_c L[c] softmax(logits)[c].

    A one-hot row is plain cross-entropy; a row of equal entries has no gradient; -inf stands for L[c] = 0.

    Args:
        logits: (n, K).
        log_likelihood: (n, K), log L; no row is -inf throughout.
    """
    return -torch.logsumexp(torch.log_softmax(logits, dim=1) + log_likelihood, dim=1).mean()


def train(
    model: nn.Module,
    images: Tensor | np.ndarray,
    likelihood: Tensor | np.ndarray,
    *,
    settings: Settings,
    generator: torch.Generator,
    phase: Phase,
    distort: Distort | None = None,
    mixup: float = 0.0,
) -> nn.Module:
    """Trains the model in place and returns it, in eval mode: the last weights, chosen by nothing.

    The same generator state gives the same bits on one machine with one number of threads.

    Args:
        model: returns logits (n, K).
        images: (n, C, H, W), bytes or floats in [0, 1].
        likelihood: (n, K), Q_i(o_i | c) of what was released about item i, up to a factor for each row.
        settings: how long and how fast.
        generator: where the order of the items comes from, and all that `distort` and `mixup` draw.
        phase: advances by one a step; `total_steps` says how many there are.
        distort: what becomes of a batch of images before the model sees them, e.g. `distill.distortion.shifted`; they are
            public, so it costs nothing.
        mixup: alpha of mixup (arXiv 1710.09412): images are mixed in pairs by a share from Beta(alpha, alpha), and so is their
            loss; 0 for none.

    Raises:
        ValueError: if the shapes do not match, or a likelihood is negative, not finite or zero for a whole row.
    """
    device = next(model.parameters()).device
    images = torch.as_tensor(images).to(device)
    log_likelihood = _log_likelihood(likelihood, len(images)).to(device)
    steps = total_steps(len(images), settings)
    optimizer, schedule = _optimizer(model, settings, steps)
    average = copy.deepcopy(model) if settings.averaging else None
    model.train()
    step = 0
    for _ in range(settings.epochs):
        order = torch.randperm(len(images), generator=generator).to(device)
        for batch in order.tensor_split(steps // settings.epochs):
            inputs = pixels(images[batch])
            if distort is not None:
                inputs = distort(inputs, generator)
            loss = _loss(model, inputs, log_likelihood[batch], mixup, generator)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            if average is not None:
                _follow(average, model, settings.averaging)
            # Reading the loss waits for the device, so it is read seldom.
            phase.advance(1, **({"loss": float(loss.detach())} if step % _REPORT_EVERY == 0 else {}))
            step += 1
    if average is not None:
        model.load_state_dict(average.state_dict())
    return model.eval()


def _loss(
    model: nn.Module, inputs: Tensor, log_likelihood: Tensor, mixup: float, generator: torch.Generator
) -> Tensor:
    """The loss of a batch, which its neighbours in random order take a share of if there is mixup."""
    if not mixup:
        return negative_log_likelihood(model(inputs), log_likelihood)
    share = float(torch._sample_dirichlet(torch.full((1, 2), mixup), generator=generator)[0, 0])  # pyright: ignore
    logits = model(torch.lerp(inputs, inputs.roll(1, 0), share))
    own = negative_log_likelihood(logits, log_likelihood)
    return torch.lerp(own, negative_log_likelihood(logits, log_likelihood.roll(1, 0)), share)


def _optimizer(
    model: nn.Module, settings: Settings, steps: int
) -> tuple[torch.optim.AdamW, torch.optim.lr_scheduler.OneCycleLR]:
    optimizer = torch.optim.AdamW(
        model.parameters(), lr=settings.learning_rate, weight_decay=settings.weight_decay, fused=True
    )
    return optimizer, torch.optim.lr_scheduler.OneCycleLR(
        optimizer, settings.learning_rate, total_steps=steps
    )


def total_steps(n: int, settings: Settings) -> int:
    """The number of steps that `train` takes on n items: a batch is never smaller than asked, if n is not."""
    return settings.epochs * max(1, n // settings.batch_size)


def one_hot(labels: Tensor | np.ndarray, num_classes: int) -> Tensor:
    """Returns the likelihood rows (n, K), float32, of labels that are known for sure."""
    return nn.functional.one_hot(torch.as_tensor(labels).long(), num_classes).float()


@torch.no_grad()
def predict(model: nn.Module, images: Tensor | np.ndarray) -> np.ndarray:
    """Returns class probabilities (n, K), float32: in eval mode, so that no item depends on another."""
    device = next(model.parameters()).device
    was_training = model.training
    model.eval()
    batches = torch.as_tensor(images).split(_PREDICT_BATCH)
    rows = [torch.softmax(model(pixels(batch.to(device))), dim=1).cpu() for batch in batches]
    model.train(was_training)
    return torch.cat(rows).numpy()


def accuracy(model: nn.Module, images: Tensor | np.ndarray, labels: Tensor | np.ndarray) -> float:
    """Returns the share of images whose most probable class is the label."""
    return float(np.mean(predict(model, images).argmax(axis=1) == np.asarray(labels)))


def _log_likelihood(likelihood: Tensor | np.ndarray, n: int) -> Tensor:
    """Checks the likelihood rows and returns their logarithms (n, K), the largest of each row being 0."""
    rows = torch.as_tensor(likelihood)
    if n < 2 or rows.ndim != 2 or len(rows) != n:
        raise ValueError(
            f"Expected likelihood of shape (n, K), one row for each of {n} >= 2 images, "
            f"got {tuple(rows.shape)}."
        )
    largest = rows.amax(dim=1, keepdim=True)
    if not bool(((rows >= 0).all() & (largest > 0).all() & rows.isfinite().all()).item()):
        raise ValueError("Expected likelihood rows of finite numbers at least 0, one of them positive.")
    return torch.log(rows / largest).float()


@torch.no_grad()
def _follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the running mean of weights and batch-norm statistics one step towards the model."""
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
