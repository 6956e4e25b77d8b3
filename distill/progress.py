"""Live progress of long phases: what runs, how far it is, how long it will take; and its figures as JSON lines and TensorBoard events."""

import json
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from distill import event_files
from distill.durable import write_text

LINE_EVERY_SECONDS = 5.0


class RunProgress:
    """Shows phases on standard error, live on a terminal and as occasional lines elsewhere, and keeps their figures.

    Args:
        metrics: file that receives one JSON line for each set of figures; None for none.
        events: directory of TensorBoard event files, one below it for each phase; None for none. Without the package tensorboard
            there are none either.
        quiet: shows nothing.
        resumed: goes on with the figures and times that `metrics` holds already; else it must be new.

    Attributes:
        seconds: wall time of each phase.
        figures: the rows of `metrics`.

    Privacy: none: losses are functions of private data, so both places are readable by their owner only.
    """

    def __init__(
        self,
        metrics: Path | None = None,
        *,
        events: Path | None = None,
        quiet: bool = False,
        resumed: bool = False,
    ) -> None:
        self._metrics = metrics
        self._events = events
        self._quiet = quiet
        self._console = Console(stderr=True)
        self.figures: list[dict[str, Any]] = []
        if metrics is not None:
            metrics.touch(mode=0o600)
            if resumed:
                self.figures = read_metrics(metrics)
                self._rewrite()  # without the end of a line that a kill cut off
        self.seconds: dict[str, float] = {
            row["phase"]: row["seconds"] for row in self.figures if "seconds" in row
        }

    @contextmanager
    def phase(self, name: str, total: int, *, start: int = 0, spent: float = 0.0) -> Iterator["ShownPhase"]:
        """Shows one phase of `total` steps until it is left; `start` of them took `spent` seconds in earlier sittings."""
        if start >= total:  # its figures and its time stand
            self.seconds.setdefault(name, spent)
            yield ShownPhase(self, name, total, start, None, None)
            return
        self._forget(name, after=start)
        began = time.perf_counter()
        with event_files.opened(self._events, name) as events, self._bar() as bar:
            shown = ShownPhase(self, name, total, start, bar, events)
            yield shown
        self.seconds[name] = time.perf_counter() - began + spent
        self.record({"phase": name, "seconds": round(self.seconds[name], 3)})
        if not self._quiet and bar is None:
            print(f"{name}: {total}/{total}, done in {self.seconds[name]:.1f} s", file=sys.stderr, flush=True)

    @contextmanager
    def _bar(self) -> Iterator[Progress | None]:
        if self._quiet or not self._console.is_terminal:
            yield None
            return
        columns = (
            TextColumn("{task.description:<24}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
        )
        with Progress(*columns, console=self._console) as bar:
            yield bar

    def record(self, row: dict[str, Any]) -> None:
        """Keeps one set of figures, and writes it to the metrics file."""
        self.figures.append(row)
        if self._metrics is not None:
            with self._metrics.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")

    def _forget(self, phase: str, *, after: int) -> None:
        """Drops the figures of steps that will be taken again."""
        kept = [row for row in self.figures if row["phase"] != phase or row.get("step", after + 1) <= after]
        if len(kept) < len(self.figures):
            self.figures[:] = kept
            self._rewrite()

    def _rewrite(self) -> None:
        """Replaces the metrics file by the figures in memory, all at once."""
        if self._metrics is not None:
            write_text(self._metrics, "".join(json.dumps(row) + "\n" for row in self.figures))

    @property
    def quiet(self) -> bool:
        """Whether nothing is shown."""
        return self._quiet


class ShownPhase:
    """One phase while it runs."""

    def __init__(
        self,
        owner: RunProgress,
        name: str,
        total: int,
        start: int,
        bar: Progress | None,
        events: event_files.Writer | None,
    ) -> None:
        self._owner, self._name, self._total, self._bar, self._events = owner, name, total, bar, events
        self._before = self._done = start
        self._start = self._last = time.perf_counter()
        self._task = None if bar is None else bar.add_task(name, total=total, completed=start, figures="")

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves on by n steps, with the figures of the moment if there are any."""
        self._done += n
        if figures:
            self._owner.record({"phase": self._name, "step": self._done, **figures})
            if self._events is not None:
                for figure, value in figures.items():
                    self._events.add_scalar(figure, value, self._done)
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)
            if figures:
                self._bar.update(self._task, figures="  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        elif not self._owner.quiet and time.perf_counter() - self._last > LINE_EVERY_SECONDS:
            self._last = time.perf_counter()
            left = seconds_left(self._last - self._start, self._before, self._done, self._total)
            print(f"{self._name}: {self._done}/{self._total}, {left:.0f} s left", file=sys.stderr, flush=True)


def seconds_left(elapsed: float, before: int, done: int, total: int) -> float:
    """Returns how long the rest takes at the pace of this sitting, in which `done - before` steps took `elapsed` seconds."""
    return elapsed / max(1, done - before) * (total - done)


def read_metrics(path: Path) -> list[dict[str, Any]]:
    """Returns the rows of a metrics file; a last line that was cut off by a kill is left out."""
    rows: list[dict[str, Any]] = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            break
    return rows
