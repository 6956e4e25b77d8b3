"""Measures the ledger: charges and replays a second, and what 1,000 `kill -9` of its writers leave; prints tables and writes
benchmarks/results/ledger.json.

    python -m benchmarks.ledger            # about two minutes

The figures of charges are those of the disk, which has to confirm each of them.
"""

import argparse
import json
import multiprocessing
import os
import platform
import random
import signal
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import accounting
from labeldp.tables import BudgetSpent, Ledger

RESULTS = Path(__file__).parent / "results" / "ledger.json"
DATA = "clicks"
CAP = 40.0
WRITERS = 3


def release(log: int, name: str) -> None:
    """Stands for a release: one line that is there at once."""
    os.write(log, f"{name}\n".encode())


def writer(path: Path, log_path: Path, seed: int, early: bool) -> None:
    """Charges and releases without end: new names, names it or others used before, and fresh noise that has none.

    Args:
        early: releases before it charges, which must be found out.
    """
    draw, log = random.Random(seed), os.open(log_path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    with Ledger(path) as ledger:
        while True:
            name = f"release {draw.randrange(10**9)}"
            if draw.random() < 0.3:
                name = f"release {draw.randrange(50)}"
            fresh = draw.random() < 0.2
            event = accounting.RandomizedResponse(0.01 if name[8:] < "5" else 0.02, 10)
            if early and not fresh:
                release(log, name)
            try:
                receipt = ledger.charge(DATA, event, unit="label", release=None if fresh else name)
            except BudgetSpent:
                continue
            release(log, f"entry {receipt.entry}" if fresh else name)


def killed(folder: Path, kills: int, *, seed: int, early: bool = False, cap: float = CAP) -> dict[str, Any]:
    """Kills one of three writers again and again, and looks at what was released and what was charged."""
    path, log = folder / "ledger.sqlite", folder / "released"
    log.touch()
    with Ledger(path) as ledger:
        ledger.set_cap(DATA, cap, unit="label")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["labeldp.tables.ledger"])
    draw = random.Random(seed)

    def started() -> Any:
        process = context.Process(target=writer, args=(path, log, draw.randrange(2**32), early), daemon=True)
        process.start()
        return process

    running = [started() for _ in range(WRITERS)]
    for _ in range(kills):
        time.sleep(draw.uniform(0.0, 0.06))
        place = draw.randrange(WRITERS)
        os.kill(running[place].pid, signal.SIGKILL)
        running[place].join()
        running[place] = started()
    for process in running:
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    return outcome(path, log, kills)


def outcome(path: Path, log: Path, kills: int) -> dict[str, Any]:
    """What the released lines and the ledger say of each other."""
    released = set(log.read_text().splitlines())
    with Ledger(path) as ledger:
        charges = [row for row in ledger.entries() if row["kind"] == "charge"]
        names = {row["release"].removeprefix("keyed label 0  ") for row in charges} | {
            f"entry {row['entry']}" for row in charges
        }
        (balance,) = ledger.balances()
        problems = ledger.verify(ledger.head)
    fresh = {row["release"] for row in charges if row["release"].startswith("once ")}
    return {
        "kills": kills,
        "charges": len(charges),
        "released": len(released),
        "released and not charged": len(released - names),
        "charged and not released": len(charges) - len(released & names),
        "fresh": len(fresh),
        "spent": balance.spent,
        "cap": balance.epsilon,
        "over the cap": balance.spent > balance.epsilon,
        "problems": list(problems),
    }


def rate(work: Callable[[int], object], count: int, repeats: int = 5) -> dict[str, float]:
    """Calls a second, median and best of some repetitions, by the clock and by the processor."""
    clock: list[float] = []
    processor: list[float] = []
    for repeat in range(repeats):
        start, used = time.perf_counter(), time.process_time()
        for i in range(count):
            work(repeat * count + i)
        clock.append(count / (time.perf_counter() - start))
        processor.append(count / max(1e-9, time.process_time() - used))
    return {
        "median": statistics.median(clock),
        "best": max(clock),
        "by processor time, median": statistics.median(processor),
    }


def rates(folder: Path) -> dict[str, Any]:
    """Charges, replays, and what the disk could confirm at all."""
    event = accounting.RandomizedResponse(0.001, 10)
    bare = sqlite3.connect(folder / "bare.sqlite", isolation_level=None)
    for statement in ("PRAGMA journal_mode=WAL", "PRAGMA synchronous=FULL", "CREATE TABLE t (a TEXT)"):
        bare.execute(statement)
    with Ledger(folder / "rates.sqlite") as ledger:
        ledger.set_cap(DATA, 1e5, unit="label")

        def charge(name: int) -> None:
            ledger.charge(DATA, event, unit="label", release=str(name))

        results = {
            "charges": rate(charge, 300),
            "bare inserts": rate(lambda _: bare.execute("INSERT INTO t VALUES (?)", ("x" * 500,)), 300),
            "replays": rate(lambda name: charge(name % 1000), 10_000),
        }
    bare.close()
    return results


def table(results: dict[str, Any]) -> str:
    """The figures in Markdown."""
    rates, kills = results["rates"], results["kills"]
    lines = [
        f"| a second, one process, load {results['load']:.0f} | median of 5 | best |",
        "| --- | --- | --- |",
    ]
    lines += [f"| {name} | {row['median']:,.0f} | {row['best']:,.0f} |" for name, row in rates.items()]
    alone = rates["replays"]["by processor time, median"]
    lines += [f"| replays, of a processor of its own | {alone:,.0f} | |"]
    lines += ["", f"| after {kills['kills']:,} kills of {WRITERS} writers | |", "| --- | --- |"]
    shown = ("charges", "released", "released and not charged", "charged and not released", "spent", "cap")
    lines += [f"| {name} | {kills[name]:,} |" for name in shown]
    lines += [f"| problems in the chain | {len(kills['problems'])} |"]
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--folder", type=Path, help="on the disk that is to be measured")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=chosen.folder) as name:
        results = {
            "machine": {
                "processors": os.cpu_count(),
                "python": platform.python_version(),
                "sqlite": sqlite3.sqlite_version,
            },
            "results": {
                "load": os.getloadavg()[0],
                "rates": rates(Path(name)),
                "kills": killed(Path(name), chosen.kills, seed=0),
            },
        }
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(results, indent=1) + "\n")
    print(table(results["results"]))


if __name__ == "__main__":
    main()
