"""Images out of a teacher, without data: a generator trained with the teacher as fixed discriminator.

A generator that has converged shows few kinds of image. So it starts again often, and what is kept is its
trajectory: every batch it makes on the way, once past a short warm-up.
The class the teacher sees in an image steers the gradient and is then forgotten: it is nearly the secret answer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distill import config, models
from distill.checkpoint import UNSAVED, Saved, State
from distill.randomness import stream
from distill.train import Progress, pixels

_REPORT_EVERY = 20
_REFINE_BATCH = 256
_MOMENTUM = 0.8
_STEP = 0.05
_SMALL = 1e-12
_NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d)


@contextmanager
def discriminator(teacher: nn.Module) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Lends the teacher as a fixed discriminator: images to (logits, batch-norm distance).

    The distance sums, over the teacher's batch norms, the norms of the differences between a batch's means and
    variances and the running ones; it is 0 for a teacher without batch norm.
    On leaving, hooks, gradients and mode are as they were.
    """
    terms: list[Tensor] = []

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, _NORMALIZING)
        (values,) = inputs  # (n, channels, ...)
        others = [0, *range(2, values.ndim)]
        mean = values.mean(others, keepdim=True)
        variance = (values - mean).square().mean(others)  # several times faster than torch.var_mean
        if layer.running_mean is not None and layer.running_var is not None:
            terms.append((mean.flatten() - layer.running_mean).norm() + (variance - layer.running_var).norm())

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        terms.clear()
        logits = teacher(images)
        return logits, torch.stack(terms).sum() if terms else logits.new_zeros(())

    norms = [layer for layer in teacher.modules() if isinstance(layer, _NORMALIZING)]
    hooks = [layer.register_forward_pre_hook(measure) for layer in norms]
    trained = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    was_training = teacher.training
    try:
        teacher.eval().requires_grad_(False)
        yield look
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
        teacher.train(was_training)


def trajectory(
    teacher: nn.Module,
    settings: config.Generator,
    *,
    shape: tuple[int, int, int],
    seed: int,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> Tensor:
    """Returns the images (n, C, H, W), as bytes, that generators made on their way; n is `settings.kept`.

    Privacy: none. The images depend on all that the teacher was trained on.
    """
    device = next(teacher.parameters()).device
    streams = {"weights": stream(seed, "generator weights"), "latents": stream(seed, "generator latents")}
    checkpoint = saved.phase("generator")
    kept: list[Tensor] = []
    step = 0
    if (state := checkpoint.restored()) is not None:
        step, kept = state["step"], state["kept"]
        if step == settings.steps:
            return _joined(kept, shape)
    with progress.phase("generator", total=settings.steps) as phase, discriminator(teacher) as look:
        network, optimizer = _fresh(settings, shape, streams["weights"], device)
        if state is not None:
            _put_back(state, streams, network, optimizer)
            phase.advance(step)
        while step < settings.steps:
            checkpoint.offer(lambda: _generator_state(step, kept, streams, network, optimizer))  # noqa: B023
            latent = torch.randn(settings.batch_size, settings.latent, generator=streams["latents"]).to(
                device
            )
            images = network(latent)
            loss = _generator_loss(*look(images), settings)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step % settings.restart >= settings.warmup:
                kept.append(as_bytes(images.detach()).cpu())
            phase.advance(1, **({"loss": float(loss.detach())} if step % _REPORT_EVERY == 0 else {}))
            step += 1
            if step % settings.restart == 0:
                network, optimizer = _fresh(settings, shape, streams["weights"], device)
    checkpoint.finish({"step": step, "kept": kept})
    return _joined(kept, shape)


def _joined(kept: list[Tensor], shape: tuple[int, int, int]) -> Tensor:
    return torch.cat(kept) if kept else torch.empty((0, *shape), dtype=torch.uint8)


def _fresh(
    settings: config.Generator, shape: tuple[int, int, int], weights: torch.Generator, device: torch.device
) -> tuple[nn.Module, torch.optim.Adam]:
    """A generator at its beginning."""
    network = models.build_generator(settings.latent, shape=shape, generator=weights).to(device)
    return network, torch.optim.Adam(
        network.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999), fused=True
    )


def _generator_state(
    step: int,
    kept: list[Tensor],
    streams: Mapping[str, torch.Generator],
    network: nn.Module,
    optimizer: torch.optim.Adam,
) -> State:
    return {
        "step": step,
        "kept": kept,
        "streams": {name: source.get_state() for name, source in streams.items()},
        "network": network.state_dict(),
        "optimizer": optimizer.state_dict(),
    }


def _put_back(
    state: State, streams: Mapping[str, torch.Generator], network: nn.Module, optimizer: torch.optim.Adam
) -> None:
    for name, source in streams.items():
        source.set_state(state["streams"][name])
    network.load_state_dict(state["network"])
    optimizer.load_state_dict(state["optimizer"])


def _generator_loss(logits: Tensor, distance: Tensor, settings: config.Generator) -> Tensor:
    """Asks for images the teacher is sure of, of all classes alike, with the activations it is used to."""
    certainty = nn.functional.cross_entropy(logits, logits.argmax(dim=1))
    mean = torch.softmax(logits, dim=1).mean(dim=0)
    imbalance = (mean * (mean + _SMALL).log()).sum()
    return settings.pseudo_label * certainty + settings.entropy * imbalance + settings.batch_norm * distance


def refine(
    teacher: nn.Module,
    images: Tensor,
    *,
    num_classes: int,
    steps: int,
    batch_norm: float,
    generator: torch.Generator,
) -> Tensor:
    """Moves images, as bytes, along the teacher's gradient towards classes drawn at random; returns bytes.

    Each step has a fixed length for each image, so that images the teacher is sure of still move.

    Privacy: none; and the classes drawn are forgotten, being close to the answers.
    """
    device = next(teacher.parameters()).device
    classes = torch.randint(num_classes, (len(images),), generator=generator)
    with discriminator(teacher) as look:
        batches = [
            _refine_batch(look, pixels(batch.to(device)), goals.to(device), steps, batch_norm)
            for batch, goals in zip(images.split(_REFINE_BATCH), classes.split(_REFINE_BATCH), strict=True)
        ]
    return torch.cat(batches) if batches else images


def _refine_batch(
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    goals: Tensor,
    steps: int,
    batch_norm: float,
) -> Tensor:
    velocity, power = torch.zeros_like(images), None
    for step in range(steps):
        images = images.detach().requires_grad_(True)
        logits, distance = look(images)
        loss = nn.functional.cross_entropy(logits, goals) + batch_norm * distance
        (gradient,) = torch.autograd.grad(loss, images)
        square = gradient.square().mean(dim=(1, 2, 3), keepdim=True)
        power = square if power is None else power.lerp(square, 0.1)
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * gradient / (power + _SMALL**2).sqrt()
        length = _STEP * (1 - 0.7 * step / max(1, steps - 1))
        images = (images.detach() - length * velocity).clamp(0, 1)
    return as_bytes(images.detach()).cpu()


def as_bytes(images: Tensor) -> Tensor:
    """Rounds images in [0, 1] to 256 levels: a quarter of the memory, and as fine as real image files are."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
