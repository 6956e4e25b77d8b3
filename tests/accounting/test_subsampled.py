"""Steps of DP-SGD: both directions against closed forms, integration and known values, at any delta."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import Bounds, Gaussian, PoissonSubsampledGaussian, PrivacyLoss, RandomizedResponse
from accounting.numerics import answers, ladder
from accounting.numerics.answers import Direction
from accounting.numerics.echoes import Echoes
from accounting.numerics.kernel import Kernel
from accounting.numerics.mixture import Mixture, moments, nodes
from accounting.numerics.saddle import Saddle
from accounting.numerics.subsampled import Subsampled
from tests.accounting import brute_force
from tests.accounting.checks import assert_dominates, assert_narrow, assert_repeating_costs_more

quick = settings(deadline=None, max_examples=40, derandomize=True)
slower = settings(deadline=None, max_examples=12, derandomize=True)
noises = st.one_of(st.sampled_from([0.5, 1.0, 4.0, 20.0]), st.floats(0.3, 30))
shares = st.one_of(st.sampled_from([1e-4, 0.01, 0.5, 0.99]), st.floats(-5, -0.01).map(lambda x: 10.0**x))


def steps(noise, share, count=1):
    return PoissonSubsampledGaussian(noise, share).privacy_loss().self_compose(count)


def one_way(loss, *, removal):
    return Direction(loss.groups, loss.noises, removal)


def assert_holds(pair, truth, *, room=0):
    lower, upper = pair
    assert 0 <= lower <= upper <= 1
    assert mpmath.mpf(lower) <= truth * (1 + room), (pair, truth)
    assert truth * (1 - room) <= mpmath.mpf(upper), (pair, truth)


# One and two steps.


@quick
@given(noises, shares, st.floats(0, 20), st.booleans())
def test_one_step_has_a_closed_form_in_each_direction(noise, share, place, removal):
    direction = one_way(steps(noise, share), removal=removal)
    epsilon = place * direction.moments[1]
    with mpmath.workdps(500):
        truth = brute_force.subsampled_delta(noise, share, epsilon, removal=removal)
        pair = direction.delta(epsilon)
        assert_holds(pair, truth)
    assert math.nextafter(math.nextafter(pair[0], 2), 2) >= pair[1]


@quick
@given(noises, shares, st.floats(-300, -0.01).map(lambda x: 10.0**x))
def test_the_epsilon_of_one_step_keeps_delta_and_is_the_least(noise, share, delta):
    bounds = steps(noise, share).epsilon(delta)
    with mpmath.workdps(500):
        both = [
            brute_force.subsampled_delta(noise, share, bounds.upper, removal=way) for way in (True, False)
        ]
        assert max(both) <= mpmath.mpf(delta)
        below = [
            brute_force.subsampled_delta(noise, share, bounds.lower, removal=way) for way in (True, False)
        ]
        assert bounds.lower == 0 or max(below) >= mpmath.mpf(delta)
    assert_narrow(bounds, width=1e-14)


@pytest.mark.parametrize("removal", [True, False])
@pytest.mark.parametrize(("noise", "share"), [(1.0, 0.01), (0.5, 0.3), (5.0, 0.9), (2.0, 1e-3)])
def test_two_steps_by_integration(noise, share, removal):
    direction = one_way(steps(noise, share, 2), removal=removal)
    for place in (0.0, 1.0, 4.0):
        epsilon = place * direction.moments[1]
        truth = brute_force.subsampled_twice_delta(noise, share, epsilon, removal=removal)
        assert_holds(direction.delta(epsilon), truth, room=mpmath.mpf(10) ** -12)


def test_the_other_direction_is_caught():
    """Adding is not removing: an accountant of one direction fails the other's closed form."""
    direction = one_way(steps(1.0, 0.3, 2), removal=False)
    truth = brute_force.subsampled_twice_delta(1.0, 0.3, 0.3, removal=True)
    with pytest.raises(AssertionError):
        assert_holds(direction.delta(0.3), truth, room=mpmath.mpf(10) ** -12)


