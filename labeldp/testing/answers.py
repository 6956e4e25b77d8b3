"""Reading whatever a mechanism answers: classes, sets, vectors, floats, strings, rows of any length.

Each distinct answer of a batch is kept once and described by features (itself, its entries, its length), all of them numbers.
Features are functions of the answer alone, so whatever they merge or miss costs power, never validity.
"""

from collections.abc import Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from labeldp.release import NoisyLabels

Counts = npt.NDArray[np.int64]
Floats = npt.NDArray[np.floating[Any]]

MAX_ENTRIES = 128
CODED_ENTRIES = 16
QUANTILES = np.linspace(0, 1, 17)
_ODD = np.random.default_rng(0).integers(2**63, size=2**14, dtype=np.uint64) * np.uint64(2) + np.uint64(1)


class MissingAnswers(ValueError):
    """A callable that did not return one answer for each label."""


class Described(NamedTuple):
    """Answers as numbers: one for each answer as a whole (n,), some for its parts (n, P) with their names, and the classes it names (n, K)."""

    whole: npt.NDArray[np.int64]
    parts: npt.NDArray[np.int64]
    names: tuple[str, ...]
    named: npt.NDArray[np.bool_] | None


@dataclass(frozen=True, eq=False)
class Batch:
    """The answers to one batch of labels, each distinct one once.

    Attributes:
        outputs: the m distinct answers.
        counts: how often each came with each label, (m, K).
        features: (m, 1 + P) numbers: the first for the answer itself, the others for its parts.
        parts: names of the parts.
        named: the classes that an answer names by itself, (m, K); all False where it names none.
    """

    outputs: list[Any]
    counts: Counts
    features: npt.NDArray[np.int64]
    parts: tuple[str, ...]
    named: npt.NDArray[np.bool_]


