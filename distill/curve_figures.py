"""The figure of a sweep: score against epsilon."""

import math
import statistics
from pathlib import Path

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from distill.curve_scores import SCORES, Score
from distill.curves import CLEAN, Row, Scores, scores
from distill.report_figures import STYLE

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#222222", "#8a8a8a")
CEILING = {"label": "true labels", "answer": "answers without noise", "record": "teacher without DP-SGD"}
WHAT = {"label": "one person's label", "answer": "one answer of the teacher", "record": "one training record"}
FAR = 40.0  # points: so far above the floor the upper part is drawn alone


def draw(rows: list[Row]) -> Figure:
    """Draws mean and range over seeds of every method, what true labels come to, and what no labels do.

    Args:
        rows: runs of one sweep; all of one unit and one data set.
    """
    (unit,), (name,) = {row["unit"] for row in rows}, {row["data"] for row in rows}
    found, score = scores(rows), SCORES[rows[0]["recipe"]["score"]]
    with mpl.rc_context({**STYLE, "font.size": 11}):
        figure = Figure(figsize=(7.6, 4.6), layout="constrained")
        axes = figure.add_subplot()
        ends = _lines(axes, found)
        floor, clean = floor_of(rows), found.get(CLEAN, {}).get(math.inf)
        axes.set_ylim(*_limits(found, floor, score))
        _reference(axes, clean, floor, score, ceiling=CEILING[unit])
        _name_ends(axes, ends, upwards=not score.higher_is_better)
        every = sorted({epsilon for by in found.values() for epsilon in by if epsilon < math.inf})
        axes.set_xscale("log")
        axes.set_xticks(every, [f"{epsilon:g}" for epsilon in every])
        axes.minorticks_off()
        axes.set_xlabel(f"epsilon for {unit_of(rows)} (log scale)")
        axes.set_ylabel(f"{score.with_unit}\non test items, {name}")
        seeds = len({row["seed"] for row in rows})
        title = f"mean of {seeds} seeds, bars: lowest to highest" if seeds > 1 else "one seed"
        axes.set_title(title, fontsize=10, loc="left", color="#555555")
        return figure


def unit_of(rows: list[Row]) -> str:
    """What the epsilons are about, in words, with the delta at which they hold if there is one."""
    ((unit, delta),) = {(row["unit"], row.get("delta")) for row in rows}
    return WHAT[unit] if delta is None else f"{WHAT[unit]} at delta {delta:g}"


def save(figure: Figure, path: Path) -> None:
    """Writes a figure with the fonts and the fixed names it was drawn for; PNG or SVG, by the path."""
    with mpl.rc_context(STYLE):
        if path.suffix == ".png":
            figure.savefig(path, dpi=160)
        else:
            figure.savefig(path, metadata={"Date": None})


def _lines(axes: Axes, found: Scores) -> list[tuple[float, float, str, str]]:
    """Draws the methods; returns where each line ends, its name and its colour."""
    ends: list[tuple[float, float, str, str]] = []
    methods = [(method, by) for method, by in found.items() if method != CLEAN]
    for place, (colour, (method, by)) in enumerate(zip(COLOURS * len(methods), methods, strict=False)):
        aside = 1.025 ** (place - (len(methods) - 1) / 2)  # so that ranges do not cover one another
        epsilons = [epsilon * aside for epsilon in by]
        means = [statistics.mean(values) for values in by.values()]
        axes.vlines(
            epsilons,
            [*map(min, by.values())],
            [*map(max, by.values())],
            color=colour,
            linewidth=1.1,
            alpha=0.55,
        )
        axes.plot(epsilons, means, color=colour, marker="o", markersize=4.5, linewidth=1.8)
        ends.append((epsilons[-1], means[-1], method, colour))
    return ends


def floor_of(rows: list[Row]) -> float:
    """What a model comes to that no label was shown to: one class of K, ranks at random, the middle of the range."""
    match rows[0]["recipe"]["score"]:
        case "accuracy":
            return 100 / rows[0]["num_classes"]
        case "auc":
            return 50.0
        case _:
            return rows[0]["floor"]


def _limits(found: Scores, floor: float, score: Score) -> tuple[float, float]:
    """All of a share, or its upper part if nothing is near the floor; of an error, from a bit below the least to a bit above the largest
    mean, or the floor."""
    if score.unit == "%":
        least = min(value for by in found.values() for values in by.values() for value in values)
        far = least - floor > FAR
        return (10.0 * math.floor((least - 5) / 10) if far else 0.0), 101.0
    means = [statistics.mean(values) for by in found.values() for values in by.values()]
    low, high = min(means), max(*means, floor)
    return low - 0.1 * (high - low), high + 0.08 * (high - low)


def _reference(axes: Axes, clean: list[float] | None, floor: float, score: Score, *, ceiling: str) -> None:
    """The two lines between which scores are expected, each with its name where curves are not."""
    inside = axes.get_yaxis_transform()

    def name(text: str, height: float, colour: str, *, above: bool, right: bool = False) -> None:
        axes.annotate(
            text, (0.99 if right else 0.01, height), xytext=(0, 2 if above else -3), xycoords=inside, textcoords="offset points",
            color=colour, fontsize=9.5, ha="right" if right else "left", va="bottom" if above else "top",
        )  # fmt: skip

    bottom, unit = axes.get_ylim()[0], f" {score.unit}" if score.unit else ""
    if floor < bottom:
        name(
            f"{score.floor}, {score.text(floor)}{unit}, is far below",
            bottom,
            "#666666",
            above=True,
            right=True,
        )
    else:
        axes.axhline(floor, color="#8a8a8a", linewidth=1, linestyle=":")
        name(score.floor, floor, "#666666", above=True, right=True)
    if clean:
        mean = statistics.mean(clean)
        axes.axhline(mean, color="#444444", linewidth=1.2, linestyle="--")
        name(f"{ceiling}: {score.text(mean)}{unit}", mean, "#444444", above=False)


def _name_ends(axes: Axes, ends: list[tuple[float, float, str, str]], *, upwards: bool) -> None:
    """Writes each name to the right, level with the end of its line or as near as the others let it: they give way down, or up."""
    low, high = axes.get_ylim()
    side = -1 if upwards else 1
    gap, last = 0.056 * (high - low), math.inf
    for x, y, name, colour in sorted(ends, key=lambda end: -side * end[1]):
        last = min(side * y, last - gap)
        axes.annotate(
            name,
            (x, y),
            xytext=(1.03, side * last),
            textcoords=("axes fraction", "data"),
            color=colour,
            va="center",
            annotation_clip=False,
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "alpha": 0.6,
                "relpos": (0, 0.5),
                "shrinkA": 1,
                "shrinkB": 4,
            },
        )
