"""The report of a run as one HTML page that needs nothing else: styles and figures are inside."""

from pathlib import Path
from typing import Any

import jinja2
import numpy as np

import accounting
from distill import report_figures
from distill.privacy_card import in_words
from distill.report import names, warnings

PRIORS = {
    "procedural": "random smooth shapes with textures",
    "strokes": "thick smooth curves",
    "refined": "images of such kinds moved along the teacher's gradient",
}


def page(values: dict[str, Any], images: list[np.ndarray] | None) -> str:
    """The page of a run.

    Args:
        values: of its report.json.
        images: of the pool, for each class the ones to show; None where they are not at hand.
    """
    config, called = values["config"], names(values)
    shown = images is not None and any(map(len, images))
    return (
        environment()
        .get_template("report.html")
        .render(
            title=f"{config['data']['name']}, {epsilon_in_words(values)}",
            values=values,
            config=config,
            privacy=values["privacy"],
            tiles=_tiles(values),
            warnings=warnings(values),
            priors=[text for source, text in PRIORS.items() if source in values["pool"]],
            accuracy_figure=report_figures.accuracies(
                [
                    (called[name], value, values["accuracy_interval"][name])
                    for name, value in values["accuracy"].items()
                ],
                values["num_test_images"],
            ),
            most_columns=report_figures.MOST_COLUMNS,
            pool_figure=report_figures.pool_samples(images) if images is not None and shown else None,
            tests=[
                (
                    called[name],
                    report_figures.confusion(values["confusion"][name]),
                    report_figures.reliability(values["calibration"][name]),
                )
                for name in reversed(values["accuracy"])
            ],
            curve_figures=[
                report_figures.curve(each["points"], title=each["phase"], label=each["figure"])
                for each in values["curves"]
            ],
            size_figures=[
                (stage, report_figures.candidate_sizes(sizes))
                for stage, sizes in values["candidate_sizes"].items()
            ],
            time_figure=report_figures.wall_times(values["seconds"]),
        )
    )


def environment() -> jinja2.Environment:
    """Where the pages' templates live."""
    made = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters["rounded_up"] = accounting.rounded_up
    made.filters["in_words"] = in_words
    made.filters["percent"] = percent
    made.filters["thousands"] = "{:,}".format
    return made


def percent(share: float) -> str:
    """A share in per cent, to a tenth."""
    return f"{share:.1%}".replace("%", "\N{NO-BREAK SPACE}%")


def interval(ends: tuple[float, float]) -> str:
    """Both ends of an interval of shares."""
    return f"{100 * ends[0]:.1f}\N{EN DASH}{100 * ends[1]:.1f}\N{NO-BREAK SPACE}%"


def epsilon_in_words(values: dict[str, Any]) -> str:
    """What stands beside the name of the data: epsilon with its unit, or that nothing is private here."""
    privacy = values["privacy"]
    if privacy["stages"] == "clean":
        (record,) = (g for g in values["guarantees"] if g["unit"] == "record")
        if privacy["releasable"]:
            return f"epsilon {accounting.rounded_up(record['epsilon'])} per record, clean answers"
        return "clean answers, not private"
    return f"epsilon {accounting.rounded_up(privacy['epsilon_per_answer'])} per answer"


def _tiles(values: dict[str, Any]) -> list[tuple[str, str, str]]:
    """What is read first: for each tile a name, a large figure and small words."""
    called = names(values)
    students = [
        (called[name], percent(values["accuracy"][name]), interval(values["accuracy_interval"][name]))
        for name in reversed(values["accuracy"])
    ]
    guarantees = [
        (
            f"epsilon per {g['unit']}",
            accounting.rounded_up(g["epsilon"]) if g["holds"] else "none",
            f"delta {accounting.rounded_up(g['delta'])}" if g["holds"] else "no guarantee",
        )
        for g in values["guarantees"]
    ]
    return [*students, *guarantees]
