"""Noisy one-hot vectors: tables of words that are exactly as private as they say, and answers that are looked up in them."""

import math
from fractions import Fraction
from itertools import pairwise, product

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import accounting
import labeldp
from labeldp.mechanisms import Plan, grid_noise
from labeldp.mechanisms.grid_noise import Table, gaussian_scale, gaussian_table, laplace_table
from labeldp.mechanisms.thresholds import exponential_below, integers, word_bits
from labeldp.testing import enumerate_channel
from tests import oracles
from tests.labeldp.test_release import BAD_LABELS
from tests.strategies import EPSILONS, FULL_RANGE_EPSILONS

STEADY = settings(deadline=None, max_examples=150)
FEW = settings(deadline=None, max_examples=40)
DELTAS = st.one_of(
    st.sampled_from([1e-300, 1e-30, 1e-12, 1e-6, 1e-5, 0.01, 0.5, 0.999, 1 - 1e-16]),
    st.floats(1e-20, 0.9999),
)
GAUSSIAN_EPSILONS = FULL_RANGE_EPSILONS.filter(lambda epsilon: epsilon > 0)
LABELS = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
LAPLACE = labeldp.NoisyOneHot(1.0, 5)
GAUSSIAN = labeldp.NoisyOneHot(1.0, 5, noise="gaussian", delta=1e-5)
MECHANISMS = [
    LAPLACE,
    GAUSSIAN,
    labeldp.NoisyOneHot(4.0, 5, grid_points=9),
    labeldp.NoisyOneHot(50.0, 5),
    labeldp.NoisyOneHot(50.0, 5, noise="gaussian", delta=1e-9),
    labeldp.NoisyOneHot(0.0, 5),
]
each_mechanism = pytest.mark.parametrize(
    "mechanism", MECHANISMS, ids=lambda m: f"{m.noise}-{m.epsilon:g}-{m.grid_points}"
)


def fractions(points: np.ndarray) -> list[Fraction]:
    return [Fraction(float(point)) for point in points]


def table_of(mechanism: labeldp.NoisyOneHot, bits: int | None = None) -> Table:
    return mechanism._table(word_bits(mechanism.epsilon) if bits is None else bits)


# The grid.


@STEADY
@given(FULL_RANGE_EPSILONS, st.integers(3, 5000))
def test_the_grid_is_symmetric_and_holds_0_and_1(epsilon: float, grid_points: int) -> None:
    mechanism = labeldp.NoisyOneHot(epsilon, 3, grid_points=grid_points)
    points = fractions(mechanism.points)
    step = points[1] - points[0]
    assert step <= Fraction(1, 2)
    assert step.numerator == 1
    assert step.denominator & (step.denominator - 1) == 0
    assert all(b - a == step for a, b in pairwise(points))
    assert [1 - point for point in points] == points[::-1]
    assert {0, Fraction(1, 2), 1} <= set(points)
    assert all((point / step).denominator == 1 for point in points)
    assert 3 <= len(points) <= grid_points


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 3.0, 8.0, 20.0, 40.0, 80.0])
def test_the_default_grid_is_fine_and_wide(epsilon: float) -> None:
    for mechanism, tails in (
        (labeldp.NoisyOneHot(epsilon, 3), 32),
        (labeldp.NoisyOneHot(epsilon, 3, noise="gaussian", delta=1e-6), 9),
    ):
        points = mechanism.points
        assert points[1] - points[0] <= mechanism.scale / 16
        assert points[-1] >= 1 + tails * mechanism.scale - 0.5
        assert len(points) <= 4096


# Privacy, from the words.


def check_words(table: Table) -> None:
    assert sum(table.counts) == 2**table.bits
    assert min(table.counts) >= 1


def check_laplace(table: Table, epsilon: float) -> None:
    """Each coordinate may lose epsilon / 2; the oracle's bracket is squared, so that e^epsilon itself is what is compared."""
    check_words(table)
    ratio = max(Fraction(a, b) for a, b in zip(table.counts, table.counts[::-1], strict=True))
    assert ratio**2 <= oracles.exponential_bracket(epsilon)[0]
    assert ratio == table.largest_ratio()


