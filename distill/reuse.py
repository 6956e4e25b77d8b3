"""Starting from another run's teacher and pool: `[pool] from = RUN`.

The answers to a pool may then be released several times, with fresh noise each time: that adds up, and the statement says so.
"""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec

import accounting
from distill.config import Config
from distill.config_file import known_keys, load_config
from distill.durable import OWNER_ONLY, replacing, write_text
from distill.usage import UsageError

MADE_BY = ("data", "teacher", "generator", "pool")
"""Sections that say how a teacher and a pool came about."""
EARLIER = "earlier_releases.json"
CLEAN_STUDENT = "private/clean_student.safetensors"
NEEDED = ("private/teacher.safetensors", "private/pool.safetensors", "private/answers.safetensors")


def with_reused(config: Config) -> Config:
    """Fills in how the other run's teacher and pool were made; a configuration without `pool.from` comes back as it is.

    Raises:
        UsageError: no finished run there, or a key that is neither its default nor what the other run has.
    """
    if not config.pool.from_run:
        return config
    folder = Path(config.pool.from_run).expanduser().resolve()
    if not (folder / "report.json").is_file() or not all((folder / name).is_file() for name in NEEDED):
        raise UsageError(
            f"Expected pool.from to be a finished run with its private/ directory, got {folder}."
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


def take_over(config: Config, private: Path) -> None:
    """Puts the other run's teacher, pool and answers into this run's private directory, which then needs the other no more.

    Its student of the answers themselves comes with them, if one would be trained here in the same way. Files of a run are replaced,
    never written into, so that a second name for the same file is as good as a copy.
    """
    other = Path(config.pool.from_run)
    theirs = load_config(other / "config.toml")
    same_student = (config.student, config.seed) == (theirs.student, theirs.seed)
    for name in (*NEEDED, *([CLEAN_STUDENT] if same_student else [])):
        target = private / Path(name).name
        if not target.exists() and (other / name).exists():
            with replacing(target) as draft:
                draft.unlink()
                try:
                    draft.hardlink_to(other / name)
                except OSError:  # another disk, or a file system without links
                    shutil.copyfile(other / name, draft)
                    draft.chmod(OWNER_ONLY)
    if not (private / EARLIER).exists():
        before = json.loads((other / "release" / "privacy.json").read_text(encoding="utf-8"))
        own = json.loads((other / "release" / "transcript.json").read_text(encoding="utf-8"))
        write_text(private / EARLIER, json.dumps([*before.get("earlier_releases", []), own]))


def earlier_releases(private: Path) -> list[accounting.Transcript]:
    """What earlier runs released about the same pool, the first one first; none for a pool of the run's own."""
    path = private / EARLIER
    if not path.is_file():
        return []
    return [
        accounting.Transcript.from_dict(record) for record in json.loads(path.read_text(encoding="utf-8"))
    ]


def with_earlier_releases(
    privacy: dict[str, Any], transcript: accounting.Transcript, earlier: Sequence[accounting.Transcript]
) -> dict[str, Any]:
    """Adds to a privacy statement what earlier runs released about the same answers, and what holds for all together.

    Privacy: fresh noise on the same answers composes: the epsilons of the runs add up for whoever sees all of their releases. What
    stands in `guarantees` is about this release alone.
    """
    if not earlier:
        return privacy
    together = accounting.Transcript(
        [record.events for record in (*earlier, transcript)],
        about="teacher",
        teacher=transcript.teacher,
        pool=transcript.pool,
    )
    answer = accounting.guarantee(together, unit="answer")
    record = accounting.guarantee(together, unit="record", delta=privacy["guarantees"][1]["delta"])
    total = (
        f"whoever sees all these releases has epsilon {accounting.rounded_up(answer.epsilon)} about each answer"
        if answer.holds
        else f"for all these releases together there is no guarantee ({answer.why})"
    )
    words = (
        f"Teacher and pool are those of {len(earlier)} earlier run{'s' * (len(earlier) > 1)}, whose release about the same answers adds up with "
        f"this one: {total}. The guarantees stated here are of this release alone."
    )
    return {
        **privacy,
        "plain_words": f"{privacy['plain_words']} {words}",
        "earlier_releases": [record.to_dict() for record in earlier],
        "guarantees_with_earlier_releases": [answer.to_dict(), record.to_dict()],
    }
