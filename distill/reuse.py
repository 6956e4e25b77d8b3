"""Starting from another run's teacher and pool: `[pool] from = RUN`.

The answers to a pool may then be released several times, with fresh noise each time: that adds up, and the statement says so.
"""

import shutil
from pathlib import Path
from typing import Any

import msgspec

from distill.config import Config
from distill.config_file import known_keys, load_config
from distill.durable import OWNER_ONLY, replacing
from distill.release_list import RELEASES, append_release, made_by, planned
from distill.usage import UsageError

MADE_BY = ("data", "teacher", "generator", "pool")
"""Sections that say how a teacher and a pool came about."""
MADE_TOGETHER = ("teacher.safetensors", "pool.safetensors", "answers.safetensors")
"""Files of private/ that carry the name of the run that made them."""
CLEAN_STUDENT = "clean_student.safetensors"


def with_reused(config: Config) -> Config:
    """Fills in how the other run's teacher and pool were made; a configuration without `pool.from` comes back as it is.

    Raises:
        UsageError: no finished run there, or a key that is neither its default nor what the other run has.
    """
    if not config.pool.from_run:
        return config
    folder = Path(config.pool.from_run).expanduser().resolve()
    needed = ("report.json", *(f"private/{name}" for name in (*MADE_TOGETHER, RELEASES)))
    if missing := [name for name in needed if not (folder / name).is_file()]:
        raise UsageError(
            f"Expected pool.from to be a finished run with its private/ directory, got {folder} without {', '.join(missing)}."
        )
    theirs = load_config(folder / "config.toml")
    sections: dict[str, Any] = {name: getattr(theirs, name) for name in MADE_BY}
    sections["pool"] = msgspec.structs.replace(theirs.pool, from_run=str(folder))
    whole = msgspec.structs.replace(config, **sections)
    _refuse_contradictions(config, whole, folder)
    return whole


def _refuse_contradictions(asked: Config, given: Config, folder: Path) -> None:
    asked_keys, given_keys, defaults = known_keys(asked), known_keys(given), known_keys()
    keys = [
        key
        for key, value in asked_keys.items()
        if key != "pool.from" and value not in (given_keys[key], defaults[key])
    ]
    if keys:
        raise UsageError(
            f"Expected {', '.join(keys)} to be left out beside pool.from or to be as in {folder}, whose teacher and pool are taken as they are."
        )


def take_over(config: Config, private: Path, run: str) -> None:
    """Puts the other run's teacher, pool and answers into this run's private directory, which then needs the other no more.

    Its student of the answers themselves comes with them, if one would be trained here in the same way.
    Before that the run is entered into the list of releases about these answers, which the two then share. Other files of a run are
    replaced, never written into, so that a second name for the same file is as good as a copy.

    Raises:
        UsageError: the other run is another by now, or its list cannot be written to.
    """
    other = Path(config.pool.from_run)
    if not (private / RELEASES).exists():
        if with_reused(config) != config:
            raise _another(other)
        append_release(other / "private", run, planned(config))
        theirs = load_config(other / "config.toml")
        same_student = (config.student, config.seed) == (theirs.student, theirs.seed)
        student = [CLEAN_STUDENT] if same_student and (other / "private" / CLEAN_STUDENT).exists() else []
        for name in (*MADE_TOGETHER, *student, RELEASES):  # the list last: it says that all is there
            if not (private / name).exists():
                _take(other / "private" / name, private / name)
    from distill.tensor_files import read_description  # here: it imports torch

    taken = [name for name in (*MADE_TOGETHER, CLEAN_STUDENT) if (private / name).exists()]
    makers = {read_description(private / name).get("made_by") for name in taken}
    if makers != {made_by(private)}:
        raise _another(other)
    append_release(private, run, planned(config))  # also where the list had to be copied


def _take(source: Path, target: Path) -> None:
    with replacing(target) as draft:
        draft.unlink()
        try:
            draft.hardlink_to(source)
        except FileNotFoundError:
            raise _another(source.parents[1]) from None
        except OSError:  # another disk, or a file system without links
            shutil.copyfile(source, draft)
            draft.chmod(OWNER_ONLY)


def _another(other: Path) -> UsageError:
    return UsageError(
        f"Expected pool.from to be the same finished run from beginning to end, but {other} was replaced or removed meanwhile; start a new run."
    )