def test_the_worse_direction_of_the_whole_composition_counts():
    loss = steps(0.8, 0.2, 50)
    ways = [one_way(loss, removal=way).epsilon(1e-6) for way in (True, False)]
    assert loss.epsilon(1e-6) == Bounds(max(low for low, _ in ways), max(high for _, high in ways))
    assert ways[0][0] > ways[1][1]
    curves = [one_way(loss, removal=way).delta(1.0) for way in (True, False)]
    assert loss.delta(1.0).upper == max(high for _, high in curves)
    assert loss.delta(-1.0).upper >= -math.expm1(-1.0)


# Many steps.

KNOWN = [
    (0.7, 1e-3, 1000, 0.60895),
    (0.7, 1e-3, 10**4, 1.24497),
    (0.7, 1e-3, 10**5, 3.64843),
    (0.7, 0.01, 1000, 4.61829),
    (0.7, 0.01, 10**4, 14.33476),
    (0.7, 0.01, 10**5, 64.23263),
    (1.0, 1e-3, 1000, 0.14890),
    (1.0, 1e-3, 10**4, 0.47576),
    (1.0, 1e-3, 10**5, 1.63718),
    (1.0, 0.01, 1000, 1.82824),
    (1.0, 0.01, 10**4, 6.18771),
    (1.0, 0.01, 10**5, 25.57311),
    (2.0, 1e-3, 1000, 0.04999),
    (2.0, 1e-3, 10**4, 0.17331),
    (2.0, 1e-3, 10**5, 0.60377),
    (2.0, 0.01, 1000, 0.62203),
    (2.0, 0.01, 10**4, 2.16270),
    (2.0, 0.01, 10**5, 8.13232),
]
"""Epsilon at 1e-5; dp_accounting 0.6 (connect the dots) agrees to its grid, and Opacus to its error."""


@pytest.mark.parametrize(("noise", "share", "count", "known"), KNOWN)
def test_known_values_and_what_peers_fail_at(noise, share, count, known):
    loss = steps(noise, share, count)
    bounds = loss.epsilon(1e-5)
    assert bounds.upper == pytest.approx(known, abs=6e-6)
    assert_narrow(bounds, width=1e-6)
    tiny = loss.epsilon(1e-12)
    assert bounds.upper < tiny.lower <= tiny.upper
    assert_narrow(tiny, width=5e-3)


def test_a_lower_bound_that_is_usable():
    """Another accountant's optimistic figure is 59.2."""
    assert steps(0.7, 0.01, 10**5).epsilon(1e-5).lower > 64.23


@pytest.mark.parametrize(("count", "share"), [(2, 1e-4), (10, 1e-3), (100, 1e-4), (300, 1e-3)])
def test_few_steps_with_rare_samples_are_bracketed_by_the_ladder(count, share):
    bounds = steps(1.0, share, count).epsilon(1e-6)
    assert_narrow(bounds, width=5e-3)
    assert steps(1.0, share).epsilon(1e-6).upper < bounds.lower


@pytest.mark.parametrize(("share", "count"), [(0.05, 40), (0.01, 1000)])
def test_the_ladder_and_the_contour_meet(share, count):
    """Two ways that have only the loss of one step in common."""
    loss = steps(1.0, share, count)
    for removal in (True, False):
        below, above = ladder.ladder((), loss.noises, removal)
        for delta in (1e-2, 1e-5, 1e-9):
            exact = one_way(loss, removal=removal).epsilon(delta)
            assert below.epsilon(delta)[0] <= exact[1]
            assert exact[0] <= above.epsilon(delta)[1]
            assert above.epsilon(delta)[1] - below.epsilon(delta)[0] < 5e-2 * exact[1]


def test_without_the_ladder_few_steps_are_wide(monkeypatch):
    monkeypatch.setattr(answers, "ladder", lambda *_: None)
    bounds = steps(0.6, 1e-4, 10).epsilon(1e-6)
    assert 0 <= bounds.lower < bounds.upper < math.inf
    with pytest.raises(AssertionError):
        assert_narrow(bounds, width=5e-3)


