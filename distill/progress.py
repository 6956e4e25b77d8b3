"""Live progress of long phases: what runs, how far it is, how long it will take; and its figures as JSON lines."""

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

from distill.durable import write_text

LINE_EVERY_SECONDS = 5.0


class RunProgress:
    """Shows phases on standard error, live on a terminal and as occasional lines elsewhere, and keeps their figures.

    Args:
        metrics: file that receives one JSON line for each set of figures; None for none.
        quiet: shows nothing.
    """

    def __init__(self, metrics: Path | None = None, *, quiet: bool = False) -> None:
        self.figures: list[dict[str, Any]] = []
        self._metrics = metrics
        if metrics is not None:
            metrics.touch(mode=0o600)  # losses on private data
            self.figures = _earlier_rows(metrics)
        self._quiet = quiet
        self._console = Console(stderr=True)
        self.seconds: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, total: int) -> Iterator["ShownPhase"]:
        """Shows one phase of `total` steps until it is left."""
        start = time.perf_counter()
        with self._bar() as bar:
            shown = ShownPhase(self, name, total, bar)
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
                write_text(self._metrics, "".join(json.dumps(row) + "\n" for row in left))

    @property
    def quiet(self) -> bool:
        """Whether nothing is shown."""
        return self._quiet


class ShownPhase:
    """One phase while it runs."""

    def __init__(self, owner: RunProgress, name: str, total: int, bar: Progress | None) -> None:
        self._owner, self._name, self._total, self._bar = owner, name, total, bar
        self._done, self._recorded = 0, False
        self._start = self._last = time.perf_counter()
        self._task = None if bar is None else bar.add_task(name, total=total, figures="")

    def advance(self, n: int = 1, **figures: float) -> None:
        """Moves on by n steps, with the figures of the moment if there are any."""
        self._done += n
        if figures:
            if not self._recorded:
                self._owner.forget(self._name, self._done)
            self._recorded = True
            self._owner.record({"phase": self._name, "step": self._done, **figures})
        if self._bar is not None and self._task is not None:
            self._bar.advance(self._task, n)
            if figures:
                self._bar.update(self._task, figures="  ".join(f"{k} {v:.3f}" for k, v in figures.items()))
        elif not self._owner.quiet and time.perf_counter() - self._last > LINE_EVERY_SECONDS:
            self._last = time.perf_counter()
            left = (self._last - self._start) / self._done * (self._total - self._done)
            print(f"{self._name}: {self._done}/{self._total}, {left:.0f} s left", file=sys.stderr, flush=True)


def _earlier_rows(metrics: Path) -> list[dict[str, Any]]:
    """What an interrupted process wrote; a last line cut off by a kill is no row."""
    text = metrics.read_text(encoding="utf-8")
    whole = text[: text.rfind("\n") + 1]
    if whole != text:
        write_text(metrics, whole)
    return [json.loads(line) for line in whole.splitlines()]
