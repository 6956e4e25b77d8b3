"""What a release of `labeldp` says besides its answers: candidates, texts, bytes, exceptions, and how long it takes."""

import dataclasses
import math
import pickle
import time
import traceback
import warnings
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.release import NoisyLabels, PrivacyWarning, SeededSource, privatize
from labeldp.testing.subjects import Anything, Subject, as_labels, subject

MANY_CLASSES = 300
"""More than fit into a byte."""

FAR_OUT = 3217
"""A label outside every domain tried here, easy to find in a text."""

CALLABLE = "a callable shows nothing but its answers"


def assert_candidates_ignore_labels(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None
) -> str | None:
    """Asserts that candidates, blocks and the accounting event are the same whatever the labels are, and follow their items.

    Rate: 0.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior)
    if it.mechanism is None:
        return CALLABLE
    rows = _rows(it, prior, 60)
    cases = [np.zeros(60, dtype=np.int64), np.full(60, num_classes - 1), it.mixed_labels(60)]
    first, *others = [_released(it.mechanism, labels, rows, SeededSource(3)) for labels in cases]
    for other in others:
        assert other.event == first.event, (
            f"The accounting event depends on labels: {first.event} and {other.event}."
        )
        for name in ("candidates", "blocks"):
            decided: list[Any] = [getattr(noisy.plan, name) for noisy in (first, other)]
            assert np.array_equal(*decided), f"The {name} of a release depend on its labels."
    order = np.random.default_rng(0).permutation(60)
    moved: list[Any] = [plan.candidates for plan in (it.mechanism.plan(rows[order], 60), first.plan[order])]
    assert np.array_equal(*moved), "Candidates do not follow their items when rows are put in another order."
    return None


def assert_answers_possible(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None
) -> str | None:
    """Asserts that each answer of a release with a prior for each item is one that this item can be given.

    Rate: 0.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior)
    if it.mechanism is None:
        return CALLABLE
    rows = _rows(it, prior, 2000)
    noisy = _released(it.mechanism, it.mixed_labels(2000), rows)
    assert it.mechanism.possible(noisy.values, noisy.plan), (
        "An answer is impossible for its item: answers, candidates or both are in the wrong row."
    )
    likelihood = noisy.likelihood().max(axis=1)
    assert (likelihood > 0).all(), (
        f"{int((likelihood == 0).sum())} of 2000 answers have the likelihood 0 for every class."
    )
    return None


def assert_many_classes(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None
) -> str | None:
    """Asserts that with 300 classes and hardly any noise every label is among the likeliest of its answer: no number overflows.

    Rate: below 1e-12 at epsilon 40, which is used here.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior)
    if it.mechanism is None:
        return CALLABLE
    try:
        larger = cast(
            Mechanism,
            dataclasses.replace(cast(Any, it.mechanism), num_classes=MANY_CLASSES, epsilon=40.0),
        )
        larger.plan(np.ones(MANY_CLASSES), 1)
    except (TypeError, ValueError):
        return f"no mechanism of this kind with {MANY_CLASSES} classes"
    prior_of_each = np.eye(MANY_CLASSES) + 1e-3  # makes every label a candidate
    for dtype in (np.int64, np.uint16):
        labels = np.arange(MANY_CLASSES).astype(dtype)
        noisy = _released(larger, labels, prior_of_each)
        likelihood = noisy.likelihood()
        own = likelihood[np.arange(MANY_CLASSES), labels]
        wrong = np.flatnonzero(own < likelihood.max(axis=1) * (1 - 1e-9))
        assert larger.possible(noisy.values, noisy.plan), (
            f"With {MANY_CLASSES} classes an answer is impossible: a number overflows."
        )
        assert not len(wrong), (
            f"With {MANY_CLASSES} classes and epsilon 40, {len(wrong)} labels are not the likeliest class of their answer, the first is "
            f"{wrong[0]}: a number overflows, or answers are in the wrong row."
        )
    return None


def assert_nothing_shows_labels(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None
) -> str | None:
    """Asserts that no label is in the text, the bytes or an exception of a release, nor stays in its mechanism.

    Once their answers are overwritten by the same ones, releases must be equal in text and in pickled bytes, whatever the labels were;
    labels that are refused must not be quoted.

    Rate: 0.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior)
    if it.mechanism is None:
        return CALLABLE
    before = pickle.dumps(it.mechanism), repr(it.mechanism)
    _assert_labels_leave_no_trace(it)
    assert (pickle.dumps(it.mechanism), repr(it.mechanism)) == before, (
        f"Releasing changed its mechanism {before[1]}: labels may stay in it."
    )
    bad: list[Any] = [
        [0, FAR_OUT],
        [-FAR_OUT],
        [float(FAR_OUT)],
        [str(FAR_OUT)],
        [2**70 + FAR_OUT],
        [[FAR_OUT]],
    ]
    for labels in bad:
        try:
            _released(it.mechanism, labels, it.prior)
        except (TypeError, ValueError) as error:
            text = "".join(traceback.format_exception(error)) + repr(error.args) + repr(error)
            if str(FAR_OUT) in text:
                raise AssertionError(
                    f"An exception quotes a label that it refuses: {type(error).__name__}."
                ) from None
        else:
            raise AssertionError(
                f"Labels outside 0 .. {num_classes - 1} are answered: {type(labels[0]).__name__} ..."
            )
    return None


