"""The figures of the pages, each an inline SVG that takes its colours from the page, so that it reads in light and in dark.

Figures are drawn small, and the page puts them side by side where there is room: their letters stay readable on a telephone.
"""

import io
import math
import re
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

# Okabe and Ito's colours, safe for colour-blind readers; the page may replace each by its variable.
COLOURS = {"blue": "#0072b2", "orange": "#d55e00", "green": "#009e73", "grey": "#8a8a8a"}
BLUE, ORANGE, GREEN, GREY = COLOURS.values()
INK = "#010203"
MORE = ("#cc79a7", "#e69f00", "#9673d0", "#b8a800")
CYCLE = (BLUE, ORANGE, GREEN, *MORE, GREY)
STYLE: Any = {
    "font.size": 10,
    "font.family": "sans-serif",
    "svg.fonttype": "none",
    "svg.hashsalt": "labeldp",
    "axes.spines.top": False,
    "axes.spines.right": False,
}
ON_PAGE: Any = {
    **STYLE,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    **{f"{part}.color": INK for part in ("text", "xtick", "ytick")},
    **{f"axes.{part}color": INK for part in ("edge", "label", "title")},
    "savefig.transparent": True,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "axes.labelsize": 9,
}
WIDE, NARROW = 4.7, 2.4  # inches: a whole column of the page, or half of it
LARGEST_IMAGE = 0.5
MOST_COLUMNS = 20
MOST_CELLS_WITH_NUMBERS = 12


def accuracies(values: Sequence[tuple[str, float, tuple[float, float]]], num_test_images: int) -> str:
    """Bars of accuracies (name, share, interval); the last one, which is private, stands out."""
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(WIDE, 0.42 * len(values) + 0.65)
        for row, (_, value, (low, high)) in enumerate(values):
            colour = BLUE if row == len(values) - 1 else GREY
            axes.barh(row, 100 * value, color=colour, height=0.6)
            axes.plot([100 * low, 100 * high], [row, row], color=INK, linewidth=1.2)
            axes.text(100 * high + 1.5, row, f"{100 * value:.1f} %", va="center", weight="bold")
        axes.set_yticks(range(len(values)), [name for name, _, _ in values])
        axes.invert_yaxis()
        axes.set_xlim(0, 114)
        axes.set_xticks(range(0, 101, 20))
        axes.set_xlabel(f"accuracy on {num_test_images:,} test images (%), with 95 % interval")
        axes.tick_params(axis="y", length=0, labelsize=10)
        return _svg(figure)


def pool_samples(images: list[np.ndarray], classes: Sequence[str]) -> str:
    """Images of the pool (n, C, H, W), one column for each class; of many classes, for the first ones that have images."""
    shown = [c for c, stack in enumerate(images) if len(images) <= MOST_COLUMNS or len(stack)][:MOST_COLUMNS]
    images, classes = [images[c] for c in shown], [classes[c] for c in shown]
    rows = max(map(len, images))
    channels, height, width = next(column.shape[1:] for column in images if len(column))
    size = (rows * (height + 1), len(images) * (width + 1), 4)
    sheet = np.full(size, 128, dtype=np.uint8)  # half clear between images, on light and dark pages
    for column, stack in enumerate(images):
        for row, image in enumerate(stack):
            place = sheet[row * (height + 1) :, column * (width + 1) :][:height, :width]
            place[..., :3] = image.transpose(1, 2, 0) if channels == 3 else image[0][..., None]
            place[..., 3] = 255
    with mpl.rc_context(ON_PAGE):
        across = min(WIDE, LARGEST_IMAGE * len(images))
        long = max(map(len, _shortened(classes))) > 3
        figure, axes = _figure(across, across * sheet.shape[0] / sheet.shape[1] + (0.9 if long else 0.2))
        axes.imshow(sheet, interpolation="none")
        axes.set_xticks([(c + 0.5) * (width + 1) - 1 for c in range(len(images))])
        _name_classes(axes, "x", classes)
        axes.xaxis.tick_top()
        _bare(axes)
        axes.set_yticks([])
        return _svg(figure)


