"""Jobs on files that are killed at random moments and started again; run by tests as a program, which prints what was found as JSON.

python -m tests.labeldp.table_kills FOLDER ROWS KILLS [--late-charge]
"""

import hashlib
import json
import os
import random
import signal
import sys
import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import labeldp
from labeldp.tables import Columns, Job, Ledger, privatize_file, surveys, table_files

KEY = bytes(range(32))
CLASSES = ("flu", "cold", "measles")
JOB = Job(labeldp.RandomizedResponse(1.0, 3), Columns("y", CLASSES, "id"))


def run(folder: Path) -> None:
    with Ledger(folder / "ledger.sqlite") as ledger:
        source = labeldp.KeyedSource(KEY)
        privatize_file(
            folder / "in.parquet", folder / "out.parquet", JOB, source=source, ledger=ledger, dataset="d"
        )


def charges(folder: Path) -> int:
    with Ledger(folder / "ledger.sqlite") as ledger:
        return sum(row["kind"] == "charge" for row in ledger.entries())


def main() -> None:
    folder, rows, kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    table_files.BATCH_ROWS = max(1000, rows // 10)
    draw = np.random.default_rng(0)
    labels = pa.array(np.array(CLASSES)[draw.integers(3, size=rows)])
    pq.write_table(pa.table({"id": draw.permutation(rows), "y": labels}), folder / "in.parquet")
    with Ledger(folder / "ledger.sqlite") as ledger:
        ledger.set_cap("d", 1.0, unit="label")
    if "--late-charge" in sys.argv:
        surveys.Survey.charge = lambda *_, **__: None  # type: ignore
    out, partial = folder / "out.parquet", folder / ".out.parquet.partial"
    found = {"killed": 0, "uncharged": 0, "left over": 0, "whole": 0}
    contents = set()
    longest, pause = 0.0, random.Random(0)
    for attempt in range(kills + 1):
        out.unlink(missing_ok=True)
        child = os.fork()
        if child == 0:
            run(folder)
            os._exit(0)
        start = time.perf_counter()
        if attempt:
            time.sleep(longest * pause.random())
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        longest = max(longest, time.perf_counter() - start) if not attempt else longest
        found["killed"] += os.WIFSIGNALED(status)
        seen = out.exists() or (partial.exists() and partial.stat().st_size > 0)
        found["left over"] += partial.exists()
        found["uncharged"] += seen and charges(folder) == 0
        if out.exists():
            found["whole"] += 1
            contents.add(hashlib.sha256(out.read_bytes()).hexdigest())
    out.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        run(folder)
        os._exit(0)
    os.waitpid(child, 0)
    contents.add(hashlib.sha256(out.read_bytes()).hexdigest())
    found |= {
        "contents": len(contents),
        "charges": charges(folder),
        "files": sorted(path.name for path in folder.iterdir()),
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
