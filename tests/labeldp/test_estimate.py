"""Estimates from noisy labels: unbiased, with intervals that hold, from the release alone."""

from fractions import Fraction
from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import labeldp
from labeldp.learning import support
from labeldp.learning.intervals import count_limits, share_limits
from labeldp.mechanisms import Plan
from labeldp.mechanisms.bins import RandomizedResponseOnBins
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.unbiased import UnbiasedRandomizer
from tests import oracles
from tests.strategies import FULL_RANGE_EPSILONS

KINDS = {
    "randomized response": labeldp.RandomizedResponse,
    "subset selection": labeldp.SubsetSelection,
    "subsets of two": lambda epsilon, k: labeldp.SubsetSelection(epsilon, k, subset_size=min(2, k - 1)),
    "symmetric bits": labeldp.UnaryEncoding,
    "optimized bits": lambda epsilon, k: labeldp.UnaryEncoding(epsilon, k, variant="optimized"),
    "coarse vectors": lambda epsilon, k: labeldp.NoisyOneHot(epsilon, k, grid_points=3),
}
DISCRETE = sorted(kind for kind in KINDS if "vectors" not in kind)
each_kind = pytest.mark.parametrize("kind", KINDS)
SAMPLED = {**KINDS, "vectors": labeldp.NoisyOneHot}  # too many answers to list
each_sampled_kind = pytest.mark.parametrize("kind", SAMPLED)
each_discrete_kind = pytest.mark.parametrize("kind", DISCRETE)
RARE = {2: np.array([0.98, 0.02]), 10: np.array([0.4, 0.2, 0.1, 0.1, 0.1, 0.05, 0.03, 0.015, 0.005, 0.0])}


def release_of(mechanism, values) -> labeldp.NoisyLabels:
    plan = Plan(len(values))
    return labeldp.NoisyLabels(mechanism, values, plan, mechanism.event(plan))


def released(mechanism, labels, seed=0) -> labeldp.NoisyLabels:
    return labeldp.privatize(mechanism, labels, source=labeldp.SeededSource(seed))


def labels_with(shares: np.ndarray, items: int) -> np.ndarray:
    """Labels 0 .. K - 1 in about these shares, none of them random."""
    return np.searchsorted(np.cumsum(shares), (np.arange(items) + 0.5) / items, side="right")


# The statistic.


def exact_law(mechanism) -> list[list[Fraction]]:
    """The published law in rationals, with a ratio within 1e-80 of e^epsilon; for vectors the channel of the table that runs."""
    match mechanism:
        case labeldp.SubsetSelection():
            ratio = oracles.exponential_bracket(mechanism.epsilon)[0]
            return oracles.subset_selection(ratio, mechanism.num_classes, mechanism.size)
        case labeldp.UnaryEncoding(variant="symmetric"):
            return oracles.unary_encoding(
                oracles.exponential_bracket(mechanism.epsilon / 2)[0], mechanism.num_classes
            )
        case labeldp.UnaryEncoding():
            ratio = oracles.exponential_bracket(mechanism.epsilon)[0]
            return oracles.unary_encoding(ratio, mechanism.num_classes, Fraction(1, 2))
        case labeldp.NoisyOneHot():
            return [[Fraction(float(q)) for q in row] for row in mechanism.channel()]
        case _:
            ratio = oracles.exponential_bracket(mechanism.epsilon)[0]
            return oracles.randomized_response(ratio, mechanism.num_classes)


def exact_moments(mechanism) -> IndicatorMoments:
    """Moments of the indicators by summing over every answer, in rationals."""
    answers = [[Fraction(x) for x in row] for row in mechanism.indicators(mechanism.outputs())]
    rows = exact_law(mechanism)

    def moment(label: int, *classes: int) -> Fraction:
        return sum(
            (q * np.prod([a[c] for c in classes]) for q, a in zip(rows[label], answers, strict=True)),
            Fraction(0),
        )

    def covariance(label: int, one: int, two: int) -> Fraction:
        return moment(label, one, two) - moment(label, one) * moment(label, two)

    last = mechanism.num_classes - 1
    return IndicatorMoments(
        gap=moment(0, 0) - moment(0, 1),
        other_mean=moment(0, 1),
        own_variance=covariance(0, 0, 0),
        other_variance=covariance(0, 1, 1),
        own_covariance=covariance(0, 0, 1),
        other_covariance=covariance(0, 1, last) if last > 1 else 0,
    )


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(KINDS)), FULL_RANGE_EPSILONS, st.integers(2, 3))
def test_moments_are_those_of_the_law(kind: str, epsilon: float, num_classes: int) -> None:
    mechanism = KINDS[kind](epsilon, num_classes)
    expected = [float(x) for x in exact_moments(mechanism)]
    found = mechanism.indicator_moments()
    precision = {"rtol": 1e-13, "atol": 1e-60} if kind in DISCRETE else {"atol": 1e-12}
    np.testing.assert_allclose(found[:5], expected[:5], **precision)
    if num_classes > 2:  # it is added to a variance
        assert found.other_covariance == pytest.approx(expected[5], abs=1e-13 * expected[3] + 1e-60)


