"""Confusion, calibration and intervals, on cases counted by hand."""

import numpy as np
import pytest

from distill.diagnostics import accuracy_interval, calibration, confusion

LABELS = np.array([0, 0, 1, 2])
ROWS = np.array([[0.9, 0.1, 0.0], [0.25, 0.75, 0.0], [0.3, 0.4, 0.3], [0.0, 0.05, 0.95]])


def test_confusion_counts_true_classes_in_rows() -> None:
    counts = confusion(ROWS.argmax(axis=1), LABELS, 3)
    assert counts.tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 1]]
    # the twin: with predictions in the rows it is another matrix
    assert confusion(LABELS, ROWS.argmax(axis=1), 3).tolist() != counts.tolist()


def test_a_class_that_never_comes_up_keeps_its_row_and_column() -> None:
    assert confusion(np.array([0]), np.array([0]), 4).shape == (4, 4)


def test_calibration_by_hand() -> None:
    found = calibration(ROWS, LABELS)
    assert [(each["from"], each["images"], each["accuracy"]) for each in found["bins"]] == [
        (0.3, 1, 1.0),
        (0.7, 1, 0.0),
        (0.8, 1, 1.0),  # .9 is the end of its range, not the start of the next
        (0.9, 1, 1.0),
    ]
    assert found["expected_error"] == pytest.approx((0.6 + 0.75 + 0.1 + 0.05) / 4)


def test_who_is_sure_and_right_is_calibrated_and_who_is_sure_and_wrong_is_not() -> None:
    sure = np.eye(3)[LABELS]
    assert calibration(sure, LABELS)["expected_error"] == 0
    assert calibration(np.roll(sure, 1, axis=1), LABELS)["expected_error"] == 1


@pytest.mark.parametrize(("accuracy", "n"), [(0.5, 100), (0.98, 450), (0.999, 10_000)])
def test_the_interval_covers_the_accuracy_of_its_sample_as_often_as_it_says(accuracy: float, n: int) -> None:
    """Wilson's interval holds the truth in about 95 % of the samples."""
    drawn = np.random.default_rng(0).binomial(n, accuracy, size=4000) / n
    ends = np.array([accuracy_interval(value, n) for value in np.unique(drawn)])
    inside = dict(zip(np.unique(drawn), (ends[:, 0] <= accuracy) & (accuracy <= ends[:, 1]), strict=True))
    covered = np.mean([inside[value] for value in drawn])
    assert 0.93 <= covered <= 0.975
    # the twin: half as wide it covers too seldom
    middle, half = ends.mean(axis=1), np.diff(ends, axis=1)[:, 0] / 4
    narrow = dict(zip(np.unique(drawn), np.abs(middle - accuracy) <= half, strict=True))
    assert np.mean([narrow[value] for value in drawn]) < 0.8


def test_an_interval_stays_in_range_when_all_or_none_are_right() -> None:
    assert accuracy_interval(1.0, 20)[1] == 1.0
    assert accuracy_interval(1.0, 20)[0] < 0.9
    assert accuracy_interval(0.0, 20)[0] == 0.0
