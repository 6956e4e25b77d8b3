"""The private histogram: the exact law of its noise, what one label moves, and what it costs."""

import math
from collections import defaultdict
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

import accounting
import labeldp
from labeldp.release import histogram
from labeldp.release.histogram import UniformIntegers, _exponential_coin, discrete_laplace
from tests.oracles import exponential_bracket

LABELS = np.repeat([0, 1, 2], [50, 30, 20])


class Undecided(Exception):
    """A walk has come to a choice that it has no decision for."""


class Again(Exception):
    """The sampler starts over: a second round is like the first, so the law is that of the first round where it ends in one."""


class Walk:
    """Follows a list of decisions through the two primitives, and says which choice comes next."""

    def __init__(self, decisions: tuple[int, ...]) -> None:
        self.decisions, self.options, self.rounds = iter(decisions), [], 0

    def below(self, count: int) -> int:
        self.rounds += 1
        if self.rounds > 1:
            raise Again
        return self._decide([Fraction(1, count)] * count)

    def coin(self, numerator: int, denominator: int) -> bool:
        share = Fraction(numerator, denominator)
        return bool(self._decide([1 - share, share]))

    def _decide(self, weights: list[Fraction]) -> int:
        for decision in self.decisions:
            return decision
        self.options = weights
        raise Undecided


def law(sampler, smallest: float = 1e-12) -> tuple[dict[int, Fraction], Fraction]:
    """Exact probabilities of the outcomes, each from below, and of all walks cut short: what they may miss.

    Every round of the sampler begins with `below`.
    """
    found: dict[int, Fraction] = defaultdict(Fraction)
    missing, again, open_walks = Fraction(0), Fraction(0), [((), Fraction(1))]
    while open_walks:
        decisions, weight = open_walks.pop()
        walk = Walk(decisions)
        try:
            found[sampler(walk)] += weight
        except Again:
            again += weight
        except Undecided:
            for option, share in enumerate(walk.options):
                if weight * share > smallest:
                    open_walks.append(((*decisions, option), weight * share))
                else:
                    missing += weight * share
    kept = 1 - again  # of rounds that end, and at most that share of all
    return defaultdict(Fraction, {x: p / kept for x, p in found.items()}), 2 * missing / (kept - missing)


@pytest.mark.parametrize("exponent", [Fraction(0), Fraction(1, 3), Fraction(7, 11), Fraction(1)], ids=str)
def test_the_exponential_coin_is_exact(exponent: Fraction) -> None:
    found, missing = law(
        lambda draws: _exponential_coin(draws, exponent.numerator, exponent.denominator), 1e-60
    )
    low, high = exponential_bracket(exponent)
    assert found[True] <= 1 / low
    assert 1 / high <= found[True] + missing
    assert missing < Fraction(1, 10**50)


@pytest.fixture
def exponential_coin_in_one_throw(monkeypatch) -> None:
    """One coin in place of the many of `_exponential_coin`, whose law is proved above; the walks of the rest become few."""

    def throw(draws, numerator: int, denominator: int) -> bool:
        share = Fraction(math.exp(-numerator / denominator))
        return draws.coin(share.numerator, share.denominator)

    monkeypatch.setattr(histogram, "_exponential_coin", throw)


def check_discrete_laplace(sampler, rate: Fraction) -> None:
    found, missing = law(sampler)
    assert sum(found.values()) <= 1 <= sum(found.values()) + missing
    assert missing < 1e-8
    fading = math.exp(-rate)
    for x in range(-12, 13):
        exact = (1 - fading) / (1 + fading) * fading ** abs(x)
        assert float(found[x]) <= exact * (1 + 1e-12)
        assert exact <= float(found[x] + missing) * (1 + 1e-12)
        assert found[x] == found[-x]


RATES = [Fraction(1, 2), Fraction(1), Fraction(3, 2), Fraction(2, 3), Fraction(5, 4), Fraction(1, 7)]