def test_moments_of_another_law_are_caught() -> None:
    """The twin: a subset that is as likely to hold any other class as if drawn anew."""
    mechanism = labeldp.SubsetSelection(1.0, 4, subset_size=2)
    assert mechanism.indicator_moments().other_mean == pytest.approx(
        float(exact_moments(mechanism).other_mean)
    )
    assert abs(2 / 4 - exact_moments(mechanism).other_mean) > 0.05


@pytest.mark.parametrize("epsilon", [1e-300, 1e-30, 1e-9])
@each_discrete_kind
def test_the_gap_of_a_tiny_epsilon_does_not_cancel(kind: str, epsilon: float) -> None:
    """To first order in epsilon; the difference of the two means in floats would be 0, or half its digits wrong."""
    at_one = {"randomized response": 1 / 5, "subset selection": 0.3, "subsets of two": 0.3}
    slope = at_one.get(kind, 1 / 4)
    assert KINDS[kind](epsilon, 5).indicator_moments().gap == pytest.approx(slope * epsilon, rel=1e-8)


@pytest.mark.parametrize(
    ("kind", "num_classes", "total"),
    [
        ("randomized response", 10, 40.96),
        ("symmetric bits", 10, 39.2),
        ("optimized bits", 10, 37.8),
        ("subset selection", 10, 29.1),
        ("randomized response", 100, 3472),
        ("symmetric bits", 100, 391.8),
        ("optimized bits", 100, 369.2),
        ("subset selection", 100, 360.2),
    ],
)
def test_total_variance_of_one_hots_is_the_published_one(kind: str, num_classes: int, total: float) -> None:
    """theory.md, section 4, at epsilon 1."""
    moments = KINDS[kind](1.0, num_classes).indicator_moments()
    variance = moments.own_variance + (num_classes - 1) * moments.other_variance
    assert variance / moments.gap**2 == pytest.approx(total, rel=2e-3)


# Unbiased, and as variable as stated: over every answer that two items can give.


def over_all_answers(mechanism, labels, function) -> tuple[np.ndarray, np.ndarray]:
    """Exact mean and variance of a function of a release of these labels."""
    channel, outputs = mechanism.channel(), mechanism.outputs()
    weights, values = [], []
    for answers in product(range(len(outputs)), repeat=len(labels)):
        weights.append(
            np.prod([channel[label, answer] for label, answer in zip(labels, answers, strict=True)])
        )
        values.append(np.asarray(function(release_of(mechanism, outputs[list(answers)]))))
    weights, values = np.array(weights), np.array(values)
    mean = np.tensordot(weights, values, 1)
    return mean, np.tensordot(weights, (values - mean) ** 2, 1)


ESTIMATES = {
    "counts": (lambda noisy: labeldp.estimate.counts(noisy), [0, 1, 1]),
    "proportions": (lambda noisy: labeldp.estimate.proportions(noisy), [0, 0.5, 0.5]),
    "means": (lambda noisy: labeldp.estimate.means(noisy, [5, -1, 3]), 1.0),
    "group means": (lambda noisy: labeldp.estimate.means(noisy, [5, -1, 3], groups=[1, 0]), [3, -1]),
    "confusion": (lambda noisy: labeldp.estimate.confusion(noisy, [2, 0]), [[0, 0, 1], [0, 0, 0], [0, 1, 0]]),
    "accuracy": (lambda noisy: labeldp.estimate.accuracy(noisy, [1, 1]), 0.5),
}


@each_kind
@pytest.mark.parametrize("name", ESTIMATES)
def test_values_are_unbiased(kind: str, name: str) -> None:
    function, truth = ESTIMATES[name]
    mean, _ = over_all_answers(KINDS[kind](1.0, 3), [1, 2], lambda noisy: function(noisy).value)
    np.testing.assert_allclose(mean, truth, atol=1e-12)


def test_the_answers_themselves_are_biased() -> None:
    """The twin: shares of the answers, uncorrected."""
    mechanism = labeldp.RandomizedResponse(1.0, 3)
    mean, _ = over_all_answers(mechanism, [1, 2], lambda noisy: np.bincount(noisy.values, minlength=3))
    assert np.abs(mean - [0, 1, 1]).max() > 0.3


