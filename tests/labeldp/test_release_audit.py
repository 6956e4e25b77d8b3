"""Audits of what was released: bounds from canaries, and the advantage that a release gives."""

import dataclasses
import math
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import labeldp
from labeldp.mechanisms import ALL
from labeldp.testing import audit_release, label_inference_report
from labeldp.testing.release_audit import _largest_refuted, _tail, best_guess
from tests import oracles
from tests.labeldp.test_audit import made

K = 10


def released(mechanism, labels, seed: int = 0, prior=None):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", labeldp.PrivacyWarning)
        return labeldp.privatize(mechanism, labels, prior=prior, source=labeldp.SeededSource(seed))


def planted(mechanism, items: int, canaries: int, seed: int = 0, prior=None):
    """A release of labels that are all 0 but for canaries, and where these are."""
    random = np.random.default_rng(seed)
    labels = np.zeros(items, dtype=np.int64)
    where = random.choice(items, canaries, replace=False)
    labels[where] = random.integers(mechanism.num_classes, size=canaries)
    labels = np.array(getattr(mechanism, "label_values", range(mechanism.num_classes)))[labels]
    return labels, released(mechanism, labels, seed, prior), where


# One-run audits.


@pytest.mark.parametrize(("canaries", "published"), [(100, 0.62), (1000, 0.88), (100_000, 0.989)])
def test_the_bound_is_what_was_published_at_95_percent(canaries: int, published: float) -> None:
    """verification.md 2.6, a mean over runs; the bound at the mean number of right guesses is near it."""
    right = round(canaries * math.e / (math.e + K - 1))
    bound = _largest_refuted(right, np.array([0, canaries] + [0] * (K - 2)), 0.05)
    assert bound == pytest.approx(published, abs=0.1 if canaries == 100 else 0.01)


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
@pytest.mark.parametrize("seed", range(3))
def test_a_correct_release_is_not_refuted(kind, seed: int) -> None:
    """At 1 - 1e-6: a bound above the truth has that probability."""
    prior = np.random.default_rng(seed).dirichlet(np.ones(K), size=4000)
    labels, noisy, canaries = planted(made(kind, 1.0, K), 4000, 3000, seed, prior)
    report = audit_release(labels, noisy, canaries, confidence=1 - 1e-6)
    assert report.lower_bound <= 1
    assert report.witness is None
    assert not report.stopped_early
    loose = (labeldp.SelectiveRandomizedResponse, labeldp.mechanisms.NoisyOneHot)
    assert report.lower_bound > (0 if kind in loose else 0.5)


@pytest.mark.parametrize("kind", [labeldp.RandomizedResponse, labeldp.SubsetSelection, labeldp.UnaryEncoding])
def test_a_release_at_a_larger_epsilon_is_refuted(kind) -> None:
    """The twin: released at 1.5, stated as 1."""
    labels, noisy, canaries = planted(kind(1.5, K), 4000, 3000)
    report = audit_release(labels, noisy, canaries, epsilon=1.0, confidence=1 - 1e-6)
    assert 1 < report.lower_bound <= 1.5
    assert "canaries" in str(report.witness)
    assert "were guessed right" in str(report)
    stated = dataclasses.replace(noisy, mechanism=labeldp.RandomizedResponse(1.0, K))
    if kind is labeldp.RandomizedResponse:
        assert audit_release(labels, stated, canaries, confidence=1 - 1e-6).witness is not None


def test_bounds_are_right_as_often_as_they_say() -> None:
    """At 90 %, 400 releases: 40 bounds above the truth are expected, 70 have probability 2e-6."""
    above = 0
    for seed in range(400):
        labels, noisy, canaries = planted(labeldp.RandomizedResponse(1.0, 4), 200, 200, seed)
        above += audit_release(labels, noisy, canaries, confidence=0.9).lower_bound > 1
    assert 10 < above < 70


def test_guesses_that_see_the_label_are_wrong_far_more_often() -> None:
    """The twin: an audit that guesses the better of two answers after looking is above the truth nearly always."""
    above = 0
    for seed in range(100):
        labels, noisy, canaries = planted(labeldp.RandomizedResponse(1.0, 4), 200, 200, seed)
        again = released(labeldp.RandomizedResponse(1.0, 4), labels, seed + 1000)
        values = np.where(noisy.values == labels, noisy.values, again.values)
        peeked = dataclasses.replace(noisy, values=values)
        above += audit_release(labels, peeked, canaries, confidence=0.9).lower_bound > 1
    assert above > 90


