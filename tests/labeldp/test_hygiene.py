"""The joint battery: every mechanism passes, every broken release fails by the check that is meant for it, and nothing else does.

Statistical checks raise on sound releases at a rate of 1e-6 each, by the bounds that are compared with exact laws at the end.
"""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import labeldp
from labeldp.mechanisms import ALL
from labeldp.testing import (
    assert_fresh,
    assert_label_changes_noise,
    assert_no_lag_correlation,
    assert_release_hygiene,
    label_timing,
    strategies,
    tails,
)
from labeldp.testing.hygiene import CHECKS
from labeldp.testing.mutants.joint import Draws
from labeldp.testing.subjects import subject

GRID = tuple(range(6))
EXAMPLES = (
    labeldp.RandomizedResponse(1.0, 6),
    labeldp.SelectiveRandomizedResponse(1.0, 6),
    labeldp.SelectiveRandomizedResponse(1.0, 6, size=3, outside="other"),
    labeldp.PartitionedRandomizedResponse(1.0, 6),
    labeldp.SubsetSelection(1.0, 6),
    labeldp.UnaryEncoding(1.0, 6),
    labeldp.NoisyOneHot(1.0, 6),
    labeldp.RandomizedResponseOnBins(1.0, GRID, (1,) * 6),
    labeldp.UnbiasedRandomizer(1.0, GRID, (1,) * 6),
)
each_example = pytest.mark.parametrize(
    "mechanism", EXAMPLES, ids=lambda m: f"{type(m).__name__}-{getattr(m, 'outside', '')}"
)
ABOUT_OBJECTS = {"support", "candidates", "many classes", "repr, pickle, exceptions"}


def test_there_is_an_example_of_every_mechanism() -> None:
    assert {type(mechanism) for mechanism in EXAMPLES} == set(ALL)


@each_example
def test_every_mechanism_is_clean(mechanism) -> None:
    report = assert_release_hygiene(mechanism, num_classes=6)
    assert set(report.passed) | set(report.skipped) == set(CHECKS)
    assert set(report.skipped) <= {"many classes", "long calls"}
    assert "advisory" in report.advisory[0]


@pytest.mark.parametrize("size", ["accuracy", "information", 2])
def test_a_selective_mechanism_is_clean_under_a_prior(size) -> None:
    prior = np.random.default_rng(0).dirichlet(np.full(6, 0.5), size=20)
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 6, size=size)
    assert "support" in assert_release_hygiene(mechanism, num_classes=6, prior=prior).passed


def test_a_constant_shows_no_noise_and_no_fault() -> None:
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 6, size=1)
    report = assert_release_hygiene(mechanism, num_classes=6)
    assert {"freshness", "short seeds", "every position", "lag correlation"} <= set(report.skipped)


def test_a_mechanism_without_visible_noise_is_skipped_where_its_epsilon_says_so() -> None:
    report = assert_release_hygiene(labeldp.RandomizedResponse(30.0, 6), num_classes=6)
    assert "too little noise" in report.skipped["freshness"]
    with pytest.raises(AssertionError, match="without any noise; an epsilon up to 10"):
        assert_fresh(lambda labels: labels, num_classes=6)


# Callables.


def test_a_callable_is_checked_and_says_what_was_skipped() -> None:
    report = assert_release_hygiene(Draws(1.0, 6), num_classes=6)
    assert set(report.skipped) == ABOUT_OBJECTS
    assert "skipped: many classes (a callable shows nothing but its answers)" in str(report)
    assert str(report).startswith("passed: freshness, short seeds")


def test_a_callable_on_a_source_is_drawn_and_checked() -> None:
    def binary(label, source):
        return label if source.coin(2, 3) else 1 - label

    assert set(assert_release_hygiene(binary, num_classes=2).skipped) == {*ABOUT_OBJECTS, "long calls"}


def test_continuous_answers_are_read_in_bins() -> None:
    def laplace(labels):
        return labels + np.random.default_rng().laplace(scale=1, size=len(labels))

    assert_release_hygiene(laplace, num_classes=4)
    with pytest.raises(AssertionError, match="row alignment"):
        assert_release_hygiene(lambda labels: np.roll(laplace(labels), 2), num_classes=4)
    buffer = np.random.default_rng(0).laplace(scale=1, size=300)
    with pytest.raises(AssertionError, match="300 rows apart"):
        assert_no_lag_correlation(
            lambda labels: labels + np.random.default_rng().permutation(buffer)[np.arange(len(labels)) % 300],
            num_classes=4,
        )


def test_vectors_are_read_by_what_they_support() -> None:
    def vectors(labels):
        return np.eye(4)[labels] + np.random.default_rng().laplace(scale=1, size=(len(labels), 4))

    assert_release_hygiene(vectors, num_classes=4)
    with pytest.raises(AssertionError, match="row alignment"):
        assert_release_hygiene(lambda labels: vectors(labels)[::-1], num_classes=4)


