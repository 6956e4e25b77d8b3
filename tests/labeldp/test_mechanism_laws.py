"""Laws that every mechanism obeys, proved by enumerating the sampler that ships; each has a twin that must fail."""

import inspect
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labeldp
from labeldp.mechanisms import ALL, Plan
from labeldp.mechanisms.thresholds import exponential_below, integers, thresholds, word_bits
from labeldp.testing import enumerate_channel, largest_ratio
from tests import oracles
from tests.strategies import FULL_RANGE_EPSILONS, Case, cases, prior_rows

STEADY = settings(deadline=None, max_examples=150)


def published_law(case: Case, ratio: Fraction) -> list[list[Fraction]]:
    mechanism = case.mechanism
    match mechanism:
        case labeldp.SelectiveRandomizedResponse():
            candidates = mechanism.candidates(case.prior_row)[0].tolist()
            return oracles.selective(ratio, candidates, mechanism.outside)
        case labeldp.SubsetSelection():
            return oracles.subset_selection(ratio, mechanism.num_classes, mechanism.size)
        case labeldp.RandomizedResponseOnBins():
            labels, outputs = map(as_fractions, (mechanism.label_values, mechanism.output_values))
            return oracles.on_bins(ratio, labels, outputs)
        case labeldp.UnbiasedRandomizer():
            return [[Fraction(count, sum(row)) for count in row] for row in mechanism.counts]
        case labeldp.PartitionedRandomizedResponse():
            return oracles.partitioned(ratio, mechanism.plan(case.prior_row, 1).blocks[0].tolist())
        case labeldp.NoisyOneHot():
            points = as_fractions(mechanism.points)
            return oracles.noisy_one_hot(
                oracles.rounded_laplace(mechanism.epsilon, points), mechanism.num_classes
            )
        case labeldp.UnaryEncoding(variant="symmetric"):
            return oracles.unary_encoding(ratio, mechanism.num_classes)
        case labeldp.UnaryEncoding():
            return oracles.unary_encoding(ratio, mechanism.num_classes, Fraction(1, 2))
        case _:
            return oracles.randomized_response(ratio, mechanism.num_classes)


def as_fractions(values) -> list[Fraction]:
    return [Fraction(float(value)) for value in values]


def ratio_that_runs(case: Case, channel: list[list[Fraction]]) -> Fraction:
    """What stands for e^epsilon (for e^(epsilon / 2) where two bits share it) in an enumerated channel."""
    if isinstance(case.mechanism, labeldp.UnaryEncoding) and case.mechanism.variant == "symmetric":
        kept = sum(channel[0][1::2], Fraction(0))  # the odd sets hold class 0
        return kept / (1 - kept)
    ratio = largest_ratio(channel)
    assert ratio is not None, "an answer is possible for one label and impossible for another"
    return ratio


