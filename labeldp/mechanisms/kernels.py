"""What large releases run instead of numpy where numba is installed: selection and selective answers; imported by `compiled` only.

Candidates and answers are the same, for the same words, as those of `selection` and `selective`.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import kernels_few_classes as few
from labeldp.mechanisms import kernels_many_classes as many
from labeldp.mechanisms import selection
from labeldp.mechanisms.kernels_many_classes import kernel
from labeldp.mechanisms.prior import weight_scale
from labeldp.mechanisms.thresholds import exponential_below

# up to so many classes, many rows side by side are faster than one row after the other
FEW_TO_SUM, FEW_TO_SORT = 16, 32
BLOCK = 64  # classes that are looked through one by one, where there are many


@kernel
def count_candidates(mask: Any, sizes: Any) -> None:
    for i in range(len(mask)):
        size = np.int32(0)
        for k in range(mask.shape[1]):
            size = np.int32(size + np.int32(mask[i, k]))
        sizes[i] = size


@kernel
def randomized_ranks(
    words: Any,
    labels: Any,
    mask: Any,
    sizes: Any,
    table: Any,
    stretch: Any,
    other: bool,
    ranks: Any,
    rejected: Any,
) -> None:
    """Answered ranks among the candidates, as `SelectiveRandomizedResponse.choose` draws them.

    Every step is taken for every item and stored, and choices are made by arithmetic: a compiler would skip a division where
    its result is not needed, and time would tell which labels are candidates.
    """
    n, num_classes = mask.shape
    inside, lies, drawn = np.ones(n, np.int64), np.empty(n, np.int64), np.zeros(n, np.int64)
    for i in range(n):
        rank, found = np.int64(0), np.int64(0)
        for k in range(num_classes):
            rank += mask[i, k] & (k < labels[i])
            found += mask[i, k] & (k == labels[i])
        ranks[i], inside[i] = found * rank + (1 - found) * sizes[i], found
    for i in range(n):
        alphabet = min(sizes[i] + other, num_classes)
        lies[i] = np.int64((words[i] - table[0, alphabet]) // table[1, alphabet])
    if other:
        inside[:] = 1
    else:
        for i in range(n):
            drawn[i] = np.int64(words[i] // stretch[sizes[i]])
    for i in range(n):
        alphabet = min(sizes[i] + other, num_classes)
        kept, own = np.int64(words[i] < table[0, alphabet]), inside[i]
        lie = lies[i] + np.int64(lies[i] >= ranks[i])
        again = own * (1 - kept) * np.int64(lies[i] >= alphabet - 1) + (1 - own) * np.int64(
            drawn[i] >= sizes[i]
        )
        chosen = own * (kept * ranks[i] + (1 - kept) * lie) + (1 - own) * drawn[i]
        ranks[i], rejected[i] = (1 - again) * chosen, again != 0


@kernel
def to_classes(mask: Any, ranks: Any) -> None:
    """Turns ranks into class numbers, the rank beyond the candidates into K; every class is looked at."""
    n, num_classes = mask.shape
    for i in range(n):
        left, value = ranks[i], np.int64(num_classes)
        for k in range(num_classes):
            left -= mask[i, k]
            value += left >> 63  # -1 from the answer on
        ranks[i] = value


@kernel
def to_many_classes(mask: Any, ranks: Any) -> None:
    """As `to_classes`: the block of classes with the answer is added up from all blocks, then looked through."""
    n, num_classes = mask.shape
    for i in range(n):
        left, found, value = ranks[i], np.int64(-1), np.int64(0)
        block = np.zeros(BLOCK, np.bool_)
        for first in range(0, num_classes, BLOCK):
            part = mask[i, first : first + BLOCK]
            count = np.int32(0)
            for k in range(len(part)):
                count = np.int32(count + np.int32(part[k]))
            here = 0 <= left < count
            for k in range(len(part)):
                block[k] |= part[k] & here
            found = left if here else found
            value += len(part) if left >= count else 0
            left -= count
        for k in range(BLOCK):
            found -= block[k]
            value += found >= 0
        ranks[i] = value


# What is called with arrays of any layout.


def select(
    rows: npt.NDArray[Any], mask: npt.NDArray[np.bool_], *, epsilon: float, size: str | int, other: bool
) -> bool:
    """Writes the candidates of some prior rows; False where a row is bad."""
    rows = _plain(rows)
    bits = rows.view(f"u{rows.itemsize}")
    num_classes, scale = rows.shape[1], weight_scale(rows.shape[1])
    if size == "accuracy":
        ratio = float(exponential_below(epsilon))
        if num_classes <= FEW_TO_SUM:
            return few.most_accurate(rows, scale, ratio, mask)
        return many.most_accurate(rows, bits, scale, ratio, mask)
    fixed = size if isinstance(size, int) else 0
    table = selection.information_table(epsilon, num_classes, other)
    if num_classes <= FEW_TO_SORT:
        return few.most_informative(rows, scale, fixed, other, table, mask)
    return many.most_informative(rows, bits, scale, fixed, other, table, mask)


def sizes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.int64]:
    """As `selection.sizes`."""
    counted = np.empty(len(mask), np.int64)
    count_candidates(_plain(mask), counted)
    return counted


def choose(
    words: npt.NDArray[np.uint64],
    labels: npt.NDArray[np.int64],
    mask: npt.NDArray[np.bool_],
    size: npt.NDArray[np.int64],
    table: npt.NDArray[np.uint64],
    stretch: npt.NDArray[np.uint64],
    other: bool,
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """As `SelectiveRandomizedResponse.choose`.

    Args:
        words, labels, mask: of the items, (n,), (n,) and (n, K).
        size: number of candidates of each item, (n,).
        table: T and step for every alphabet, (2, largest + 1).
        stretch: words of each candidate for a label that is none, for every size, (largest + 1,).
        other: whether "not a candidate" is an output.
    """
    answers, rejected, mask = np.empty(len(labels), np.int64), np.empty(len(labels), np.bool_), _plain(mask)
    randomized_ranks(_plain(words), _plain(labels), mask, size, table, stretch, other, answers, rejected)
    (to_classes if mask.shape[1] < 4 * BLOCK else to_many_classes)(mask, answers)
    return answers, rejected


def _plain(array: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """The array in the machine's byte order, contiguous and writable: each other kind would be compiled for on its own."""
    return np.require(array, dtype=array.dtype.newbyteorder("="), requirements=["C", "W"])
