"""Partitions of the classes: balanced, public, the same on every machine; and answers that are blocks."""

import heapq
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

import accounting
import labeldp
from labeldp.mechanisms import Plan, partition
from labeldp.mechanisms import prior as priors
from labeldp.mechanisms.prior import integer_weights
from labeldp.mechanisms.thresholds import thresholds
from tests import oracles
from tests.labeldp.test_release import BAD_LABELS, BAD_PRIORS, Trap
from tests.strategies import FULL_RANGE_EPSILONS, prior_rows

Partitioned = labeldp.PartitionedRandomizedResponse
STEADY = settings(deadline=None, max_examples=150)
PRIOR = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
LABELS = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0])


def blocks_of(prior, num_blocks, *, num_items=1, seed=0, epsilon=1.0) -> np.ndarray:
    mechanism = Partitioned(epsilon, np.shape(prior)[-1], num_blocks, seed)
    blocks = mechanism.plan(prior, num_items).blocks
    assert blocks is not None
    return blocks.astype(np.int64)


def masses(weights: np.ndarray, blocks: np.ndarray) -> list[int]:
    return [int(weights[blocks == block].sum()) for block in range(int(blocks.max()) + 1)]


# The partition.


def check_balanced(weights: np.ndarray, blocks: np.ndarray, num_blocks: int) -> None:
    """The masses are those of the greedy rule, and no block could be lighter without its last class and not be the lightest."""
    heap = [0] * num_blocks
    for weight in sorted(weights.tolist(), reverse=True):
        heapq.heapreplace(heap, heap[0] + weight)
    found = masses(weights, blocks)
    assert sorted(found) == sorted(heap)
    for block, mass in enumerate(found):
        members = weights[(blocks == block) & (weights > 0)]
        assert mass - min(members, default=0) <= min(found)


@STEADY
@given(st.data(), st.integers(2, 9), st.integers(0, 2**64 - 1))
def test_blocks_are_as_balanced_as_the_greedy_rule_makes_them(data, num_classes: int, seed: int) -> None:
    row, num_blocks = data.draw(prior_rows(num_classes)), data.draw(st.integers(2, num_classes))
    check_balanced(integer_weights(row[None])[0], blocks_of(row, num_blocks, seed=seed)[0], num_blocks)


def test_a_random_partition_is_not_balanced() -> None:
    """The twin: the check sees a partition that looks at no mass."""
    rng, weights = np.random.default_rng(0), integer_weights(np.array([[0.5, 0.3, 0.2, 0.1, 0.1, 0.05]]))[0]
    caught = 0
    for _ in range(50):
        blocks = rng.permutation(6) % 3
        try:
            check_balanced(weights, blocks, 3)
        except AssertionError:
            caught += 1
    assert caught > 40


@STEADY
@given(st.data(), st.integers(2, 9))
def test_no_block_is_empty_and_classes_of_prior_zero_are_spread(data, num_classes: int) -> None:
    row, num_blocks = data.draw(prior_rows(num_classes)), data.draw(st.integers(2, num_classes))
    blocks = blocks_of(row, num_blocks)[0]
    assert set(blocks.tolist()) == set(range(num_blocks))
    every, zero = np.bincount(blocks), np.bincount(blocks[row == 0], minlength=num_blocks)
    spread = zero if (row > 0).sum() >= num_blocks else every
    assert spread.max() - spread.min() <= 1


def test_the_partition_does_not_depend_on_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    prior = np.random.default_rng(0).integers(0, 4, size=(500, 6)) + np.eye(6)[np.arange(500) % 6]
    whole = [blocks_of(prior, number, num_items=500) for number in ("information", 3)]
    monkeypatch.setattr(priors, "CHUNK_BYTES", 7 * 32 * 6)
    for number, blocks in zip(("information", 3), whole, strict=True):
        np.testing.assert_array_equal(blocks_of(prior, number, num_items=500), blocks)
    assert not np.array_equal(blocks_of(prior[7:], 3, num_items=493), whole[1][7:]), "the row number counts"
    assert not np.array_equal(blocks_of(prior, 3, num_items=500, seed=1), whole[1]), "the seed counts"


