"""Gaussian noise: neighbouring floats around 60-digit arithmetic, at any delta, alone and composed."""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import Bounds, Gaussian, PoissonSubsampledGaussian, PrivacyLoss
from accounting.numerics import gaussian
from accounting.numerics.gaussian import GaussianUses, Normal
from tests.accounting import brute_force
from tests.accounting.checks import assert_narrow, assert_repeating_costs_more

quick = settings(deadline=None, max_examples=60, derandomize=True)
noises = st.one_of(st.sampled_from([0.1, 0.5, 1.0, 5.0, 100.0]), st.floats(-3, 6).map(lambda x: 10.0**x))
deltas = st.one_of(
    st.sampled_from([1e-300, 1e-100, 1e-15, 1e-5, 0.5]), st.floats(-300, -0.01).map(lambda x: 10.0**x)
)


def distance(uses):
    return mpmath.sqrt(sum(count / mpmath.mpf(noise) ** 2 for noise, count in uses))


def loss_of(uses):
    loss = PrivacyLoss()
    for noise, count in uses:
        loss = loss.compose(Gaussian(noise).privacy_loss().self_compose(count))
    return loss


def assert_exact_epsilon(loss, uses, delta):
    """The upper end keeps delta, the lower one does not, and they are neighbours or next to it."""
    bounds, mu = loss.epsilon(delta), distance(uses)
    assert brute_force.gaussian_delta(mu, bounds.upper) <= mpmath.mpf(delta)
    assert bounds.lower == 0 or brute_force.gaussian_delta(mu, bounds.lower) >= mpmath.mpf(delta)
    assert math.nextafter(math.nextafter(bounds.lower, math.inf), math.inf) >= bounds.upper


def assert_exact_delta(loss, uses, epsilon):
    bounds, truth = loss.delta(epsilon), brute_force.gaussian_delta(distance(uses), epsilon)
    assert 0 <= bounds.lower <= bounds.upper <= 1
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert math.nextafter(bounds.lower, 2) == bounds.upper or bounds.lower == bounds.upper or truth > 0.999


@quick
@given(st.lists(st.tuples(noises, st.integers(1, 10**6)), min_size=1, max_size=3), deltas, st.floats(-5, 8))
def test_both_answers_are_floats_around_the_exact_one(uses, delta, place):
    loss, mu = loss_of(uses), float(distance(uses))
    assert_exact_epsilon(loss, uses, delta)
    assert_exact_delta(loss, uses, mu * mu / 2 + place * mu)


def test_an_accountant_that_is_off_by_a_rounding_is_caught():
    uses = [(3.0, 7)]
    loss = loss_of(uses)

    class Nearest:
        def epsilon(self, delta):
            return Bounds(loss.epsilon(delta).lower, loss.epsilon(delta).lower)

        def delta(self, epsilon):
            return Bounds(loss.delta(epsilon).lower, loss.delta(epsilon).lower)

    assert_exact_epsilon(loss, uses, 1e-5)
    with pytest.raises(AssertionError):
        assert_exact_epsilon(Nearest(), uses, 1e-5)
    with pytest.raises(AssertionError):
        assert_exact_delta(Nearest(), uses, 1.0)


def test_any_composition_is_one_gaussian():
    """25 uses of noise 5 are one use of noise 1."""
    many, one = loss_of([(5.0, 25)]), loss_of([(1.0, 1)])
    for delta in (1e-5, 1e-100):
        assert many.epsilon(delta) == one.epsilon(delta)
    assert loss_of([(2.0, 3), (4.0, 4)]) == loss_of([(4.0, 4), (2.0, 1), (2.0, 2)])
    assert_repeating_costs_more(loss_of([(3.0, 1)]), 10, delta=1e-6)


def test_a_peers_round_off_at_delta_1e_12():
    """Another accountant reports 26.009."""
    bounds = Gaussian(100.0).privacy_loss().self_compose(10**5).epsilon(1e-12)
    assert bounds.lower == pytest.approx(26.720, abs=5e-4)
    assert_narrow(bounds, width=1e-15)


def test_no_epsilon_holds_without_a_delta():
    loss = Gaussian(1.0).privacy_loss()
    assert loss.epsilon(0.0) == Bounds(math.inf, math.inf)
    assert loss.epsilon(1.0) == Bounds(0.0, 0.0)
    assert loss.renyi(math.inf) == Bounds(math.inf, math.inf)
    assert loss.delta(math.inf) == Bounds(0.0, 0.0)


def test_large_epsilons_in_arrays_are_numbers():
    """Another accountant answers NaN from 710 on."""
    bounds = Gaussian(0.05).privacy_loss().delta([0.0, 100.0, 710.0, 1e5, 1e300])
    assert np.all(np.isfinite(bounds.upper))
    assert np.all(np.diff(bounds.upper) <= 0)
    assert bounds.upper[-1] == 5e-324