def check_rounded_noise(mechanism: labeldp.NoisyOneHot, channel: list[list[Fraction]]) -> None:
    """At few bits no one ratio makes the law: each point's words are rounded on their own. The rest of the law is exact."""
    points = [Fraction(float(point)) for point in mechanism.points]
    size = len(points)
    zero = [sum(channel[0][k] for k in range(len(channel[0])) if k // size % size == x) for x in range(size)]
    assert channel == oracles.noisy_one_hot(zero, mechanism.num_classes)
    bits = min(12, 20 // mechanism.num_words)
    slack = Fraction(2 * size, 2**bits)
    law = oracles.rounded_laplace(mechanism.epsilon, points)
    assert all(abs(p - q) <= slack for p, q in zip(zero, law, strict=True))


def check_unbiased(mechanism: labeldp.UnbiasedRandomizer, channel: list[list[Fraction]]) -> None:
    """At few bits every row is rounded on its own: the law is its constraints. Means are exact up to half a word of 2^10 at least."""
    labels, outputs = map(as_fractions, (mechanism.label_values, mechanism.output_values))
    for label, row in zip(labels, channel, strict=True):
        mean = sum(q * o for q, o in zip(row, outputs, strict=True))
        assert abs(mean - label) <= (outputs[-1] - outputs[0]) / 2**11


def check_never_more_than_epsilon(case: Case) -> None:
    ratio = largest_ratio(enumerate_channel(case.mechanism, prior_row=case.prior_row))
    assert ratio is not None, (
        "an answer is possible for one label and impossible for another: epsilon is infinite"
    )
    assert ratio <= oracles.exponential_bracket(case.mechanism.epsilon)[0]


def check_published_law(case: Case) -> None:
    channel = enumerate_channel(case.mechanism, prior_row=case.prior_row)
    if isinstance(case.mechanism, labeldp.NoisyOneHot):
        check_rounded_noise(case.mechanism, channel)
    elif isinstance(case.mechanism, labeldp.UnbiasedRandomizer):
        check_unbiased(case.mechanism, channel)
    else:
        assert channel == published_law(case, ratio_that_runs(case, channel))


@STEADY
@given(cases())
def test_never_more_than_epsilon(case: Case) -> None:
    check_never_more_than_epsilon(case)


@STEADY
@given(cases())
def test_every_channel_is_the_published_law(case: Case) -> None:
    check_published_law(case)


@STEADY
@given(cases())
def test_channel_response_and_likelihood_are_one_law(case: Case) -> None:
    mechanism, prior = case.mechanism, case.prior_row
    channel = mechanism.channel(prior)
    labels = np.arange(mechanism.num_classes)
    assert channel.shape == (mechanism.num_classes, mechanism.num_outputs)
    np.testing.assert_allclose(channel.sum(axis=1), 1, rtol=1e-12)
    response = [mechanism.response([label], prior) for label in labels]  # each the first item of its release
    np.testing.assert_array_equal(np.concatenate(response), channel)
    plan = mechanism.plan(prior, 1)[np.zeros(mechanism.num_outputs, dtype=np.intp)]
    reachable = channel.any(axis=0)
    likelihood = mechanism.likelihood(mechanism.outputs(), plan)
    np.testing.assert_array_equal(likelihood[reachable], channel.T[reachable])
    shared = 2 if mechanism == labeldp.UnaryEncoding(mechanism.epsilon, mechanism.num_classes) else 1
    exact = published_law(case, oracles.exponential_bracket(mechanism.epsilon / shared)[0])
    floats = np.array([[float(q) for q in row] for row in exact])
    np.testing.assert_allclose(channel, floats, rtol=1e-12, atol=1e-17)  # 1e-17 is some words of 64 bits


@STEADY
@given(cases(FULL_RANGE_EPSILONS))
def test_response_needs_no_more_than_epsilon(case: Case) -> None:
    channel = case.mechanism.channel(case.prior_row)
    used = channel[:, channel.any(axis=0)]
    assert (used > 0).all()
    assert np.log(used.max(axis=0) / used.min(axis=0)).max() <= case.mechanism.epsilon * (1 + 1e-12) + 1e-12


# The twins: broken mechanisms that the same checks must catch.


class RoundsUp(labeldp.RandomizedResponse):
    """One word more for the truth."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        top, step = thresholds(self.epsilon, 1, self.num_classes - 1, bits)
        stolen = (words[:, 0] >= top) & (words[:, 0] < top + max(1, step // 4))
        return np.where(stolen, labels, values), rejected


class LieMayBeTheTruth(labeldp.RandomizedResponse):
    """The lie is uniform over all classes instead of the others, with the thresholds for the others."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, np.zeros_like(labels), plan, bits)
        return np.where(values == 0, labels, values), rejected


class KeepsOutsiders(labeldp.SelectiveRandomizedResponse):
    """A label that is not a candidate is answered with the first candidate."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        outside = ~plan.candidates[np.arange(len(labels)), labels]
        return np.where(outside, plan.candidates.argmax(axis=1), values), rejected & ~outside


class OutsidersLeaveTheSet(labeldp.SelectiveRandomizedResponse):
    """A label that is not a candidate is answered uniformly over all classes."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        outside = ~plan.candidates[np.arange(len(labels)), labels]
        return np.where(
            outside, (words[:, 0] % np.uint64(self.num_classes)).astype(np.int64), values
        ), rejected & ~outside


class ForcesTheTruthIn(labeldp.SubsetSelection):
    """The coin is heavier than it should be."""

    def _coin(self, words, bits):
        included, rejected = super()._coin(words, bits)
        return included | (words % np.uint64(2) == 0), rejected


class RandomizesTheClass(labeldp.PartitionedRandomizedResponse):
    """Randomized response on the classes, and then the block of the answer: blocks of several classes are answered more often."""

    def choose(self, words, labels, plan, bits):
        response = labeldp.RandomizedResponse(self.epsilon, self.num_classes)
        values, rejected = response.choose(words, labels, Plan(plan.num_items), bits)
        return plan.blocks[np.arange(len(labels)), values].astype(np.int64), rejected


class PartitionsByTheLabel(labeldp.PartitionedRandomizedResponse):
    """The label's class becomes a block of its own."""

    def choose(self, words, labels, plan, bits):
        blocks = np.where(np.arange(self.num_classes) == labels[:, None], 0, 1).astype(np.uint8)
        return super().choose(words, labels, Plan(plan.num_items, blocks=blocks), bits)


class AddsOneAfterClamping(labeldp.NoisyOneHot):
    """The label's coordinate is another's plus 1, beyond the end of the grid where it must."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        own = np.arange(self.num_classes) == labels[:, None]
        return np.where(own, np.minimum(2 - values, self.points[-1]), values), rejected


class NoiseOnTheLabelOnly(labeldp.NoisyOneHot):
    """All other coordinates are 0."""

    def choose(self, words, labels, plan, bits):
        values, rejected = super().choose(words, labels, plan, bits)
        return np.where(np.arange(self.num_classes) == labels[:, None], values, 0.0), rejected


PRIOR = np.array([0.6, 0.3, 0.1, 0.0])
MUTANTS = [
    RoundsUp(1.0, 4),
    LieMayBeTheTruth(1.0, 4),
    KeepsOutsiders(1.0, 4, size=2),
    OutsidersLeaveTheSet(1.0, 4, size=2),
    ForcesTheTruthIn(1.0, 4),
    RandomizesTheClass(1.0, 4, 3),
    PartitionsByTheLabel(1.0, 4, 2),
    AddsOneAfterClamping(1.0, 2, grid_points=9),
    NoiseOnTheLabelOnly(1.0, 2, grid_points=9),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: type(m).__name__)
def test_a_broken_sampler_is_caught(mutant) -> None:
    with pytest.raises(AssertionError):
        check_never_more_than_epsilon(Case(mutant, PRIOR[: mutant.num_classes]))
        check_published_law(Case(mutant, PRIOR[: mutant.num_classes]))


# Thresholds at the width in use.


@settings(deadline=None, max_examples=400)
@given(FULL_RANGE_EPSILONS, st.integers(1, 40), st.integers(1, 5000), st.sampled_from([8, 12, 64, 128]))
def test_thresholds_never_exceed_epsilon(epsilon: float, heavy: int, light: int, bits: int) -> None:
    low, high = oracles.exponential_bracket(epsilon)
    if 2**bits - 1 < high * heavy + light:
        assert bits < word_bits(epsilon)
        return
    top, step = thresholds(epsilon, heavy, light, bits)
    assert 1 <= step <= top
    assert Fraction(top, step) <= low
    assert heavy * top + light * step < 2**bits
    if bits == word_bits(epsilon):
        assert Fraction(top, step) >= high * (1 - Fraction(1, 2**53)) - Fraction(1, step)


def test_flooring_the_top_first_would_exceed_epsilon() -> None:
    """The twin: the other order of roundings is unsafe for most epsilons, and this test's oracle sees it."""
    above = 0
    for epsilon in np.linspace(0.1, 4, 100):
        ratio = exponential_below(float(epsilon))
        top = int(2**64 * ratio / (ratio + 9))
        step = (2**64 - top) // 9
        above += Fraction(top, step) > oracles.exponential_bracket(float(epsilon))[1]
    assert above > 20


def intervals(mechanism, label: int, prior_row: np.ndarray) -> dict[int, int]:
    """Words of each output at full width, counted from the boundaries where the answer changes; found by bisection."""
    plan, bits = mechanism.plan(prior_row, 1), word_bits(mechanism.epsilon)

    def answer(word: int) -> int:
        values, rejected = mechanism.choose(integers([[word]], bits), np.array([label]), plan, bits)
        return -1 if rejected[0] else int(np.flatnonzero(mechanism.outputs() == values[0])[0])

    counts: dict[int, int] = {}
    start = 0
    while start < 2**bits:
        low, high = start, 2**bits  # the answer at low is that of start; find where it ends
        step = 1
        while low + step < 2**bits and answer(low + step) == answer(start):
            low, step = low + step, step * 2
        high = min(2**bits, low + step)
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if answer(middle) == answer(start) else (low, middle)
        counts[answer(start)] = counts.get(answer(start), 0) + high - start
        start = high
    return counts


@settings(deadline=None, max_examples=40)
@given(cases(FULL_RANGE_EPSILONS).filter(lambda case: case.mechanism.num_words == 1))
def test_word_intervals_at_full_width_are_the_law(case: Case) -> None:
    mechanism = case.mechanism
    rows = []
    for label in range(mechanism.num_classes):
        counts = intervals(mechanism, label, case.prior_row)
        accepted = sum(count for value, count in counts.items() if value >= 0)
        rows.append([Fraction(counts.get(o, 0), accepted) for o in range(mechanism.num_outputs)])
    ratio = largest_ratio(rows)
    assert ratio is not None
    assert ratio <= mechanism.realized_ratio() <= oracles.exponential_bracket(mechanism.epsilon)[0]
    own = max((max(row) / min(q for q in row if q) for row in rows), default=Fraction(1))
    assert rows == published_law(case, own)


# Selection.


def test_selection_takes_no_label() -> None:
    for mechanism in ALL:
        for method in ("plan", "candidates"):
            if hasattr(mechanism, method):
                names = inspect.signature(getattr(mechanism, method)).parameters
                assert not {"label", "labels", "y", "values"} & set(names)


def brute_force_accuracy(row: np.ndarray, epsilon: float) -> Fraction:
    """The largest P[output = label] over all sizes, times the weight of the row, exactly."""
    ratio = Fraction(float(np.exp(epsilon)))
    ordered = sorted((Fraction(float(p)) for p in row), reverse=True)
    return max(sum(ordered[:k]) * ratio / (ratio + k - 1) for k in range(1, len(row) + 1))


@STEADY
@given(st.data(), st.integers(2, 8), FULL_RANGE_EPSILONS)
def test_accuracy_size_is_the_best_of_all_sizes(data, num_classes: int, epsilon: float) -> None:
    row = data.draw(prior_rows(num_classes))
    row = row / row.max()
    mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes)
    mask = mechanism.candidates(row)[0]
    ratio = Fraction(float(np.exp(epsilon)))
    reached = sum(Fraction(float(p)) for p in row[mask]) * ratio / (ratio + int(mask.sum()) - 1)
    assert reached >= brute_force_accuracy(row, epsilon) * (1 - Fraction(1, 10**9))
    assert mask.any()
    assert not mask[row == 0].any()
    assert row[mask].min() >= row[~mask].max(initial=0) * (1 - 1e-11)


def mutual_information(channel: np.ndarray, prior: np.ndarray) -> float:
    joint = channel * (prior / prior.sum())[:, None]
    output = joint.sum(axis=0)
    cells = joint > 0
    return float((joint[cells] * np.log(joint[cells] / ((joint.sum(axis=1)[:, None] * output)[cells]))).sum())


@STEADY
@given(st.data(), st.integers(2, 7), st.floats(0.01, 8), st.sampled_from(["uniform", "other"]))
def test_information_size_is_the_best_of_all_sizes(data, num_classes: int, epsilon: float, outside) -> None:
    row = data.draw(prior_rows(num_classes)).astype(np.float64)
    row = row / row.max()
    best = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size="information", outside=outside)
    reached = mutual_information(best.channel(row), row)
    positive = int((row > 0).sum())
    k = int(best.candidates(row)[0].sum())
    assert 1 <= k <= positive
    assert k >= min(2, positive)
    for size in range(2, positive + 1):
        other = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=outside)
        assert reached >= mutual_information(other.channel(row), row) - 1e-9


