# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false
"""One batch of a table: what is public about it, and its noisy labels. The same function in memory, for files and on every engine."""

from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from labeldp.mechanisms import Plan
from labeldp.release import KeyedSource, NoisyLabels, Source, privatize
from labeldp.release.keyed import Items, integer_items, text_items
from labeldp.tables.job import OTHER, Job, part_of_epoch


def check_schema(schema: pa.Schema, job: Job) -> None:
    """Refuses tables that the job does not fit, by their schema alone.

    Raises:
        ValueError: a column is missing, there twice, or in the way of a new one.
        TypeError: a column is of a type that cannot play its role.
    """
    columns = job.columns
    for name in (columns.label, *columns.public):
        if schema.names.count(name) != 1:
            count = schema.names.count(name)
            raise ValueError(f"Expected one column {name}, found {count or 'none'} of that name.")
    for name in (columns.noisy, columns.candidates, columns.blocks):
        if name in schema.names:
            raise ValueError(f"Expected no column {name}, found one; it is the name of a column to be made.")
    for name in filter(None, (columns.item, columns.person)):
        kind = plain_type(schema.field(name).type)
        if not (pa.types.is_integer(kind) or pa.types.is_string(kind)):
            raise TypeError(f"Expected integers or texts in column {name}, got {kind}; cast it to a text.")
    kind = plain_type(schema.field(columns.label).type)
    if job.on_grid:
        if not (pa.types.is_integer(kind) or pa.types.is_floating(kind)):
            raise TypeError(f"Expected numbers in column {columns.label}, got {kind}.")
    else:
        class_values(kind, job)


def plain_type(kind: pa.DataType) -> pa.DataType:
    """The type of the values themselves: without a dictionary, and one type for all texts."""
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
        return pa.string()
    return kind


def class_values(label_type: pa.DataType, job: Job) -> pa.Array:
    """The classes as values of the label column's type, in order; texts are read as what they name.

    Raises:
        TypeError: the column's type holds no such values.
    """
    kind, classes = plain_type(label_type), job.columns.classes
    assert classes is not None
    given = pa.array(list(classes))
    texts = pa.types.is_string(given.type)
    nested = pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind)
    differ = not texts and (
        pa.types.is_string(kind) or pa.types.is_boolean(kind) != pa.types.is_boolean(given.type)
    )
    try:
        if nested or differ or pa.types.is_null(kind):
            raise pa.ArrowInvalid
        values = given.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
        raise TypeError(
            f"Expected classes that column {job.columns.label}, of type {kind}, can hold, got {given.type}."
        ) from None
    if len(pc.unique(values)) < len(values):
        raise ValueError(
            f"Expected distinct classes, two of them are one value of column {job.columns.label}, of type {kind}."
        )
    return values


def source_for(job: Job, label_type: pa.DataType, source: Source) -> Source:
    """The source of this column of labels, read as the job says: a part of the epoch, for a key; see `part_of_epoch`."""
    if not isinstance(source, KeyedSource):
        return source
    classes: list[Any] = [] if job.on_grid else class_values(label_type, job).to_pylist()
    columns = job.columns
    return source.within(
        part_of_epoch(columns.label, classes, columns.item, columns.unknown, columns.missing)
    )


def names_of(batch: pa.RecordBatch, column: str) -> Items:
    """The items, or persons, of a batch; repeats are not looked for.

    Raises:
        ValueError: one of them is missing.
    """
    values = plain(batch.column(column))
    if values.null_count:
        raise ValueError(f"Expected a name in every row of column {column}, got at least one that is null.")
    if pa.types.is_integer(values.type):
        return integer_items(values.to_numpy(zero_copy_only=False))
    return text_items(values.cast(pa.binary()).to_numpy(zero_copy_only=False).tolist())


def plan_of(batch: pa.RecordBatch, job: Job) -> Plan:
    """What is decided about each row before its label is read; the batch may lack the column of labels, and does in a survey."""
    return job.mechanism.plan(_prior_of(batch, job), batch.num_rows)


