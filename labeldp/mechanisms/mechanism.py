"""What a mechanism is: a law, and an exact integer sampler for it.

Sampling loops, likelihoods of a release, enumeration, audits and events are each written once against this interface.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms import selection
from labeldp.mechanisms.thresholds import Words

MAX_CHANNEL_OUTPUTS = 2**12


@dataclass(frozen=True, eq=False)
class Plan:
    """All that is decided about a release before a label is read; public.

    Attributes:
        num_items: number of items n.
        candidates: the classes each item may be answered in, (n, K) bool, or None where every item has all of them; a tensor where
            the prior was one.
        blocks: the number of the block that each class of each item belongs to, (n, K), or None where classes answer for themselves.
    """

    num_items: int
    candidates: npt.NDArray[np.bool_] | None = None
    blocks: npt.NDArray[np.unsignedinteger] | None = None

    def __getitem__(self, rows: slice | npt.NDArray[np.intp]) -> "Plan":
        """The plan of some of the items."""
        count = len(range(self.num_items)[rows] if isinstance(rows, slice) else rows)
        candidates = None if self.candidates is None else self.candidates[rows]
        return Plan(count, candidates, None if self.blocks is None else self.blocks[rows])

    @property
    def unrestricted(self) -> bool:
        """Whether every item has all classes, each for itself."""
        return self.candidates is None and self.blocks is None

    def alphabets(self) -> npt.NDArray[np.int64]:
        """Number of candidates of each item, (n,)."""
        assert self.candidates is not None
        if isinstance(self.candidates, np.ndarray):  # pyright: ignore[reportUnnecessaryIsInstance]
            return selection.sizes(self.candidates)
        return self.candidates.sum(1).cpu().numpy()

    def chunks(self, size: int) -> Iterator[slice]:
        """Consecutive slices of at most `size` items."""
        return (slice(i, min(i + size, self.num_items)) for i in range(0, self.num_items, size))


@runtime_checkable
class Mechanism(Protocol):
    """A label-DP mechanism on the classes 0 .. num_classes - 1 (for real-valued labels: on a public grid of that many values).

    `plan`, and with it candidates and sizes, has no label among its arguments; `choose` is the one method that turns true labels
    into answers, and only `labeldp.privatize` and exact enumeration call it.
    """

    @property
    def epsilon(self) -> float: ...
    @property
    def num_classes(self) -> int: ...
    @property
    def num_words(self) -> int:
        """Words that `choose` reads for one answer."""
        ...

    @property
    def answer_shape(self) -> tuple[int, ...]:
        """Shape of one answer: () for a class or a value, (K,) for a set of classes or a vector."""
        ...

    @property
    def answer_dtype(self) -> np.dtype[np.generic]:
        """Type of an answer: int64 for an integer below `num_outputs`, bool for a set, float64 for values and vectors."""
        ...

    @property
    def num_outputs(self) -> int:
        """Number of possible answers m."""
        ...

    def plan(self, prior: object, num_items: int) -> Plan:
        """Decides what is public about a release of n items."""
        ...

    def read(self, labels: object) -> npt.NDArray[np.integer]:
        """Labels as the class numbers that `choose` takes, (n,); the one check that may depend on them."""
        ...

    def choose(
        self, words: Words, labels: npt.NDArray[np.int64], plan: Plan, bits: int
    ) -> tuple[npt.NDArray[Any], npt.NDArray[np.bool_]]:
        """Answers one item with each row of words (n, num_words) of the given width; also a mask (n,) of rows to draw again."""
        ...

    def outputs(self) -> npt.NDArray[Any]:
        """Every possible output, in the order of the channel's columns."""
        ...

    def response(self, labels: object, prior: object = None) -> npt.NDArray[np.float64]:
        """Row i is the law of item i's output, Q_i(. | labels[i]); (n, m)."""
        ...

    def channel(self, prior_row: object = None) -> npt.NDArray[np.float64]:
        """The matrix Q[y, o] of one item; (K, m)."""
        ...

    def likelihood(self, values: npt.NDArray[np.generic], plan: Plan) -> npt.NDArray[np.float64]:
        """Q_i(values[i] | c) for every class c; (n, K)."""
        ...

    def possible(self, values: npt.NDArray[Any], plan: Plan) -> bool:
        """Whether the plan is one that this mechanism makes and every value an answer that it can give."""
        ...

    def event(self, plan: Plan) -> accounting.Event:
        """What happened, for the accountant; says nothing of the labels."""
        ...

    def realized_ratio(self) -> Fraction:
        """The largest likelihood ratio of the sampler that runs, exactly; never above e^epsilon."""
        ...


