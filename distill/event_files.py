"""TensorBoard event files, where the package tensorboard is installed; elsewhere there are simply none."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

FLUSH_SECONDS = 10


class Writer(Protocol):
    """Whoever writes scalars."""

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None: ...


class _PhaseFile:
    """One phase's event file, which is there from its first scalar on: a phase without any leaves none."""

    def __init__(self, place: Path, make: Callable[..., Any]) -> None:
        self._place, self._make = place, make
        self._writer: Any = None

    def add_scalar(self, tag: str, scalar_value: float, global_step: int) -> None:
        if self._writer is None:
            for folder in (self._place.parent.parent, self._place.parent, self._place):
                folder.mkdir(mode=0o700, exist_ok=True)
            self._writer = self._make(str(self._place), flush_secs=FLUSH_SECONDS)
            for file in self._place.iterdir():
                file.chmod(0o600)  # losses on private data
        self._writer.add_scalar(tag, scalar_value, global_step)

    def close(self) -> None:
        if self._writer is not None:
            self._writer.close()


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
    file = _PhaseFile(folder / phase.replace(" ", "_"), SummaryWriter)
    try:
        yield file
    finally:
        file.close()
