"""Warnings that teach, and their silence where there is nothing to teach."""

import warnings

import numpy as np
import pytest

import labeldp

SURE = np.array([0.98, 0.01, 0.01])
FLAT = np.ones(3)


def release(mechanism, prior=None, source=None):
    return labeldp.privatize(mechanism, [0, 1, 2, 0], prior=prior, source=source)


@pytest.mark.parametrize(
    ("call", "word"),
    [
        (lambda: release(labeldp.RandomizedResponse(1.0, 3), source=labeldp.SeededSource(0)), "seed"),
        (lambda: release(labeldp.RandomizedResponse(10.5, 3)), "epsilon 10.5"),
        (
            lambda: release(labeldp.SelectiveRandomizedResponse(0.5, 3), SURE),
            "4 of 4 items have one possible answer",
        ),
    ],
    ids=["seeded", "large epsilon", "constants"],
)
def test_a_release_that_promises_or_tells_little_is_pointed_out(call, word: str) -> None:
    with pytest.warns(labeldp.PrivacyWarning, match=word) as caught:
        call()
    assert len(caught) == 1
    assert caught[0].filename == __file__


@pytest.mark.parametrize(
    "call",
    [
        lambda: release(labeldp.RandomizedResponse(10.0, 3)),
        lambda: release(labeldp.SelectiveRandomizedResponse(0.5, 3), FLAT),
        lambda: release(labeldp.SelectiveRandomizedResponse(0.5, 3, size="information"), SURE),
        lambda: release(labeldp.SelectiveRandomizedResponse(0.5, 3, size=1, outside="other"), SURE),
        lambda: labeldp.privatize(labeldp.SelectiveRandomizedResponse(0.5, 3), [], prior=SURE),
    ],
)
def test_a_sensible_release_is_silent(call) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        call()


def test_the_warning_does_not_depend_on_the_labels() -> None:
    messages = set()
    for labels in ([0, 0, 0], [2, 1, 2]):
        with pytest.warns(labeldp.PrivacyWarning) as caught:
            labeldp.privatize(labeldp.SelectiveRandomizedResponse(0.5, 3), labels, prior=SURE)
        messages.add(str(caught[0].message))
    assert len(messages) == 1
