"""Measures how many labels an audit needs, how tight its lower bounds are, what the exact layer and the joint battery cost, and what both
make of the catalogue of mutants; prints tables and writes benchmarks/results/audit_power.json.

    python -m benchmarks.audit_power               # some minutes
    python -m benchmarks.audit_power --alarms 3000 # counts false alarms as well, half an hour; else the count of the last time stays

The audited mechanism is randomized response in numpy with a seed, given as a callable, so that only its answers are seen. Calls count labels.
"""

import argparse
import json
import math
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import labeldp
from labeldp.testing import assert_label_dp, assert_release_hygiene, audit, enumerate_channel, mutants

RESULTS = Path(__file__).parent / "results" / "audit_power.json"
NUM_CLASSES = 10
CLAIM = 1.0
TARGETS = {1.05: 45_000, 1.1: 10_000, 1.2: 2_500, 1.5: 400}
HYGIENIC = (
    labeldp.RandomizedResponse,
    labeldp.SelectiveRandomizedResponse,
    labeldp.SubsetSelection,
    labeldp.UnaryEncoding,
    labeldp.NoisyOneHot,
    labeldp.PartitionedRandomizedResponse,
)
CLOPPER_PEARSON = 166_000
"""Labels for all (answer, pair) cells at a true epsilon of 1.1, 99 %, 90 % power; measured before this project (verification.md)."""
DP_AUDITORIUM = 13_600_000
"""The same for the published histogram tester of dp_auditorium, which PyPI does not have."""


def randomized_response(epsilon: float, seed: int) -> Callable[[np.ndarray], np.ndarray]:
    """Answers labels (n,) from a generator of its own."""
    random, keep = np.random.default_rng(seed), math.exp(epsilon) / (math.exp(epsilon) + NUM_CLASSES - 1)

    def answers(labels: np.ndarray) -> np.ndarray:
        lies = (labels + random.integers(1, NUM_CLASSES, size=len(labels))) % NUM_CLASSES
        return np.where(random.random(len(labels)) < keep, labels, lies)

    return answers


def stopping(epsilon: float, runs: int) -> dict[str, Any]:
    """Calls until the claim is refuted."""
    calls = [
        audit(
            randomized_response(epsilon, seed),
            epsilon=CLAIM,
            num_classes=NUM_CLASSES,
            max_calls=10**6,
            seed=seed,
        ).calls
        for seed in range(runs)
    ]
    return {
        "true epsilon": epsilon,
        "runs": runs,
        "mean": statistics.mean(calls),
        "90 % quantile": float(np.quantile(calls, 0.9)),
        "target": TARGETS[epsilon],
    }


def bounds(calls: int, runs: int) -> dict[str, Any]:
    """Lower bounds at 99 % where the claim holds exactly."""
    reports = [
        audit(
            randomized_response(CLAIM, seed),
            epsilon=CLAIM,
            num_classes=NUM_CLASSES,
            max_calls=calls,
            seed=seed,
        )
        for seed in range(runs)
    ]
    return {
        "calls": calls,
        "runs": runs,
        "mean": statistics.mean(report.lower_bound for report in reports),
        "refuted": sum(report.witness is not None for report in reports),
    }


def exact_milliseconds(mechanism: labeldp.Mechanism, repetitions: int = 101) -> float:
    """Median processor time of one channel."""
    prior = 0.8 ** np.arange(NUM_CLASSES)
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        enumerate_channel(mechanism, prior_row=prior)
        times.append(1000 * (time.process_time() - start))
    return statistics.median(times)


def hygiene_seconds(mechanism: labeldp.Mechanism, repetitions: int = 3) -> float:
    """Median processor time of the whole joint battery."""
    times = []
    for _ in range(repetitions):
        start = time.process_time()
        assert_release_hygiene(mechanism, num_classes=mechanism.num_classes)
        times.append(time.process_time() - start)
    return statistics.median(times)


def catalogue() -> dict[str, int]:
    """What the two calls of the documentation make of the mutants."""

    def both(mechanism: Callable[..., Any], *, epsilon: float, num_classes: int) -> None:
        assert_release_hygiene(mechanism, num_classes=num_classes)
        assert_label_dp(mechanism, epsilon=epsilon, num_classes=num_classes)

    score = mutants.score(both)
    return {
        "broken": len(mutants.MUTANTS),
        "killed": len(mutants.MUTANTS) - len(score.survivors),
        "equivalent": len(mutants.EQUIVALENTS),
        "alive": len(mutants.EQUIVALENTS) - len(score.false_alarms),
    }