@quick
@given(noises, st.integers(1, 1000), st.floats(1.001, 1e6))
def test_renyi_is_alpha_mu_squared_over_two(noise, count, alpha):
    bounds = Gaussian(noise).privacy_loss().self_compose(count).renyi(alpha)
    truth = mpmath.mpf(alpha) * count / mpmath.mpf(noise) ** 2 / 2
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert_narrow(bounds, width=1e-13)


@pytest.mark.parametrize("noise", [0.3, 2.0, 40.0])
@pytest.mark.parametrize("rate", [1e-12, 1e-3, 0.2, 0.9])
def test_the_trade_off_is_that_of_a_gaussian(noise, rate):
    bounds = Gaussian(noise).privacy_loss().tradeoff(rate)
    quantile = mpmath.sqrt(2) * mpmath.erfinv(1 - 2 * mpmath.mpf(rate))
    truth = 1 - brute_force.tail(quantile - 1 / mpmath.mpf(noise))
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert bounds.upper - bounds.lower < 1e-6


def test_the_moment_function_is_that_of_a_normal_loss():
    """The factor that mixtures see: log M, and phi with its modulus, angle and error."""
    factor = GaussianUses(0.7, 3).factor()
    assert factor == Normal(3 / 0.7 / 0.7)
    variance = 3 / mpmath.mpf(0.7) ** 2
    size, angle, error = factor.turned(2.0, np.array([0.5]))
    ratio = mpmath.exp((mpmath.mpc(2, 0.5) * mpmath.mpc(3, 0.5) - 6) * variance / 2)
    assert abs(mpmath.mpf(size[0]) - mpmath.log(abs(ratio))) <= error[0]
    assert abs(mpmath.mpf(angle[0]) - 5 * variance / 4) <= error[0]
    moment, off = factor.log_moment(np.array([2.0]))
    assert abs(mpmath.mpf(moment[0]) - 3 * variance) <= off[0]


def test_noise_is_rounded_down_and_sampling_up():
    third = Fraction(1, 3)
    assert Fraction(Gaussian(third).noise_multiplier) < third
    assert Fraction(PoissonSubsampledGaussian(1.0, third).sampling_probability) > third
    assert Gaussian(2).noise_multiplier == 2.0


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Gaussian(0.0), ValueError),
        (lambda: Gaussian(-1.0), ValueError),
        (lambda: Gaussian(math.inf), ValueError),
        (lambda: Gaussian(math.nan), ValueError),
        (lambda: Gaussian("1"), TypeError),
        (lambda: Gaussian(True), TypeError),
        (lambda: Gaussian(10**400), ValueError),
        (lambda: Gaussian(Fraction(1, 10**400)), ValueError),
    ],
)
def test_bad_noise_is_refused(make, error):
    with pytest.raises(error, match="Expected"):
        make()


@pytest.mark.parametrize("off", ["1e-13", "-1e-13"])
def test_a_root_that_is_off_is_not_believed(off, monkeypatch):
    """Newton's method only proposes: the floats around what it says are tried, and moved."""
    exact, root = Gaussian(1.0).privacy_loss().epsilon(1e-5), gaussian._root
    monkeypatch.setattr(gaussian, "_root", lambda uses, goal: root(uses, goal) * (1 + Decimal(off)))
    moved = Gaussian(1.0).privacy_loss().epsilon(1e-5)
    assert moved.lower <= exact.lower < exact.upper <= moved.upper
    assert moved != exact
    assert_narrow(moved, width=1e-12)


def test_extreme_noise_still_has_a_bracket():
    assert Gaussian(1e-12).privacy_loss().epsilon(1e-5).lower > 4.9e23
    assert Gaussian(1e300).privacy_loss().epsilon(1e-5) == Bounds(0.0, 0.0)
    assert 4.9e97 < Gaussian(1e-49).privacy_loss().epsilon(0.9).lower < 5.1e97
    with mpmath.workdps(200):
        assert_exact_epsilon(Gaussian(1e-49).privacy_loss(), [(1e-49, 1)], 1e-5)
    assert Gaussian(1e-200).privacy_loss().epsilon(1e-5).upper == math.inf
    assert 0 < Gaussian(1e30).privacy_loss().delta(0.0).upper < 1e-30


@pytest.mark.parametrize("digits", [28, 5])
def test_bounds_do_not_depend_on_the_decimal_context_of_the_caller(digits):
    """Rounded to 28 digits, the ends of this tiny epsilon lay 47436 floats apart; to 5 digits, delta was wrong."""
    loss = Gaussian(555.8144219998106).privacy_loss().self_compose(5)
    known = brute_force.gaussian_delta(distance([(555.8144219998106, 5)]), 0.001)
    with localcontext() as context:
        context.prec = digits
        bounds = loss.delta(0.001)
        assert mpmath.mpf(bounds.lower) <= known <= mpmath.mpf(bounds.upper)
        assert bounds.upper == math.nextafter(bounds.lower, 1.0)
        assert_exact_epsilon(loss, [(555.8144219998106, 5)], 0.0016049627738805256)