def test_steps_and_answers_together():
    loss = steps(1.0, 0.01, 1000).compose(RandomizedResponse(0.5, 10).privacy_loss().self_compose(10))
    bounds = loss.epsilon(1e-5)
    assert bounds.upper == pytest.approx(3.95397, abs=1e-5)
    assert_narrow(bounds, width=1e-9)
    assert steps(1.0, 0.01, 1000).epsilon(1e-5).upper < bounds.lower


@pytest.mark.parametrize("removal", [True, False])
def test_sampling_always_is_the_gaussian_mechanism(removal):
    """The contour at q = 1 - 2^-53, where it may not know the closed form."""
    almost = steps(2.0, 1 - 2.0**-53, 30)
    pair = one_way(almost, removal=removal).epsilon(1e-8)
    exact = Gaussian(2.0).privacy_loss().self_compose(30).epsilon(1e-8)
    assert pair[0] <= exact.upper
    assert pair[1] >= exact.lower * (1 - 1e-12)
    assert pair[1] - pair[0] < 1e-9
    assert PoissonSubsampledGaussian(2.0, 1).privacy_loss() == Gaussian(2.0).privacy_loss()
    assert PoissonSubsampledGaussian(2.0, 0).privacy_loss() == PrivacyLoss()


# Laws.


@quick
@given(noises, shares, st.integers(2, 300), st.floats(1.1, 20))
def test_renyi_contains_the_definition_in_both_directions(noise, share, count, alpha):
    bounds = steps(noise, share, count).renyi(alpha)
    m, q, a = 1 / mpmath.mpf(noise), mpmath.mpf(share), mpmath.mpf(alpha)

    def moment(power):
        def density(y):
            return mpmath.npdf(y) * (1 - q + q * mpmath.exp(m * y - m * m / 2)) ** power

        edge = 12 + abs(power) * m
        with mpmath.workdps(25):
            return mpmath.quad(density, mpmath.linspace(-edge, edge, 12))

    truth = max(count * mpmath.log(moment(power)) / (a - 1) for power in (a, 1 - a))
    assert mpmath.mpf(bounds.lower) <= truth * (1 + mpmath.mpf(10) ** -12)
    assert truth * (1 - mpmath.mpf(10) ** -12) <= mpmath.mpf(bounds.upper) + count * mpmath.mpf(10) ** -15


@slower
@given(noises, shares, st.integers(2, 40))
def test_sampling_loses_less_than_seeing_all(noise, share, count):
    whole = Gaussian(noise).privacy_loss().self_compose(count)
    assert_dominates(whole, steps(noise, share, count), epsilons=[0.0, 0.1, 1.0])


def test_seeing_all_does_not_lose_less():
    with pytest.raises(AssertionError):
        assert_dominates(steps(1.0, 0.1, 5), Gaussian(1.0).privacy_loss().self_compose(5), epsilons=[0.1])


def test_more_steps_cost_more():
    assert_repeating_costs_more(steps(1.0, 0.01), 100, delta=1e-5)


def test_the_trade_off_is_a_bracket_of_the_easier_direction():
    loss = steps(1.0, 0.05, 30)
    bounds = loss.tradeoff([1e-4, 0.05, 0.5])
    assert np.all(bounds.lower <= bounds.upper)
    assert np.all(bounds.upper - bounds.lower < 1e-6)
    for rate, miss in zip((1e-4, 0.05, 0.5), bounds.upper, strict=True):
        for epsilon in (-0.5, 0.2, 1.0):
            assert miss >= 1 - loss.delta(epsilon).upper - math.exp(epsilon) * rate - 1e-12


# The quadrature.


