"""Attack figures: against the worst mechanism, against linear programs, and never on the flattering side."""

from __future__ import annotations

import itertools
import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog

from accounting import Guarantee, rounded_up
from accounting.risk import advantage, label_inference_success, percent_up, true_positive_rate

quick = settings(deadline=None, max_examples=80, derandomize=True)
budgets = st.one_of(st.sampled_from([0.0, 1e-12, 1.0, 40.0, 700.0, 1000.0]), st.floats(0, 20))
shares = st.one_of(st.sampled_from([0.0, 1e-300, 1e-5, 1.0]), st.floats(0, 1))


def worst_pair(epsilon: float, delta: float):
    """The pair of laws that every (epsilon, delta) pair is a processing of, by falling likelihood ratio."""
    large, share = mpmath.exp(mpmath.mpf(epsilon)), mpmath.mpf(delta)
    first = [share, (1 - share) * large / (1 + large), (1 - share) / (1 + large), mpmath.mpf(0)]
    return first, first[::-1]


def best_test(epsilon: float, delta: float, rate: float):
    """The true positive rate of the most powerful randomized test, from the worst pair."""
    found, left = mpmath.mpf(0), mpmath.mpf(rate)
    for p, q in zip(*worst_pair(epsilon, delta), strict=True):
        share = min(mpmath.mpf(1), left / q) if q > 0 else mpmath.mpf(1)
        found, left = found + share * p, left - share * q
    return found


def assert_just_above(value: float, truth) -> None:
    assert mpmath.mpf(value) >= min(truth, 1)
    assert mpmath.mpf(value) <= truth * (1 + mpmath.mpf("1e-13")) + mpmath.mpf("1e-320")


@quick
@given(budgets, shares)
@mpmath.workdps(400)
def test_advantage_is_that_of_the_worst_pair(epsilon, delta):
    first, second = worst_pair(epsilon, delta)
    distance = sum(abs(p - q) for p, q in zip(first, second, strict=True)) / 2
    assert_just_above(advantage(epsilon, delta), distance)


@quick
@given(budgets, shares, shares)
@mpmath.workdps(400)
def test_true_positives_are_those_of_the_most_powerful_test(epsilon, delta, rate):
    value = true_positive_rate(epsilon, delta, false_positive_rate=rate)
    assert_just_above(value, best_test(epsilon, delta, rate))


def test_a_figure_that_leaves_out_delta_is_caught():
    with pytest.raises(AssertionError):
        assert_just_above(advantage(1.0), mpmath.mpf(advantage(1.0, 0.01)))
    with pytest.raises(AssertionError):
        assert_just_above(true_positive_rate(1.0, false_positive_rate=0.01), best_test(1.0, 0.01, 0.01))


def test_no_guarantee_means_no_bound():
    assert advantage(math.inf) == true_positive_rate(math.inf, false_positive_rate=0.0) == 1.0
    assert label_inference_success(math.inf, [0.5, 0.5]) == 1.0
    assert advantage(0.0) == 0.0
    assert true_positive_rate(0.0, false_positive_rate=0.25) == pytest.approx(0.25)
    assert true_positive_rate(5000.0, 1e-5, false_positive_rate=0.0) == pytest.approx(1e-5)


def best_guess(epsilon: float, delta: float, prior) -> float:
    """The best guess over all (epsilon, delta)-DP mechanisms on K labels, by a linear program over every set of outputs."""
    size = len(prior)
    large = math.exp(epsilon)
    rows, bounds = [], []
    for first, second in itertools.permutations(range(size), 2):
        for number in range(1, 2**size):
            row = np.zeros((size, size))
            members = [o for o in range(size) if number >> o & 1]
            row[first, members], row[second, members] = 1.0, -large
            rows.append(row.ravel())
            bounds.append(delta)
    totals = np.kron(np.eye(size), np.ones(size))
    solution = linprog(
        -np.diag(prior).ravel(),
        A_ub=np.array(rows),
        b_ub=bounds,
        A_eq=totals,
        b_eq=np.ones(size),
        bounds=(0, 1),
    )
    return -float(solution.fun)


priors = st.lists(st.floats(0.01, 1), min_size=2, max_size=4).map(lambda w: np.array(w) / np.sum(w))


@quick
@given(st.floats(0, 4), priors)
def test_no_mechanism_lets_anyone_guess_better_and_one_attains_it(epsilon, prior):
    assert label_inference_success(epsilon, prior) == pytest.approx(best_guess(epsilon, 0.0, prior), abs=1e-7)


