"""Measures releases of tables: Parquet to Parquet beside a copy, memory, keyed noise itself, Spark, kills and resumes; prints a table
and writes benchmarks/results/tables.json.

    python -m benchmarks.tables                                # ten million rows
    python -m benchmarks.tables --rows 1e6 --many 0 --no-spark # in a minute
    python -m benchmarks.tables --only copy noise              # some parts; the others keep their figures

Times are medians, by the clock and by the processor; of a job and of its copy they are taken in turn, in one process.
"""

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import labeldp
from labeldp.release.keyed import Context, item_blocks
from labeldp.tables import Columns, Job, new_key, privatize_file, read_key
from labeldp.tables.arrow_job import names_of
from labeldp.tables.table_files import ParquetTable

RESULTS = Path(__file__).parent / "results" / "tables.json"
CLASSES = tuple("abcdefghij")
KEY = bytes(range(32))
JOB = Job(labeldp.RandomizedResponse(1.0, len(CLASSES)), Columns("y", CLASSES, "id"))
BATCH = 2**20


def written(path: Path, rows: int) -> Path:
    """A table of increasing items, labels as texts, and one feature."""
    draw, names = np.random.default_rng(0), pa.array(CLASSES)
    schema = pa.schema([("id", pa.int64()), ("y", pa.string()), ("x", pa.float32())])
    with pq.ParquetWriter(path, schema) as writer:
        for start in range(0, rows, BATCH):
            count = min(BATCH, rows - start)
            labels = names.take(pa.array(draw.integers(len(CLASSES), size=count)))
            x = pa.array(draw.random(count, dtype=np.float32))
            writer.write_batch(
                pa.record_batch([pa.array(np.arange(start, start + count)), labels, x], schema=schema)
            )
    return path


def clocked(work: Callable[[], object]) -> tuple[float, float]:
    """Seconds by the clock and by the processor."""
    start, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - start, time.process_time() - used


def copied(source: Path, out: Path) -> None:
    """What a job does but for the noise and the first reading: reads, writes, waits for the disk."""
    table = ParquetTable(source)
    with out.open("w+b") as file:
        table.write(file, table.schema, table.batches())
        file.flush()
        os.fsync(file.fileno())


def released(source: Path, out: Path) -> None:
    """The job."""
    out.unlink(missing_ok=True)
    privatize_file(source, out, JOB, source=labeldp.KeyedSource(KEY))


def beside_a_copy(folder: Path, rows: int, repeats: int = 5) -> dict[str, Any]:
    """A job and the copy of its table in turn."""
    source = written(folder / "in.parquet", rows)
    times: dict[str, list[tuple[float, float]]] = {"copy": [], "release": []}
    for _ in range(repeats):
        times["copy"].append(clocked(lambda: copied(source, folder / "copy.parquet")))
        times["release"].append(clocked(lambda: released(source, folder / "out.parquet")))
    result: dict[str, Any] = {"rows": rows}
    for name, pairs in times.items():
        clock, processor = zip(*pairs, strict=True)
        result[name] = {"clock": statistics.median(clock), "processor": statistics.median(processor)}
    ratios = [ours[0] / theirs[0] for ours, theirs in zip(times["release"], times["copy"], strict=True)]
    return result | {"ratio": statistics.median(ratios)}


