# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false
"""Checks of a released file against its manifest, the ledger, and, for the data holder, the true labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

import accounting
from labeldp.release import NoisyLabels
from labeldp.tables.arrow_job import class_values, label_numbers, plain
from labeldp.tables.budget import stated
from labeldp.tables.copies import in_stretches, tells
from labeldp.tables.law_check import law_problem
from labeldp.tables.ledger import Ledger, event_of
from labeldp.tables.manifest import Manifest
from labeldp.tables.read_back import noisy_labels
from labeldp.tables.table_files import ParquetTable, TableFile, table_file
from labeldp.tables.whole_file import sha256


@dataclass(frozen=True)
class Verification:
    """What was looked at, and what is wrong; nothing where `problems` is empty, as far as was looked."""

    checked: tuple[str, ...]
    problems: tuple[str, ...]


def verify(
    output: str | PathLike[str],
    manifest: Manifest,
    *,
    truth: str | PathLike[str] | None = None,
    ledger: Ledger | None = None,
) -> Verification:
    """Checks a released file, or a folder of them.

    Args:
        output: the file or folder that `privatize_file` wrote.
        manifest: of its release.
        truth: the table it was made from, for those who may see it: then no column may tell the true labels, and the noise has to
            follow its law. Sound noise is called unsound with a probability of 1e-6 at most.
        ledger: the ledger it was charged to; the entry has to be there.

    Raises:
        FileNotFoundError, ValueError: files that are not there, or cannot be read.

    Privacy: without `truth` everything looked at is public. With it the result depends on true labels and is for the data holder;
        it names columns and no label.
    """
    tables = list(_tables(Path(output)))
    checks = [
        ("files: names, rows, SHA-256", _files(tables, manifest)),
        ("columns and metadata", _columns(tables, manifest)),
        ("answers and event", _answers(tables, manifest)),
    ]
    if ledger is not None:
        checks.append(("ledger: whole, and charged for this release", _charge(ledger, manifest)))
    if truth is not None and not any(problems for _, problems in checks):
        true_tables = list(_tables(Path(truth)))
        labels = _aligned_labels(tables, true_tables, manifest)
        if labels is None:
            checks.append(("rows of the true table", ["the true table has other rows than the output"]))
        else:
            checks.append(
                (
                    "neither a column nor the order of rows tells the true labels",
                    _copies(tables, true_tables, labels, manifest),
                )
            )
            problem = law_problem(_noisy(tables, manifest), labels)
            checks.append(("noise against its law", [problem] if problem else []))
    problems = tuple(problem for _, found in checks for problem in found)
    return Verification(tuple(name for name, _ in checks), problems)


def _tables(path: Path) -> Iterator[TableFile]:
    if not path.is_dir():
        yield table_file(path)
        return
    for file in sorted(path.iterdir()):
        if not file.name.startswith(("_", ".")):
            yield table_file(file)


def _files(tables: list[TableFile], manifest: Manifest) -> list[str]:
    found: list[str] = []
    told = {file.name: file for file in manifest.files}
    for table in tables:
        file = told.pop(table.path.name, None)
        if file is None:
            found.append(f"{table.path.name} is not in the manifest")
        elif sha256(table.path) != file.sha256:
            found.append(f"{table.path.name} is not the file that was written: its SHA-256 is another")
    found += [f"{name} is missing" for name in told]
    if sum(file.rows for file in manifest.files) != manifest.rows:
        found.append("the rows of the files do not add up to those of the release")
    return found


def _columns(tables: list[TableFile], manifest: Manifest) -> list[str]:
    columns, found = manifest.job.columns, []
    for table in tables:
        name, names = table.path.name, table.schema.names
        if columns.label in names:
            found.append(f"{name} holds the column of true labels, {columns.label}")
        found += [
            f"{name} lacks the column {column}"
            for column in (columns.noisy, *columns.public)
            if column not in names
        ]
        if isinstance(table, ParquetTable):
            extra = {key.decode(errors="replace") for key in table.metadata} - {"ARROW:schema"}
            extra |= {f"of {field.name}" for field in table.schema if _speaks(field)}
            if extra:
                found.append(
                    f"{name} holds metadata that a release does not have: {', '.join(sorted(extra))}"
                )
    return found


def _speaks(field: pa.Field) -> bool:
    """Whether a field, or one within it, holds metadata."""
    inner = field.type
    if pa.types.is_nested(inner) and any(_speaks(inner.field(place)) for place in range(inner.num_fields)):
        return True
    return bool(field.metadata)


def _answers(tables: list[TableFile], manifest: Manifest) -> list[str]:
    try:
        noisy = _noisy(tables, manifest)
    except ValueError as error:
        return [f"the answers cannot be read: {error}"]
    except KeyError:
        return ["the answers cannot be read: a column is missing"]
    event: accounting.Event = manifest.job.mechanism.event(noisy.plan)
    told = manifest.event
    while isinstance(told, accounting.Seeded | accounting.Repeated):
        told = told.event
    if noisy.plan.num_items != manifest.rows or event != told:
        return ["the answers are not those of the event in the manifest"]
    return []


def _charge(ledger: Ledger, manifest: Manifest) -> list[str]:
    charge = manifest.charge
    if charge is None:
        return [*ledger.verify(), "the manifest names no charge"]
    found = list(ledger.verify(charge["head"]))
    for row in ledger.entries():
        if row["entry"] == charge["entry"]:
            same = (row["head"], row["dataset"], row["unit"], row["part"])
            if same != (charge["head"], charge["dataset"], "label", charge["part"]):
                found.append(
                    f"entry {charge['entry']} of the ledger is another charge than the manifest names"
                )
            elif manifest.release is not None and not row["release"].endswith(manifest.release):
                found.append(f"entry {charge['entry']} of the ledger was charged for another release")
            elif event_of(row) != stated(manifest.event, "label"):
                found.append(f"entry {charge['entry']} of the ledger was charged for another event")
            return found
    return [*found, f"entry {charge['entry']} is not in the ledger"]


def _noisy(tables: list[TableFile], manifest: Manifest) -> NoisyLabels:
    columns = manifest.job.columns
    names = [columns.noisy]
    names += [name for name in (columns.candidates, columns.blocks) if name in tables[0].schema.names]
    return noisy_labels(_read(tables, names), manifest.job, manifest.event)


def _read(tables: list[TableFile], names: list[str]) -> pa.Table:
    return pa.concat_tables(
        [pa.Table.from_batches(list(table.batches(names))) for table in tables]
    ).unify_dictionaries()


def _column(tables: list[TableFile], name: str) -> pa.Array:
    return plain(_read(tables, [name]).column(0).combine_chunks())


def _aligned_labels(
    tables: list[TableFile], truth: list[TableFile], manifest: Manifest
) -> npt.NDArray[np.integer] | None:
    """The true labels as numbers, in the order of the output; None where the rows are others."""
    job = manifest.job
    numbers: npt.NDArray[Any] = label_numbers(_column(truth, job.columns.label), job)
    labels = job.mechanism.read(numbers)
    if job.columns.item is None:
        return labels if len(labels) == manifest.rows else None
    here, there = _column(tables, job.columns.item), _column(truth, job.columns.item)
    if here.equals(there):
        return labels
    places = pc.index_in(here, value_set=there)
    if places.null_count or len(here) != len(there):
        return None
    return labels[places.to_numpy(zero_copy_only=False)]


def _copies(
    tables: list[TableFile],
    truth: list[TableFile],
    labels: npt.NDArray[np.integer],
    manifest: Manifest,
) -> list[str]:
    job, found = manifest.job, []
    columns = job.columns
    if job.on_grid:
        names = [str(value) for value in job.mechanism.label_values]  # pyright: ignore
    else:
        label_type = truth[0].schema.field(columns.label).type
        names = [str(value) for value in class_values(label_type, job).to_pylist()]
    if in_stretches(labels):
        found.append(
            "the order of rows tells the true labels: one stretch of rows for each; shuffle the table before it is released"
        )
    for name in tables[0].schema.names:
        if name in (columns.noisy, columns.candidates, columns.blocks):
            continue
        how = tells(_column(tables, name), labels.astype(np.int64), names)
        if how:
            found.append(f"column {name} tells the true labels: {how}")
    return found
