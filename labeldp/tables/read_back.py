# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false
"""Columns of noisy labels read back, to be learned from and checked."""

import json
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import accounting
from labeldp.mechanisms import Plan
from labeldp.release import NoisyLabels
from labeldp.tables.arrow_job import class_values, plain
from labeldp.tables.job import OTHER, Job


def noisy_labels(table: pa.Table | pa.RecordBatch, job: Job, event: accounting.Event) -> NoisyLabels:
    """Reads back what `noisy_batch` wrote.

    Raises:
        ValueError: values, candidates and job do not belong together.
    """
    columns, mechanism = job.columns, job.mechanism
    if columns.noisy not in table.schema.names:
        raise ValueError(f"Expected a column {columns.noisy}, found none.")
    column = _whole(table, columns.noisy)
    plan = Plan(table.num_rows)
    if columns.candidates in table.schema.names:
        plan = Plan(table.num_rows, candidates=_masks(_whole(table, columns.candidates), job))
    elif columns.blocks in table.schema.names:
        flat = _flat(_listed(_whole(table, columns.blocks))).to_numpy(zero_copy_only=False)
        kind = np.min_scalar_type(mechanism.num_classes - 1)
        plan = Plan(table.num_rows, blocks=flat.reshape(table.num_rows, -1).astype(kind))
    if job.on_grid:
        values: npt.NDArray[Any] = column.to_numpy(zero_copy_only=False)
    elif job.answers_blocks:
        values = column.to_numpy(zero_copy_only=False).astype(np.int64)
    elif mechanism.answer_dtype == np.bool_:
        values = _masks(column, job)
    elif mechanism.answer_shape:
        values = _flat(_listed(column)).to_numpy(zero_copy_only=False).reshape(table.num_rows, -1)
    else:
        values = _indices(column, job, others=mechanism.num_outputs > mechanism.num_classes)
    if not mechanism.possible(values, plan):
        raise ValueError(f"Expected answers of {mechanism!r} in column {columns.noisy}, got others.")
    return NoisyLabels(mechanism, values, plan, event)


def _whole(table: pa.Table | pa.RecordBatch, name: str) -> pa.Array:
    column = table.column(name)
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks() if column.num_chunks != 1 else column.chunk(0)
    return plain(column)


def _indices(column: pa.Array, job: Job, *, others: bool = False) -> npt.NDArray[np.int64]:
    classes = class_values(column.type, job)
    if others and pa.types.is_string(classes.type):
        classes = pa.concat_arrays([classes, pa.array([OTHER])])
    numbers = pc.index_in(column, value_set=classes)
    if others and not pa.types.is_string(classes.type):
        numbers = pc.if_else(pc.is_null(column), pa.scalar(len(classes), pa.int32()), numbers)
    return pc.fill_null(numbers, -1).to_numpy(zero_copy_only=False).astype(np.int64)


def _listed(column: pa.Array) -> pa.Array:
    """A column of lists, also where they stand as JSON, in CSV."""
    if not pa.types.is_string(column.type):
        return column
    try:
        return pa.array([json.loads(text) for text in column.to_pylist()])
    except (ValueError, TypeError, pa.ArrowInvalid):
        raise ValueError("Expected lists, as JSON where they are texts, got something else.") from None


def _flat(column: pa.Array) -> pa.Array:
    """The members of all lists, one list after the other."""
    if column.null_count:
        raise ValueError("Expected no null among lists of answers, got one.")
    return plain(column.flatten())


def _masks(column: pa.Array, job: Job) -> npt.NDArray[np.bool_]:
    """Lists of classes as sets, (n, K) bool."""
    column = _listed(column)
    sizes = pc.list_value_length(column).to_numpy(zero_copy_only=False)
    flat = _flat(column)
    numbers = _indices(flat, job) if len(flat) else np.empty(0, dtype=np.int64)
    if (numbers < 0).any():
        raise ValueError("Expected lists of classes, got something else in one.")
    masks = np.zeros((len(column), job.mechanism.num_classes), dtype=np.bool_)
    masks[np.repeat(np.arange(len(column)), sizes), numbers] = True
    return masks
