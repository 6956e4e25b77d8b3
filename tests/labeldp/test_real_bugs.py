"""Privacy bugs of published libraries, each rebuilt in a few lines of our own: our tools catch it, and our code does not have it.

Nothing here is copied from those projects.
"""

import itertools
import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

import accounting
import labeldp
from labeldp.mechanisms.thresholds import integers, thresholds, word_bits
from labeldp.testing import (
    assert_channel,
    assert_fresh,
    assert_label_dp,
    assert_permutations_do_not_matter,
    assert_release_hygiene,
    assert_seeds_do_not_repeat,
    enumerate_channel,
    enumerate_outputs,
    exponential_below,
    largest_ratio,
)

E = exponential_below(1.0)
PRIOR = (Fraction(5, 10), Fraction(3, 10), Fraction(1, 10), Fraction(1, 10))


# OpenDP.


def test_opendp_480_the_lie_could_be_the_truth() -> None:
    """Randomized response over given categories drew the lie from all of them, with the probability of keeping for all but one."""

    def buggy(label, source):
        return label if source.coin(E, E + 3) else source.below(4)

    with pytest.raises(AssertionError, match="told apart beyond epsilon"):
        assert_channel(buggy, epsilon=1.0, num_classes=4)
    with pytest.raises(AssertionError):
        assert_label_dp(buggy, epsilon=1.0, num_classes=4)
    assert_channel(labeldp.RandomizedResponse(1.0, 4))


def test_opendp_2708_the_last_bit_was_never_randomized() -> None:
    """A vector of bits was randomized in whole bytes of noise, here of two bits; what did not fill one was left as it was."""

    def flipped_in_bytes(bits, source, ratio, size=2):
        full = len(bits) // size * size
        return tuple(bit ^ source.coin(1, 1 + ratio) for bit in bits[:full]) + tuple(bits[full:])

    def buggy(label, source):
        return flipped_in_bytes([label == c for c in range(3)], source, exponential_below(0.5))

    with pytest.raises(AssertionError, match="infinite"):
        assert_channel(buggy, epsilon=1.0, num_classes=3)
    with pytest.raises(AssertionError, match="every position: At length [13], position [02]"):
        assert_release_hygiene(
            lambda labels: bits_of_a_column(labels, np.random.default_rng()), num_classes=2
        )
    assert_channel(labeldp.UnaryEncoding(1.0, 3))


def bits_of_a_column(labels: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The same fault over a column of binary labels, in bytes of two."""
    full = len(labels) // 2 * 2
    flips = np.append(rng.random(full) < 1 / (1 + math.e), np.zeros(len(labels) - full, dtype=bool))
    return labels ^ flips


def test_opendp_2930_the_length_of_the_answer_tells_the_input() -> None:
    """The answer was cut to the length of the input's own support, so that its length was not randomized."""

    def buggy(label, source):
        bits = [(label == c) ^ source.coin(1, 1 + exponential_below(0.5)) for c in range(3)]
        return tuple(bits[: label + 1])

    with pytest.raises(AssertionError, match="infinite"):
        assert_channel(buggy, epsilon=1.0, num_classes=3)
    with pytest.raises(AssertionError, match="the number of answers tells labels"):
        assert_fresh(lambda labels: labels[labels > 0], num_classes=3)
    for label in range(3):
        assert labeldp.privatize(labeldp.UnaryEncoding(1.0, 3), [label]).values.shape == (1, 3)


# google-research/label-dp.


def most_accurate_size(prior: tuple[Fraction, ...], ratio: Fraction) -> int:
    """The k with the largest P_k E / (E + k - 1), by looking at all."""
    sizes = range(1, len(prior) + 1)
    return max(sizes, key=lambda k: sum(sorted(prior)[::-1][:k]) * ratio / (ratio + k - 1))


def test_label_dp_off_by_one_in_the_number_of_candidates() -> None:
    """The position of the best size, counted from 0, was taken for the size: private, and less accurate for nothing."""

    def with_size(shift: int) -> Callable:
        def answer(label, source):
            size = max(1, most_accurate_size(PRIOR, E) - shift)
            if label >= size:
                return source.below(size)
            lie = source.coin(size - 1, E + size - 1)
            return (label + 1 + source.below(size - 1)) % size if lie else label

        return answer

    right = enumerate_outputs(with_size(0), num_classes=4)
    assert_channel(with_size(1), epsilon=1.0, num_classes=4)
    with pytest.raises(AssertionError, match="not answered by the law expected"):
        assert_channel(with_size(1), right, num_classes=4)

    def accuracy(channel: list[list[Fraction]]) -> Fraction:
        return sum((PRIOR[y] * row[y] for y, row in enumerate(channel) if y < len(row)), Fraction(0))

    buggy = accuracy(enumerate_channel(with_size(1), num_classes=4))
    assert buggy < accuracy([list(law.values()) for law in right])
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 4)
    assert mechanism.candidates(np.array(PRIOR, dtype=float))[0].sum() == most_accurate_size(PRIOR, E) == 2
    ours = accuracy(enumerate_channel(mechanism, prior_row=np.array(PRIOR, dtype=float), bits=16))
    assert ours > buggy


