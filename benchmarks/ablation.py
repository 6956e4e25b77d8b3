"""What selective answers buy, on digits: writes benchmarks/results/ablation.json and docs/figures/ablation.svg, prints a table.

    python -m benchmarks.ablation            # minutes on one core; goes on where it stopped
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
from collections.abc import Container, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from matplotlib.figure import Figure

from benchmarks.ablation_figure import draw
from benchmarks.ablation_variants import LINES, PRIORS, VARIANTS, K, Variant
from distill import analytic_curves, data
from distill.checkpoint import UNSAVED
from distill.config import Config
from distill.config_file import load_config
from distill.curve_figures import save
from distill.durable import SHARED, write_text
from distill.pool import Pool
from distill.progress import RunProgress
from distill.recipe import teacher_and_pool
from distill.student import student_of, student_prior, train_student
from distill.teacher import answers
from distill.train import accuracy, one_hot
from labeldp.learning.stages import StagedLabels, privatize

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "ablation.json"
FIGURE = ROOT / "docs" / "figures" / "ablation.svg"
EPSILONS = (0.5, 1.0, 2.0, 4.0)
SETTINGS = {"student.epochs": "3", "student.batch_size": "512"}  # as in benchmarks.end_to_end, "seed preset"
POOLS: dict[str, dict[str, str]] = {
    "trajectory": {},
    "procedural": {"pool.trajectory": "0", "pool.procedural": "1"},
    "strokes": {"pool.trajectory": "0", "pool.strokes": "1"},
}
CONCENTRATIONS = (math.inf, 8.0, 3.0, 1.5, 1.0, 0.7, 0.5, 0.3, 0.2, 0.1, 0.06, 0.04)
CLEAN = "answers without noise"

Row = dict[str, Any]


def measured(seed: int, known: Container[tuple[Any, ...]] = ()) -> Iterator[Row]:
    """All variants at all epsilons with one seed, but for what is known already, by `_key`."""
    for pool_name in POOLS:
        wanted = [cell for cell in _cells(pool_name) if (seed, *cell) not in known]
        if not wanted:
            continue
        overrides = {**SETTINGS, **POOLS[pool_name], "seed": str(seed)}
        config = load_config(ROOT / "configs" / "digits.toml", overrides)
        dataset, progress = data.load(config.data), RunProgress(quiet=True)
        held, pool = teacher_and_pool(config, dataset, progress=progress, saved=UNSAVED)
        secret = answers(held.network, pool.images)
        test = dataset.test_images, dataset.test_labels
        shared = {"seed": seed, "pool": pool_name, "teacher": accuracy(held.network, *test)}
        for _, name, epsilon in wanted:
            if epsilon is None:
                model, prior = _unprotected(config, pool, secret), {}
            else:
                model, prior = _asked(config, VARIANTS[name], epsilon, pool, secret)
            yield {**shared, "variant": name, "epsilon": epsilon, "accuracy": accuracy(model, *test), **prior}


def _key(row: Row) -> tuple[Any, ...]:
    return row["seed"], row["pool"], row["variant"], row["epsilon"]


def _unprotected(config: Config, pool: Pool, secret: np.ndarray) -> torch.nn.Module:
    targets, progress = one_hot(secret, K), RunProgress(quiet=True)
    return train_student(config, pool.images, targets, name="clean-label student", progress=progress)


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
    """Mean and range over seeds as Markdown, a variant a line; then how good the student of a first stage was as a prior.

    Seeds that lack a run are left out: means of different seeds are not compared.
    """
    rows = complete(rows)
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
    rows = complete(found["results"])
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


def complete(rows: list[Row]) -> list[Row]:
    """The rows of seeds of which all variants were measured at all epsilons."""
    known = {_key(row) for row in rows}
    seeds = {row["seed"] for row in rows}
    whole = {seed for seed in seeds if all((seed, *cell) in known for pool in POOLS for cell in _cells(pool))}
    return [row for row in rows if row["seed"] in whole]


def _cells(pool: str) -> list[tuple[str, str, float | None]]:
    """What is measured with a pool: (pool, variant, epsilon)."""
    asked = [(pool, name, e) for name, one in VARIANTS.items() if one.pool == pool for e in EPSILONS]
    return [(pool, CLEAN, None), *asked]


def _values(rows: list[Row], variant: str, epsilon: float, key: str) -> list[float]:
    return [row[key] for row in rows if (row["variant"], row["epsilon"]) == (variant, epsilon)]


def _spread(values: list[float]) -> str:
    percent = [100 * value for value in values]
    if len(percent) == 1:
        return f"{percent[0]:.1f} (one seed)"
    return f"{statistics.mean(percent):.1f} ({min(percent):.1f} to {max(percent):.1f})"


def _measure(seeds: int) -> None:
    """Adds to the results what they lack, row by row."""
    torch.set_num_threads(1)
    priors = {f"concentration {value:g}": value for value in CONCENTRATIONS}
    rows = json.loads(RESULTS.read_text(encoding="utf-8"))["results"] if RESULTS.exists() else []
    found = {"results": rows, "analytic": analytic_curves.curves(EPSILONS, K, priors=priors)}
    for seed in range(seeds):
        for row in measured(seed, {_key(row) for row in rows}):
            rows.append(row)
            write_text(RESULTS, json.dumps(found, indent=1) + "\n", mode=SHARED)
            print(f"seed {seed}, {row['variant']}, {row['epsilon']}: {row['accuracy']:.3f}", file=sys.stderr)


def main() -> None:
    """Measures seed after seed, unless only drawing is asked for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--draw", action="store_true", help="draw and print what is there")
    chosen = parser.parse_args()
    if not chosen.draw:
        _measure(chosen.seeds)
    found = json.loads(RESULTS.read_text(encoding="utf-8"))
    save(drawn(found), FIGURE)
    print(table(found["results"]))


if __name__ == "__main__":
    main()