def noisy_batch(batch: pa.RecordBatch, job: Job, source: Source) -> pa.RecordBatch:
    """The batch without its true labels and with noisy ones, and their candidates where there are any, at its end.

    Everything else is as it was, but metadata, which may speak of the labels. With a key, what a row gets does not depend on the
    rows beside it.

    Args:
        batch: rows with all columns of the job; items are taken to differ, see `Survey`.
        job: what is to be done.
        source: where noise comes from.

    Raises:
        TypeError, ValueError: columns that do not fit, or a label that is none of the classes. No message holds a label.

    Privacy: as for `labeldp.privatize`.
    """
    return with_answers(batch, released(batch, job, source), job)


def with_answers(batch: pa.RecordBatch, noisy: NoisyLabels, job: Job) -> pa.RecordBatch:
    """The batch with these noisy labels in the place of its true ones."""
    label_type = batch.schema.field(job.columns.label).type
    kept = [name for name in batch.schema.names if name != job.columns.label]
    arrays = [batch.column(name) for name in kept]
    fields = [without_metadata(batch.schema.field(name)) for name in kept]
    for name, values in new_columns(noisy.values, noisy.plan, job, label_type).items():
        arrays.append(values)
        fields.append(pa.field(name, values.type))
    return pa.record_batch(arrays, schema=pa.schema(fields))


def released(batch: pa.RecordBatch, job: Job, source: Source) -> NoisyLabels:
    """The noisy labels of a batch, through the barrier."""
    column = batch.column(job.columns.label)
    items = names_of(batch, job.columns.item) if job.columns.item else None
    return privatize(
        job.mechanism,
        label_numbers(column, job),
        prior=_prior_of(batch, job),
        source=source_for(job, column.type, source),
        items=items,  # pyright: ignore[reportArgumentType]
    )


def without_metadata(field: pa.Field) -> pa.Field:
    """The field without metadata, and those within it."""
    kind = field.type
    if pa.types.is_struct(kind):
        kind = pa.struct([without_metadata(kind.field(place)) for place in range(kind.num_fields)])
    elif pa.types.is_map(kind):
        kind = pa.map_(without_metadata(kind.key_field), without_metadata(kind.item_field), kind.keys_sorted)
    elif pa.types.is_fixed_size_list(kind):
        kind = pa.list_(without_metadata(kind.value_field), kind.list_size)
    elif pa.types.is_list(kind):
        kind = pa.list_(without_metadata(kind.value_field))
    elif pa.types.is_large_list(kind):
        kind = pa.large_list(without_metadata(kind.value_field))
    return field.with_type(kind).remove_metadata()


def output_schema(schema: pa.Schema, job: Job) -> pa.Schema:
    """The schema of what `noisy_batch` makes of batches of a schema."""
    plan = Plan(0)
    if not job.on_grid and hasattr(job.mechanism, "candidates"):
        plan = Plan(0, candidates=np.empty((0, job.mechanism.num_classes), dtype=np.bool_))
    if job.answers_blocks:
        plan = Plan(0, blocks=np.empty((0, job.mechanism.num_classes), dtype=np.uint8))
    none = np.empty((0, *job.mechanism.answer_shape), dtype=job.mechanism.answer_dtype)
    fields = [without_metadata(field) for field in schema if field.name != job.columns.label]
    new = new_columns(none, plan, job, schema.field(job.columns.label).type)
    return pa.schema([*fields, *(pa.field(name, values.type) for name, values in new.items())])


def new_columns(
    values: npt.NDArray[Any], plan: Plan, job: Job, label_type: pa.DataType
) -> dict[str, pa.Array]:
    """Noisy labels as a column: classes as they are named, sets as lists, values and vectors as floats; candidates as lists."""
    columns = job.columns
    if job.on_grid:
        return {columns.noisy: pa.array(values, pa.float64())}
    if job.answers_blocks:
        assert plan.blocks is not None
        flat = pa.array(plan.blocks.astype(np.int32).reshape(-1))
        blocks = pa.FixedSizeListArray.from_arrays(flat, job.mechanism.num_classes)
        return {columns.noisy: pa.array(values.astype(np.int32)), columns.blocks: blocks}
    classes = class_values(label_type, job)
    if values.dtype == np.bool_:
        made = _lists(values, classes)
    elif values.ndim == 2:
        made = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), job.mechanism.num_classes)
    elif pa.types.is_string(classes.type):
        others = [OTHER] if job.mechanism.num_outputs > len(classes) else []
        names = pa.array([*classes.to_pylist(), *others], pa.string())
        made = pa.DictionaryArray.from_arrays(pa.array(values.astype(np.int32)), names)
    else:
        made = classes.take(pa.array(values.astype(np.int32), mask=values == len(classes)))
    new = {columns.noisy: made}
    if plan.candidates is not None:
        new[columns.candidates] = _lists(plan.candidates, classes)
    return new