@pytest.mark.usefixtures("exponential_coin_in_one_throw")
@pytest.mark.parametrize("rate", RATES, ids=str)
def test_noise_is_discrete_laplace_exactly(rate: Fraction) -> None:
    check_discrete_laplace(lambda draws: discrete_laplace(draws, rate), rate)


def keeps_minus_zero(draws, rate: Fraction) -> int:
    """Zero is drawn with both signs."""
    forced = [False]

    class Signs:
        below = staticmethod(draws.below)

        @staticmethod
        def coin(numerator, denominator):
            if (numerator, denominator) == (1, 2) and not forced[0]:
                forced[0] = True
                return False
            return draws.coin(numerator, denominator)

    return discrete_laplace(Signs(), rate) * (1 - 2 * draws.coin(1, 2))


@pytest.mark.usefixtures("exponential_coin_in_one_throw")
@pytest.mark.parametrize(
    "mutant",
    [
        keeps_minus_zero,
        lambda draws, rate: discrete_laplace(draws, 2 * rate),
        lambda draws, rate: discrete_laplace(draws, rate * Fraction(21, 20)),
        lambda draws, rate: abs(discrete_laplace(draws, rate)),
    ],
    ids=["minus zero", "twice the rate", "a larger rate", "positive only"],
)
def test_other_noise_is_caught(mutant) -> None:
    with pytest.raises(AssertionError):
        check_discrete_laplace(lambda draws: mutant(draws, Fraction(1)), Fraction(1))


def largest_joint_ratio(rate: Fraction) -> float:
    """Largest ratio of two noisy counts when one label moves from one class to the other, over likely outcomes."""
    found, _ = law(lambda draws: discrete_laplace(draws, rate))
    likely = range(-2, 3)
    return max(float(found[a - 1] * found[b] / (found[a] * found[b - 1])) for a in likely for b in likely)


@pytest.mark.usefixtures("exponential_coin_in_one_throw")
def test_one_label_moves_two_counts_and_loses_no_more_than_epsilon(monkeypatch) -> None:
    """The noise of each count is for half of epsilon, exactly; the twin, noise for all of it, loses twice as much."""
    assert largest_joint_ratio(Fraction(1, 2)) <= math.exp(1) * (1 + 1e-6)
    assert largest_joint_ratio(Fraction(1)) > math.exp(1) * (1 + 1e-6)
    rates = []
    monkeypatch.setattr(histogram, "discrete_laplace", lambda draws, rate: rates.append(rate) or 0)
    for epsilon in (1.0, 0.1, 3.0, 5e-324):
        labeldp.laplace_histogram(LABELS, 3, epsilon)
        assert len(rates) == 3
        assert all(2 * rate == Fraction(epsilon) for rate in rates)
        rates.clear()


def test_noise_does_not_look_at_the_labels() -> None:
    """Equal words, other labels: the difference of the noisy counts is that of the counts."""
    other = np.repeat([0, 1, 2], [10, 10, 80])
    first, second = (
        labeldp.laplace_histogram(labels, 3, 0.5, source=labeldp.SeededSource(1)).counts
        for labels in (LABELS, other)
    )
    assert (first - second).tolist() == [40, 20, -60]


class Words:
    """A source of these words; a sampler takes the last of a block first."""

    secure = True

    def __init__(self, words: list[int]) -> None:
        self.given = words

    def words(self, count: int, context: object = None) -> np.ndarray:
        return np.array([*[0] * (count - len(self.given)), *self.given[::-1]], dtype=np.uint64)


@pytest.mark.parametrize("count", [1, 2, 3, 5, 8, 100, 128, 255])
def test_integers_are_uniform(count: int) -> None:
    """Every pattern of the lowest bits once: every integer comes once, and the others are rejected."""
    bits = (count - 1).bit_length()
    seen = []
    for low in range(2**bits):
        draws = UniformIntegers(Words([low | 0xABC << 40, 2**64 - 2**bits]))
        drawn = draws.below(count)
        if low < count:
            seen.append(drawn)
        else:
            assert drawn == 0  # the word after the rejected one
    assert sorted(seen) == list(range(count))