@each_kind
@pytest.mark.parametrize("name", ["counts", "means", "group means", "confusion", "accuracy"])
def test_standard_errors_are_those_of_the_noise(kind: str, name: str) -> None:
    """A large release of the same two labels again and again: standard errors per item against the exact ones."""
    function, _ = ESTIMATES[name]
    mechanism = KINDS[kind](1.0, 3)
    _, variance = over_all_answers(mechanism, [1, 2], lambda noisy: function(noisy).value)
    copies = 20_000
    noisy = released(mechanism, np.tile([1, 2], copies))
    many = {
        "counts": lambda: labeldp.estimate.counts(noisy).standard_error / np.sqrt(copies),
        "means": lambda: labeldp.estimate.means(noisy, [5, -1, 3]).standard_error * np.sqrt(copies),
        "group means": lambda: (
            labeldp.estimate.means(noisy, [5, -1, 3], groups=np.tile([1, 0], copies)).standard_error
            * np.sqrt(copies)
        ),
        "confusion": lambda: (
            labeldp.estimate.confusion(noisy, np.tile([2, 0], copies)).standard_error / np.sqrt(copies)
        ),
        "accuracy": lambda: (
            labeldp.estimate.accuracy(noisy, np.ones(2 * copies, dtype=int)).standard_error * np.sqrt(copies)
        ),
    }
    np.testing.assert_allclose(many[name](), np.sqrt(variance), rtol=0.03)


def test_centred_weights_do_better_than_one_indicator() -> None:
    """With two bits for two classes the rate uses both, and is more precise than the count of one class."""
    noisy = released(labeldp.UnaryEncoding(1.0, 2), np.arange(1000) % 2)
    rate, count = labeldp.estimate.means(noisy), labeldp.estimate.counts(noisy)[1]
    assert rate.standard_error == pytest.approx(count.standard_error / 1000 / np.sqrt(2))
    shifted = labeldp.estimate.means(noisy, [5, 6])
    np.testing.assert_allclose(
        [shifted.value, shifted.lower, shifted.upper, shifted.standard_error],
        [rate.value + 5, rate.lower + 5, rate.upper + 5, rate.standard_error],
    )


# Intervals: exact coverage, by summing over every number of ones.


def two_binomials(own_items: int, items: int, own: float, other: float) -> np.ndarray:
    """Law of the number of ones, (items + 1,)."""
    first = stats.binom.pmf(np.arange(own_items + 1), own_items, own)
    return np.convolve(first, stats.binom.pmf(np.arange(items - own_items + 1), items - own_items, other))


def least_count_coverage(limits, items: int, own: float, other: float) -> float:
    lower, upper = limits(np.arange(items + 1.0), np.full(items + 1, float(items)))
    covers = ((lower <= n) & (n <= upper) for n in range(items + 1))
    return min(two_binomials(n, items, own, other)[c].sum() for n, c in enumerate(covers))


LAWS = [(0.73, 0.27), (0.232, 0.0854), (0.6, 0.59), (0.98, 0.002), (0.5, 0.01), (1.0, 1e-30)]


@pytest.mark.parametrize(("own", "other"), LAWS)
@pytest.mark.parametrize("items", [1, 2, 50, 200])
@pytest.mark.parametrize("confidence", [0.5, 0.95, 0.999])
def test_intervals_of_counts_hold_for_any_number_of_items(own, other, items: int, confidence: float) -> None:
    def limits(ones, n):
        return count_limits(ones, n, own=own, other=other, confidence=confidence)

    assert least_count_coverage(limits, items, own, other) >= confidence - 1e-9


@pytest.mark.parametrize(("own", "other"), [(0.98, 0.002), (0.5, 0.01)])
def test_normal_intervals_would_not_hold(own: float, other: float) -> None:
    """The twin, and why the intervals are exact: rare answers."""

    def limits(ones, items):
        value = (ones - items * other) / (own - other)
        inside = np.clip(value, 0, items)
        deviation = np.sqrt(inside * own * (1 - own) + (items - inside) * other * (1 - other)) / (own - other)
        return value - 1.96 * deviation, value + 1.96 * deviation

    assert least_count_coverage(limits, 50, own, other) < 0.92


def test_intervals_of_counts_are_hardly_wider_than_normal_ones() -> None:
    for own, other in ((0.73, 0.27), (0.232, 0.0854)):
        items, truth = 100_000.0, 30_000
        ones = np.array([round(truth * own + (items - truth) * other)], dtype=float)
        lower, upper = count_limits(ones, np.array([items]), own=own, other=other, confidence=0.95)
        variance = truth * own * (1 - own) + (items - truth) * other * (1 - other)
        normal = 2 * 1.95996 * np.sqrt(variance) / (own - other)
        assert 1 <= (upper - lower)[0] / normal < 1.03


