"""Brackets of the privacy loss: against brute force, known values, laws, and the defects of other accountants."""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import Bounds, PrivacyLoss, PureDP, RandomizedResponse, SubsetSelection
from accounting.numerics import lattice
from accounting.numerics.three_point import Group, dominating
from tests.accounting import brute_force
from tests.accounting.checks import (
    assert_brackets,
    assert_dominates,
    assert_narrow,
    assert_repeating_costs_more,
)

quick = settings(deadline=None, max_examples=40, derandomize=True)
epsilons = st.one_of(st.sampled_from([1e-9, 0.1, 0.5, 1.0, 8.0, 40.0]), st.floats(1e-6, 60.0))
deltas = st.one_of(
    st.sampled_from([1e-300, 1e-100, 1e-15, 1e-5, 0.5, 1.0]),
    st.floats(-250, 0).map(lambda power: 10.0**power),
)
alphabets = st.integers(2, 50)


@dataclass
class LosesCounts:
    """A wrong accountant: composition ignores how often."""

    loss: PrivacyLoss

    def self_compose(self, count):
        return self

    def epsilon(self, delta):
        return self.loss.epsilon(delta)

    def delta(self, epsilon):
        return self.loss.delta(epsilon)


@dataclass
class NoRoom:
    """A wrong accountant: reports the middle of the bracket as both ends."""

    loss: PrivacyLoss

    def epsilon(self, delta):
        bounds = self.loss.epsilon(delta)
        return Bounds(bounds.lower, bounds.lower)

    def delta(self, epsilon):
        bounds = self.loss.delta(epsilon)
        return Bounds(bounds.lower, bounds.lower)


# Against brute force.


@quick
@given(epsilons, alphabets, st.integers(1, 12), st.floats(-1.2, 1.2), deltas)
def test_never_below_the_exact_answer(epsilon, num_classes, count, share, delta):
    middle = brute_force.exact_middle("response", epsilon, num_classes)
    law = brute_force.law_of([(epsilon, middle, count)])
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    at = share * epsilon * count
    assert_brackets(loss, law, epsilons=[at, -at, 0.0, epsilon, math.nextafter(epsilon, 0)], deltas=[delta])
    assert_narrow(loss.delta(0.0), width=1e-12)


@quick
@given(epsilons, st.integers(2, 20), st.integers(1, 19), st.integers(1, 8), deltas)
def test_subset_selection_never_below_the_exact_answer(epsilon, num_classes, size, count, delta):
    size = min(size, num_classes - 1)
    middle = brute_force.exact_middle("subset", epsilon, num_classes, size)
    law = brute_force.law_of([(epsilon, middle, count)])
    loss = SubsetSelection(epsilon, num_classes, size).privacy_loss().self_compose(count)
    assert_brackets(loss, law, epsilons=[0.0, epsilon * count / 2, -epsilon / 3], deltas=[delta])


@quick
@given(epsilons, st.lists(st.tuples(alphabets, st.integers(1, 4)), min_size=2, max_size=3), deltas)
def test_alphabets_of_one_epsilon_are_composed_exactly(epsilon, parts, delta):
    loss, groups = PrivacyLoss(), []
    for num_classes, count in parts:
        loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count))
        groups.append((epsilon, brute_force.exact_middle("response", epsilon, num_classes), count))
    law = brute_force.law_of(groups)
    at = epsilon * sum(count for _, count in parts) / 2
    assert_brackets(loss, law, epsilons=[0.0, at, -at], deltas=[delta])
    assert_narrow(loss.delta(0.0), width=1e-9)


@quick
@given(
    st.lists(st.tuples(epsilons, alphabets, st.integers(1, 3)), min_size=2, max_size=3),
    deltas,
    st.floats(-1, 1),
)
def test_different_epsilons_still_have_a_bracket_that_holds(parts, delta, share):
    loss, groups = PrivacyLoss(), []
    for epsilon, num_classes, count in parts:
        loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count))
        groups.append((epsilon, brute_force.exact_middle("response", epsilon, num_classes), count))
    at = share * sum(epsilon * count for epsilon, _, count in parts)
    assert_brackets(loss, brute_force.law_of(groups), epsilons=[0.0, at], deltas=[delta])