def curve(points: list[list[float]], *, title: str, label: str) -> str:
    """One figure of one phase of training."""
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(NARROW, 1.7)
        axes.plot(*np.array(points).T, color=BLUE, linewidth=1.3, marker="." if len(points) < 3 else "")
        axes.set(title=title, xlabel="step", ylabel="loss (nats)" if label == "loss" else label)
        axes.xaxis.set_major_locator(MaxNLocator(4, integer=True, min_n_ticks=1))
        return _svg(figure)


def confusion(counts: list[list[int]], classes: Sequence[str]) -> str:
    """A confusion matrix: rows are the true classes, each scaled to its own number of images."""
    table = np.array(counts)
    share = table / np.maximum(1, table.sum(axis=1, keepdims=True))
    paint = np.zeros((*table.shape, 4))
    paint[..., :3] = to_rgb(BLUE)
    paint[..., 3] = 0.65 * np.sqrt(share)  # the root lets rare confusions be seen
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(3.6, 3.6)
        axes.imshow(paint, interpolation="none")
        if len(table) <= MOST_CELLS_WITH_NUMBERS:
            for (row, column), count in np.ndenumerate(table):
                if count:
                    axes.text(
                        column, row, str(count), ha="center", va="center", fontsize=8 if count < 1000 else 6.5
                    )
            axes.set_xticks(range(len(table)))
            axes.set_yticks(range(len(table)))
            _name_classes(axes, "x", classes)
            _name_classes(axes, "y", classes)
        axes.set(xlabel="predicted class", ylabel="true class")
        _bare(axes)
        return _svg(figure)


def reliability(calibration: dict[str, Any]) -> str:
    """How often predictions are right, against how sure they are; dots as large as there are images."""
    bins = calibration["bins"]
    confidence, accuracy, images = (
        np.array([each[k] for each in bins]) for k in ("confidence", "accuracy", "images")
    )
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(3.1, 3.1)
        axes.plot([0, 100], [0, 100], color=GREY, linewidth=1, linestyle="--")
        axes.vlines(100 * confidence, 100 * confidence, 100 * accuracy, color=ORANGE, linewidth=1.5)
        axes.scatter(
            100 * confidence,
            100 * accuracy,
            s=14 + 150 * images / images.sum(),
            color=BLUE,
            zorder=3,
            alpha=0.85,
        )
        axes.set(xlim=(0, 104), ylim=(0, 104), xlabel="confidence (%)", ylabel="right (%)", aspect="equal")
        axes.set_title(f"expected error {100 * calibration['expected_error']:.1f} points")
        return _svg(figure)


def candidate_sizes(sizes: list[int]) -> str:
    """How many items were answered among how many candidates."""
    share = 100 * np.array(sizes) / sum(sizes)
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(WIDE, 2.0)
        axes.bar(range(1, len(sizes) + 1), share, color=[ORANGE, *[BLUE] * (len(sizes) - 1)], width=0.7)
        if len(sizes) <= MOST_CELLS_WITH_NUMBERS:
            for index, value in enumerate(share):
                if value >= 0.05:
                    axes.text(index + 1, value, f"{value:.1f}", ha="center", va="bottom", fontsize=9)
            axes.set_xticks(range(1, len(sizes) + 1))
        axes.set(xlabel="number of candidates k", ylabel="items (%)")
        axes.margins(y=0.15)
        return _svg(figure)


def wall_times(seconds: dict[str, float]) -> str:
    """Wall time of each phase."""
    names = [name for name in seconds if name != "all"]
    values = [seconds[name] for name in names]
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(WIDE, 0.3 * len(names) + 0.6)
        axes.barh(names, values, color=GREEN, height=0.62)
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:.1f} s", va="center", fontsize=9)
        axes.invert_yaxis()
        axes.set_xlabel(f"wall time (s); {seconds['all']:.1f} s in all")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.14)
        return _svg(figure)


