"""Runs the main job on real data, prints a table and writes benchmarks/results/end_to_end.json.

    python -m benchmarks.end_to_end                  # every case the machine is meant for, 3 seeds
    python -m benchmarks.end_to_end --only digits    # what a CPU does in a minute
    python -m benchmarks.end_to_end --minutes 10     # starts nothing new after ten minutes

One teacher, one pool and one clean-label student for each seed serve all epsilons of a row. Noise comes from the secure source,
the rest from configs/; the accuracies are those of the last models on the test split, which decides nothing else.
"""

import argparse
import json
import platform
import statistics
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from distill import data
from distill.checkpoint import UNSAVED
from distill.config import Config
from distill.config_file import load_config
from distill.noisy_answers import noisy_answers
from distill.progress import RunProgress
from distill.recipe import teacher_and_pool
from distill.student import final_student, train_student
from distill.teacher import answers
from distill.train import accuracy, one_hot

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "end_to_end.json"
EPSILONS = (0.5, 1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Case:
    """One row of the table: a configuration, and what differs from its file."""

    config: str
    overrides: dict[str, str] = field(default_factory=dict)
    epsilons: tuple[float, ...] = EPSILONS
    needs_gpu: bool = False


CASES = {
    "digits": Case("digits"),
    # passes and batch of both were chosen on held-out training images at epsilon 0.5, from 4 x 256 and 3 x 512
    "digits, seed preset": Case(
        "digits", {"privacy.stages": "seed", "student.epochs": "3", "student.batch_size": "512"}
    ),
    "digits, private teacher, epsilon 3 a record": Case("digits-private-teacher"),
    "digits, private teacher, epsilon 8 a record": Case(
        "digits-private-teacher", {"teacher.private.epsilon": "8"}
    ),
    "Fashion-MNIST": Case("fashion-mnist"),
    "MNIST": Case("mnist"),
    "Fashion-MNIST, 2 M answers": Case(
        "fashion-mnist",
        {
            "pool.size": "2000000",
            "generator.steps": "4500",
            "generator.parallel": "9",
            "student.batch_size": "2048",
        },
        epsilons=(1.0,),
        needs_gpu=True,
    ),
    "CIFAR-10": Case("cifar-10", epsilons=(2.0,), needs_gpu=True),
}


def measured(case: str, seed: int) -> dict[str, Any]:
    """Runs one case with one seed.

    Raises:
        FileNotFoundError: its data are not here.
    """
    overrides = {**CASES[case].overrides, "seed": str(seed)}
    config = load_config(ROOT / "configs" / f"{CASES[case].config}.toml", overrides)
    dataset = data.load(config.data)
    start, spent, progress = _now(), time.process_time(), RunProgress(quiet=True)
    held, pool = teacher_and_pool(config, dataset, progress=progress, saved=UNSAVED)
    teacher = held.network
    with progress.phase("answers", total=1):
        secret = answers(teacher, pool.images)
    clean = train_student(
        config,
        pool.images,
        one_hot(secret, dataset.num_classes),
        name="clean-label student",
        progress=progress,
    )
    test = (dataset.test_images, dataset.test_labels)
    shared = {"seed": seed, "teacher": accuracy(teacher, *test), "clean_student": accuracy(clean, *test)}
    seconds, cpu_seconds = _now() - start, time.process_time() - spent
    private, phases, times = {}, {}, {}
    for epsilon in CASES[case].epsilons:
        start, spent, own = _now(), time.process_time(), RunProgress(quiet=True)
        one = load_config(
            ROOT / "configs" / f"{CASES[case].config}.toml", {**overrides, "privacy.epsilon": str(epsilon)}
        )
        released = noisy_answers(one, pool, secret, num_classes=dataset.num_classes, progress=own)
        student = final_student(one, pool.images, released, progress=own)
        private[f"{epsilon:g}"] = accuracy(student, *test)
        phases = {**progress.seconds, **own.seconds}
        times = {
            "seconds": seconds + _now() - start,
            "cpu_seconds": cpu_seconds + time.process_time() - spent,
        }
    print(f"{case}, seed {seed}: {json.dumps({**shared, **private})}", file=sys.stderr, flush=True)
    return {**shared, "private_student": private, **times, "phases": phases, **_about(config)}


def _about(config: Config) -> dict[str, Any]:
    privacy = config.privacy
    return {
        "pool": config.pool.size,
        "stages": privacy.stages,
        "noise": privacy.source,
        "machine": machine(),
    }


def _now() -> float:
    """The time, once the device has done what it was asked."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return time.perf_counter()


def machine() -> str:
    """Where it ran."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()}, torch {torch.__version__}"


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table: mean and range over seeds in percent; the time is that of one run at one epsilon."""
    epsilons = [f"{epsilon:g}" for epsilon in EPSILONS]
    titles = ["run", "answers", "teacher", *(f"epsilon {e}" for e in epsilons), "clean labels", "time"]
    lines = [f"| {' | '.join(titles)} |", f"|{' --- |' * len(titles)}"]
    for result in results:
        runs = result["runs"]
        cells = [
            result["case"],
            f"{runs[0]['pool']:,}",
            _spread([run["teacher"] for run in runs]),
            *(
                _spread([run["private_student"][e] for run in runs if e in run["private_student"]])
                for e in epsilons
            ),
            _spread([run["clean_student"] for run in runs]),
            _time(runs),
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def shares(results: list[dict[str, Any]]) -> str:
    """Where the time of the first run of each case went, in percent of its phases."""
    lines = []
    for result in results:
        run = result["runs"][0]
        parts = {name: 100 * part / sum(run["phases"].values()) for name, part in run["phases"].items()}
        lines.append(
            f"{result['case']}: " + ", ".join(f"{name} {part:.0f} %" for name, part in parts.items())
        )
    return "\n".join(lines)


def _time(runs: list[dict[str, Any]]) -> str:
    """Seconds by the clock on a GPU; on a CPU its own time, since others may share it."""
    on_cpu = "CPU" in runs[0]["machine"]
    seconds = statistics.median(run["cpu_seconds" if on_cpu else "seconds"] for run in runs)
    return f"{seconds:.0f} s of CPU" if on_cpu else f"{seconds:.0f} s"


def _spread(values: list[float]) -> str:
    percent = [100 * value for value in values]
    if not percent:
        return ""
    if len(percent) == 1:
        return f"{percent[0]:.1f} (one seed)"
    return f"{statistics.mean(percent):.1f} ({min(percent):.1f} to {max(percent):.1f})"


def main() -> None:
    """Measures what was asked for, seed after seed, and keeps the other results as they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="measure the cases whose name contains this")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="start no run after this")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    start = time.perf_counter()
    earlier = json.loads(arguments.out.read_text()) if arguments.out.exists() else []
    chosen = [case for case in CASES if arguments.only.lower() in case.lower()]
    chosen = [case for case in chosen if torch.cuda.is_available() or not CASES[case].needs_gpu]
    fresh: dict[str, list[dict[str, Any]]] = {}
    for seed, case in [(seed, case) for seed in range(arguments.seeds) for case in chosen]:
        if time.perf_counter() - start > 60 * arguments.minutes:
            print(f"{case}, seed {seed}: no time left", file=sys.stderr)
            continue
        try:
            run = measured(case, seed)
        except FileNotFoundError as error:
            print(f"{case}: {error}", file=sys.stderr)
            continue
        fresh.setdefault(case, []).append(run)
        _write(earlier, fresh, arguments.out)
    ordered = _write(earlier, fresh, arguments.out)
    print(table(ordered))
    print(shares(ordered))


def _write(
    earlier: list[dict[str, Any]], fresh: dict[str, list[dict[str, Any]]], file: Path
) -> list[dict[str, Any]]:
    """Puts fresh results in the place of earlier ones of their case, after each run: a kill loses one."""
    runs = {result["case"]: result["runs"] for result in earlier} | fresh
    ordered = [{"case": case, "runs": runs[case]} for case in CASES if runs.get(case)]
    file.parent.mkdir(exist_ok=True)
    file.write_text(json.dumps(ordered, indent=1) + "\n")
    return ordered


if __name__ == "__main__":
    main()