def test_only_labels_of_the_domain_are_passed() -> None:
    draws, seen = Draws(1.0, 12), set()

    def watching(labels):
        seen.update(labels.tolist())
        assert labels.dtype == np.int64
        return draws(labels)

    assert_release_hygiene(watching, num_classes=12)
    assert seen <= set(range(12))
    assert {0, 11} <= seen


def test_a_callable_cannot_hide_behind_its_argument() -> None:
    def sorting(labels):
        labels.sort()
        return Draws(1.0, 6)(labels)

    with pytest.raises(AssertionError, match="row alignment"):
        assert_release_hygiene(sorting, num_classes=6)


@pytest.mark.parametrize(
    "call",
    [
        lambda: assert_release_hygiene(3, num_classes=4),
        lambda: assert_release_hygiene(EXAMPLES[0], num_classes=4),
        lambda: assert_release_hygiene(EXAMPLES[0], num_classes=6, keyed=True),
        lambda: assert_release_hygiene(Draws(1.0, 6), num_classes=1),
        lambda: assert_release_hygiene(EXAMPLES[1], num_classes=6, prior=np.ones(5)),
    ],
)
def test_what_cannot_be_checked_is_refused(call) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        call()


# Keyed noise.


def keyed(labels, mechanism=EXAMPLES[0]):
    source = labeldp.KeyedSource(bytes(range(32)))
    return labeldp.privatize(mechanism, labels, source=source, items=np.arange(len(labels))).values


def test_keyed_noise_is_clean_where_it_is_declared() -> None:
    report = assert_release_hygiene(keyed, num_classes=6, keyed=True)
    assert "idempotence" in report.passed
    assert "label changes" in report.passed
    with pytest.raises(AssertionError, match="freshness: Two calls"):
        assert_release_hygiene(keyed, num_classes=6)


def test_keyed_noise_that_is_fresh_or_none_is_caught() -> None:
    with pytest.raises(AssertionError, match="idempotence: .* declared keyed"):
        assert_release_hygiene(Draws(1.0, 6), num_classes=6, keyed=True)
    with pytest.raises(AssertionError, match="idempotence: .* without any noise"):
        assert_release_hygiene(lambda labels: labels, num_classes=6, keyed=True)


def test_noise_that_outlives_a_label_is_caught() -> None:
    """Two epsilons, or a corrected label, over one coin: comparing the answers tells the label."""
    table = np.random.default_rng(3).random((2, 2**12))
    draws = Draws(1.0, 6)
    with pytest.raises(AssertionError, match="a corrected label, or a second release, gives it away"):
        assert_label_changes_noise(
            lambda labels: draws.answer(labels, *table[:, : len(labels)]), num_classes=6, keyed=True
        )


# Broken mechanisms of labeldp: each twin is caught by the check that is meant for it.


class RemembersLabels(labeldp.RandomizedResponse):
    """Keeps the labels that it read."""

    def read(self, labels):
        object.__setattr__(self, "last", np.asarray(labels).copy())
        return super().read(labels)


SEEN: list = []


class ShowsLabels(labeldp.RandomizedResponse):
    """Its text tells what it read last."""

    def read(self, labels):
        SEEN[:] = np.asarray(labels).tolist()[:1]
        return super().read(labels)

    def __repr__(self):
        return f"ShowsLabels({SEEN})"


class PicklesLabels(labeldp.RandomizedResponse):
    """Its bytes tell what it read last."""

    def read(self, labels):
        SEEN[:] = np.asarray(labels).tolist()[:1]
        return super().read(labels)

    def __reduce__(self):
        return PicklesLabels, (self.epsilon, self.num_classes), {"note": list(SEEN)}


class QuotesLabels(labeldp.RandomizedResponse):
    """Says which label it refuses."""

    def read(self, labels):
        try:
            return super().read(labels)
        except ValueError:
            raise ValueError(f"Expected labels below {self.num_classes}, got {labels}.") from None


class ClipsLabels(labeldp.RandomizedResponse):
    """Takes a label from outside for the nearest one inside."""

    def read(self, labels):
        return super().read(
            np.clip(np.asarray(labels, dtype=float), 0, self.num_classes - 1).astype(int).ravel()
        )


class PeekingPlan(labeldp.SelectiveRandomizedResponse):
    """Chooses candidates by the labels of the release before."""

    def read(self, labels):
        SEEN[:] = np.asarray(labels).tolist()[:1]
        return super().read(labels)

    def plan(self, prior, num_items):
        rows = np.broadcast_to(np.asarray(prior, dtype=float), (num_items, self.num_classes)).copy()
        rows[:, SEEN] += 10
        return super().plan(rows, num_items)


