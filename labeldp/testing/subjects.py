"""What a battery looks at: any kind of mechanism as a function from labels to codes of their answers."""

import time
import warnings
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.parameters import checked_num_classes
from labeldp.release import NoisyLabels, PrivacyWarning, privatize
from labeldp.testing.enumeration import answer_key
from labeldp.testing.sources import sampled, takes_source

Codes = npt.NDArray[np.int64]

BINS = 8
MOST_LABELS = 10
_WEIGHTS = np.random.default_rng(0).integers(2**62, size=2**12) * 2 + 1


@dataclass(frozen=True, eq=False)
class Read:
    """Answers by what they support.

    Attributes:
        codes: a code for each answer, few of them, (n,).
        support: whether an answer supports each of the labels that are tried, (n, L): the class is in the set, is the largest entry
            of the vector, or is one whose commonest answer this is.
    """

    codes: Codes
    support: npt.NDArray[np.bool_]

    def kept(self, labels: Codes, used: Codes) -> npt.NDArray[np.bool_]:
        """Whether each answer supports the label of its own row, (n,)."""
        return self.support[np.arange(len(labels)), np.searchsorted(used, labels)]


@dataclass(frozen=True, eq=False)
class Subject:
    """A mechanism in the form that the joint battery calls.

    Attributes:
        num_classes: K.
        answers: labels (n,) -> their answers, (n,) of anything.
        mechanism: the mechanism of `labeldp` behind it, or None for a callable.
        prior: the prior row (K,) that a mechanism of `labeldp` is given for every item, or None.
        keyed: whether the same labels at the same places get the same answers, on purpose.
        slow: whether answers are drawn one at a time, by a callable (label, source).
        blocks: whether the mechanism answers with a block of classes, of a partition of each item's own.
    """

    num_classes: int
    answers: Callable[[npt.NDArray[np.int64]], Any]
    mechanism: Mechanism | None
    prior: npt.NDArray[Any] | None
    keyed: bool
    slow: bool
    blocks: bool = False
    _book: dict[Hashable, int] = field(default_factory=dict[Hashable, int])
    _edges: list[npt.NDArray[np.float64]] = field(default_factory=list[npt.NDArray[np.float64]])
    _modes: list[Codes] = field(default_factory=list[Codes])

    def raw(self, labels: Codes) -> npt.NDArray[Any] | list[Any]:
        """The answers to labels (n,), as an array where they are numbers.

        Raises:
            AssertionError: not one answer for each label.
        """
        answers = self._called(labels)
        array = _as_array(answers.values if isinstance(answers, NoisyLabels) else answers)
        assert len(array) == len(labels), (
            f"Expected one answer for each label, got {len(array)} for {len(labels)} labels: the number of answers tells labels."
        )
        return array

    def _called(self, labels: Codes) -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PrivacyWarning)
            return self.answers(labels.copy())  # whatever the callable does to it

    def exact(self, labels: Codes) -> Codes:
        """Codes of the answers to labels (n,), equal where answers are equal, those of equal labels exchangeable; (n,)."""
        return self.read(labels).codes if self.blocks else self._coded(self.raw(labels))

    def read(self, labels: Codes) -> "Read":
        """The answers to labels (n,) by what they support.

        Where classes are put in public blocks item by item, so that one answer means other classes in other rows, support is told by the
        likelihood and the code says whether the own label has it.
        """
        if not self.blocks:
            return self._read(self.raw(labels))
        noisy = self._called(labels)
        likelihood = noisy.likelihood()
        best = likelihood >= likelihood.max(axis=1, keepdims=True) * (1 - 1e-9)
        support = best[:, self.used_labels()]
        return Read(best[np.arange(len(labels)), labels].astype(np.int64), support)

    def _read(self, answers: npt.NDArray[Any] | list[Any]) -> "Read":
        used = self.used_labels()
        if isinstance(answers, np.ndarray) and answers.ndim == 2 and answers.dtype.kind in "bf":
            if answers.shape[1] == self.num_classes:
                support = answers[:, used] == answers.max(axis=1, keepdims=True)
                codes = support[:, [0, len(used) // 2, -1]] @ np.array([1, 2, 4])
                return Read(codes, support & ~support.all(axis=1, keepdims=True))
            answers = answers[:, 0]
        codes = self._few(answers)
        if not self._modes:
            self._modes.append(np.zeros(0, dtype=np.int64))  # while the modes are looked for
            self._modes[0] = np.array([commonest(self.read(np.full(256, label)).codes) for label in used])
        modes = self._modes[0]
        return Read(codes, codes[:, None] == modes if len(modes) else np.zeros((len(codes), 0), np.bool_))

    def _few(self, answers: npt.NDArray[Any] | list[Any]) -> Codes:
        """Codes of answers, numbers that hardly repeat by bins that answers to mixed labels cut; (n,)."""
        if isinstance(answers, list) or answers.dtype.kind != "f":
            return self._coded(answers)
        if not self._edges:
            sample = np.asarray(self.raw(self.mixed_labels(1024)), dtype=np.float64).reshape(1024, -1)[:, 0]
            few = len(np.unique(sample)) <= 4 * BINS
            cuts = np.linspace(0, 1, BINS + 1)[1:-1]
            self._edges.append(np.zeros(0) if few else np.quantile(sample, cuts))
        return np.searchsorted(self._edges[0], answers) if len(self._edges[0]) else self._coded(answers)

    @property
    def frugal(self) -> bool:
        """Whether answers take long: one at a time, from a partition for each, or wide ones."""
        wide = self.mechanism is not None and bool(self.mechanism.answer_shape) and self.num_classes > 20
        return self.slow or self.blocks or wide

    @property
    def sample(self) -> int:
        """How many answers a statistical check looks at."""
        return 2**12 if self.frugal else 2**14

    def seconds(self, size: int) -> float:
        """The least time of four calls of this size."""
        labels, times = np.resize(self.used_labels(), size), list[float]()
        for _ in range(4):
            start = time.perf_counter()
            self.raw(labels)
            times.append(time.perf_counter() - start)
        return min(times)

    def used_labels(self) -> Codes:
        """The labels that are tried: all of them, or ten spread over them."""
        return np.unique(np.linspace(0, self.num_classes - 1, MOST_LABELS).astype(np.int64))

    def mixed_labels(self, count: int, *, seed: int = 0) -> Codes:
        """Uniform labels among those that are tried, (count,)."""
        return np.random.default_rng([count, seed]).choice(self.used_labels(), size=count)

    def _coded(self, answers: npt.NDArray[Any] | list[Any]) -> Codes:
        if isinstance(answers, list):
            return np.array([self._code(answer_key(answer)) for answer in answers], dtype=np.int64)
        rows = answers.reshape(len(answers), -1)
        rows = rows.astype(np.float64).view(np.int64) if rows.dtype.kind == "f" else rows.astype(np.int64)
        return rows[:, 0] if rows.shape[1] == 1 else rows @ np.resize(_WEIGHTS, rows.shape[1])

    def _code(self, key: Hashable) -> int:
        """An integer for itself, anything else for its turn of coming up."""
        return key if type(key) is int else -(2**40) - self._book.setdefault(key, len(self._book))


Anything: TypeAlias = Mechanism | Callable[..., Any] | Subject
"""A mechanism of `labeldp`, a callable labels (n,) -> n answers, a callable (label, source), or one of them as a `Subject`."""


def subject(
    mechanism: Anything,
    *,
    num_classes: int,
    prior: npt.ArrayLike | None = None,
    keyed: bool | None = None,
) -> Subject:
    """Any kind of mechanism as a `Subject`; one that is a `Subject` already stays as it is.

    Args:
        mechanism: a mechanism of `labeldp`, a callable labels (n,) -> n answers, or a callable (label, source).
        num_classes: K; labels 0 .. K - 1 are tried and no others.
        prior: what a mechanism of `labeldp` is given, (K,) or (m, K), of which the first row; by default the uniform prior.
        keyed: whether equal calls give equal answers; by default what the callable's attribute `keyed` says, else no.

    Raises:
        TypeError, ValueError: no mechanism, or one with another number of classes.
    """
    if isinstance(mechanism, Subject):
        return mechanism
    classes = checked_num_classes(num_classes)
    if not hasattr(mechanism, "choose"):
        if not callable(mechanism):
            raise TypeError(f"Expected a mechanism of labeldp or a callable, got {type(mechanism).__name__}.")
        slow = takes_source(mechanism)
        declared = bool(getattr(mechanism, "keyed", False)) if keyed is None else keyed
        return Subject(
            classes, sampled(mechanism) if slow else mechanism, None, None, keyed=declared, slow=slow
        )
    mechanism = cast(Mechanism, mechanism)
    if mechanism.num_classes != classes:
        raise ValueError(
            f"Expected num_classes = {mechanism.num_classes}, that of {mechanism!r}, got {classes}."
        )
    if keyed:
        raise TypeError(
            "Expected keyed=True with callables only: a mechanism is given fresh randomness here. Pass a function that releases with "
            "your KeyedSource and returns the values."
        )
    rows = np.ones(classes) if prior is None else np.asarray(prior)
    row: npt.NDArray[Any] = rows[0] if rows.ndim == 2 else rows
    return Subject(
        classes,
        lambda labels: privatize(mechanism, as_labels(mechanism, labels), prior=row),
        mechanism,
        row,
        keyed=False,
        slow=False,
        blocks=mechanism.plan(row, 1).blocks is not None,
    )


def as_labels(mechanism: Mechanism, numbers: Codes) -> npt.NDArray[Any]:
    """Class numbers as labels: themselves, or values of the grid that real-valued labels lie on."""
    values = getattr(mechanism, "label_values", None)
    return numbers if values is None else np.array(values)[numbers]


def commonest(codes: Codes) -> int:
    """The code that comes most often."""
    values, counts = np.unique(codes, return_counts=True)
    return int(values[counts.argmax()])


def _as_array(answers: Any) -> npt.NDArray[Any] | list[Any]:
    """Numbers, or rows of numbers of one length, as an array; anything else as a list."""
    if not isinstance(answers, np.ndarray):
        items: list[Any] = list(answers)
        if any(isinstance(item, str | bytes | set | frozenset | dict) or item is None for item in items[:1]):
            return items
        try:
            answers = np.asarray(items)
        except (ValueError, TypeError):
            return items
    array = cast(npt.NDArray[Any], answers)
    return array if array.dtype.kind in "biuf" and array.ndim else list(array)
