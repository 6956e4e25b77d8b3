"""The synthetic pool: the images the teacher is asked about, from several sources mixed by weight."""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from distill import config
from distill.checkpoint import UNSAVED, Checkpoint, Saved, State
from distill.generator import trajectory
from distill.randomness import stream
from distill.sources import INDEPENDENT, SOURCES, WITH_TEACHER, Draw, Shape, independent, refined, variations
from distill.train import Phase, Progress, device_of

_ATTEMPTS = 10
_BLOCK = 4096


@dataclass(frozen=True)
class Pool:
    """Images in random order, no two alike, so that each query is asked once; an image's number is its place.

    Attributes:
        images: (n, C, H, W) uint8; `distill.train.pixels` turns them into floats.
        origin: (n,) index into `sources` of where each image comes from.
        sources: names of the sources.
        made_with_teacher: whether any image depends on the teacher, and so on the private data.
        bank: (n,) number of the generator's image of which this one is a variation; -1 for other sources. Images with
            one number are near-duplicates: asking about them asks nearly the same question several times.
    """

    images: Tensor
    origin: np.ndarray
    sources: tuple[str, ...]
    made_with_teacher: bool
    bank: np.ndarray


def build_pool(
    teacher: nn.Module,
    settings: config.Pool,
    generator_settings: config.Generator,
    *,
    shape: Shape,
    num_classes: int,
    seed: int,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> Pool:
    """Makes the pool; the teacher is looked at only by the sources "trajectory" and "refined".

    Classes are balanced without a label: the generator is asked for all alike, refined images are moved towards classes
    drawn at random, and the other sources know of none.

    Privacy: a pool made with the teacher depends on the private data, and no mechanism covers it. A pool made
    without it says nothing of the data.

    Raises:
        ValueError: if a source cannot make enough different images.
    """
    checkpoint = saved.phase("pool")
    state = checkpoint.state
    if state is not None and checkpoint.step == settings.size:
        return from_tensors(state["pool"], state["made_with_teacher"])
    counts = _counts(settings)
    device = device_of(teacher)
    growth = _Growth(seed)
    draws: dict[str, Draw] = {
        name: independent(name, settings, shape, growth.stream(f"pool {name}", device))
        for name in INDEPENDENT
    }
    if counts["trajectory"]:
        made = trajectory(teacher, generator_settings, shape=shape, seed=seed, progress=progress, saved=saved)
        draws["trajectory"] = variations(made, settings, growth.stream("pool trajectory"))
    if counts["refined"]:
        draws["refined"] = refined(teacher, settings, shape, num_classes, growth.stream)
    if state is not None:
        growth.put_back(state)
    shown = progress.phase("pool", settings.size, start=checkpoint.step, spent=checkpoint.spent)
    with shown as phase:
        for name in SOURCES:
            _grow(growth, name, draws.get(name), counts[name], phase, checkpoint)
    order = torch.randperm(settings.size, generator=stream(seed, "pool order"))
    origin = np.repeat(np.arange(len(SOURCES)), [counts[name] for name in SOURCES])
    pool = Pool(
        images=torch.cat([images for name in SOURCES for images, _ in growth.parts[name]])[order],
        origin=origin[order.numpy()],
        sources=SOURCES,
        made_with_teacher=any(counts[name] for name in WITH_TEACHER),
        bank=torch.cat([bank for name in SOURCES for _, bank in growth.parts[name]])[order].numpy(),
    )
    checkpoint.finish(
        {"step": settings.size, "pool": to_tensors(pool), "made_with_teacher": pool.made_with_teacher}
    )
    return pool


def to_tensors(pool: Pool) -> dict[str, Tensor]:
    """The pool as tensors to be stored."""
    return {
        "images": pool.images,
        "origin": torch.from_numpy(pool.origin),
        "bank": torch.from_numpy(pool.bank),
    }


def from_tensors(tensors: Mapping[str, Tensor], made_with_teacher: bool) -> Pool:
    """The pool of such tensors."""
    return Pool(
        images=tensors["images"],
        origin=tensors["origin"].numpy(),
        sources=SOURCES,
        made_with_teacher=made_with_teacher,
        bank=tensors["bank"].numpy(),
    )


def distinct_items(images: Tensor) -> np.ndarray:
    """The numbers of the first of each group of equal images, increasing; (m,) int64. It looks at no answer."""
    seen: set[bytes] = set()
    return np.array([i for i, image in enumerate(images.numpy()) if _is_new(image, seen)], dtype=np.int64)


def _counts(settings: config.Pool) -> dict[str, int]:
    """Divides the pool by the weights of its sources; the largest remainders get what is left."""
    weights = np.array([settings.weights[name] for name in SOURCES])
    exact = settings.size * weights / weights.sum()
    whole = np.floor(exact).astype(int)
    whole[np.argsort(whole - exact, kind="stable")[: settings.size - whole.sum()]] += 1
    return dict(zip(SOURCES, whole.tolist(), strict=True))


class _Growth:
    """A pool while it grows: what each source has given so far, and the streams of what it will give."""

    def __init__(self, seed: int) -> None:
        self._seed = seed
        self._streams: dict[str, torch.Generator] = {}
        self.parts: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in SOURCES}
        self.drawn: dict[str, int] = dict.fromkeys(SOURCES, 0)
        self.seen: set[bytes] = set()

    def stream(self, name: str, device: torch.device | str = "cpu") -> torch.Generator:
        """A stream whose place is kept."""
        self._streams[name] = stream(self._seed, name, device)
        return self._streams[name]

    def found(self, name: str) -> int:
        """How many different images a source has given."""
        return sum(len(images) for images, _ in self.parts[name])

    def state(self) -> State:
        return {
            "step": sum(map(self.found, SOURCES)),
            "streams": {name: source.get_state() for name, source in self._streams.items()},
            "parts": self.parts,
            "drawn": self.drawn,
        }

    def put_back(self, state: State) -> None:
        for name, source in self._streams.items():
            source.set_state(state["streams"][name])
        self.parts, self.drawn = state["parts"], state["drawn"]
        for images in (images for parts in self.parts.values() for images, _ in parts):
            for image in images.numpy():
                _is_new(image, self.seen)


def _grow(
    growth: _Growth, name: str, draw: Draw | None, n: int, phase: Phase, checkpoint: Checkpoint
) -> None:
    """Draws until there are n images unlike each other and those of other sources.

    Comparing images is public; asking the same one twice would answer it with twice the epsilon.
    """
    idle = 0
    while (found := growth.found(name)) < n:
        assert draw is not None
        checkpoint.offer(growth.state)
        images, bank = draw(growth.drawn[name], min(_BLOCK, n - found))
        images = images.cpu()
        growth.drawn[name] += len(images)
        new = [i for i, image in enumerate(images.numpy()) if _is_new(image, growth.seen)]
        bank = torch.full((len(images),), -1) if bank is None else bank
        growth.parts[name].append((images[new], bank[new]))
        phase.advance(len(new))
        idle = 0 if new else idle + 1
        if idle == _ATTEMPTS:
            raise ValueError(f"Expected {n} different images from the source {name!r}, found only {found}.")


def _is_new(image: np.ndarray, seen: set[bytes]) -> bool:
    """Remembers the image, and says whether it was unknown. 128 bits: a false repeat is not to be met."""
    digest = hashlib.blake2b(image.tobytes(), digest_size=16).digest()
    known = digest in seen
    seen.add(digest)
    return not known
