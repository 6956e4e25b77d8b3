"""Utility of every mechanism against epsilon, without training: writes benchmarks/results/mechanism_curves.json and docs/figures/*.svg.

    python -m benchmarks.mechanism_curves             # measure and draw, about a minute
    python -m benchmarks.mechanism_curves --draw      # draw from the committed JSON

For classes: the mutual information of label and answer as a share of the most that any epsilon-DP mechanism could give for that
prior (a linear program over all extreme channels, P. Kairouz et al., arXiv 1407.1338). For real values: the mean squared error.
"""

import argparse
import json
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from scipy.optimize import linprog

import labeldp
from labeldp.mechanisms import Mechanism

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "mechanism_curves.json"
FIGURES = ROOT / "docs" / "figures"
NUM_CLASSES = 10
EPSILONS = [0.125, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 3.0, 4.0, 6.0, 8.0]
DRAWS = 20_000
BLUE, GREY, BLACK = "#0072B2", "#b8b8b8", "#222222"

CLASS_MECHANISMS: dict[str, Callable[[float], Mechanism]] = {
    "randomized_response": lambda e: labeldp.RandomizedResponse(e, NUM_CLASSES),
    "selective_accuracy": lambda e: labeldp.SelectiveRandomizedResponse(e, NUM_CLASSES),
    "selective_information": lambda e: labeldp.SelectiveRandomizedResponse(
        e, NUM_CLASSES, size="information", outside="other"
    ),
    "subset_selection": lambda e: labeldp.SubsetSelection(e, NUM_CLASSES),
    "partitioned": lambda e: labeldp.PartitionedRandomizedResponse(e, NUM_CLASSES),
    "unary_symmetric": lambda e: labeldp.UnaryEncoding(e, NUM_CLASSES),
    "unary_optimized": lambda e: labeldp.UnaryEncoding(e, NUM_CLASSES, variant="optimized"),
    "noisy_one_hot_laplace": lambda e: labeldp.NoisyOneHot(e, NUM_CLASSES),
    "noisy_one_hot_gaussian": lambda e: labeldp.NoisyOneHot(e, NUM_CLASSES, noise="gaussian", delta=1e-5),
}
SHOWN = {  # the figure of each section of docs/mechanisms.md: its mechanisms and what their lines are called
    "randomized_response": {"randomized_response": "RandomizedResponse"},
    "selective": {"selective_information": "information, other", "selective_accuracy": "accuracy, uniform"},
    "subset_selection": {"subset_selection": "SubsetSelection"},
    "partitioned": {"partitioned": "Partitioned"},
    "unary_encoding": {"unary_symmetric": "symmetric", "unary_optimized": "optimized"},
    "noisy_one_hot": {"noisy_one_hot_laplace": "Laplace", "noisy_one_hot_gaussian": "Gaussian, delta 1e-5"},
}


def priors() -> dict[str, np.ndarray]:
    """What is known of an item before its label: nothing, or what a fair student knows."""
    rng = np.random.default_rng(0)
    return {
        "no prior knowledge": np.full((1, NUM_CLASSES), 1 / NUM_CLASSES),
        "an informative prior": rng.dirichlet(np.full(NUM_CLASSES, 0.5), size=20),
    }


def most_information(prior: np.ndarray, epsilon: float) -> float:
    """The largest mutual information of any epsilon-DP channel, in nats: a linear program over the 2^K staircase columns."""
    patterns = (np.arange(2**NUM_CLASSES)[:, None] >> np.arange(NUM_CLASSES)) % 2 == 1
    columns = np.where(patterns, np.exp(epsilon), 1.0)
    mass = columns @ prior
    gain = (columns * prior * np.log(columns / mass[:, None])).sum(axis=1)
    result = linprog(-gain, A_eq=columns.T, b_eq=np.ones(NUM_CLASSES), method="highs")
    return float(-result.fun)


def information(mechanism: Mechanism, prior: np.ndarray, rng: np.random.Generator) -> float:
    """Mutual information of label and answer in nats; by simulation where there are too many answers to list."""
    if mechanism.num_outputs <= 2**NUM_CLASSES:
        channel = mechanism.channel(prior)
        joint = channel * prior[:, None]
        cells = joint > 0
        output = np.broadcast_to(joint.sum(axis=0), joint.shape)
        return float((joint[cells] * np.log(channel[cells] / output[cells])).sum())
    labels = rng.choice(NUM_CLASSES, size=DRAWS, p=prior)
    source = labeldp.SeededSource(int(rng.integers(2**32)))
    posterior = labeldp.privatize(mechanism, labels, prior=prior, source=source).posterior(prior)
    known = (
        posterior > 0
    )  # the mean divergence of posterior from prior has far less variance than the mean log ratio
    divergence = posterior * np.log(np.where(known, posterior, 1) / prior)
    return float(divergence.sum(axis=1).mean())