def are_integers(values: npt.NDArray[Any], num_items: int, *, below: int) -> bool:
    """Whether the values are n integers in 0 .. below - 1."""
    fits = values.shape == (num_items,) and values.dtype.kind in "iu"
    return fits and bool(np.all((values >= 0) & (values < below)))


def items_event(answer: accounting.Event, num_items: int) -> accounting.Event:
    """The event of n items that were answered alike."""
    return accounting.Disjoint([answer], counts=[num_items]) if num_items else accounting.Disjoint([])


def require_channel(mechanism: Mechanism) -> None:
    """Refuses to list more than 2^12 outputs.

    Raises:
        TypeError: there are more.
    """
    if mechanism.num_outputs > MAX_CHANNEL_OUTPUTS:
        raise TypeError(
            f"Expected at most {MAX_CHANNEL_OUTPUTS} outputs for a channel, {mechanism!r} has more; "
            f"use `likelihood`, which needs none of them listed."
        )


def one_dimensional_length(labels: object) -> int:
    """Number of labels, from the shape alone.

    Raises:
        TypeError, ValueError: not a rectangular array, or not one-dimensional.
    """
    try:
        shape = np.shape(cast(npt.ArrayLike, labels))
    except (ValueError, TypeError):
        raise TypeError(
            "Expected labels of shape (n,), got something that is not a rectangular array."
        ) from None
    if len(shape) != 1:
        raise ValueError(f"Expected labels of shape (n,), got {shape}.")
    return shape[0]


def checked_labels(labels: object, num_classes: int) -> npt.NDArray[np.int64 | np.uint8]:
    """Labels as a one-dimensional integer array inside the public domain; the one check that may depend on them.

    Raises:
        TypeError: not an array of integers.
        ValueError: not one-dimensional, or a label outside 0 .. num_classes - 1. No message holds a label.
    """
    if isinstance(labels, np.ma.MaskedArray):
        raise TypeError(
            "Expected labels without a mask, got a masked array; decide what a missing label is first."
        )
    try:
        array = np.asarray(labels)
    except (ValueError, TypeError):
        raise TypeError("Expected labels that numpy turns into an array of integers; it could not.") from None
    if array.ndim != 1:
        raise ValueError(f"Expected labels of shape (n,), got {array.shape}.")
    if array.size == 0 and array.dtype.kind in "iufb":
        return array.astype(array.dtype if array.dtype.kind in "iu" else np.int64)
    if array.dtype.kind not in "iu":
        kind = array.dtype.type.__name__
        raise TypeError(
            f"Expected labels that are integers in 0 .. {num_classes - 1}, got an array of {kind}; "
            f"number the classes first, by labeldp.encode and a list of classes that does not come from the labels, or .astype(int)."
        )
    if array.min() < 0 or array.max() >= num_classes:
        raise outside_domain(num_classes)
    return array


def outside_domain(num_classes: int) -> ValueError:
    """What to say of labels that are no classes: nothing of the labels."""
    return ValueError(
        f"Expected every label in 0 .. {num_classes - 1}, got at least one outside; "
        f"the domain is public and fixed by num_classes."
    )
