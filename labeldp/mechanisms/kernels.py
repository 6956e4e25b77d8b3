"""What large releases run instead of numpy where numba is installed: selection and selective answers; imported by `compiled` only.

Candidates and answers are the same, for the same words, as those of `selection` and `selective`.
"""

from typing import Any

import numpy as np

from labeldp.mechanisms import kernels_few_classes as few
from labeldp.mechanisms import kernels_many_classes as many
from labeldp.mechanisms import selection
from labeldp.mechanisms.kernels_many_classes import kernel
from labeldp.mechanisms.prior import weight_scale
from labeldp.mechanisms.thresholds import exponential_below


@kernel
def count_candidates(mask: Any, sizes: Any) -> None:
    for i in range(len(mask)):
        size = np.int32(0)
        for k in range(mask.shape[1]):
            size = np.int32(size + np.int32(mask[i, k]))
        sizes[i] = size


@kernel
def answer(
    words: Any,
    labels: Any,
    mask: Any,
    sizes: Any,
    table: Any,
    stretch: Any,
    other: bool,
    answers: Any,
    rejected: Any,
) -> None:
    """As `SelectiveRandomizedResponse.choose`: every step is taken for every item, whatever its label."""
    n, num_classes = mask.shape
    for i in range(n):
        rank, inside, size = np.int64(0), False, sizes[i]
        for k in range(num_classes):
            rank += mask[i, k] & (k < labels[i])
            inside |= mask[i, k] & (k == labels[i])
        rank = rank if inside else size
        alphabet = min(size + other, num_classes)
        lie = np.int64((words[i] - table[0, alphabet]) // table[1, alphabet])
        kept = words[i] < table[0, alphabet]
        chosen = rank if kept else lie + (lie >= rank)
        again = (not kept) & (lie >= alphabet - 1)
        if not other:
            drawn = np.int64(words[i] // stretch[size])
            chosen, again = chosen if inside else drawn, again if inside else drawn >= size
        value, left = np.int64(num_classes), np.int64(0) if again else chosen
        for k in range(num_classes):
            left -= mask[i, k]
            value += left >> 63  # -1 from the answer on
        answers[i], rejected[i] = value, again


# What is called with arrays of any layout.


def select(rows: Any, mechanism: Any, mask: Any) -> bool:
    """Writes the candidates of some prior rows; False where a row is bad."""
    rows = np.require(rows, dtype=rows.dtype.newbyteorder("="), requirements="CW")
    num_classes, other = rows.shape[1], mechanism.outside == "other"
    bits, scale = rows.view(f"u{rows.itemsize}"), weight_scale(num_classes)
    if mechanism.size == "accuracy":
        ratio = float(exponential_below(mechanism.epsilon))
        if num_classes <= few.FEW:
            return few.most_accurate(rows, scale, ratio, mask)
        return many.most_accurate(rows, bits, scale, ratio, mask)
    size = 0 if mechanism.size == "information" else mechanism.size
    table = selection.information_table(mechanism.epsilon, num_classes, other)
    if num_classes <= few.FEW:
        return few.most_informative(rows, scale, size, other, table, mask)
    return many.most_informative(rows, bits, scale, size, other, table, mask)


def sizes(mask: Any) -> Any:
    """As `selection.sizes`."""
    counted = np.empty(len(mask), np.int64)
    count_candidates(np.require(mask, requirements="CW"), counted)
    return counted


def choose(words: Any, labels: Any, mask: Any, size: Any, table: Any, stretch: Any, other: bool) -> Any:
    """As `SelectiveRandomizedResponse.choose`, from the thresholds of every alphabet and the words of a candidate for every size."""
    answers, rejected = np.empty(len(labels), np.int64), np.empty(len(labels), np.bool_)
    words, labels, mask = (np.require(a, requirements="CW") for a in (words, labels, mask))
    answer(words, labels, mask, size, table, stretch, other, answers, rejected)
    return answers, rejected
