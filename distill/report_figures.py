"""The figures of the report, each an inline SVG. Colours are those of Okabe and Ito, safe for colour-blind readers."""

import io
from collections import defaultdict
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import accounting
from distill.pool import Pool

BLUE, ORANGE, GREEN, GREY = "#0072B2", "#D55E00", "#009E73", "#8a8a8a"
SAMPLES_PER_CLASS = 12
STYLE: Any = {
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "labeldp",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "font.family": "sans-serif",
}


def accuracies(accuracy: dict[str, float], privacy: dict[str, Any], num_test_images: int) -> str:
    """Bars of teacher, clean-label and private student."""
    names = [
        "teacher",
        "student of clean answers",
        f"private student\n(epsilon {accounting.rounded_up(privacy['epsilon_per_answer'])} per answer)",
    ]
    values = [100 * accuracy[key] for key in ("teacher", "clean_student", "private_student")]
    with mpl.rc_context(STYLE):
        figure, axes = _figure(6.6, 2.1)
        axes.barh(names, values, color=[GREY, GREY, BLUE], height=0.62)
        for row, value in enumerate(values):
            axes.text(value - 1, row, f"{value:.1f} %", va="center", ha="right", color="white", weight="bold")
        axes.invert_yaxis()
        axes.set_xlim(0, 100)
        axes.set_xlabel(f"accuracy on {num_test_images} test images (%)")
        axes.tick_params(axis="y", length=0)
        return _svg(figure)


def pool_samples(pool: Pool, shown: np.ndarray, num_classes: int) -> str:
    """Images of the pool, in columns by the class that the released student sees in them."""
    _, channels, height, width = pool.images.shape
    sheet = np.full(
        (SAMPLES_PER_CLASS * (height + 1), num_classes * (width + 1), channels), 255, dtype=np.uint8
    )
    for column in range(num_classes):
        for row, item in enumerate(np.flatnonzero(shown == column)[:SAMPLES_PER_CLASS]):
            top, left = row * (height + 1), column * (width + 1)
            sheet[top : top + height, left : left + width] = pool.images[item].permute(1, 2, 0).numpy()
    with mpl.rc_context(STYLE):
        figure, axes = _figure(6.6, 6.6 * sheet.shape[0] / sheet.shape[1])
        axes.imshow(sheet.squeeze(-1) if channels == 1 else sheet, cmap="gray", interpolation="nearest")
        axes.set_xticks(
            [(column + 0.5) * (width + 1) - 1 for column in range(num_classes)],
            [str(column) for column in range(num_classes)],
        )
        axes.set_yticks([])
        axes.xaxis.tick_top()
        axes.tick_params(length=0)
        for spine in axes.spines.values():
            spine.set_visible(False)
        return _svg(figure)


def training_curves(figures: list[dict[str, Any]]) -> str:
    """The loss of each phase, in panels of their own: their losses are different quantities."""
    curves: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for row in figures:
        if "loss" in row:
            curves[row["phase"]].append((row["step"], row["loss"]))
    with mpl.rc_context(STYLE):
        columns = 3
        rows = -(-len(curves) // columns)
        figure = Figure(figsize=(6.6, 1.75 * rows), layout="constrained")
        for index, (phase, points) in enumerate(curves.items()):
            axes = figure.add_subplot(rows, columns, index + 1)
            axes.plot(*np.array(points).T, color=BLUE, linewidth=1.2)
            axes.set_title(phase, fontsize=10, loc="left")
            axes.set_xlabel("step", fontsize=9)
            axes.set_ylabel("loss (nats)", fontsize=9)
            axes.tick_params(labelsize=8)
        return _svg(figure)


def candidate_sizes(sizes: list[int]) -> str:
    """How many items were answered among how many candidates."""
    share = 100 * np.array(sizes) / sum(sizes)
    with mpl.rc_context(STYLE):
        figure, axes = _figure(6.6, 2.1)
        axes.bar(range(1, len(sizes) + 1), share, color=BLUE, width=0.7)
        for index, value in enumerate(share):
            if value >= 0.05:
                axes.text(index + 1, value, f"{value:.1f}", ha="center", va="bottom", fontsize=9)
        axes.set_xticks(range(1, len(sizes) + 1))
        axes.set_xlabel("number of candidates k")
        axes.set_ylabel("items (%)")
        axes.margins(y=0.15)
        return _svg(figure)


def wall_times(seconds: dict[str, float]) -> str:
    """Wall time of each phase."""
    names = [name for name in seconds if name != "all"]
    values = [seconds[name] for name in names]
    with mpl.rc_context(STYLE):
        figure, axes = _figure(6.6, 0.32 * len(names) + 0.6)
        axes.barh(names, values, color=GREEN, height=0.62)
        for row, value in enumerate(values):
            axes.text(value, row, f" {value:.1f} s", va="center", fontsize=9)
        axes.invert_yaxis()
        axes.set_xlabel(f"wall time (s), {seconds['all']:.1f} s in all")
        axes.tick_params(axis="y", length=0)
        axes.margins(x=0.12)
        return _svg(figure)


def _figure(width: float, height: float) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    return figure, figure.add_subplot()


def _svg(figure: Figure) -> str:
    """The figure as an svg element, without the XML prologue."""
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :]
