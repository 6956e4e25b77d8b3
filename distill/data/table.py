"""Turning rows of text into features: numbers standardised, categories as columns of zeros and ones.

The features are public where labels are private, so their own statistics may be used. Cells are never shown in a
message: a shifted row could put a label there.
"""

from collections.abc import Mapping, Sequence

import numpy as np


def numbers(texts: Sequence[str], *, what: str) -> np.ndarray:
    """Returns a column of finite numbers, float64.

    Raises:
        ValueError: if a cell is no number; the message says which row, counted from 1, of `what`.
    """
    values = np.full(len(texts), np.nan)
    for row, text in enumerate(texts):
        try:
            values[row] = float(text)
        except ValueError:
            break
    wrong = np.flatnonzero(~np.isfinite(values))
    if len(wrong):
        raise ValueError(f"{what}: expected a finite number in row {wrong[0] + 1}, got something else.")
    return values


def features(
    numeric: Mapping[str, np.ndarray], categories: Mapping[str, Sequence[str]], *, train: np.ndarray
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Returns the features (n, d) float32 and their names.

    Args:
        numeric: columns of numbers; each comes to mean 0 and deviation 1 on the training rows.
        categories: columns of text; each value of the training rows becomes a column of zeros and ones, and a value
            that only other rows have is all zeros.
        train: (n,) bool, which rows are for training.
    """
    columns: list[np.ndarray] = []
    names: list[str] = []
    for name, values in numeric.items():
        centred = values - values[train].mean()
        columns.append(centred / (centred[train].std() or 1.0))
        names.append(name)
    for name, texts in categories.items():
        column = np.asarray(texts)
        for value in np.unique(column[train]):
            columns.append(column == value)
            names.append(f"{name}={value}")
    return np.stack(columns, axis=1).astype(np.float32), tuple(names)
