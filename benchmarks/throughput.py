"""Measures the speed and the memory of releases on one thread, prints a table and writes benchmarks/results/throughput.json.

    python -m benchmarks.throughput            # about two minutes
    python -m benchmarks.throughput --quick    # fewer items and rounds, for a look

Every release is a whole call of `labeldp.privatize` with the secure source. What is compared runs in turns, a ratio is the median
over the turns, and only ratios have targets: speeds depend on the machine. Peers are measured where they are installed
(`pip install opendp diffprivlib`).
"""

import argparse
import importlib.util
import json
import os
import platform
import statistics
import subprocess
import sys
import time
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import labeldp
from labeldp.mechanisms import compiled

RESULTS = Path(__file__).parent / "results" / "throughput.json"
ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1"
)
EPSILON, FEW_SECONDS = 1.0, 0.2
Row = dict[str, Any]
Call = Callable[[], object]


def in_turns(calls: dict[str, Call], rounds: int) -> dict[str, list[float]]:
    """Seconds of every call in each of the rounds; the first, which compiles and warms up, is not counted."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if turn:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def row(work: str, num_items: int, own: list[float], against: list[float] | None = None, **about: Any) -> Row:
    """One line of the table; the ratio says how many times faster it is than what it is compared with."""
    result: Row = {
        "work": work,
        "items": num_items,
        "per_second": num_items / statistics.median(own),
        **about,
    }
    if against is not None:
        result["ratio"] = statistics.median(b / a for a, b in zip(own, against, strict=True))
    return judged(result)


def judged(result: Row) -> Row:
    """Says whether a target is met: `at_least` for ratios, `at_most` for times and sizes."""
    if "at_least" in result:
        result["met"] = result["ratio"] >= result["at_least"]
    if "at_most" in result:
        result["met"] = result["value"] <= result["at_most"]
    return result


def usual_idiom(labels: np.ndarray, num_classes: int, lie_type: type = np.int64) -> np.ndarray:
    """Randomized response as it is usually written: fast, and neither secure nor exact."""
    rng = np.random.default_rng()
    keep = rng.random(len(labels)) < np.exp(EPSILON) / (np.exp(EPSILON) + num_classes - 1)
    lies = rng.integers(num_classes - 1, size=len(labels), dtype=lie_type)
    lies = lies + (lies >= labels)
    return np.where(keep, labels, lies)


def plain(num_items: int, rounds: int) -> list[Row]:
    """Randomized response with K = 10 against the numpy idiom."""
    mechanism, rows = labeldp.RandomizedResponse(EPSILON, 10), []
    labels = np.random.default_rng(0).integers(10, size=num_items)
    for kind in ("int64", "uint8"):
        own = labels.astype(kind)
        calls: dict[str, Call] = {
            "idiom": lambda own=own: usual_idiom(own, 10),
            "privatize": lambda own=own: labeldp.privatize(mechanism, own),
        }
        if kind == "uint8":
            calls["small idiom"] = lambda own=own: usual_idiom(own, 10, np.uint8)
        seconds = in_turns(calls, rounds)
        name = f"RandomizedResponse, K=10, {kind} labels"
        rows.append(row(f"numpy idiom, K=10, {kind} labels", num_items, seconds["idiom"]))
        rows.append(
            row(name, num_items, seconds["privatize"], seconds["idiom"], to="numpy idiom", at_least=1.0)
        )
        if kind == "uint8":
            against = seconds["small idiom"]
            rows.append(row(name, num_items, seconds["privatize"], against, to="the idiom in uint8"))
    return rows


def selective(num_classes: int, num_items: int, rounds: int, target: float) -> list[Row]:
    """Selective randomized response against np.argsort of the prior alone, and sizes by information against sizes by accuracy."""
    rng = np.random.default_rng(0)
    prior = rng.dirichlet(np.full(num_classes, 0.5), size=num_items).astype(np.float32)
    labels = rng.integers(num_classes, size=num_items)

    def release(size: Any, outside: Any = "uniform") -> Call:
        mechanism = labeldp.SelectiveRandomizedResponse(EPSILON, num_classes, size=size, outside=outside)
        return lambda: labeldp.privatize(mechanism, labels, prior=prior)

    seconds = in_turns(
        {
            "sum": lambda: prior.sum(axis=1),
            "argsort": lambda: np.argsort(prior, axis=1),
            "accuracy": release("accuracy"),
            "information": release("information"),
            "other": release("information", "other"),
            "size 3": release(3),
        },
        rounds,
    )
    kind, best = f"K={num_classes}", seconds["accuracy"]
    third = {"to": "accuracy", "at_least": 1 / 3}
    return [
        row(f"one read of the prior, {kind}", num_items, seconds["sum"], best, to="accuracy"),
        row(f"np.argsort of the prior alone, {kind}", num_items, seconds["argsort"]),
        row(
            f"Selective, accuracy, {kind}", num_items, best, seconds["argsort"], to="argsort", at_least=target
        ),
        row(f"Selective, information, {kind}", num_items, seconds["information"], best, **third),
        row(f"Selective, information, other, {kind}", num_items, seconds["other"], best, **third),
        row(f"Selective, three candidates, {kind}", num_items, seconds["size 3"], best, to="accuracy"),
    ]


def others(num_items: int, rounds: int) -> list[Row]:
    """The other mechanisms and paths, for information."""
    rng = np.random.default_rng(0)
    prior, labels = rng.dirichlet(np.full(10, 0.5), size=num_items), rng.integers(10, size=num_items)
    values, own = np.linspace(0, 1, 21), rng.integers(21, size=num_items) / 20
    numbers = np.arange(num_items)
    release: Any = labeldp.privatize
    calls: dict[str, Call] = {
        "Selective, accuracy, K=10, numpy alone": lambda: release(
            labeldp.SelectiveRandomizedResponse(EPSILON, 10), labels, prior=prior
        ),
        "SubsetSelection, K=10": lambda: release(labeldp.SubsetSelection(EPSILON, 10), labels),
        "UnaryEncoding, K=10": lambda: release(labeldp.UnaryEncoding(EPSILON, 10), labels),
        "PartitionedRandomizedResponse, K=10": lambda: release(
            labeldp.PartitionedRandomizedResponse(EPSILON, 10), labels, prior=prior
        ),
        "NoisyOneHot, K=10": lambda: release(labeldp.NoisyOneHot(EPSILON, 10), labels),
        "RandomizedResponseOnBins, 21 values": lambda: release(
            labeldp.RandomizedResponseOnBins(EPSILON, values, np.ones(21)), own
        ),
        "RandomizedResponse, K=10, KeyedSource": lambda: release(
            labeldp.RandomizedResponse(EPSILON, 10),
            labels,
            source=labeldp.KeyedSource(bytes(32)),
            items=numbers,
        ),
    }
    compiled.allowed = False
    seconds = in_turns(calls, rounds)
    compiled.allowed = True
    return [row(name, num_items, own) for name, own in seconds.items()]


def peers() -> list[Row]:
    """Randomized response of other libraries, one call a label as they offer it, for a fraction of a second."""
    rows = []
    for name, prepare in (("OpenDP, K=10", _opendp), ("diffprivlib, two classes", _diffprivlib)):
        try:
            answer = prepare()
        except ImportError:
            rows.append({"work": name, "note": "not installed"})
            continue
        count, start = 0, time.perf_counter()
        while time.perf_counter() - start < FEW_SECONDS:
            answer()
            count += 1
        rows.append(row(name, count, [time.perf_counter() - start]))
    return rows


def _opendp() -> Call:
    import opendp.prelude as dp  # pyright: ignore

    dp.enable_features("contrib")
    kept = float(np.exp(EPSILON) / (np.exp(EPSILON) + 9))
    measurement = dp.m.make_randomized_response(categories=list(range(10)), prob=kept)
    return lambda: measurement(3)


def _diffprivlib() -> Call:
    found = importlib.util.find_spec("diffprivlib")
    if found is None:
        raise ImportError("diffprivlib")
    package = types.ModuleType("diffprivlib")  # its models need an older scikit-learn, its mechanisms none
    package.__path__ = list(found.submodule_search_locations or [])
    sys.modules["diffprivlib"] = package
    from diffprivlib.mechanisms import Binary  # pyright: ignore

    mechanism = Binary(epsilon=EPSILON, value0="0", value1="1")
    return lambda: mechanism.randomise("1")


def memory(num_labels: int) -> list[Row]:
    """Peak memory of a process that releases many labels, and of what a selective release allocates on the way."""
    program = (
        "import resource, numpy as np, labeldp\n"
        f"labels = np.random.default_rng(0).integers(10, size={num_labels}, dtype=np.uint8)\n"
        f"labeldp.privatize(labeldp.RandomizedResponse({EPSILON}, 10), labels)\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    unit = 1 if sys.platform == "darwin" else 1024
    work = f"peak memory of {num_labels:.0e} uint8 labels, RandomizedResponse"
    rows = [judged({"work": work, "value": int(_child(program)) * unit / 1e9, "unit": "GB", "at_most": 2.0})]
    prior = np.random.default_rng(0).dirichlet(np.full(100, 0.5), size=200_000).astype(np.float32)
    labels = np.zeros(len(prior), dtype=np.int64)
    for path in ("compiled", "numpy"):
        compiled.allowed = path == "compiled"
        tracemalloc.start()
        noisy = labeldp.privatize(labeldp.SelectiveRandomizedResponse(EPSILON, 100), labels, prior=prior)
        peak = tracemalloc.get_traced_memory()[1] - noisy.values.nbytes - np.asarray(noisy.candidates).nbytes
        tracemalloc.stop()
        work = f"beyond inputs and outputs, Selective, K=100, {path}"
        rows.append(judged({"work": work, "value": peak / 2**20, "unit": "MiB", "at_most": 64.0}))
    compiled.allowed = True
    return rows


def imports() -> list[Row]:
    """What importing the library adds to importing numpy."""
    rows = []
    for code, target in (("import labeldp", {"at_most": 0.1}), ("import labeldp; labeldp.privatize", {})):
        program = (
            f"import time, numpy; start = time.perf_counter(); {code}; print(time.perf_counter() - start)"
        )
        seconds = statistics.median(float(_child(program)) for _ in range(5))
        rows.append(judged({"work": f"numpy, then {code}", "value": seconds, "unit": "s", **target}))
    return rows


def _child(program: str) -> str:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout


def machine() -> Row:
    """Where it ran."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    models = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    numba = importlib.util.find_spec("numba") is not None
    return {
        "processor": models[0] if models else platform.processor(),
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "numpy": np.__version__,
        "numba": importlib.import_module("numba").__version__ if numba else None,
        "threads": 1,
        "epsilon": EPSILON,
    }


