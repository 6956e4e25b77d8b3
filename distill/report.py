"""The report of a run, for the data holder: everything the page shows, as JSON-able values, and the lines a terminal shows."""

import json
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
from safetensors import safe_open

import accounting
from distill.config import Config
from distill.config_file import to_toml
from distill.diagnostics import accuracy_interval, calibration, confusion
from distill.durable import write_text
from distill.pool import Pool
from distill.privacy_card import pool_sources
from distill.usage import UsageError
from labeldp import __version__
from labeldp.learning.stages import StagedLabels

NOTICE = (
    "Diagnostics for the data holder: not for release. Accuracies of teacher and clean-label student are un-noised functions of "
    "all answers; publishing this report would void the guarantees it quotes. What may be published lies in release/ alone."
)
NAMES = {
    "teacher": "teacher",
    "clean_student": "clean-label student",
    "private_student": "private student",
}
READ = (
    "notice", "config", "toml", "classes", "accuracy", "accuracy_interval", "num_test_images", "guarantees", "privacy", "confusion",
    "calibration", "candidate_sizes", "constant_answers", "pool", "rows_per_bank_image", "shown", "curves", "seconds",
)  # fmt: skip
READ_OF_PRIVACY = (
    "releasable", "not_for_release", "explained", "answers", "epsilon_per_answer", "stages", "randomness", "pool", "teacher",
    "plain_words", "not_covered",
)  # fmt: skip
"""What the pages are made of."""
SAMPLES_PER_CLASS = 12
POINTS_OF_A_CURVE = 200
MUCH = 0.1