class SortingPlan(labeldp.SelectiveRandomizedResponse):
    """Gives the most certain prior row to the first item."""

    def plan(self, prior, num_items):
        rows = np.broadcast_to(np.asarray(prior, dtype=float), (num_items, self.num_classes))
        return super().plan(rows[np.argsort(-rows.max(axis=1))], num_items)


class MisalignedCandidates(labeldp.SelectiveRandomizedResponse):
    """Answers with the candidates of the row before."""

    def choose(self, words, labels, plan, bits):
        rows = np.roll(np.arange(len(labels)), 1)
        return super().choose(words, labels, plan[rows], bits)


class Overflows(labeldp.RandomizedResponse):
    """Keeps answers in a signed byte."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        return values.astype(np.int8).astype(np.int64), rejected


class Wraps(labeldp.RandomizedResponse):
    """Keeps answers in an unsigned byte."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        return values.astype(np.uint8).astype(np.int64), rejected


class SameWords(labeldp.RandomizedResponse):
    """Uses the same words in every call."""

    def choose(self, words, labels, plan, bits):
        again = np.random.default_rng(0).integers(2**64, size=words.shape, dtype=np.uint64)
        return super().choose(again, labels, plan, bits)


class LastRowKept(labeldp.RandomizedResponse):
    """Does not randomize the last row of a chunk."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        values[-1:] = labels[-1:]
        return values, rejected


BROKEN = {
    RemembersLabels: "repr, pickle, exceptions: The pickled bytes of a release",
    ShowsLabels: "repr, pickle, exceptions: The text of a release",
    PicklesLabels: "repr, pickle, exceptions: The pickled bytes of a release",
    QuotesLabels: "repr, pickle, exceptions: An exception quotes",
    ClipsLabels: "repr, pickle, exceptions: Labels outside .* are answered",
    PeekingPlan: "candidates: The candidates of a release depend",
    SortingPlan: "candidates: Candidates do not follow their items",
    MisalignedCandidates: "support: An answer is impossible",
    Overflows: "many classes: With 300 classes an answer is impossible",
    Wraps: "many classes: With 300 classes and epsilon 40, 44 labels are not the likeliest",
    SameWords: "freshness: Two calls",
    LastRowKept: r"every position: At length \d+, position \d+",
}


@pytest.mark.parametrize("kind", BROKEN, ids=lambda kind: kind.__name__)
def test_a_broken_mechanism_is_caught_by_its_check(kind) -> None:
    SEEN.clear()
    mechanism = (
        kind(1.0, 6, size=2) if issubclass(kind, labeldp.SelectiveRandomizedResponse) else kind(1.0, 6)
    )
    prior = np.random.default_rng(1).dirichlet(np.ones(6), size=30) if kind is MisalignedCandidates else None
    with pytest.raises(AssertionError, match=BROKEN[kind]):
        assert_release_hygiene(mechanism, num_classes=6, prior=prior)


def test_all_failures_are_in_the_message() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_release_hygiene(lambda labels: np.sort(Draws(1.0, 6)(labels)), num_classes=6)
    lines = str(caught.value).splitlines()
    assert lines[0] == f"{len(lines) - 1} of {len(CHECKS)} checks failed."
    assert len(lines) > 2


def test_timing_is_told_and_never_raises() -> None:
    def slow_for_some(labels):
        return np.sort(np.arange(20_000 * int(labels[0])))[: len(labels)] if labels[0] else labels

    assert "may depend on the label" in label_timing(slow_for_some, num_classes=6)
    assert label_timing(EXAMPLES[0], num_classes=6).startswith("timing: t = ")


# The bounds behind the alarms, against exact laws.


@settings(deadline=None)
@given(st.integers(1, 300), st.data(), st.floats(0.01, 0.99))
def test_a_binomial_chance_is_never_understated(trials: int, data, chance: float) -> None:
    successes = data.draw(st.integers(0, trials))
    law = stats.binom(trials, chance)
    above = successes >= trials * chance
    exact = law.logsf(successes - 1) if above else law.logcdf(successes)
    assert tails.log_chance(successes, trials, chance) >= exact - 1e-9


@settings(deadline=None)
@given(st.integers(1, 60), st.integers(1, 60), st.data())
def test_an_uneven_split_is_never_understated(first: int, second: int, data) -> None:
    one, other = data.draw(st.integers(0, first)), data.draw(st.integers(0, second))
    law = stats.hypergeom(first + second, one + other, first)
    below = one * (first + second) <= (one + other) * first
    exact = law.cdf(one) if below else law.sf(one - 1)
    bound = tails.log_split(*(np.array([value]) for value in (one, first, other, second)))
    assert bound[0] >= np.log(exact) - 1e-9


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 30), st.integers(0, 42)), min_size=1, max_size=3)
)
def test_a_split_by_label_is_never_understated(groups) -> None:
    """Against the exact law of the sum: each label's total is split at random over both samples."""
    groups = [(few, many, min(hits, few + many)) for few, many, hits in groups]
    law = np.ones(1)
    for few, many, hits in groups:
        law = np.convolve(law, stats.hypergeom(few + many, hits, few).pmf(np.arange(few + 1)))
    labels, others = (np.repeat(range(len(groups)), [group[side] for group in groups]) for side in (0, 1))
    expected = sum(few * hits / (few + many) for few, many, hits in groups)
    for count in np.flatnonzero(law > 0):
        first, second = np.zeros(len(labels), bool), np.zeros(len(others), bool)
        left = count
        for label, (few, _, hits) in enumerate(groups):  # some way to split the totals that has this sum
            rest = sum(max(0, h - m) for _, m, h in groups[label + 1 :])
            taken = min(few, hits, left - rest)
            first[np.flatnonzero(labels == label)[:taken]] = True
            second[np.flatnonzero(others == label)[: hits - taken]] = True
            left -= taken
        tail = law[count:].sum() if count >= expected else law[: count + 1].sum()
        assert left == 0
        assert tails.split_by_label(first, labels, second, others) >= np.log(tail) - 1e-9