@STEADY
@given(FULL_RANGE_EPSILONS, st.integers(3, 4200))
def test_no_ratio_exceeds_epsilon_at_the_width_in_use(epsilon: float, grid_points: int) -> None:
    mechanism = labeldp.NoisyOneHot(epsilon, 3, grid_points=grid_points)
    check_laplace(table_of(mechanism), epsilon)
    assert mechanism.realized_ratio() == table_of(mechanism).largest_ratio() ** 2
    assert mechanism.realized_delta() == 0


@STEADY
@given(FULL_RANGE_EPSILONS, st.integers(3, 100), st.integers(8, 12))
def test_no_ratio_exceeds_epsilon_in_narrow_words(epsilon: float, grid_points: int, bits: int) -> None:
    check_laplace(laplace_table(epsilon, grid_points, bits), epsilon)


def test_counts_rounded_on_their_own_would_exceed_epsilon() -> None:
    """The twin: the nearest count for each input, and this test's oracle sees it."""
    above = 0
    for epsilon in np.linspace(0.1, 4, 40).tolist():
        table = laplace_table(epsilon, 65, 64)
        law = oracles.rounded_laplace(epsilon, fractions(table.grid.points))
        nearest = tuple(round(mass * 2**64) for mass in law)
        ratio = max(Fraction(a, b) for a, b in zip(nearest, nearest[::-1], strict=True))
        above += ratio**2 > oracles.exponential_bracket(epsilon)[1]
    assert above > 10


def test_a_realized_ratio_is_close_to_epsilon() -> None:
    for epsilon in (1e-3, 0.1, 1.0, 4.0, 20.0, 40.0, 80.0):
        ratio = labeldp.NoisyOneHot(epsilon, 3).realized_ratio()
        assert ratio >= oracles.exponential_bracket(epsilon)[1] * (1 - Fraction(1, 10**9))


def brute_force_delta(table: Table, ratio: Fraction) -> Fraction:
    """Over all pairs of points of two coordinates, without sorting anything."""
    zero, one = table.counts, table.counts[::-1]
    points = range(len(zero))
    excess = sum(
        max(Fraction(0), one[x] * zero[y] - ratio * zero[x] * one[y]) for x, y in product(points, points)
    )
    return excess / 4**table.bits


@STEADY
@given(
    st.integers(8, 12), st.data(), st.one_of(st.just(Fraction(1)), st.fractions(1, 30, max_denominator=99))
)
def test_delta_is_the_sum_over_all_pairs(bits: int, data, ratio: Fraction) -> None:
    """For any table, also where the quotient of the two inputs is not monotone."""
    reach = data.draw(st.integers(1, 6))
    cuts = data.draw(st.sets(st.integers(1, 2**bits - 1), min_size=2 * reach, max_size=2 * reach))
    counts = np.diff([0, *sorted(cuts), 2**bits]).tolist()
    table = Table(grid_noise.Grid(0.5, reach), tuple(counts), bits)
    assert table.delta(ratio) == brute_force_delta(table, ratio)


@FEW
@given(GAUSSIAN_EPSILONS, DELTAS, st.integers(3, 25))
def test_delta_of_gaussian_tables_is_the_sum_over_all_pairs(
    epsilon: float, delta: float, grid_points: int
) -> None:
    table = gaussian_table(gaussian_scale(epsilon, delta, grid_points), grid_points, word_bits(epsilon))
    ratio = exponential_below(epsilon)
    assert table.delta(ratio) == brute_force_delta(table, ratio)
    assert table.delta(ratio) <= Fraction(delta)


def hockey_stick(channel: list[list[Fraction]], ratio: Fraction) -> Fraction:
    return max(
        sum(max(Fraction(0), p - ratio * q) for p, q in zip(a, b, strict=True))
        for a, b in product(channel, channel)
    )


@pytest.mark.parametrize(("num_classes", "bits"), [(2, 10), (3, 6)])
def test_delta_of_the_enumerated_sampler_is_that_of_its_table(num_classes: int, bits: int) -> None:
    for epsilon, delta, grid_points in ((1.0, 0.05, 9), (0.5, 0.2, 7), (2.0, 1e-3, 5)):
        mechanism = labeldp.NoisyOneHot(epsilon, num_classes, "gaussian", delta, grid_points)
        channel = enumerate_channel(mechanism, bits=bits)
        zero = [Fraction(count, 2**bits) for count in table_of(mechanism, bits).counts]
        assert channel == oracles.noisy_one_hot(zero, num_classes)
        ratio = exponential_below(epsilon)
        assert hockey_stick(channel, ratio) == table_of(mechanism, bits).delta(ratio)