def many(folder: Path, rows: int) -> dict[str, Any]:
    """One large job in a process of its own, and its largest memory beyond that of an interpreter that imported what it needs."""
    source = folder / "many.parquet"
    written(source, rows)
    command = [sys.executable, "-m", "benchmarks.tables", "--one", str(source)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    for path in (source, source.with_suffix(".out.parquet")):
        path.unlink()
    return {"rows": rows} | json.loads(result.stdout)


def one(source: Path) -> dict[str, Any]:
    """The large job; prints nothing else."""
    small = written(source.with_suffix(".small.parquet"), 1000)
    released(small, source.with_suffix(".small.out.parquet"))  # imports everything
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    clock, processor = clocked(lambda: released(source, source.with_suffix(".out.parquet")))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return {"clock": clock, "processor": processor, "peak_mb": (after - before) / 1024}


def noise(rows: int) -> dict[str, float]:
    """Items a second: names to blocks, and blocks and labels to words."""
    batch = pa.record_batch({"id": np.arange(rows), "name": [f"user-{i:09d}" for i in range(rows)]})
    labels = np.zeros(rows, dtype=np.uint8)
    mechanism = JOB.mechanism
    source, plan = labeldp.KeyedSource(KEY), mechanism.plan(None, rows)

    def words(items: Any) -> None:
        context = Context(mechanism, items, labels, plan)
        for start in range(0, rows, 2**15):
            part = context[slice(start, start + 2**15)]
            source.words(len(part.labels), part)

    works: dict[str, Callable[[], object]] = {
        "integers": lambda: words(item_blocks(np.arange(rows), rows)),
        "texts": lambda: words(names_of(batch, "name")),
    }
    return {
        name: rows / statistics.median(clocked(work)[0] for _ in range(5)) for name, work in works.items()
    }


def with_spark(folder: Path, rows: int) -> dict[str, Any]:
    """The same table through Spark with two threads, with its start; and whether the answers are the same."""
    from labeldp.tables import spark

    source, key = written(folder / "spark.parquet", rows), folder / "key"
    new_key(key)
    made: list[Any] = []
    start, _ = clocked(lambda: made.append(spark.session()))
    session = made[0]
    session.sparkContext.setLogLevel("OFF")

    def job() -> None:
        frame = session.read.parquet(str(source))
        table, _ = spark.privatize(frame, JOB.mechanism, label="y", item="id", classes=CLASSES, key_file=key)
        table.write.mode("overwrite").parquet(str(folder / "spark"))

    work, _ = clocked(job)
    session.stop()
    privatize_file(source, folder / "one.parquet", JOB, source=labeldp.KeyedSource(read_key(key)))
    theirs = pq.read_table(folder / "spark", columns=["id", "y_noisy"]).sort_by("id")["y_noisy"]
    ours = pq.read_table(folder / "one.parquet", columns=["y_noisy"])["y_noisy"].cast(pa.string())
    return {
        "rows": rows,
        "start": start,
        "work": work,
        "same": theirs.combine_chunks().equals(ours.combine_chunks()),
    }


def kills(folder: Path, rows: int, number: int) -> dict[str, Any]:
    """A job killed at random moments and started again."""
    command = [sys.executable, "-m", "tests.labeldp.table_kills", str(folder), str(rows), str(number)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    return {"rows": rows, "kills": number} | json.loads(result.stdout)


def table(results: dict[str, Any]) -> str:
    """The figures in Markdown."""
    lines = [
        f"| work (load {results['load']:.0f} on {results['processors']} processors) | measured |",
        "| --- | --- |",
    ]
    if "copy" in results:
        told = results["copy"]
        own, copy = told["release"], told["copy"]
        lines.append(
            f"| {told['rows']:,} labels, Parquet to Parquet, keyed | {own['clock']:.1f} s ({own['processor']:.1f} s of processor time); "
            f"{told['ratio']:.2f} times a copy of the table ({own['processor'] / copy['processor']:.2f} by processor time) |"
        )
        lines.append(f"| the copy | {copy['clock']:.1f} s ({copy['processor']:.1f} s) |")
    if "many" in results:
        told = results["many"]
        lines.append(
            f"| {told['rows']:,} labels | {told['clock']:.0f} s ({told['processor']:.0f} s); {told['peak_mb']:.0f} MB more than at its start |"
        )
    if "noise" in results:
        told = results["noise"]
        lines.append(
            f"| keyed words, items a second | {told['integers'] / 1e6:.1f} million integers, {told['texts'] / 1e6:.1f} million texts |"
        )
    if "spark" in results:
        told = results["spark"]
        same = "the same answers" if told["same"] else "OTHER ANSWERS"
        lines.append(
            f"| Spark, two threads, {told['rows']:,} labels | {told['work']:.0f} s after {told['start']:.0f} s to start; {same} |"
        )
    if "kills" in results:
        told = results["kills"]
        lines.append(
            f"| {told['rows']:,} labels, killed {told['killed']} times and started again | {told['charges']} charge, {told['uncharged']} "
            f"times anything to be seen uncharged, {told['contents']} content of the output |"
        )
    return "\n".join(lines)


def main() -> None:
    """Measures, prints and writes."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--rows", type=float, default=1e7)
    parser.add_argument("--many", type=float, default=1e8, help="rows of the large job; 0 for none")
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--no-spark", action="store_true")
    parser.add_argument("--only", nargs="+", choices=["copy", "many", "noise", "spark", "kills"])
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        print(json.dumps(one(chosen.one)))
        return
    rows = int(chosen.rows)
    parts: dict[str, Callable[[Path], Any]] = {
        "copy": lambda at: beside_a_copy(at, rows),
        "noise": lambda _: noise(min(rows, 2_000_000)),
        "kills": lambda at: kills(at, rows, chosen.kills),
    }
    if chosen.many:
        parts["many"] = lambda at: many(at, int(chosen.many))
    if not chosen.no_spark:
        parts["spark"] = lambda at: with_spark(at, rows)
    kept = json.loads(RESULTS.read_text())["results"] if RESULTS.is_file() and chosen.only else {}
    results: dict[str, Any] = kept | {"load": os.getloadavg()[0], "processors": os.cpu_count()}
    for name, part in parts.items():
        if not chosen.only or name in chosen.only:
            with tempfile.TemporaryDirectory() as folder:
                results[name] = part(Path(folder))
            print(name, results[name], file=sys.stderr, flush=True)
    machine = {"python": platform.python_version(), "pyarrow": pa.__version__, "processors": os.cpu_count()}
    RESULTS.write_text(json.dumps({"machine": machine, "results": results}, indent=1) + "\n")
    print(table(results))


if __name__ == "__main__":
    main()
