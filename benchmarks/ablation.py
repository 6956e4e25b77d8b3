"""What selective answers buy, on digits: writes benchmarks/results/ablation.json and docs/figures/ablation.svg, prints a table.

    python -m benchmarks.ablation            # minutes on one core
    python -m benchmarks.ablation --draw     # draws and prints what is there

One teacher for each seed, and one pool of each kind, are asked by all variants; the noise is fresh and secret each time, and the epsilon
is that of one answer. Everything else is that of the seed preset: passes and batch of its students included, chosen for it on held-out
training images at epsilon 0.5. The accuracies are those of the last models on the test images, which decide nothing.
"""

import argparse
import json
import math
import statistics
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.ablation_figure import draw
from distill import analytic_curves, data
from distill.checkpoint import UNSAVED
from distill.config import Config
from distill.config_file import load_config
from distill.curve_figures import save
from distill.label_schemes import LabelScheme, label_scheme
from distill.pool import Pool
from distill.progress import RunProgress
from distill.recipe import teacher_and_pool
from distill.student import student_of, student_prior, train_student
from distill.teacher import answers
from distill.train import accuracy, one_hot
from labeldp import Mechanism, RandomizedResponse, SelectiveRandomizedResponse, SubsetSelection
from labeldp.learning.stages import Stage, StagedLabels, privatize

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ablation.json"
FIGURE = ROOT / "docs" / "figures" / "ablation.svg"
EPSILONS = (0.5, 1.0, 2.0, 4.0)
K = 10
SETTINGS = {"student.epochs": "3", "student.batch_size": "512"}  # as in benchmarks.end_to_end, "seed preset"
POOLS: dict[str, dict[str, str]] = {
    "trajectory": {},
    "procedural": {"pool.trajectory": "0", "pool.procedural": "1"},
    "strokes": {"pool.trajectory": "0", "pool.strokes": "1"},
}
CONCENTRATIONS = (math.inf, 8.0, 3.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.06, 0.04, 0.025, 0.015, 0.01)
CLEAN = "answers without noise"

Row = dict[str, Any]


@dataclass(frozen=True)
class Variant:
    """How a pool is asked and learnt from.

    Attributes:
        scheme: of an epsilon; its loss trains the student that is the prior, too.
        prior: of the second stage: "student" of the first, or "uniform".
        pool: of POOLS.
        loss_of_prior: of the student that is the prior, where it differs.
    """

    scheme: Callable[[float], LabelScheme]
    prior: str = "student"
    pool: str = "trajectory"
    loss_of_prior: str | None = None


def _seed(epsilon: float) -> LabelScheme:
    return label_scheme("seed", epsilon=epsilon, num_classes=K)


def _seed_with(**changes: Any) -> Callable[[float], LabelScheme]:
    return lambda epsilon: replace(_seed(epsilon), **changes)


def _halves(
    first: Callable[[float, int], Mechanism], second: Callable[[float, int], Mechanism], **how: Any
) -> Callable[[float], LabelScheme]:
    return lambda epsilon: LabelScheme((Stage(first(epsilon, K), 0.5), Stage(second(epsilon, K), 0.5)), **how)


def _by_information(epsilon: float, num_classes: int) -> Mechanism:
    return SelectiveRandomizedResponse(epsilon, num_classes, size="information")


VARIANTS = {
    "seed preset: rr, then srr by accuracy; cross-entropy on the second half": Variant(_seed),
    "selected by information": Variant(
        _halves(RandomizedResponse, _by_information, loss="cross-entropy", learns_from="last")
    ),
    "prior: nothing known (rr twice)": Variant(_seed, prior="uniform"),
    "prior: student of a subset stage": Variant(
        _halves(SubsetSelection, SelectiveRandomizedResponse, loss="cross-entropy", learns_from="last"),
        loss_of_prior="likelihood",
    ),
    "loss: likelihood": Variant(_seed_with(loss="likelihood")),
    "loss: likelihood, on both halves": Variant(_seed_with(loss="likelihood", learns_from="all")),
    "loss: likelihood, on both halves; selected by information": Variant(
        _halves(RandomizedResponse, _by_information)
    ),
    "pool: procedural": Variant(_seed, pool="procedural"),
    "pool: strokes": Variant(_seed, pool="strokes"),
    "rr alone, cross-entropy": Variant(
        lambda epsilon: LabelScheme((Stage(RandomizedResponse(epsilon, K), 1.0),), "cross-entropy")
    ),
    "rr alone, likelihood": Variant(lambda epsilon: label_scheme("rr", epsilon=epsilon, num_classes=K)),
    "subset alone, likelihood": Variant(
        lambda epsilon: label_scheme("subset", epsilon=epsilon, num_classes=K)
    ),
    "all at once: subset, then srr by information; likelihood on both halves": Variant(
        lambda epsilon: label_scheme("subset+srr", epsilon=epsilon, num_classes=K)
    ),
}


SEED, SUBSET, BEST = (
    next(name for name in VARIANTS if name.startswith(start))
    for start in ("seed preset", "prior: student", "all at once")
)
PRIORS = {"rr": SEED, "subset": SUBSET}
"""First stages whose student is a prior, each with a variant in which it is."""
LINES = {
    "subset, then srr by information, likelihood": BEST,
    "subset alone, likelihood": "subset alone, likelihood",
    "rr alone, likelihood": "rr alone, likelihood",
    "rr, then srr by accuracy, cross-entropy (seed preset)": SEED,
    "rr alone, cross-entropy": "rr alone, cross-entropy",
}


