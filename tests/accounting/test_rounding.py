"""Directed rounding: the float on the named side, and the next one would be on the other."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.numerics.rounding import UNIT, float_down, float_up, relative


def assert_tight_from_above(exact, rounded):
    assert Fraction(rounded) >= exact
    assert Fraction(math.nextafter(rounded, -math.inf)) < exact


@settings(derandomize=True, deadline=None)
@given(st.fractions(), st.integers(-300, 300))
def test_rounding_up_is_the_next_float(fraction, power):
    exact = fraction * Fraction(10) ** power
    assert_tight_from_above(exact, float_up(exact))
    assert float_down(exact) == -float_up(-exact) <= exact


def test_rounding_to_nearest_is_caught():
    exact = Fraction(1, 3)
    with pytest.raises(AssertionError):
        assert_tight_from_above(exact, float(exact))


def test_beyond_the_largest_float_the_safe_side_is_kept():
    huge = Fraction(10) ** 400
    assert float_up(huge) == math.inf
    assert float_down(huge) == math.nextafter(math.inf, 0)
    assert float_up(-huge) == -math.nextafter(math.inf, 0)


@pytest.mark.parametrize("operations", [1, 1000, 10**7])
def test_relative_bounds_the_product_of_roundings(operations):
    assert relative(operations) >= math.expm1(operations * math.log1p(UNIT))
