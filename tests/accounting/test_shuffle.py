"""Shuffled reports: against brute force over all neighbouring data sets, and against what does not hold."""

from __future__ import annotations

import itertools
import math
from fractions import Fraction
from functools import cache

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import event_to_dict
from accounting.loss import Bounds
from accounting.shuffle import LARGEST_REPORTS, ShuffledUnlinkedReports
from tests.accounting.checks import assert_narrow

quick = settings(deadline=None, max_examples=60, derandomize=True)
SLACK = Fraction(1, 10**40)
"""What the oracle's 45 digits of e^epsilon may be off."""


def exponential(epsilon: float) -> Fraction:
    with mpmath.workdps(90):
        return Fraction(int(mpmath.exp(mpmath.mpf(epsilon)) * 10**45), 10**45)


@cache
def histograms(values: tuple[int, ...], large: Fraction, num_classes: int) -> dict[tuple[int, ...], Fraction]:
    """The law of the histogram of reports, from the definition."""
    law = {(0,) * num_classes: Fraction(1)}
    for value in values:
        grown: dict[tuple[int, ...], Fraction] = {}
        for histogram, p in law.items():
            for output in range(num_classes):
                key = tuple(count + (at == output) for at, count in enumerate(histogram))
                share = (large if output == value else 1) / (large + num_classes - 1)
                grown[key] = grown.get(key, 0) + p * share
        law = grown
    return law


def worst_delta(large: Fraction, bound: Fraction, num_classes: int, count: int) -> Fraction:
    """The largest hockey-stick over all pairs of neighbouring data sets; a relabelling makes the victim 0 or 1."""
    worst = Fraction(0)
    for others in itertools.combinations_with_replacement(range(num_classes), count - 1):
        first, second = (histograms((victim, *others), large, num_classes) for victim in (0, 1))
        worst = max(worst, sum((max(p - bound * second[h], 0) for h, p in first.items()), Fraction(0)))
    return worst


def blanket_delta(large: Fraction, bound: Fraction, num_classes: int, count: int) -> Fraction:
    """The histogram with the blanket count revealed, from the definition: B, then B uniform reports and the victim's."""
    p = 1 / (large + num_classes - 1)
    blanket, total = num_classes * p, Fraction(0)
    for size in range(count):
        weight = math.comb(count - 1, size) * blanket**size * (1 - blanket) ** (count - 1 - size)
        uniform = histograms((0,) * size, Fraction(1), num_classes)
        laws: list[dict[tuple[int, ...], Fraction]] = []
        for victim in (0, 1):
            law: dict[tuple[int, ...], Fraction] = {}
            for histogram, q in uniform.items():
                for output in range(num_classes):
                    key = tuple(c + (at == output) for at, c in enumerate(histogram))
                    law[key] = law.get(key, 0) + q * p * (large if output == victim else 1)
            laws.append(law)
        total += weight * sum(max(q - bound * laws[1].get(h, 0), 0) for h, q in laws[0].items())
    return total


def clone_delta(large: Fraction, bound: Fraction, num_classes: int, count: int) -> Fraction:
    """The clone formula that counts the two victim symbols only."""
    p = 1 / (large + num_classes - 1)
    laws: list[dict[tuple[int, int], Fraction]] = [{}, {}]
    for clones in range(count):
        weight = math.comb(count - 1, clones) * (2 * p) ** clones * (1 - 2 * p) ** (count - 1 - clones)
        for ones in range(clones + 1):
            share = weight * math.comb(clones, ones) / 2**clones
            steps = {(1, 0): large * p, (0, 1): p, (0, 0): 1 - (large + 1) * p}
            for (a, b), q in steps.items():
                for law, key in zip(
                    laws, ((ones + a, clones - ones + b), (ones + b, clones - ones + a)), strict=True
                ):
                    law[key] = law.get(key, 0) + share * q
    return sum((max(q - bound * laws[1].get(h, 0), 0) for h, q in laws[0].items()), Fraction(0))


def assert_bracket(bounds: Bounds, truth: Fraction) -> None:
    assert Fraction(bounds.lower) <= truth + SLACK
    assert truth <= Fraction(bounds.upper) + SLACK, (bounds, float(truth))


cells = st.tuples(st.integers(2, 4), st.integers(1, 4), st.floats(0.05, 5.0), st.floats(0, 1))


@quick
@given(cells)
def test_every_pair_of_data_sets_lies_inside_the_bracket(cell):
    num_classes, count, own, share = cell
    large, bound = exponential(own), exponential(share * own)
    bounds = ShuffledUnlinkedReports(own, num_classes, count).delta(share * own)
    assert_bracket(bounds, worst_delta(large, bound, num_classes, count))


@pytest.mark.slow
@settings(deadline=None, max_examples=400)
@given(st.tuples(st.integers(2, 5), st.integers(1, 7), st.floats(1e-3, 12.0), st.floats(0, 1)))
def test_every_pair_of_larger_data_sets_lies_inside_the_bracket(cell):
    num_classes, count, own, share = cell
    count = min(count, {2: 7, 3: 7, 4: 6, 5: 5}[num_classes])
    large, bound = exponential(own), exponential(share * own)
    bounds = ShuffledUnlinkedReports(own, num_classes, count).delta(share * own)
    assert_bracket(bounds, worst_delta(large, bound, num_classes, count))