def measured(seed: int) -> list[Row]:
    """All variants at all epsilons with one seed."""
    rows: list[Row] = []
    for pool_name in POOLS:
        overrides = {**SETTINGS, **POOLS[pool_name], "seed": str(seed)}
        config = load_config(ROOT / "configs" / "digits.toml", overrides)
        dataset, progress = data.load(config.data), RunProgress(quiet=True)
        held, pool = teacher_and_pool(config, dataset, progress=progress, saved=UNSAVED)
        secret = answers(held.network, pool.images)
        test = dataset.test_images, dataset.test_labels
        shared = {"seed": seed, "pool": pool_name, "teacher": accuracy(held.network, *test)}
        clean = train_student(
            config, pool.images, one_hot(secret, K), name="clean-label student", progress=progress
        )
        rows.append({**shared, "variant": CLEAN, "epsilon": None, "accuracy": accuracy(clean, *test)})
        for name, variant in VARIANTS.items():
            for epsilon in EPSILONS if variant.pool == pool_name else ():
                model, prior = _asked(config, variant, epsilon, pool, secret)
                found = {"variant": name, "epsilon": epsilon, "accuracy": accuracy(model, *test)}
                rows.append({**shared, **found, **prior})
        print(f"seed {seed}, {pool_name}: done", file=sys.stderr, flush=True)
    return rows


def _asked(
    config: Config, variant: Variant, epsilon: float, pool: Pool, secret: np.ndarray
) -> tuple[torch.nn.Module, Row]:
    """The student of one variant, and how good the prior of its second stage was."""
    scheme, progress, quality = variant.scheme(epsilon), RunProgress(quiet=True), {}
    for_prior = replace(scheme, loss=variant.loss_of_prior or scheme.loss)

    def prior(released: StagedLabels, numbers: np.ndarray) -> np.ndarray | None:
        if variant.prior == "uniform":
            return np.full((len(numbers), K), 1 / K) if released.parts else None
        rows = student_prior(config, for_prior, pool.images, released, numbers, progress)
        if rows is not None:
            quality["prior_entropy"] = float(-(rows * np.log(np.maximum(rows, 1e-12))).sum(axis=1).mean())
            # a diagnostic, after the fact: it decides nothing
            quality["prior_right"] = float((rows.argmax(axis=1) == secret[numbers]).mean())
        return rows

    released = privatize(secret, scheme.stages, prior=prior, seed=config.seed)
    return student_of(config, scheme, pool.images, released, progress=progress), quality


def table(rows: list[Row]) -> str:
    """Mean and range over seeds as Markdown, a variant a line; then how good the student of a first stage was as a prior."""
    lines = [
        f"| accuracy (%), epsilon for one answer of the teacher | {' | '.join(f'{epsilon:g}' for epsilon in EPSILONS)} |",
        "| --- |" + " --- |" * len(EPSILONS),
    ]
    for name in VARIANTS:
        cells = [_spread(_values(rows, name, epsilon, "accuracy")) for epsilon in EPSILONS]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    for pool in POOLS:
        clean = [row["accuracy"] for row in rows if (row["variant"], row["pool"]) == (CLEAN, pool)]
        lines.append(f"| {CLEAN}, {pool} pool | {_spread(clean)} |" + " |" * (len(EPSILONS) - 1))
    for stage, name in PRIORS.items():
        cells = [
            f"{statistics.mean(_values(rows, name, epsilon, 'prior_right')):.0%}, ".replace("%", " %")
            + f"{statistics.mean(_values(rows, name, epsilon, 'prior_entropy')):.2f} nats"
            for epsilon in EPSILONS
        ]
        lines.append(
            f"| prior by a student of {stage} on half the pool: right first guesses, entropy | {' | '.join(cells)} |"
        )
    return "\n".join(lines)


def drawn(found: dict[str, list[Row]]) -> Figure:
    """The figure of the committed results."""
    rows = found["results"]
    lines = {
        words: {epsilon: _values(rows, name, epsilon, "accuracy") for epsilon in EPSILONS}
        for words, name in LINES.items()
    }
    entropies = {
        stage: {
            epsilon: statistics.mean(_values(rows, name, epsilon, "prior_entropy")) for epsilon in EPSILONS
        }
        for stage, name in PRIORS.items()
    }
    return draw(lines, found["analytic"], entropies)


def _values(rows: list[Row], variant: str, epsilon: float, key: str) -> list[float]:
    return [row[key] for row in rows if (row["variant"], row["epsilon"]) == (variant, epsilon)]


def _spread(values: list[float]) -> str:
    percent = [100 * value for value in values]
    return f"{statistics.mean(percent):.1f} ({min(percent):.1f} to {max(percent):.1f})"


def main() -> None:
    """Measures seed after seed, unless only drawing is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", action="store_true", help="draw and print what is there")
    chosen = parser.parse_args()
    if not chosen.draw:
        torch.set_num_threads(1)
        priors = {f"concentration {value:g}": value for value in CONCENTRATIONS}
        found = {
            "results": [row for seed in range(chosen.seeds) for row in measured(seed)],
            "analytic": analytic_curves.curves(EPSILONS, K, priors=priors),
        }
        RESULTS.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    save(drawn(found), FIGURE)
    print(table(found["results"]))


if __name__ == "__main__":
    main()
