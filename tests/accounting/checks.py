"""Properties as functions that raise AssertionError, so that a wrong accountant can be shown to fail them."""

from __future__ import annotations

import math

import mpmath

from tests.accounting import brute_force

DIGITS = mpmath.mpf("1e-45")
"""What the oracle itself may be off."""


def assert_brackets(loss, law, *, epsilons=(), deltas=()):
    """Both answers contain the exact one: never below the truth, never above it on the lower side."""
    for epsilon in epsilons:
        bounds, truth = loss.delta(epsilon), brute_force.exact_delta(law, mpmath.mpf(epsilon))
        assert 0 <= bounds.lower <= bounds.upper <= 1
        assert mpmath.mpf(bounds.lower) <= truth * (1 + DIGITS), (epsilon, bounds, truth)
        assert truth * (1 - DIGITS) <= mpmath.mpf(bounds.upper), (epsilon, bounds, truth)
    for delta in deltas:
        bounds, truth = loss.epsilon(delta), brute_force.exact_epsilon(law, mpmath.mpf(delta))
        assert 0 <= bounds.lower <= bounds.upper
        assert mpmath.mpf(bounds.lower) <= truth * (1 + DIGITS)
        assert truth * (1 - DIGITS) <= mpmath.mpf(bounds.upper), (delta, bounds, truth)


def assert_narrow(bounds, *, width):
    assert bounds.upper - bounds.lower <= width * abs(bounds.upper), bounds


def assert_repeating_costs_more(loss, count, *, delta):
    once, many = loss.epsilon(delta), loss.self_compose(count).epsilon(delta)
    assert many.lower > once.upper


def assert_dominates(large, small, *, epsilons):
    """At every epsilon `large` has at least the delta of `small`."""
    for epsilon in epsilons:
        assert large.delta(epsilon).upper >= small.delta(epsilon).lower


def assert_never_claims(statement):
    assert not statement.holds
    assert math.isinf(statement.epsilon)
    assert statement.to_dict()["epsilon"] is None
    assert "no guarantee" in statement.explain()