@settings(deadline=None, max_examples=200)
@given(st.integers(0, 300), st.data())
def test_limits_of_counts_are_ordered_and_possible(items: int, data: st.DataObject) -> None:
    """Also for answers that are all but impossible; the search does not depend on where it starts."""
    ones = data.draw(st.integers(0, items))
    probability = st.one_of(st.just(0.0), st.floats(1e-100, 1))
    own, other = sorted((data.draw(probability), data.draw(probability)), reverse=True)
    pair = np.array([float(ones)]), np.array([float(items)])
    lower, upper = count_limits(*pair, own=own, other=other, confidence=0.9)
    assert 0 <= lower[0] <= upper[0] <= items
    wider = count_limits(*pair, own=own, other=other, confidence=0.99)
    assert wider[0][0] <= lower[0] <= upper[0] <= wider[1][0] or lower[0] == upper[0]


@pytest.mark.parametrize("items", [1, 10, 300])
def test_intervals_of_shares_hold_for_any_number_of_items(items: int) -> None:
    lower, upper = share_limits(np.arange(items + 1), items, confidence=0.95)
    for share in np.linspace(0, 1, 201):
        law = stats.binom.pmf(np.arange(items + 1), items, share)
        assert law[(lower <= share) & (share <= upper)].sum() >= 0.95


@pytest.mark.parametrize(("items", "confidence"), [(10_112, 0.999), (3_000, 0.95), (20_000, 0.9)])
def test_limits_of_shares_are_where_the_tails_are(items: int, confidence: float) -> None:
    """At every number of ones; the inverse that scipy 1.17 has is off by a fifth at 9113 of 10112."""
    ones, tail = np.arange(items + 1), (1 - confidence) / 2
    lower, upper = share_limits(ones, items, confidence=confidence)
    np.testing.assert_allclose(stats.binom.sf(ones[1:] - 1, items, lower[1:]), tail, rtol=1e-6)
    np.testing.assert_allclose(stats.binom.cdf(ones[:-1], items, upper[:-1]), tail, rtol=1e-6)
    assert (lower[0], upper[-1]) == (0, 1)
    assert (np.diff(lower) > 0).all()
    assert (np.diff(upper) > 0).all()


# Intervals: coverage of whole releases, with fixed seeds.


def check_coverage(covers: np.ndarray, confidence: float = 0.95) -> None:
    """Fewer covered than one in a million intervals of that confidence would leave."""
    assert covers.sum() >= stats.binom.ppf(1e-6, covers.size, confidence), covers.mean()


def repeated(mechanism, num_classes: int, items: int, repeats: int):
    """One release of the same labels many times, and the number of the repeat of each item."""
    labels = labels_with(RARE[num_classes], items)
    noisy = released(mechanism, np.tile(labels, repeats), seed=items)
    return labels, noisy, np.repeat(np.arange(repeats), items)


@each_sampled_kind
@pytest.mark.parametrize("num_classes", [2, 10])
@pytest.mark.parametrize(("items", "repeats"), [(50, 400), (1000, 200), (10_000, 40)])
def test_intervals_cover_counts_and_means(kind: str, num_classes: int, items: int, repeats: int) -> None:
    mechanism = SAMPLED[kind](1.0, num_classes)
    labels, noisy, repeat = repeated(mechanism, num_classes, items, repeats)
    counted = labeldp.estimate.confusion(noisy, repeat, num_predictions=repeats)
    truth = np.bincount(labels, minlength=num_classes)
    for c in range(num_classes):
        check_coverage((counted.lower[:, c] <= truth[c]) & (truth[c] <= counted.upper[:, c]))
    mean = labeldp.estimate.means(noisy, groups=repeat)
    check_coverage((mean.lower <= labels.mean()) & (labels.mean() <= mean.upper))


def test_intervals_of_another_epsilon_do_not_cover() -> None:
    """The twin: the same check on answers that were noisier than is said."""
    labels, noisy, repeat = repeated(labeldp.RandomizedResponse(1.0, 2), 2, 1000, 200)
    claimed = release_of(labeldp.RandomizedResponse(1.2, 2), noisy.values)
    mean = labeldp.estimate.means(claimed, groups=repeat)
    with pytest.raises(AssertionError):
        check_coverage((mean.lower <= labels.mean()) & (labels.mean() <= mean.upper))