def test_a_wrong_accountant_is_caught_by_brute_force():
    loss = RandomizedResponse(0.7, 5).privacy_loss()
    law = brute_force.law_of([(0.7, brute_force.exact_middle("response", 0.7, 5), 6)])
    assert_brackets(loss.self_compose(6), law, epsilons=[0.3], deltas=[1e-3])
    with pytest.raises(AssertionError):
        assert_brackets(LosesCounts(loss).self_compose(6), law, epsilons=[0.3])
    with pytest.raises(AssertionError):
        assert_brackets(LosesCounts(loss).self_compose(6), law, deltas=[1e-3])
    with pytest.raises(AssertionError):
        assert_brackets(NoRoom(loss.self_compose(6)), law, epsilons=[0.3], deltas=[1e-3])


@quick
@given(epsilons, alphabets, st.integers(1, 8), st.floats(1.001, 60.0))
def test_renyi_brackets_the_definition(epsilon, num_classes, count, alpha):
    middle = brute_force.exact_middle("response", epsilon, num_classes)
    law = brute_force.law_of([(epsilon, middle, count)])
    order = mpmath.mpf(alpha)
    moment = sum((p * mpmath.exp((order - 1) * loss) for loss, p in law.items()), mpmath.mpf(0))
    truth = mpmath.log(moment) / (order - 1)
    bounds = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count).renyi(alpha)
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert_narrow(bounds, width=1e-11)


# Known values.

REFERENCE = [
    (100, 10, 1.0, 37.20554, 5e-6),
    (1000, 10, 1.0, 219.2071, 5e-5),
    (10**4, 100, 0.1, 6.796688, 1e-6),
    (10**4, 2, 1.0, 4995.7, 5e-2),
    (10**5, 10, 0.1, 164.7489, 5e-5),
    (10**6, 100, 0.1, 166.0463, 5e-5),
]


@pytest.mark.parametrize(("count", "num_classes", "epsilon", "known", "digits"), REFERENCE)
def test_reference_values_at_delta_1e_5(count, num_classes, epsilon, known, digits):
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    bounds = loss.epsilon(1e-5)
    assert bounds.upper == pytest.approx(known, abs=digits)
    assert_narrow(bounds, width=1e-9)
    back = loss.delta(bounds.upper)
    assert back.lower <= 1e-5 <= back.upper * (1 + 1e-8)
    assert_narrow(back, width=1e-7)
    tiny = loss.epsilon(1e-300)
    assert_narrow(tiny, width=1e-9)
    assert bounds.upper < tiny.lower <= count * epsilon


@pytest.mark.parametrize(("size", "known"), [(2, 186), (3, 144), (5, 102), (10, 63), (100, 14)])
def test_selective_answers_lose_less_with_more_candidates(size, known):
    loss = RandomizedResponse(0.5, size).privacy_loss().self_compose(1000)
    assert round(loss.epsilon(1e-5).upper) == known


def test_large_count_agrees_with_60_digits():
    """The recurrence in 60 digits, n = 2000: the proved bound is kept, and is not far from what happens."""
    count, num_classes, epsilon = 2000, 7, 0.3
    down = mpmath.exp(-mpmath.mpf(epsilon))
    middle = (num_classes - 2) * down
    coefficients = [mpmath.mpf(0), mpmath.mpf(1)]
    for m in range(count):
        near, far = middle * (count - m), down * (2 * count - m + 1)
        coefficients.append((near * coefficients[-1] + far * coefficients[-2]) / (m + 1))
    half = coefficients[1:][::-1]
    total = sum((c * (1 + (down**j if j else 0)) for j, c in enumerate(half)), mpmath.mpf(0))
    law = {j * mpmath.mpf(epsilon): c / total for j, c in enumerate(half)}
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    assert_brackets(loss, law, epsilons=[0.0, 33.3, 100.0, 300.0, 599.9])
    for at in (0.0, 33.3, 100.0, 300.0):
        truth = brute_force.exact_delta(law, mpmath.mpf(at))
        bounds = loss.delta(at)
        assert abs((mpmath.mpf(bounds.upper) + mpmath.mpf(bounds.lower)) / 2 / truth - 1) < 1e-12


