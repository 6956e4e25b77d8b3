"""The mean of a positive part along a line: against every outcome in exact rationals, and against windows."""

from __future__ import annotations

from fractions import Fraction
from math import comb

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting.numerics.positive_part import Steps, positive_part
from accounting.numerics.report_sum import FEW, MANY, ReportSum
from accounting.shuffle import ShuffledUnlinkedReports

quick = settings(deadline=None, max_examples=80, derandomize=True)


def exact_mean(values: list[float], weights: list[Fraction], count: int) -> Fraction:
    """`E S_+` over all counts of every value."""

    def walk(place: int, left: int, total: Fraction, weight: Fraction) -> Fraction:
        if place == len(values):
            return max(total, Fraction(0)) * weight * (1 - sum(weights)) ** left
        return sum(
            (
                walk(
                    place + 1,
                    left - k,
                    total + k * Fraction(values[place]),
                    weight * comb(left, k) * weights[place] ** k,
                )
                for k in range(left + 1)
            ),
            Fraction(0),
        )

    return walk(0, count, Fraction(0), Fraction(1))


def assert_contains(bracket, truth: Fraction) -> None:
    lower, upper = bracket
    assert Fraction(lower) <= truth <= Fraction(upper)


steps = st.tuples(
    st.floats(0.05, 20),
    st.floats(0.01, 20),
    st.floats(0, 5),
    st.lists(st.integers(1, 99), min_size=3, max_size=3),
)


def law_of(cell):
    gain, cost, drift, shares = cell
    total = sum(shares) + 40
    return [gain, -cost, -drift], [Fraction(share, total) for share in shares]


@quick
@given(steps, st.integers(1, 14))
def test_every_outcome_lies_inside(cell, count):
    values, weights = law_of(cell)
    bracket = positive_part(Steps(np.array(values), np.array(weights, dtype=np.float64), count))
    if bracket is not None:
        assert_contains(bracket, exact_mean(values, weights, count))


@pytest.mark.slow
@settings(deadline=None, max_examples=3000)
@given(steps, st.integers(1, 16))
def test_every_outcome_lies_inside_in_many_cases(cell, count):
    values, weights = law_of(cell)
    bracket = positive_part(Steps(np.array(values), np.array(weights, dtype=np.float64), count))
    if bracket is not None:
        assert_contains(bracket, exact_mean(values, weights, count))


@pytest.mark.parametrize(
    "cell", [(1.0, 1.0, 0.1, [20, 20, 20]), (3.0, 0.5, 2.0, [5, 30, 60]), (2.0, 3.0, 0.0, [50, 20, 9])]
)
def test_the_line_reaches_and_is_narrow(cell):
    values, weights = law_of(cell)
    bracket = positive_part(Steps(np.array(values), np.array(weights, dtype=np.float64), 12))
    assert bracket is not None
    assert_contains(bracket, exact_mean(values, weights, 12))
    assert bracket[1] - bracket[0] <= 1e-3 * bracket[1]


def test_smoothing_without_taking_it_off_again_is_caught():
    """The mean of the smoothed sum is an upper bound only."""
    values, weights = law_of((1.0, 1.0, 0.1, [20, 20, 20]))
    bracket = positive_part(Steps(np.array(values), np.array(weights, dtype=np.float64), 12))
    assert bracket is not None
    with pytest.raises(AssertionError):
        assert_contains((bracket[1], bracket[1]), exact_mean(values, weights, 12))


sums = st.tuples(st.floats(0.2, 8), st.integers(2, 40), st.integers(FEW + 1, 6000), st.floats(0.01, 0.6))


@settings(deadline=None, max_examples=25, derandomize=True)
@given(sums)
def test_the_line_agrees_with_windows(cell):
    own, num_classes, count, share = cell
    shuffled = ShuffledUnlinkedReports(own, num_classes, count)
    for one in (shuffled._blanket(share * own), *shuffled._all_others_alike(share * own)):
        exact, dropped = one.windowed(count, bits=192, side=1)
        low = one.windowed(count, bits=192, side=-1)[0]
        assert one.mean(count, bits=192, side=-1)[0] <= exact + dropped
        value, added = one.mean(count, bits=192, side=1)
        assert value + added >= low


def test_more_reports_than_any_window_keep_a_narrow_bracket():
    bounds = ShuffledUnlinkedReports(4.0, 10, 2**30).epsilon(1e-10)
    assert 0 < bounds.lower <= bounds.upper <= bounds.lower * (1 + 1e-5)
    few = ShuffledUnlinkedReports(4.0, 10, 2**28).epsilon(1e-10)
    assert 1.9 < few.lower / bounds.lower < 2.2


def test_where_the_line_is_too_long_the_upper_side_still_holds():
    """Nobody in a blanket of e^-60: fewer reports lose more."""
    shuffled = ShuffledUnlinkedReports(60.0, 3, 4 * MANY)
    bounds = shuffled.delta(50.0)
    assert 0 <= bounds.lower <= bounds.upper <= 1
    assert bounds.upper >= ShuffledUnlinkedReports(60.0, 3, MANY).delta(50.0).lower * (1 - 1e-6)
    assert isinstance(shuffled._blanket(50.0), ReportSum)


@quick
@given(
    st.tuples(*[st.floats(1e-3, 1e3)] * 4),
    st.floats(-1e3, 1e3).filter(lambda base: abs(base) > 1e-3),
    st.booleans(),
)
def test_every_value_is_moved_to_its_side(numbers: tuple[float, ...], base: float, split: bool):
    """Against the coefficients themselves, by more than the 512 roundings that they may carry."""
    gain, cost, middle, slope = numbers
    report = ReportSum(1.0, 0.5, split, gain, cost, base, slope, middle, 0.25)
    meant = [gain] * split + [-cost, -middle, base]
    for side in (1, -1):
        moved = report.steps(10, side).values
        for value, exact in zip(moved.tolist(), meant, strict=True):
            assert side * (Fraction(value) - Fraction(exact)) >= Fraction(abs(exact)) * 512 / 2**53
