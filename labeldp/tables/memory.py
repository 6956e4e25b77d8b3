# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
"""A table in memory: any kind that speaks Arrow goes in, the same kind comes out, without its true labels."""

import importlib
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import narwhals as nw
import pyarrow as pa

from labeldp.mechanisms import Mechanism
from labeldp.release import Source, SystemSource
from labeldp.tables.arrow_job import check_schema, new_columns, released, source_for, without_metadata
from labeldp.tables.job import Class, Columns, Job
from labeldp.tables.ledger import Ledger
from labeldp.tables.manifest import Manifest, manifest_of
from labeldp.tables.surveys import survey

BATCH_ROWS = 2**20


class Released(NamedTuple):
    """A table without true labels, of the caller's type, and the manifest of its release."""

    table: Any
    manifest: Manifest


def privatize(
    table: Any,
    mechanism: Mechanism,
    *,
    label: str,
    classes: Sequence[Class] | None = None,
    item: str | None = None,
    prior: Sequence[str] | None = None,
    person: str | None = None,
    unknown: Class | None = None,
    missing: Class | None = None,
    source: Source | None = None,
    ledger: Ledger | None = None,
    dataset: str | None = None,
    part: str = "",
) -> Released:
    """Replaces the column of true labels by one of noisy labels, LABEL_noisy, at the end of the table.

    Mechanisms with candidates add LABEL_candidates. Every other column is as it was: that none of them tells the label is the
    caller's to know (see `verify`). Metadata of the table is left out.

    Args:
        table: a data frame of pandas or polars, a table of pyarrow, a relation of DuckDB, or anything else with the Arrow PyCapsule
            interface, which comes back as a table of pyarrow.
        mechanism: what answers.
        label, classes, item, prior, person, unknown, missing: see `Columns`.
        source: where noise comes from, a fresh `SystemSource` by default; with a `KeyedSource` the same row gets the same answer in
            every rerun, on every engine.
        ledger, dataset, part: where the release is charged, once for a keyed release; see `Ledger.charge`.

    Returns:
        The table and the manifest: `table, manifest = privatize(...)`.

    Raises:
        BudgetSpent: the ledger refused.
        TypeError, ValueError: columns or labels that do not fit. No message holds a label.

    Privacy:
        As for `labeldp.privatize`, for the label of each row; with `person`, for all labels of one person together. It is charged
        before any label is looked up or answered; a type that Arrow cannot hold is refused before that.
    """
    job = Job(
        mechanism,
        Columns(
            label,
            classes,  # pyright: ignore[reportArgumentType] - any sequence becomes a tuple
            item=item,
            prior=tuple(prior or ()),
            person=person,
            unknown=unknown,
            missing=missing,
        ),
    )
    frame, arrow = _as_arrow(table, job)
    check_schema(arrow.schema, job)
    source = SystemSource() if source is None else source
    label_type = arrow.schema.field(label).type
    inside = source_for(job, label_type, source)
    surveyed = survey(lambda: _batches(arrow.select(list(job.columns.public))), job, label_type, source)
    receipt = surveyed.charge(ledger, dataset, job, inside, part=part)
    new = _noisy_columns(arrow, job, source)
    manifest = manifest_of(surveyed, job, inside, receipt, dataset=dataset, part=part)
    return Released(_as_given(table, frame, arrow, new, job), manifest)


def _batches(table: pa.Table) -> Iterator[pa.RecordBatch]:
    batches = table.to_batches(max_chunksize=BATCH_ROWS)
    if not batches:
        batches = [pa.record_batch([pa.array([], field.type) for field in table.schema], schema=table.schema)]
    if not table.num_columns:  # nothing public is needed, but how many rows there are
        batches = [pa.record_batch({"": pa.nulls(table.num_rows)})]
    return iter(batches)


def _noisy_columns(arrow: pa.Table, job: Job, source: Source) -> pa.Table:
    needed = arrow.select([*job.columns.public, job.columns.label])
    label_type = arrow.schema.field(job.columns.label).type
    made: list[pa.RecordBatch] = []
    for batch in _batches(needed):
        noisy = released(batch, job, source)
        made.append(pa.record_batch(new_columns(noisy.values, noisy.plan, job, label_type)))
    return pa.Table.from_batches(made)


def _as_arrow(table: Any, job: Job) -> tuple[Any, pa.Table]:
    """The table's frame of narwhals where it has one, and the columns that the job needs, or all, as Arrow."""
    if isinstance(table, pa.RecordBatch):
        return None, pa.Table.from_batches([table])
    if isinstance(table, pa.Table):
        return None, table
    frame = nw.from_native(table, eager_only=True, pass_through=True)
    if isinstance(frame, nw.DataFrame):
        if job.columns.label in getattr(getattr(table, "index", None), "names", ()):
            raise ValueError(
                f"Expected no index named {job.columns.label}, as the column of true labels is: it would stay in the result; "
                f"reset_index(drop=True) first."
            )
        needed = dict.fromkeys((*job.columns.public, job.columns.label))
        arrow = _converted(
            lambda: frame.select([name for name in needed if name in frame.columns]).to_arrow()
        )
        new = (job.columns.noisy, job.columns.candidates, job.columns.blocks)
        for name in new:
            if name in frame.columns:
                raise ValueError(
                    f"Expected no column {name}, found one; it is the name of a column to be made."
                )
        return frame, arrow
    if not hasattr(table, "__arrow_c_stream__"):
        hint = "; collect() it first" if hasattr(table, "collect") else ""
        raise TypeError(
            f"Expected a table that speaks Arrow, such as a data frame of pandas or polars, got {type(table).__name__}{hint}."
        )
    return None, _converted(lambda: pa.table(table))


def _converted(convert: Callable[[], pa.Table]) -> pa.Table:
    """A table as Arrow; what a value said that could not be converted is not passed on: it may be a label."""
    try:
        return convert()
    except (pa.ArrowException, ValueError, TypeError, OverflowError):
        raise TypeError(
            "Expected columns whose values are of one type each, got one that Arrow does not hold; give them one type first."
        ) from None


def _as_given(table: Any, frame: Any, arrow: pa.Table, new: pa.Table, job: Job) -> Any:
    """The result in the caller's type."""
    if frame is not None:
        columns = nw.from_arrow(new, backend=frame.implementation)
        result = (
            frame.drop(job.columns.label)
            .with_columns(*(columns[name] for name in columns.columns))
            .to_native()
        )
        if hasattr(result, "attrs"):
            result.attrs = {}  # metadata, as of any table
        return result
    kept = arrow.drop_columns([job.columns.label])
    fields = [without_metadata(field) for field in kept.schema]
    result = pa.table([*kept.columns, *new.columns], schema=pa.schema([*fields, *new.schema]))
    if isinstance(table, pa.RecordBatch):
        return (
            result.combine_chunks().to_batches()[0]
            if len(result)
            else pa.RecordBatch.from_pylist([], schema=result.schema)
        )
    if type(table).__module__.split(".")[0] == "duckdb":
        return importlib.import_module("duckdb").from_arrow(result)
    return result