def test_windows_of_a_convolution_drop_nothing_that_matters():
    """Two alphabets, 350 uses, against a product of polynomials in 60 digits."""
    epsilon, loss, law = 0.4, PrivacyLoss(), [mpmath.mpf(1)]
    for num_classes, count in ((3, 150), (20, 200)):
        loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count))
        down = mpmath.exp(-mpmath.mpf(epsilon))
        weights = [down, (num_classes - 2) * down, mpmath.mpf(1)]
        total = sum(weights)
        for _ in range(count):
            padded = [0, 0, *law, 0, 0]
            law = [
                sum(weights[k] * padded[at + 2 - k] for k in range(3)) / total for at in range(len(law) + 2)
            ]
    exact = {(at - 350) * mpmath.mpf(epsilon): p for at, p in enumerate(law)}
    assert_brackets(loss, exact, epsilons=[0.0, 30.0, 90.0, 139.9], deltas=[1e-5, 1e-40, 1e-90])
    for delta in (1e-5, 1e-40):
        assert_narrow(loss.epsilon(delta), width=1e-10)


# Laws.


@quick
@given(epsilons, alphabets, alphabets, deltas)
def test_composition_does_not_depend_on_the_order(epsilon, first, second, delta):
    left, right = (RandomizedResponse(epsilon, k).privacy_loss() for k in (first, second))
    assert left.compose(right) == right.compose(left)
    assert left.compose(right).epsilon(delta) == right.compose(left).epsilon(delta)


@quick
@given(epsilons, alphabets, st.integers(1, 30))
def test_repeating_is_composing_again_and_again(epsilon, num_classes, count):
    loss, again = RandomizedResponse(epsilon, num_classes).privacy_loss(), PrivacyLoss()
    for _ in range(count):
        again = again.compose(loss)
    assert loss.self_compose(count) == again


@pytest.mark.parametrize("num_classes", [2, 3, 10, 100])
def test_repeating_costs_more(num_classes):
    loss = RandomizedResponse(1.0, num_classes).privacy_loss()
    assert_repeating_costs_more(loss, 1000, delta=1e-5)
    with pytest.raises(AssertionError):
        assert_repeating_costs_more(LosesCounts(loss), 1000, delta=1e-5)


@quick
@given(epsilons, alphabets, st.integers(1, 300), deltas, deltas)
def test_a_larger_delta_asks_for_less(epsilon, num_classes, count, first, second):
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    small, large = sorted([first, second])
    assert loss.epsilon(small).upper >= loss.epsilon(large).upper
    assert loss.epsilon(small).lower >= loss.epsilon(large).lower


@quick
@given(epsilons, alphabets, st.integers(1, 100))
def test_two_classes_lose_most(epsilon, num_classes, count):
    worst = PureDP(epsilon).privacy_loss().self_compose(count)
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    at = [0.0, epsilon * count / 3, epsilon * count / 2]
    assert_dominates(worst, loss, epsilons=at)
    assert PureDP(epsilon).privacy_loss() == RandomizedResponse(epsilon, 2).privacy_loss()


def test_ten_classes_do_not_dominate_two():
    loss, worst = RandomizedResponse(1.0, 10).privacy_loss(), PureDP(1.0).privacy_loss()
    with pytest.raises(AssertionError):
        assert_dominates(loss, worst, epsilons=[0.0])


@quick
@given(epsilons, epsilons, alphabets, alphabets)
def test_a_dominating_loss_dominates_both(first, second, few, many):
    left = RandomizedResponse(first, few).privacy_loss().groups[0]
    right = RandomizedResponse(second, many).privacy_loss().groups[0]
    worst = dominating(left, right)
    assert worst == dominating(right, left)
    curve = brute_force.law_of(brute_force.of((worst,)))
    for group in (left, right):
        law = brute_force.law_of(brute_force.of((group,)))
        for share in (0, 0.25, 0.5, 0.75, 0.999):
            at = share * mpmath.mpf(group.epsilon)
            assert brute_force.exact_delta(curve, at) >= brute_force.exact_delta(law, at)


