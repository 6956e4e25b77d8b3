"""CSV files: the column of true labels goes out, a column of noisy ones comes in."""

import csv
import json
import tempfile
from collections.abc import Generator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.release import KeyedSource, NoisyLabels, Source, privatize
from labeldp.release.encode import encode
from labeldp.tables.job import OTHER, part_of_epoch


def privatize_csv(
    table: Path,
    out: Path,
    mechanism: Mechanism,
    *,
    label: str,
    classes: Sequence[str],
    prior_columns: Sequence[str] | None = None,
    item: str | None = None,
    source: Source | None = None,
) -> NoisyLabels:
    """Writes the table with the column `label` replaced by `label_noisy`, and beside it the release as .npz.

    Every other column is copied as it is: that none of them tells the label is the caller's to know.

    Args:
        table: a CSV file with a header line.
        out: the CSV file to be written; it appears when it is complete. The release goes to the same name with .npz.
        mechanism: one whose answers are classes or sets of classes.
        label: the column of true labels.
        classes: the K public names that labels may have; they never come from the file.
        prior_columns: K columns of class probabilities, in the order of the classes; they are copied too.
        item: the column that names items, for a `KeyedSource`.
        source: where the noise comes from; a fresh `SystemSource` by default.

    Raises:
        FileNotFoundError, FileExistsError: no such table; the output is already there.
        ValueError, TypeError: a missing column, a damaged row, a label that is no class. No message holds a label.

    Privacy:
        As for `labeldp.privatize`, for each row's label. A person with m rows is m labels.
    """
    release_path = out.with_suffix(".npz")
    if out.suffix == release_path.suffix:
        raise ValueError(
            f"Expected an output that is a CSV file, got {out}; the release goes beside it, with .npz."
        )
    for path in (out, release_path):
        if path.exists():
            raise FileExistsError(
                f"Expected a new file, {path} is already there; a second release of the labels pays again."
            )
    if len(classes) != mechanism.num_classes:
        raise ValueError(
            f"Expected {mechanism.num_classes} classes, as many as the mechanism has, got {len(classes)}."
        )
    if OTHER in classes:
        raise ValueError(f"Expected class names other than {OTHER!r}, which is the name of that answer.")
    if label in (item, *(prior_columns or ())):
        raise ValueError(
            f"Expected prior and item columns that are public, got the column of true labels, {label}, among them: it would decide what "
            f"is released."
        )
    if isinstance(source, KeyedSource):
        source = source.within(part_of_epoch(label, classes, item))
    columns = [label, *(prior_columns or ()), *([item] if item else ())]
    with opened(table) as (header, rows):
        if f"{label}_noisy" in header:
            raise ValueError(f"Expected no column {label}_noisy in {table}, found one.")
        picked = _picked(table, header, rows, columns)
    prior = _probabilities(table, picked[1 : 1 + len(prior_columns)]) if prior_columns else None
    noisy = privatize(
        mechanism, encode(picked[0], classes), prior=prior, source=source, items=picked[-1] if item else None
    )
    with tempfile.TemporaryDirectory(
        dir=out.parent, prefix=".labeldp-"
    ) as folder:  # nothing stays behind if it fails
        partial, partial_release = Path(folder) / "table", Path(folder) / "release"
        with opened(table) as (header, rows), partial.open("w", newline="", encoding="utf-8") as file:
            _write(file, header, rows, label, _texts(noisy, classes))
        noisy.save(partial_release)
        partial_release.replace(release_path)
        partial.replace(out)
    return noisy


@contextmanager
def opened(table: Path) -> Generator[tuple[list[str], Iterator[list[str]]]]:
    """The header and the rows of a table."""
    if not table.is_file():
        raise FileNotFoundError(f"Expected a CSV file, found none at {table}.")
    with table.open(newline="", encoding="utf-8-sig") as file:
        reader = csv.reader(file, strict=True)
        try:
            header = next(reader, None)
        except (csv.Error, UnicodeError):
            raise ValueError(f"Expected a CSV file in UTF-8 at {table}, got something else.") from None
        if header is None:
            raise ValueError(f"Expected a header line in {table}, got an empty file.")
        if len(set(header)) != len(header):
            raise ValueError(f"Expected column names that differ in {table}, got one of them twice.")
        yield header, reader


def _picked(table: Path, header: list[str], rows: Iterator[list[str]], columns: list[str]) -> list[list[str]]:
    """The named columns."""
    missing = [name for name in columns if name not in header]
    if missing:
        raise ValueError(
            f"Expected columns {', '.join(missing)} in the header of {table}, found none of that name."
        )
    places = [header.index(name) for name in columns]
    picked: list[list[str]] = [[] for _ in columns]
    try:
        for row in rows:
            if len(row) != len(header):  # which row it is may be told by a comma in its label
                raise ValueError(
                    f"Expected {len(header)} fields in every row of {table}, got another number in one."
                )
            for column, place in zip(picked, places, strict=True):
                column.append(row[place])
    except (csv.Error, UnicodeError):
        raise ValueError(
            f"Expected a CSV file in UTF-8 at {table}, got something else, or a quote that is not closed."
        ) from None
    return picked


def _probabilities(table: Path, columns: list[list[str]]) -> npt.NDArray[np.float64]:
    try:
        return np.array(columns, dtype=np.float64).T
    except ValueError:
        raise ValueError(f"Expected numbers in the prior columns of {table}, got a text.") from None


def _texts(noisy: NoisyLabels, classes: Sequence[str]) -> Iterator[str]:
    """The noisy labels as they stand in a cell: a class, or a JSON list of classes."""
    if noisy.mechanism.answer_shape:
        names = np.array(classes, dtype=object)
        return (json.dumps(names[row].tolist(), ensure_ascii=False) for row in noisy.values)
    names = [*classes, OTHER]
    return (names[int(value)] for value in noisy.values)


def _write(
    file: TextIO, header: list[str], rows: Iterator[list[str]], label: str, texts: Iterator[str]
) -> None:
    place = header.index(label)
    writer: Any = csv.writer(file, lineterminator="\n")
    writer.writerow([*header[:place], f"{label}_noisy", *header[place + 1 :]])
    for row, text in zip(rows, texts, strict=True):
        writer.writerow([*row[:place], text, *row[place + 1 :]])