@settings(deadline=None, max_examples=30)
@given(st.integers(2, 12), st.floats(0, 6), st.data())
def test_the_tail_is_that_of_independent_coins(num_classes: int, epsilon: float, data) -> None:
    sizes = np.array(
        [0, *data.draw(st.lists(st.integers(0, 15), min_size=num_classes - 1, max_size=num_classes - 1))]
    )
    law = np.ones(1)
    for size, count in enumerate(sizes):
        heavy = size * math.exp(epsilon)
        for _ in range(count):
            law = np.convolve(
                law, [1 - heavy / (heavy + num_classes - size), heavy / (heavy + num_classes - size)]
            )
    for right in range(len(law)):
        assert _tail(right, sizes, epsilon) == pytest.approx(law[right:].sum(), abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 100_000), st.floats(0, 1), st.floats(0, 8), st.sampled_from([2, 3, 10, 100]))
def test_equal_sets_give_the_exact_binomial(
    trials: int, share: float, epsilon: float, num_classes: int
) -> None:
    right = round(share * trials)
    sizes = np.zeros(num_classes, dtype=np.int64)
    sizes[1] = trials
    chance = math.exp(epsilon) / (math.exp(epsilon) + num_classes - 1)
    assert _tail(right, sizes, epsilon) == pytest.approx(stats.binom.sf(right - 1, trials, chance), abs=1e-10)
    bound = _largest_refuted(right, sizes, 0.01)
    clopper_pearson = stats.beta.ppf(0.01, right, trials - right + 1) if right else 0.0
    expected = math.log(max(clopper_pearson / (1 - clopper_pearson) * (num_classes - 1), 1)) if right else 0.0
    assert bound == pytest.approx(expected, abs=1e-6)


def test_sets_are_guessed_as_sets() -> None:
    """Subset selection is tight at its own set; guessing one of its classes could not go beyond 0.7."""
    labels, noisy, canaries = planted(labeldp.SubsetSelection(1.0, K), 20_000, 20_000)
    report = audit_release(labels, noisy, canaries)
    assert 0.9 < report.lower_bound <= 1
    assert report.calls == 20_000


def test_items_with_one_candidate_are_not_guessed() -> None:
    prior = np.where(np.arange(K) == np.arange(2000)[:, None] % K, 0.99, 0.01 / 9)
    prior[::2] = 1
    labels, noisy, canaries = planted(
        labeldp.SelectiveRandomizedResponse(1.0, K, size="accuracy"), 2000, 2000, prior=prior
    )
    assert audit_release(labels, noisy, canaries).calls == 1000
    with_none = audit_release(
        labels[1::2], released(noisy.mechanism, labels[1::2], prior=prior[1::2]), range(1000)
    )
    assert (with_none.calls, with_none.lower_bound) == (0, 0.0)


def test_a_mask_is_as_good_as_indexes() -> None:
    labels, noisy, canaries = planted(labeldp.RandomizedResponse(2.0, K), 500, 100)
    mask = np.isin(np.arange(500), canaries)
    assert audit_release(labels, noisy, canaries) == audit_release(labels, noisy, mask)


def test_only_labels_of_canaries_count() -> None:
    labels, noisy, canaries = planted(labeldp.RandomizedResponse(2.0, K), 500, 100)
    others = np.where(np.isin(np.arange(500), canaries), labels, 7)
    assert audit_release(labels, noisy, canaries) == audit_release(others, noisy, canaries)


def test_real_labels_are_no_canaries() -> None:
    labels, noisy, canaries = planted(labeldp.RandomizedResponse(2.0, K), 500, 100)
    everything = np.arange(500)
    with pytest.raises(ValueError, match="drawn uniformly"):
        audit_release(labels, noisy, everything)
    assert audit_release(labels, noisy, canaries).calls == 100


@pytest.mark.parametrize(
    "canaries", [[], [-1], [500], [0, 0], [0.5], ["a"], np.zeros(500, bool), np.ones(3, bool), [[0, 1]]]
)
def test_bad_canaries_are_refused(canaries) -> None:
    labels, noisy, _ = planted(labeldp.RandomizedResponse(2.0, K), 500, 100)
    with pytest.raises(ValueError, match="canaries"):
        audit_release(labels, noisy, canaries)