@quick
@given(cells)
def test_upper_is_the_blanket_with_its_count_revealed(cell):
    num_classes, count, own, share = cell
    exact = blanket_delta(exponential(own), exponential(share * own), num_classes, count)
    upper = ShuffledUnlinkedReports(own, num_classes, count).delta(share * own).upper
    assert exact <= Fraction(upper) + SLACK
    assert upper <= float(exact) * (1 + 1e-9) + 1e-150


def test_counting_the_victims_symbols_only_is_caught():
    """The clone formula understates for three classes and more; for two it is the blanket."""
    own, share = 1.0, 0.75
    large, bound = exponential(own), exponential(share * own)
    for num_classes in (3, 4):
        truth = worst_delta(large, bound, num_classes, 3)
        clone = float(clone_delta(large, bound, num_classes, 3))
        assert_bracket(ShuffledUnlinkedReports(own, num_classes, 3).delta(share * own), truth)
        with pytest.raises(AssertionError):
            assert_bracket(Bounds(0.0, clone), truth)
    assert clone_delta(large, bound, 2, 3) == blanket_delta(large, bound, 2, 3)


@pytest.mark.parametrize(
    ("own", "num_classes", "count", "delta", "known"), [(4.0, 10, 1000, 1e-6, 1.527), (4.0, 10, 1, 1e-6, 4.0)]
)
def test_known_values(own, num_classes, count, delta, known):
    bounds = ShuffledUnlinkedReports(own, num_classes, count).epsilon(delta)
    assert bounds.upper == pytest.approx(known, abs=5e-4)
    assert_narrow(bounds, width=1e-3)


@quick
@given(st.floats(0.1, 6), st.integers(2, 50), st.integers(1, 300), st.floats(-12, -0.5))
def test_epsilon_inverts_delta(own, num_classes, count, power):
    shuffled, delta = ShuffledUnlinkedReports(own, num_classes, count), 10.0**power
    bounds = shuffled.epsilon(delta)
    assert 0 <= bounds.lower <= bounds.upper <= own
    assert shuffled.delta(bounds.upper).upper <= delta
    assert bounds.lower == 0 or shuffled.delta(bounds.lower).lower >= delta
    if bounds.upper > 1e-6:
        assert shuffled.delta(bounds.upper * (1 - 1e-5)).upper > delta


def assert_more_reports_lose_less(curve) -> None:
    assert curve(100) > curve(1000) > curve(3000)


def test_more_reports_lose_less():
    assert_more_reports_lose_less(lambda n: ShuffledUnlinkedReports(1.0, 10, n).epsilon(1e-6).upper)
    with pytest.raises(AssertionError):
        assert_more_reports_lose_less(lambda n: 1.0)


def test_more_classes_hide_more_among_their_reports():
    uppers = [ShuffledUnlinkedReports(1.0, k, 1000).epsilon(1e-6).upper for k in (2, 3, 10, 100)]
    assert uppers == sorted(uppers, reverse=True)


@pytest.mark.parametrize(
    ("own", "num_classes", "count"),
    [(1e-250, 2, 9), (1e-150, 3, 9), (1e-9, 2, 50), (80.0, 3, 50), (80.0, 10**15, 5), (20.0, 2, 10**4)],
)
def test_extremes_keep_a_bracket_without_nan(own, num_classes, count):
    shuffled = ShuffledUnlinkedReports(own, num_classes, count)
    for epsilon in (0.0, 5e-324, 1e-250, own / 3, math.nextafter(own, 0)):
        bounds = shuffled.delta(epsilon)
        assert 0 <= bounds.lower <= bounds.upper <= 1
    for delta in (0.0, 5e-324, 1e-200, 1e-6, 1.0):
        bounds = shuffled.epsilon(delta)
        assert 0 <= bounds.lower <= bounds.upper <= own


def test_pure_privacy_is_not_amplified():
    assert ShuffledUnlinkedReports(1.5, 4, 100).epsilon(0.0) == Bounds(1.5, 1.5)
    assert ShuffledUnlinkedReports(0.0, 4, 100).epsilon(1e-9) == Bounds(0.0, 0.0)
    assert ShuffledUnlinkedReports(1.5, 4, 100).delta(1.5) == Bounds(0.0, 0.0)


def test_no_transcript_can_claim_it():
    """Its name says unlinked; it is no event, so nothing composes it with releases of rows."""
    with pytest.raises(AssertionError):
        event_to_dict(ShuffledUnlinkedReports(1.0, 3, 10))


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ((81.0, 3, 10), ValueError),
        ((-1.0, 3, 10), ValueError),
        ((1.0, 1, 10), ValueError),
        ((1.0, 3, 0), ValueError),
        ((1.0, 3, LARGEST_REPORTS + 1), ValueError),
        (("1", 3, 10), TypeError),
        ((1.0, 3.5, 10), TypeError),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, error):
    with pytest.raises(error, match="Expected"):
        ShuffledUnlinkedReports(*arguments)
    with pytest.raises(ValueError, match="Expected epsilon >= 0"):
        ShuffledUnlinkedReports(1.0, 3, 10).delta(-1.0)


@pytest.mark.parametrize(
    ("epsilon", "num_classes", "num_reports"), [(1.0, 2, 2**30), (5.0, 2**53, 2**30), (1e-9, 10, 10**6)]
)
def test_a_delta_below_all_floats_is_not_called_zero(epsilon, num_classes, num_reports):
    """No epsilon below that of one report is pure, however many reports there are."""
    crowd = ShuffledUnlinkedReports(epsilon, num_classes, num_reports)
    bounds = crowd.delta(epsilon / 3)
    assert bounds.lower == 0 < bounds.upper < 1e-300
    assert crowd.delta(epsilon) == Bounds(0.0, 0.0)