def test_a_smaller_weight_does_not_dominate():
    """Twin of the above: keeping the weight of the larger epsilon is not enough."""
    kept, other = RandomizedResponse(1.0, 100).privacy_loss(), PureDP(0.9).privacy_loss()
    with pytest.raises(AssertionError):
        assert_dominates(kept, other, epsilons=[0.0])


def test_no_event_loses_nothing():
    for loss in (PrivacyLoss(), RandomizedResponse(3.0, 1).privacy_loss(), PureDP(0.0).privacy_loss()):
        assert loss == PrivacyLoss()
        assert (
            loss.epsilon(0.0) == loss.epsilon(1e-9) == loss.delta(0.0) == loss.renyi(2.0) == Bounds(0.0, 0.0)
        )


def test_pure_epsilon_is_the_sum_rounded_up():
    loss = PureDP(0.1).privacy_loss().self_compose(3).compose(PureDP(1.0).privacy_loss())
    bounds = loss.epsilon(0)
    exact = 3 * mpmath.mpf(0.1) + 1
    assert mpmath.mpf(bounds.lower) < exact < mpmath.mpf(bounds.upper)
    assert math.nextafter(bounds.lower, 9) == bounds.upper
    assert PureDP(1.0).privacy_loss().epsilon(0.0) == Bounds(1.0, 1.0)


def test_beyond_total_variation_nothing_is_lost():
    loss = RandomizedResponse(1.0, 3).privacy_loss().self_compose(5)
    distance = loss.delta(0.0)
    assert loss.epsilon(math.nextafter(distance.upper, 1) * (1 + 1e-9)) == Bounds(0.0, 0.0)
    assert loss.epsilon(1.0) == Bounds(0.0, 0.0)


def test_beyond_the_sum_delta_is_zero():
    loss = PureDP(0.3).privacy_loss().self_compose(7)
    top = loss.epsilon(0.0).upper
    assert loss.delta(top) == loss.delta(math.inf) == Bounds(0.0, 0.0)
    assert loss.delta(math.nextafter(loss.epsilon(0.0).lower, 0)).upper > 0
    assert loss.delta(-math.inf) == Bounds(1.0, 1.0)


def test_arrays_are_answered_entry_by_entry():
    loss = RandomizedResponse(0.5, 4).privacy_loss().self_compose(20)
    asked = np.array([[1e-9, 1e-5, 0.1]])
    bounds = loss.epsilon(asked)
    assert np.shape(bounds.lower) == np.shape(bounds.upper) == (1, 3)
    assert bounds.upper[0, 1] == loss.epsilon(1e-5).upper
    assert loss.delta([1, 2]).lower[1] == loss.delta(2).lower
    assert bounds == loss.epsilon(asked)
    assert np.shape(loss.epsilon(np.zeros((0,))).upper) == (0,)
    assert bounds != "bounds"


# What peers get wrong.


def test_ten_thousand_uses_at_delta_2e_15_are_not_under_reported():
    """A peer's FFT round-off reports 43.62."""
    bounds = RandomizedResponse(0.1, 10).privacy_loss().self_compose(10**4).epsilon(2e-15)
    assert bounds.lower == pytest.approx(45.70, abs=5e-3)
    assert_narrow(bounds, width=1e-9)


def test_a_pure_mechanism_repeated_reaches_its_sum():
    """A peer's certified interval for epsilon 3, 100 times, ends at 28.18."""
    bounds = PureDP(3.0).privacy_loss().self_compose(100).epsilon(1e-5)
    assert 280 < bounds.lower <= bounds.upper <= 300


def test_generic_composition_is_dominated_by_the_exact_one():
    exact = RandomizedResponse(1.0, 10).privacy_loss().self_compose(1000).epsilon(1e-5).upper
    generic = PureDP(1.0).privacy_loss().self_compose(1000).epsilon(1e-5).lower
    assert generic / exact == pytest.approx(2.64, abs=0.01)


def test_delta_below_the_range_of_floats_is_never_claimed_to_be_zero():
    loss = RandomizedResponse(0.1, 100).privacy_loss().self_compose(10**4)
    assert 0 <= loss.delta(999.0).lower < loss.delta(999.0).upper


