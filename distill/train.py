"""The one trainer: from images and likelihoods to a classifier."""

import copy
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import cache
from itertools import chain
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from distill import ranks
from distill.checkpoint import UNSAVED, Checkpoint, State

Distort = Callable[[Tensor, torch.Generator], Tensor]
"""Takes images (n, C, H, W) in [0, 1], returns as many of the same shape; what it draws comes from the generator."""

REPORT_EVERY = 20  # steps; reading a figure waits for the device
_PREDICT_BATCH = {"cpu": 256, "cuda": 8192}  # on a CPU, what stays in its cache


class Phase(Protocol):
    """One long phase of which progress is shown."""

    def advance(self, n: int = 1, **figures: float) -> None: ...


class Progress(Protocol):
    """Whoever shows progress."""

    def phase(
        self, name: str, total: int, *, start: int = 0, spent: float = 0.0
    ) -> AbstractContextManager[Phase]: ...


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


def pixels_of_records(images: Tensor | np.ndarray) -> Tensor:
    """Returns images as `pixels` does, each brought into [0, 1] by itself: numbers beyond are cut off, what is no number is 0."""
    return pixels(images).nan_to_num(0.0, 1.0, 0.0).clamp(0, 1)


def device_of(model: nn.Module) -> torch.device:
    """Where a network computes; one without a tensor of its own does so on the CPU, where its images are."""
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device


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
    checkpoint: Checkpoint = UNSAVED,
    distort: Distort | None = None,
    mixup: float = 0.0,
) -> nn.Module:
    """Trains the model in place and returns it, in eval mode: the last weights, chosen by nothing.

    The same generator state gives the same bits on one machine with one number of threads.
    In several processes (`distill.ranks`) each takes its share of every batch, and gradients are added up: the same steps as in
    one, but for rounding and for batch norms, which see the statistics of a share.

    Args:
        model: returns logits (n, K).
        images: (n, C, H, W), bytes or floats in [0, 1].
        likelihood: (n, K), Q_i(o_i | c) of what was released about item i, up to a factor for each row.
        settings: how long and how fast.
        generator: where the order of the items comes from, and all that `distort` and `mixup` draw.
        phase: advances by one a step; `total_steps` says how many there are.
        checkpoint: where training goes on from, to the same bits, if it was interrupted; `phase` starts at its step.
        distort: what becomes of a batch of images before the model sees them, e.g. `distill.distortion.shifted`; they are
            public, so it costs nothing.
        mixup: alpha of mixup (arXiv 1710.09412): images are mixed in pairs by a share from Beta(alpha, alpha), and so is their
            loss; 0 for none.

    Raises:
        ValueError: if the shapes do not match, or a likelihood is negative, not finite or zero for a whole row.
    """
    device = device_of(model)
    images = torch.as_tensor(images)
    log_likelihood = _log_likelihood(likelihood, len(images)).to(device)
    steps = total_steps(len(images), settings)
    _laid_out(model, _layout(device)).train()
    optimizer, schedule = _optimizer(model, settings, steps)
    average = copy.deepcopy(model) if settings.averaging else None
    parts: dict[str, Any] = {"model": model, "optimizer": optimizer, "schedule": schedule}
    if average is not None:
        parts["average"] = average
    step = _restore(checkpoint.state, parts)
    if step == steps:
        return _laid_out(model, torch.contiguous_format).eval()
    if (distort is not None or mixup) and ranks.several():
        raise ValueError(
            "Expected one process, got several: what distort and mixup draw would differ from one to another."
        )
    ranks.ask_for_help(model, images, torch.as_tensor(likelihood), settings, generator, checkpoint.state)
    images = images.to(device)
    epoch = _Epoch(len(images), steps // settings.epochs, generator, device)
    if checkpoint.state is not None:
        epoch.put_back(checkpoint.state["epoch"])
    while step < steps:
        checkpoint.offer(lambda: _state(step, parts, epoch))  # noqa: B023  it is called now or never
        batch = epoch.batch(step)
        part = ranks.share(batch)
        inputs = pixels(images[part])
        if distort is not None:
            inputs = distort(inputs, generator)
        loss = _loss(model, inputs, log_likelihood[part], mixup, generator) * (len(part) / len(batch))
        optimizer.zero_grad()
        loss.backward()
        ranks.add_up_gradients(model)
        optimizer.step()
        schedule.step()
        if average is not None:
            follow(average, model, settings.averaging)
        # Reading the loss waits for the device, so it is read seldom.
        phase.advance(1, **({"loss": float(loss.detach())} if step % REPORT_EVERY == 0 else {}))
        step += 1
    if average is not None:
        model.load_state_dict(average.state_dict())
    ranks.average_statistics(model)
    _laid_out(model, torch.contiguous_format)
    checkpoint.finish(_state(steps, {"model": model}))
    return model.eval()


def _layout(device: torch.device) -> torch.memory_format:
    """How images lie in memory: convolutions in bfloat16 are up to twice as fast with channels last, those in float32 are not."""
    return torch.channels_last if _multiplies_bfloat16(device.type) else torch.contiguous_format


def _laid_out(model: nn.Module, layout: torch.memory_format) -> nn.Module:
    return model.to(memory_format=layout)  # pyright: ignore[reportCallIssue]  torch's annotation forgets this one


def _loss(
    model: nn.Module, inputs: Tensor, log_likelihood: Tensor, mixup: float, generator: torch.Generator
) -> Tensor:
    """The loss of a batch, which its neighbours in random order take a share of if there is mixup."""
    if not mixup:
        return negative_log_likelihood(_logits(model, inputs), log_likelihood)
    share = float(torch._sample_dirichlet(torch.full((1, 2), mixup), generator=generator)[0, 0])  # pyright: ignore
    logits = _logits(model, torch.lerp(inputs, inputs.roll(1, 0), share))
    own = negative_log_likelihood(logits, log_likelihood)
    return torch.lerp(own, negative_log_likelihood(logits, log_likelihood.roll(1, 0)), share)


def _logits(model: nn.Module, inputs: Tensor) -> Tensor:
    convolutions = any(isinstance(layer, nn.Conv2d) for layer in model.modules())
    with half_precision(inputs.device, on_cpu=convolutions):
        return model(inputs.contiguous(memory_format=_layout(inputs.device))).float()


def half_precision(device: torch.device, *, on_cpu: bool = False) -> AbstractContextManager[object]:
    """Where bfloat16 is faster, computes in it; weights, losses and answers stay float32.

    Args:
        on_cpu: whether a CPU that multiplies it gains: training a network of convolutions takes half the time, of linear
            layers as long as before.
    """
    if (on_cpu or device.type != "cpu") and _multiplies_bfloat16(device.type):
        return torch.autocast(device.type, torch.bfloat16)
    return nullcontext()


@cache
def _multiplies_bfloat16(device: str) -> bool:
    """Whether a device of that type does so faster than it multiplies float32."""
    known = torch.cpu.get_capabilities() if device == "cpu" else {}
    return device == "cuda" or bool(known.get("avx512_bf16") or known.get("amx_bf16"))


class _Epoch:
    """The order of the items in the present pass over them, batch by batch."""

    def __init__(self, n: int, num_batches: int, generator: torch.Generator, device: torch.device) -> None:
        self._n, self._num_batches, self._generator, self._device = n, num_batches, generator, device
        self._draw()

    def _draw(self) -> None:
        self._before = self._generator.get_state()
        order = torch.randperm(self._n, generator=self._generator)
        self._batches = order.to(self._device).tensor_split(self._num_batches)
        self._fresh = True

    def batch(self, step: int) -> Tensor:
        """The items of a step; a new order is drawn when the one before is used up."""
        if step % self._num_batches == 0 and not self._fresh:
            self._draw()
        self._fresh = False
        return self._batches[step % self._num_batches]

    def state(self) -> State:
        """Where the generator stood before it drew this order, and where it stands now: others may draw from it too."""
        return {"before": self._before, "now": self._generator.get_state(), "fresh": self._fresh}

    def put_back(self, state: State) -> None:
        self._generator.set_state(state["before"])
        self._draw()
        self._generator.set_state(state["now"])
        self._fresh = state["fresh"]


def _state(step: int, parts: Mapping[str, Any], epoch: _Epoch | None = None) -> State:
    """What training needs to go on; a finished one leaves its model alone."""
    going_on = {} if epoch is None else {"epoch": epoch.state()}
    return {"step": step, "parts": {name: part.state_dict() for name, part in parts.items()}, **going_on}


def _restore(state: State | None, parts: Mapping[str, Any]) -> int:
    """Puts every part back and returns the step to go on from."""
    if state is None:
        return 0
    for name, values in state["parts"].items():
        parts[name].load_state_dict(values)
    if "optimizer" in state["parts"]:
        _lay_out_like_parameters(parts["optimizer"])
    return state["step"]


def _lay_out_like_parameters(optimizer: torch.optim.Optimizer) -> None:
    """Gives restored moments the strides of their parameters: fused steps walk through both as they lie in memory."""
    for parameter, state in optimizer.state.items():
        for name, value in state.items():
            if value.shape == parameter.shape:
                state[name] = torch.empty_like(parameter.detach()).copy_(value)


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


def predict_batch(device: torch.device) -> int:
    """How many images are predicted at once."""
    return _PREDICT_BATCH.get(device.type, 256)


@torch.no_grad()
def predict(model: nn.Module, images: Tensor | np.ndarray) -> np.ndarray:
    """Returns class probabilities (n, K), float32: in eval mode, so that no item depends on another."""
    device = device_of(model)
    was_training = model.training
    model.eval()
    batches = torch.as_tensor(images).split(predict_batch(device))
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
def follow(average: nn.Module, model: nn.Module, decay: float) -> None:
    """Moves the running mean of weights and batch-norm statistics one step towards the model."""
    for mean, value in zip(average.state_dict().values(), model.state_dict().values(), strict=True):
        if mean.is_floating_point():
            mean.lerp_(value, 1 - decay)
        else:
            mean.copy_(value)