def check_delta(mechanism: labeldp.NoisyOneHot) -> None:
    check_words(table_of(mechanism))
    # a smaller ratio than e^epsilon makes a larger delta
    exact = table_of(mechanism).delta(oracles.exponential_bracket(mechanism.epsilon)[0])
    assert exact <= Fraction(mechanism.delta)


@STEADY
@given(GAUSSIAN_EPSILONS, DELTAS, st.sampled_from([3, 64, 1000, 4096]))
def test_delta_is_never_more_than_stated(epsilon: float, delta: float, grid_points: int) -> None:
    mechanism = labeldp.NoisyOneHot(epsilon, 3, "gaussian", delta, grid_points)
    check_delta(mechanism)
    assert mechanism.realized_delta() <= Fraction(delta)


class TooQuiet(labeldp.NoisyOneHot):
    """A tenth of a percent less noise than it needs."""

    @property
    def scale(self) -> float:
        return super().scale * 0.999


def test_less_noise_is_caught() -> None:
    """The twin."""
    for epsilon in (0.5, 1.0, 4.0, 50.0):
        with pytest.raises(AssertionError):
            check_delta(TooQuiet(epsilon, 3, noise="gaussian", delta=1e-6))


@pytest.mark.parametrize("epsilon", [0.1, 0.5, 1.0, 4.0, 10.0])
def test_no_more_noise_than_needed(epsilon: float) -> None:
    for delta in (1e-3, 1e-5, 1e-9):
        exact = labeldp.NoisyOneHot(epsilon, 3, noise="gaussian", delta=delta).realized_delta()
        assert exact >= Fraction(delta) * Fraction(97, 100)


def test_gaussian_scale_is_that_of_the_analytic_mechanism() -> None:
    """3.730632 is the published scale for sensitivity 1, epsilon 1 and delta 1e-5 (the classical bound gives 4.84)."""
    assert GAUSSIAN.scale == pytest.approx(3.730632 * math.sqrt(2), rel=1e-6)


# The law.


@FEW
@given(FULL_RANGE_EPSILONS, st.integers(3, 70))
def test_laplace_words_are_the_rounded_law(epsilon: float, grid_points: int) -> None:
    table = laplace_table(epsilon, grid_points, word_bits(epsilon))
    size = len(table.counts)
    slack = Fraction(2 * size, 2**table.bits) + Fraction(1, 10**13)
    law = oracles.rounded_laplace(epsilon, fractions(table.grid.points))
    for count, mass in zip(table.counts, law, strict=True):
        assert abs(Fraction(count, 2**table.bits) - mass) <= slack


@FEW
@given(st.sampled_from([0.07, 0.3, 1.0, 3.0, 50.0, 3000.0, 1e9]), st.integers(3, 70))
def test_gaussian_words_are_the_rounded_law(scale: float, grid_points: int) -> None:
    table = gaussian_table(scale, grid_points, 64)
    points = table.grid.points
    with mpmath.workdps(40):
        edges = [mpmath.mpf(0), *(mpmath.ncdf(x / scale) for x in (points[:-1] + points[1:]) / 2), 1]
        law = [float(b - a) for a, b in pairwise(edges)]
    np.testing.assert_allclose(np.array(table.counts) / 2**64, law, rtol=1e-12, atol=1e-14)


@each_mechanism
def test_the_sampler_gives_each_point_its_words(mechanism: labeldp.NoisyOneHot) -> None:
    """At full width: the first and the last word of each point, for a coordinate of input 0 and for one of input 1."""
    table, points = table_of(mechanism), mechanism.points
    end = 0
    for count, point, mirrored in zip(table.counts, points, points[::-1], strict=True):
        words = integers([[end] * 5, [end + count - 1] * 5], table.bits)
        values, rejected = mechanism.choose(words, np.array([2, 2]), Plan(2), table.bits)
        assert not rejected.any()
        assert (values == np.where(np.arange(5) == 2, mirrored, point)).all()
        end += count
    assert end == 2**table.bits


