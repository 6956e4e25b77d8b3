"""The report of a run: for the data holder, as JSON and as one self-contained page."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import accounting
from distill import report_figures
from distill.config import Config
from distill.config_file import to_toml
from distill.durable import write_text
from distill.pool import Pool
from labeldp.learning.stages import StagedLabels

NOTICE = (
    "Diagnostics for the data holder: not for release. Accuracies of teacher and clean-label student are un-noised functions of "
    "all answers; publishing this report would void the guarantees it quotes. What may be published lies in release/ alone."
)


@dataclass(frozen=True, eq=False)
class Report:
    """What a run came to.

    Attributes:
        config: the resolved configuration.
        accuracy: fractions of the test images, last model: teacher, clean_student, private_student.
        privacy: the privacy statement of release/.
        pool: the synthetic images.
        shown: (n,) the class the released student sees in each of them.
        released: the noisy labels, stage by stage.
        num_test_images: how many images the accuracies are fractions of.
        figures: the training figures, as in metrics.jsonl.
        seconds: wall time of each phase, and of all.
        folder: the run directory.
    """

    config: Config
    accuracy: dict[str, float]
    privacy: dict[str, Any]
    pool: Pool
    shown: np.ndarray
    released: StagedLabels
    num_test_images: int
    figures: list[dict[str, Any]]
    seconds: dict[str, float]
    folder: Path

    @property
    def guarantees(self) -> list[dict[str, Any]]:
        """The guarantees of release/, one for each unit; epsilon None where the unit does not hold."""
        return self.privacy["guarantees"]

    def to_dict(self) -> dict[str, Any]:
        """The report as JSON-able values; the notice comes first."""
        return {
            "notice": NOTICE,
            "accuracy": self.accuracy,
            "num_test_images": self.num_test_images,
            "guarantees": self.guarantees,
            "privacy": self.privacy,
            "candidate_sizes": {str(stage): sizes for stage, sizes in self.candidate_sizes().items()},
            "pool": {
                name: int(count) for name, count in zip(self.pool.sources, self._origins(), strict=True)
            },
            "rows_per_bank_image": self.rows_per_bank_image(),
            "seconds": {name: round(value, 2) for name, value in self.seconds.items()},
        }

    def candidate_sizes(self) -> dict[int, list[int]]:
        """For each stage that selects, how many items were answered among 1, 2, ... K candidates."""
        return {
            stage: np.bincount(part.candidates.sum(axis=1), minlength=part.mechanism.num_classes + 1)[
                1:
            ].tolist()
            for stage, part in enumerate(self.released.parts, start=1)
            if part.candidates is not None
        }

    def rows_per_bank_image(self) -> dict[str, float] | None:
        """How many images of the pool come from one image that the generator made: the most, and the mean over those used at all.

        They are near-duplicates of each other, on which no guarantee per answer speaks. None for a pool without a generator.
        """
        rows = self.pool.rows_per_bank_image
        return {"max": int(rows.max()), "mean": float(rows[rows > 0].mean())} if rows.any() else None

    def _origins(self) -> np.ndarray:
        return np.bincount(self.pool.origin, minlength=len(self.pool.sources))


def write_report(report: Report) -> None:
    """Writes report.html and then report.json, which says that the run is finished; readable by their owner only."""
    text = json.dumps(report.to_dict(), indent=1)
    assert text.startswith("{\n ")
    write_text(report.folder / "report.html", page(report))
    write_text(report.folder / "report.json", "{" + text[3:] + "\n")  # so that the first line is the notice


def page(report: Report) -> str:
    """The report as one HTML page that needs nothing else: styles and figures are inside."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["rounded_up"] = accounting.rounded_up
    return environment.get_template("report.html").render(
        notice=NOTICE,
        report=report,
        privacy=report.privacy,
        configuration=to_toml(report.config),
        accuracy_figure=report_figures.accuracies(report.accuracy, report.privacy, report.num_test_images),
        pool_figure=report_figures.pool_samples(report.pool, report.shown, _num_classes(report)),
        curves_figure=report_figures.training_curves(report.figures),
        size_figures=[
            (stage, report_figures.candidate_sizes(sizes))
            for stage, sizes in report.candidate_sizes().items()
        ],
        time_figure=report_figures.wall_times(report.seconds),
    )


def summary(report: Report) -> list[str]:
    """The lines a person reads at the end of a run."""
    names = {
        "teacher": "teacher",
        "clean_student": "clean-label student",
        "private_student": "private student",
    }
    lines = [
        f"{names[name]:<20} {value:7.2%} of {report.num_test_images} test images"
        for name, value in report.accuracy.items()
    ]
    for guarantee in report.guarantees:
        held = (
            f"epsilon {accounting.rounded_up(guarantee['epsilon'])} per {guarantee['unit']}, delta {accounting.rounded_up(guarantee['delta'])}"
            if guarantee["holds"]
            else f"no guarantee per {guarantee['unit']}"
        )
        lines += ["", f"{held}: {guarantee['why']}"]
    return [
        *lines,
        "",
        report.privacy["plain_words"],
        "",
        f"report: {report.folder / 'report.html'} (for the data holder)",
        f"release: {report.folder / 'release'}",
    ]


def _num_classes(report: Report) -> int:
    return report.released.parts[0].mechanism.num_classes
