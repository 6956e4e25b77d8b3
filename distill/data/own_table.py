"""A table of the user's own: a CSV or Parquet file with a column of labels.

Features are public: which columns are numbers and which are categories is told by their cells. What the labels may be is said by the
user and never taken from the file, and no message tells a label or the row that it stands in.
"""

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from distill.data.entry import Table
from distill.data.table import features, numbers
from labeldp import encode
from labeldp.tables.csv_file import opened

SUFFIXES = (".csv", ".parquet")
SPLIT = "split"
MOST_TEXTS = 100
"""A column with more different texts is no category: names, for example, or numbers of which some are missing."""

LEAST_ROWS = 10


def load(
    path: Path,
    label: str,
    *,
    classes: Sequence[str] = (),
    label_range: tuple[float, float] | None = None,
) -> Table:
    """Reads a table, and splits it by its column `split` (train or test), else at random, a fifth of the rows for the test.

    Args:
        path: a CSV or Parquet file.
        label: the column of labels; all others are features.
        classes: the public names of the classes, in order; or, for a regression,
        label_range: the public smallest and largest label; others count as the nearer of the two.

    Raises:
        FileNotFoundError: no such file.
        ValueError: a damaged file, a missing column, a feature that is neither a number nor a category, a label that is no class.
    """
    columns = _columns(path)
    if label not in columns:
        raise ValueError(f"Expected --label among the columns {', '.join(columns)} of {path}, got {label!r}.")
    texts = columns.pop(label)
    rows = len(texts)
    if rows < LEAST_ROWS:
        raise ValueError(f"Expected at least {LEAST_ROWS} rows in {path}, got {rows}.")
    labels = (
        _numbers(path, texts, label_range) if label_range else encode(texts, list(classes)).astype(np.int64)
    )
    train = _train(path, columns.pop(SPLIT, None), rows)
    return Table.split(
        path.name,
        _features(path, columns, train),
        labels,
        train=train,
        licence="the user's own table",
        classes=tuple(classes),
        label_range=label_range,
    )


def _columns(path: Path) -> dict[str, list[str]]:
    """The cells of each column as texts; a null is an empty one."""
    if path.suffix.lower() == ".parquet":
        return _parquet_columns(path)
    with opened(path) as (header, rows):
        columns: dict[str, list[str]] = {name: [] for name in header}
        try:
            for row in rows:
                if len(row) != len(header):
                    raise ValueError(
                        f"Expected {len(header)} fields in every row of {path}, got another number in one."
                    )
                for name, cell in zip(header, row, strict=True):
                    columns[name].append(cell)
        except (csv.Error, UnicodeError):
            raise ValueError(f"Expected a CSV file in UTF-8 at {path}, got something else.") from None
    return columns


def _parquet_columns(path: Path) -> dict[str, list[str]]:
    from labeldp.tables.table_files import table_file  # here: it needs pyarrow

    table = table_file(path)
    columns: dict[str, list[str]] = {name: [] for name in table.schema.names}
    try:
        for batch in table.batches():
            for name, cells in batch.to_pydict().items():
                columns[name] += ["" if cell is None else str(cell) for cell in cells]
    except (ValueError, OSError, NotImplementedError):
        raise ValueError(f"Expected a whole Parquet file at {path}, got a damaged one.") from None
    return columns


def _numbers(path: Path, texts: list[str], label_range: tuple[float, float]) -> np.ndarray:
    try:
        return np.clip(numbers(texts, what=""), *label_range)
    except ValueError:
        raise ValueError(
            f"Expected a finite number in every row of the column of labels of {path}, got something else; decide first what a missing "
            f"label is."
        ) from None


def _train(path: Path, split: list[str] | None, rows: int) -> np.ndarray:
    """(n,) bool, which rows are for training; a random choice is a public constant."""
    train = np.ones(rows, dtype=bool)
    if split is None:
        train[np.random.default_rng(0).permutation(rows)[: rows // 5]] = False
        return train
    if set(split) != {"train", "test"}:
        raise ValueError(f"Expected train or test in the column {SPLIT} of {path}, and both of them.")
    return np.array(split) == "train"


def _features(
    path: Path, columns: dict[str, list[str]], train: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """As numbers where every cell is one, else as categories."""
    numeric: dict[str, np.ndarray] = {}
    categories: dict[str, list[str]] = {}
    for name, cells in columns.items():
        try:
            numeric[name] = numbers(cells, what=name)
        except ValueError:
            if len(set(cells)) > MOST_TEXTS:
                raise ValueError(
                    f"Expected a number in every row of the column {name} of {path}, or at most {MOST_TEXTS} different texts; fill in what "
                    f"is missing, or leave the column out."
                ) from None
            categories[name] = cells
    if not columns:
        raise ValueError(f"Expected a column of features beside that of the labels in {path}, found none.")
    return features(numeric, categories, train=train)
