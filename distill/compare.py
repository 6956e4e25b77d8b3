"""Several runs beside each other: one page, and a table for a terminal."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accounting
from distill import report_figures
from distill.report import NAMES, NOTICE, read_report, warnings
from distill.report_page import environment, interval, percent
from distill.usage import UsageError


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
    lines = accuracy_lines(list(finished.values()))
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


def accuracy_lines(
    reports: list[dict[str, Any]],
) -> dict[str, list[tuple[float, float, tuple[float, float]]]]:
    """For each data set and label scheme, the private students' accuracies (epsilon, share, interval)."""
    several = len({values["config"]["data"]["name"] for values in reports}) > 1
    lines: dict[str, list[tuple[float, float, tuple[float, float]]]] = {}
    for values in reports:
        privacy = values["privacy"]
        if privacy["stages"] == "clean":
            continue  # no epsilon to stand above
        name = f"{values['config']['data']['name']}, {privacy['stages']}" if several else privacy["stages"]
        point = (
            privacy["epsilon_per_answer"],
            values["accuracy"]["private_student"],
            values["accuracy_interval"]["private_student"],
        )
        lines.setdefault(name, []).append(point)
    return lines


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
