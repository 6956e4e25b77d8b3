"""The start of a run, before anything heavy is imported: one process takes a directory, and the configuration is there first."""

import contextlib
import fcntl
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from distill.config import Config
from distill.config_file import flat, load_config, to_toml
from distill.durable import PARTIAL, SHARED, explained, remove_drafts, write_text
from distill.reuse import with_reused
from distill.usage import UsageError

CONFIG = "config.toml"
REPORT = "report.json"  # written last: a run that has it is finished
PRIVATE = "private"
CHECKPOINTS = Path(PRIVATE) / "checkpoints"
_LOCK = CHECKPOINTS / "lock"


@dataclass(frozen=True)
class Claim:
    """A run directory that this process alone may write to.

    Attributes:
        folder: the directory; private/ and private/checkpoints/ are there, for their owner only.
        config: the configuration of the run.
    """

    folder: Path
    config: Config

    @property
    def finished(self) -> bool:
        """Whether nothing is left to do."""
        return (self.folder / REPORT).is_file()


@contextmanager
def started(folder: Path, config: Config, *, replace: bool = False) -> Iterator[Claim]:
    """Takes a new or empty directory for a run. What is not a run is never deleted.

    Raises:
        UsageError: the directory is in use and may not be replaced, or is no run; another process is at work in it.
    """
    config = with_reused(config)
    if _in_use(folder):
        _clear(folder, replace=replace)
    with _locked(folder):
        if (folder / CONFIG).exists():  # another process was faster
            raise _used(folder)
        write_text(folder / CONFIG, to_toml(config), mode=SHARED)
        try:
            yield Claim(folder, config)
        except UsageError:  # a request that cannot be met leaves nothing that would have to be resumed
            if not any(path.suffix == ".safetensors" for path in (folder / PRIVATE).rglob("*")):
                _forget(folder)
            raise


@contextmanager
def resumed(folder: Path, config: Config | None = None) -> Iterator[Claim]:
    """Takes the directory of a run that was interrupted, at whatever moment; one killed before its first checkpoint starts.

    Args:
        folder: the run directory.
        config: what the caller believes to be its configuration; None takes what is written there.

    Raises:
        UsageError: no run, another process at work in it, or another configuration; the message names the keys.
    """
    if not (folder / CONFIG).is_file():
        raise UsageError(
            f"Expected a run in {folder}, found no {CONFIG}; start one with labeldp distill CONFIG."
        )
    with _locked(folder):
        written = load_config(folder / CONFIG)
        if config is not None:
            refuse_changes(with_reused(config), written, source=str(folder / CONFIG))
        for place in (folder, folder / PRIVATE, folder / CHECKPOINTS):
            remove_drafts(place)
        yield Claim(folder, written)


def refuse_changes(config: Config | dict[str, Any], earlier: Config | dict[str, Any], *, source: str) -> None:
    """Raises UsageError if two configurations differ; the message names the keys."""
    ours, theirs = flat(msgspec.to_builtins(config)), flat(msgspec.to_builtins(earlier))
    keys = [key for key in ours | theirs if ours.get(key) != theirs.get(key)]
    if keys:
        changes = ", ".join(f"{key} ({theirs.get(key)!r} there, {ours.get(key)!r} now)" for key in keys)
        raise UsageError(
            f"Expected the configuration that the run began with, in {source}, got another: {changes}. Undo that, or start a new run."
        )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Holds the lock of a run; the operating system lets go of it when the process dies, however it dies.

    On leaving a finished run its checkpoints, and with them the lock, are removed.
    """
    try:
        (folder / CHECKPOINTS).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise explained(error, folder) from error
    for place in (folder / PRIVATE, folder / CHECKPOINTS):
        place.chmod(0o700)
    with (folder / _LOCK).open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Expected nobody else at work in {folder}, but another process is.") from None
        try:
            yield
        finally:
            if (folder / REPORT).is_file():
                shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _in_use(folder: Path) -> bool:
    """Whether a directory holds more than a process that was killed in its first moment may have left."""
    if not folder.exists():
        return False
    if not folder.is_dir():
        return True
    ours = {folder / PRIVATE, folder / CHECKPOINTS, folder / _LOCK, folder / f".{CONFIG}{PARTIAL}"}
    return any(path not in ours for path in folder.iterdir()) or any(
        path not in ours for path in (folder / PRIVATE).rglob("*")
    )


def _used(folder: Path) -> UsageError:
    if (folder / REPORT).is_file():
        return UsageError(
            f"Expected a new or empty directory for the run, got {folder}, which holds a finished one; choose another with --out."
        )
    return UsageError(
        f"Expected a new or empty directory for the run, got {folder}; choose another with --out, or, if it is an interrupted run, go "
        f"on with it: labeldp distill --resume {folder}"
    )


def _clear(folder: Path, *, replace: bool) -> None:
    if not replace:
        raise _used(folder)
    if not (folder / CONFIG).is_file():
        raise UsageError(f"Expected an earlier run or nothing in {folder}, got something else; move it away.")
    with _locked(folder):
        pass  # nobody is at work in it
    shutil.rmtree(folder)


def _forget(folder: Path) -> None:
    """Takes back the beginnings of a run; the directory stays if there is anything else in it."""
    (folder / CONFIG).unlink(missing_ok=True)
    (folder / "metrics.jsonl").unlink(missing_ok=True)
    shutil.rmtree(folder / PRIVATE)
    with contextlib.suppress(OSError):
        folder.rmdir()