# Where the exact route ends.


def test_epsilon_beyond_the_range_of_exponentials_keeps_a_sound_bracket():
    loss = PureDP(1000.0).privacy_loss().self_compose(2)
    assert loss.epsilon(1e-5).lower == 0.0
    assert 1999.99 < loss.epsilon(1e-5).upper <= 2000.0
    assert loss.delta(1500.0).upper <= 1.0
    assert PureDP(1e300).privacy_loss().self_compose(10**6).epsilon(1e-5).upper >= 1e306
    assert PureDP(1e13).privacy_loss().delta(5.0) == Bounds(0.0, 1.0)
    small = PureDP(1e-320).privacy_loss().compose(PureDP(1e-319).privacy_loss())
    assert small.epsilon(1e-5).upper <= 1e-318


def test_too_many_uses_keep_a_sound_bracket(monkeypatch):
    loss = RandomizedResponse(0.5, 5).privacy_loss().self_compose(400)
    exact = loss.epsilon(1e-5), loss.delta(20.0)
    monkeypatch.setattr(lattice, "LARGEST_COUNT", 300)
    for known, loose in zip(exact, (loss.epsilon(1e-5), loss.delta(20.0)), strict=True):
        assert 0 < loose.lower < known.lower <= known.upper < loose.upper


def test_too_much_work_keeps_a_sound_bracket(monkeypatch):
    loss = PureDP(0.5).privacy_loss().self_compose(90)
    loss = loss.compose(RandomizedResponse(0.5, 3).privacy_loss().self_compose(110))
    exact = loss.epsilon(1e-5), loss.delta(20.0)
    monkeypatch.setattr(lattice, "LARGEST_WORK", 10.0)
    lattice._table.cache_clear()
    loose = loss.epsilon(1e-5), loss.delta(20.0)
    lattice._table.cache_clear()
    for known, wide in zip(exact, loose, strict=True):
        assert 0 < wide.lower < known.lower <= known.upper < wide.upper


def test_dominating_takes_the_worst_where_products_underflow():
    assert dominating(Group(1.0, 5.0, 1), Group(5e-324, 0.0, 1)) == Group(1.0, 0.0, 1)


# Bad arguments.


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda loss: loss.epsilon(-1e-9), ValueError),
        (lambda loss: loss.epsilon(1.5), ValueError),
        (lambda loss: loss.epsilon(math.nan), ValueError),
        (lambda loss: loss.epsilon([0.1, 2.0]), ValueError),
        (lambda loss: loss.epsilon("1e-5"), TypeError),
        (lambda loss: loss.epsilon(True), TypeError),
        (lambda loss: loss.epsilon([True, False]), TypeError),
        (lambda loss: loss.epsilon(None), TypeError),
        (lambda loss: loss.delta(math.nan), ValueError),
        (lambda loss: loss.delta(1j), TypeError),
        (lambda loss: loss.renyi(1.0), ValueError),
        (lambda loss: loss.self_compose(0), ValueError),
        (lambda loss: loss.self_compose(2.0), TypeError),
        (lambda loss: loss.self_compose(True), TypeError),
        (lambda loss: loss.self_compose(10**400).renyi(2.0), ValueError),
        (lambda loss: loss.tradeoff(-0.1), ValueError),
        (lambda loss: loss.tradeoff(1j), TypeError),
    ],
)
def test_bad_arguments_say_what_was_expected(ask, error):
    with pytest.raises(error, match="Expected"):
        ask(PureDP(1.0).privacy_loss())


def test_renyi_of_infinite_and_huge_orders_ends_at_the_sum():
    loss = RandomizedResponse(1.0, 10).privacy_loss().self_compose(3)
    assert loss.renyi(math.inf) == Bounds(3.0, 3.0)
    assert 2.99 < loss.renyi(1e16).lower <= loss.renyi(1e16).upper == 3.0


def test_no_warning_where_floats_end_inside():
    loss = RandomizedResponse(1.0, 2**53).privacy_loss().self_compose(5000)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        bounds = loss.delta(1e-5)
    assert 0 < bounds.lower <= bounds.upper < 1e-9