def test_a_large_sum_is_as_rare_as_it_says() -> None:
    """With a fixed seed: sums of products of neighbours in 20 000 sequences against a limit for 1e-2."""
    rng = np.random.default_rng(0)
    values = (rng.random((20_000, 200)) < 0.2) - 0.2
    sums = np.abs((values[:, 1:] * values[:, :-1]).sum(axis=1))
    limit = tails.largest_sum(0.16**2, 0.64, 100, np.log(1e-2))
    assert (sums > limit).mean() < 1e-2
    assert (sums > limit / 3).mean() > 1e-2


def test_arrangements_are_counted() -> None:
    codes, groups = np.array([0, 0, 1, 5, 5, 6]), np.array([1, 1, 1, 2, 2, 2])
    assert tails.log_arrangements(codes, groups) == pytest.approx(np.log(3 * 3))
    assert tails.log_arrangements(codes, np.zeros(6)) == pytest.approx(np.log(180))


@pytest.mark.slow
def test_no_false_alarm_in_three_thousand_sound_runs() -> None:
    """At 1e-6 a check: fewer than 0.04 alarms are expected."""
    alarms, runs = [], 0
    for turn in range(167):
        for epsilon in (0.0, 0.1, 1.0, 3.0, 6.0, 9.0):
            for num_classes in (2, 10, 40):
                kinds = [labeldp.RandomizedResponse, labeldp.SubsetSelection, labeldp.UnaryEncoding, Draws]
                mechanism = kinds[(turn + num_classes) % 4](epsilon, num_classes)
                runs += 1
                try:
                    assert_release_hygiene(mechanism, num_classes=num_classes)
                except AssertionError as error:
                    alarms.append(f"{mechanism}: {error}")
    assert runs >= 3000
    assert not alarms


# Strategies.


@settings(deadline=None, max_examples=150)
@given(strategies.mechanisms(num_classes=4), strategies.hostile_arrays(4), strategies.priors(4))
def test_hostile_arrays_are_answered_rightly_or_refused(mechanism, labels, prior) -> None:
    items = len(labels) if hasattr(labels, "__len__") else 0
    try:
        noisy = labeldp.privatize(mechanism, labels, prior=prior, source=labeldp.SeededSource(0))
    except (TypeError, ValueError) as error:
        assert "Expected" in str(error)
        assert str(2**31) not in str(error)
    else:
        assert len(noisy) == items
        assert mechanism.possible(noisy.values, noisy.plan)


@settings(deadline=None)
@given(st.data(), st.integers(2, 6))
def test_strategies_keep_to_their_word(data, num_classes: int) -> None:
    assert 0 <= data.draw(strategies.labels(num_classes)) < num_classes
    vector = data.draw(strategies.label_vectors(num_classes, max_size=9))
    assert vector.dtype == np.int64
    assert len(vector) <= 9
    assert ((vector >= 0) & (vector < num_classes)).all()
    one, other = data.draw(strategies.neighbours(num_classes))
    assert (one != other).sum() == 1
    assert ((other >= 0) & (other < num_classes)).all()
    prior = data.draw(strategies.priors(num_classes))
    assert prior.any()
    assert np.isfinite(prior).all()
    assert (prior >= 0).all()
    assert data.draw(strategies.candidate_sets(num_classes)).any()
    assert 0 <= data.draw(strategies.epsilons(largest=7.0)) <= 7


def test_every_mechanism_can_be_drawn() -> None:
    assert set(strategies.KINDS) == set(ALL)


def test_a_subject_stays_itself() -> None:
    it = subject(Draws(1.0, 6), num_classes=6)
    assert subject(it, num_classes=6) is it