@dataclass(frozen=True, eq=False)
class Report:
    """What a run came to.

    Attributes:
        config: the resolved configuration.
        predictions: class probabilities (n, K) of the test images, last model: teacher, clean_student, private_student.
        test_labels: (n,) their true classes.
        privacy: the privacy statement of release/.
        pool: the synthetic images.
        shown: for each of them, the class that the released student sees in it.
        released: the noisy labels, stage by stage.
        figures: the training figures, as in metrics.jsonl.
        seconds: wall time of each phase, and of all.
        folder: the run directory.
        classes: the public names of the classes; empty where there are none.
    """

    config: Config
    predictions: dict[str, np.ndarray]
    test_labels: np.ndarray
    privacy: dict[str, Any]
    pool: Pool
    shown: np.ndarray
    released: StagedLabels
    figures: list[dict[str, Any]]
    seconds: dict[str, float]
    folder: Path
    classes: tuple[str, ...] = ()

    @property
    def accuracy(self) -> dict[str, float]:
        """Shares of the test images that are classified right."""
        return {
            name: float(np.mean(rows.argmax(axis=1) == self.test_labels))
            for name, rows in self.predictions.items()
        }

    @property
    def num_test_images(self) -> int:
        """How many images the accuracies are shares of."""
        return len(self.test_labels)

    @property
    def guarantees(self) -> list[dict[str, Any]]:
        """The guarantees of release/, one for each unit; epsilon None where the unit does not hold."""
        return self.privacy["guarantees"]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values, all that its page needs but the images; the notice comes first."""
        n, accuracy = self.num_test_images, self.accuracy
        num_classes = self.released.parts[0].mechanism.num_classes
        return {
            "notice": NOTICE,
            "config": msgspec.to_builtins(self.config),
            "toml": to_toml(self.config),
            "classes": list(self.classes or map(str, range(num_classes))),
            "accuracy": accuracy,
            "accuracy_interval": {name: accuracy_interval(value, n) for name, value in accuracy.items()},
            "num_test_images": n,
            "guarantees": self.guarantees,
            "privacy": self.privacy,
            "confusion": {
                name: confusion(rows.argmax(axis=1), self.test_labels, num_classes).tolist()
                for name, rows in self.predictions.items()
            },
            "calibration": {
                name: calibration(rows, self.test_labels) for name, rows in self.predictions.items()
            },
            "candidate_sizes": {str(stage): sizes for stage, sizes in self.candidate_sizes().items()},
            "constant_answers": {str(stage): share for stage, share in self.constant_answers().items()},
            "pool": pool_sources(self.pool),
            "rows_per_bank_image": rows_per_bank_image(self.pool),
            "shown": samples(self.shown, num_classes),
            "curves": curves(self.figures),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }

    def candidate_sizes(self) -> dict[int, list[int]]:
        """For each stage that selects, how many items were answered among 1, 2, ... K candidates."""
        return {
            stage: np.bincount(part.plan.alphabets(), minlength=part.mechanism.num_classes + 1)[1:].tolist()
            for stage, part in enumerate(self.released.parts, start=1)
            if part.candidates is not None
        }

    def constant_answers(self) -> dict[int, float]:
        """For each stage that selects, the share of its answers that say nothing: one candidate, answered whatever the label is."""
        silent = {
            stage: getattr(part.mechanism, "outside", "uniform") == "uniform"
            for stage, part in enumerate(self.released.parts, start=1)
        }
        return {
            stage: sizes[0] / sum(sizes) if silent[stage] else 0.0
            for stage, sizes in self.candidate_sizes().items()
        }


def rows_per_bank_image(pool: Pool) -> dict[str, float] | None:
    """How often images of the generator were varied into rows of the pool: mean and largest; None if the pool has none.

    Variations of one image ask nearly the same question: a guarantee about one answer does not cover them together.
    """
    varied = pool.bank[pool.bank >= 0]
    if not len(varied):
        return None
    rows = np.unique(varied, return_counts=True)[1]
    return {"images": len(rows), "mean": float(rows.mean()), "largest": int(rows.max())}


def samples(shown: np.ndarray, num_classes: int) -> list[list[int]]:
    """For each class, the numbers of the first images of the pool that the student takes for it."""
    return [np.flatnonzero(shown == c)[:SAMPLES_PER_CLASS].tolist() for c in range(num_classes)]


def curves(figures: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The figures of each phase as curves, thinned out to what a page can show."""
    points: dict[tuple[str, str], list[tuple[int, float]]] = defaultdict(list)
    for row in figures:
        for name, value in row.items():
            if "step" in row and name not in ("phase", "step"):
                points[row["phase"], name].append((row["step"], round(value, 5)))
    return [
        {"phase": phase, "figure": name, "points": curve[:: -(-len(curve) // POINTS_OF_A_CURVE)]}
        for (phase, name), curve in points.items()
    ]


def write_report(report: Report) -> None:
    """Writes report.html and then report.json, which says that the run is finished; readable by their owner only."""
    from distill.report_page import page  # here: who only reads a report needs no figures

    values = report.to_dict()
    text = json.dumps(values, indent=1)
    assert text.startswith("{\n ")
    write_private_text(report.folder / "report.html", page(values, read_images(report.folder, values)))
    write_private_text(report.folder / "report.json", "{" + text[3:] + "\n")  # the first line is the notice


def read_report(folder: Path) -> dict[str, Any]:
    """The values of a finished run's report.

    Raises:
        UsageError: there is no report, or it is damaged, or of an older version.
    """
    try:
        values = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UsageError(f"Expected the report of a finished run in {folder}: {error}") from None
    parts = values if isinstance(values, dict) else {}
    missing = [
        *(name for name in READ if name not in parts),
        *(f"privacy.{name}" for name in READ_OF_PRIVACY if name not in (parts.get("privacy") or {})),
    ]
    if missing:
        raise UsageError(
            f"Expected {folder / 'report.json'} to hold {', '.join(missing)}, as labeldp {__version__} writes it; it is damaged or of "
            f"another version. Show the run's own report.html, or run again."
        )
    return values


def read_images(folder: Path, values: dict[str, Any]) -> list[np.ndarray] | None:
    """The images (n, C, H, W) of the pool that the page shows, class by class; None where the pool is not at hand."""
    path = folder / "private" / "pool.safetensors"
    if not path.is_file():
        return None
    with safe_open(path, framework="np") as file:
        images = file.get_slice("images")
        return [
            np.concatenate([images[item : item + 1] for item in items]) if items else np.empty(0)
            for items in values["shown"]
        ]


def summary(report: Report) -> list[str]:
    """The lines a person reads at the end of a run."""
    return summary_lines(report.to_dict(), report.folder)


def names(values: dict[str, Any]) -> dict[str, str]:
    """What the models of a run are called; a student of clean answers is not called private, unless its teacher is."""
    privacy = values["privacy"]
    exposed = privacy["stages"] == "clean" and not privacy["releasable"]
    return NAMES | ({"private_student": "student, not private"} if exposed else {})


def summary_lines(values: dict[str, Any], folder: Path, *, page: Path | None = None) -> list[str]:
    """The lines a person reads about a run, from the values of its report; `page` says where its page lies, if not in the run."""
    lines = [NOTICE, ""]
    lines += [
        f"{names(values)[name]:<20} {value:7.2%} of {values['num_test_images']} test images"
        for name, value in values["accuracy"].items()
    ]
    for guarantee in values["guarantees"]:
        lines += ["", f"{guarantee_in_short(guarantee)}: {guarantee['why']}"]
    lines += ["", values["privacy"]["plain_words"], *warnings(values)]
    return [
        *lines,
        "",
        f"report: {page or folder / 'report.html'} (for the data holder)",
        f"release: {folder / 'release'}",
    ]


def guarantee_in_short(guarantee: dict[str, Any]) -> str:
    """Epsilon with its unit, or that there is none."""
    if not guarantee["holds"]:
        return f"no guarantee per {guarantee['unit']}"
    epsilon, delta = (accounting.rounded_up(guarantee[name]) for name in ("epsilon", "delta"))
    return f"epsilon {epsilon} per {guarantee['unit']}, delta {delta}"


def warnings(values: dict[str, Any]) -> list[str]:
    """What a reader should know before believing the accuracies."""
    return [
        f"In stage {stage}, {share:.0%} of the answers had one candidate only and say nothing about the teacher: there the student "
        f"learns from itself. privacy.stages = subset+srr avoids that."
        for stage, share in values["constant_answers"].items()
        if share >= MUCH
    ]


def write_private_text(path: Path, text: str) -> None:
    """Writes a file that its owner alone can read."""
    write_text(path, text)