@each_sampled_kind
def test_intervals_cover_proportions_of_a_population(kind: str) -> None:
    """Every release samples its items anew."""
    rng, mechanism, shares = np.random.default_rng(5), SAMPLED[kind](3.0, 10), RARE[10]
    covers = []
    for seed in range(200):
        noisy = released(mechanism, rng.choice(10, p=shares, size=300), seed)
        share = labeldp.estimate.proportions(noisy)
        covers.append((share.lower <= shares) & (shares <= share.upper))
    for c in range(10):
        check_coverage(np.array(covers)[:, c])


def test_intervals_of_counts_do_not_cover_a_population() -> None:
    """The twin: noise alone is not all that varies when items are a sample."""
    rng, mechanism = np.random.default_rng(5), labeldp.RandomizedResponse(4.0, 2)
    covers = []
    for seed in range(100):
        count = labeldp.estimate.counts(released(mechanism, rng.integers(2, size=300), seed))[1]
        covers.append(count.lower <= 150 <= count.upper)
    with pytest.raises(AssertionError):
        check_coverage(np.array(covers))


@each_sampled_kind
def test_intervals_cover_accuracy(kind: str) -> None:
    mechanism, labels = SAMPLED[kind](2.0, 10), labels_with(RARE[10], 200)
    predictions = np.where(np.arange(200) % 3, labels, 0)
    truth = (predictions == labels).mean()
    found = [labeldp.estimate.accuracy(released(mechanism, labels, seed), predictions) for seed in range(200)]
    check_coverage(np.array([f.lower <= truth <= f.upper for f in found]))


def test_intervals_cover_means_of_two_values_on_many_classes() -> None:
    """The share of a set of classes, exactly."""
    mechanism, values = labeldp.RandomizedResponse(1.5, 10), [7, 3, 3, 3, 7, 3, 3, 3, 3, 7]
    labels, noisy, repeat = repeated(mechanism, 10, 50, 400)
    mean, truth = labeldp.estimate.means(noisy, values, groups=repeat), np.array(values)[labels].mean()
    check_coverage((mean.lower <= truth) & (truth <= mean.upper))
    steps = (mean.lower - 3) / 4 * 50
    np.testing.assert_allclose(steps, np.round(steps), atol=1e-9)


# Real-valued labels.

GRID = (0.0, 1.0, 2.0, 5.0)


def unbiased(epsilon: float = 1.0) -> UnbiasedRandomizer:
    return UnbiasedRandomizer(epsilon, GRID, (0.4, 0.3, 0.2, 0.1))


def test_means_of_unbiased_answers_are_those_of_the_labels() -> None:
    mechanism = unbiased()
    mean, variance = over_all_answers(
        mechanism, [1, 3], lambda noisy: [labeldp.estimate.means(noisy).value, *noisy.values]
    )
    np.testing.assert_allclose(mean, [(GRID[1] + GRID[3]) / 2, GRID[1], GRID[3]], atol=1e-12)
    assert variance[0] > 0


@pytest.mark.parametrize(("items", "repeats"), [(50, 400), (1000, 200)])
def test_intervals_cover_means_of_unbiased_answers(items: int, repeats: int) -> None:
    labels = np.array(GRID)[labels_with(np.array([0.4, 0.3, 0.2, 0.1]), items)]
    noisy = released(unbiased(), np.tile(labels, repeats), seed=items)
    mean = labeldp.estimate.means(noisy, groups=np.repeat(np.arange(repeats), items))
    check_coverage((mean.lower <= labels.mean()) & (labels.mean() <= mean.upper))
    assert mean.standard_error.mean() >= mean.value.std()
    assert (mean.lower >= 0).all()
    assert (mean.upper <= 5).all()


def test_means_of_binned_answers_would_be_biased() -> None:
    """The twin: answers of least loss are not unbiased, and are refused."""
    mechanism = RandomizedResponseOnBins(1.0, GRID, (0.4, 0.3, 0.2, 0.1))
    mean, _ = over_all_answers(mechanism, [3, 3], lambda noisy: noisy.values.mean())
    assert abs(mean - 5) > 1
    with pytest.raises(TypeError, match="posterior"):
        labeldp.estimate.means(released(mechanism, [5.0, 5.0]))


def test_unbiased_answers_have_means_and_nothing_else() -> None:
    noisy = released(unbiased(), [0.0, 1.0, 5.0])
    for call in (labeldp.estimate.counts, labeldp.estimate.proportions):
        with pytest.raises(TypeError, match="UnbiasedRandomizer"):
            call(noisy)
    with pytest.raises(TypeError, match="class_values"):
        labeldp.estimate.means(noisy, [0, 1, 2, 5])
    mean = labeldp.estimate.means(noisy, groups=[0, 2, 2])
    assert [mean.lower[0], mean.upper[0]] == [0, 5]
    assert np.isnan(mean.standard_error).tolist() == [True, True, False]
    assert np.isnan(mean.value).tolist() == np.isnan(mean.lower).tolist() == [False, True, False]
    alone = labeldp.estimate.means(release_of(noisy.mechanism, noisy.values[1:]))
    for field in ("value", "lower", "upper", "standard_error"):
        assert getattr(mean[2], field) == pytest.approx(getattr(alone, field))
    none = labeldp.estimate.means(released(unbiased(), []))
    assert np.isnan([none.value, none.lower, none.upper, none.standard_error]).all()


