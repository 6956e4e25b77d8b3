"""The list of releases about the answers of one teacher to one pool.

Every run that reuses them stands in it before its first draw, and the list of one is the list of all: a second name for one file,
which is only ever appended to. So each card adds up what was released, or may have been, by all who began before it was written.
"""

import fcntl
import json
from collections.abc import Sequence
from os import fsync
from pathlib import Path
from typing import Any

import accounting
import labeldp
from distill.config import Config
from distill.durable import write_text
from distill.label_schemes import UNPROTECTED
from distill.usage import UsageError
from labeldp.mechanisms import Plan

RELEASES = "releases.jsonl"


def planned(config: Config) -> accounting.Transcript:
    """The most that a run can release about the answers, whatever it decides on the way; known before its first draw."""
    if config.privacy.stages == "clean":
        return accounting.Transcript([accounting.Seeded(UNPROTECTED)], about="teacher")
    event = labeldp.RandomizedResponse(config.privacy.epsilon, 2).event(Plan(config.pool.size))
    return accounting.Transcript(
        [event if config.privacy.source == "system" else accounting.Seeded(event)], about="teacher"
    )


def record_release(private: Path, run: str, transcript: accounting.Transcript) -> None:
    """Writes down what a run released; a list that is not there yet begins with the run that made teacher and pool."""
    if (private / RELEASES).is_file():
        append_release(private, run, transcript)
    else:
        lines = [json.dumps({"made_by": run}), _line(run, transcript)]
        write_text(private / RELEASES, "".join(f"{line}\n" for line in lines))


def append_release(private: Path, run: str, transcript: accounting.Transcript) -> None:
    """Appends to the list what a run releases, once; it is on the disk before this returns.

    Raises:
        UsageError: the list cannot be written to.
    """
    line, path = _line(run, transcript).encode(), private / RELEASES
    try:
        with path.open("r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            *whole, torn = file.read().split(
                b"\n"
            )  # a kill leaves a line without an end, by a run that drew nothing
            if line in whole:
                return
            file.seek(-len(torn), 2)
            file.truncate()
            file.write(line + b"\n")
            file.flush()
            fsync(file.fileno())
    except OSError as error:
        raise UsageError(
            f"Expected to write to {path}, where runs that reuse a teacher and pool are listed, because their releases add up: {error}. Make "
            f"it writable, or copy the run and start from the copy; then no card knows of the other's releases."
        ) from None


def made_by(private: Path) -> str:
    """The run that made teacher, pool and answers."""
    return json.loads(_lines(private)[0])["made_by"]


def other_releases(private: Path, run: str) -> list[accounting.Transcript]:
    """What other runs released about the same answers, or at most will, in the order they began; none for a pool that is not shared."""
    if not (private / RELEASES).is_file():
        return []
    entries = [json.loads(line) for line in _lines(private)[1:]]
    latest = {entry["run"]: entry["transcript"] for entry in entries if entry["run"] != run}
    return [accounting.Transcript.from_dict(told) for told in latest.values()]


def with_other_releases(
    privacy: dict[str, Any], transcript: accounting.Transcript, others: Sequence[accounting.Transcript]
) -> dict[str, Any]:
    """Adds to a privacy statement what other runs released about the same answers, and what holds for all together.

    Privacy: fresh noise on the same answers composes: the epsilons of the runs add up for whoever sees all of their releases. What
    stands in `guarantees` is about this release alone.
    """
    if not others:
        return privacy
    together = accounting.Transcript(
        [record.events for record in (*others, transcript)],
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
    runs = "1 earlier run" if len(others) == 1 else f"{len(others)} earlier runs"
    words = (
        f"Teacher and pool are shared with {runs}, whose releases about the same answers add up with this one: {total}. The guarantees "
        f"stated here are of this release alone."
    )
    again = f"Fresh noise was drawn on the same answers in {runs}; for whoever sees those releases too, epsilons add up."
    return {
        **privacy,
        "plain_words": f"{privacy['plain_words']} {words}",
        "composition": {
            unit: f"{text} {again}" if unit == "answer" else text
            for unit, text in privacy["composition"].items()
        },
        "earlier_releases": [record.to_dict() for record in others],
        "guarantees_with_earlier_releases": [answer.to_dict(), record.to_dict()],
    }


def _line(run: str, transcript: accounting.Transcript) -> str:
    return json.dumps({"run": run, "transcript": transcript.to_dict()})


def _lines(private: Path) -> list[str]:
    return (private / RELEASES).read_text(encoding="utf-8").split("\n")[:-1]
