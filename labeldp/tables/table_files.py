# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
"""Files of tables as streams of record batches: Parquet, and CSV whose cells stay texts as they stand."""

import csv
import io
import json
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from labeldp.tables.arrow_job import plain_type
from labeldp.tables.csv_file import opened

BATCH_ROWS = 2**20
CSV_ROWS = 2**16


class TableFile(Protocol):
    """A file of one table, which can be read again and again."""

    path: Path
    schema: pa.Schema
    rows: int
    """How many; -1 where that takes reading it."""

    def batches(
        self, columns: Sequence[str] | None = None, *, encoded: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows in order, some of its columns or all; at least one batch.

        Args:
            columns: which, in this order.
            encoded: a column that may come as a dictionary, where that is less work.
        """
        ...

    def write(self, file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Writes batches in its own format."""
        ...


def table_file(path: Path) -> TableFile:
    """Opens a file by its suffix.

    Raises:
        FileNotFoundError: there is none.
        ValueError: neither Parquet nor CSV, or damaged.
    """
    if not path.is_file():
        raise FileNotFoundError(f"Expected a Parquet or CSV file, found none at {path}.")
    match path.suffix.lower():
        case ".parquet":
            return ParquetTable(path)
        case ".csv":
            return CsvTable(path)
        case _:
            raise ValueError(f"Expected a file that ends in .parquet or .csv, got {path}.")


class ParquetTable:
    """A Parquet file."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with pq.ParquetFile(path) as file:
                self.schema, self.rows = file.schema_arrow, file.metadata.num_rows
                self.metadata: dict[bytes, bytes] = file.metadata.metadata or {}
        except pa.ArrowException:
            raise ValueError(
                f"Expected a Parquet file at {path}, got something else or a damaged one."
            ) from None

    def batches(
        self, columns: Sequence[str] | None = None, *, encoded: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows in order."""
        names = self.schema.names if columns is None else list(columns)
        texts = encoded is not None and pa.types.is_string(self.schema.field(encoded).type)
        count = 0
        with pq.ParquetFile(self.path, read_dictionary=[encoded] if texts else None) as file:
            if not names:  # nothing but how many rows there are
                yield from (_nothing(file.metadata.row_group(i).num_rows) for i in range(file.num_row_groups))
                count = file.num_row_groups
            else:
                for batch in file.iter_batches(BATCH_ROWS, columns=names):
                    yield batch.select(names)
                    count += 1
        if not count:
            yield _empty(self.schema, names)

    def write(self, file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Writes one row group for each batch."""
        with pq.ParquetWriter(file, schema) as writer:
            for batch in batches:
                writer.write_batch(batch, row_group_size=BATCH_ROWS)


class CsvTable:
    """A CSV file in UTF-8 with a header line; every column is one of texts, so that what is not touched stays as it is."""

    def __init__(self, path: Path) -> None:
        self.path, self.rows = path, -1
        with opened(path) as (header, _):
            self.schema = pa.schema([pa.field(name, pa.string()) for name in header])

    def batches(
        self, columns: Sequence[str] | None = None, *, encoded: str | None = None
    ) -> Iterator[pa.RecordBatch]:
        """Its rows in order."""
        names = self.schema.names if columns is None else list(columns)
        count = 0
        with opened(self.path) as (header, rows):
            places = [header.index(name) for name in names]
            while chunk := self._chunk(rows, len(header)):
                count += 1
                if not names:
                    yield _nothing(len(chunk))
                    continue
                cells = list(zip(*chunk, strict=True))
                arrays = [pa.array(cells[place], pa.string()) for place in places]
                yield pa.record_batch(arrays, names=names)
        if not count:
            yield _empty(self.schema, names)

    def _chunk(self, rows: Iterator[list[str]], width: int) -> list[list[str]]:
        try:
            chunk = list(islice(rows, CSV_ROWS))
        except (csv.Error, UnicodeError):
            raise ValueError(
                f"Expected a CSV file in UTF-8 at {self.path}, got something else, or a quote that is not closed."
            ) from None
        if any(len(row) != width for row in chunk):  # which row it is may be told by a comma in its label
            raise ValueError(
                f"Expected {width} fields in every row of {self.path}, got another number in one."
            )
        return chunk

    def write(self, file: BinaryIO, schema: pa.Schema, batches: Iterable[pa.RecordBatch]) -> None:
        """Writes texts as they are, numbers as Python prints them, lists as JSON."""
        text = io.TextIOWrapper(file, encoding="utf-8", newline="", write_through=True)
        writer: Any = csv.writer(text, lineterminator="\n")
        writer.writerow(schema.names)
        for batch in batches:
            writer.writerows(zip(*(_cells(column) for column in batch.columns), strict=True))
        text.flush()
        text.detach()


def _cells(column: pa.Array) -> list[Any]:
    if pa.types.is_nested(column.type):
        return [json.dumps(value, ensure_ascii=False) for value in column.to_pylist()]
    if pa.types.is_dictionary(column.type):
        column = column.dictionary.cast(plain_type(column.type)).take(column.indices)
    return column.to_pylist()


def _nothing(rows: int) -> pa.RecordBatch:
    return pa.record_batch({"": pa.nulls(rows)})


def _empty(schema: pa.Schema, names: Sequence[str]) -> pa.RecordBatch:
    fields = [schema.field(name) for name in names]
    if not fields:
        return _nothing(0)
    return pa.record_batch([pa.array([], field.type) for field in fields], schema=pa.schema(fields))