def accuracy_against_epsilon(lines: dict[str, list[tuple[float, float, tuple[float, float]]]]) -> str:
    """Accuracy against epsilon per answer, with intervals (epsilon, share, interval); a line through the means of each set of runs."""
    with mpl.rc_context(ON_PAGE):
        outside = max(map(len, lines)) > 24 or len(lines) > 4  # where names would cover points
        figure, axes = _figure(WIDE, 3.2 + (0.21 * len(lines) if outside else 0))
        for colour, (name, points) in zip(CYCLE * len(lines), lines.items(), strict=False):
            for epsilon, value, (low, high) in points:
                axes.plot([epsilon] * 2, [100 * low, 100 * high], color=colour, linewidth=1, alpha=0.6)
                axes.plot(epsilon, 100 * value, color=colour, marker="o", markersize=4)
            epsilons = sorted({epsilon for epsilon, _, _ in points})
            means = [
                100 * np.mean([value for at, value, _ in points if at == epsilon]) for epsilon in epsilons
            ]
            axes.plot(epsilons, means, color=colour, linewidth=1.4, label=_ending(name, 64))
        ticks = sorted({point[0] for points in lines.values() for point in points})
        if ticks[0] > 0:
            axes.set_xscale("log")
        else:  # logarithms have no zero: below the smallest other epsilon the axis is straight
            axes.set_xscale("symlog", linthresh=min((tick for tick in ticks if tick > 0), default=1.0))
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set(xlabel="epsilon per answer", ylabel="accuracy (%)")
        if outside:
            figure.legend(frameon=False, loc="outside upper left", fontsize=9)
        else:
            axes.legend(frameon=False, loc="lower right")
        return _svg(figure)


def phases_of_runs(seconds: dict[str, dict[str, float]]) -> str:
    """Wall time of each run, by phase."""
    phases = list(dict.fromkeys(name for times in seconds.values() for name in times if name != "all"))
    with mpl.rc_context(ON_PAGE):
        figure, axes = _figure(WIDE, 0.36 * len(seconds) + 0.24 * math.ceil(len(phases) / 3) + 0.9)
        left = np.zeros(len(seconds))
        for colour, phase in zip(CYCLE * len(phases), phases, strict=False):
            values = np.array([times.get(phase, 0.0) for times in seconds.values()])
            axes.barh(range(len(seconds)), values, left=left, color=colour, height=0.62, label=phase)
            left += values
        axes.set_yticks(range(len(seconds)), [_ending(name) for name in seconds])
        axes.invert_yaxis()
        axes.set_xlabel("wall time (s)")
        axes.tick_params(axis="y", length=0)
        figure.legend(frameon=False, loc="outside upper center", ncols=3, fontsize=9)
        return _svg(figure)


def _ending(name: str, most: int = 32) -> str:
    """The end of a long name: paths differ there, and bars need room."""
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _shortened(names: Sequence[str], most: int = 11) -> list[str]:
    """Names that axes have room for, of characters that can be drawn."""
    plain = ["".join(c if c.isprintable() else "?" for c in name) for name in names]
    return [name if len(name) <= most else f"{name[: most - 1]}…" for name in plain]


def _name_classes(axes: Axes, side: Literal["x", "y"], classes: Sequence[str]) -> None:
    """Puts the names of classes at the ticks of one axis, upright where they are long."""
    names = _shortened(classes)
    upright: Any = {"rotation": 90} if side == "x" and max(map(len, names)) > 3 else {}
    axis = axes.xaxis if side == "x" else axes.yaxis
    axis.set_ticklabels(names, parse_math=False, **upright)


def _bare(axes: Axes) -> None:
    axes.tick_params(length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The figure as an svg element without the XML prologue, its colours left to the page."""
    buffer = io.StringIO()
    with warnings.catch_warnings():  # the reader's browser has the letters that this font lacks
        warnings.filterwarnings("ignore", message="Glyph")
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :].replace(INK, "currentColor")
    for name, colour in COLOURS.items():
        text = text.replace(colour, f"var(--{name}, {colour})")
    return re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