def class_curves() -> dict[str, dict[str, list[float]]]:
    """For each prior and mechanism the share of the attainable information at each epsilon."""
    curves: dict[str, dict[str, list[float]]] = {}
    for prior_name, rows in priors().items():
        best = [np.mean([most_information(row, e) for row in rows]) for e in EPSILONS]
        curves[prior_name] = {
            name: [
                float(np.mean([information(make(e), row, np.random.default_rng(1)) for row in rows]) / most)
                for e, most in zip(EPSILONS, best, strict=True)
            ]
            for name, make in CLASS_MECHANISMS.items()
        }
    return curves


def regression_curves() -> dict[str, Any]:
    """Root mean squared error of one answer about a value in 0 .. 50 whose prior falls off exponentially."""
    values = np.arange(51.0)
    prior = np.exp(-values / 12)
    prior /= prior.sum()
    spread = float(np.sqrt(prior @ (values - prior @ values) ** 2))
    errors: dict[str, list[float]] = {"bins": [], "unbiased": [], "laplace": []}
    for epsilon in EPSILONS:
        bins = labeldp.RandomizedResponseOnBins(epsilon, tuple(values), tuple(prior))
        unbiased = labeldp.UnbiasedRandomizer(epsilon, tuple(values), tuple(prior))
        for name, mechanism in (("bins", bins), ("unbiased", unbiased)):
            channel = mechanism.channel()
            squares = (np.asarray(mechanism.outputs()) - values[:, None]) ** 2
            errors[name].append(float(np.sqrt(prior @ (channel * squares).sum(axis=1))))
        errors["laplace"].append(float(np.sqrt(2) * 50 / epsilon))
    return {"standard_deviation": spread, "errors": errors}


def draw(results: dict[str, Any]) -> None:
    """One figure for each section of docs/mechanisms.md."""
    FIGURES.mkdir(exist_ok=True)
    style: Any = {
        "font.size": 11,
        "svg.fonttype": "none",
        "svg.hashsalt": "labeldp",
        "axes.spines.top": False,
        "axes.spines.right": False,
    }
    with mpl.rc_context(style):
        for section, lines in SHOWN.items():
            _save(_class_figure(results, lines), section)
        _save(_regression_figure(results), "regression")


def _class_figure(results: dict[str, Any], lines: dict[str, str]) -> Figure:
    figure = Figure(figsize=(8.2, 3.1), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, (prior_name, curves) in zip(panels, results["classes"].items(), strict=True):
        for name, shares in curves.items():
            if name not in lines:
                axes.plot(results["epsilons"], np.multiply(100, shares), color=GREY, linewidth=1, zorder=1)
        for style, (name, text) in zip(("-", "--"), lines.items(), strict=False):
            shares = np.multiply(100, curves[name])
            axes.plot(
                results["epsilons"], shares, color=BLUE, linewidth=2.4, linestyle=style, zorder=2, label=text
            )
        axes.set_title(prior_name, fontsize=11, loc="left")
        axes.set_xscale("log", base=2)
        axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
        axes.set_ylim(0, 103)
        axes.set_xlabel("epsilon of one answer")
    panels[0].set_ylabel("share of the attainable\ninformation (%)")
    panels[1].plot([], [], color=GREY, linewidth=1, label="other mechanisms")
    handles, texts = panels[1].get_legend_handles_labels()
    figure.legend(handles, texts, frameon=False, ncols=3, loc="outside upper center")
    return figure


def _regression_figure(results: dict[str, Any]) -> Figure:
    figure = Figure(figsize=(6.4, 3.3), layout="constrained")
    axes = figure.subplots()
    errors, spread = results["regression"]["errors"], results["regression"]["standard_deviation"]
    named = {
        "laplace": ("Laplace noise", GREY, "-"),
        "unbiased": ("UnbiasedRandomizer", BLUE, "--"),
        "bins": ("RandomizedResponseOnBins", BLUE, "-"),
    }
    for name, (text, colour, style) in named.items():
        axes.plot(results["epsilons"], errors[name], color=colour, linestyle=style, linewidth=2.2, label=text)
    axes.axhline(spread, color=BLACK, linewidth=1, linestyle=":")
    axes.text(0.125, spread * 1.12, "answering the mean, whatever the label", fontsize=9, color=BLACK)
    axes.set_xscale("log", base=2)
    axes.set_yscale("log")
    axes.set_xticks([0.125, 0.25, 0.5, 1, 2, 4, 8], ["1/8", "1/4", "1/2", "1", "2", "4", "8"])
    axes.set_yticks([0.1, 1, 10, 100, 1000], ["0.1", "1", "10", "100", "1000"])
    axes.set_xlabel("epsilon of one answer")
    axes.set_ylabel("root mean squared error\n(labels in 0 .. 50)")
    axes.legend(frameon=False, fontsize=9, loc="lower left")
    return figure


def _save(figure: Figure, name: str) -> None:
    figure.savefig(FIGURES / f"{name}.svg", metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draw", action="store_true", help="draw from the committed JSON")
    if not parser.parse_args().draw:
        warnings.simplefilter("ignore", labeldp.PrivacyWarning)  # seeded simulations, and sizes of one
        results = {"epsilons": EPSILONS, "classes": class_curves(), "regression": regression_curves()}
        RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    draw(json.loads(RESULTS.read_text()))


if __name__ == "__main__":
    main()
