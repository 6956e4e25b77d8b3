"""Runs the main job on real data over several seeds, prints a table and writes benchmarks/results/end_to_end.json.

    python -m benchmarks.end_to_end                  # digits and Fashion-MNIST, 3 seeds each
    python -m benchmarks.end_to_end --only digits

Each run uses the secure source of noise, the configuration in configs/, and reports the last model on the test split, which
decides nothing else.
"""

import argparse
import json
import platform
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from distill.config_file import load_config
from distill.recipe import run

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "end_to_end.json"
CASES = {
    "digits, epsilon 1": ("digits", {}),
    "digits, epsilon 1, seed preset": ("digits", {"privacy.stages": "seed"}),
    "digits, private teacher, epsilon 3 a record": ("digits-private-teacher", {}),
    "digits, private teacher, epsilon 8 a record": (
        "digits-private-teacher",
        {"teacher.private.epsilon": "8"},
    ),
    "Fashion-MNIST, epsilon 2": ("fashion-mnist", {}),
}
MODELS = ("teacher", "clean_student", "private_student")


def measured(case: str, seeds: int) -> dict[str, Any]:
    """Runs one case with every seed."""
    name, overrides = CASES[case]
    runs = []
    for seed in range(seeds):
        config = load_config(ROOT / "configs" / f"{name}.toml", {**overrides, "seed": str(seed)})
        start = time.perf_counter()
        with tempfile.TemporaryDirectory() as folder:
            report = run(config, Path(folder) / "run")
        runs.append({**report.accuracy, "seconds": time.perf_counter() - start, "phases": report.seconds})
        print(f"{case}, seed {seed}: {json.dumps(report.accuracy)}", file=sys.stderr, flush=True)
    answers = {"pool": config.pool.size, "epsilon": config.privacy.epsilon, "stages": config.privacy.stages}
    return {"case": case, **answers, "machine": machine(), "runs": runs}


def machine() -> str:
    """Where it ran."""
    if torch.cuda.is_available():
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} CPU threads, {platform.machine()}, torch {torch.__version__}"


def table(results: list[dict[str, Any]]) -> str:
    """The results as a Markdown table: mean and range over seeds."""
    lines = [
        "| run | answers | teacher | clean-label student | private student | time |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for result in results:
        cells = [_spread([100 * run[model] for run in result["runs"]]) for model in MODELS]
        seconds = statistics.median(run["seconds"] for run in result["runs"])
        lines.append(f"| {result['case']} | {result['pool']:,} | {' | '.join(cells)} | {seconds:.0f} s |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    return f"{statistics.mean(values):.1f} % ({min(values):.1f} to {max(values):.1f})"


def main() -> None:
    """Measures what was asked for and keeps the other results as they are."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help="measure the cases whose name contains this")
    parser.add_argument("--seeds", type=int, default=3)
    arguments = parser.parse_args()
    kept = {
        result["case"]: result for result in (json.loads(RESULTS.read_text()) if RESULTS.exists() else [])
    }
    for case in CASES:
        if arguments.only.lower() in case.lower():
            kept[case] = measured(case, arguments.seeds)
            RESULTS.parent.mkdir(exist_ok=True)
            ordered = [kept[name] for name in CASES if name in kept]
            RESULTS.write_text(json.dumps(ordered, indent=1) + "\n")
    print(table([kept[name] for name in CASES if name in kept]))


if __name__ == "__main__":
    main()