@dataclass(eq=False)
class Reader:
    """Turns answers into batches; numbers things that are no numbers, and cuts floats into bins, as they first come.

    Attributes:
        num_classes: number of classes that an answer may name.
        classes: the classes whose labels are drawn, (K,).
    """

    num_classes: int
    classes: Counts
    _codes: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    _edges: list[Floats] | None = None

    def read(self, outputs: Any, labels: Counts, context: Counts | None = None) -> Batch:
        """The batch of n answers.

        Args:
            outputs: an array (n,) or (n, ...), or any sequence of n things.
            labels: the secret labels, as positions in `classes`, (n,).
            context: something public about each item that belongs to its answer, (n,).

        Raises:
            MissingAnswers: not one answer for each label.
        """
        outputs = _sequence(outputs)
        if len(outputs) != len(labels):
            raise MissingAnswers(
                f"Expected one answer for each label, got {len(outputs)} for {len(labels)}; answers that go missing tell labels too."
            )
        whole, parts, names, named = self._described(outputs)
        if context is not None:
            whole = _mixed(np.stack([whole, context], axis=1))
        _, first, which = np.unique(whole, return_index=True, return_inverse=True)
        size = len(self.classes)
        counts = np.bincount(which * size + labels, minlength=len(first) * size).reshape(-1, size)
        return Batch(
            outputs=[outputs[i] if context is None else (int(context[i]), outputs[i]) for i in first],
            counts=counts,
            features=np.column_stack([whole[first], parts[first]]),
            parts=names,
            named=np.zeros((len(first), size), np.bool_) if named is None else named[first],
        )

    def _described(self, outputs: Any) -> Described:
        if not isinstance(outputs, np.ndarray):
            return self._coded(outputs)
        array = cast(npt.NDArray[Any], outputs)
        flat = array.reshape(len(array), -1)
        named = flat == self.classes if flat.shape[1] == 1 else None
        if flat.shape[1] == self.num_classes:
            named = flat[:, self.classes] == flat.max(axis=1, keepdims=True)
            named &= ~named.all(axis=1, keepdims=True)
        entries = flat.astype(np.int64) if flat.dtype.kind == "b" else self._binned(flat)
        if entries.shape[1] == 1:
            return Described(entries[:, 0], entries[:, :0], (), named)
        parts = np.column_stack([entries.sum(axis=1), entries[:, :MAX_ENTRIES]])
        names = ("sum of entries", *(f"entry {i}" for i in range(parts.shape[1] - 1)))
        return Described(_mixed(entries), parts, names, named)

    def _binned(self, flat: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """Numbers that repeat themselves as they are (floats by their bits), others by bins cut at quantiles of the first batch."""
        if self._edges is None:
            scattered = any(self._scattered(column) for column in flat.T)
            self._edges = [_edges(column) for column in flat.T.astype(np.float64)] if scattered else []
        if len(self._edges) != flat.shape[1]:
            exact = (
                flat.astype(np.float64).view(np.int64) if flat.dtype.kind == "f" else flat.astype(np.int64)
            )
            return np.ascontiguousarray(exact)
        numbers = flat.astype(np.float64)
        bins = np.full(flat.shape, -1, dtype=np.int64)  # for what is not a number
        for edges, column, numbered in zip(self._edges, numbers.T, bins.T, strict=True):
            known = ~np.isnan(column)
            numbered[known] = np.searchsorted(edges, column[known])
        return bins

    def _scattered(self, column: npt.NDArray[Any]) -> bool:
        """Whether most values of a column come once, and are not class numbers or about as many."""
        if len(np.unique(column)) <= max(4, len(column) // 2):
            return False
        return column.dtype.kind == "f" or float(column.max()) - float(column.min()) > 4 * self.num_classes

    def _coded(self, outputs: list[Any]) -> Described:
        """Things by a number each; sets of classes as such; where things have a length, it and their first entries are parts."""
        keys = [_hashable(output) for output in outputs]
        sets = self._sets(keys)
        if sets is not None:
            return self._described(sets)
        whole = [self._code((type(output).__name__, key)) for output, key in zip(outputs, keys, strict=True)]
        rows = [self._parts(key) for key in keys]
        names = ("length", *(f"entry {i}" for i in range(CODED_ENTRIES))) if any(map(any, rows)) else ()
        parts = np.array(rows, dtype=np.int64)[:, : len(names)]
        return Described(np.array(whole, dtype=np.int64), parts, names, None)

    def _parts(self, key: Hashable) -> list[int]:
        """Length and first entries of a thing, zeros where it has none."""
        if not isinstance(key, tuple | str | bytes | frozenset):
            return [0] * (1 + CODED_ENTRIES)
        entries = [] if isinstance(key, frozenset) else list(key)[:CODED_ENTRIES]  # pyright: ignore
        codes = [1 + self._code(entry) for entry in entries]  # pyright: ignore
        return [1 + len(key), *codes, *[0] * (CODED_ENTRIES - len(codes))]  # pyright: ignore

    def _sets(self, keys: list[Hashable]) -> npt.NDArray[np.bool_] | None:
        """Sets of classes as rows of bits (n, K); None if any key is something else."""
        if not all(isinstance(key, frozenset) for key in keys):
            return None
        rows = np.zeros((len(keys), self.num_classes), dtype=np.bool_)
        for row, key in zip(rows, keys, strict=True):
            for member in cast(frozenset[Any], key):
                if type(member) is not int or not 0 <= member < self.num_classes:
                    return None
                row[member] = True
        return rows

    def _code(self, key: Hashable) -> int:
        return self._codes.setdefault(key, len(self._codes))


def _sequence(outputs: Any) -> Any:
    """Numbers as an array, anything else as a list."""
    if isinstance(outputs, NoisyLabels):
        outputs = outputs.values
    if isinstance(outputs, np.ma.MaskedArray):
        return cast(Any, outputs).tolist()
    if not hasattr(outputs, "__array__"):
        try:
            outputs = list(outputs)
        except TypeError:
            raise MissingAnswers(
                f"Expected one answer for each label, got one {type(outputs).__name__} for all; return n answers to labels (n,)."
            ) from None
        if len(set(map(type, outputs))) > 1:  # one array would hide that an answer's type tells something
            return outputs
    try:
        array: npt.NDArray[Any] = np.asarray(outputs)
    except ValueError:  # rows of several lengths
        return list(outputs)
    if array.ndim == 0:
        raise MissingAnswers(
            "Expected one answer for each label, got one number for all; return n answers to labels (n,)."
        )
    return array if array.dtype.kind in "biuf" else list(outputs)


def _hashable(value: Any) -> Hashable:
    """A value by which equal things are known."""
    match value:
        case np.ndarray() | np.generic():
            return _hashable(cast(Any, value).tolist())
        case list() | tuple():
            return tuple(map(_hashable, cast(list[Any], value)))
        case set() | frozenset():
            return frozenset(map(_hashable, cast(set[Any], value)))
        case Hashable():
            return value
        case _:
            return repr(value)


def _edges(column: Floats) -> Floats:
    """Quantiles, with a bin beyond each end and one far out."""
    finite = column[np.isfinite(column)]
    if not finite.size:
        return np.zeros(1)
    low, high = finite.min(), finite.max()
    return np.unique(np.concatenate([[2 * low - high], np.quantile(finite, QUANTILES), [2 * high - low]]))


def _mixed(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """One number for each row; rows that differ may share one, which merges two answers."""
    weights = np.resize(_ODD, rows.shape[1])
    return (rows.view(np.uint64) * weights).sum(axis=1, dtype=np.uint64).view(np.int64)
