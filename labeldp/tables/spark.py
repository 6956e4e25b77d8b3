# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
# pyright: reportMissingImports=false
"""Data frames of Spark: the same noisy labels as on one machine, whatever the partitions, retries and speculative copies."""

import importlib
import json
import os
import shutil
import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from os import PathLike
from pathlib import Path
from typing import Any

import pyarrow as pa

import accounting
from labeldp.mechanisms import Mechanism
from labeldp.release import KeyedSource, Source
from labeldp.tables.arrow_job import check_schema, noisy_batch, output_schema, plain, source_for
from labeldp.tables.job import Class, Columns, Job
from labeldp.tables.key_file import read_key
from labeldp.tables.ledger import Ledger
from labeldp.tables.manifest import manifest_of
from labeldp.tables.memory import Released
from labeldp.tables.surveys import Survey, survey_of, whole


def privatize(
    frame: Any,
    mechanism: Mechanism,
    *,
    label: str,
    item: str,
    key_file: str | PathLike[str],
    epoch: str = "",
    classes: Sequence[Class] | None = None,
    prior: Sequence[str] | None = None,
    person: str | None = None,
    unknown: Class | None = None,
    missing: Class | None = None,
    ledger: Ledger | None = None,
    dataset: str | None = None,
    part: str = "",
) -> Released:
    """Replaces the column of true labels of a Spark data frame by one of noisy labels, as `labeldp.tables.privatize` does.

    The driver reads what is public (two aggregations and, for mechanisms with candidates, their survey), charges the ledger, and
    returns a frame whose labels are drawn when Spark computes it, as often as Spark computes it: noise is keyed, so that a task that
    is tried again, or twice at once, gives the same answers. The frame has to give the same rows each time, as a table on disk does.

    Args:
        frame: a data frame.
        mechanism, label, item, classes, prior, person, unknown, missing: see `Columns`.
        key_file: the path of a key that the driver and every worker can read, with the rights that `read_key` asks for. The key itself
            is in no plan, no closure and no log of Spark: each task reads it.
        epoch: the public name of the table and the version of its labels, see `KeyedSource`.
        ledger, dataset, part: where the release is charged, once; on the driver.

    Returns:
        The frame, not yet computed, and the manifest.

    Raises:
        FileNotFoundError: no Java.
        BudgetSpent: the ledger refused.
        TypeError, ValueError: columns that do not fit, items that repeat. Labels that are no classes fail the task that meets them.

    Privacy: as for `labeldp.tables.privatize`. Workers see true labels, as they did before.
    """
    columns = Columns(
        label,
        classes,  # pyright: ignore[reportArgumentType] - any sequence becomes a tuple
        item=item,
        prior=tuple(prior or ()),
        person=person,
        unknown=unknown,
        missing=missing,
    )
    job = Job(mechanism, columns)
    _require_java()
    types: Any = importlib.import_module("pyspark.sql.pandas.types")
    schema: pa.Schema = types.to_arrow_schema(frame.schema)
    check_schema(schema, job)
    source = KeyedSource(read_key(key_file), epoch=epoch)
    inside = source_for(job, schema.field(label).type, source)
    label_type, path = schema.field(label).type, str(Path(key_file).resolve())

    def survey_batches(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keyed = source_for(job, label_type, KeyedSource(read_key(path), epoch=epoch))
        for batch in batches:
            yield _told(survey_of(batch, job, keyed))

    def release(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        keyed = KeyedSource(read_key(path), epoch=epoch)
        for batch in batches:
            yield _plain_columns(noisy_batch(batch, job, keyed))

    nothing = pa.schema([schema.field(name) for name in columns.public]).empty_table()
    empty = pa.record_batch([column.combine_chunks() for column in nothing.columns], schema=nothing.schema)
    surveyed = _survey(frame, job, inside, survey_batches, empty)
    receipt = surveyed.charge(ledger, dataset, job, inside, part=part)
    made = output_schema(schema, job).empty_table()
    made = _plain_columns(
        pa.record_batch([column.combine_chunks() for column in made.columns], schema=made.schema)
    )
    released = frame.mapInArrow(release, types.from_arrow_schema(made.schema))
    return Released(released, manifest_of(surveyed, job, inside, receipt, dataset=dataset, part=part))


def session(name: str = "labeldp", **options: str) -> Any:
    """A local Spark session that workers with this Python can join, for trying things out on one machine.

    Raises:
        FileNotFoundError: there is no Java.
    """
    _require_java()
    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    builder = importlib.import_module("pyspark.sql").SparkSession.builder.appName(name)
    usual = {
        "spark.master": "local[2]",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.driver.host": "127.0.0.1",
    }
    for key, value in (usual | {"spark.ui.enabled": "false"} | options).items():
        builder = builder.config(key, value)
    return builder.getOrCreate()


def _require_java() -> None:
    if shutil.which("java") is None and not os.environ.get("JAVA_HOME"):
        raise FileNotFoundError(
            "Expected Java 17 for Spark, found none; bring it with: apt-get install openjdk-17-jre-headless, or: conda install openjdk=17"
        )


def _survey(frame: Any, job: Job, source: Source, survey_batches: Any, empty: pa.RecordBatch) -> Survey:
    """The survey of a frame, by Spark's own aggregations and by one of every batch."""
    columns = job.columns
    assert columns.item is not None
    if _most_frequent(frame, columns.item) > 1:
        raise ValueError(
            f"Expected every item to be named once in column {columns.item}, got one of them twice or more; two labels of one item need "
            f"two names, and are two answers about it."
        )
    parts = [survey_of(empty, job, source)]
    for row in (
        frame.select(*columns.public)
        .mapInArrow(survey_batches, "rows long, event string, plans string")
        .collect()
    ):
        event = accounting.event_from_dict(json.loads(row["event"]))
        assert isinstance(event, accounting.Disjoint)
        parts.append(replace(parts[0], rows=row["rows"], event=event, plans=int(row["plans"])))
    most = _most_frequent(frame, columns.person) if columns.person else 1
    return replace(whole(parts), rows_of_one_person=max(1, most))


def _most_frequent(frame: Any, column: str) -> int:
    """How many rows the most frequent value of a column has."""
    found = frame.groupBy(frame[column]).count().agg({"count": "max"}).collect()[0][0]
    return int(found or 0)


def _told(survey: Survey) -> pa.RecordBatch:
    """A survey as a row."""
    event = json.dumps(accounting.event_to_dict(survey.event))
    return pa.record_batch({"rows": [survey.rows], "event": [event], "plans": [str(survey.plans)]})


def _plain_columns(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Types that Spark knows: texts instead of dictionaries, lists of any length."""
    arrays: list[pa.Array] = []
    for column in batch.columns:
        kind = column.type
        if pa.types.is_dictionary(kind):
            column = plain(column)
        elif pa.types.is_fixed_size_list(kind):
            column = column.cast(pa.list_(kind.value_type))
        arrays.append(column)
    return pa.record_batch(arrays, names=batch.schema.names)