# VFLAIR.


def test_vflair_outsiders_were_answered_over_all_classes() -> None:
    """A label that is no candidate got a uniform class, candidate or not; a candidate never leaves the set."""

    def buggy(label, source):
        if label >= 2:
            return source.below(4)
        return label if source.coin(E, E + 1) else 1 - label

    with pytest.raises(AssertionError, match="infinite"):
        assert_channel(buggy, epsilon=1.0, num_classes=4)
    with pytest.raises(AssertionError):
        assert_label_dp(buggy, epsilon=1.0, num_classes=4)
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 4, size=2)
    assert_channel(mechanism, prior_row=[5, 3, 1, 1])
    assert largest_ratio(enumerate_channel(mechanism, prior_row=[5, 3, 1, 1])) is not None


# trasgodp.


def test_trasgodp_the_domain_came_from_the_private_column() -> None:
    """Lies were drawn among the classes that occur: who is the only one of a class is seen when the class comes out."""

    def answer(label: int, domain: list[int], source) -> int:
        others = [c for c in domain if c != label]
        if not others or source.coin(E, E + len(others)):
            return label
        return others[source.below(len(others))]

    def buggy(label, source):
        """The whole column, of which one label changes."""
        column = [label, 0, 1]
        return tuple(answer(y, sorted(set(column)), source) for y in column)

    def fixed(label, source):
        return tuple(answer(y, [0, 1, 2], source) for y in (label, 0, 1))

    with pytest.raises(AssertionError, match="infinite"):
        assert_channel(buggy, epsilon=1.0, num_classes=3)
    assert_channel(fixed, epsilon=1.0, num_classes=3)
    with pytest.raises(AssertionError, match="its law depends on other labels"):
        assert_permutations_do_not_matter(lambda labels: column_domain(labels), num_classes=4)
    noisy = labeldp.privatize(labeldp.RandomizedResponse(0.0, 4), np.zeros(500, dtype=int))
    assert set(noisy.values) == {0, 1, 2, 3}


def column_domain(labels: np.ndarray) -> np.ndarray:
    seen, own = np.unique(labels, return_inverse=True)
    rng = np.random.default_rng()
    keep = rng.random(len(labels)) < math.e / (math.e + len(seen) - 1)
    shift = rng.integers(1, max(2, len(seen)), size=len(labels))
    return seen[np.where(keep, own, (own + shift) % len(seen))]


# ALIBI.


def test_alibi_had_255_seeds() -> None:
    """A seed was drawn in 1 .. 255: noise repeats every few runs, and can be tried out in full."""

    def buggy(labels):
        rng = np.random.default_rng(np.random.default_rng().integers(1, 256))
        return (labels + rng.integers(0, 3, size=len(labels))) % 10

    with pytest.raises(AssertionError, match="seeds repeat"):
        assert_seeds_do_not_repeat(buggy, num_classes=10)
    assert assert_seeds_do_not_repeat(labeldp.NoisyOneHot(1.0, 10), num_classes=10) is None


SIGMA = 0.5
NOISE = {step: Fraction(round(1000 * math.exp(-(step**2) / (2 * 4 * SIGMA**2)))) for step in range(-4, 5)}
"""Weights of noise on halves of 1, in proportion to a Gaussian of standard deviation SIGMA, to three digits."""


def one_hot_with_noise(label: int, source) -> tuple[float, ...]:
    answer = []
    for c in range(2):
        left, draw = sum(NOISE.values()), 0
        for step, weight in NOISE.items():
            draw = step
            if source.coin(weight, left):
                break
            left -= weight
        answer.append((label == c) + draw / 2)
    return tuple(answer)


def check_posterior_is_bayes_rule(posterior: Callable[[np.ndarray], np.ndarray]) -> None:
    """Compares a formula with Bayes' rule on the enumerated channel, wherever both labels are possible."""
    laws = enumerate_outputs(one_hot_with_noise, num_classes=2)
    for output in laws[0]:
        joint = np.array([float(law[output]) for law in laws])
        if joint.all():
            np.testing.assert_allclose(posterior(np.array(output)), joint / joint.sum(), atol=0.02)