def test_a_row_depends_on_its_own_prior_only() -> None:
    prior = np.random.default_rng(0).dirichlet(np.full(6, 0.4), size=50)
    changed = prior.copy()
    changed[20:] = 1
    np.testing.assert_array_equal(
        blocks_of(prior, "information", num_items=50)[:20],
        blocks_of(changed, "information", num_items=50)[:20],
    )


def mixed(number: int) -> int:
    """SplitMix64 in Python integers."""
    number = (number + 0x9E3779B97F4A7C15) % 2**64
    number = (number ^ number >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    number = (number ^ number >> 27) * 0x94D049BB133111EB % 2**64
    return number ^ number >> 31


def reference_blocks(weights: list[int], num_blocks: int, seed: int, row: int) -> list[int]:
    """The same partition in Python integers, one class at a time."""
    size, key = len(weights), mixed(mixed(seed) ^ row)

    def draw(column: int, bits: int) -> int:
        return mixed(key ^ column) >> (64 - bits)

    order = sorted(range(size), key=lambda c: (-weights[c], -draw(c, 22), c))
    positive = sum(weight > 0 for weight in weights)
    start = 0 if positive < num_blocks else draw(2 * size, 32) % num_blocks
    blocks, keys = [0] * size, [(0, -1)] * num_blocks
    for rank, c in enumerate(order):
        if rank < min(num_blocks, positive):
            block = rank
        elif weights[c] > 0:
            block = keys.index(min(keys))
        else:
            block = (start + rank) % num_blocks
        blocks[c] = block
        keys[block] = (keys[block][0] + weights[c], draw(size + rank, 12))
    return blocks


def test_the_partition_is_the_same_on_every_machine() -> None:
    """Integers only: numpy gives what Python does."""
    assert mixed(0) == 0xE220A8397B1DCDAF  # the published first output of SplitMix64 from 0
    rng = np.random.default_rng(0)
    for num_classes, num_blocks, seed in ((8, 3, 5), (8, 7, 2**64 - 1), (30, 4, 0), (200, 90, 1)):
        prior = rng.integers(0, 4, size=(40, num_classes))
        prior[:, 0] = 4
        found = blocks_of(prior, num_blocks, num_items=40, seed=seed)
        for row, (weights, blocks) in enumerate(zip(integer_weights(prior), found, strict=True)):
            assert blocks.tolist() == reference_blocks(weights.tolist(), num_blocks, seed, row)


def separated(blocks: np.ndarray) -> np.ndarray:
    """Share of the items that tell a pair of classes apart, (K, K)."""
    return (blocks[:, :, None] != blocks[:, None, :]).mean(axis=0)


@pytest.mark.parametrize("prior", [np.ones(6), [3, 3, 3, 0, 0, 0], [0, 0, 0, 0, 0, 9]])
def test_every_class_is_told_apart_over_many_items(prior) -> None:
    for num_blocks in (2, 3, 5):
        share = separated(blocks_of(prior, num_blocks, num_items=300))
        assert (share[~np.eye(6, dtype=bool)] > 0.1).all()


def test_equal_classes_are_paired_at_random() -> None:
    """Four equal classes in two blocks: any two share one with probability 1/3; six items in a row tell nothing of the seventh."""
    blocks = blocks_of(np.ones(4), 2, num_items=6000)
    share = separated(blocks)[np.triu_indices(4, 1)]
    np.testing.assert_allclose(share, 2 / 3, atol=5 * np.sqrt(2 / 9 / 6000))
    partner = (blocks[:, :1] == blocks[:, 1:]).argmax(axis=1)
    table = np.histogram2d(partner[:-1], partner[1:], bins=3)[0]
    assert stats.chi2_contingency(table).pvalue > 1e-4


def test_equally_light_blocks_are_chosen_at_random() -> None:
    """5 | 3 + 2, and then 1 may go to either."""
    share = separated(blocks_of([5, 3, 2, 1], 2, num_items=4000))[0, 3]
    assert abs(share - 1 / 2) < 5 * np.sqrt(1 / 4 / 4000)


def test_one_prior_without_ties_leaves_no_choice() -> None:
    """What the docstring says: ties or different priors tell classes apart; here 0 and 3 stay together."""
    share = separated(blocks_of([0.4, 0.31, 0.2, 0.09], 2, num_items=100))
    assert set(np.unique(share)) == {0.0, 1.0}


@STEADY
@given(st.permutations(range(6)), st.integers(2, 6))
def test_permuted_classes_have_permuted_blocks(order: list[int], num_blocks: int) -> None:
    row = np.array([0.31, 0.05, 0.22, 0.17, 0.12, 0.13])
    np.testing.assert_array_equal(blocks_of(row[order], num_blocks)[0], blocks_of(row, num_blocks)[0][order])


def test_many_classes_leave_room_for_sums() -> None:
    """The masses of 4096 classes of weight 2^40, beside 12 tie bits, would not fit into 63 bits."""
    assert np.bincount(blocks_of(np.ones(2**13), 2)[0]).tolist() == [2**12, 2**12]


# The number of blocks.


def mutual_information(channel: np.ndarray, prior: np.ndarray) -> float:
    joint = channel * (prior / prior.sum())[:, None]
    product = joint.sum(axis=1)[:, None] * joint.sum(axis=0)
    cells = joint > 0
    return float((joint[cells] * np.log(joint[cells] / product[cells])).sum())


def check_most_informative(row: np.ndarray, epsilon: float, number: int) -> None:
    positive = int((row > 0).sum())
    assert 2 <= number <= max(2, positive)
    reached = mutual_information(Partitioned(epsilon, len(row), number).channel(row), row)
    for other in range(2, max(2, positive) + 1):
        assert reached >= mutual_information(Partitioned(epsilon, len(row), other).channel(row), row) - 1e-9


@STEADY
@given(st.data(), st.integers(2, 9), st.floats(0.01, 12))
def test_information_takes_the_best_of_all_numbers(data, num_classes: int, epsilon: float) -> None:
    row = data.draw(prior_rows(num_classes)).astype(np.float64)
    row = row / row.max()
    check_most_informative(row, epsilon, int(blocks_of(row, "information", epsilon=epsilon).max()) + 1)


@pytest.mark.parametrize("number", [2, 3, 10])
def test_another_number_tells_less(number: int) -> None:
    """The twin: at epsilon 2 and ten equal classes five blocks are best, and the check knows."""
    check_most_informative(np.ones(10), 2.0, 5)
    with pytest.raises(AssertionError):
        check_most_informative(np.ones(10), 2.0, number)


@STEADY
@given(st.data(), st.integers(2, 8), st.floats(1e-6, 12))
def test_the_bound_is_above_every_information(data, num_classes: int, epsilon: float) -> None:
    row = data.draw(prior_rows(num_classes)).astype(np.float64)
    weights = integer_weights(row[None])[0]
    ordered = -np.sort(-weights[None], axis=1)
    probability = ordered / ordered.sum()
    bound = partition.information_bounds(probability, epsilon)[0]
    assert np.isneginf(bound[:2]).all()
    for number in range(2, max(2, int((ordered > 0).sum())) + 1):
        loads = np.array([masses(weights, blocks_of(row, number)[0])])
        information = partition.information_of_blocks(loads / loads.sum(), np.array([number]), epsilon)[0]
        assert information <= bound[number] * (1 + 1e-9) + 1e-13 * epsilon
        channel = Partitioned(epsilon, num_classes, number).channel(row)
        assert information == pytest.approx(mutual_information(channel, weights), abs=1e-12)


def test_few_numbers_are_tried_of_a_thousand(monkeypatch: pytest.MonkeyPatch) -> None:
    tries = []
    greedy = partition._greedy
    monkeypatch.setattr(partition, "_greedy", lambda *args: tries.append(1) or greedy(*args))
    rng = np.random.default_rng(0)
    for epsilon in (0.5, 2.0, 5.0):
        for concentration in (0.02, 0.5, 10.0):
            prior = rng.dirichlet(np.full(1000, concentration), size=20)
            tries.clear()
            blocks_of(prior, "information", num_items=20, epsilon=epsilon)
            assert len(tries) <= 6


@pytest.mark.parametrize("epsilon", [0.0, 5e-324, 1e-160, 1e-9, 80.0])
def test_extreme_epsilons_have_a_number_of_blocks(epsilon: float) -> None:
    for row in (np.ones(5), PRIOR, np.array([0, 0, 1.0, 0, 0]), np.array([1, 1e-13, 0, 0, 0])):
        number = int(blocks_of(row, "information", epsilon=epsilon).max()) + 1
        assert number == (max(2, int((row > 0).sum())) if epsilon == 80 and row[1] != 1e-13 else 2)


# The answers.


@settings(deadline=None, max_examples=60)
@given(FULL_RANGE_EPSILONS, st.integers(2, 40))
def test_the_ratio_is_at_most_epsilon_for_every_number_of_blocks(epsilon: float, num_classes: int) -> None:
    ratio = Partitioned(epsilon, num_classes).realized_ratio()
    assert ratio <= oracles.exponential_bracket(epsilon)[0]
    for number in range(2, num_classes + 1):
        fixed = Partitioned(epsilon, num_classes, number).realized_ratio()
        assert fixed <= ratio
        assert fixed == Fraction(*thresholds(epsilon, 1, number - 1, 64 if epsilon <= 40 else 128))


def test_a_response_is_that_of_the_items_own_partition() -> None:
    mechanism, prior = Partitioned(1.0, 5, 3), np.tile(np.ones(5), (10, 1))
    blocks = mechanism.plan(prior, 10).blocks
    for row, label, own in zip(mechanism.response(LABELS, prior), LABELS, blocks, strict=True):
        law = oracles.partitioned(oracles.exponential_bracket(1.0)[0], own.tolist())[label]
        np.testing.assert_allclose(row, [float(q) for q in law], rtol=1e-12)


@pytest.mark.parametrize("epsilon", [1.0, 50.0])
def test_likelihood_and_posterior_are_those_of_the_block(epsilon: float) -> None:
    mechanism = Partitioned(epsilon, 5)
    noisy = labeldp.privatize(mechanism, LABELS, prior=PRIOR)
    for row, own, value in zip(noisy.likelihood(), noisy.plan.blocks, noisy.values, strict=True):
        law = oracles.partitioned(oracles.exponential_bracket(epsilon)[0], own.tolist())
        np.testing.assert_allclose(row, [float(law[label][value]) for label in range(5)], rtol=1e-12)
    joint = noisy.likelihood() * PRIOR
    np.testing.assert_allclose(
        noisy.posterior(3 * PRIOR), joint / joint.sum(axis=1, keepdims=True), rtol=1e-12
    )


def test_answers_are_the_labels_blocks_where_noise_never_strikes() -> None:
    rng = np.random.default_rng(0)
    prior, labels = rng.dirichlet(np.full(7, 0.5), size=3000), rng.integers(7, size=3000)
    for number in ("information", 4):
        noisy = labeldp.privatize(Partitioned(40.0, 7, number), labels, prior=prior)
        np.testing.assert_array_equal(noisy.values, noisy.plan.blocks[np.arange(3000), labels])


def test_the_law_of_a_large_release_fits() -> None:
    n, mechanism = 40_000, Partitioned(1.0, 5, 3)
    for label in range(5):
        noisy = labeldp.privatize(
            mechanism, np.full(n, label), prior=np.ones(5), source=labeldp.SeededSource(label)
        )
        kept = noisy.values == noisy.plan.blocks[:, label]
        lie = (noisy.values - noisy.plan.blocks[:, label].astype(np.int64)) % 3
        counts = np.array([kept.sum(), (lie == 1).sum(), (lie == 2).sum()])
        assert stats.chisquare(counts, n * np.array([np.e, 1, 1]) / (np.e + 2)).pvalue > 1e-4


def test_learning_from_blocks_finds_every_class() -> None:
    """The share of each class by maximum likelihood: blocks alone tell all classes apart, since they differ from item to item."""
    rng = np.random.default_rng(0)
    share = np.array([0.5, 0.2, 0.15, 0.1, 0.05])
    labels = rng.choice(5, p=share, size=30_000)
    noisy = labeldp.privatize(
        Partitioned(3.0, 5, 2), labels, prior=np.ones(5), source=labeldp.SeededSource(0)
    )
    estimate, likelihood = np.full(5, 0.2), noisy.likelihood()
    for _ in range(200):
        posterior = likelihood * estimate
        estimate = (posterior / posterior.sum(axis=1, keepdims=True)).mean(axis=0)
    np.testing.assert_allclose(estimate, share, atol=0.02)


def test_event_counts_numbers_of_blocks() -> None:
    prior = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    answer = accounting.RandomizedResponse
    adaptive = labeldp.privatize(Partitioned(4.0, 5), [0, 1, 2], prior=prior)
    assert adaptive.event == accounting.Disjoint([answer(4.0, 2), answer(4.0, 5)], [2, 1], adaptive=True)
    fixed = labeldp.privatize(Partitioned(4.0, 5, 3), [0, 1, 2], prior=prior)
    assert fixed.event == accounting.Disjoint([answer(4.0, 3)], [3], adaptive=False)
    assert fixed.guarantee(unit="label").epsilon == 4.0


@pytest.mark.parametrize("num_blocks", ["information", 3])
def test_saving_and_loading_gives_the_same_release(num_blocks, tmp_path) -> None:
    noisy = labeldp.privatize(
        Partitioned(1.0, 5, num_blocks, seed=2**64 - 1), LABELS.astype(np.int16), prior=PRIOR
    )
    noisy.save(tmp_path / "noisy")
    loaded = labeldp.NoisyLabels.load(tmp_path / "noisy")
    np.testing.assert_array_equal(loaded.values, noisy.values)
    np.testing.assert_array_equal(loaded.plan.blocks, noisy.plan.blocks)
    assert (loaded.values.dtype, loaded.plan.blocks.dtype) == (np.int16, np.uint8)
    np.testing.assert_array_equal(loaded.likelihood(), noisy.likelihood())
    assert (loaded.mechanism, loaded.event) == (noisy.mechanism, noisy.event)


def test_a_keyed_source_is_refused_because_partitions_go_with_the_row() -> None:
    """A rerun in another order would draw other partitions, and so be another release under the name of the first."""
    mechanism, prior, items = Partitioned(1.0, 5, 3), np.ones(5), np.arange(20)
    there, back = (mechanism.plan(prior, 20).blocks, mechanism.plan(prior, 20)[np.arange(20)[::-1]].blocks)
    assert not np.array_equal(there, back)
    with pytest.raises(TypeError, match="another order"):
        labeldp.privatize(
            mechanism, LABELS, prior=prior, items=items[: len(LABELS)], source=labeldp.KeyedSource(bytes(32))
        )


def test_no_item_is_an_empty_release(tmp_path) -> None:
    for prior in (PRIOR, np.empty((0, 5))):
        noisy = labeldp.privatize(Partitioned(1.0, 5), [], prior=prior)
        assert noisy.likelihood().shape == (0, 5)
        noisy.save(tmp_path / "noisy")
        assert len(labeldp.NoisyLabels.load(tmp_path / "noisy")) == 0


@pytest.mark.parametrize(("num_classes", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (65_537, "u4")])
def test_blocks_are_stored_in_the_smallest_type(num_classes: int, dtype: str) -> None:
    plan = Partitioned(1.0, num_classes, num_classes).plan(np.ones(num_classes), 1)
    assert plan.blocks is not None
    assert plan.blocks.dtype == np.dtype(dtype)
    assert sorted(plan.blocks[0].tolist()) == list(range(num_classes))


def test_only_possible_plans_and_values_are_possible() -> None:
    mechanism, values = Partitioned(1.0, 4, 3), np.array([0, 2])
    good = np.array([[0, 1, 2, 0], [2, 0, 1, 1]], dtype=np.uint8)

    def possible(blocks=good, values=values, mechanism=mechanism, **options) -> bool:
        return mechanism.possible(values, Plan(2, blocks=blocks, **options))

    assert possible()
    assert possible(mechanism=Partitioned(1.0, 4))
    assert not possible(mechanism=Partitioned(1.0, 4, 2))
    assert not possible(mechanism=Partitioned(1.0, 5))
    assert not possible(mechanism=labeldp.RandomizedResponse(1.0, 4))
    assert not possible(blocks=None)
    assert not possible(candidates=np.ones((2, 4), dtype=np.bool_))
    for blocks in (
        np.where(good == 1, 3, good).astype(np.uint8),  # a number is left out
        (good + 1).astype(np.uint8),
        np.where(good == 2, 0, good).astype(np.uint8),
        np.zeros_like(good),
        good.astype(np.int64),
        good.astype(np.uint16),
        good[:1],
        good[:, :3],
        good[0],
    ):
        assert not possible(blocks=blocks)
    assert not mechanism.possible(values, Plan(3, blocks=good))
    for wrong in ([0, 3], [-1, 0], [0.0, 1.0], [0], [[0], [1]], [True, False]):
        assert not possible(values=np.array(wrong))


def test_blocks_and_epsilon_of_a_file_must_fit(tmp_path) -> None:
    noisy = labeldp.privatize(Partitioned(1.0, 5, 2), LABELS, prior=np.ones(5))
    noisy.save(tmp_path / "noisy.npz")
    with np.load(tmp_path / "noisy.npz") as file:
        arrays = {name: file[name] for name in file.files}
    for blocks in (np.zeros_like(arrays["blocks"]), arrays["blocks"] + np.uint8(1), arrays["blocks"][:5]):
        np.savez(tmp_path / "noisy.npz", **{**arrays, "blocks": blocks})
        with pytest.raises(ValueError, match="belong together"):
            labeldp.NoisyLabels.load(tmp_path / "noisy.npz")


# What goes in.


@pytest.mark.parametrize("name", BAD_PRIORS)
def test_bad_priors_are_refused_before_a_label_is_read(name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="prior"):
        labeldp.privatize(Partitioned(1.0, 5), Trap(), prior=BAD_PRIORS[name])


@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused(name: str) -> None:
    mechanism = Partitioned(1.0, 5)
    for call in (
        lambda: labeldp.privatize(mechanism, BAD_LABELS[name], prior=PRIOR),
        lambda: mechanism.response(BAD_LABELS[name], PRIOR),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        assert "3217" not in str(caught.value)


@pytest.mark.parametrize(
    "parameters",
    [
        *(dict(num_blocks=value) for value in (0, 1, 6, -1, 2.0, "accuracy", None, True, [2])),
        *(dict(seed=value) for value in (-1, 2**64, 1.0, "1", None, True)),
        *(dict(epsilon=value) for value in (-1, 81, None, float("nan"))),
        *(dict(num_classes=value) for value in (1, 2.0, None)),
    ],
    ids=str,
)
def test_bad_parameters_are_refused(parameters) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        Partitioned(**{"epsilon": 1.0, "num_classes": 5, **parameters})
