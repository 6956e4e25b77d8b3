"""Reading a prior: checked once, before any label is looked at, and turned into integer weights.

Integer weights make the choice of candidates the same on every path and machine: their sums are exact, and the one
division that remains is correctly rounded everywhere.
"""

import numpy as np
import numpy.typing as npt

WEIGHT_BITS = 40
"""A weight is at most 2^40; with more than 2^22 classes less, so that the sum of a row stays below 2^63."""

CHUNK_BYTES = 16 * 2**20


def prior_rows(prior: object, num_items: int, num_classes: int) -> npt.NDArray[np.floating]:
    """The prior as a float array of shape (n, K), checked for shape and type; values are checked by `integer_weights`.

    A single row of shape (K,) stands for every item.

    Raises:
        TypeError: no prior, or not an array of numbers.
        ValueError: another shape.
    """
    if prior is None:
        raise TypeError(
            "Expected a prior, got None; pass class probabilities that do not depend on the labels, "
            "as prior=..., or use RandomizedResponse or SubsetSelection, which need none."
        )
    if isinstance(prior, np.ma.MaskedArray):
        raise TypeError("Expected a prior without a mask, got a masked array; fill it first.")
    try:
        rows = np.asarray(prior)
    except (ValueError, TypeError):
        raise TypeError(
            "Expected a prior that numpy turns into an array of real numbers; it could not."
        ) from None
    if rows.dtype.kind not in "fiu":
        raise TypeError(f"Expected a prior of real numbers, got an array of {rows.dtype.type.__name__}.")
    if rows.dtype.kind != "f" or rows.dtype.itemsize < 4 or rows.dtype.itemsize > 8:
        rows = rows.astype(np.float64)
    if rows.ndim == 1 and rows.shape == (num_classes,):
        rows = np.broadcast_to(rows, (num_items, num_classes))
    if rows.shape != (num_items, num_classes):
        raise ValueError(
            f"Expected prior of shape (n, K) = ({num_items}, {num_classes}), one row per label, got {rows.shape}."
        )
    return rows


def integer_weights(rows: npt.NDArray[np.floating], *, first_row: int = 0) -> npt.NDArray[np.int64]:
    """Prior rows as integers: round(p / max(p) * 2^40) in each row; a positive prior never becomes 0.

    Raises:
        ValueError: a row holds a NaN, an infinity or a negative number, or has no positive entry.
    """
    rows = rows.astype(np.float64, copy=False)
    if rows.size == 0:
        return np.zeros(rows.shape, dtype=np.int64)
    smallest, largest = rows.min(axis=1), rows.max(axis=1)  # a NaN anywhere in a row shows in both
    good = (smallest >= 0) & (largest > 0) & (largest < np.inf)
    if not good.all():
        bad = np.flatnonzero(~good)
        raise bad_rows_error(len(bad), len(rows), first_row + int(bad[0]))
    scaled = np.rint(rows / largest[:, None] * weight_scale(rows.shape[1])).astype(np.int64)
    return np.maximum(scaled, rows > 0)


def weight_scale(num_classes: int) -> float:
    """The weight of the most likely class."""
    return float(2 ** min(WEIGHT_BITS, 62 - (num_classes - 1).bit_length()))


def bad_rows_error(count: int, num_rows: int, first: int) -> ValueError:
    """What to say of rows that are no distributions up to scale."""
    return ValueError(
        f"Expected every prior row to be finite, non-negative and positive somewhere; "
        f"{count} of {num_rows} rows are not, the first is row {first}."
    )


def row_chunks(num_items: int, row_bytes: int) -> list[slice]:
    """Consecutive slices of the items, each holding about 16 MiB of rows."""
    size = max(1, CHUNK_BYTES // max(1, row_bytes))
    return [slice(start, min(start + size, num_items)) for start in range(0, num_items, size)]