def test_integers_of_any_size_are_drawn() -> None:
    draws = UniformIntegers(labeldp.SeededSource(0))
    for count in (2**64, 2**64 + 1, 2**200 + 7, 10**300):
        drawn = [draws.below(count) for _ in range(300)]
        assert min(drawn) >= 0
        assert max(drawn) < count
        assert len(set(drawn)) == 300
        assert 0.35 < sum(drawn) / 300 / count < 0.65


@pytest.mark.parametrize("epsilon", [0.05, 1.0, 4.0])
def test_a_large_histogram_fits_its_law(epsilon: float) -> None:
    """Goodness of fit with a fixed seed: decided once, the same on every run."""
    noise = labeldp.laplace_histogram([], 8000, epsilon, source=labeldp.SeededSource(7)).counts
    fading = math.exp(-epsilon / 2)
    reach = max(2, int(3 / epsilon))
    inner = (1 - fading) / (1 + fading) * fading ** np.abs(np.arange(-reach, reach + 1))
    tail = (1 - inner.sum()) / 2
    observed = np.bincount(np.clip(noise, -reach - 1, reach + 1) + reach + 1, minlength=2 * reach + 3)
    assert stats.chisquare(observed, 8000 * np.array([tail, *inner, tail])).pvalue > 1e-4


def test_counts_are_near_the_truth_and_the_prior_is_positive() -> None:
    release = labeldp.laplace_histogram(LABELS, 5, 40.0, source=labeldp.SeededSource(0))
    assert release.counts.tolist() == [50, 30, 20, 0, 0]
    assert release.counts.dtype == np.int64
    np.testing.assert_allclose(release.prior(), np.array([50, 30, 20, 0.5, 0.5]) / 101)
    noisy = labeldp.laplace_histogram([], 50, 0.01, source=labeldp.SeededSource(0))
    assert (noisy.counts < 0).any()
    assert (noisy.prior() > 0).all()
    assert noisy.prior().sum() == pytest.approx(1)


def test_counts_are_clamped_where_noise_has_no_end() -> None:
    counts = labeldp.laplace_histogram([0, 1], 40, 5e-324).counts
    assert set(counts.tolist()) == {-(2**62), 2**62}


def test_two_histograms_differ_unless_they_share_a_seed() -> None:
    first, second = (labeldp.laplace_histogram(LABELS, 30, 0.1).counts for _ in range(2))
    assert not np.array_equal(first, second)
    first, second = (
        labeldp.laplace_histogram(LABELS, 30, 0.1, source=labeldp.SeededSource(2)).counts for _ in range(2)
    )
    np.testing.assert_array_equal(first, second)


# What it costs.


def guaranteed(events, unit="label", delta=0.0, **about):
    about = about or {"about": "people"}
    return accounting.guarantee(accounting.Transcript(events, **about), unit=unit, delta=delta)


def test_a_label_that_is_counted_and_randomized_pays_both() -> None:
    counted = labeldp.laplace_histogram(LABELS, 3, 0.5)
    mechanism = labeldp.RandomizedResponseOnBins(1.0, range(3), counted.prior(), adaptive=True)
    noisy = labeldp.privatize(mechanism, LABELS)
    both = guaranteed([counted.event, noisy.event])
    assert (both.holds, both.epsilon) == (True, 1.5)
    assert guaranteed([counted.event]).epsilon == 0.5


def test_labels_that_are_either_counted_or_randomized_pay_their_own_part() -> None:
    counted = labeldp.laplace_histogram(LABELS[::2], 3, 0.5)
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 3)
    noisy = labeldp.privatize(mechanism, LABELS[1::2], prior=counted.prior())
    both = guaranteed(accounting.Disjoint([counted.event, noisy.event])).epsilon
    assert 1.0 <= both <= 1.5  # accounting keeps certificates apart from other losses, on the safe side
    again = labeldp.laplace_histogram(LABELS[1::2], 3, 0.25)
    assert guaranteed(accounting.Disjoint([counted.event, again.event])).epsilon == 0.5