# One estimate and another.


@each_kind
def test_a_mean_by_group_is_the_mean_of_the_group(kind: str) -> None:
    mechanism, rng = KINDS[kind](1.0, 4), np.random.default_rng(0)
    noisy, groups = released(mechanism, rng.integers(4, size=500)), rng.integers(3, size=500)
    together = labeldp.estimate.means(noisy, [1, 2, 4, 8], groups=groups)
    for group in range(3):
        alone = labeldp.estimate.means(release_of(mechanism, noisy.values[groups == group]), [1, 2, 4, 8])
        for field in ("value", "lower", "upper", "standard_error"):
            assert getattr(together[group], field) == pytest.approx(getattr(alone, field))


@each_kind
def test_estimates_agree_with_one_another(kind: str) -> None:
    mechanism, rng = KINDS[kind](1.0, 4), np.random.default_rng(0)
    noisy, predictions = released(mechanism, rng.integers(4, size=500)), rng.integers(4, size=500)
    count = labeldp.estimate.counts(noisy)
    table = labeldp.estimate.confusion(noisy, predictions)
    np.testing.assert_allclose(table.value.sum(axis=0), count.value)
    np.testing.assert_allclose(labeldp.estimate.proportions(noisy).value, count.value / 500)
    accuracy = labeldp.estimate.accuracy(noisy, predictions)
    assert accuracy.value == pytest.approx(np.trace(table.value) / 500)
    assert labeldp.estimate.confusion(noisy, predictions, num_predictions=6).value.shape == (6, 4)
    assert isinstance(accuracy.value, float)
    assert isinstance(labeldp.estimate.means(noisy).value, float)


def test_a_rate_is_the_share_of_class_one() -> None:
    noisy = released(labeldp.RandomizedResponse(1.0, 2), labels_with(RARE[2], 3000))
    rate, count = labeldp.estimate.means(noisy), labeldp.estimate.counts(noisy)[1]
    for field in ("value", "lower", "upper", "standard_error"):
        assert getattr(rate, field) == pytest.approx(getattr(count, field) / 3000)


@each_kind
def test_without_noise_estimates_are_the_truth(kind: str) -> None:
    if kind in ("optimized bits", "subsets of two", "coarse vectors"):
        return  # some of their noise stays at any epsilon
    labels = labels_with(RARE[10], 500)
    noisy = released(KINDS[kind](75.0, 10), labels)
    count = labeldp.estimate.counts(noisy)
    for field in (count.value, count.lower, count.upper):
        np.testing.assert_allclose(field, np.bincount(labels, minlength=10), atol=1e-9)
    np.testing.assert_allclose(count.standard_error, 0, atol=1e-6)


