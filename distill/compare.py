"""Several runs beside each other: one page, and a table for a terminal."""

import json
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accounting
from distill import report_figures
from distill.report import NAMES, NOTICE, read_report, warnings
from distill.report_page import environment, interval, percent
from distill.usage import UsageError

MAY_DIFFER = ("privacy.epsilon", "seed", "pool.from")
"""Keys in which comparable runs may differ; how a teacher and a pool from another run were made stands in the other keys."""


@dataclass(frozen=True)
class RunSeen:
    """One run directory: its configuration, and its report if it has finished.

    Attributes:
        name: how it is called in tables.
        config: every dotted key and its value.
        values: of report.json; None while the run is unfinished.
    """

    name: str
    config: dict[str, Any]
    values: dict[str, Any] | None


def read_runs(folders: list[Path]) -> list[RunSeen]:
    """Looks at run directories.

    Raises:
        UsageError: one of them is no run, or its report is damaged.
    """
    runs: list[RunSeen] = []
    for folder, name in zip(folders, _names(folders), strict=True):
        path = folder / "config.toml"
        try:
            config = tomllib.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(
                f"Expected the directory of a run with its config.toml, got {folder}: {error}"
            ) from None
        finished = (folder / "report.json").is_file()
        runs.append(RunSeen(name, _flat(config), read_report(folder) if finished else None))
    return runs


def differences(runs: list[RunSeen]) -> dict[str, list[str]]:
    """The keys of the configuration in which the runs differ, with the value in each run."""
    keys = dict.fromkeys(key for run in runs for key in run.config)
    values = {key: [str(run.config.get(key, "")) for run in runs] for key in keys}
    return {key: texts for key, texts in values.items() if len(set(texts)) > 1}


def results(runs: list[RunSeen]) -> list[list[str]]:
    """What came out: a header, and one row of text for each run."""
    students = list(reversed(NAMES))
    header = [
        "run",
        "stages",
        "epsilon per answer",
        "per record",
        *(NAMES[name] for name in students),
        "seconds",
    ]
    return [header, *([run.name, *_results(run, students)] for run in runs)]


def text_table(rows: list[list[str]]) -> list[str]:
    """Rows of cells as lines in columns."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    ]


def comparison_lines(runs: list[RunSeen]) -> list[str]:
    """The comparison for a terminal."""
    differing = [
        ["", *(run.name for run in runs)],
        *([key, *texts] for key, texts in differences(runs).items()),
    ]
    notes = [f"{run.name}: {text}" for run in runs for text in _notes(run)]
    return [*text_table(results(runs)), *notes, "", "what differs:", *text_table(differing)]


def comparison_page(runs: list[RunSeen]) -> str:
    """One page about several runs."""
    finished = {run.name: run.values for run in runs if run.values is not None}
    lines = accuracy_lines(runs)
    epsilons = {epsilon for points in lines.values() for epsilon, _, _ in points}
    return (
        environment()
        .get_template("compare.html")
        .render(
            notice=NOTICE,
            names=[run.name for run in runs],
            results=results(runs),
            differences=differences(runs),
            notes=[f"{run.name}: {text}" for run in runs for text in _notes(run)],
            words=_words(finished),
            accuracy_figure=report_figures.accuracy_against_epsilon(lines) if len(epsilons) > 1 else None,
            time_figure=report_figures.phases_of_runs(
                {name: values["seconds"] for name, values in finished.items()}
            )
            if finished
            else None,
        )
    )


def accuracy_lines(runs: list[RunSeen]) -> dict[str, list[tuple[float, float, tuple[float, float]]]]:
    """The private students' accuracies (epsilon, share, interval), a line for each set of runs that differ in nothing but epsilon and seed.

    Runs that differ in more are not averaged. Where the stages do not tell lines apart, they are named after their runs.
    """
    sets: dict[str, list[RunSeen]] = {}
    for run in runs:
        if run.values is None or run.values["privacy"]["stages"] == "clean":
            continue  # no epsilon to stand above
        rest = {key: value for key, value in run.config.items() if key not in MAY_DIFFER}
        sets.setdefault(json.dumps(rest, sort_keys=True), []).append(run)
    several = len({run.config.get("data.name") for those in sets.values() for run in those}) > 1
    called: list[str] = []
    for first, *_ in sets.values():
        stages = str(first.config.get("privacy.stages", ""))
        called.append(f"{first.config.get('data.name')}, {stages}" if several else stages)
    return {
        name if called.count(name) == 1 else f"{name}: {_few([run.name for run in those])}": [
            _point(run.values) for run in those if run.values is not None
        ]
        for name, those in zip(called, sets.values(), strict=True)
    }


def _point(values: dict[str, Any]) -> tuple[float, float, tuple[float, float]]:
    return (
        values["privacy"]["epsilon_per_answer"],
        values["accuracy"]["private_student"],
        values["accuracy_interval"]["private_student"],
    )


def _few(names: list[str], most: int = 3) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _words(finished: dict[str, dict[str, Any]]) -> dict[str, list[str]]:
    """What must stand beside each epsilon, with the runs it is true of."""
    words: dict[str, list[str]] = {}
    for name, values in finished.items():
        words.setdefault(values["privacy"]["plain_words"], []).append(name)
    return words


def _results(run: RunSeen, students: list[str]) -> list[str]:
    stages = str(run.config.get("privacy.stages", ""))
    if run.values is None:
        return [stages, "unfinished", *[""] * (len(students) + 2)]
    values = run.values
    accuracies = [
        f"{percent(values['accuracy'][name])} ({interval(values['accuracy_interval'][name])})"
        if name in values["accuracy"]
        else ""
        for name in students
    ]
    answer, record = map(_epsilon, values["guarantees"])
    if answer == "none" and values["privacy"]["epsilon_per_answer"] is not None:
        answer += f" ({accounting.rounded_up(values['privacy']['epsilon_per_answer'])}, void)"
    return [stages, answer, record, *accuracies, f"{values['seconds']['all']:.1f}"]


def _epsilon(guarantee: dict[str, Any]) -> str:
    if not guarantee["holds"]:
        return "none"
    epsilon, delta = (accounting.rounded_up(guarantee[name]) for name in ("epsilon", "delta"))
    return f"{epsilon} (delta {delta})" if guarantee["delta"] else epsilon


def _notes(run: RunSeen) -> list[str]:
    """What a reader must know of a run before believing its row."""
    if run.values is None:
        return ["unfinished."]
    privacy = run.values["privacy"]
    stamp = [] if privacy["releasable"] else [f"not for release, {privacy['not_for_release']}."]
    return [*stamp, *warnings(run.values)]


def _names(folders: list[Path]) -> list[str]:
    """The directories' own names where they tell the runs apart, else whole paths."""
    names = [folder.resolve().name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder) for folder in folders]


def _flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in values.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat
