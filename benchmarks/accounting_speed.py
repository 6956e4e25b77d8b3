"""Times our accountant beside dp_accounting, Opacus and prv-accountant; writes benchmarks/results/accounting_speed.json.

    pip install --group peers                  # pip 25.1 or uv; what is missing is said to be so
    python -m benchmarks.accounting_speed      # a few minutes

One row is one question for an epsilon, asked in a process of its own that has answered a small one before the clock starts.
Ours answers with both ends, and its time is the median over three compositions that it has not seen; what a peer returns
stands under `upper`, and under `lower` where it has such an end. It has LIMIT seconds. Peak memory is that of the process.
"""

import argparse
import importlib
import importlib.util
import json
import math
import multiprocessing
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parent.parent
RESULTS = ROOT / "benchmarks" / "results" / "accounting_speed.json"
LIMIT = 20.0
TOOLS = {
    "ours": "accounting",
    "dp_accounting": "dp_accounting",
    "opacus": "opacus",
    "prv_accountant": "prv_accountant",
}
ANSWERS = [
    (100, 10, 1.0),
    (1000, 10, 1.0),
    (10**4, 100, 0.1),
    (10**4, 2, 1.0),
    (10**5, 10, 0.1),
    (10**6, 100, 0.1),
]
STEPS = [(s, q, n) for s in (0.7, 1.0, 2.0) for q in (1e-3, 1e-2) for n in (1000, 10**4, 10**5)]
GROUPS = [(float(epsilon), k) for epsilon in np.geomspace(0.05, 0.3, 30) for k in (2, 10, 50)]
COUNT = {"answers": 0, "groups": 0, "steps": 2, "gaussian": 1}
"""Where the number of uses stands in what a row is of."""

Row = dict[str, Any]
Ends = tuple[float | None, float]


def rows() -> list[Row]:
    """The questions, and which tools are asked."""
    both, three = ["ours", "dp_accounting"], ["ours", "dp_accounting", "opacus", "prv_accountant"]
    found: list[Row] = []
    for cell in ANSWERS:
        found.append({"work": "answers", "of": cell, "delta": 1e-5, "tools": both})
        found += [
            {"work": "answers", "of": cell, "delta": delta, "tools": ["ours"]} for delta in (1e-20, 1e-100)
        ]
    found.append({"work": "groups", "of": (111,), "delta": 1e-5, "tools": both})
    found += [{"work": "groups", "of": (111,), "delta": delta, "tools": ["ours"]} for delta in (1e-10, 1e-20)]
    for cell in STEPS:
        found.append({"work": "steps", "of": cell, "delta": 1e-5, "tools": three})
        found.append({"work": "steps", "of": cell, "delta": 1e-12, "tools": ["ours"]})
    found.append({"work": "gaussian", "of": (100.0, 10**5), "delta": 1e-12, "tools": both})
    found.append({"work": "answers", "of": (10**4, 10, 0.1), "delta": 2e-15, "tools": both})
    return found


def ours(row: Row) -> Ends:
    """Asks us."""
    import accounting

    match row["work"]:
        case "answers":
            count, num_classes, epsilon = row["of"]
            loss = accounting.RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
        case "groups":
            loss = accounting.PrivacyLoss()
            for epsilon, num_classes in GROUPS:
                one = accounting.RandomizedResponse(epsilon, num_classes).privacy_loss()
                loss = loss.compose(one.self_compose(row["of"][0]))
        case "steps":
            noise, share, count = row["of"]
            loss = accounting.PoissonSubsampledGaussian(noise, share).privacy_loss().self_compose(count)
        case _:
            noise, count = row["of"]
            loss = accounting.Gaussian(noise).privacy_loss().self_compose(count)
    bounds = loss.epsilon(row["delta"])
    return float(bounds.lower), float(bounds.upper)


def dp_accounting(row: Row) -> Ends:
    """Asks the privacy loss distributions of dp_accounting on their default grid, which is pessimistic."""
    from dp_accounting.pld import privacy_loss_distribution as pld

    def response(epsilon: float, num_classes: int) -> Any:
        return pld.from_randomized_response(num_classes / (math.exp(epsilon) + num_classes - 1), num_classes)

    match row["work"]:
        case "answers":
            count, num_classes, epsilon = row["of"]
            loss = response(epsilon, num_classes).self_compose(count)
        case "groups":
            parts = [
                response(epsilon, num_classes).self_compose(row["of"][0]) for epsilon, num_classes in GROUPS
            ]
            loss = parts[0]
            for part in parts[1:]:
                loss = loss.compose(part)
        case "steps":
            noise, share, count = row["of"]
            loss = pld.from_gaussian_mechanism(noise, sampling_prob=share).self_compose(count)
        case _:
            noise, count = row["of"]
            loss = pld.from_gaussian_mechanism(noise).self_compose(count)
    return None, float(loss.get_epsilon_for_delta(row["delta"]))


def opacus(row: Row) -> Ends:
    """Asks the PRV accountant of Opacus, with its default error of 0.01."""
    from opacus.accountants import PRVAccountant

    accountant = PRVAccountant()
    accountant.history = [row["of"]]
    return None, float(accountant.get_epsilon(row["delta"]))


def prv_accountant(row: Row) -> Ends:
    """Asks prv-accountant, with an error of 0.01."""
    prv = importlib.import_module("prv_accountant")
    noise, share, count = row["of"]
    mechanism = prv.PoissonSubsampledGaussianMechanism(sampling_probability=share, noise_multiplier=noise)
    accountant = prv.PRVAccountant(
        prvs=[mechanism], max_self_compositions=[count], eps_error=0.01, delta_error=row["delta"] / 1000
    )
    low, _, high = accountant.compute_epsilon(row["delta"], [count])
    return float(low), float(high)


ASK: dict[str, Callable[[Row], Ends]] = {
    "ours": ours,
    "dp_accounting": dp_accounting,
    "opacus": opacus,
    "prv_accountant": prv_accountant,
}


def with_count(row: Row, count: int) -> Row:
    """The same question about another number of uses."""
    of, at = row["of"], COUNT[row["work"]]
    return {**row, "of": (*of[:at], count, *of[at + 1 :])}


def once(tool: str, row: Row, pipe: Any) -> None:
    """Answers one row in this process and sends what it took."""
    count = row["of"][COUNT[row["work"]]]
    ASK[tool](with_count(row, 10))
    seconds: list[float] = []
    ends: Ends = (None, math.nan)
    for more in (2, 1, 0) if tool == "ours" else (0,):
        start = time.perf_counter()
        ends = ASK[tool](with_count(row, count + more))
        seconds.append(time.perf_counter() - start)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    answer = {"lower": ends[0], "upper": ends[1], "seconds": statistics.median(seconds), "peak": round(peak)}
    pipe.send(answer)


def worker(tool: str) -> None:
    """Loads a tool, then answers its rows one by one, each in a forked process; prints one JSON line a row."""
    importlib.import_module(TOOLS[tool])
    for row in rows():
        if tool not in row["tools"]:
            continue
        receive, send = multiprocessing.Pipe(duplex=False)
        child = multiprocessing.get_context("fork").Process(target=once, args=(tool, row, send))
        child.start()
        send.close()
        answer: Row = {"upper": None, "why": f"stopped after {LIMIT:.0f} s"}
        if receive.poll(LIMIT):
            try:
                answer = receive.recv()
            except EOFError:
                answer["why"] = "failed"
        child.kill()
        child.join()
        print(
            json.dumps({key: row[key] for key in ("work", "of", "delta")} | {"tool": tool} | answer),
            flush=True,
        )


def installed(tool: str) -> bool:
    """Says whether a package can be loaded."""
    return importlib.util.find_spec(TOOLS[tool]) is not None


def measured() -> list[Row]:
    """Runs every tool that is there."""
    found: list[Row] = []
    for tool in TOOLS:
        if not installed(tool):
            print(f"{tool}: not installed", file=sys.stderr)
            continue
        command = [sys.executable, "-m", "benchmarks.accounting_speed", "--worker", tool]
        lines = subprocess.run(
            command, capture_output=True, text=True, check=True, cwd=ROOT
        ).stdout.splitlines()
        found += [json.loads(line) for line in lines if line.startswith("{")]
    return found


def question(row: Row) -> str:
    """What is asked, in words."""
    match row["work"]:
        case "answers":
            return "randomized response, n = {:,}, K = {}, epsilon {:g}".format(*row["of"])
        case "groups":
            return f"{len(GROUPS)} kinds of it, {row['of'][0]} uses each"
        case "steps":
            return "subsampled Gaussian, noise {:g}, share {:g}, {:,} steps".format(*row["of"])
        case _:
            return "Gaussian, noise {:g}, {:,} uses".format(*row["of"])


def table(results: list[Row]) -> str:
    """The results as a Markdown table: a peer's upper end against ours, and its time as a multiple of ours."""
    answers: dict[str, dict[str, Row]] = {}
    for row in results:
        answers.setdefault(f"{question(row)} | {row['delta']:g}", {})[row["tool"]] = row
    lines = [
        f"| question | delta | epsilon, ours | width | time | {' | '.join(list(TOOLS)[1:])} |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    alone: list[Row] = []
    for asked, by in answers.items():
        own = by.pop("ours")
        if not by:
            alone.append(own)
            continue
        cells = [beside(by[tool], own) if tool in by else "" for tool in list(TOOLS)[1:]]
        lines.append(
            f"| {asked} | {own['upper']:.7g} | {width(own):.0e} | {1e3 * own['seconds']:.2g} ms | {' | '.join(cells)} |"
        )
    lines.append(
        f"| {len(alone)} more | {max(r['delta'] for r in alone):g} to {min(r['delta'] for r in alone):g} | | "
        f"at most {max(map(width, alone)):.0e} | at most {1e3 * max(r['seconds'] for r in alone):.2g} ms | | | |"
    )
    return "\n".join(lines)


def width(row: Row) -> float:
    """The width of a bracket, relative to its upper end."""
    return (row["upper"] - row["lower"]) / row["upper"]


def beside(row: Row, own: Row) -> str:
    """A peer's answer beside ours; below our lower end it is no guarantee, and says so."""
    if row["upper"] is None:
        return row["why"]
    more = row["upper"] / own["upper"] - 1
    wrong = ", **too small**" if row["upper"] < own["lower"] else ""
    times = row["seconds"] / own["seconds"]
    return f"{100 * more:+.2g} %{wrong}, {f'{times:,.0f}' if times >= 10 else f'{times:.2g}'} x"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--worker", choices=list(TOOLS), help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.worker:
        worker(chosen.worker)
        return
    start = time.perf_counter()
    results = measured()
    print(table(results))
    about = {
        "machine": f"{platform.machine()}, one core, Python {platform.python_version()}",
        "results": results,
    }
    RESULTS.write_text(json.dumps(about, indent=1) + "\n")
    print(f"{time.perf_counter() - start:.0f} s, {RESULTS.relative_to(ROOT)}", file=sys.stderr)


if __name__ == "__main__":
    main()