def table(rows: list[Row]) -> str:
    """The results as a Markdown table."""
    lines = ["| work | speed | ratio | target | verdict |", "| --- | --- | --- | --- | --- |"]
    for result in rows:
        if "per_second" in result:
            speed = f"{result['per_second'] / 1e6:.3g} M/s"
        else:
            speed = f"{result['value']:.3g} {result['unit']}" if "value" in result else result["note"]
        ratio = f"{result['ratio']:.2f} x {result['to']}" if "ratio" in result else ""
        bound = [
            f"{sign} {result[key]:.3g}"
            for key, sign in (("at_least", ">="), ("at_most", "<="))
            if key in result
        ]
        verdict = {True: "met", False: "missed"}.get(result.get("met"), "")
        lines.append(f"| {result['work']} | {speed} | {ratio} | {''.join(bound)} | {verdict} |")
    return "\n".join(lines)


def main() -> None:
    """Measures everything in a process with one thread."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--quick", action="store_true", help="fewer items and rounds; writes nothing")
    quick = parser.parse_args().quick
    if any(os.environ.get(name) != value for name, value in ONE_THREAD.items()):
        os.execve(
            sys.executable,
            [sys.executable, "-m", "benchmarks.throughput", *sys.argv[1:]],
            os.environ | ONE_THREAD,
        )
    scale, rounds = (4, 3) if quick else (1, 9)
    compiled.LARGE //= scale
    rows = plain(4_000_000 // scale, rounds)
    for num_classes, num_items, target in ((10, 2_000_000, 0.9), (100, 200_000, 2.0), (1000, 20_000, 6.0)):
        rows += selective(num_classes, num_items // scale, rounds, target)
    rows += others(100_000 // scale, 3) + peers() + memory(100_000_000 // scale) + imports()
    print(table(rows))
    if not quick:
        RESULTS.parent.mkdir(exist_ok=True)
        RESULTS.write_text(json.dumps({"machine": machine(), "results": rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
