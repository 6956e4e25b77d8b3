"""The synthetic pool: the images the teacher is asked about, from several sources mixed by weight."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distill import config
from distill.generator import as_bytes, refine, trajectory
from distill.noise import noise
from distill.procedural import shapes
from distill.randomness import stream
from distill.strokes import strokes
from distill.train import Phase, Progress, pixels

_ATTEMPTS = 10
_BLOCK = 4096
_CHUNK = 512  # images drawn at once, so that what is in work stays in the processor's cache

Shape = tuple[int, int, int]
Draw = Callable[[int, int], Tensor]
"""Takes how many images were drawn before and how many are wanted; returns them as bytes."""

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


@dataclass(frozen=True)
class Pool:
    """Images in random order, no two alike, so that each query is asked once; an image's number is its place.

    Attributes:
        images: (n, C, H, W) uint8; `distill.train.pixels` turns them into floats.
        origin: (n,) index into `sources` of where each image comes from.
        sources: names of the sources.
        made_with_teacher: whether any image depends on the teacher, and so on the private data.
        rows_per_bank_image: (m,) how many images vary each of the m images that the generator made, in no order; a mix of
            two counts for the one that prevails. Such rows are near-duplicates: asking about them asks nearly the same question several times.
    """

    images: Tensor
    origin: np.ndarray
    sources: tuple[str, ...]
    made_with_teacher: bool
    rows_per_bank_image: np.ndarray


def build_pool(
    teacher: nn.Module,
    settings: config.Pool,
    generator_settings: config.Generator,
    *,
    shape: Shape,
    num_classes: int,
    seed: int,
    progress: Progress,
) -> Pool:
    """Makes the pool; the teacher is looked at only by the sources "trajectory" and "refined".

    Classes are balanced without a label: the generator is asked for all alike, refined images are moved towards classes
    drawn at random, and the other sources know of none.

    Privacy: a pool made with the teacher depends on the private data, and no mechanism covers it. A pool made
    without it says nothing of the data.

    Raises:
        ValueError: if a source cannot make enough different images.
    """
    counts = _counts(settings)
    device = next(teacher.parameters()).device
    draws: dict[str, Draw] = {
        name: _independent(name, settings, shape, stream(seed, f"pool {name}", device))
        for name in INDEPENDENT
    }
    bank = torch.empty((0, *shape), dtype=torch.uint8)
    if counts["trajectory"]:
        bank = trajectory(teacher, generator_settings, shape=shape, seed=seed, progress=progress)
        draws["trajectory"] = _variations(bank, settings, stream(seed, "pool trajectory"))
    if counts["refined"]:
        draws["refined"] = _refined(teacher, settings, shape, num_classes, seed)
    seen: set[bytes] = set()
    with progress.phase("pool", total=settings.size) as phase:
        parts = {name: _distinct(name, draws[name], n, seen, phase) for name, n in counts.items() if n}
    order = torch.randperm(settings.size, generator=stream(seed, "pool order"))
    origin = np.repeat(np.arange(len(SOURCES)), [counts[name] for name in SOURCES])
    walked = parts["trajectory"][1] % len(bank) if counts["trajectory"] else np.zeros(0, dtype=np.int64)
    return Pool(
        images=torch.cat([images for images, _ in parts.values()])[order],
        origin=origin[order.numpy()],
        sources=SOURCES,
        made_with_teacher=any(counts[name] for name in WITH_TEACHER),
        rows_per_bank_image=np.bincount(walked, minlength=len(bank)),
    )


def _counts(settings: config.Pool) -> dict[str, int]:
    """Divides the pool by the weights of its sources; the largest remainders get what is left."""
    weights = np.array([settings.weights[name] for name in SOURCES])
    exact = settings.size * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: settings.size - whole.sum()]] += 1
    return dict(zip(SOURCES, whole.tolist(), strict=True))


def _independent(name: str, settings: config.Pool, shape: Shape, generator: torch.Generator) -> Draw:
    draw = INDEPENDENT[name]

    def draw_bytes(_: int, n: int) -> Tensor:
        sizes = [min(_CHUNK, n - start) for start in range(0, n, _CHUNK)] or [0]
        return torch.cat([as_bytes(draw(size, shape, settings, generator)) for size in sizes])

    return draw_bytes


def _variations(bank: Tensor, settings: config.Pool, generator: torch.Generator) -> Draw:
    """Walks through the bank in random order, again and again; some images are mixed, all get pixel noise."""
    order = torch.randperm(len(bank), generator=generator)

    def draw(before: int, n: int) -> Tensor:
        images = pixels(bank[order[torch.arange(before, before + n) % len(bank)]])
        if settings.mixed:
            other = bank[torch.randint(len(bank), (n,), generator=generator)]
            share = torch.rand((n, 1, 1, 1), generator=generator) / 2  # the chosen one prevails
            mixed = torch.rand((n, 1, 1, 1), generator=generator) < settings.mixed
            images = torch.where(mixed, torch.lerp(images, pixels(other), share), images)
        if settings.pixel_noise:
            deviation = settings.pixel_noise * torch.rand((n, 1, 1, 1), generator=generator)
            images = images + deviation * torch.randn(images.shape, generator=generator)
        return as_bytes(images)

    return draw


def _refined(teacher: nn.Module, settings: config.Pool, shape: Shape, num_classes: int, seed: int) -> Draw:
    """Starts from images of the independent sources in proportion to their weights; from shapes if they have none."""
    weights = {name: settings.weights[name] for name in INDEPENDENT}
    if not any(weights.values()):
        weights["procedural"] = 1.0
    device = next(teacher.parameters()).device
    rough = {
        name: _independent(name, settings, shape, stream(seed, f"pool refined {name}", device))
        for name, weight in weights.items()
        if weight
    }
    ends = torch.tensor([weights[name] for name in rough]).cumsum(0)
    goals = stream(seed, "pool goals")

    def draw(before: int, n: int) -> Tensor:
        kinds = torch.bucketize(torch.rand(n, generator=goals) * ends[-1], ends[:-1])
        starts = [rough[name](before, int((kinds == kind).sum())) for kind, name in enumerate(rough)]
        images = torch.cat(starts)[kinds.argsort(stable=True).argsort()]
        return refine(
            teacher,
            images,
            num_classes=num_classes,
            steps=settings.refinement_steps,
            batch_norm=settings.refinement_batch_norm,
            smoothing=settings.refinement_smoothing,
            generator=goals,
        )

    return draw


def _distinct(name: str, draw: Draw, n: int, seen: set[bytes], phase: Phase) -> tuple[Tensor, np.ndarray]:
    """Draws until there are n images unlike each other and those seen before; returns them, and which draws they were.

    Comparing images is public; asking the same one twice would answer it with twice the epsilon.
    """
    kept: list[Tensor] = []
    positions: list[int] = []
    drawn = idle = 0
    while len(positions) < n:
        images = draw(drawn, min(_BLOCK, n - len(positions))).cpu()
        new = [i for i, image in enumerate(images.numpy()) if _is_new(image, seen)]
        kept.append(images[new])
        positions += [drawn + i for i in new]
        drawn += len(images)
        phase.advance(len(new))
        idle = 0 if new else idle + 1
        if idle == _ATTEMPTS:
            raise ValueError(
                f"Expected {n} different images from the source {name!r}, found only {len(positions)}."
            )
    return torch.cat(kept), np.array(positions, dtype=np.int64)


def _is_new(image: np.ndarray, seen: set[bytes]) -> bool:
    """Remembers the image, and says whether it was unknown. 128 bits: a false repeat is not to be met."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    known = digest in seen
    seen.add(digest)
    return not known
