"""The figure of the ablation: what was measured, and beside it what the laws of the mechanisms alone say."""

import statistics
from collections.abc import Mapping
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from distill.curve_figures import COLOURS
from distill.report_figures import STYLE

SHADES = ("#111111", "#4d4d4d", "#7f7f7f", "#ababab")  # of epsilons, the smallest first
RULES = {"information": ("srr, information", "-"), "accuracy": ("srr, accuracy", "--")}


def draw(
    lines: Mapping[str, Mapping[float, list[float]]],
    analytic: list[dict[str, Any]],
    entropies: Mapping[str, Mapping[float, float]],
) -> Figure:
    """Draws accuracy against epsilon, and what a selective answer tells against what was known before it.

    Args:
        lines: shares of the test images by name and epsilon, a value for each seed.
        analytic: rows of `distill.analytic_curves.curves`.
        entropies: by first stage and epsilon, the mean entropy of the prior that its student gave, in nats.
    """
    with mpl.rc_context({**STYLE, "font.size": 10}):
        figure = Figure(figsize=(10.4, 5.2), layout="constrained")
        measured, laws = figure.subplots(1, 2)
        _measured(measured, lines)
        _laws(laws, analytic, entropies["subset"])
        return figure


def _measured(axes: Axes, lines: Mapping[str, Mapping[float, list[float]]]) -> None:
    every = sorted({epsilon for by in lines.values() for epsilon in by})
    for place, (colour, (name, by)) in enumerate(zip(COLOURS, lines.items(), strict=False)):
        aside = 1.02 ** (place - (len(lines) - 1) / 2)  # so that ranges do not cover one another
        percent = {aside * epsilon: [100 * value for value in values] for epsilon, values in by.items()}
        axes.vlines(
            [*percent],
            [*map(min, percent.values())],
            [*map(max, percent.values())],
            color=colour,
            linewidth=1.1,
            alpha=0.55,
        )
        means = [statistics.mean(values) for values in percent.values()]
        axes.plot([*percent], means, color=colour, marker="o", markersize=4, linewidth=1.8, label=name)
    axes.set_xscale("log")
    axes.set_xticks(every, [f"{epsilon:g}" for epsilon in every])
    axes.minorticks_off()
    lowest = min(100 * value for by in lines.values() for values in by.values() for value in values)
    axes.set_ylim(lowest - 11, 101)  # room for the names below the lines
    axes.set_xlabel("epsilon for one answer of the teacher (log scale)")
    axes.set_ylabel("accuracy on test items, digits (%)")
    seeds = len(next(iter(next(iter(lines.values())).values())))
    title = f"measured: mean of {seeds} seeds, bars: lowest to highest" if seeds > 1 else "measured: one seed"
    axes.set_title(title, fontsize=10, loc="left")
    axes.legend(frameon=False, loc="lower right", fontsize=9)


def _laws(axes: Axes, rows: list[dict[str, Any]], entropies: Mapping[float, float]) -> None:
    told = {(row["mechanism"], row["prior"], row["epsilon"]): row["information"] for row in rows}
    entropy = {row["prior"]: row["entropy"] for row in rows}
    places = sorted(entropy, key=entropy.__getitem__)
    for colour, (epsilon, known) in zip(SHADES, entropies.items(), strict=True):
        for mechanism, style in RULES.values():
            gains = [told[mechanism, prior, epsilon] / told["rr", prior, epsilon] for prior in places]
            axes.plot(
                [entropy[prior] for prior in places], gains, color=colour, linestyle=style, linewidth=1.8
            )
            if style == "-":
                at = np.interp(known, [entropy[prior] for prior in places], gains)
                axes.plot(known, at, "o", color=colour)
                axes.annotate(
                    f"epsilon {epsilon:g}",
                    (entropy[places[0]], gains[0]),
                    xytext=(4, 0),
                    textcoords="offset points",
                    color=colour,
                    va="center",
                    annotation_clip=False,
                )
    axes.axhline(1, color="#8a8a8a", linewidth=1, linestyle=":")
    axes.set_xlim(max(entropy.values()) + 0.05, min(entropy.values()) - 0.03)
    axes.set_ylim(bottom=0.6)
    axes.set_xlabel("entropy of the prior (nats): left little is known, right much")
    axes.set_ylabel("information of one answer, against randomized response")
    axes.set_title("by the laws alone; dots: the prior that a first stage gave", fontsize=10, loc="left")
    styles = [Line2D([], [], color="#444444", linestyle=style) for _, style in RULES.values()]
    axes.legend(styles, [f"srr by {rule}" for rule in RULES], frameon=False, loc="upper left", fontsize=9)
