"""Class numbers for labels that are texts, dates or other names: by a list of classes that is given, never found in the labels."""

from collections.abc import Callable, Hashable, Mapping, Sequence, Set
from numbers import Number
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.parameters import MAX_CLASSES

CHUNK_ROWS = 2**16

Column: TypeAlias = Sequence[Any] | npt.NDArray[Any]
Lookup: TypeAlias = Callable[[Column], npt.NDArray[np.int64]]


def encode(labels: object, classes: Sequence[Hashable] | npt.NDArray[Any]) -> npt.NDArray[np.unsignedinteger]:
    """Numbers each label by its place in a public list of classes, as `labeldp.privatize` wants it.

    A label belongs to the class that it equals: 1 and 1.0 are one class; 1, True and "1" are three.
    The way back, for answers that are classes: `np.array(classes)[noisy.values]`.

    Args:
        labels: (n,) a list, a Series (also categorical), an array of texts, numbers or objects.
        classes: K >= 2 distinct hashable values in a fixed order, from something public: a questionnaire, a schema, a taxonomy.

    Returns:
        (n,) integers in 0 .. K - 1, of the smallest unsigned type that holds K - 1.

    Raises:
        TypeError: classes without an order, or labels that are no column of values.
        ValueError: fewer than two classes, one of them null or there twice; a label that is null or none of the classes. Only this
            last error depends on labels: it comes when all have been looked up, and tells no label, no place and no number.

    Privacy:
        The domain does not depend on the labels. The numbers are the labels: they go into a mechanism, not out.
    """
    names = _checked_classes(classes)
    column = _column("labels", labels)
    lookup = _text_lookup(names) if _are_texts(column, names) else _table_lookup(names)
    numbers = np.empty(len(column), dtype=np.int64)
    for start in range(0, len(column), CHUNK_ROWS):
        rows = slice(start, start + CHUNK_ROWS)
        numbers[rows] = lookup(column[rows])
    if (numbers < 0).any():
        raise _refusal(column, len(names))
    return numbers.astype(np.min_scalar_type(len(names) - 1))


def _checked_classes(classes: object) -> list[Any]:
    names = _elements(_column("classes", classes))
    if not 2 <= len(names) <= MAX_CLASSES:
        raise ValueError(f"Expected 2 to {MAX_CLASSES} classes, got {len(names)}.")
    if any(map(_is_null, names)):
        raise ValueError(
            "Expected classes that are values, got a null; name the class of missing labels, and fill it in."
        )
    try:
        distinct = len({(_is_bool(name), name) for name in names})
    except TypeError:
        raise TypeError("Expected hashable classes, such as texts or numbers, got others.") from None
    if distinct < len(names):
        raise ValueError(f"Expected distinct classes, got {distinct} among {len(names)}.")
    return names


def _column(name: str, values: object) -> Column:
    """A sequence or one-dimensional array of the values.

    Raises:
        TypeError: a text, a set, a mapping, or a masked array.
        ValueError: not one-dimensional.
    """
    if isinstance(values, str | bytes | Set | Mapping | np.ma.MaskedArray):
        kind = type(cast(object, values)).__name__
        raise TypeError(
            f"Expected {name} as a list, an array or a Series, got {kind}: it has no order, or is no column of values."
        )
    if isinstance(values, Sequence):
        return cast(Sequence[Any], values)
    array = np.asarray(values.to_numpy() if hasattr(values, "to_numpy") else values)  # pyright: ignore
    if array.ndim != 1:
        raise ValueError(
            f"Expected {name} of shape (n,), got {array.shape}; pass a list, an array or a Series."
        )
    return array


def _elements(column: Column) -> list[Any]:
    """The values as Python objects; times stay numpy's, which would turn nanoseconds into integers."""
    if isinstance(column, np.ndarray) and column.dtype.kind not in "mM":
        return column.tolist()
    return list(column)


def _are_texts(column: Column, names: list[Any]) -> bool:
    """Whether numpy's texts can be searched: it drops zero characters at the end of a text."""
    texts = isinstance(column, np.ndarray) and column.dtype.kind == "U"
    return texts and all(isinstance(name, str) and not name.endswith("\0") for name in names)


def _text_lookup(names: list[str]) -> Lookup:
    order = np.argsort(np.array(names))
    ordered = np.array(names)[order]

    def lookup(column: Column) -> npt.NDArray[np.int64]:
        places = np.minimum(np.searchsorted(ordered, column), len(names) - 1)
        return np.where(ordered[places] == column, order[places], -1)

    return lookup


def _table_lookup(names: list[Any]) -> Lookup:
    bools = {name: number for number, name in enumerate(names) if _is_bool(name)}
    others = {name: number for number, name in enumerate(names) if not _is_bool(name)}

    def find(value: Any) -> int:
        try:
            return (bools if _is_bool(value) else others).get(value, -1)
        except Exception:  # not hashable, or not comparable, so no class; what a label says is not passed on
            return -1

    return lambda column: np.fromiter(map(find, _elements(column)), np.int64, len(column))


def _is_bool(value: object) -> bool:
    return isinstance(value, bool | np.bool_)


def _is_null(value: Any) -> bool:
    """None, NaN, NaT, or the missing value of pandas, which need not be installed."""
    if value is None or type(value).__name__ in ("NAType", "NaTType"):
        return True
    return isinstance(value, Number | np.datetime64 | np.timedelta64) and bool(value != value)


def _refusal(column: Column, num_classes: int) -> ValueError:
    """Says of labels that could not be all numbered no more than whether one is null."""
    if any([_is_null(value) for value in column]):  # noqa: C419
        return ValueError(
            "Expected no null among the labels, got at least one; decide first what a missing label is: a class with a name, or an "
            "item left out for a public reason."
        )
    return ValueError(
        f"Expected every label among the {num_classes} classes given, got at least one that is none of them; add a class such as "
        f"'other' to the list and map the rest to it."
    )