@slower
@given(st.floats(0.05, 3), shares, st.floats(-20, 20), st.floats(0, 60))
def test_the_quadrature_contains_the_integral(distance, share, power, time):
    mixture = Mixture(distance, share)
    found = nodes(mixture, power, time)
    size, angle, error = (float(part[-1]) for part in found.turned(np.array([0.0, time]), exactly=True))
    far = [float(part[-1]) for part in found.turned(np.array([0.0, time]), exactly=False)]
    m, q, s = mpmath.mpf(distance), mpmath.mpf(share), mpmath.mpc(power, time)

    def part(y, s):
        return mpmath.npdf(y) * mpmath.exp(s * mpmath.log(1 - q + q * mpmath.exp(m * y - m * m / 2)))

    with mpmath.workdps(30):
        places = mpmath.linspace(-12 - 3 * m, max(0, power) * m + 16, 25)
        whole = mpmath.quad(lambda y: part(y, mpmath.mpf(power)), places)
        ratio = mpmath.quad(lambda y: part(y, s), places) / whole
    log_total, rounding, _, _ = moments(mixture, power)
    assert abs(mpmath.mpf(log_total) - mpmath.log(whole)) <= rounding + 1e-20
    for got, turned, off in ((size, angle, error), tuple(far)):
        if off < 1:
            assert abs(mpmath.expj(turned) * mpmath.exp(got) / ratio - 1) <= math.expm1(off) + 1e-14
        assert mpmath.log(abs(ratio)) <= got + 1e-15


@slower
@given(
    st.floats(0.1, 2),
    st.floats(1e-3, 0.9),
    st.floats(0.1, 30),
    st.booleans(),
    st.floats(-1, 1).map(lambda x: 10.0**x),
)
def test_fading_is_never_faster_than_what_happens(distance, share, tilt, removal, place):
    factor = Subsampled(Mixture(distance, share), 1, removal)
    time = place / math.sqrt(float(factor.slopes(np.array([tilt]))[1][0]))
    promised = factor.fading(tilt, time)
    assert promised <= 0
    for later in (time, 1.3 * time, 4 * time):
        size, _, _ = factor.turned(tilt, np.array([0.0, later]))
        assert size[-1] <= promised + 1e-9 or size[-1] <= math.log(1e-9)


def test_fading_by_itself_is_no_bound_on_earlier_times():
    factor = Subsampled(Mixture(1.0, 0.1), 1, True)
    late = factor.fading(2.0, 100.0)
    size, _, _ = factor.turned(2.0, np.array([0.0, 0.01]))
    assert late < size[-1]


def test_echoes_ahead_are_bounded_at_the_largest_tilt_where_none_is_left():
    factor = Subsampled(Mixture(1.0, 0.1), 3, True)
    last = Saddle(factor.highest * (1 - 1e-9), 1.0, -20.0, 1e-9, 1.0)
    assert Echoes.around([factor], last, Kernel.none()).others[-1] == factor.highest


def test_noise_too_small_for_the_quadrature_says_what_to_use():
    with pytest.raises(ValueError, match="use Gaussian"):
        steps(1e-4, 0.1, 10).epsilon(1e-5)
    assert 4.9e7 < steps(1e-4, 0.1).epsilon(1e-5).upper < 1e8
    assert steps(1e-7, 0.1).epsilon(1e-5).upper == math.inf
    assert steps(1.0, 0.1).delta(1e13) == Bounds(0.0, 5e-324)
    with pytest.raises(ValueError, match="use a smaller order"):
        steps(1.0, 0.1, 10).renyi(1e9)


@pytest.mark.parametrize("noise", [1e-300, 1e-155, 1e160, 1e300])
def test_noise_at_the_ends_of_floats_is_answered(noise):
    """Squares of these and of their inverses leave the range of floats."""
    loss = PoissonSubsampledGaussian(noise, 0.5).privacy_loss().self_compose(3)
    assert loss.epsilon(0.5).lower <= loss.epsilon(1e-5).upper
    assert loss.epsilon(1e-5).upper == (math.inf if noise < 1 else 0.0)
    assert 0 <= loss.tradeoff(0.1).lower <= loss.tradeoff(0.1).upper <= math.nextafter(0.9, 1)
    if noise > 1:
        assert loss.renyi(2.0).upper < 1e-12