@quick
@given(st.floats(0, 4), st.floats(0, 0.3), priors)
def test_with_a_delta_no_mechanism_lets_anyone_guess_better(epsilon, delta, prior):
    assert label_inference_success(epsilon, prior, delta=delta) >= best_guess(epsilon, delta, prior) - 1e-7


def test_the_figure_of_the_uniform_prior_is_wrong_for_another():
    """E / (E + K - 1) understates a guess that was good before the release."""
    prior, uniform = [0.9, 0.05, 0.05], math.e / (math.e + 2)
    assert label_inference_success(1.0, np.ones(3)) == pytest.approx(uniform)
    with pytest.raises(AssertionError):
        assert uniform >= best_guess(1.0, 0.0, prior)
    assert label_inference_success(1.0, prior) == pytest.approx(0.9)


@quick
@given(st.floats(0, 50), st.lists(st.integers(0, 1000), min_size=1, max_size=30).filter(any), shares)
@mpmath.workdps(60)
def test_guessing_is_rounded_up(epsilon, counts, delta):
    ordered, large = sorted(counts, reverse=True), mpmath.exp(mpmath.mpf(epsilon))
    total, truth = mpmath.mpf(sum(counts)), mpmath.mpf(0)
    for k in range(1, len(ordered) + 1):
        truth = max(truth, sum(ordered[:k]) / total * large / (large + k - 1))
    value = label_inference_success(epsilon, counts, delta=delta)
    assert min(truth + mpmath.mpf(delta), 1) <= mpmath.mpf(value) <= truth + delta + 1e-12


@quick
@given(st.floats(0, 1e300), st.integers(1, 9))
def test_printed_numbers_are_never_less(value, digits):
    assert_never_less(rounded_up(value, digits=digits), value)
    assert_never_less(percent_up(min(value, 1.0)).removesuffix(" %"), 100 * min(value, 1.0))


def assert_never_less(text: str, value: float) -> None:
    assert float(text) >= value


def test_printing_to_nearest_is_caught():
    with pytest.raises(AssertionError):
        assert_never_less(f"{0.12344:.4g}", 0.12344)
    assert rounded_up(math.inf) == "inf"


# The sentences of a guarantee.

LABEL = Guarantee("label", True, 1.0, 0.0, "why")


def assert_explains(sentence: str, *parts: str) -> None:
    for part in parts:
        assert part in sentence


def test_explanations_carry_the_attack_figures():
    parts = (
        "advantage (true less false positive rate) of at most 0.463",
        "0.272 % at a false",
        "2.72 % at 1 %",
    )
    assert_explains(LABEL.explain(), *parts, "two labels of a person")
    assert_explains(Guarantee("answer", True, 1.0, 0.0, "why").explain(), *parts, "two answers on an item")
    assert_explains(
        Guarantee("record", True, 1.0, 0.0, "why").explain(), *parts, "training records that differ in one"
    )
    with pytest.raises(AssertionError):
        assert_explains(Guarantee("label", True, 1.0, 1e-3, "why").explain(), *parts)


def test_guessing_names_its_prior():
    assert_explains(LABEL.explain(num_classes=10), "one of 10 classes (uniform prior)", "at most 23.2 %")
    assert_explains(LABEL.explain(prior=[0.75, 0.25]), "Who knows the prior guesses", "at most 75.1 %")
    assert "guess" not in LABEL.explain()


def test_what_does_not_hold_has_no_attack_figures():
    for one in (Guarantee("label", False, math.inf, 0.0, "why"), Guarantee("record", False, 3.0, 0.0, "why")):
        assert "advantage" not in one.explain()
        assert "no guarantee" in one.explain()


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: advantage(-1.0), ValueError),
        (lambda: advantage("1"), TypeError),
        (lambda: advantage(1.0, 1.5), ValueError),
        (lambda: true_positive_rate(1.0, false_positive_rate=2.0), ValueError),
        (lambda: label_inference_success(1.0, []), ValueError),
        (lambda: label_inference_success(1.0, [[0.5, 0.5]]), ValueError),
        (lambda: label_inference_success(1.0, [0.0, 0.0]), ValueError),
        (lambda: label_inference_success(1.0, [0.5, math.nan]), ValueError),
        (lambda: label_inference_success(1.0, [0.5, -0.1]), ValueError),
        (lambda: LABEL.explain(prior=[0.5, 0.5], num_classes=2), ValueError),
        (lambda: LABEL.explain(num_classes=0), ValueError),
        (lambda: Guarantee("record", True, 1.0, 0.0, "why").explain(num_classes=2), ValueError),
    ],
)
def test_bad_arguments_say_what_was_expected(ask, error):
    with pytest.raises(error, match="Expected"):
        ask()
