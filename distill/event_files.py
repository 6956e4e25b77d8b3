"""TensorBoard event files, where the package tensorboard is installed; elsewhere there are simply none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol

FLUSH_SECONDS = 10


class Writer(Protocol):
    """Whoever writes scalars."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


@contextmanager
def opened(folder: Path | None, phase: str) -> Iterator[Writer | None]:
    """A writer of one phase's event file, FOLDER/PHASE; None without a folder or without tensorboard.

    A phase that is gone on with later adds a second file there, which TensorBoard reads as one curve.
    """
    if folder is None:
        yield None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter  # here: few runs are watched this way
    except ImportError:
        yield None
        return
    folder.parent.mkdir(mode=0o700, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    place = folder / phase.replace(" ", "_")
    place.mkdir(mode=0o700, exist_ok=True)
    writer = SummaryWriter(str(place), flush_secs=FLUSH_SECONDS)
    for file in place.iterdir():
        file.chmod(0o600)  # losses on private data
    try:
        yield writer
    finally:
        writer.close()
