"""Images out of a teacher, without data: a generator trained with the teacher as fixed discriminator.

A generator that has converged shows few kinds of image. So it starts again often, and what is kept is its
trajectory: every batch it makes on the way, once past a short warm-up.
The class the teacher sees in an image steers the gradient and is then forgotten: it is nearly the secret answer.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from distill import config, models, statistics
from distill.randomness import stream
from distill.train import Progress, pixels

_REPORT_EVERY = 20
_REFINE_BATCH = 256
_MOMENTUM = 0.8
_STEP = 0.05
_SMALL = 1e-12


@contextmanager
def discriminator(teacher: nn.Module) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Lends the teacher as a fixed discriminator: images to (logits, distance).

    The distance is that of the batch's statistics from those the teacher holds of its data, summed over its layers; it is 0
    for a teacher that has neither batch norms nor released moments.
    On leaving, hooks, gradients and mode are as they were.
    """
    terms: list[Tensor] = []

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        terms.append(statistics.distance(layer, inputs[0]))

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        terms.clear()
        logits = teacher(images)
        return logits, torch.stack(terms).sum() if terms else logits.new_zeros(())

    hooks = [layer.register_forward_pre_hook(measure) for layer in statistics.holders(teacher)]
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
) -> Tensor:
    """Returns the images (n, C, H, W), as bytes, that generators made on their way; n is `settings.kept`.

    Privacy: none. The images depend on all that the teacher was trained on.
    """
    device = next(teacher.parameters()).device
    weights, latents = stream(seed, "generator weights"), stream(seed, "generator latents")
    kept: list[Tensor] = []
    with progress.phase("generator", total=settings.steps) as phase, discriminator(teacher) as look:
        for start in range(0, settings.steps, settings.restart):
            network = models.build_generator(settings.latent, shape=shape, generator=weights).to(device)
            optimizer = torch.optim.Adam(
                network.parameters(), lr=settings.learning_rate, betas=(0.5, 0.999), fused=True
            )
            for age in range(min(settings.restart, settings.steps - start)):
                latent = torch.randn(settings.batch_size, settings.latent, generator=latents).to(device)
                images = network(latent)
                loss = _generator_loss(*look(images), settings)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                if age >= settings.warmup:
                    kept.append(as_bytes(images.detach()).cpu())
                report = (start + age) % _REPORT_EVERY == 0
                phase.advance(1, **({"loss": float(loss.detach())} if report else {}))
    return torch.cat(kept) if kept else torch.empty((0, *shape), dtype=torch.uint8)


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
