"""Unlike losses composed: every route against exact rationals or 60 digits, and against the other routes."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import (
    ApproximateDP,
    Bounds,
    Disjoint,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PrivacyLoss,
    PureDP,
    RandomizedResponse,
    Repeated,
    Sequence,
    Transcript,
    guarantee,
)
from accounting.composition import compose
from accounting.numerics import answers, atoms, brackets, contour, kernel, ladder, noises
from accounting.numerics.answers import Direction
from accounting.numerics.finite import Finite
from accounting.numerics.kernel import Kernel
from accounting.numerics.laplace import LaplaceUses
from accounting.numerics.saddle import Goal, saddle
from accounting.numerics.subsampled import SubsampledUses
from tests.accounting import brute_force
from tests.accounting.checks import DIGITS, assert_brackets, assert_dominates, assert_narrow

quick = settings(deadline=None, max_examples=40, derandomize=True)
slower = settings(deadline=None, max_examples=12, derandomize=True)
epsilons = st.one_of(st.sampled_from([1e-6, 0.1, 0.5, 1.0, 8.0, 40.0]), st.floats(1e-3, 10.0))
alphabets = st.one_of(st.integers(2, 50), st.just(10**6))
deltas = st.one_of(
    st.sampled_from([1e-300, 1e-50, 1e-12, 1e-5, 0.5]), st.floats(-250, 0).map(lambda x: 10.0**x)
)
parts = st.lists(st.tuples(epsilons, alphabets, st.integers(1, 3)), min_size=2, max_size=3)


def mixture(parts):
    """The loss of randomized responses, and their law in 60 digits."""
    loss, groups = PrivacyLoss(), []
    for epsilon, num_classes, count in parts:
        loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count))
        groups.append((epsilon, brute_force.exact_middle("response", epsilon, num_classes), count))
    return loss, brute_force.law_of(groups)


def assert_delta_is(pair, truth, *, room=DIGITS):
    lower, upper = pair
    assert 0 <= lower <= upper <= 1
    assert mpmath.mpf(lower) <= truth * (1 + room), (pair, truth)
    assert truth * (1 - room) <= mpmath.mpf(upper), (pair, truth)


@dataclass
class Direct:
    """A route of its own, asked like a loss."""

    ask_delta: object
    ask_epsilon: object

    def delta(self, epsilon):
        return Bounds(*self.ask_delta(epsilon))

    def epsilon(self, delta):
        return Bounds(*self.ask_epsilon(delta))


def by_the_contour(loss):
    """The contour alone, also where values could be listed."""
    direction = Direction(loss.groups, loss.noises, True)

    def delta(epsilon):
        with np.errstate(all="ignore"):
            return brackets.curve_near(direction.factors, epsilon, direction.top)(epsilon)

    def epsilon(delta):
        with np.errstate(all="ignore"):
            return brackets.epsilon_bracket(direction.factors, delta, direction.top)

    return Direct(delta, epsilon)


def by_the_ladder(loss):
    below, above = ladder.ladder(loss.groups, loss.noises, True)
    return Direct(
        lambda epsilon: (below.delta(epsilon)[0], above.delta(epsilon)[1]),
        lambda delta: (below.epsilon(delta)[0], above.epsilon(delta)[1]),
    )


# Three-point losses of unlike epsilons.


@quick
@given(parts, st.floats(-1, 1), deltas)
def test_listed_values_contain_the_exact_answer(parts, share, delta):
    loss, law = mixture(parts)
    at = share * float(max(law))
    assert_brackets(loss, law, epsilons=[at, 0.0, float(sorted(law)[-2])], deltas=[delta])
    if delta > 1e-290:  # below, so little is left that underflow is a part of it
        assert_narrow(loss.epsilon(delta), width=1e-6)


@slower
@given(parts, st.floats(0, 0.99), deltas)
def test_the_contour_contains_the_exact_answer(parts, share, delta):
    loss, law = mixture(parts)
    assert_brackets(by_the_contour(loss), law, epsilons=[share * float(max(law)), 0.0], deltas=[delta])


@quick
@given(parts, st.floats(0, 0.99), deltas)
def test_the_ladder_contains_the_exact_answer(parts, share, delta):
    loss, law = mixture(parts)
    assert_brackets(by_the_ladder(loss), law, epsilons=[share * float(max(law)), 0.0], deltas=[delta])


def test_a_wrong_route_is_caught():
    loss, law = mixture([(1.0, 10, 3), (0.5, 3, 2), (0.3, 2, 2)])
    less, _ = mixture([(1.0, 10, 3), (0.5, 3, 2), (0.3, 3, 2)])
    for route in (by_the_contour, by_the_ladder, lambda loss: loss):
        assert_brackets(route(loss), law, epsilons=[1.0], deltas=[1e-5])
        with pytest.raises(AssertionError):
            assert_brackets(route(less), law, epsilons=[1.0])
        with pytest.raises(AssertionError):
            assert_brackets(route(less), law, deltas=[1e-5])


def ninety_groups():
    loss = PrivacyLoss()
    for epsilon in np.geomspace(0.05, 0.3, 30).tolist():
        for num_classes in (2, 10, 50):
            loss = loss.compose(RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(111))
    return loss


@pytest.mark.parametrize(
    ("delta", "known"), [(1e-5, 95.43315), (1e-10, 116.77163), (1e-20, 146.11672), (1e-300, 410.6267)]
)
def test_ninety_groups_of_ten_thousand_uses_are_known_to_a_part_in_a_million(delta, known):
    bounds = ninety_groups().epsilon(delta)
    assert bounds.upper == pytest.approx(known, rel=1e-6)
    assert_narrow(bounds, width=1e-6)
    back = ninety_groups().delta(bounds.upper)
    assert back.lower <= delta
    assert_narrow(back, width=1e-3)


def test_without_smoothing_the_tail_of_ninety_groups_is_not_proved(monkeypatch):
    """Twin of the above: a kernel that is too wide costs the bracket."""
    monkeypatch.setattr(contour, "WIDTH", 0.2)
    with pytest.raises(AssertionError):
        assert_narrow(ninety_groups().epsilon(1e-5), width=1e-6)


@pytest.mark.parametrize("delta", [0.1, 1e-5, 1e-40, 1e-200])
def test_the_contour_meets_the_listed_values_of_hundreds_of_uses(delta):
    """Two alphabets and epsilons, 500 uses: 120 000 values one by one against a smoothed line."""
    loss = RandomizedResponse(0.4, 3).privacy_loss().self_compose(300)
    loss = loss.compose(RandomizedResponse(0.31, 20).privacy_loss().self_compose(200))
    assert atoms.atoms(loss.groups) is not None
    listed, line = loss.epsilon(delta), by_the_contour(loss).epsilon(delta)
    assert line.lower <= listed.upper
    assert listed.lower <= line.upper
    assert_narrow(line, width=1e-6)
    curve, at = by_the_contour(loss).delta(listed.upper), loss.delta(listed.upper)
    assert curve.lower <= at.upper
    assert at.lower <= curve.upper


def test_few_and_many_uses_together_are_listed():
    """1000 answers and one certificate: 1001 values twice, exactly."""
    loss = RandomizedResponse(0.5, 10).privacy_loss().self_compose(1000).compose(PureDP(0.7).privacy_loss())
    assert_narrow(loss.epsilon(1e-5), width=1e-11)
    alone = RandomizedResponse(0.5, 10).privacy_loss().self_compose(1000).epsilon(1e-5)
    assert alone.upper < loss.epsilon(1e-5).lower < alone.upper + 0.7
    assert atoms.atoms(ninety_groups().groups) is None


@pytest.mark.parametrize(
    ("count", "num_classes", "epsilon"),
    [(5000, 10, 0.5), (10**4, 2, 1.0), (6000, 3, 6.0), (5000, 10**6, 3.0)],
)
def test_the_periodic_contour_agrees_with_running_sums(count, num_classes, epsilon, monkeypatch):
    loss = RandomizedResponse(epsilon, num_classes).privacy_loss().self_compose(count)
    asked = [1e-5, 1e-20, 1e-100, 0.3]
    by_line = loss.epsilon(asked)
    places = by_line.upper * (1 - 1e-9) - epsilon / 3
    curve = loss.delta(np.maximum(places, 0))
    monkeypatch.setattr(answers, "FEW", 10**6)
    by_sums, sums = loss.epsilon(asked), loss.delta(np.maximum(places, 0))
    assert np.all(by_line.lower <= by_sums.upper)
    assert np.all(by_sums.lower <= by_line.upper)
    assert np.all(curve.lower <= sums.upper)
    assert np.all(sums.lower <= curve.upper)
    assert np.all(by_line.upper - by_line.lower <= 1e-9 * by_line.upper)


def test_alphabets_of_one_epsilon_and_many_uses_agree_with_running_sums(monkeypatch):
    loss = PureDP(0.2).privacy_loss().self_compose(3000)
    loss = loss.compose(RandomizedResponse(0.2, 20).privacy_loss().self_compose(2000))
    line = loss.epsilon(1e-8)
    monkeypatch.setattr(answers, "FEW", 10**6)
    sums = loss.epsilon(1e-8)
    assert line.lower <= sums.upper
    assert sums.lower <= line.upper
    assert_narrow(line, width=1e-9)


# The kernel that smooths.


@pytest.mark.parametrize("width", [1e-3, 0.1, 0.5])
def test_the_kernel_lies_above_and_its_share_below_the_hinge(width):
    """Both transforms inverted in 60 digits: `G >= (1 - e^-x)_+ >= G - b k`, and half of b is too little."""
    smooth, period = Kernel.of_width(width), 60 * mpmath.mpf(width)

    def transform(z):
        half = z * mpmath.mpf(smooth.width) / 2
        return mpmath.exp(z * mpmath.mpf(smooth.shift)) * (mpmath.sinh(half) / half) ** kernel.ORDER

    def inverted(of, y):
        """The function with this transform at y, and its echoes a period apart: all of it but the far end."""
        times = [2 * mpmath.pi * k / period for k in range(1200)]
        terms = [(of(mpmath.mpc(1, t)) * mpmath.expj(-t * y)).real for t in times]
        return mpmath.exp(-y) / period * (2 * sum(terms) - terms[0])

    for place in (-5.0, -1.0, -0.2, 0.0, 0.3, 1.0, 5.0):
        y = place * mpmath.mpf(width)  # the curve of a point mass at loss 0
        smoothed = inverted(lambda z: transform(z) / (z * (z + 1)), y)
        echoes = sum(
            mpmath.exp(-k * period) * -mpmath.expm1(y - k * period) for k in range(1, 1 + int(90 / period))
        )
        added = smoothed - echoes - max(0, -mpmath.expm1(y))
        allowed = smooth.lift * inverted(transform, y)
        assert -1e-12 <= added <= allowed + 1e-12
        if place == 0:
            assert added > allowed / 2


# Noise and randomized response.


@quick
@given(parts, st.floats(-1, 2).map(lambda x: 10.0**x), st.floats(-1.2, 1.5), deltas)
def test_gaussian_noise_and_answers_contain_the_exact_answer(parts, noise, share, delta):
    loss, law = mixture(parts)
    loss, mu = loss.compose(Gaussian(noise).privacy_loss()), 1 / mpmath.mpf(noise)
    at = share * float(max(law))

    def truth(epsilon):
        return sum(p * brute_force.gaussian_delta(mu, mpmath.mpf(epsilon) - x) for x, p in law.items())

    for epsilon in (at, 0.0):
        bounds = loss.delta(epsilon)
        assert_delta_is((bounds.lower, bounds.upper), truth(epsilon))
    bounds = loss.epsilon(delta)
    assert truth(bounds.upper) <= mpmath.mpf(delta) * (1 + DIGITS)
    assert bounds.lower == 0 or truth(bounds.lower) >= mpmath.mpf(delta) * (1 - DIGITS)


@pytest.mark.parametrize("noise", [0.2, 1.0, 30.0])
def test_one_use_of_laplace_noise_has_a_closed_form(noise):
    loss = Laplace(noise).privacy_loss()
    for share in (0.0, 0.3, 0.9, 0.999, -0.5):
        bounds = loss.delta(share / noise)
        assert_delta_is((bounds.lower, bounds.upper), brute_force.laplace_delta(noise, share / noise))
        assert_narrow(bounds, width=1e-5)
    assert loss.epsilon(0.0).lower <= 1 / noise <= loss.epsilon(0.0).upper
    assert loss.delta(1.01 / noise) == Bounds(0.0, 0.0)


@pytest.mark.parametrize("noise", [0.5, 2.0])
def test_two_uses_of_laplace_noise_by_integration(noise):
    loss = Laplace(noise).privacy_loss().self_compose(2)
    for share in (0.0, 0.4, 1.1, 1.9):
        bounds, truth = loss.delta(share / noise), brute_force.laplace_twice_delta(noise, share / noise)
        assert_delta_is((bounds.lower, bounds.upper), truth, room=mpmath.mpf(10) ** -25)
        assert_narrow(bounds, width=1e-4)
    with pytest.raises(AssertionError):
        assert_delta_is((bounds.lower, bounds.upper), brute_force.laplace_delta(noise, 0.4 / noise))


@quick
@given(st.floats(-1, 2).map(lambda x: 10.0**x), st.integers(1, 50), st.floats(1.01, 50))
def test_renyi_of_laplace_noise_is_the_known_one(noise, count, alpha):
    """Mironov 2017, table II."""
    bounds = Laplace(noise).privacy_loss().self_compose(count).renyi(alpha)
    a, r = mpmath.mpf(alpha), 1 / mpmath.mpf(noise)
    moment = a / (2 * a - 1) * mpmath.exp((a - 1) * r) + (a - 1) / (2 * a - 1) * mpmath.exp(-a * r)
    truth = count * mpmath.log(moment) / (a - 1)
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert_narrow(bounds, width=1e-7)


def test_laplace_loses_less_than_pure_of_its_epsilon():
    noise, pure = Laplace(4.0).privacy_loss(), PureDP(0.25).privacy_loss()
    for count in (1, 20):
        assert_dominates(pure.self_compose(count), noise.self_compose(count), epsilons=[0.0, 0.1, 0.2])
    with pytest.raises(AssertionError):
        assert_dominates(noise.self_compose(20), pure.self_compose(20), epsilons=[0.1])


# Trade-off curves.


def exact_miss(num_classes, epsilon, rate):
    """The best test of one answer: outputs in the order of their ratio, the last one by a coin."""
    large = mpmath.exp(mpmath.mpf(epsilon))
    p, q = large / (large + num_classes - 1), 1 / (large + num_classes - 1)
    rest, miss = mpmath.mpf(rate), mpmath.mpf(1)
    for hit, alarm in ((p, q), ((num_classes - 2) * q, (num_classes - 2) * q), (q, p)):
        share = min(1, rest / alarm) if alarm else 0
        miss, rest = miss - hit * share, rest - alarm * share
    return miss


@quick
@given(epsilons, st.integers(2, 50), st.floats(-12, 0).map(lambda x: 10.0**x))
def test_the_trade_off_of_one_answer_is_that_of_the_best_test(epsilon, num_classes, rate):
    bounds = RandomizedResponse(epsilon, num_classes).privacy_loss().tradeoff(rate)
    truth = exact_miss(num_classes, epsilon, rate)
    assert mpmath.mpf(bounds.lower) <= truth * (1 + DIGITS) + DIGITS
    assert truth <= mpmath.mpf(bounds.upper) * (1 + DIGITS) + DIGITS
    assert bounds.upper - bounds.lower < 1e-7


def test_a_trade_off_of_a_smaller_epsilon_is_caught():
    bounds = RandomizedResponse(0.9, 3).privacy_loss().tradeoff(0.1)
    with pytest.raises(AssertionError):
        assert mpmath.mpf(bounds.lower) <= exact_miss(3, 1.0, 0.1)


@pytest.mark.parametrize("rate", [1e-9, 1e-3, 0.1, 0.6])
def test_the_trade_off_of_a_mixture_is_that_of_its_best_test(rate):
    loss, law = mixture([(1.0, 10, 2), (0.4, 3, 2)])
    rest, truth = mpmath.mpf(rate), mpmath.mpf(1)
    for value in sorted(law, reverse=True):
        hit, alarm = law[value], law[value] * mpmath.exp(-value)
        share = min(1, rest / alarm)
        truth, rest = truth - hit * share, rest - alarm * share
    bounds = loss.tradeoff(rate)
    assert mpmath.mpf(bounds.lower) <= truth <= mpmath.mpf(bounds.upper)
    assert bounds.upper - bounds.lower < 1e-7


def test_the_trade_off_ends_in_its_corners_and_falls():
    loss = RandomizedResponse(1.0, 4).privacy_loss().self_compose(5)
    bounds = loss.tradeoff([0.0, 0.01, 0.1, 0.5, 1.0])
    assert (bounds.lower[0], bounds.upper[0], bounds.lower[-1], bounds.upper[-1]) == (1, 1, 0, 0)
    assert np.all(np.diff(bounds.lower) < 0)
    assert np.all(bounds.upper <= 1 - np.array([0.0, 0.01, 0.1, 0.5, 1.0]) + 1e-15)
    assert PrivacyLoss().tradeoff(0.3).lower == 0.7


# What dominates.


@slower
@given(st.floats(0.5, 5), st.floats(0.5, 5), st.integers(1, 3), st.integers(1, 3))
def test_noises_that_dominate_lose_at_least_as_much(first, second, few, many):
    for make in (Gaussian, Laplace, lambda noise: PoissonSubsampledGaussian(noise, min(0.9, noise / 6))):
        left = make(first).privacy_loss().self_compose(few)
        right = make(second).privacy_loss().self_compose(many)
        worst = PrivacyLoss((), noises.dominating(left.noises, right.noises))
        for loss in (left, right):
            assert_dominates(worst, loss, epsilons=[0.0, 0.3])
        assert noises.dominating(left.noises, right.noises) == noises.dominating(right.noises, left.noises)


def test_less_sampling_does_not_dominate():
    """Twin of the above: the noise alone decides nothing."""
    often = PoissonSubsampledGaussian(2.0, 0.5).privacy_loss()
    seldom = PoissonSubsampledGaussian(1.9, 0.01).privacy_loss()
    with pytest.raises(AssertionError):
        assert_dominates(seldom, often, epsilons=[0.1])
    worst = noises.dominating(often.noises, seldom.noises)
    assert worst == (SubsampledUses(1.9, 0.5, 1),)


def test_uses_are_paired_in_order_and_the_rest_stays():
    left, right = (LaplaceUses(1.0, 2), LaplaceUses(3.0, 1)), (LaplaceUses(2.0, 1),)
    assert noises.dominating(left, right) == (LaplaceUses(1.0, 2), LaplaceUses(3.0, 1))
    assert noises.merged((LaplaceUses(1.0, 2), LaplaceUses(1.0, 3))) == (LaplaceUses(1.0, 5),)


# Events.


def test_a_transcript_composes_every_kind_of_event():
    step = PoissonSubsampledGaussian(1.0, 0.01)
    events = [
        RandomizedResponse(0.5, 10),
        PureDP(0.2),
        Gaussian(5.0),
        Repeated(step, 1000),
        Laplace(9.0),
        ApproximateDP(0.1, 1e-7),
    ]
    total = compose(Sequence(events), disjoint="one part")
    loss = PrivacyLoss()
    for event, count in ((events[0], 1), (events[1], 1), (events[2], 1), (step, 1000), (events[4], 1)):
        loss = loss.compose(event.privacy_loss().self_compose(count))
    assert total.loss == loss
    stated = total.epsilon_at(1e-5)
    assert stated == pytest.approx(loss.epsilon(1e-5 - 1e-7).upper + 0.1, rel=1e-12)
    assert stated >= loss.epsilon(1e-5).lower + 0.1
    assert not guarantee(Transcript(events, about="teacher"), unit="answer", delta=1e-5).holds
    events.remove(Repeated(step, 1000))  # says nothing where an answer is replaced
    claim = guarantee(Transcript(events, about="teacher"), unit="answer", delta=1e-5)
    assert claim.holds
    assert claim.epsilon == compose(Sequence(events), disjoint="one part").epsilon_at(1e-5) < stated


def test_noise_without_delta_says_what_to_ask_for():
    claim = guarantee(Transcript(Gaussian(1.0), about="teacher"), unit="answer", delta=0.0)
    assert not claim.holds
    assert "ask for delta > 0" in claim.why
    mixed = Transcript([Gaussian(1.0), ApproximateDP(0.1, 1e-6)], about="teacher")
    assert "ask for delta > 1e-06" in guarantee(mixed, unit="answer", delta=1e-6).why


def test_steps_of_dp_sgd_are_a_certificate_about_records():
    steps = Repeated(PoissonSubsampledGaussian(1.0, 0.01), 1000)
    transcript = Transcript(RandomizedResponse(1.0, 10), about="teacher", teacher=steps)
    claim = guarantee(transcript, unit="record", delta=1e-5)
    assert claim.holds
    assert claim.epsilon == pytest.approx(1.82824, abs=1e-5)


def test_disjoint_noise_counts_the_worst_part():
    release = Disjoint([Gaussian(1.0), Gaussian(2.0), RandomizedResponse(0.5, 3)])
    worst = compose(release, disjoint="one part").loss
    assert_dominates(worst, Gaussian(1.0).privacy_loss(), epsilons=[0.0, 1.0])
    assert_dominates(worst, RandomizedResponse(0.5, 3).privacy_loss(), epsilons=[0.0, 0.2])
    together = compose(release, disjoint="all parts").loss
    assert together.noises == Gaussian(2.0).privacy_loss().compose(Gaussian(1.0).privacy_loss()).noises


# Where floats end.


def test_counts_beyond_floats_keep_a_sound_bracket():
    for event in (PureDP(1e-3), Laplace(1e3), PoissonSubsampledGaussian(1.0, 0.1)):
        loss = event.privacy_loss().self_compose(10**400)
        assert loss.epsilon(1e-5).lower == 0.0
        assert loss.epsilon(1e-5).upper == math.inf
        assert loss.delta(1.0) == Bounds(0.0, 1.0)
        with pytest.raises(ValueError, match="Expected losses"):
            loss.renyi(2.0)


class Silent:
    """A line that says nothing."""

    tilt = 1.0

    def log_delta(self, epsilon):
        return -math.inf, math.inf


def test_a_line_that_says_nothing_proves_nothing():
    assert brackets._proved(Silent(), 3.0, -10.0, 7.0) == 7.0
    assert brackets._proved(Silent(), 3.0, -10.0, math.inf) == math.inf
    assert brackets._refuted(Silent(), 3.0, -10.0) == 0.0
    assert brackets._refuted(Silent(), 1e300, -10.0) == 0.0


def test_a_line_that_overflows_says_nothing():
    factors = [Finite.of(mixture([(1.0, 3, 2), (0.5, 2, 2)])[0].groups)]
    line = contour.line(factors, saddle(factors, Goal(epsilon=1.0)))
    assert line.log_delta(1.0)[0] > -10
    assert replace(line, moment=math.inf).log_delta(1.0) == (-math.inf, math.inf)
    assert replace(line, moment=math.nan).log_delta(1.0) == (-math.inf, math.inf)


def test_nothing_is_said_beyond_all_floats():
    factors = [Finite.of(PureDP(1e-200).privacy_loss().groups)]
    assert brackets.epsilon_bracket(factors, 1e-5, 1e-200) is None
    assert brackets.curve_near(factors, 0.0, 1e-200) is None
    assert brackets.log_chernoff(factors, 0.0) == math.inf
    assert brackets.log_chernoff(factors, math.inf) == math.inf
    tiny = (
        PureDP(1e-200)
        .privacy_loss()
        .compose(RandomizedResponse(1e-201, 3).privacy_loss().self_compose(10**9))
    )
    assert tiny.epsilon(1e-5).upper <= 1e-190
    assert tiny.tradeoff(0.2).lower <= 0.8 <= tiny.tradeoff(0.2).upper


def test_many_uses_far_from_the_line_are_answered_by_another_line():
    """Beyond the uses whose running sums are kept, delta far from the first epsilon."""
    loss = RandomizedResponse(0.01, 10).privacy_loss().self_compose(3 * 10**6)
    near = Direction(loss.groups, (), True).near(loss.epsilon(1e-5).upper)
    low, high = near(0.0)
    assert 0 < low < high <= 1
    assert near(3.1e4) == (0.0, 0.0)
    assert near(loss.epsilon(1e-5).upper)[1] <= 1e-5 * (1 + 1e-6)


def test_a_delta_close_to_one_is_answered_where_the_law_has_no_mass():
    loss = RandomizedResponse(11.0, 3).privacy_loss().self_compose(2756)
    loss = loss.compose(RandomizedResponse(4.0, 2).privacy_loss().self_compose(2))
    bounds = loss.epsilon(1 - 8e-15)
    assert 0 <= bounds.lower <= bounds.upper
    assert loss.delta(bounds.upper).lower <= 1 - 8e-15


def test_tiny_losses_beside_noise_do_not_overflow():
    """Where derivatives underflow or the ladder has no rungs, the bracket is wide and holds."""
    rare = PoissonSubsampledGaussian(1e5, 1e-230).privacy_loss().self_compose(10)
    for loss in (
        rare.compose(Laplace(0.25).privacy_loss()),
        Laplace(1e-290).privacy_loss().self_compose(70000).compose(PureDP(3.0).privacy_loss()),
        Gaussian(1e-150).privacy_loss().compose(RandomizedResponse(0.1, 4).privacy_loss()),
    ):
        for bounds in (loss.epsilon(1e-5), loss.delta(0.5), loss.tradeoff(0.3)):
            assert 0 <= bounds.lower <= bounds.upper


def test_the_ladder_refuses_what_it_cannot_hold():
    assert ladder.ladder(PureDP(1000.0).privacy_loss().groups, (), True) is None
    assert ladder.ladder(PureDP(1.0).privacy_loss().self_compose(10**6).groups, (), True) is None
    assert ladder.ladder((), Laplace(1.0).privacy_loss().noises, True) is None


def test_the_ladder_with_gaussian_noise_meets_the_contour():
    loss = Gaussian(2.0).privacy_loss().compose(PureDP(0.5).privacy_loss().self_compose(3))
    exact = loss.epsilon(1e-6)
    for removal in (True, False):
        below, above = ladder.ladder(loss.groups, loss.noises, removal)
        assert below.epsilon(1e-6)[0] <= exact.upper
        assert exact.lower <= above.epsilon(1e-6)[1]
        assert above.epsilon(1e-6)[1] < exact.upper * 1.02


def test_a_saddle_that_is_out_of_reach_is_none():
    factor = Finite.of(PureDP(1.0).privacy_loss().groups)
    assert saddle([factor], Goal(epsilon=1.0)) is None
    assert saddle([Finite.of(PureDP(1e-200).privacy_loss().groups)], Goal(epsilon=0.0)) is None