def test_a_release_with_delta_has_no_such_bound() -> None:
    labels, noisy, canaries = planted(
        labeldp.mechanisms.NoisyOneHot(1.0, 4, noise="gaussian", delta=0.01), 50, 50
    )
    for call in (audit_release, label_inference_report):
        with pytest.raises(ValueError, match="delta = 0"):
            call(labels, noisy, canaries if call is audit_release else np.ones(4))


# Label inference.


def drawn(prior: np.ndarray, seed: int = 0) -> np.ndarray:
    uniform = np.random.default_rng(seed).random((len(prior), 1))
    return (np.cumsum(prior, axis=1) / prior.sum(axis=1, keepdims=True) < uniform).sum(axis=1)


@pytest.mark.parametrize("size", ["accuracy", "information", 1, 3])
def test_advantage_is_below_its_bound(size) -> None:
    prior = np.random.default_rng(1).dirichlet(np.full(K, 0.3), size=20_000)
    labels = drawn(prior)
    noisy = released(labeldp.SelectiveRandomizedResponse(1.0, K, size=size), labels, prior=prior)
    report = label_inference_report(labels, noisy, prior)
    assert report.advantage <= report.bound + 5 * report.standard_error
    if size == "accuracy":  # it attains the bound
        assert report.advantage == pytest.approx(report.bound, abs=5 * report.standard_error)
    assert report.items == 20_000


def test_advantage_of_a_release_at_a_larger_epsilon_is_above_the_bound() -> None:
    """The twin."""
    prior = np.ones((20_000, K))
    labels = drawn(prior)
    noisy = released(labeldp.RandomizedResponse(2.0, K), labels)
    stated = dataclasses.replace(noisy, mechanism=labeldp.RandomizedResponse(1.0, K))
    report = label_inference_report(labels, stated, prior)
    assert report.advantage > report.bound + 5 * report.standard_error


def test_what_the_prior_knows_is_no_advantage() -> None:
    prior = np.where(np.arange(K) == 3, 0.97, 0.03 / 9)
    labels = drawn(np.tile(prior, (5000, 1)))
    noisy = released(labeldp.SelectiveRandomizedResponse(1.0, K), labels, prior=prior)
    report = label_inference_report(labels, noisy, prior)
    assert (
        noisy.posterior(prior).argmax(axis=1) == labels
    ).mean() > 0.95  # the raw accuracy, which the report does not have
    assert (report.advantage, report.bound) == (0.0, pytest.approx(0.0, abs=1e-12))
    assert {field.name for field in dataclasses.fields(report)} == {
        "advantage",
        "standard_error",
        "bound",
        "items",
    }


@settings(deadline=None, max_examples=100)
@given(st.lists(st.floats(0.01, 1), min_size=2, max_size=6), st.floats(0, 4))
def test_the_best_guess_is_that_of_the_theory(row: list[float], epsilon: float) -> None:
    weights = sorted(np.array(row) / sum(row), reverse=True)
    ratio = math.exp(epsilon)
    expected = max(sum(weights[:k]) * ratio / (ratio + k - 1) for k in range(1, len(row) + 1))
    found = float(best_guess(np.array([row]) / sum(row), epsilon)[0])
    assert found == pytest.approx(expected)
    best = labeldp.SelectiveRandomizedResponse(epsilon, len(row))
    joint = best.channel(row) * (np.array(row) / sum(row))[:, None]
    assert joint.max(axis=0).sum() <= found + 1e-9  # and no mechanism of ours guesses better
    assert oracles.exponential_bracket(epsilon)[0] <= ratio * (1 + 1e-9)


def test_reports_say_that_they_are_diagnostics() -> None:
    labels, noisy, canaries = planted(labeldp.RandomizedResponse(1.0, K), 500, 100)
    report = label_inference_report(labels, noisy, np.ones(K))
    assert "not for release" in str(report)
    assert "proves nothing private" in str(report)
    assert "never proves privacy" in str(audit_release(labels, noisy, canaries))
    for function in (audit_release, label_inference_report):
        assert "Reads true labels" in function.__doc__


def test_labels_of_another_number_are_refused() -> None:
    labels, noisy, canaries = planted(labeldp.RandomizedResponse(1.0, K), 500, 100)
    with pytest.raises(ValueError, match="one true label for each of 500 items"):
        audit_release(labels[:-1], noisy, canaries)
    with pytest.raises(ValueError, match="one true label for each of 500 items"):
        label_inference_report(labels[:-1], noisy, np.ones(K))
    with pytest.raises(ValueError, match="at least one item"):
        label_inference_report([], released(noisy.mechanism, []), np.ones(K))