def test_alibi_divided_by_sigma_instead_of_its_square() -> None:
    """The Gaussian posterior was exp(-|x - e_c|^2 / (2 sigma)): learners were told the wrong odds."""

    def gaussian_posterior(divisor: float) -> Callable[[np.ndarray], np.ndarray]:
        def posterior(answer: np.ndarray) -> np.ndarray:
            weight = np.exp(-((answer - np.eye(2)) ** 2).sum(axis=1) / (2 * divisor))
            return weight / weight.sum()

        return posterior

    check_posterior_is_bayes_rule(gaussian_posterior(SIGMA**2))
    with pytest.raises(AssertionError):
        check_posterior_is_bayes_rule(gaussian_posterior(SIGMA))
    mechanism = labeldp.NoisyOneHot(1.0, 4, noise="gaussian", delta=1e-5)
    noisy = labeldp.privatize(mechanism, np.arange(4).repeat(50), source=labeldp.SeededSource(1))
    log_odds = np.log(noisy.likelihood()[:, 1:] / noisy.likelihood()[:, :1])
    expected = (noisy.values[:, 1:] - noisy.values[:, :1]) / mechanism.scale**2
    np.testing.assert_allclose(log_odds, expected, rtol=0.02, atol=0.02)


# diffprivlib.


def binary_by_floats(epsilon: float) -> Callable:
    """Keeps with the probability that floats give; `random() < p` is a coin of exactly that float."""

    def answer(label, source):
        keep = Fraction(math.exp(epsilon) / (math.exp(epsilon) + 1))
        return label if source.coin(keep, 1) else 1 - label

    return answer


@pytest.mark.parametrize("epsilon", [34.0, 36.0, 37.0, 40.0, 80.0])
def test_diffprivlib_never_lies_at_large_epsilon(epsilon: float) -> None:
    """From 37 on the probability of keeping is the float 1.0; a little below, floats are too coarse for the odds."""
    if epsilon >= 37:
        with pytest.raises(AssertionError, match="infinite"):
            assert_channel(binary_by_floats(epsilon), epsilon=epsilon, num_classes=2)
    else:
        ratio = largest_ratio(enumerate_channel(binary_by_floats(epsilon), num_classes=2))
        assert ratio is not None
        assert abs(math.log(ratio) - epsilon) > 1e-4
    assert_channel(binary_by_floats(1.0), epsilon=1.0 + 1e-15, num_classes=2)
    mechanism, bits = labeldp.RandomizedResponse(epsilon, 2), word_bits(epsilon)
    assert mechanism.realized_ratio() <= exponential_below(epsilon)
    top, step = thresholds(epsilon, 1, 1, bits)
    words = integers([[0], [top - 1], [top], [top + step - 1]], bits)
    values, rejected = mechanism.choose(words, np.zeros(4, dtype=np.int64), mechanism.plan(None, 4), bits)
    assert values.tolist() == [0, 0, 1, 1]
    assert not rejected.any()


# dp_accounting.

EVENTS = (
    accounting.PureDP(0.5),
    accounting.ApproximateDP(0.5, 1e-9),
    accounting.RandomizedResponse(0.5, 4),
    accounting.SubsetSelection(0.5, 5, 2),
    accounting.Disjoint([accounting.RandomizedResponse(0.5, 4)], counts=[7]),
    accounting.Disjoint([accounting.RandomizedResponse(0.5, 4)], counts=[7], adaptive=True),
    accounting.Sequence([accounting.PureDP(0.25), accounting.PureDP(0.25)]),
    accounting.Repeated(accounting.PureDP(0.1), 2),
)
Accountant = Callable[[accounting.Event], float]


def check_repeating_costs_as_much_as_a_sequence(spent: Accountant) -> None:
    """Every kind of event, at every depth: repeated three times it costs what it costs three times in a row, and more than once."""
    for event, inner in itertools.product(EVENTS, (1, 2)):
        once = event if inner == 1 else accounting.Repeated(event, inner)
        repeated = spent(accounting.Repeated(once, 3))
        assert repeated == pytest.approx(spent(accounting.Sequence([once] * 3)))
        assert repeated > spent(once) * (1 + 1e-9)


def test_dp_accounting_lost_the_count_of_one_kind_of_event() -> None:
    """A ladder over kinds of events forgot the number of repetitions on one rung."""

    def buggy(event: accounting.Event, count: int = 1) -> float:
        match event:
            case accounting.Sequence():
                return count * sum(buggy(part) for part in event.events)
            case accounting.Repeated():
                return buggy(event.event, count * event.count)
            case accounting.Disjoint():
                return max(buggy(part) for part in event.events)  # the count is not handed on
            case _:
                return count * event.epsilon

    def ours(event: accounting.Event) -> float:
        transcript = accounting.Transcript([event], about="people")
        return accounting.guarantee(transcript, unit="label", delta=1e-6).epsilon

    check_repeating_costs_as_much_as_a_sequence(ours)
    with pytest.raises(AssertionError):
        check_repeating_costs_as_much_as_a_sequence(buggy)
