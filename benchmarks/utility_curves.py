"""Privacy-utility curves on people's labels: writes benchmarks/results/utility_curves.jsonl and docs/figures/curve_DATA.svg.

    python -m benchmarks.utility_curves                        # digits, minutes
    python -m benchmarks.utility_curves --only fashion-mnist   # an hour or more on two cores; goes on where it stopped
    python -m benchmarks.utility_curves --only diabetes        # real-valued labels, seconds; adult-hours, minutes
    python -m benchmarks.utility_curves --draw                 # draws and prints what is there

Each run is a line: data, method, epsilon, seed, recipe, score on the test items, which decide nothing.
"""

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

from distill.curve_data import Origin
from distill.curve_figures import draw as figure
from distill.curve_figures import save
from distill.curve_report import comparisons, table_of
from distill.curves import CLEAN, RECIPES, Sweep, read_rows, run
from distill.regression_curves import METHODS as REGRESSIONS
from distill.regression_curves import RegressionSweep

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "utility_curves.jsonl"
FIGURES = ROOT / "docs" / "figures"
METHODS = ("rr", "rr+likelihood", "lp-2st", "alibi", "subset", "srr", "clean")
_SMALL = Sweep("digits", RECIPES["digits"], METHODS, (0.25, 0.5, 1.0, 2.0, 4.0, 8.0), seeds=5)
_REGRESSION = RegressionSweep(Origin("diabetes"), (*REGRESSIONS, CLEAN), _SMALL.epsilons, seeds=5)
_LARGE = Sweep(
    "mnist", RECIPES["mnist"], ("rr", "lp-2st", "alibi", "subset", "srr", "clean"), (0.5, 1.0, 2.0), seeds=3
)
SWEEPS: dict[str, Sweep | RegressionSweep] = {
    "digits": _SMALL,
    "mnist": _LARGE,
    "fashion-mnist": replace(_LARGE, data="fashion-mnist", recipe=RECIPES["fashion-mnist"]),
    "adult": replace(_SMALL, data="adult", recipe=RECIPES["adult"], epsilons=(0.25, 0.5, 1.0, 2.0)),
    "open-bandit": replace(
        _SMALL, data="open-bandit", recipe=RECIPES["open-bandit"], epsilons=(0.5, 1.0, 2.0, 4.0)
    ),
    "diabetes": _REGRESSION,
    "adult-hours": replace(_REGRESSION, origin=Origin("adult-hours"), seeds=3),
}


def rows_of(name: str) -> list[dict[str, Any]]:
    """What the committed lines hold of a sweep."""
    cells = [json.dumps(cell, sort_keys=True) for cell in SWEEPS[name].cells()]
    keys = list(next(SWEEPS[name].cells()))
    return [
        row
        for row in read_rows(RESULTS)
        if json.dumps({k: row.get(k) for k in keys}, sort_keys=True) in cells
    ]


def draw(name: str) -> None:
    """Draws a sweep as far as it is there."""
    FIGURES.mkdir(exist_ok=True)
    save(figure(rows_of(name)), FIGURES / f"curve_{name}.svg")


def table(name: str) -> str:
    """A sweep as a Markdown table."""
    return table_of(rows_of(name))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="digits", choices=list(SWEEPS))
    parser.add_argument("--draw", action="store_true", help="draw and print what is there")
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    chosen = parser.parse_args()
    if not chosen.draw:
        run(SWEEPS[chosen.only], RESULTS, jobs=chosen.jobs)
    draw(chosen.only)
    print(table(chosen.only), *comparisons(rows_of(chosen.only)), sep="\n")


if __name__ == "__main__":
    main()
