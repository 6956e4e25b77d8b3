"""Mechanisms for real-valued labels: what they read, that they are the best of their kind, and that they are exactly as private."""

import json
import math
import subprocess
import sys
import traceback
from fractions import Fraction
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize, stats

import accounting
import labeldp
from labeldp.mechanisms import Plan, unbiased, unbiased_program
from labeldp.mechanisms.label_grid import count_at_most, nearest
from labeldp.mechanisms.thresholds import exponential_below, word_bits
from labeldp.testing import enumerate_channel, largest_ratio
from tests import oracles
from tests.strategies import FULL_RANGE_EPSILONS, prior_rows

ROOT = Path(__file__).parents[2]
GRID = (-1.0, 0.0, 0.5, 2.0, 7.0)
PRIOR = (0.1, 0.4, 0.2, 0.2, 0.1)
BINS = labeldp.RandomizedResponseOnBins(3.0, GRID, PRIOR, adaptive=False)
MEDIANS = labeldp.RandomizedResponseOnBins(3.0, GRID, PRIOR, loss="absolute")
UNBIASED = labeldp.UnbiasedRandomizer(3.0, GRID, PRIOR)
MECHANISMS = [BINS, MEDIANS, UNBIASED]
LABELS = np.array([-1.0, 0.0, 0.5, 2.0, 7.0, 6.9, -0.4, 1.3])
each_mechanism = pytest.mark.parametrize(
    "mechanism", MECHANISMS, ids=lambda m: f"{type(m).__name__}-{getattr(m, 'loss', '')}"
)
each_kind = pytest.mark.parametrize("kind", [labeldp.RandomizedResponseOnBins, labeldp.UnbiasedRandomizer])


def released(mechanism, labels=LABELS, seed=0):
    return labeldp.privatize(mechanism, labels, source=labeldp.SeededSource(seed))


@st.composite
def grids(draw, least=2, most=6):
    """Increasing values of any scale, evenly spaced or not."""
    gaps = draw(st.lists(st.sampled_from([0.1, 1.0, 1.0, 2.5, 40.0]), min_size=least - 1, max_size=most - 1))
    start = draw(st.sampled_from([0.0, -3.0, 100.0]))
    scale = draw(st.sampled_from([1.0, 1e-6, 1e6]))
    return tuple((scale * np.concatenate([[start], start + np.cumsum(gaps)])).tolist())


@st.composite
def problems(draw, most=6):
    """A grid and a prior on it."""
    grid = draw(grids(most=most))
    return grid, tuple(draw(prior_rows(len(grid))).tolist())


def normalised(prior) -> np.ndarray:
    row = np.array(prior) / max(prior)
    return row / row.sum()


# What may go in.

GOOD_LABELS = {
    "list of floats": [0.1, 6.5],
    "list of integers": [0, 7],
    "int8": np.array([0, 7], dtype=np.int8),
    "uint64": np.array([0, 7], dtype=np.uint64),
    "float16": np.array([0.5, 7], dtype=np.float16),
    "float32": np.array([0.5, 7], dtype=np.float32),
    "long double": np.array([0.5, 7], dtype=np.longdouble),
    "big endian": np.array([0.5, 7], dtype=">f8"),
    "strided": np.linspace(0, 7, 9)[::4],
    "reversed": np.linspace(0, 7, 9)[::-1],
    "empty list": [],
    "empty integers": np.array([], dtype=np.int8),
    "the ends": [-1.0, 7.0],
}


@each_mechanism
@pytest.mark.parametrize("name", GOOD_LABELS)
def test_anything_that_is_real_numbers_goes_in(mechanism, name: str) -> None:
    labels = GOOD_LABELS[name]
    noisy = released(mechanism, labels)
    assert noisy.values.dtype == np.float64
    assert noisy.values.shape == (len(labels),)
    assert np.isin(noisy.values, mechanism.outputs()).all()
    assert noisy.likelihood().shape == (len(labels), 5)
    assert (noisy.likelihood() > 0).all()
    assert mechanism.possible(noisy.values, noisy.plan)
    assert mechanism.response(labels).shape == (len(labels), mechanism.num_outputs)


