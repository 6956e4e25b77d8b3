# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
# pyright: reportAttributeAccessIssue=false
"""Whether a column that was left in a table tells the true labels, under whatever name and encoding."""

import json
import math

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from labeldp.tables.arrow_job import plain, plain_type

CHANCE = 1e-6
"""A column is called out when what is seen would come about with this probability, at most, if it knew nothing of the labels."""

MOST_CLASSES = 256

STRETCH = 50
"""How many rows on average have one label, one after the other, before an order is said to tell it."""


def tells(column: pa.Array, labels: npt.NDArray[np.integer], classes: list[str]) -> str | None:
    """How a column tells the label of every row; None where it does not, as far as can be seen.

    Seen are: columns each of whose values goes with one label only (a copy, also renamed, numbered, hashed or split more finely),
    columns of texts that hold the label's name in every row, and columns of numbers that put rows of one label together. Not seen
    are: other columns of values that are all different, labels spread over several columns, and columns that tell some labels only.

    Args:
        column: any type; nested ones are looked at as texts.
        labels: class numbers, (n,).
        classes: the names of the classes.
    """
    values = _flat_values(column)
    share = np.bincount(labels, minlength=len(classes)) / max(1, len(labels))
    codes = (
        values.dictionary_encode(null_encoding="encode")
        .indices.to_numpy(zero_copy_only=False)
        .astype(np.int64)
    )
    sizes = np.bincount(codes) if len(codes) else np.empty(0, dtype=np.int64)
    pairs = len(np.unique(codes * len(classes) + labels))
    if pairs == len(sizes) and _chance_of_pure(sizes, share) < math.log(CHANCE):
        return "each of its values goes with one label only"
    if pa.types.is_string(values.type) and len(classes) <= MOST_CLASSES:
        within = np.stack([_holds(values, name) for name in classes])
        held = float(share @ within.mean(axis=1)) if len(labels) else 1.0
        always = bool(within[labels, np.arange(len(labels))].all())
        if always and 0 < held < 1 and len(labels) * math.log(held) < math.log(CHANCE):
            return "every row of it holds the name of the label"
    if pa.types.is_integer(column.type) or pa.types.is_floating(column.type):
        numbers = column.cast(pa.float64(), safe=False).fill_null(math.nan).to_numpy(zero_copy_only=False)
        if in_stretches(labels[np.argsort(numbers, kind="stable")]) and not in_stretches(labels):
            return "rows in its order have one label after the other"
    return None


def in_stretches(labels: npt.NDArray[np.integer]) -> bool:
    """Whether labels, in some order of the rows, stand in long stretches of one label each, as after sorting by them.

    Of n labels dealt to rows independently, the largest class with probability p, at most d neighbours differ with a probability of at
    most (n choose 0 + ... + n choose d) p^(n - d - 1).
    """
    total, changes = len(labels), int((labels[1:] != labels[:-1]).sum())
    if total < STRETCH or changes == 0 or changes + 1 > total / STRETCH:
        return False
    most = float(np.bincount(labels).max()) / total
    places = changes * (1 + math.log(total / changes))  # (e n / d)^d is above the sum
    return places + (total - changes - 1) * math.log(most) < math.log(CHANCE)


def _chance_of_pure(sizes: npt.NDArray[np.integer], share: npt.NDArray[np.float64]) -> float:
    """Logarithm of the probability that groups of these sizes hold one label each, were labels dealt to rows independently."""
    total = 0.0
    share = share[share > 0]
    for size, count in zip(*np.unique(sizes, return_counts=True), strict=True):
        powers = size * np.log(share)
        top = powers.max()
        total += float(count) * float(top + np.log(np.exp(powers - top).sum()))
    return total


def _holds(values: pa.Array, name: str) -> npt.NDArray[np.bool_]:
    return pc.fill_null(pc.match_substring(values, name), False).to_numpy(zero_copy_only=False)


def _flat_values(column: pa.Array) -> pa.Array:
    kind = column.type
    if pa.types.is_nested(kind):
        return pa.array([json.dumps(value, default=str) for value in column.to_pylist()], pa.string())
    if pa.types.is_null(kind):
        return pa.array([""] * len(column))
    if pa.types.is_floating(kind):  # a NaN is not equal to itself
        numbers = column.cast(pa.float64()).fill_null(math.nan).to_numpy(zero_copy_only=False)
        return pa.array(numbers.view(np.int64))
    return plain(column) if plain_type(kind) != kind else column
