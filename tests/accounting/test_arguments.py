"""Plain arguments: numbers that are no floats go to the private side, and everything else is refused with a sentence."""

from __future__ import annotations

import json
import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import (
    ApproximateDP,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PureDP,
    RandomizedResponse,
    Repeated,
    arguments,
    event_from_dict,
    event_to_dict,
)
from accounting.dictionaries import DEEPEST

quick = settings(deadline=None, max_examples=100, derandomize=True)


def assert_rounds_up(made, exact):
    assert Fraction(made) >= exact
    assert Fraction(math.nextafter(made, -math.inf)) < exact


@quick
@given(st.fractions(0, 700))
def test_epsilons_of_events_are_rounded_up(exact):
    for make in (PureDP, lambda e: RandomizedResponse(e, 5), lambda e: ApproximateDP(e, 0.0)):
        assert_rounds_up(make(exact).epsilon, exact)


@quick
@given(st.fractions(0, 1))
def test_deltas_of_events_are_rounded_up(exact):
    assert_rounds_up(ApproximateDP(1.0, exact).delta, exact)


def test_rounding_to_nearest_is_caught():
    exact = Fraction(1, 10)
    assert float(Fraction(3, 10)) < Fraction(3, 10)
    with pytest.raises(AssertionError):
        assert_rounds_up(float(Fraction(3, 10)), Fraction(3, 10))
    assert_rounds_up(PureDP(exact).epsilon, exact)


def test_long_doubles_are_rounded_up():
    wide = np.longdouble(1) + np.longdouble(2) ** -60
    assert PureDP(wide).epsilon == math.nextafter(1.0, 2)
    assert Gaussian(wide).noise_multiplier == 1.0
    assert PureDP(np.longdouble(1)).epsilon == 1.0
    assert PureDP(np.float16(0.5)).epsilon == PureDP(np.int8(1)).epsilon / 2


@quick
@given(st.fractions(Fraction(1, 10**12), Fraction(99, 100)))
def test_a_delta_between_two_floats_is_answered_for_both(delta):
    loss = RandomizedResponse(0.5, 4).privacy_loss().self_compose(30)
    bounds = loss.epsilon(delta)
    assert bounds.upper >= loss.epsilon(arguments.real("delta", delta, side="down")).upper
    assert bounds.lower <= loss.epsilon(arguments.real("delta", delta, side="up")).lower
    assert loss.epsilon(Fraction(1, 4)) == loss.epsilon(0.25)


@pytest.mark.parametrize(
    ("value", "error"),
    [
        (10**400, ValueError),
        (-(10**400), ValueError),
        (Fraction(10**400, 3), ValueError),
        (np.longdouble("1e4000"), ValueError),
        (math.nan, ValueError),
        (np.longdouble("nan"), ValueError),
        (math.inf, ValueError),
        (np.longdouble("inf"), ValueError),
        (Decimal("0.1"), TypeError),
        (np.bool_(True), TypeError),
        (np.array(1.0), TypeError),
        (1 + 0j, TypeError),
        ("1", TypeError),
    ],
)
def test_what_no_float_holds_is_refused(value, error):
    for make in (PureDP, Laplace, Gaussian, lambda q: PoissonSubsampledGaussian(1.0, q)):
        with pytest.raises(error, match="Expected"):
            make(value)


def test_huge_whole_numbers_are_refused_as_questions_too():
    loss = PureDP(1.0).privacy_loss()
    for ask in (loss.epsilon, loss.delta, loss.renyi, loss.tradeoff):
        with pytest.raises(ValueError, match="Expected"):
            ask(10**400)


def test_the_smallest_positive_number_stays_positive():
    assert PureDP(Fraction(1, 10**400)).epsilon == 5e-324
    assert ApproximateDP(0.0, Fraction(1, 10**400)).delta == 5e-324


class Half:
    """A real number of another library, which only turns into a float."""

    def __float__(self):
        return 0.5

    def __gt__(self, other):
        return float(self) > other


def test_other_real_numbers_are_taken_by_their_float():
    from numbers import Real

    Real.register(Half)
    assert PureDP(Half()).epsilon == 0.5


# Deep nesting.


def nested(depth):
    data = event_to_dict(PureDP(1.0))
    for _ in range(depth):
        data = {"type": "Repeated", "event": data, "count": 1}
    return data


def test_events_nested_too_deeply_are_refused_before_the_stack_ends():
    for depth in (DEEPEST, 900, 100_000):
        for kind in ("Repeated", "Seeded", "Sequence", "Disjoint"):
            data = event_to_dict(PureDP(1.0))
            for _ in range(depth):
                inside = {"event": data} if kind in ("Repeated", "Seeded") else {"events": [data]}
                extra = {"count": 1} if kind == "Repeated" else {}
                extra = {"counts": [1], "adaptive": False} if kind == "Disjoint" else extra
                data = {"type": kind, **inside, **extra}
            with pytest.raises(ValueError, match="nested at most"):
                event_from_dict(data)


def test_events_nested_as_deep_as_allowed_are_read():
    event = event_from_dict(json.loads(json.dumps(nested(DEEPEST - 1))))
    assert isinstance(event, Repeated)
    with pytest.raises(ValueError, match="nested at most"):
        event_from_dict(nested(DEEPEST))


def test_numbers_of_an_array_that_are_no_floats_are_answered_on_both_sides_too():
    """Between two floats the bracket of an array is that of each number, not that of the nearest float."""
    loss = RandomizedResponse(1.0, 10).privacy_loss().self_compose(1000)
    wide = np.longdouble(219) + np.longdouble(2.0**-48)
    assert float(wide) == 219
    assert wide > np.longdouble(219)
    one, many = loss.delta(wide), loss.delta(np.array([wide, wide]))
    assert many.upper.tolist() == [one.upper] * 2
    assert many.lower.tolist() == [one.lower] * 2
    assert one.lower < loss.delta(219.0).lower