SECRET = 3217
BAD_LABELS = {
    "too large": [0.0, SECRET + 0.5],
    "too small": [0.0, -SECRET - 0.5],
    "just outside": [math.nextafter(7.0, 8.0)],
    "nan": [0.0, math.nan],
    "infinite": [math.inf],
    "minus infinity": [-math.inf],
    "beyond a float": np.array([np.longdouble(10) ** 400]),
    "largest uint64": np.array([2**64 - 1], dtype=np.uint64),
    "beyond 64 bits": [2**70 + SECRET],
    "bools": [True, False],
    "strings": ["0", str(SECRET)],
    "objects": np.array([0.5, None], dtype=object),
    "complex": np.array([1j]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "two-dimensional": [[0.0, 1.0]],
    "zero-dimensional": 0.5,
    "ragged": [[0.0], [1.0, 2.0]],
    "masked": np.ma.masked_array([0.0, 1.0], mask=[True, False]),
    "dictionary": {"y": [0.0]},
    "none": None,
    "bytes": b"012",
    "generator": (i for i in range(3)),
    "set": {0.0, 1.0},
}


@each_mechanism
@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused_without_being_printed(mechanism, name: str) -> None:
    for call in (lambda: released(mechanism, BAD_LABELS[name]), lambda: mechanism.read(BAD_LABELS[name])):
        with pytest.raises((TypeError, ValueError), match="Expected") as caught:
            call()
        message = "".join(traceback.format_exception_only(caught.value))
        assert str(SECRET) not in message
        assert caught.value.__cause__ is None


@settings(deadline=None, max_examples=200)
@given(grids(), st.lists(st.floats(0, 1), max_size=20))
def test_labels_are_rounded_to_the_nearest_grid_value(grid, shares) -> None:
    labels = np.clip(grid[0] + np.array(shares) * (grid[-1] - grid[0]), grid[0], grid[-1])
    read = labeldp.RandomizedResponseOnBins(1.0, grid, [1.0] * len(grid)).read(labels)
    for label, number in zip(labels, read, strict=True):
        distances = [abs(Fraction(float(label)) - Fraction(value)) for value in grid]
        assert number == distances.index(min(distances))


def test_ties_go_downwards_and_grid_values_to_themselves() -> None:
    assert BINS.read([-0.5, 0.25, 1.25, 4.5]).tolist() == [0, 1, 2, 3]
    close = [1.0, math.nextafter(1.0, 2.0), 2.0, math.nextafter(2.0, 3.0)]
    assert nearest(np.array(close), tuple(close)).tolist() == [0, 1, 2, 3]
    middle = (
        1.7550813375962908,
        2.244918662403709,
    )  # 2 is nearer to one of them, by less than a float of their mean
    expected = int(Fraction(4) > sum(map(Fraction, middle)))
    assert nearest(np.array([2.0]), middle).tolist() == [expected]
    tiny = (-5e-324, 0.0, 5e-324, 1.0)
    assert nearest(np.array(tiny), tiny).tolist() == [0, 1, 2, 3]
    huge = (-8e307, 0.0, 8e307)
    assert nearest(np.array([-7e307, -3e307, 5e307]), huge).tolist() == [0, 1, 2]


@settings(deadline=None)
@given(
    st.lists(st.lists(st.integers(0, 30), min_size=5, max_size=5), min_size=1, max_size=4),
    st.integers(0, 5),
    st.lists(st.integers(0, 31), min_size=1, max_size=9),
)
def test_counting_in_a_table_is_counting(rows, width: int, keys) -> None:
    table = np.sort(np.array(rows, dtype=np.uint64), axis=1)[:, :width]
    which = np.arange(len(keys)) % len(rows)
    expected = [(table[row] <= key).sum() for row, key in zip(which, keys, strict=True)]
    for kind in (np.uint64, object):
        found = count_at_most(table.astype(kind), which, np.array(keys).astype(kind))
        np.testing.assert_array_equal(found, expected)


BAD_VALUES = {
    "not increasing": [0.0, 2.0, 1.0, 3.0, 4.0],
    "repeated": [0.0, 1.0, 1.0, 2.0, 3.0],
    "signed zeros": [-0.0, 0.0, 1.0, 2.0, 3.0],
    "nan": [0.0, math.nan, 1.0, 2.0, 3.0],
    "infinite": [0.0, 1.0, 2.0, 3.0, math.inf],
    "beyond a float": [0, 1, 2, 3, 10**400],
    "too wide": [-1.7e308, 0.0, 1.0, 2.0, 1.7e308],
    "one": [0.0],
    "none at all": [],
    "too many": range(2**11 + 1),
    "strings": ["a", "b"],
    "a string": "01234",
    "bytes": b"01234",
    "bools": [False, True],
    "numpy bools": np.array([False, True]),
    "complex": [0j, 1j],
    "two-dimensional": np.arange(10.0).reshape(5, 2),
    "zero-dimensional": np.array(3.0),
    "ragged": [0.0, [1.0, 2.0]],
    "none": None,
    "number": 3.0,
    "set": {0.0, 1.0},
    "dictionary": {0.0: 1.0, 1.0: 2.0},
    "masked": np.ma.masked_array([0.0, 1.0], mask=[True, False]),
}
BAD_PRIORS = {
    "none": None,
    "nan": [0.1, math.nan, 0.1, 0.1, 0.1],
    "infinite": [0.1, math.inf, 0.1, 0.1, 0.1],
    "negative": [0.5, 0.6, -0.1, 0, 0],
    "all zero": [0.0] * 5,
    "too short": [0.5, 0.5],
    "rows": np.ones((2, 5)),
    "scalar": 0.2,
    "strings": ["a"] * 5,
    "complex": np.ones(5) * 1j,
    "bools": np.ones(5, dtype=bool),
    "masked": np.ma.masked_array(np.ones(5), mask=[0, 1, 0, 0, 0]),
}


@each_kind
@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_label_values_are_refused(kind, name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected label_values"):
        kind(1.0, BAD_VALUES[name], [1.0] * 5)


@each_kind
@pytest.mark.parametrize("name", BAD_VALUES)
def test_bad_output_values_are_refused(kind, name: str) -> None:
    if name in ("none", "one"):
        return
    with pytest.raises((TypeError, ValueError), match="Expected output_values"):
        kind(1.0, GRID, PRIOR, output_values=BAD_VALUES[name])


@each_kind
@pytest.mark.parametrize("name", BAD_PRIORS)
def test_bad_priors_are_refused(kind, name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="prior"):
        kind(1.0, GRID, BAD_PRIORS[name])


@each_kind
@pytest.mark.parametrize(
    "epsilon", [-1, math.nan, math.inf, 81.0, "1", None, True, [1.0], 1j, np.array([1.0])], ids=str
)
def test_bad_epsilons_are_refused(kind, epsilon) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        kind(epsilon, GRID, PRIOR)


def test_bad_options_are_refused() -> None:
    for loss in ("huber", None, 2, ["squared"]):
        with pytest.raises(ValueError, match="loss"):
            labeldp.RandomizedResponseOnBins(1.0, GRID, PRIOR, loss=loss)
    for adaptive in (None, 1, "yes"):
        with pytest.raises(TypeError, match="adaptive"):
            labeldp.RandomizedResponseOnBins(1.0, GRID, PRIOR, adaptive=adaptive)


@each_kind
def test_lists_arrays_and_integers_make_the_same_mechanism(kind) -> None:
    one = kind(1.0, [0, 1, 2], np.array([1, 2, 1]))
    assert one == kind(1.0, np.arange(3.0), (1.0, 2.0, 1.0))
    assert one != kind(1.0, np.arange(3.0), (1.0, 2.0, 2.0))
    assert hash(one) == hash(kind(1.0, range(3), [1, 2, 1]))
    assert len(repr(kind(1.0, range(30), np.ones(30)))) < 100


# Randomized response on bins is the best of all.


def expected_loss(channel, outputs, grid, prior, loss: str) -> float:
    power = {"squared": 2, "absolute": 1}[loss]
    distances = np.abs(np.array(outputs) - np.array(grid)[:, None]) ** power
    return float(normalised(prior) @ (np.array(channel) * distances).sum(axis=1))


def partitions(count: int):
    """Every way to put labels into bins, intervals or not."""
    if count == 0:
        yield []
        return
    for rest in partitions(count - 1):
        for position in range(len(rest)):
            yield [*rest[:position], [*rest[position], count - 1], *rest[position + 1 :]]
        yield [*rest, [count - 1]]


def brute_force_loss(grid, prior, epsilon: float, loss: str) -> float:
    """The least loss of randomized response on any bins with any values."""
    ratio, labels, weights = math.exp(epsilon), np.array(grid), normalised(prior)
    best = math.inf
    for bins in partitions(len(grid)):
        total = 0.0
        for members in bins:
            inside = np.where(np.isin(np.arange(len(grid)), members), ratio, 1.0) * weights
            tried = [inside @ labels / inside.sum()] if loss == "squared" else grid
            power = 2 if loss == "squared" else 1
            total += min(inside @ np.abs(value - labels) ** power for value in tried)
        best = min(best, total / (ratio + len(bins) - 1))
    return best


def check_best_bins(mechanism) -> None:
    grid, prior, loss = mechanism.label_values, mechanism.prior, mechanism.loss
    reached = expected_loss(mechanism.channel(), mechanism.outputs(), grid, prior, loss)
    best = brute_force_loss(grid, prior, mechanism.epsilon, loss)
    scale = (grid[-1] - grid[0]) ** (2 if loss == "squared" else 1)
    assert reached <= best * (1 + 1e-9) + 1e-13 * scale
    assert reached >= best * (1 - 1e-9) - 1e-13 * scale


losses = st.sampled_from(["squared", "absolute"])


@settings(deadline=None, max_examples=100)
@given(problems(), FULL_RANGE_EPSILONS, losses)
def test_bins_are_the_best_of_all_bins(problem, epsilon: float, loss: str) -> None:
    mechanism = labeldp.RandomizedResponseOnBins(epsilon, *problem, loss=loss)
    check_best_bins(mechanism)
    assert (np.diff(mechanism.bins) >= 0).all()
    assert set(mechanism.bins) == set(range(mechanism.num_outputs))


@pytest.mark.parametrize(
    "outputs",
    [
        pytest.param((-0.5, 1.0, 7.0), id="other bins"),
        pytest.param(GRID, id="every label"),
        pytest.param((1.4,), id="a constant"),
        pytest.param((-0.2, 2.0, 7.0), id="means of bins that forget lies"),
    ],
)
def test_worse_bins_are_seen(outputs) -> None:
    """The twin: other output values lose more, and the same check says so."""
    for loss in ("squared", "absolute"):
        mechanism = labeldp.RandomizedResponseOnBins(2.0, GRID, PRIOR, loss, outputs)
        with pytest.raises(AssertionError):
            check_best_bins(mechanism)


def pairwise_constraints(num_labels: int, num_outputs: int, ratio: float) -> np.ndarray:
    """Q(o | y) - ratio Q(o | y') <= 0 for all pairs; variables Q[y, o] in rows."""
    rows = []
    for first in range(num_labels):
        for second in range(num_labels):
            if first != second:
                block = np.zeros((num_outputs, num_labels, num_outputs))
                block[:, first] = np.eye(num_outputs)
                block[:, second] = -ratio * np.eye(num_outputs)
                rows.append(block.reshape(num_outputs, -1))
    return np.concatenate(rows)


def dense_program(grid, prior, outputs, epsilon: float, loss: str, *, unbiased: bool):
    """Least loss over all epsilon-DP channels to the outputs, every pair of labels written out."""
    num_labels, num_outputs = len(grid), len(outputs)
    power = {"squared": 2, "absolute": 1}[loss]
    costs = normalised(prior)[:, None] * np.abs(np.array(outputs) - np.array(grid)[:, None]) ** power
    equations = [np.kron(np.eye(num_labels), np.ones(num_outputs))]
    values = [np.ones(num_labels)]
    if unbiased:
        equations.append(np.kron(np.eye(num_labels), outputs))
        values.append(np.array(grid))
    constraints = pairwise_constraints(num_labels, num_outputs, math.exp(epsilon))
    return optimize.linprog(
        costs.ravel(),
        A_ub=constraints,
        b_ub=np.zeros(len(constraints)),
        A_eq=np.concatenate(equations),
        b_eq=np.concatenate(values),
    )


@pytest.mark.parametrize("loss", ["squared", "absolute"])
@pytest.mark.parametrize("epsilon", [0.3, 1.0, 2.0, 4.0])
def test_no_private_channel_loses_less_than_the_best_bins(epsilon: float, loss: str) -> None:
    rng = np.random.default_rng(round(10 * epsilon))
    for num_labels in (2, 3, 5):
        grid = tuple(np.sort(rng.normal(size=num_labels)).tolist())
        prior = rng.dirichlet(np.full(num_labels, 0.7))
        mechanism = labeldp.RandomizedResponseOnBins(epsilon, grid, prior, loss=loss)
        outputs = np.union1d(np.linspace(grid[0], grid[-1], 61), mechanism.outputs())
        result = dense_program(grid, prior, outputs, epsilon, loss, unbiased=False)
        reached = expected_loss(mechanism.channel(), mechanism.outputs(), grid, prior, loss)
        assert reached == pytest.approx(result.fun, rel=1e-6)


def test_many_values_take_the_same_road() -> None:
    """Against a slower program over the number of bins, which needs no trial ratio."""
    rng = np.random.default_rng(3)
    grid, prior = np.linspace(0, 1, 60), rng.dirichlet(np.full(60, 0.5))
    for epsilon in (0.5, 3.0, 6.0):
        ratio = math.exp(epsilon)
        costs = np.full((61, 60), np.inf)  # [bins, labels]
        interval = np.full((60, 60), np.inf)
        for start, end in combinations(range(61), 2):
            inside = np.where((np.arange(60) >= start) & (np.arange(60) < end), ratio, 1.0) * prior
            interval[start, end - 1] = inside @ (grid - inside @ grid / inside.sum()) ** 2
        costs[1] = interval[0]
        for bins in range(2, 61):
            for end in range(bins - 1, 60):
                costs[bins, end] = (costs[bins - 1, :end] + interval[1 : end + 1, end]).min()
        best = min(costs[bins, -1] / (ratio + bins - 1) for bins in range(1, 61))
        mechanism = labeldp.RandomizedResponseOnBins(epsilon, grid, prior)
        reached = expected_loss(mechanism.channel(), mechanism.outputs(), grid, prior, "squared")
        assert reached == pytest.approx(best, rel=1e-9)


def test_without_epsilon_the_answer_is_a_constant_and_costs_nothing() -> None:
    prior = (0.1, 0.5, 0.1, 0.2, 0.1)
    for loss, constant in (("squared", float(np.dot(GRID, prior))), ("absolute", 0.0)):
        mechanism = labeldp.RandomizedResponseOnBins(0.0, GRID, prior, loss=loss)
        assert mechanism.outputs() == pytest.approx([constant])
        assert mechanism.realized_ratio() == 1
        noisy = labeldp.privatize(mechanism, LABELS)
        assert len(set(noisy.values)) == 1
        assert noisy.guarantee(unit="label").epsilon == 0


def test_a_sure_prior_makes_a_constant_of_any_epsilon() -> None:
    mechanism = labeldp.RandomizedResponseOnBins(3.0, GRID, (0, 0, 1, 0, 0))
    assert mechanism.outputs().tolist() == [0.5]
    assert mechanism.channel().tolist() == [[1.0]] * 5


# Unbiased randomizers are unbiased, private and the best of all.


def means(channel, outputs) -> list[Fraction]:
    return [sum(q * Fraction(float(o)) for q, o in zip(row, outputs, strict=True)) for row in channel]


def check_unbiased(channel, mechanism, bits: int) -> None:
    outputs = mechanism.outputs()
    half_a_word = (Fraction(outputs[-1]) - Fraction(outputs[0])) / 2 ** (bits - 1)
    for mean, label in zip(means(channel, outputs), mechanism.label_values, strict=True):
        assert abs(mean - Fraction(label)) <= half_a_word


def check_private(channel, epsilon: float) -> None:
    ratio = largest_ratio(channel)
    assert ratio is not None
    assert ratio <= oracles.exponential_bracket(epsilon)[0]


def law_at_full_width(mechanism) -> list[list[Fraction]]:
    return [[Fraction(count, sum(row)) for count in row] for row in mechanism.counts]


def variance(mechanism) -> float:
    return expected_loss(
        mechanism.channel(), mechanism.outputs(), mechanism.label_values, mechanism.prior, "squared"
    )


unbiased_epsilons = st.one_of(
    st.floats(1e-6, 80), st.floats(0.01, 4), st.sampled_from([1e-9, 1.0, 20.0, 40.0, 40.1, 80.0])
)


@settings(deadline=None, max_examples=150)
@given(problems(), unbiased_epsilons)
def test_unbiased_answers_are_private_and_unbiased_exactly(problem, epsilon: float) -> None:
    mechanism = labeldp.UnbiasedRandomizer(epsilon, *problem)
    law, bits = law_at_full_width(mechanism), word_bits(epsilon)
    check_private(law, epsilon)
    assert mechanism.realized_ratio() == largest_ratio(law)
    assert len({sum(row) for row in mechanism.counts}) == 1
    total = sum(mechanism.counts[0])
    assert 2 ** (bits - 1) < total < 2**bits
    check_unbiased(law, mechanism, bits)
    low, high = map(Fraction, (mechanism.output_values[0], mechanism.output_values[-1]))
    assert mechanism.bias() <= (high - low) / (2 * total)
    labels = map(Fraction, mechanism.label_values)
    assert mechanism.bias() == max(
        abs(mean - y) for mean, y in zip(means(law, mechanism.outputs()), labels, strict=True)
    )
    assert all(count > 0 for row in mechanism.counts for count in row)


@settings(deadline=None, max_examples=80)
@given(problems(most=5), st.floats(0.3, 4), st.integers(9, 13))
def test_unbiased_answers_of_few_bits_are_private_and_unbiased(problem, epsilon: float, bits: int) -> None:
    mechanism = labeldp.UnbiasedRandomizer(epsilon, *problem)
    channel = enumerate_channel(mechanism, bits=bits)
    check_private(channel, epsilon)
    check_unbiased(channel, mechanism, bits)


def test_every_label_rejects_the_same_words() -> None:
    for bits in (9, 12):
        words = np.arange(2**bits, dtype=np.uint64)[:, None]
        rejected = [
            UNBIASED.choose(words, np.full(2**bits, label), Plan(2**bits), bits)[1] for label in range(5)
        ]
        assert all((row == rejected[0]).all() for row in rejected)


class RoundsTheMeanOnly(labeldp.UnbiasedRandomizer):
    """Answers with the lowest or the highest output, unbiased, at the ratio of the labels' own ends."""

    def choose(self, words, labels, plan, bits):
        lowest, highest = self.label_values[0], self.label_values[-1]
        share = (np.array(self.label_values) - lowest) / (highest - lowest)
        ends = (share * 2**bits).astype(np.uint64)
        up = words[:, 0] < ends[labels]
        return np.where(up, self.outputs()[-1], self.outputs()[0]), np.zeros(len(labels), dtype=bool)


class SomeWordsMore(labeldp.UnbiasedRandomizer):
    """The first 8 words of each output go to the output before it."""

    def choose(self, words, labels, plan, bits):
        return super().choose(words - np.minimum(words, np.uint64(8)), labels, plan, bits)


class AnswersOneBinAway(labeldp.RandomizedResponseOnBins):
    """A lie is always the next bin."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        own = self.outputs()[self.bins[labels]]
        following = self.outputs()[(self.bins[labels] + 1) % self.num_outputs]
        return np.where(values == own, own, following), rejected


class BinsOfTheLabel(labeldp.RandomizedResponseOnBins):
    """Labels at the ends of the grid keep their value."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        return np.where(labels == 0, self.outputs()[0], values), rejected & (labels != 0)


@pytest.mark.parametrize("kind", [RoundsTheMeanOnly, SomeWordsMore, AnswersOneBinAway, BinsOfTheLabel])
def test_a_broken_sampler_is_caught(kind) -> None:
    """The twins: each is caught by the ratio or by the mean, at few bits."""
    mutant = kind(1.0, GRID, PRIOR, output_values=(-1.0, 2.0, 5.0) if "Bin" in kind.__name__ else None)
    channel = enumerate_channel(mutant, bits=12)
    with pytest.raises(AssertionError):
        check_private(channel, 1.0)
        check_unbiased(channel, mutant, 12)


def changed(counts, *, column: int, row: int, by: int, to: int):
    rows = [list(r) for r in counts]
    rows[row][column] += by
    rows[row][to] -= by
    return rows


def test_counts_that_are_not_what_they_claim_are_refused() -> None:
    good = UNBIASED.counts
    parameters = dict(epsilon=3.0, label_values=GRID, prior=PRIOR, output_values=UNBIASED.output_values)
    assert labeldp.UnbiasedRandomizer(**parameters, counts=good) == UNBIASED
    assert labeldp.UnbiasedRandomizer(**parameters, counts=[list(row) for row in good]) == UNBIASED
    worst = max(range(len(good[0])), key=lambda o: Fraction(max(r[o] for r in good), min(r[o] for r in good)))
    heaviest = max(range(5), key=lambda y: good[y][worst])
    last = len(good[0]) - 1
    large = 2**40
    wrong = {
        "biased": changed(good, column=0, row=2, by=-large, to=last),
        "above epsilon": changed(good, column=worst, row=heaviest, by=2**60, to=0 if worst else last),
        "rows of other sums": [[count + (y == 3) for count in row] for y, row in enumerate(good)],
        "zero": [[0 if o == 1 else count for o, count in enumerate(row)] for row in good],
        "negative": [[-count for count in row] for row in good],
        "too many words": [[count * 2 for count in row] for row in good],
        "a row less": good[:-1],
        "a column less": [row[:-1] for row in good],
        "empty": [],
        "rows that are none": [3] * 5,
        "floats": [[float(count) for count in row] for row in good],
        "bools": [[True for _ in row] for row in good],
        "text": "counts",
        "a number": 5,
    }
    for name, counts in wrong.items():
        with pytest.raises((TypeError, ValueError), match="Expected counts"):
            labeldp.UnbiasedRandomizer(**parameters, counts=counts)
            pytest.fail(name)
    with pytest.raises(ValueError, match="Expected counts"):
        labeldp.UnbiasedRandomizer(**{**parameters, "epsilon": 2.999}, counts=good)
    with pytest.raises((TypeError, ValueError), match="Expected output_values"):
        labeldp.UnbiasedRandomizer(**{**parameters, "output_values": None}, counts=good)


@settings(deadline=None, max_examples=60)
@given(grids(least=2, most=2), st.floats(0.01, 12), st.floats(0.01, 0.99))
def test_two_labels_reach_the_known_least_variance(grid, epsilon: float, share: float) -> None:
    """Least variance of two labels R apart is R^2 E / (E - 1)^2 under every prior: Hammersley, Chapman and Robbins' bound.

    An unbiased answer has Var(o | y) >= R^2 / chi^2(Q(. | y') || Q(. | y)), and chi^2 <= (E - 1)^2 / E for every epsilon-DP channel.
    """
    mechanism = labeldp.UnbiasedRandomizer(epsilon, grid, (share, 1 - share))
    least = (grid[1] - grid[0]) ** 2 * math.exp(epsilon) / math.expm1(epsilon) ** 2
    assert variance(mechanism) == pytest.approx(least, rel=1e-4)


@settings(deadline=None, max_examples=80)
@given(problems(), unbiased_epsilons)
def test_variance_is_below_that_of_laplace_noise_and_of_debiased_response(problem, epsilon: float) -> None:
    grid, prior = problem
    mechanism = labeldp.UnbiasedRandomizer(epsilon, grid, prior)
    labels, span, count = np.array(grid), grid[-1] - grid[0], len(grid)
    reached = variance(mechanism)
    assert reached <= 2 * (span / epsilon) ** 2
    gap = math.expm1(epsilon)
    answers = labels + (labels - labels.mean()) * (count / gap)
    response = np.where(np.eye(count, dtype=bool), gap + 1, 1.0) / (gap + count)
    debiased = expected_loss(response, answers, grid, prior, "squared")
    assert reached <= debiased * (1 + 1e-4) + 1e-13 * span**2


@pytest.mark.parametrize("epsilon", [0.3, 1.0, 2.0, 4.0])
def test_variance_is_the_least_of_all_private_channels(epsilon: float) -> None:
    """Against a program of its own with a constraint for every pair of labels."""
    rng = np.random.default_rng(round(10 * epsilon))
    for num_labels in (2, 3, 5):
        grid = tuple(np.sort(rng.normal(size=num_labels)).tolist())
        prior = rng.dirichlet(np.full(num_labels, 0.7))
        reach = (grid[-1] - grid[0]) * (1 / math.expm1(epsilon) + 0.5)
        outputs = np.linspace(grid[0] - reach, grid[-1] + reach, 41)
        mechanism = labeldp.UnbiasedRandomizer(epsilon, grid, prior, output_values=outputs)
        result = dense_program(grid, prior, outputs, epsilon, "squared", unbiased=True)
        assert variance(mechanism) == pytest.approx(result.fun, rel=1e-6)
        assert np.isin(mechanism.outputs(), outputs).all()
        finer = labeldp.UnbiasedRandomizer(epsilon, grid, prior)
        assert variance(finer) <= result.fun * (1 + 1e-6)


def test_wider_and_finer_outputs_gain_next_to_nothing() -> None:
    """The default outputs lose less than a percent."""
    grid, prior = tuple(range(6)), (0.3, 0.1, 0.1, 0.1, 0.1, 0.3)
    for epsilon in (0.5, 2.0, 5.0):
        reach = 5 * (1 / math.expm1(epsilon) + 2)
        outputs = np.linspace(-reach, 5 + reach, 801)
        wide = labeldp.UnbiasedRandomizer(epsilon, grid, prior, output_values=outputs)
        assert variance(labeldp.UnbiasedRandomizer(epsilon, grid, prior)) <= 1.01 * variance(wide)


@pytest.mark.parametrize("epsilon", [0.5, 1.0, 3.0])
def test_outputs_too_close_to_the_labels_fit_no_unbiased_randomizer(epsilon: float) -> None:
    beyond = (GRID[-1] - GRID[0]) / math.expm1(epsilon)
    for short, enough in ((0.99, 1.01), (0.0, 1.2)):
        low = np.linspace(GRID[0] - enough * beyond, GRID[0] - short * beyond, 2)
        high = np.linspace(GRID[-1] + short * beyond, GRID[-1] + enough * beyond, 2)
        inner = np.linspace(GRID[0], GRID[-1], 15)
        for ends in ((low[1:], high), (low, high[:1]), (low[1:], high[:1])):
            outputs = np.unique(np.concatenate([ends[0], inner, ends[1]]))
            assert dense_program(GRID, PRIOR, outputs, epsilon, "squared", unbiased=True).status == 2
            with pytest.raises(ValueError, match="Expected output_values from below"):
                labeldp.UnbiasedRandomizer(epsilon, GRID, PRIOR, output_values=outputs)
        outputs = np.unique(np.concatenate([low, inner, high]))
        assert dense_program(GRID, PRIOR, outputs, epsilon, "squared", unbiased=True).status == 0
        check_private(
            law_at_full_width(labeldp.UnbiasedRandomizer(epsilon, GRID, PRIOR, output_values=outputs)),
            epsilon,
        )


@pytest.mark.parametrize("epsilon", [0.0, 5e-324, 1e-300, 1e-60, 1e-25, 1e-18, 1e-11])
def test_an_epsilon_too_small_for_unbiased_answers_is_refused(epsilon: float) -> None:
    with pytest.raises(ValueError, match="larger epsilon"):
        labeldp.UnbiasedRandomizer(epsilon, GRID, PRIOR)


def test_words_too_narrow_and_programs_too_large_are_refused() -> None:
    with pytest.raises(ValueError, match="of 8 bits"):
        enumerate_channel(labeldp.UnbiasedRandomizer(0.02, GRID, PRIOR), bits=8)
    with pytest.raises(ValueError, match="coarser grid"):
        labeldp.UnbiasedRandomizer(1.0, range(400), np.ones(400))


def test_a_program_that_no_solver_solves_is_refused(monkeypatch) -> None:
    class Failed:
        status = 4

    monkeypatch.setattr(optimize, "linprog", lambda *_, **__: Failed())
    with pytest.raises(ValueError, match="HiGHS"):
        labeldp.UnbiasedRandomizer(1.25, GRID, PRIOR)


def test_what_the_solver_gets_wrong_is_mended(monkeypatch) -> None:
    """Equations met to 1e-6 only, and shares above their level: the words are exact all the same."""
    exact = unbiased_program._program
    rng = np.random.default_rng(0)

    def sloppy(*parameters):
        levels, shares = exact(*parameters)
        wrong = shares + rng.uniform(-1e-6, 1e-6, shares.shape)
        return np.maximum(levels + rng.uniform(-1e-6, 1e-6, levels.shape), 0), np.maximum(wrong, 0)

    monkeypatch.setattr(unbiased_program, "_program", sloppy)
    for epsilon in (0.1, 1.0, 3.5):
        mechanism = labeldp.UnbiasedRandomizer(epsilon + 0.0625, GRID, PRIOR)
        check_private(law_at_full_width(mechanism), epsilon + 0.0625)
        check_unbiased(law_at_full_width(mechanism), mechanism, 64)


# Releases.


@each_mechanism
def test_the_law_of_a_large_release_fits(mechanism) -> None:
    """Goodness of fit with a fixed seed: decided once, the same on every run."""
    n = 40_000
    for number, label in enumerate(GRID):
        noisy = released(mechanism, np.full(n, label), seed=number)
        columns, counts = np.unique(noisy.values, return_counts=True)
        expected = n * mechanism.channel()[number][np.searchsorted(mechanism.outputs(), columns)]
        many = expected > 5
        observed = np.append(counts[many], n - counts[many].sum())
        law = np.append(expected[many], n - expected[many].sum())
        if law[-1] < 1e-6:
            observed, law = observed[:-1], law[:-1] * (n / law[:-1].sum())
        assert stats.chisquare(observed, law).pvalue > 1e-4


def test_averages_of_unbiased_answers_are_those_of_the_labels() -> None:
    labels = np.repeat(GRID, 20_000)
    noisy = released(UNBIASED, labels)
    deviation = (noisy.values - labels).mean() * math.sqrt(len(labels)) / noisy.values.std()
    assert abs(deviation) < 5
    biased = released(BINS, labels)
    assert abs((biased.values - labels).mean() * math.sqrt(len(labels)) / biased.values.std()) > 5


@each_mechanism
def test_the_posterior_gives_the_mean_of_the_label(mechanism) -> None:
    noisy = released(mechanism)
    means_of_labels = noisy.posterior(PRIOR) @ mechanism.label_values
    channel = mechanism.channel()
    for value, mean in zip(noisy.values, means_of_labels, strict=True):
        column = mechanism.outputs().tolist().index(value)
        joint = np.array(PRIOR) * channel[:, column]
        assert mean == pytest.approx(joint @ np.array(GRID) / joint.sum())
        np.testing.assert_array_equal(mechanism.likelihood(np.array([value]), Plan(1))[0], channel[:, column])


@each_mechanism
def test_values_that_are_no_answer_are_refused(mechanism) -> None:
    value = mechanism.outputs()[0]
    for wrong in (np.nextafter(value, np.inf), np.nan, np.inf, -1e9, 1e9):
        values = np.array([value, wrong])
        assert not mechanism.possible(values, Plan(2))
        with pytest.raises(ValueError, match="outputs of the mechanism"):
            mechanism.likelihood(values, Plan(2))
    assert mechanism.possible(np.array([value, value]), Plan(2))
    assert not mechanism.possible(np.array([value]), Plan(2))
    assert not mechanism.possible(np.array([value], dtype=np.float32), Plan(1))
    assert not mechanism.possible(np.array([value]), Plan(1, np.ones((1, 5), dtype=bool)))


@each_mechanism
def test_a_saved_release_comes_back_with_its_channel(mechanism, tmp_path, monkeypatch) -> None:
    noisy = labeldp.privatize(mechanism, LABELS)
    noisy.save(tmp_path / "noisy.npz")

    def never(*_):
        raise AssertionError("solved again")

    monkeypatch.setattr(unbiased, "solved", never)
    monkeypatch.setattr("labeldp.mechanisms.bins.best_outputs", never)
    loaded = labeldp.NoisyLabels.load(tmp_path / "noisy.npz")
    assert loaded.mechanism == mechanism
    assert loaded.event == noisy.event
    np.testing.assert_array_equal(loaded.values, noisy.values)
    np.testing.assert_array_equal(loaded.likelihood(), noisy.likelihood())


@each_mechanism
def test_a_saved_release_that_contradicts_itself_is_refused(mechanism, tmp_path) -> None:
    path = tmp_path / "noisy.npz"
    labeldp.privatize(mechanism, LABELS).save(path)
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    manifest = json.loads(str(arrays["manifest"]))
    parameters = manifest["mechanism"]
    changes = [
        {"values": arrays["values"] + 1e-9},
        {"values": np.rint(arrays["values"]).astype(np.int64)},
        {"mechanism": {**parameters, "epsilon": 1.0}},
        {"mechanism": {**parameters, "label_values": parameters["label_values"][:-1]}},
        {"mechanism": {**parameters, "output_values": [value + 1 for value in parameters["output_values"]]}},
    ]
    for change in changes:
        if "values" in change:
            np.savez(path, **{**arrays, **change})
        else:
            np.savez(path, **{**arrays, "manifest": np.array(json.dumps({**manifest, **change}))})
        with pytest.raises(ValueError, match="another or a damaged"):
            labeldp.NoisyLabels.load(path)


@each_mechanism
def test_two_releases_differ_unless_they_share_a_seed(mechanism) -> None:
    labels = np.tile(LABELS, 40)
    first, second = (labeldp.privatize(mechanism, labels).values for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(released(mechanism, labels).values, released(mechanism, labels).values)


def test_keyed_noise_is_the_same_in_a_rerun() -> None:
    source = labeldp.KeyedSource(bytes(range(32)))
    for mechanism in MECHANISMS:
        first, second = (
            labeldp.privatize(mechanism, LABELS, source=source, items=range(len(LABELS))) for _ in range(2)
        )
        np.testing.assert_array_equal(first.values, second.values)


def test_answers_stay_in_the_row_of_their_item() -> None:
    labels = np.tile(LABELS, 500)
    for kind in (labeldp.RandomizedResponseOnBins, labeldp.UnbiasedRandomizer):
        for epsilon in (40.0, 45.0):
            noisy = released(kind(epsilon, GRID, PRIOR), labels)
            rounded = np.array(GRID)[UNBIASED.read(labels)]
            np.testing.assert_allclose(noisy.values, rounded, atol=1e-12)


# What it says of itself.


def test_bins_are_charged_by_their_number_and_unbiased_answers_as_pure() -> None:
    assert BINS.num_outputs == 3
    answer = accounting.RandomizedResponse(3.0, 3)
    assert labeldp.privatize(BINS, LABELS).event == accounting.Disjoint([answer], [8])
    assert labeldp.privatize(UNBIASED, LABELS).event == accounting.Disjoint([accounting.PureDP(3.0)], [8])
    for mechanism in MECHANISMS:
        assert labeldp.privatize(mechanism, []).event.events == ()
        guarantee = labeldp.privatize(mechanism, LABELS).guarantee(unit="label")
        assert (guarantee.holds, guarantee.epsilon) == (True, 3.0)


def test_bins_that_follow_earlier_outputs_are_composed_as_the_worst() -> None:
    adaptive = labeldp.RandomizedResponseOnBins(3.0, GRID, PRIOR, adaptive=True)
    fixed, moved = (labeldp.privatize(m, LABELS).event for m in (BINS, adaptive))
    assert moved == accounting.Disjoint([accounting.RandomizedResponse(3.0, 3)], [8], adaptive=True)

    def epsilon(event):
        transcript = accounting.Transcript([event], about="teacher", pool="independent")
        return accounting.guarantee(transcript, unit="record", delta=0.01).epsilon

    generic = accounting.Disjoint([accounting.PureDP(3.0)], [8])
    assert epsilon(fixed) < epsilon(moved)
    assert epsilon(moved) == epsilon(generic)
    constant = labeldp.RandomizedResponseOnBins(3.0, GRID, (0, 0, 1, 0, 0), adaptive=True)
    assert labeldp.privatize(constant, LABELS).guarantee(unit="label").epsilon == 3.0


@settings(deadline=None, max_examples=100)
@given(problems(), FULL_RANGE_EPSILONS, losses)
def test_bins_realize_no_more_than_epsilon(problem, epsilon: float, loss: str) -> None:
    mechanism = labeldp.RandomizedResponseOnBins(epsilon, *problem, loss=loss)
    assert 1 <= mechanism.realized_ratio() <= exponential_below(epsilon)
    if mechanism.num_outputs > 1:
        assert float(mechanism.realized_ratio()) == pytest.approx(math.exp(epsilon), rel=1e-2)


def test_output_values_of_ones_own_are_obeyed() -> None:
    mechanism = labeldp.RandomizedResponseOnBins(1.0, GRID, PRIOR, output_values=[0, 3])
    assert mechanism.output_values == (0.0, 3.0)
    assert mechanism.bins.tolist() == [0, 0, 0, 1, 1]
    channel = enumerate_channel(mechanism)
    ratio = largest_ratio(channel)
    assert ratio is not None
    labels = [Fraction(value) for value in GRID]
    assert channel == oracles.on_bins(ratio, labels, [Fraction(0), Fraction(3)])


def test_only_solving_needs_scipy() -> None:
    code = (
        "import sys, labeldp\n"
        "labeldp.RandomizedResponseOnBins(1.0, [0, 1], [1, 1])\n"
        f"labeldp.UnbiasedRandomizer(3.0, {GRID}, {PRIOR}, {UNBIASED.output_values}, {UNBIASED.counts})\n"
        "assert 'scipy' not in sys.modules\n"
        "labeldp.UnbiasedRandomizer(2.0, [0, 1], [1, 1])\n"
        "assert 'scipy' in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
