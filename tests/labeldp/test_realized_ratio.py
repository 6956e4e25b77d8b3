"""The sampler that runs, in exact rationals over a grid; the optimum it aims at, by linear programming; the memory it takes."""

import tracemalloc
from fractions import Fraction

import numpy as np
import pytest
from scipy.optimize import linprog

import labeldp
from labeldp.mechanisms.thresholds import exponential_below, thresholds, word_bits
from tests.oracles import exponential_bracket

ALPHABETS = [*range(2, 1000), 10**4, 2**24]


def points_above(epsilons, rule) -> tuple[int, int]:
    """Number of points (epsilon, alphabet) whose realised ratio exceeds e^epsilon, and of all."""
    above = total = 0
    for epsilon in epsilons:
        low, _ = exponential_bracket(epsilon)
        over, under = low.numerator, low.denominator
        for alphabet in ALPHABETS:
            top, step = rule(epsilon, alphabet)
            assert step >= 1
            above += top * under > over * step
            total += 1
    return above, total


@pytest.mark.parametrize("epsilon", [5e-324, 1e-30, 1e-9, 0.1, 1.0, 2.5, 20.0, 79.99, 80.0])
def test_the_rational_exponential_is_below_and_within_what_it_states(epsilon: float) -> None:
    low, high = exponential_bracket(epsilon)
    assert 1 <= exponential_below(epsilon) <= high
    assert exponential_below(epsilon) >= low * (1 - Fraction(1, 10**58))


def test_realised_ratio_is_never_above_e_to_the_epsilon_on_1e5_points() -> None:
    epsilons = [float(e) for e in (*np.linspace(0, 40, 61), *np.geomspace(1e-12, 80, 40))]
    above, total = points_above(epsilons, lambda e, a: thresholds(e, 1, a - 1, word_bits(e)))
    assert total >= 100_000
    assert above == 0


def test_the_usual_order_of_roundings_would_be_above() -> None:
    """The twin: the keeping threshold floored first, the rest shared out."""

    def usual(epsilon: float, alphabet: int) -> tuple[int, int]:
        ratio = Fraction(float(np.exp(epsilon)))
        top = int(2**64 * ratio / (ratio + alphabet - 1))
        return top, (2**64 - top) // (alphabet - 1)

    above, _ = points_above([0.5, 1.0, 3.0], usual)
    assert above > 100


@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 0.5, 3.0, 40.0, 40.5, 80.0])
def test_every_mechanism_reports_its_ratio(epsilon: float) -> None:
    low, _ = exponential_bracket(epsilon)
    values, prior = (0.0, 1.0, 2.0, 4.0), (0.4, 0.3, 0.2, 0.1)
    mechanisms = [
        labeldp.RandomizedResponse(epsilon, 7),
        labeldp.SelectiveRandomizedResponse(epsilon, 7, outside="other"),
        labeldp.SubsetSelection(epsilon, 7),
        labeldp.PartitionedRandomizedResponse(epsilon, 7),
        labeldp.UnaryEncoding(epsilon, 7),
        labeldp.UnaryEncoding(epsilon, 7, variant="optimized"),
        labeldp.NoisyOneHot(epsilon, 7),
        labeldp.RandomizedResponseOnBins(epsilon, values, prior),
        *([labeldp.UnbiasedRandomizer(epsilon, values, prior)] if epsilon >= 0.5 else []),
    ]
    for mechanism in mechanisms:
        ratio = mechanism.realized_ratio()
        assert isinstance(ratio, Fraction), mechanism
        assert 1 <= ratio <= low, mechanism


def most_accurate_of_all_channels(prior: np.ndarray, epsilon: float) -> float:
    """The largest P[output = label] of any epsilon-DP channel on the same classes, by linear programming."""
    k = len(prior)
    ratio = np.exp(epsilon)
    rows, bounds = [], []
    for output in range(k):
        for y in range(k):
            for other in range(k):
                if y != other:
                    row = np.zeros((k, k))
                    row[y, output], row[other, output] = 1, -ratio
                    rows.append(row.ravel())
                    bounds.append(0.0)
    sums = np.kron(np.eye(k), np.ones(k))
    gain = np.diag(prior).ravel()
    result = linprog(-gain, A_ub=np.array(rows), b_ub=bounds, A_eq=sums, b_eq=np.ones(k), method="highs")
    return float(-result.fun)


@pytest.mark.parametrize("num_classes", [2, 3, 4, 5])
def test_accuracy_is_the_best_of_all_channels(num_classes: int) -> None:
    rng = np.random.default_rng(num_classes)
    for epsilon in (0.0, 0.2, 1.0, 3.0):
        for _ in range(5):
            prior = rng.dirichlet(np.full(num_classes, 0.7))
            best = most_accurate_of_all_channels(prior, epsilon)
            mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes)
            assert prior @ np.diag(mechanism.channel(prior)) == pytest.approx(best, abs=1e-7)
            if (
                epsilon == 1.0
            ):  # the twin: the size that is best for information is not always best for accuracy
                other = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size="information")
                assert prior @ np.diag(other.channel(prior)) <= best + 1e-7


@pytest.mark.parametrize(
    "mechanism",
    [
        labeldp.RandomizedResponse(1.0, 100),
        labeldp.SelectiveRandomizedResponse(1.0, 100),
        labeldp.SelectiveRandomizedResponse(1.0, 100, size="information"),
        labeldp.SelectiveRandomizedResponse(1.0, 100, size="information", outside="other"),
        labeldp.SubsetSelection(1.0, 100),
        labeldp.UnaryEncoding(1.0, 100),
        labeldp.PartitionedRandomizedResponse(1.0, 100),
        labeldp.NoisyOneHot(1.0, 100),
    ],
    ids=repr,
)
def test_a_release_takes_64_mebibytes_beyond_what_goes_in_and_comes_out(mechanism) -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(100, size=30_000)
    prior = rng.dirichlet(np.ones(100), size=30_000).astype(np.float32)
    labeldp.privatize(mechanism, labels[:10], prior=prior[:10])
    tracemalloc.start()
    noisy = labeldp.privatize(mechanism, labels, prior=prior)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    kept = sum(a.nbytes for a in (noisy.values, noisy.plan.candidates, noisy.plan.blocks) if a is not None)
    assert peak - kept < 64 * 2**20
