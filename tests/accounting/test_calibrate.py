"""Calibration: the result keeps its target, and a little more would not."""

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import Gaussian, RandomizedResponse
from accounting.calibrate import crossing, epsilon_per_answer, noise_multiplier

quick = settings(deadline=None, max_examples=40, derandomize=True)


def spent(each: float, delta: float, count: int, num_classes: int) -> float:
    loss = RandomizedResponse(each, num_classes).privacy_loss().self_compose(count)
    return float(loss.epsilon(delta).upper)


def assert_largest_safe(each: float, total: float, delta: float, count: int, num_classes: int) -> None:
    assert spent(each, delta, count, num_classes) <= total
    assert spent(each * (1 + 1e-6), delta, count, num_classes) > total


@quick
@given(st.floats(1e-3, 60), st.floats(-40, -0.5), st.integers(1, 3000), st.integers(2, 60))
def test_a_total_is_kept_and_used(total, power, count, num_classes):
    each = epsilon_per_answer(total, 10.0**power, count=count, num_classes=num_classes)
    assert_largest_safe(each, total, 10.0**power, count, num_classes)
    assert each >= total / count * (1 - 1e-12)


def test_a_little_more_is_caught():
    each = epsilon_per_answer(1.0, 1e-5, count=100, num_classes=10)
    for wrong in (each * 1.001, each * 0.999):
        with pytest.raises(AssertionError):
            assert_largest_safe(wrong, 1.0, 1e-5, 100, 10)


@pytest.mark.parametrize(
    ("count", "num_classes", "known"),
    [
        (1000, 10, 0.01887),
        (10_000, 10, 0.005986),
        (50_000, 10, 0.002679),
        (100, 2, 0.0271),
        (1000, 2, 0.00849),
        (10_000, 2, 0.00268),
    ],
)
def test_known_epsilons_for_a_total_of_1(count, num_classes, known):
    each = epsilon_per_answer(1.0, 1e-5, count=count, num_classes=num_classes)
    assert each == pytest.approx(known, rel=2e-3)


@quick
@given(st.floats(1e-6, 1e3), st.integers(1, 10**9))
def test_without_delta_the_total_is_divided(total, count):
    each = epsilon_per_answer(total, 0.0, count=count, num_classes=10)
    assert spent(each, 0.0, count, 10) <= total
    assert each >= total / count * (1 - 1e-15)


@quick
@given(st.floats(0.01, 30), st.floats(-30, -1))
def test_a_gaussian_target_is_kept_and_used(total, power):
    from accounting import Gaussian

    noise = noise_multiplier(total, 10.0**power)
    for factor, safe in ((1.0, True), (1 - 1e-6, False)):
        upper = float(Gaussian(noise * factor).privacy_loss().epsilon(10.0**power).upper)
        assert (upper <= total) is safe


def test_steps_of_a_gaussian_add_up_in_squares():
    assert noise_multiplier(1.0, 1e-6, count=400) == pytest.approx(20 * noise_multiplier(1.0, 1e-6), rel=1e-5)
    with pytest.raises(AssertionError):
        assert noise_multiplier(1.0, 1e-6, count=400) == pytest.approx(noise_multiplier(1.0, 1e-6), rel=1e-5)


def test_sampling_needs_less_noise():
    from accounting import PoissonSubsampledGaussian

    noise = noise_multiplier(2.0, 1e-5, count=1000, sampling_probability=0.01)
    upper = PoissonSubsampledGaussian(noise, 0.01).privacy_loss().self_compose(1000).epsilon(1e-5).upper
    assert upper <= 2.0
    assert noise < noise_multiplier(2.0, 1e-5, count=1000) / 5


def test_what_happened_beside_fits_into_the_total():
    """In closed form: variances of the losses of Gaussian mechanisms add up."""
    alone = noise_multiplier(2.0, 1e-5)
    beside = noise_multiplier(2.0, 1e-5, count=9, beside=[Gaussian(2 * alone)])
    assert 9 / beside**2 + 1 / (2 * alone) ** 2 == pytest.approx(1 / alone**2, rel=1e-5)
    both = Gaussian(beside).privacy_loss().self_compose(9).compose(Gaussian(2 * alone).privacy_loss())
    assert both.epsilon(1e-5).upper <= 2.0
    with pytest.raises(AssertionError):  # the twin: it was left out
        forgotten = noise_multiplier(2.0, 1e-5, count=9)
        assert 9 / forgotten**2 + 1 / (2 * alone) ** 2 == pytest.approx(1 / alone**2, rel=1e-5)
    with pytest.raises(ValueError, match="raise epsilon or delta"):
        noise_multiplier(2.0, 1e-5, beside=Gaussian(alone / 2))


@quick
@given(st.floats(1e-3, 50), st.integers(1, 9))
def test_a_crossing_is_found_from_both_sides(root, degree):
    def gap(x: float) -> float:
        return math.copysign(abs(root - x) ** degree, root - x)

    left, right = crossing(gap, 0.0, 60.0)
    assert left < root <= right
    assert gap(left) > 0 >= gap(right)
    assert right - left <= 1e-7 * right


def test_a_crossing_before_the_start_is_the_start():
    assert crossing(lambda x: -1.0, 2.0, 3.0) == (2.0, 2.0)


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda: epsilon_per_answer(0.0, 1e-5, count=1, num_classes=2), ValueError),
        (lambda: epsilon_per_answer(1.0, 1.0, count=1, num_classes=2), ValueError),
        (lambda: epsilon_per_answer(1.0, 1e-5, count=0, num_classes=2), ValueError),
        (lambda: epsilon_per_answer(1.0, 1e-5, count=1, num_classes=1), ValueError),
        (lambda: epsilon_per_answer("1", 1e-5, count=1, num_classes=2), TypeError),
        (lambda: noise_multiplier(1.0, 0.0), ValueError),
        (lambda: noise_multiplier(1e-9, 1e-300), ValueError),
        (lambda: noise_multiplier(1.0, 1e-5, count=0), ValueError),
    ],
)
def test_bad_arguments_say_what_was_expected(ask, error):
    with pytest.raises(error, match="Expected"):
        ask()


def test_a_total_too_small_to_be_shared_is_calibrated_too():
    each = epsilon_per_answer(5e-324, 1e-5, count=2, num_classes=2)
    loss = RandomizedResponse(each, 2).privacy_loss().self_compose(2)
    assert loss.epsilon(1e-5).upper == 0.0
    assert each > 1.9e-5
    assert epsilon_per_answer(5e-324, 0.0, count=2, num_classes=2) == 0.0
