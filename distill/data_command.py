"""`labeldp data`: the data sets that are known, and bringing one to this machine."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Literal

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from distill.data.entry import Entry

_LINE_EVERY_SECONDS = 5.0


def data(
    what: Annotated[Literal["list", "fetch"], Parameter(help="list, or fetch NAME.")] = "list",
    *names: Annotated[str, Parameter(help="Data sets to bring.")],
) -> None:
    """Shows which data sets are known and where they are; fetch brings some to this machine.

    They go to ~/.cache/labeldp, or $LABELDP_DATA. A broken download is continued by the next call.
    """
    from distill.data import ENTRIES

    unknown = [name for name in names if name not in ENTRIES]
    if unknown or (what == "fetch") != bool(names):
        raise UsageError(
            f"Expected labeldp data list, or labeldp data fetch NAME with names among {', '.join(ENTRIES)}, "
            f"got {' '.join([what, *names])}."
        )
    if what == "list":
        for entry in ENTRIES.values():
            print("\n".join(_described(entry)))
        print(f"{'folder':<15}your own images: train/CLASS/*.png and test/CLASS/*.png, or labels.csv")
        print(f"{'':<15}labeldp distill ... --data.name folder --data.directory DIR")
    for name in names:
        _fetch(ENTRIES[name])


def _described(entry: Entry) -> list[str]:
    """Says what a data set is, where it is, how large, and under which licence; nothing of its labels."""
    from distill.data.places import where

    place = where(entry) if entry.files else None
    if not entry.files:
        state = "here: comes with scikit-learn"
    elif place is not None:
        bytes_here = sum(path.stat().st_size for path in place.rglob("*") if path.is_file())
        state = f"here: {place} ({_megabytes(bytes_here)})"
    else:
        state = f"not here: labeldp data fetch {entry.name} ({_megabytes(entry.sources[0].size)})"
    return [f"{entry.name:<15}{entry.about}", f"{'':<15}{state}", f"{'':<15}licence: {entry.licence}"]


def _fetch(entry: Entry) -> None:
    from distill.data.fetch import fetch

    print(f"{entry.name}: {entry.about}\nmade by: {entry.origin}\nlicence: {entry.licence}")
    if not entry.files:
        print("it comes with scikit-learn: nothing to bring")
        return
    with _progress(entry.name) as tell:
        place = fetch(entry, tell=tell, say=lambda line: print(line, file=sys.stderr))
    print(f"checked, in {place}")


@contextmanager
def _progress(name: str) -> Iterator[Callable[[int, int], None]]:
    """Shows bytes, speed and time left: live on a terminal, as occasional lines elsewhere."""
    from rich.console import Console

    console = Console(stderr=True)
    if not console.is_terminal:
        yield _Lines(name)
        return
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


class _Lines:
    """Prints how far a download is, every few seconds."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._last = time.perf_counter()
        self._first: tuple[float, int] | None = None

    def __call__(self, done: int, total: int) -> None:
        now = time.perf_counter()
        start, first = self._first = self._first or (now, done)
        if now - self._last < _LINE_EVERY_SECONDS or done <= first:
            return
        self._last = now
        left = (now - start) / (done - first) * max(0, total - done)
        print(f"{self._name}: {_megabytes(done)} of {_megabytes(total)}, {left:.0f} s left", file=sys.stderr)


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f} MB" if size >= 1e7 else f"{size / 1e6:.1f} MB"
