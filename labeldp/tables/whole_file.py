"""Files that appear whole or not at all: written beside their place, seen by their owner alone, on the disk before they are named."""

import fcntl
import hashlib
import os
from collections.abc import Generator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path


@contextmanager
def whole_file(place: Path) -> Generator[BufferedRandom]:
    """A file that takes its name when the block is left without an error, and is gone otherwise.

    What a killed process left of it is overwritten. Two processes cannot write it at once.

    Raises:
        BlockingIOError: another process is writing it.
        FileNotFoundError, PermissionError, OSError: it cannot be written there.
    """
    partial = partial_name(place)
    with os.fdopen(_locked(partial, place), "w+b") as file:
        mode = os.fstat(file.fileno()).st_mode & 0o777
        try:
            os.fchmod(file.fileno(), 0o600)
            yield file
            file.flush()
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
            partial.replace(place)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
    sync_folder(place.parent)


def partial_name(place: Path) -> Path:
    """Where a file lies until it is whole."""
    return place.with_name(f".{place.name}.partial")


def sha256(path: Path) -> str:
    """The SHA-256 of a file's content, 64 hex digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_folder(folder: Path) -> None:
    """Puts the names in a folder on the disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _locked(partial: Path, place: Path) -> int:
    """An empty new file that this process alone holds; a lock ends with its process, however that ends."""
    if not place.parent.is_dir():
        raise FileNotFoundError(f"Expected a directory for {place.name}, found none at {place.parent}.")
    cleared = False
    while True:
        descriptor = os.open(partial, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            status, there = os.fstat(descriptor), _status(partial)
            if there is not None and os.path.samestat(status, there):
                if cleared:
                    return descriptor
                partial.unlink()  # what a killed process left, with its rights
                cleared = True
        except BlockingIOError:
            os.close(descriptor)
            raise BlockingIOError(
                f"Expected to be alone in writing {place}, another process is at it; let it end, or stop it."
            ) from None
        os.close(descriptor)


def _status(path: Path) -> os.stat_result | None:
    try:
        return path.lstat()
    except FileNotFoundError:
        return None
