"""The release of the teacher's answers: each distinct image is answered once, stage after stage, and never again."""

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
from torch import Tensor

import labeldp
from distill.checkpoint import UNSAVED, Saved
from distill.claim import CHECKPOINTS, PRIVATE
from distill.config import Config
from distill.durable import SHARED, replacing, write_text
from distill.label_schemes import label_scheme, without_noise
from distill.pool import Pool, distinct_items
from distill.student import student_prior
from distill.train import Progress
from distill.usage import UsageError
from labeldp import Mechanism, NoisyLabels, SeededSource
from labeldp.learning.stages import StagedLabels, split

_POOL = CHECKPOINTS / "labelled_pool"


def noisy_answers(
    config: Config,
    pool: Pool,
    secret: np.ndarray,
    *,
    num_classes: int,
    progress: Progress,
    saved: Saved = UNSAVED,
    folder: Path | None = None,
) -> StagedLabels:
    """Releases one noisy label for the answer to each distinct image, the student of earlier stages being the prior.

    Images that are equal share the one answer of the first of them: a second one would cost epsilon again.

    Args:
        secret: (n,) the teacher's answers, each used once.
        folder: run directory that remembers what was released; None forgets.

    Raises:
        UsageError: noisy labels in the run directory that are damaged or about something else.

    Privacy: epsilon-DP for each answer, given the pool: the pool is split publicly, and the prior of a stage is made from the pool
        and from earlier noisy labels. What was released is on the disk before anything looks at it, and is read from there ever
        after: an interrupted run asks no answer twice. Stages "clean" are private to nobody.
    """
    items = distinct_items(pool.images)
    scheme = label_scheme(config.privacy.stages, epsilon=config.privacy.epsilon, num_classes=num_classes)
    if not scheme.stages:
        return without_noise(secret, items, num_classes=num_classes)
    if folder is not None:
        _bind_to_pool(folder, pool.images)
    released = StagedLabels((), ())
    parts = split(len(items), scheme.stages, seed=config.seed)
    for number, (stage, part) in enumerate(zip(scheme.stages, parts, strict=True), start=1):
        numbers = items[part]

        def draw(
            mechanism: Mechanism = stage.mechanism,
            numbers: np.ndarray = numbers,
            number: int = number,
            earlier: StagedLabels = released,
        ) -> NoisyLabels:
            prior = student_prior(config, scheme, pool.images, earlier, numbers, progress, saved)
            return labeldp.privatize(
                mechanism, secret[numbers], prior=prior, source=_noise(config, stage=number)
            )

        noisy = draw() if folder is None else _once(folder, number, stage.mechanism, len(numbers), draw)
        released = StagedLabels((*released.items, numbers), (*released.parts, noisy))
    return released


def noisy_labels_file(folder: Path, stage: int) -> Path:
    """Where the noisy labels of a stage lie in a run directory; the first stage is 1."""
    return folder / "release" / f"noisy_labels_{stage}.npz"


def _once(
    folder: Path, stage: int, mechanism: Mechanism, num_items: int, draw: Callable[[], NoisyLabels]
) -> NoisyLabels:
    """The noisy labels of a stage: drawn if they never were, and in any case as they lie on the disk.

    A kill between the draw and the last byte on the disk loses labels that nobody has seen: not the student, which reads the
    finished file, and not a reader of release/, where the file appears in one step (its draft is private, and removed). Drawing
    again is then the first release. Once the file has its name, somebody may have seen it, and it is never drawn again, not even
    when it is damaged.
    """
    path = noisy_labels_file(folder, stage)
    if not path.is_file():
        path.parent.mkdir(exist_ok=True)
        noisy = draw()
        with replacing(path, mode=SHARED, drafts=folder / PRIVATE) as draft:
            noisy.save(draft)
    try:
        noisy = NoisyLabels.load(path)
    except ValueError as error:
        raise UsageError(
            f"{error}. They may have been seen, so they are not drawn again; start a new run."
        ) from None
    if noisy.mechanism != mechanism or len(noisy) != num_items:
        raise UsageError(
            f"Expected noisy labels of {num_items} items by {mechanism} in {path}, got {noisy}; start a new run."
        )
    return noisy


def _noise(config: Config, *, stage: int) -> SeededSource | None:
    """Where the noise of a stage comes from: fresh and secret, or for experiments a stream of its own for each seed and stage.

    One stream for all stages would go on elsewhere in a run that is resumed after the first.
    """
    if config.privacy.source == "system":
        return None
    digest = hashlib.sha256(f"{config.seed}/noise of stage {stage}".encode()).digest()
    return SeededSource(int.from_bytes(digest[:8], "big"))


def _bind_to_pool(folder: Path, images: Tensor) -> None:
    """Remembers which images the labels are about, and refuses others: a label must not be taken for that of another image."""
    digest = hashlib.blake2b(f"{tuple(images.shape)}".encode(), digest_size=32)
    digest.update(images.contiguous().numpy().data)
    path = folder / _POOL
    known = path.read_text(encoding="ascii") if path.is_file() else None
    if known is None and not noisy_labels_file(folder, 1).exists():
        write_text(path, digest.hexdigest())
    elif known != digest.hexdigest():
        raise UsageError(
            f"Expected the pool that the noisy labels in {folder / 'release'} were released about, got another (its checkpoint is gone, "
            f"and making it again gave other images); start a new run."
        )
