"""The synthetic pool: the images the teacher is asked about, from several sources."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distill import config, procedural
from distill.generator import as_bytes, refine, trajectory
from distill.randomness import stream
from distill.train import Phase, Progress, pixels

_ATTEMPTS = 10
_BLOCK = 4096
SOURCES = ("trajectory", "procedural", "refined")

Draw = Callable[[int, int], Tensor]
"""Takes how many images were drawn before and how many are wanted; returns them as bytes."""


@dataclass(frozen=True)
class Pool:
    """Images in random order, no two alike, so that each query is asked once.

    Attributes:
        images: (n, C, H, W) uint8; `distill.train.pixels` turns them into floats.
        origin: (n,) index into `sources` of where each image comes from.
        sources: names of the sources.
        made_with_teacher: whether any image depends on the teacher, and so on the private data.
    """

    images: Tensor
    origin: np.ndarray
    sources: tuple[str, ...]
    made_with_teacher: bool


def build_pool(
    teacher: nn.Module,
    settings: config.Pool,
    generator_settings: config.Generator,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    progress: Progress,
) -> Pool:
    """Makes the pool; the teacher is looked at only by the sources "trajectory" and "refined".

    Privacy: a pool made with the teacher depends on the private data, and no mechanism covers it. A pool made
    without it says nothing of the data.

    Raises:
        ValueError: if a source cannot make enough different images.
    """
    counts = _counts(settings)
    draws: dict[str, Draw] = {}
    if counts["trajectory"]:
        bank = trajectory(teacher, generator_settings, shape=shape, seed=seed, progress=progress)
        draws["trajectory"] = _variations(bank, settings, stream(seed, "pool trajectory"))
    draws["procedural"] = _procedural(settings, shape, stream(seed, "pool procedural"))
    rough = _procedural(settings, shape, stream(seed, "pool refined"))
    draws["refined"] = _refined(teacher, settings, num_classes, rough, stream(seed, "pool goals"))
    seen: set[bytes] = set()
    with progress.phase("pool", total=settings.size) as phase:
        parts = [_distinct(name, draws[name], n, seen, phase) for name, n in counts.items() if n]
    order = torch.randperm(settings.size, generator=stream(seed, "pool order"))
    origin = np.repeat(np.arange(len(SOURCES)), list(counts.values()))
    return Pool(
        images=torch.cat(parts)[order],
        origin=origin[order.numpy()],
        sources=SOURCES,
        made_with_teacher=counts["trajectory"] + counts["refined"] > 0,
    )


def _counts(settings: config.Pool) -> dict[str, int]:
    """Divides the pool by the weights of its sources; the largest remainders get what is left."""
    weights = np.array([settings.trajectory, settings.procedural, settings.refined])
    exact = settings.size * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: settings.size - whole.sum()]] += 1
    return dict(zip(SOURCES, whole.tolist(), strict=True))


def _variations(bank: Tensor, settings: config.Pool, generator: torch.Generator) -> Draw:
    """Walks through the bank in random order, again and again; some images are mixed, all get pixel noise."""
    order = torch.randperm(len(bank), generator=generator)

    def draw(before: int, n: int) -> Tensor:
        images = pixels(bank[order[torch.arange(before, before + n) % len(bank)]])
        other = bank[torch.randint(len(bank), (n,), generator=generator)]
        share = torch.rand((n, 1, 1, 1), generator=generator)
        mixed = torch.rand((n, 1, 1, 1), generator=generator) < settings.mixed
        images = torch.where(mixed, torch.lerp(images, pixels(other), share), images)
        deviation = settings.noise * torch.rand((n, 1, 1, 1), generator=generator)
        return as_bytes(images + deviation * torch.randn(images.shape, generator=generator))

    return draw


def _procedural(settings: config.Pool, shape: tuple[int, int, int], generator: torch.Generator) -> Draw:
    return lambda _, n: as_bytes(procedural.images(n, shape, cut=settings.cut, generator=generator))


def _refined(
    teacher: nn.Module, settings: config.Pool, num_classes: int, rough: Draw, generator: torch.Generator
) -> Draw:
    return lambda before, n: refine(
        teacher,
        rough(before, n),
        num_classes=num_classes,
        steps=settings.refinement_steps,
        batch_norm=settings.refinement_batch_norm,
        generator=generator,
    )


def _distinct(name: str, draw: Draw, n: int, seen: set[bytes], phase: Phase) -> Tensor:
    """Draws until there are n images unlike each other and those seen before.

    Comparing images is public; asking the same one twice would answer it with twice the epsilon.
    """
    kept: list[Tensor] = []
    found = drawn = idle = 0
    while found < n:
        images = draw(drawn, min(_BLOCK, n - found))
        drawn += len(images)
        new = [i for i, image in enumerate(images.numpy()) if _is_new(image, seen)]
        kept.append(images[new])
        found += len(new)
        phase.advance(len(new))
        idle = 0 if new else idle + 1
        if idle == _ATTEMPTS:
            raise ValueError(f"Expected {n} different images from the source {name!r}, found only {found}.")
    return torch.cat(kept)


def _is_new(image: np.ndarray, seen: set[bytes]) -> bool:
    """Remembers the image, and says whether it was unknown. 128 bits: a false repeat is not to be met."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    known = digest in seen
    seen.add(digest)
    return not known