@pytest.mark.parametrize("mechanism", [LAPLACE, GAUSSIAN], ids=["laplace", "gaussian"])
def test_the_noise_of_a_large_release_fits(mechanism: labeldp.NoisyOneHot) -> None:
    labels = np.random.default_rng(0).integers(5, size=40_000)
    noisy = labeldp.privatize(mechanism, labels, source=labeldp.SeededSource(0)).values
    noise = noisy - (labels[:, None] == np.arange(5))
    law = stats.laplace if mechanism is LAPLACE else stats.norm
    edges = np.array([-6.0625, -3.0625, -1.0625, -0.0625, 0.0625, 1.0625, 3.0625, 6.0625])
    if mechanism is GAUSSIAN:
        edges = edges + np.sign(edges) / 16  # between points of its coarser grid
    expected = np.diff([0, *law.cdf(edges, scale=mechanism.scale), 1])
    for column in range(5):
        counts = np.bincount(np.searchsorted(edges, noise[:, column]), minlength=len(edges) + 1)
        assert stats.chisquare(counts, 40_000 * expected).pvalue > 1e-4
    correlation = np.corrcoef(noise.T)[np.triu_indices(5, 1)]
    assert np.abs(correlation).max() < 5 / math.sqrt(40_000)


# Likelihood, posterior, indicators.


def exact_likelihood(mechanism: labeldp.NoisyOneHot, row: np.ndarray) -> list[Fraction]:
    table = table_of(mechanism)
    place = {float(point): k for k, point in enumerate(mechanism.points)}
    zero = [table.counts[place[float(value)]] for value in row]
    one = [table.counts[-1 - place[float(value)]] for value in row]
    return [math.prod((one if j == c else zero)[j] for j in range(len(row))) for c in range(len(row))]


@each_mechanism
def test_likelihood_is_that_of_the_table_up_to_a_factor(mechanism: labeldp.NoisyOneHot) -> None:
    points = mechanism.points
    values = labeldp.privatize(mechanism, LABELS).values
    corners = np.where(np.eye(5, dtype=bool), points[-1], points[0])
    values = np.concatenate([values, corners, 1 - corners, np.full((1, 5), 0.5)])
    likelihood = mechanism.likelihood(values, Plan(len(values)))
    assert np.isfinite(likelihood).all()
    assert (likelihood.max(axis=1) == 1).all()
    for row, found in zip(values, likelihood, strict=True):
        exact = exact_likelihood(mechanism, row)
        expected = [float(Fraction(q, max(exact))) for q in exact]
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-300)


@pytest.mark.parametrize("noise", ["laplace", "gaussian"])
def test_few_outputs_have_probabilities(noise) -> None:
    mechanism = labeldp.NoisyOneHot(1.0, 3, noise, 0.01 if noise == "gaussian" else None, 9)
    total = 8 ** table_of(mechanism).bits
    for row, found in zip(
        mechanism.outputs(), mechanism.likelihood(mechanism.outputs(), Plan(729)), strict=True
    ):
        exact = [float(Fraction(q, total)) for q in exact_likelihood(mechanism, row)]
        np.testing.assert_allclose(found, exact, rtol=1e-12)
    np.testing.assert_array_equal(mechanism.response([2, 0], None), mechanism.channel()[[2, 0]])


def test_too_many_outputs_name_likelihood() -> None:
    for call in (LAPLACE.channel, LAPLACE.outputs, lambda: LAPLACE.response([0])):
        with pytest.raises(TypeError, match="likelihood"):
            call()
    assert LAPLACE.num_outputs == len(LAPLACE.points) ** 5


@each_mechanism
def test_posterior_is_bayes_rule(mechanism: labeldp.NoisyOneHot) -> None:
    prior = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
    noisy = labeldp.privatize(mechanism, LABELS)
    for row, found in zip(noisy.values, noisy.posterior(prior), strict=True):
        joint = [q * Fraction(float(p)) for q, p in zip(exact_likelihood(mechanism, row), prior, strict=True)]
        np.testing.assert_allclose(found, [float(q / sum(joint)) for q in joint], rtol=1e-9, atol=1e-300)


