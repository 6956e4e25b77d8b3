"""The release of the teacher's answers: each distinct image is answered once, stage after stage, and never again."""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec
import numpy as np
from torch import Tensor

import labeldp
from distill.checkpoint import UNSAVED, Saved
from distill.claim import PRIVATE, refuse_changes
from distill.config import Config
from distill.durable import SHARED, replacing, write_text
from distill.label_schemes import label_scheme, without_noise
from distill.pool import Pool, distinct_items
from distill.student import student_prior
from distill.train import Progress
from distill.usage import UsageError
from labeldp import Mechanism, NoisyLabels, SeededSource
from labeldp.learning.stages import StagedLabels, split

_ABOUT = Path(PRIVATE) / "labelled.json"


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
        and from earlier noisy labels. What was released is on the disk, in private/, before anything looks at it, and is read from
        there ever after: an interrupted run asks no answer twice, whatever became of the files in release/. Stages "clean" are
        private to nobody.
    """
    items = distinct_items(pool.images)
    scheme = label_scheme(config.privacy.stages, epsilon=config.privacy.epsilon, num_classes=num_classes)
    if not scheme.stages:
        return without_noise(secret, items, num_classes=num_classes)
    released = StagedLabels((), ())
    parts = split(len(items), scheme.stages, seed=config.seed)
    if folder is not None:
        _bind(folder, config, pool.images, [items[part] for part in parts])
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


def kept_labels_file(folder: Path, stage: int) -> Path:
    """Where the data holder's copy of them lies, which is there first."""
    return folder / PRIVATE / f"noisy_labels_{stage}.npz"


def _once(
    folder: Path, stage: int, mechanism: Mechanism, num_items: int, draw: Callable[[], NoisyLabels]
) -> NoisyLabels:
    """The noisy labels of a stage: drawn if they never were, and in any case as they lie on the disk.

    A kill between the draw and the last byte of the private copy loses labels that nobody has seen, neither a student nor a reader of
    release/; drawing again is then the first release. Once the copy has its name it is the memory: whatever is moved out of release/,
    published or lost, comes from there, and nothing is ever drawn again, not even when it is damaged.
    """
    kept, public = kept_labels_file(folder, stage), noisy_labels_file(folder, stage)
    if not kept.is_file():
        if public.exists():
            raise UsageError(
                f"Expected the copy {kept} of {public}, found none. Labels that may have been seen are not drawn again; start a new run."
            )
        noisy = draw()
        with replacing(kept) as draft:
            noisy.save(draft)
    if not public.exists():
        public.parent.mkdir(exist_ok=True)
        with replacing(public, mode=SHARED, drafts=folder / PRIVATE) as draft:
            shutil.copyfile(kept, draft)
    if public.read_bytes() != kept.read_bytes():
        raise UsageError(
            f"Expected in {public} the noisy labels as they were released, got others or damaged ones. They may have been seen, so they are "
            f"not drawn again; move that file away, and the run brings it back from {kept}."
        )
    try:
        noisy = NoisyLabels.load(kept)
    except ValueError as error:
        raise UsageError(
            f"{error}. They may have been seen, so they are not drawn again; start a new run."
        ) from None
    if noisy.mechanism != mechanism or len(noisy) != num_items:
        raise UsageError(
            f"Expected noisy labels of {num_items} items by {mechanism} in {kept}, got {noisy}; start a new run."
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


def _bind(folder: Path, config: Config, images: Tensor, parts: Sequence[np.ndarray]) -> None:
    """Remembers what the labels are about (images, which of them each stage answers, configuration), and refuses anything else.

    A label must not be taken for that of another image, and an item of one stage must not be answered again in another.
    """
    digest = hashlib.blake2b(f"{tuple(images.shape)} {[*map(len, parts)]}".encode(), digest_size=32)
    for content in (images.contiguous().numpy(), *parts):
        digest.update(content.data)
    about = {"configuration": msgspec.to_builtins(config), "digest": digest.hexdigest()}
    path = folder / _ABOUT
    if path.is_file():
        known = json.loads(path.read_text(encoding="utf-8"))
        refuse_changes(config, known["configuration"], source=str(path))
        same = known["digest"] == about["digest"]
    else:
        same = not any(file(folder, 1).exists() for file in (kept_labels_file, noisy_labels_file))
        if same:
            write_text(path, json.dumps(about))
    if not same:
        raise UsageError(
            f"Expected the pool that the noisy labels in {folder / 'release'} were released about, got another (its checkpoint is gone, "
            f"and making it again gave other images); start a new run."
        )
