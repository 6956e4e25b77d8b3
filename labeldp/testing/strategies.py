"""Hypothesis strategies for tests of label DP: labels, priors, candidates, epsilons, neighbours, hostile arrays, mechanisms."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from hypothesis import strategies as st

from labeldp.mechanisms import (
    Mechanism,
    NoisyOneHot,
    PartitionedRandomizedResponse,
    RandomizedResponse,
    RandomizedResponseOnBins,
    SelectiveRandomizedResponse,
    SubsetSelection,
    UnaryEncoding,
    UnbiasedRandomizer,
)

Labels: TypeAlias = npt.NDArray[np.int64]
Rows: TypeAlias = npt.NDArray[np.float64]


def labels(num_classes: int) -> st.SearchStrategy[int]:
    """One label in 0 .. num_classes - 1; the ends more often."""
    return st.one_of(st.sampled_from([0, num_classes - 1]), st.integers(0, num_classes - 1))


@st.composite
def label_vectors(draw: st.DrawFn, num_classes: int, *, min_size: int = 0, max_size: int = 40) -> Labels:
    """Labels (n,): none, one, all equal, or any."""
    size = draw(st.one_of(st.sampled_from([min_size, max_size]), st.integers(min_size, max_size)))
    if draw(st.integers(0, 4)) == 0:
        return np.repeat(np.int64(draw(labels(num_classes))), size)
    return np.array(draw(st.lists(labels(num_classes), min_size=size, max_size=size)), dtype=np.int64)


@st.composite
def neighbours(
    draw: st.DrawFn, num_classes: int, *, min_size: int = 1, max_size: int = 40
) -> tuple[Labels, Labels]:
    """Two label vectors that differ in one place; the first and the last place more often."""
    one = draw(label_vectors(num_classes, min_size=max(1, min_size), max_size=max_size))
    place = draw(st.one_of(st.sampled_from([0, len(one) - 1]), st.integers(0, len(one) - 1)))
    other = one.copy()
    other[place] = (other[place] + draw(st.integers(1, num_classes - 1))) % num_classes
    return one, other


@st.composite
def priors(draw: st.DrawFn, num_classes: int) -> Rows:
    """A prior row (K,) up to scale, never all zero: ties, zeros, near ties, tiny and huge entries."""
    near_ties = [0.1, 0.1 + 1e-17, 0.1 + 1.4e-17, float(np.nextafter(0.1, 1)), 0.1 * (1 + 2.0**-40)]
    extremes = [0.0, -0.0, 0.5, 1.0, 5e-324, 1e-300, 1e300, 2.0**-60]
    entry = st.one_of(st.sampled_from(near_ties), st.sampled_from(extremes), st.floats(0, 1))
    if draw(st.integers(0, 4)) == 0:
        row = np.full(num_classes, draw(entry))
    else:
        row = np.array(draw(st.lists(entry, min_size=num_classes, max_size=num_classes)))
    if not row.any():
        row[draw(labels(num_classes))] = draw(st.sampled_from([1.0, 1e-320, 1e308]))
    return row


@st.composite
def candidate_sets(draw: st.DrawFn, num_classes: int, *, min_size: int = 1) -> npt.NDArray[np.bool_]:
    """A set of candidates as a mask (K,): one class, all of them, or any set."""
    everything = set(range(num_classes))
    members = draw(
        st.one_of(st.just(everything), st.sets(st.sampled_from(sorted(everything)), min_size=min_size))
    )
    return np.isin(np.arange(num_classes), sorted(members))


def epsilons(*, largest: float = 80.0) -> st.SearchStrategy[float]:
    """An epsilon from 0 up: subnormal, tiny, usual, logarithms of integers, both sides of 40, huge."""
    usual = [0.0, 5e-324, 2.2e-308, 1e-16, 1e-9, 0.1, 0.5, 1.0, 2.0, 8.0]
    exact = [float(np.log(n)) for n in (2, 3, 10)]
    huge = [20.0, 36.7, 37.0, float(np.nextafter(40, 0)), 40.0, float(np.nextafter(40, 99)), 80.0]
    chosen = [epsilon for epsilon in (*usual, *exact, *huge, largest) if epsilon <= largest]
    return st.one_of(st.sampled_from(chosen), st.floats(0, min(3.0, largest)), st.floats(0, largest))


def mechanisms(
    *, num_classes: int | None = None, epsilon: st.SearchStrategy[float] | None = None
) -> st.SearchStrategy[Mechanism]:
    """Any mechanism of `labeldp`, with 2 to 6 classes unless told otherwise, and small enough to be released at once."""
    return st.one_of([_kind(make, num_classes, epsilon) for make in KINDS.values()])


@st.composite
def hostile_arrays(draw: st.DrawFn, num_classes: int) -> Any:
    """Something in the place of labels (n,): each must be answered rightly or refused with a TypeError or ValueError that holds no label.

    Every integer type and byte order, strided, reversed, read-only, Fortran-ordered, empty; labels outside the domain, floats, NaN,
    infinities, booleans, texts, dates, objects, masks, structures, wrong shapes.
    """
    kind = draw(st.sampled_from([*_SOUND, *_BROKEN]))
    return kind(draw(label_vectors(num_classes, min_size=1, max_size=12)), num_classes)


Draw: TypeAlias = Callable[[st.SearchStrategy[Any]], Any]

KINDS: dict[type[Any], Callable[[Draw, float, int], Any]] = {
    RandomizedResponse: lambda _, epsilon, k: RandomizedResponse(epsilon, k),
    SelectiveRandomizedResponse: lambda draw, epsilon, k: SelectiveRandomizedResponse(
        epsilon,
        k,
        size=draw(st.one_of(st.sampled_from(["accuracy", "information"]), st.integers(1, k))),
        outside=draw(st.sampled_from(["uniform", "other"])),
    ),
    PartitionedRandomizedResponse: lambda draw, epsilon, k: PartitionedRandomizedResponse(
        epsilon, k, draw(st.one_of(st.just("information"), st.integers(2, k))), seed=draw(st.integers(0, 9))
    ),
    SubsetSelection: lambda draw, epsilon, k: SubsetSelection(
        epsilon, k, draw(st.one_of(st.none(), st.integers(1, k - 1)))
    ),
    UnaryEncoding: lambda draw, epsilon, k: UnaryEncoding(
        epsilon, k, draw(st.sampled_from(["symmetric", "optimized"]))
    ),
    NoisyOneHot: lambda draw, epsilon, k: NoisyOneHot(epsilon, k, grid_points=draw(st.integers(3, 64))),
    RandomizedResponseOnBins: lambda draw, epsilon, k: RandomizedResponseOnBins(
        epsilon, tuple(range(k)), tuple(draw(priors(k))), draw(st.sampled_from(["squared", "absolute"]))
    ),
    UnbiasedRandomizer: lambda draw, epsilon, k: UnbiasedRandomizer(
        min(max(epsilon, 0.1), 10.0), tuple(range(k)), tuple(draw(priors(k)))
    ),
}
"""How each mechanism is drawn: a function of draw, epsilon and the number of classes."""


@st.composite
def _kind(
    draw: st.DrawFn,
    make: Callable[[Draw, float, int], Mechanism],
    num_classes: int | None,
    epsilon: st.SearchStrategy[float] | None,
) -> Mechanism:
    classes = draw(st.integers(2, 6)) if num_classes is None else num_classes
    return make(draw, draw(epsilons() if epsilon is None else epsilon), classes)


def _read_only(values: Labels, _: int) -> Labels:
    values = values.copy()
    values.flags.writeable = False
    return values


def _with(bad: Any, dtype: str) -> Callable[[Labels, int], Any]:
    """The labels with one more entry that is no label."""

    def hostile(values: Labels, _: int) -> Any:
        array = np.empty(len(values) + 1, dtype=dtype)
        array[:-1], array[-1] = values, bad
        return array

    return hostile


def _nothing(*_: object) -> None:
    return None


def _typed(dtype: str) -> Callable[[Labels, int], Any]:
    return lambda values, _: values.astype(dtype)


_SOUND: list[Callable[[Labels, int], Any]] = [
    *map(_typed, ("i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8")),
    lambda values, _: values.tolist(),
    lambda values, _: tuple(values.tolist()),
    lambda values, _: np.repeat(values, 2)[::2],
    lambda values, _: values[::-1],
    lambda values, _: np.asfortranarray(np.stack([values, values], axis=1))[:, 1],
    lambda values, _: np.broadcast_to(values[0], len(values)),
    lambda values, _: values.view(np.recarray),
    lambda values, _: values[:0],
    lambda values, _: values[:0].tolist(),
    _read_only,
]

_BROKEN: list[Callable[[Labels, int], Any]] = [
    lambda values, k: np.append(values, k),
    _with(-1, "i8"),
    _with(2**31, "i8"),
    _with(2**64 - 1, "u8"),
    _with(2**70, "O"),
    _with(float("nan"), "f8"),
    _with(float("inf"), "f8"),
    _with(0.5, "f8"),
    _with(None, "O"),
    _with("1", "O"),
    _with([1], "O"),
    _with(1j, "c16"),
    *map(_typed, ("f2", "f8", "longdouble", "c16", "?", "U8", "S8", "M8[s]", "m8[s]", "V8")),
    lambda values, _: values[:, None],
    lambda values, _: values[None, :],
    lambda values, _: values.reshape(1, -1, 1),
    lambda values, _: values[0],
    lambda values, _: [values.tolist(), []],
    lambda values, _: np.ma.masked_array(values, mask=np.arange(len(values)) % 2 == 0),
    lambda values, _: np.array([(int(v), 0) for v in values], dtype=[("label", int), ("other", int)]),
    lambda values, _: {"labels": values.tolist()},
    lambda values, _: set(values.tolist()),
    lambda values, _: iter(values.tolist()),
    lambda values, _: bytes(values.tolist()[0]),
    _nothing,
    lambda values, k: (2**40 * values + k).tolist(),
]
