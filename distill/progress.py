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

LINE_EVERY_SECONDS = 5.0


class RunProgress:
    """Shows phases on standard error, live on a terminal and as occasional lines elsewhere, and keeps their figures.

    Args:
        metrics: file that receives one JSON line for each set of figures; None for none. What it holds already is kept: an
            interrupted run goes on with it.
        events: directory of TensorBoard event files, one below it for each phase; None for none. Without the package tensorboard
            there are none either.
        quiet: shows nothing.

    Attributes:
        seconds: wall time of each phase.
        figures: the rows of `metrics`.

    Privacy: none: losses are functions of private data, so both places are readable by their owner only.
    """

    def __init__(
        self, metrics: Path | None = None, *, events: Path | None = None, quiet: bool = False
    ) -> None:
        self.figures: list[dict[str, Any]] = []
        self._metrics = metrics
        if metrics is not None:
            metrics.touch(mode=0o600)
            self.figures = earlier_rows(metrics)
        self._events = events
        self._quiet = quiet
        self._console = Console(stderr=True)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator["ShownPhase"]:
        """Shows one phase of `total` steps until it is left."""
        start = time.perf_counter()
        with event_files.opened(self._events, name) as events, self._bar() as bar:
            shown = ShownPhase(self, name, total, bar, events)
            yield shown
        self.seconds[name] = time.perf_counter() - start
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

    def forget(self, phase: str, step: int) -> None:
        """Drops the figures of a phase from that step on: a phase that goes on from an earlier step makes them again."""
        left = [row for row in self.figures if row["phase"] != phase or row["step"] < step]
        if len(left) < len(self.figures):
            self.figures = left
            if self._metrics is not None:
                _replace(self._metrics, "".join(json.dumps(row) + "\n" for row in left))

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
        bar: Progress | None,
        events: event_files.Writer | None,
    ) -> None:
        self._owner, self._name, self._total, self._bar, self._events = owner, name, total, bar, events
        self._done, self._before, self._recorded = 0, 0, False
        self._start = self._last = time.perf_counter()
        self._task = None if bar is None else bar.add_task(name, total=total, figures="")

    def skip(self, n: int) -> None:
        """Counts n steps as done that an earlier process did: they say nothing about the pace of this one."""
        self._done += n
        self._before += n
        if self._bar is not None and self._task is not None:
            self._bar.reset(self._task, completed=self._done)  # a jump within the task would count as pace

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves on by n steps, with the figures of the moment if there are any."""
        self._done += n
        if figures:
            self._record(figures)
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)
            if figures:
                self._bar.update(self._task, figures="  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        elif not self._owner.quiet and time.perf_counter() - self._last > LINE_EVERY_SECONDS:
            self._last = time.perf_counter()
            left = seconds_left(self._last - self._start, self._done - self._before, self._total - self._done)
            print(f"{self._name}: {self._done}/{self._total}, {left:.0f} s left", file=sys.stderr, flush=True)

    def _record(self, figures: dict[str, float]) -> None:
        if not self._recorded:
            self._owner.forget(self._name, self._done)
        self._recorded = True
        self._owner.record({"phase": self._name, "step": self._done, **figures})
        if self._events is not None:
            for name, value in figures.items():
                self._events.add_scalar(name, value, self._done)


def seconds_left(elapsed: float, taken: int, left: int) -> float:
    """Returns how long the steps that are left take at the pace of those that this process has taken."""
    return elapsed / max(1, taken) * left


def earlier_rows(metrics: Path) -> list[dict[str, Any]]:
    """Returns what an interrupted process wrote; a last line cut off by a kill is no row, and goes."""
    text = metrics.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        _replace(metrics, whole)
    return [json.loads(line) for line in whole.splitlines()]


def _replace(path: Path, text: str) -> None:
    """Replaces a private file, all at once."""
    draft = path.with_name(f".{path.name}.partial")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)