def test_posterior_of_continuous_noise_is_close() -> None:
    """Theory: sum_j |x_j - [j = c]| = const + |x_c - 1| - |x_c|; for Gaussian noise the squares, over twice the variance."""
    laplace = labeldp.privatize(LAPLACE, LABELS)
    logs = (np.abs(laplace.values) - np.abs(laplace.values - 1)) / LAPLACE.scale
    np.testing.assert_allclose(
        np.log(laplace.likelihood()), logs - logs.max(axis=1, keepdims=True), atol=0.05
    )
    gaussian = labeldp.privatize(GAUSSIAN, LABELS)
    logs = gaussian.values / GAUSSIAN.scale**2
    np.testing.assert_allclose(
        np.log(gaussian.likelihood()), logs - logs.max(axis=1, keepdims=True), atol=1e-3
    )


@each_mechanism
def test_permuted_classes_have_permuted_laws(mechanism: labeldp.NoisyOneHot) -> None:
    order = np.array([3, 0, 4, 1, 2])
    table = table_of(mechanism)
    rng = np.random.default_rng(0)
    words = integers(
        [[int.from_bytes(rng.bytes(table.bits // 8)) for _ in range(5)] for _ in LABELS], table.bits
    )
    values, _ = mechanism.choose(words, order[LABELS], Plan(10), table.bits)
    permuted, _ = mechanism.choose(words[:, order], LABELS, Plan(10), table.bits)
    np.testing.assert_array_equal(permuted, values[:, order])
    np.testing.assert_array_equal(
        mechanism.likelihood(permuted, Plan(10)), mechanism.likelihood(values, Plan(10))[:, order]
    )


@each_mechanism
def test_moments_are_those_of_the_table(mechanism: labeldp.NoisyOneHot) -> None:
    moments = mechanism.indicator_moments()
    counts, points = table_of(mechanism).counts, fractions(mechanism.points)
    total = sum(counts)
    for law, mean, variance in (
        (counts, moments.other_mean, moments.other_variance),
        (counts[::-1], moments.own_mean, moments.own_variance),
    ):
        exact = sum(c * x for c, x in zip(law, points, strict=True)) / total
        assert mean == pytest.approx(float(exact), rel=1e-15, abs=1e-15)
        spread = sum(c * (x - exact) ** 2 for c, x in zip(law, points, strict=True)) / total
        assert variance == pytest.approx(float(spread), rel=1e-15)
    assert (moments.own_covariance, moments.other_covariance) == (0, 0)
    assert (moments.gap == 0) == (mechanism.epsilon == 0)
    assert mechanism.indicators(np.zeros((3, 5))).tolist() == [[0.0] * 5] * 3


@pytest.mark.parametrize("mechanism", MECHANISMS[:4], ids=lambda m: f"{m.noise}-{m.epsilon:g}")
def test_corrected_values_are_unbiased(mechanism: labeldp.NoisyOneHot) -> None:
    labels = np.repeat(np.arange(5), [4000, 3000, 2000, 900, 100])
    noisy = labeldp.privatize(mechanism, labels, source=labeldp.SeededSource(1))
    moments = mechanism.indicator_moments()
    share = ((mechanism.indicators(noisy.values) - moments.other_mean) / moments.gap).mean(axis=0)
    error = math.sqrt(max(moments.own_variance, moments.other_variance) / len(labels)) / moments.gap
    np.testing.assert_allclose(share, [0.4, 0.3, 0.2, 0.09, 0.01], atol=4.5 * error)


# A release.


@each_mechanism
def test_saving_and_loading_gives_the_same_release(mechanism: labeldp.NoisyOneHot, tmp_path) -> None:
    noisy = labeldp.privatize(mechanism, LABELS.astype(np.int16), prior=None)
    assert (noisy.values.shape, noisy.values.dtype) == ((10, 5), np.float64)
    noisy.save(tmp_path / "noisy")
    loaded = labeldp.NoisyLabels.load(tmp_path / "noisy")
    np.testing.assert_array_equal(loaded.values, noisy.values)
    np.testing.assert_array_equal(loaded.likelihood(), noisy.likelihood())
    assert (loaded.mechanism, loaded.event) == (noisy.mechanism, noisy.event)


def test_events_and_guarantees_name_epsilon_and_delta() -> None:
    noisy = labeldp.privatize(LAPLACE, LABELS)
    assert noisy.event == accounting.Disjoint([accounting.PureDP(1.0)], [10])
    guarantee = noisy.guarantee(unit="label")
    assert (guarantee.epsilon, guarantee.delta, guarantee.holds) == (1.0, 0.0, True)
    noisy = labeldp.privatize(GAUSSIAN, LABELS)
    assert noisy.event == accounting.Disjoint([accounting.ApproximateDP(1.0, 1e-5)], [10])
    guarantee = noisy.guarantee(unit="label", delta=1e-5)
    assert (guarantee.epsilon, guarantee.delta, guarantee.holds) == (1.0, 1e-5, True)
    assert labeldp.privatize(LAPLACE, []).event == accounting.Disjoint([])


def test_gaussian_noise_has_no_largest_ratio_and_says_where_to_look() -> None:
    with pytest.raises(ValueError, match="realized_delta"):
        GAUSSIAN.realized_ratio()


def test_words_too_narrow_for_the_grid_are_refused() -> None:
    with pytest.raises(ValueError, match="grid_points"):
        enumerate_channel(labeldp.NoisyOneHot(1.0, 2, grid_points=63), bits=6)
    for grid_points, bits in ((129, 8), (2049, 12)):
        assert len(laplace_table(0.01, grid_points - 2, bits).counts) == grid_points - 2
        with pytest.raises(ValueError, match="grid_points"):
            laplace_table(0.01, grid_points, bits)


def test_only_values_on_the_grid_are_possible() -> None:
    values = labeldp.privatize(LAPLACE, LABELS).values
    step = LAPLACE.points[1] - LAPLACE.points[0]
    assert LAPLACE.possible(values, Plan(10))
    assert LAPLACE.possible(np.empty((0, 5)), Plan(0))
    for wrong in (
        values[:, :4],
        values[:9],
        values.ravel(),
        values.astype(np.float32),
        values.astype(np.int64),
        values + step / 2,
        np.nextafter(values, 9e9),
    ):
        assert not LAPLACE.possible(wrong, Plan(10))
    for entry in (np.nan, np.inf, -np.inf, LAPLACE.points[-1] + step, LAPLACE.points[0] - step, 1e308):
        wrong = values.copy()
        wrong[3, 2] = entry
        assert not LAPLACE.possible(wrong, Plan(10))
    assert not LAPLACE.possible(values, Plan(10, candidates=np.ones((10, 5), dtype=np.bool_)))
    assert not LAPLACE.possible(values, Plan(10, blocks=np.zeros((10, 5), dtype=np.uint8)))


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused(name: str) -> None:
    for call in (
        lambda: labeldp.privatize(LAPLACE, BAD_LABELS[name]),
        lambda: labeldp.NoisyOneHot(1.0, 2, grid_points=5).response(BAD_LABELS[name]),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert "3217" not in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    [
        *(dict(epsilon=value) for value in (-1, 81, None, float("nan"), True)),
        *(dict(num_classes=value) for value in (1, 2.0, None)),
        *(dict(noise=value) for value in ("gauss", None, 1, ["laplace"])),
        *(dict(grid_points=value) for value in (2, 0, -5, 2.0, None, True, 2**16 + 1)),
        dict(delta=1e-5),
        dict(delta=0.0),
        dict(noise="gaussian"),
        *(dict(noise="gaussian", delta=value) for value in (0, 1, -1e-5, 2.0, float("nan"), "1e-5", True)),
        dict(noise="gaussian", delta=1e-5, epsilon=0.0),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(parameters) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        labeldp.NoisyOneHot(**{"epsilon": 1.0, "num_classes": 5, **parameters})


@STEADY
@given(EPSILONS, st.integers(2, 6), st.data())
def test_every_answer_is_on_the_grid(epsilon: float, num_classes: int, data) -> None:
    delta = data.draw(st.sampled_from([None, 1e-6])) if epsilon else None
    mechanism = labeldp.NoisyOneHot(epsilon, num_classes, "gaussian" if delta else "laplace", delta)
    labels = data.draw(st.lists(st.integers(0, num_classes - 1), max_size=5))
    noisy = labeldp.privatize(mechanism, labels)
    assert mechanism.possible(noisy.values, noisy.plan)
    assert not np.isnan(noisy.likelihood()).any()