def false_alarms(runs: int) -> list[dict[str, Any]]:
    """Alarms on mechanisms that keep their claims: of the joint battery, and of the audit where epsilon is exactly the claim."""
    raised = 0
    for run in range(runs):
        kind = (labeldp.RandomizedResponse, labeldp.SubsetSelection, labeldp.UnaryEncoding)[run % 3]
        epsilon, num_classes = (0.0, 0.1, 1.0, 3.0, 6.0, 9.0)[run // 3 % 6], (2, 10, 40)[run // 18 % 3]
        try:
            assert_release_hygiene(kind(epsilon, num_classes), num_classes=num_classes)
        except AssertionError as error:
            print(error, file=sys.stderr)
            raised += 1
    rows = [{"of": "the joint battery", "rate": "1e-6 a check", "runs": runs, "alarms": raised}]
    for rate in (1e-6, 1e-2):
        refuted = sum(
            audit(
                randomized_response(CLAIM, seed),
                epsilon=CLAIM,
                num_classes=NUM_CLASSES,
                confidence=1 - rate,
                max_calls=20_000,
                seed=seed,
            ).witness
            is not None
            for seed in range(runs)
        )
        rows.append(
            {"of": "the audit, up to 20 000 labels", "rate": f"{rate:g}", "runs": runs, "alarms": refuted}
        )
    return rows


def measured() -> dict[str, Any]:
    """Everything but false alarms."""
    results: dict[str, Any] = {
        "machine": f"one core, {platform.machine()}, numpy {np.__version__}",
        "stopping": [stopping(epsilon, 200 if epsilon < 1.1 else 400) for epsilon in TARGETS],
        "bounds": [
            bounds(calls, runs) for calls, runs in ((1000, 400), (10_000, 200), (100_000, 50), (10**6, 20))
        ],
        "exact": {
            type(mechanism).__name__: exact_milliseconds(mechanism)
            for mechanism in (
                labeldp.RandomizedResponse(CLAIM, NUM_CLASSES),
                labeldp.SelectiveRandomizedResponse(CLAIM, NUM_CLASSES),
            )
        },
        "hygiene": [
            {
                "mechanism": kind.__name__,
                "classes": num_classes,
                "seconds": hygiene_seconds(kind(CLAIM, num_classes)),
            }
            for kind in HYGIENIC
            for num_classes in (10, 100)
        ],
        "catalogue": catalogue(),
    }
    ours = next(row for row in results["stopping"] if row["true epsilon"] == 1.1)
    results["compared"] = {
        name: {"mean": theirs / ours["mean"], "90 % quantile": theirs / ours["90 % quantile"]}
        for name, theirs in (
            ("Clopper-Pearson on all cells", CLOPPER_PEARSON),
            ("dp_auditorium", DP_AUDITORIUM),
        )
    }
    return results


def table(results: dict[str, Any]) -> str:
    """The results as Markdown tables."""
    lines = [
        "| true epsilon | labels until epsilon > 1 is certain at 99 %, mean | 90 % of runs | target |",
        "| --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row['true epsilon']} | {row['mean']:,.0f} | {row['90 % quantile']:,.0f} | {row['target']:,} |"
        for row in results["stopping"]
    ]
    lines += [
        "",
        "| for 90 % power at 1.1 | times our mean | times our 90 % quantile |",
        "| --- | --- | --- |",
    ]
    lines += [
        f"| {name} | {ratio['mean']:,.0f} | {ratio['90 % quantile']:,.0f} |"
        for name, ratio in results["compared"].items()
    ]
    lines += ["", "| labels | lower bound at 99 % where epsilon is 1, mean |", "| --- | --- |"]
    lines += [f"| {row['calls']:,} | {row['mean']:.3f} |" for row in results["bounds"]]
    lines += ["", "| exact channel, K = 10 | median processor time |", "| --- | --- |"]
    lines += [f"| {name} | {milliseconds:.1f} ms |" for name, milliseconds in results["exact"].items()]
    lines += ["", "| joint battery | K | median processor time |", "| --- | --- | --- |"]
    lines += [
        f"| {row['mechanism']} | {row['classes']} | {row['seconds']:.2f} s |" for row in results["hygiene"]
    ]
    lines += ["", "| false alarms of | at a rate of | runs | alarms |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['of']} | {row['rate']} | {row['runs']:,} | {row['alarms']} |"
        for row in results["false alarms"]
    ]
    seen = results["catalogue"]
    lines += ["", "| catalogue | | |", "| --- | --- | --- |"]
    lines += [f"| broken | {seen['broken']} | {seen['killed']} killed |"]
    lines += [f"| equivalent | {seen['equivalent']} | {seen['alive']} alive |"]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--alarms", type=int, metavar="RUNS", help="count false alarms in so many runs of each"
    )
    runs = parser.parse_args().alarms
    start = time.perf_counter()
    before = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    results = measured()
    results["false alarms"] = false_alarms(runs) if runs else before.get("false alarms", [])
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results))
    print(f"{time.perf_counter() - start:.0f} s; a lower bound never proves privacy.", file=sys.stderr)


if __name__ == "__main__":
    main()
