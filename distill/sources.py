"""The sources of the pool: each draws images as bytes, and only two of them are given the teacher.

To add one that sees no teacher: a function, a line in `INDEPENDENT`, and a weight in `distill.config.Pool`.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn

from distill import config
from distill.generator import as_bytes, refine
from distill.noise import noise
from distill.procedural import shapes
from distill.strokes import strokes
from distill.train import device_of, pixels

_CHUNK = {"cpu": 512, "cuda": 4096}  # images drawn at once: on a CPU, what stays in its cache

Shape = tuple[int, int, int]
Draw = Callable[[int, int], tuple[Tensor, Tensor | None]]
"""Takes how many images were drawn before and how many are wanted; returns them as bytes, and their bank images if any."""

INDEPENDENT: dict[str, Callable[[int, Shape, config.Pool, torch.Generator], Tensor]] = {
    "procedural": lambda n, shape, settings, generator: shapes(
        n, shape, cut=settings.cut, generator=generator
    ),
    "strokes": lambda n, shape, _, generator: strokes(n, shape, generator=generator),
    "noise": lambda n, shape, _, generator: noise(n, shape, generator=generator),
}
"""Sources that never see the teacher: how many images, their shape, settings and randomness, to floats in [0, 1]."""

WITH_TEACHER = ("trajectory", "refined")
SOURCES = (*WITH_TEACHER, *INDEPENDENT)


class Streams(Protocol):
    """Gives the stream of draws of that name, whose place is kept."""

    def __call__(self, name: str, device: torch.device | str = "cpu") -> torch.Generator: ...


def independent(name: str, settings: config.Pool, shape: Shape, generator: torch.Generator) -> Draw:
    """Draws from the source of that name, which is given no teacher."""
    draw = INDEPENDENT[name]

    def draw_bytes(_: int, n: int) -> tuple[Tensor, None]:
        chunk = _CHUNK.get(generator.device.type, 512)
        sizes = [min(chunk, n - start) for start in range(0, n, chunk)] or [0]
        return torch.cat([as_bytes(draw(size, shape, settings, generator)) for size in sizes]), None

    return draw_bytes


def variations(bank: Tensor, settings: config.Pool, generator: torch.Generator) -> Draw:
    """Walks through the bank in random order, again and again; some images are mixed, all get pixel noise."""
    order = torch.randperm(len(bank), generator=generator)

    def draw(before: int, n: int) -> tuple[Tensor, Tensor]:
        chosen = order[torch.arange(before, before + n) % len(bank)]
        images = pixels(bank[chosen])
        if settings.mixed:
            other = bank[torch.randint(len(bank), (n,), generator=generator)]
            share = torch.rand((n, 1, 1, 1), generator=generator) / 2  # the chosen one prevails
            mixed = torch.rand((n, 1, 1, 1), generator=generator) < settings.mixed
            images = torch.where(mixed, torch.lerp(images, pixels(other), share), images)
        if settings.pixel_noise:
            deviation = settings.pixel_noise * torch.rand((n, 1, 1, 1), generator=generator)
            images = images + deviation * torch.randn(images.shape, generator=generator)
        return as_bytes(images), chosen

    return draw


def refined(
    teacher: nn.Module, settings: config.Pool, shape: Shape, num_classes: int, streams: Streams
) -> Draw:
    """Starts from images of the independent sources in proportion to their weights; from shapes if they have none."""
    weights = {name: settings.weights[name] for name in INDEPENDENT}
    if not any(weights.values()):
        weights["procedural"] = 1.0
    device = device_of(teacher)
    rough = {
        name: independent(name, settings, shape, streams(f"pool refined {name}", device))
        for name, weight in weights.items()
        if weight
    }
    ends = torch.tensor([weights[name] for name in rough]).cumsum(0)
    goals = streams("pool goals")

    def draw(before: int, n: int) -> tuple[Tensor, None]:
        kinds = torch.bucketize(torch.rand(n, generator=goals) * ends[-1], ends[:-1])
        starts = [rough[name](before, int((kinds == kind).sum()))[0] for kind, name in enumerate(rough)]
        images = torch.cat(starts)[kinds.argsort(stable=True).argsort()]
        moved = refine(
            teacher,
            images,
            num_classes=num_classes,
            steps=settings.refinement_steps,
            batch_norm=settings.refinement_batch_norm,
            smoothing=settings.refinement_smoothing,
            generator=goals,
        )
        return moved, None

    return draw
