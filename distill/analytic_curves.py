"""What mechanisms tell, without training: right guesses, information and items needed over epsilon, in seconds."""

import json
import math
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import labeldp
from distill.curve_figures import COLOURS, save
from distill.report_figures import STYLE
from labeldp.learning.sample_size import required_sample_size

DRAWS = 4000
MARGIN = 0.01
PRIORS: dict[str, float] = {"nothing known": math.inf, "something known": 0.5, "much known": 0.1}
"""Concentration of the Dirichlet law of an item's prior; the smaller, the more is known of the label before it is released."""

MECHANISMS: dict[str, Callable[[float, int], labeldp.Mechanism]] = {
    "rr": labeldp.RandomizedResponse,
    "subset": labeldp.SubsetSelection,
    "unary": labeldp.UnaryEncoding,
    "srr, accuracy": labeldp.SelectiveRandomizedResponse,
    "srr, information": lambda e, k: labeldp.SelectiveRandomizedResponse(
        e, k, size="information", outside="other"
    ),
    "partition": labeldp.PartitionedRandomizedResponse,
}

Row = dict[str, Any]


def curves(
    epsilons: tuple[float, ...], num_classes: int, *, priors: Mapping[str, float] = PRIORS, seed: int = 0
) -> list[Row]:
    """What each mechanism tells of a label whose prior is known, and what it takes to count classes with it.

    Each row holds, for one mechanism, prior and epsilon: `right`, the probability that the likeliest class given the answer is the
    label; `information`, the mutual information of label and answer as a share of the entropy of the prior; `entropy`, of the prior in
    nats; and, where the prior is flat, `items`, with which every class's share of the population is within 1 point at 95 %, if the
    mechanism can be counted with. Means over DRAWS simulated items of what Bayes' rule says for each.

    Args:
        epsilons: of one label.
        num_classes: K >= 2.
        priors: concentrations of the laws of an item's prior, by name.
        seed: of the simulation.
    """
    rows: list[Row] = []
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", labeldp.PrivacyWarning)  # simulated labels need no secret noise
        for number, (known, concentration) in enumerate(priors.items()):
            rng = np.random.default_rng([seed, number])
            prior = _prior(rng, concentration, num_classes)
            labels = (prior.cumsum(axis=1) > rng.random((DRAWS, 1))).argmax(axis=1)
            entropy = float(_divergence_sum(prior, np.ones_like(prior)).mean() * -1)
            for name, make in MECHANISMS.items():
                for epsilon in epsilons:
                    mechanism = make(epsilon, num_classes)
                    noisy = labeldp.privatize(
                        mechanism, labels, prior=prior, source=labeldp.SeededSource(seed)
                    )
                    posterior = noisy.posterior(prior)
                    told = float(_divergence_sum(posterior, prior).mean())
                    flat = math.isinf(concentration)
                    rows.append(
                        {
                            "prior": known,
                            "mechanism": name,
                            "epsilon": epsilon,
                            "num_classes": num_classes,
                            "entropy": entropy,
                            "right": float(posterior.max(axis=1).mean()),
                            "information": told / entropy,
                            "items": _items(mechanism)
                            if flat and name in ("rr", "subset", "unary")
                            else None,
                        }
                    )
    return rows


def _prior(rng: np.random.Generator, concentration: float, num_classes: int) -> np.ndarray:
    if math.isinf(concentration):
        return np.full((DRAWS, num_classes), 1 / num_classes)
    rows = rng.dirichlet(np.full(num_classes, concentration), size=DRAWS)
    return np.maximum(rows, 1e-12) / np.maximum(rows, 1e-12).sum(axis=1, keepdims=True)


def _divergence_sum(law: np.ndarray, other: np.ndarray) -> np.ndarray:
    """For each row `sum law log(law / other)`."""
    return np.sum(
        law * np.log(np.where(law > 0, law, 1) / other, where=law > 0, out=np.zeros_like(law)), axis=1
    )


def _items(mechanism: labeldp.Mechanism) -> int:
    return required_sample_size(mechanism, margin=MARGIN)


def write(rows: list[Row], folder: Path) -> list[str]:
    """Writes analytic.json, analytic.png, analytic.svg and analytic.md; returns the lines a person reads."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "analytic.json").write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    for end in ("png", "svg"):
        save(draw(rows), folder / f"analytic.{end}")
    page = table(rows)
    (folder / "analytic.md").write_text(
        page + "\n\n![what mechanisms tell](analytic.svg)\n", encoding="utf-8"
    )
    return [
        page,
        "",
        f"figure: {folder / 'analytic.png'}, {folder / 'analytic.svg'}; numbers: {folder / 'analytic.json'}",
    ]


def draw(rows: list[Row]) -> Figure:
    """Right guesses, and information against the mechanism that tells most, a column for each prior."""
    most: dict[tuple[str, float], float] = {}
    for row in rows:
        at = row["prior"], row["epsilon"]
        most[at] = max(most.get(at, 0.0), row["information"])
    measures: dict[str, Callable[[Row], float]] = {
        f"right guesses\namong {rows[0]['num_classes']} classes (%)": lambda row: row["right"],
        "information on the label\n(% of the best line)": lambda row: (
            row["information"] / most[row["prior"], row["epsilon"]]
        ),
    }
    with mpl.rc_context({**STYLE, "font.size": 10}):
        figure = Figure(figsize=(9.6, 5.8), layout="constrained")
        panels = figure.subplots(2, len(PRIORS), sharex=True, sharey="row")
        for line, (words, measure) in zip(panels, measures.items(), strict=True):
            for axes, known in zip(line, PRIORS, strict=True):
                _panel(axes, [row for row in rows if row["prior"] == known], measure)
            line[0].set_ylabel(words)
        for axes, known in zip(panels[0], PRIORS, strict=True):
            entropy = next(row["entropy"] for row in rows if row["prior"] == known)
            axes.set_title(f"{known}: {entropy:.1f} nats", fontsize=10, loc="left")
        for axes in panels[1]:
            axes.set_xlabel("epsilon of one label (log scale)")
        figure.legend(
            *panels[0, 0].get_legend_handles_labels(), frameon=False, ncols=6, loc="outside upper center"
        )
        return figure


def _panel(axes: Axes, rows: list[Row], measure: Callable[[Row], float]) -> None:
    for name, colour in zip(MECHANISMS, COLOURS, strict=False):
        points = [(row["epsilon"], 100 * measure(row)) for row in rows if row["mechanism"] == name]
        axes.plot(
            *zip(*points, strict=True), color=colour, linewidth=1.8, marker="o", markersize=3, label=name
        )
    axes.set_xscale("log")
    every = sorted({row["epsilon"] for row in rows})
    axes.set_xticks(every, [f"{epsilon:g}" for epsilon in every])
    axes.minorticks_off()
    axes.set_ylim(0, 103)


def table(rows: list[Row]) -> str:
    """Items needed, where nothing is known of them, as Markdown."""
    counted = [row for row in rows if row["items"] is not None]
    every = sorted({row["epsilon"] for row in counted})
    names = list(dict.fromkeys(row["mechanism"] for row in counted))
    cells = {(row["mechanism"], row["epsilon"]): f"{row['items']:,}" for row in counted}
    lines = [
        f"| items for a share to within 1 point (95 %), {rows[0]['num_classes']} classes, epsilon of one label | "
        f"{' | '.join(f'{epsilon:g}' for epsilon in every)} |",
        "| --- |" + " --- |" * len(every),
        *(f"| {name} | {' | '.join(cells[name, epsilon] for epsilon in every)} |" for name in names),
    ]
    return "\n".join(lines)