@each_kind
def test_estimates_do_not_depend_on_the_size_of_a_chunk(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    noisy, groups = released(KINDS[kind](1.0, 4), np.arange(1000) % 4), np.arange(1000) % 7

    def estimates() -> np.ndarray:
        return np.concatenate(
            [
                labeldp.estimate.counts(noisy).value,
                labeldp.estimate.means(noisy, groups=groups).value,
                [labeldp.estimate.accuracy(noisy, np.arange(1000) % 3).value],
            ]
        )

    whole = estimates()
    monkeypatch.setattr(support, "CHUNK_BYTES", 1000)
    np.testing.assert_allclose(estimates(), whole, rtol=1e-12)


@each_kind
def test_estimates_read_nothing_but_the_release(kind: str, tmp_path) -> None:
    """Saved by one, estimated from by another."""
    noisy = released(KINDS[kind](1.0, 4), np.arange(100) % 4)
    noisy.save(tmp_path / "noisy.npz")
    loaded = labeldp.NoisyLabels.load(tmp_path / "noisy.npz")
    np.testing.assert_array_equal(labeldp.estimate.counts(loaded).value, labeldp.estimate.counts(noisy).value)


# Few items, and none.


@each_kind
def test_no_items_are_no_error(kind: str) -> None:
    noisy = released(KINDS[kind](1.0, 3), [])
    count, share = labeldp.estimate.counts(noisy), labeldp.estimate.proportions(noisy)
    for field in (count.value, count.lower, count.upper, count.standard_error, share.lower):
        assert field.tolist() == [0, 0, 0]
    assert share.upper.tolist() == [1, 1, 1]
    assert np.isnan(share.value).all()
    for none in (labeldp.estimate.means(noisy), labeldp.estimate.accuracy(noisy, [])):
        assert np.isnan([none.value, none.lower, none.upper, none.standard_error]).all()
    assert labeldp.estimate.means(noisy, groups=[]).value.shape == (0,)
    assert labeldp.estimate.confusion(noisy, []).value.tolist() == np.zeros((3, 3)).tolist()


@each_kind
def test_a_group_without_items_has_no_mean(kind: str) -> None:
    noisy = released(KINDS[kind](1.0, 2), [0, 1, 1])
    mean = labeldp.estimate.means(noisy, groups=[0, 2, 2], num_groups=4)
    for field in (mean.value, mean.lower, mean.upper, mean.standard_error):
        assert np.isnan(field).tolist() == [False, True, False, True]


@settings(deadline=None, max_examples=60)
@given(st.sampled_from(sorted(KINDS)), st.floats(1e-99, 80), st.lists(st.integers(0, 2), max_size=4))
def test_estimates_are_finite_at_every_epsilon(kind: str, epsilon: float, labels: list[int]) -> None:
    epsilon = epsilon if kind in DISCRETE else max(epsilon, 1e-6)  # below, a coarse grid says nothing at all
    noisy = released(KINDS[kind](epsilon, 3), labels)
    estimate = labeldp.estimate.counts(noisy)
    assert np.isfinite([estimate.value, estimate.standard_error]).all()
    assert (estimate.standard_error >= 0).all()
    assert (
        (estimate.lower >= 0) & (estimate.lower <= estimate.upper) & (estimate.upper <= len(labels))
    ).all()
    if labels:
        share = labeldp.estimate.proportions(noisy)
        assert ((share.lower >= 0) & (share.lower <= share.upper) & (share.upper <= 1)).all()


# How many items.


def widest(mechanism, items: int, confidence: float = 0.95) -> float:
    """The largest half width of an interval of a proportion, over every number of ones."""
    lower, upper = share_limits(np.arange(items + 1), items, confidence=confidence)
    moments = mechanism.indicator_moments()
    ends = [np.clip((limit - moments.other_mean) / moments.gap, 0, 1) for limit in (lower, upper)]
    return float((ends[1] - ends[0]).max() / 2)


@settings(deadline=None, max_examples=60)
@given(
    st.sampled_from(DISCRETE),
    st.floats(0.3, 8),
    st.sampled_from([2, 3, 10, 100]),
    st.floats(0.02, 0.7),
    st.sampled_from([0.5, 0.9, 0.95, 0.999]),
)
def test_required_sample_size_is_never_too_small(kind, epsilon, num_classes, margin, confidence) -> None:
    mechanism = KINDS[kind](epsilon, num_classes)
    items = labeldp.required_sample_size(mechanism, margin=margin, confidence=confidence)
    if items <= 200_000:
        assert widest(mechanism, items, confidence) <= margin + 1e-9


@pytest.mark.parametrize(
    ("kind", "num_classes", "epsilon", "share"),
    [
        ("randomized response", 2, 1.0, 0.5),
        ("randomized response", 10, 1.0, 0.9),
        ("subset selection", 10, 1.0, 0.9),
        ("symmetric bits", 4, 2.0, 0.5),
        ("optimized bits", 4, 2.0, 0.9),
        ("vectors", 4, 1.0, 0.5),
    ],
)
def test_intervals_are_as_narrow_as_required(kind, num_classes, epsilon, share) -> None:
    """In every release of that many items, and hardly ever with a fifth less."""
    mechanism, margin = SAMPLED[kind](epsilon, num_classes), 0.05
    shares = np.array([share, *[(1 - share) / (num_classes - 1)] * (num_classes - 1)])

    def half_widths(items: int) -> np.ndarray:
        labels = labels_with(shares, items)
        found = [labeldp.estimate.proportions(released(mechanism, labels, seed)) for seed in range(20)]
        return np.array([(f.upper - f.lower) / 2 for f in found])

    items = labeldp.required_sample_size(mechanism, margin=margin)
    assert half_widths(items).max() <= margin
    assert (half_widths(int(0.8 * items))[:, 0] > margin).mean() > 0.9


@each_kind
def test_more_privacy_or_precision_needs_more_items(kind: str) -> None:
    def needed(epsilon: float, margin: float, confidence: float = 0.95) -> int:
        return labeldp.required_sample_size(KINDS[kind](epsilon, 4), margin=margin, confidence=confidence)

    by_epsilon = [needed(epsilon, 0.05) for epsilon in np.linspace(0.1, 6, 60)]
    by_margin = [needed(1.0, margin) for margin in np.linspace(0.01, 0.6, 60)]
    by_confidence = [needed(1.0, 0.05, confidence) for confidence in np.linspace(0.999, 0.1, 60)]
    for sizes in (by_epsilon, by_margin, by_confidence):
        assert all(more >= fewer for more, fewer in pairwise(sizes))
        assert sizes[0] > 2 * sizes[-1]
    assert needed(1.0, 0.99) >= 1


# What is refused.


@pytest.mark.parametrize(
    "mechanism",
    [
        labeldp.SelectiveRandomizedResponse(1.0, 3, size=2),
        labeldp.SelectiveRandomizedResponse(1.0, 3, size=3),
        labeldp.PartitionedRandomizedResponse(1.0, 3),
    ],
)
def test_answers_that_do_not_tell_classes_apart_are_refused(mechanism) -> None:
    noisy = labeldp.privatize(mechanism, [0, 1], prior=np.ones(3))
    calls = (
        lambda: labeldp.estimate.counts(noisy),
        lambda: labeldp.estimate.proportions(noisy),
        lambda: labeldp.estimate.means(noisy),
        lambda: labeldp.estimate.confusion(noisy, [0, 1]),
        lambda: labeldp.estimate.accuracy(noisy, [0, 1]),
        lambda: labeldp.required_sample_size(mechanism, margin=0.1),
    )
    for call in calls:
        with pytest.raises(TypeError, match=r"RandomizedResponse or SubsetSelection.*posterior"):
            call()


@each_kind
def test_epsilon_zero_tells_nothing(kind: str) -> None:
    mechanism = KINDS[kind](0.0, 3)
    for call in (
        lambda: labeldp.estimate.counts(released(mechanism, [0, 1])),
        lambda: labeldp.estimate.accuracy(released(mechanism, [0, 1]), [0, 1]),
        lambda: labeldp.required_sample_size(mechanism, margin=0.1),
    ):
        with pytest.raises(ValueError, match="larger epsilon"):
            call()


NOISY = released(labeldp.RandomizedResponse(1.0, 3), [0, 1, 2, 0])
BAD = {
    "values of another shape": (lambda: labeldp.estimate.means(NOISY, [0, 1]), ValueError, "class_values"),
    "a value that is not finite": (
        lambda: labeldp.estimate.means(NOISY, [0, 1, np.nan]),
        ValueError,
        "class_values",
    ),
    "values of texts": (lambda: labeldp.estimate.means(NOISY, ["0", "1", "2"]), ValueError, "class_values"),
    "too few groups": (lambda: labeldp.estimate.means(NOISY, groups=[0, 1]), ValueError, "groups of shape"),
    "a negative group": (
        lambda: labeldp.estimate.means(NOISY, groups=[0, 1, -1, 0]),
        ValueError,
        "groups in",
    ),
    "groups of floats": (lambda: labeldp.estimate.means(NOISY, groups=np.ones(4)), TypeError, "groups"),
    "a group too many": (
        lambda: labeldp.estimate.means(NOISY, groups=[0, 1, 2, 3], num_groups=3),
        ValueError,
        r"groups in 0 \.\. 2",
    ),
    "no group": (
        lambda: labeldp.estimate.means(NOISY, groups=[0] * 4, num_groups=0),
        ValueError,
        "num_groups",
    ),
    "a prediction too many": (
        lambda: labeldp.estimate.confusion(NOISY, [0, 1, 2, 3]),
        ValueError,
        r"predictions in 0 \.\. 2, got 3",
    ),
    "no class": (lambda: labeldp.estimate.accuracy(NOISY, [0, 1, 2, 3]), ValueError, "predictions"),
    "values alone": (lambda: labeldp.estimate.counts(NOISY.values), TypeError, "NoisyLabels, got ndarray"),
    "confidence one": (lambda: labeldp.estimate.counts(NOISY, confidence=1.0), ValueError, "confidence < 1"),
    "confidence in percent": (lambda: labeldp.estimate.means(NOISY, confidence=95), ValueError, "confidence"),
    "no confidence": (lambda: labeldp.estimate.counts(NOISY, confidence=None), TypeError, "confidence"),
    "no margin": (
        lambda: labeldp.required_sample_size(NOISY.mechanism, margin=0.0),
        ValueError,
        "margin",
    ),
    "a release for a mechanism": (
        lambda: labeldp.required_sample_size(NOISY, margin=0.1),
        TypeError,
        "mechanism",
    ),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused(name: str) -> None:
    call, error, match = BAD[name]
    with pytest.raises(error, match=match):
        call()