@STEADY
@given(st.data(), st.integers(2, 8), FULL_RANGE_EPSILONS)
def test_integer_size_is_obeyed(data, num_classes: int, epsilon: float) -> None:
    row, size = data.draw(prior_rows(num_classes)), data.draw(st.integers(1, num_classes))
    mask = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size).candidates(row)[0]
    assert mask.sum() == size
    assert set(row[mask] > 0) == {True} or mask[row > 0].all()


@STEADY
@given(st.data(), st.integers(2, 6), st.floats(0, 8), st.sampled_from([1e-6, 3.0, 1024.0]))
def test_the_scale_of_a_prior_does_not_matter(data, num_classes: int, epsilon: float, scale: float) -> None:
    row = data.draw(
        st.lists(st.sampled_from([0.0, 0.125, 0.25, 0.5, 1.0]), min_size=num_classes, max_size=num_classes)
    )
    row = np.array(row)
    if not row.any():
        row[0] = 1.0
    for size in ("accuracy", "information", 1):
        mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size)
        np.testing.assert_array_equal(mechanism.candidates(row), mechanism.candidates(row * scale))


def test_ties_go_by_index() -> None:
    for size, expected in ((1, [0]), (2, [0, 1]), (3, [0, 1, 2])):
        mask = labeldp.SelectiveRandomizedResponse(1.0, 4, size=size).candidates(np.ones(4))[0]
        assert np.flatnonzero(mask).tolist() == expected
    assert labeldp.SelectiveRandomizedResponse(0.0, 4).candidates([0.2, 0.4, 0.4, 0.0])[0].tolist() == [
        False,
        True,
        False,
        False,
    ]


def test_one_positive_class_leaves_one_candidate() -> None:
    for size in ("accuracy", "information"):
        mask = labeldp.SelectiveRandomizedResponse(1.0, 4, size=size).candidates([0.0, 0.0, 3.0, 0.0])[0]
        assert np.flatnonzero(mask).tolist() == [2]


def test_one_item_does_not_change_the_candidates_of_another() -> None:
    rng = np.random.default_rng(0)
    prior = rng.dirichlet(np.full(6, 0.4), size=50)
    for size in ("accuracy", "information", 3):
        mechanism = labeldp.SelectiveRandomizedResponse(1.0, 6, size=size)
        alone = np.concatenate([mechanism.candidates(row) for row in prior])
        np.testing.assert_array_equal(mechanism.candidates(prior), alone)


def test_subset_selection_with_too_many_outputs_names_likelihood() -> None:
    mechanism = labeldp.SubsetSelection(1.0, 100)
    with pytest.raises(TypeError, match="likelihood"):
        mechanism.channel()
    values = np.zeros((1, 100), dtype=bool)
    values[0, : mechanism.size] = True
    row = mechanism.likelihood(values, Plan(1))[0]
    assert row[0] / row[-1] == pytest.approx(np.e)