def _assert_labels_leave_no_trace(it: Subject) -> None:
    assert it.mechanism is not None
    answer, first = None, ("", b"")
    for label in it.used_labels():
        noisy = _released(it.mechanism, np.array([label, label]), it.prior)
        answer = noisy.values.copy() if answer is None else answer
        text = repr(noisy)
        noisy.values[...] = answer
        shown = text, pickle.dumps(noisy)
        first = first if label else shown
        for what, one, other in zip(("text", "pickled bytes"), first, shown, strict=True):
            assert one == other, (
                f"The {what} of a release of label 0 and of one of label {label} differ, though their answers were made equal."
            )


def label_timing(mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None) -> str:
    """Says whether releases of the first class and of the last take different times; advisory, since machines are noisy.

    Returns:
        A line with Welch's t over 120 interleaved calls of 256 labels each; below 4.5 in size is no evidence.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior)
    times = np.empty((2, 60))
    columns = [np.zeros(256, dtype=np.int64), np.full(256, num_classes - 1)]
    for call in range(60):
        for which in (0, 1) if call % 2 else (1, 0):
            start = time.perf_counter()
            it.raw(columns[which])
            times[which, call] = time.perf_counter() - start
    kept = np.sort(times, axis=1)[:, :45]  # interruptions are long
    spread = math.sqrt(float(kept.var(axis=1, ddof=1).sum()) / kept.shape[1])
    t = float(kept[0].mean() - kept[1].mean()) / max(spread, 1e-12)
    verdict = "may depend on the label" if abs(t) > 4.5 else "no evidence that it depends on the label"
    return f"timing: t = {t:+.1f} between labels 0 and {num_classes - 1}, {verdict} (advisory)"


def _rows(it: Subject, prior: npt.ArrayLike | None, count: int) -> npt.NDArray[Any]:
    """A prior for each of the items: the caller's rows in turn, or rows of all shapes."""
    if prior is not None:
        return np.resize(np.asarray(prior), (count, it.num_classes))
    return np.random.default_rng(7).dirichlet(np.full(it.num_classes, 0.3), size=count) + 1e-9


def _released(
    mechanism: Mechanism, labels: Any, prior: Any, source: SeededSource | None = None
) -> NoisyLabels:
    if isinstance(labels, np.ndarray):
        labels = as_labels(mechanism, cast(npt.NDArray[Any], labels))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)
        return privatize(mechanism, labels, prior=prior, source=source)
