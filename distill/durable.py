"""Files that are there whole or not at all, also after a kill, a full disk or a power cut."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PARTIAL = ".partial"
OWNER_ONLY = 0o600
SHARED = 0o666  # less what the user's umask takes away


@contextmanager
def replacing(path: Path, *, mode: int = OWNER_ONLY, drafts: Path | None = None) -> Iterator[Path]:
    """Lends a new file to write to; on leaving, its content is on the disk and then, in one step, at `path`.

    Whatever goes wrong before that step leaves at `path` what was there. A draft that a kill left behind ends in `.partial`.

    Args:
        path: where the file will be.
        mode: permissions of the file.
        drafts: directory of the same file system to write in; the file's own by default.

    Raises:
        OSError: it could not be written; one line says which file and how to go on.
    """
    draft = (drafts or path.parent) / f".{path.name}{PARTIAL}"
    try:
        draft.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_CREAT | os.O_EXCL | os.O_WRONLY, mode))
        yield draft
        _flush(draft)
        draft.replace(path)
        _flush(path.parent)  # the name itself
    except BaseException as error:
        draft.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise explained(error, path) from error
        raise


def write_bytes(path: Path, content: bytes, *, mode: int = OWNER_ONLY) -> None:
    """Writes a file as `replacing` does."""
    with replacing(path, mode=mode) as draft, draft.open("wb", buffering=0) as file:
        left = memoryview(content)
        while left:
            left = left[os.write(file.fileno(), left) :]


def write_text(path: Path, text: str, *, mode: int = OWNER_ONLY) -> None:
    """Writes a text file as `replacing` does."""
    write_bytes(path, text.encode(), mode=mode)


def remove_drafts(folder: Path) -> None:
    """Removes what a kill left half written in a directory."""
    for draft in folder.glob(f".*{PARTIAL}"):
        draft.unlink()


def _flush(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def explained(error: OSError, path: Path) -> OSError:
    """The error of a file that could not be written, with what to do about it."""
    match error.errno:
        case errno.ENOENT | errno.ENOTDIR:
            advice = f"there is no directory {path.parent}; make it, or choose another place"
        case errno.EACCES | errno.EPERM | errno.EROFS:
            advice = f"nobody may write to {path.parent}, or not you; change that, or choose another place"
        case _:
            advice = (
                "free some space or mend the disk, then do the same again (a run: labeldp distill --resume)"
            )
    text = f"{error.strerror or error}: could not write {path}. What was saved before is untouched; {advice}."
    told = OSError(text)
    told.errno = error.errno
    return told