def _lists(sets: npt.NDArray[np.bool_], classes: pa.Array) -> pa.Array:
    """Sets of classes as lists, (n, K) bool."""
    offsets = np.zeros(len(sets) + 1, dtype=np.int32)
    np.cumsum(sets.sum(axis=1), out=offsets[1:])
    members = pa.array(np.nonzero(sets)[1].astype(np.int32))
    return pa.ListArray.from_arrays(pa.array(offsets), classes.take(members))


def label_numbers(column: pa.Array, job: Job) -> npt.NDArray[Any]:
    """Labels as the numbers that the mechanism reads; what they are is told by no error."""
    if job.on_grid:
        values = _without_nan(plain(column))
        if values.null_count:
            _refuse(job, null=True)
        return values.cast(pa.float64(), safe=False).to_numpy(zero_copy_only=False)
    classes = class_values(column.type, job)
    if pa.types.is_dictionary(column.type):  # its few values are looked up, not its rows
        codes = np.append(_codes(plain(column.dictionary), classes), _NULL)
        places = column.indices.cast(pa.int64()).fill_null(len(codes) - 1)
        numbers = codes[places.to_numpy(zero_copy_only=False)]
    else:
        numbers = _codes(plain(column), classes)
    for code, value in ((_NULL, job.columns.missing), (_OTHER, job.columns.unknown)):
        if value is not None:
            numbers[numbers == code] = _place(value, job)
    if (numbers < 0).any():
        _refuse(job, null=bool((numbers == _NULL).any()))
    return numbers.astype(np.min_scalar_type(len(classes) - 1))


_NULL, _OTHER = -1, -2


def _codes(values: pa.Array, classes: pa.Array) -> npt.NDArray[np.int32]:
    """The places of values among the classes, or one of the two codes above."""
    values = _without_nan(values)
    codes = pc.fill_null(pc.index_in(values, value_set=classes), _OTHER)
    if values.null_count:
        codes = pc.if_else(pc.is_null(values), pa.scalar(_NULL, pa.int32()), codes)
    return codes.to_numpy(zero_copy_only=False).copy()


def _without_nan(values: pa.Array) -> pa.Array:
    if not pa.types.is_floating(values.type):
        return values
    return pc.if_else(pc.is_nan(values), pa.scalar(None, values.type), values)


def _place(value: object, job: Job) -> int:
    assert job.columns.classes is not None
    return job.columns.classes.index(value)  # pyright: ignore[reportArgumentType]


def _refuse(job: Job, *, null: bool) -> NoReturn:
    """Says of labels that are no classes no more than whether one is null."""
    label = job.columns.label
    if null:
        raise ValueError(
            f"Expected no null among the labels of column {label}, got at least one; name the class that a missing label belongs to, "
            f"with missing=CLASS (--missing CLASS), or leave those rows out for a public reason."
        )
    raise ValueError(
        f"Expected every label of column {label} among the {job.mechanism.num_classes} classes given, got at least one that is none "
        f"of them; name the class that others belong to, with unknown=CLASS (--unknown CLASS)."
    )


def _prior_of(batch: pa.RecordBatch, job: Job) -> npt.NDArray[np.float64] | None:
    """Class probabilities of each row, (n, K), or None where the job has no prior columns."""
    if not job.columns.prior:
        return None
    prior = np.empty((batch.num_rows, len(job.columns.prior)))
    for place, name in enumerate(job.columns.prior):
        column = plain(batch.column(name))
        try:
            numbers = column.cast(pa.float64())
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise ValueError(f"Expected numbers in the prior column {name}, got {column.type}.") from None
        if numbers.null_count:
            raise ValueError(f"Expected a number in every row of the prior column {name}, got a null.")
        prior[:, place] = numbers.to_numpy(zero_copy_only=False)
    return prior


def plain(column: pa.Array) -> pa.Array:
    """The values themselves; texts of one type."""
    kind = plain_type(column.type)
    if pa.types.is_dictionary(column.type):
        return column.dictionary.cast(kind).take(column.indices)
    return column if column.type == kind else column.cast(kind)