def test_a_record_that_moves_every_answer_pays_for_each() -> None:
    """Shifts of one noise add up: at no delta is a record cheaper than n epsilon, as n independent answers would be."""
    counted = labeldp.laplace_histogram(LABELS, 3, 0.5)
    teacher = {"about": "teacher", "pool": "independent"}
    assert guaranteed([counted.event], unit="answer", **teacher).epsilon == 0.5
    for delta in (0.0, 1e-5, 0.01):
        assert guaranteed([counted.event], unit="record", delta=delta, **teacher).epsilon == 50.0
    generic = accounting.Disjoint([accounting.PureDP(0.5)], [100])
    assert guaranteed([generic], unit="record", delta=0.01, **teacher).epsilon < 50.0


def test_no_label_costs_nothing() -> None:
    assert guaranteed([labeldp.laplace_histogram([], 3, 0.5).event]).epsilon == 0


def test_a_seeded_histogram_is_stamped() -> None:
    with pytest.warns(labeldp.PrivacyWarning, match="seeded"):
        release = labeldp.laplace_histogram(LABELS, 3, 0.5, source=labeldp.SeededSource(0))
    assert isinstance(release.event, accounting.Seeded)
    guarantee = guaranteed([release.event])
    assert (guarantee.holds, guarantee.releasable) == (False, False)


# What may go in.


@pytest.mark.parametrize("epsilon", [0, 0.0, -1, math.nan, math.inf, 81.0, "1", None, True, 1j])
def test_bad_epsilons_are_refused(epsilon) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        labeldp.laplace_histogram(LABELS, 3, epsilon)


@pytest.mark.parametrize("num_classes", [0, 1, -3, 2.0, "3", None, True])
def test_bad_numbers_of_classes_are_refused(num_classes) -> None:
    with pytest.raises((TypeError, ValueError), match="num_classes"):
        labeldp.laplace_histogram(LABELS, num_classes, 1.0)


@pytest.mark.parametrize(
    "labels", [[0, 3217], [-3217], [0.5], [True], ["3217"], [[0]], None, 3, np.ma.masked_array([0], [1])]
)
def test_bad_labels_are_refused_without_being_printed(labels) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected") as caught:
        labeldp.laplace_histogram(labels, 3, 1.0)
    assert "3217" not in str(caught.value)


@pytest.mark.parametrize("dtype", ["u1", "i1", "u8", ">i4"])
def test_labels_of_any_integer_type_are_counted(dtype: str) -> None:
    release = labeldp.laplace_histogram(LABELS.astype(dtype), 3, 40.0, source=labeldp.SeededSource(0))
    assert release.counts.tolist() == [50, 30, 20]


def test_bad_sources_are_refused() -> None:
    with pytest.raises(TypeError, match="single items"):
        labeldp.laplace_histogram(LABELS, 3, 1.0, source=labeldp.KeyedSource(bytes(32)))
    with pytest.raises(TypeError, match="SystemSource"):
        labeldp.laplace_histogram(LABELS, 3, 1.0, source=42)
    for dtype in (np.uint32, np.float64):

        class Narrow:
            secure = True

            def words(self, count, context=None, dtype=dtype):
                return np.zeros(count, dtype=dtype)

        with pytest.raises(TypeError, match="uint64"):
            labeldp.laplace_histogram(LABELS, 3, 1.0, source=Narrow())


def test_real_labels_are_counted_on_their_grid() -> None:
    grid = labeldp.RandomizedResponseOnBins(1.0, [0, 1, 5], [1, 1, 1])
    release = labeldp.laplace_histogram(
        grid.read([0.2, 0.4, 4.0, 5.0]), 3, 40.0, source=labeldp.SeededSource(0)
    )
    assert release.counts.tolist() == [2, 0, 2]
