"""The synthetic pool: the images the teacher is asked about, from several sources."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor, nn

from distill import config, procedural
from distill.checkpoint import UNSAVED, Checkpoint, Saved, State
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
        rows_per_bank_image: (m,) how many images vary each of the m images that the generator made; a mix of two counts for the
            first. Noise makes such rows different, but they are near-duplicates: their answers tell of one another.
    """

    images: Tensor
    origin: np.ndarray
    sources: tuple[str, ...]
    made_with_teacher: bool
    rows_per_bank_image: np.ndarray = field(default_factory=lambda: np.zeros(0, dtype=np.int64))


def build_pool(
    teacher: nn.Module,
    settings: config.Pool,
    generator_settings: config.Generator,
    *,
    shape: tuple[int, int, int],
    num_classes: int,
    seed: int,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> Pool:
    """Makes the pool; the teacher is looked at only by the sources "trajectory" and "refined".

    Privacy: a pool made with the teacher depends on the private data, and no mechanism covers it. A pool made
    without it says nothing of the data.

    Raises:
        ValueError: if a source cannot make enough different images.
    """
    checkpoint = saved.phase("pool")
    state = checkpoint.restored()
    if state is not None and "images" in state:
        return from_tensors(state["images"], state["made_with_teacher"])
    counts = _counts(settings)
    streams = {name: stream(seed, f"pool {name}") for name in (*SOURCES, "goals")}
    draws: dict[str, Draw] = {}
    bank = torch.empty((0, *shape), dtype=torch.uint8)
    if counts["trajectory"]:
        bank = trajectory(teacher, generator_settings, shape=shape, seed=seed, progress=progress, saved=saved)
        draws["trajectory"] = _variations(bank, settings, streams["trajectory"])
    draws["procedural"] = _procedural(settings, shape, streams["procedural"])
    rough = _procedural(settings, shape, streams["refined"])
    draws["refined"] = _refined(teacher, settings, num_classes, rough, streams["goals"])
    growth = _Growth(streams)
    if state is not None:
        growth.put_back(state)
    with progress.phase("pool", total=settings.size) as phase:
        if growth.size:
            phase.advance(growth.size)
        for name, n in ((name, n) for name, n in counts.items() if n):
            _grow(growth, name, draws[name], n, phase, checkpoint)
    order = torch.randperm(settings.size, generator=stream(seed, "pool order"))
    origin = np.repeat(np.arange(len(SOURCES)), list(counts.values()))
    walked = torch.tensor(growth.positions["trajectory"], dtype=torch.int64) % max(1, len(bank))
    pool = Pool(
        images=torch.cat([part for name in SOURCES for part in growth.parts[name]])[order],
        origin=origin[order.numpy()],
        sources=SOURCES,
        made_with_teacher=counts["trajectory"] + counts["refined"] > 0,
        rows_per_bank_image=torch.bincount(walked, minlength=len(bank)).numpy(),
    )
    checkpoint.finish({"images": to_tensors(pool), "made_with_teacher": pool.made_with_teacher})
    return pool


def to_tensors(pool: Pool) -> dict[str, Tensor]:
    """The pool as tensors to be stored."""
    return {
        "images": pool.images,
        "origin": torch.from_numpy(pool.origin),
        "rows_per_bank_image": torch.from_numpy(pool.rows_per_bank_image),
    }


def from_tensors(tensors: Mapping[str, Tensor], made_with_teacher: bool) -> Pool:
    """The pool of such tensors."""
    return Pool(
        images=tensors["images"],
        origin=tensors["origin"].numpy(),
        sources=SOURCES,
        made_with_teacher=made_with_teacher,
        rows_per_bank_image=tensors["rows_per_bank_image"].numpy(),
    )


def distinct_items(images: Tensor) -> np.ndarray:
    """The numbers of the first of each group of equal images, increasing; (m,) int64. It looks at no answer."""
    seen: set[bytes] = set()
    return np.array([i for i, image in enumerate(images.numpy()) if _is_new(image, seen)], dtype=np.int64)


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


class _Growth:
    """A pool while it grows: the images of each source, where in its draws they stood, and the draws to come."""

    def __init__(self, streams: Mapping[str, torch.Generator]) -> None:
        self.streams = streams
        self.parts: dict[str, list[Tensor]] = {name: [] for name in SOURCES}
        self.positions: dict[str, list[int]] = {name: [] for name in SOURCES}
        self.drawn: dict[str, int] = dict.fromkeys(SOURCES, 0)
        self.seen: set[bytes] = set()

    @property
    def size(self) -> int:
        return sum(map(len, self.positions.values()))

    def state(self) -> State:
        return {
            "streams": {name: source.get_state() for name, source in self.streams.items()},
            "parts": self.parts,
            "positions": {
                name: torch.tensor(numbers, dtype=torch.int64) for name, numbers in self.positions.items()
            },
            "drawn": self.drawn,
        }

    def put_back(self, state: State) -> None:
        for name, source in self.streams.items():
            source.set_state(state["streams"][name])
        self.parts, self.drawn = state["parts"], state["drawn"]
        self.positions = {name: numbers.tolist() for name, numbers in state["positions"].items()}
        for parts in self.parts.values():
            for image in (image for part in parts for image in part.numpy()):
                _is_new(image, self.seen)


def _grow(growth: _Growth, name: str, draw: Draw, n: int, phase: Phase, checkpoint: Checkpoint) -> None:
    """Draws until the source has given n images unlike each other and those of other sources.

    Comparing images is public; asking the same one twice would answer it with twice the epsilon.
    """
    positions, idle = growth.positions[name], 0
    while len(positions) < n:
        checkpoint.offer(growth.state)
        start = growth.drawn[name]
        images = draw(start, min(_BLOCK, n - len(positions)))
        growth.drawn[name] += len(images)
        new = [i for i, image in enumerate(images.numpy()) if _is_new(image, growth.seen)]
        growth.parts[name].append(images[new])
        positions += [start + i for i in new]
        phase.advance(len(new))
        idle = 0 if new else idle + 1
        if idle == _ATTEMPTS:
            raise ValueError(
                f"Expected {n} different images from the source {name!r}, found only {len(positions)}."
            )


def _is_new(image: np.ndarray, seen: set[bytes]) -> bool:
    """Remembers the image, and says whether it was unknown. 128 bits: a false repeat is not to be met."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    known = digest in seen
    seen.add(digest)
    return not known
