"""Labelling in stages: each label is used once, and no prior sees the labels it helps to randomise."""

import numpy as np
import pytest

import labeldp
from labeldp.learning.stages import Stage, StagedLabels, privatize, split

FIRST = labeldp.RandomizedResponse(1.0, 4)
SECOND = labeldp.SelectiveRandomizedResponse(1.0, 4, size="information", outside="other")
STAGES = (Stage(FIRST, 0.5), Stage(SECOND, 0.5))
LABELS = np.random.default_rng(3).integers(4, size=200)


def frequencies(released, items):
    """A prior from what was released: how often each class was answered so far."""
    if not released.parts:
        return None
    return np.bincount(released.parts[0].values, minlength=4) + 0.5


def staged(labels, prior=frequencies, seed=0, noise=0):
    return privatize(labels, STAGES, prior=prior, seed=seed, source=labeldp.SeededSource(noise))


def check_same_stage_labels_do_not_move_candidates(prior_for) -> None:
    """Changes each label of the second stage in turn; everything decided before that stage must stay the same."""
    labels = np.arange(200) % 2
    reference = staged(labels, prior_for(labels))
    for item in split(200, STAGES, seed=0)[1][:20]:
        changed = labels.copy()
        changed[item] = 3
        other = staged(changed, prior_for(changed))
        np.testing.assert_array_equal(other.parts[0].values, reference.parts[0].values)
        np.testing.assert_array_equal(other.parts[1].candidates, reference.parts[1].candidates)


def test_prior_does_not_see_the_labels_it_randomizes() -> None:
    check_same_stage_labels_do_not_move_candidates(lambda labels: frequencies)


def test_a_prior_that_peeks_is_caught() -> None:
    """The twin: a prior that was handed the labels behind the barrier's back."""

    def peeking(labels):
        return lambda released, items: np.eye(4)[labels[items]] + 0.1 if released.parts else None

    with pytest.raises(AssertionError):
        check_same_stage_labels_do_not_move_candidates(peeking)


def test_every_item_is_answered_exactly_once() -> None:
    released = staged(LABELS)
    np.testing.assert_array_equal(np.sort(released.numbers), np.arange(200))
    assert len(released) == 200
    assert released.likelihood().shape == (200, 4)
    for items, part in zip(released.items, released.parts, strict=True):
        assert len(items) == len(part) == 100


def test_answers_belong_to_their_items() -> None:
    """At epsilon 40 noise never strikes."""
    stages = (Stage(labeldp.RandomizedResponse(40.0, 4), 0.3), Stage(labeldp.SubsetSelection(40.0, 4), 0.7))
    released = privatize(LABELS, stages, prior=lambda released, items: None, seed=1)
    np.testing.assert_array_equal(released.likelihood().argmax(axis=1), LABELS[released.numbers])


def test_the_split_is_public_and_depends_on_its_seed() -> None:
    first, again, other = (split(100, STAGES, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first[0], again[0])
    assert not np.array_equal(first[0], other[0])


def test_guarantee_of_stages_is_that_of_one_answer() -> None:
    import accounting

    released = privatize(LABELS, STAGES, prior=frequencies, seed=0)
    transcript = accounting.Transcript([released.event], about="people")
    assert accounting.guarantee(transcript, unit="label").epsilon == 1.0
    twice = accounting.Transcript([released.event, released.event], about="people")
    assert accounting.guarantee(twice, unit="label").epsilon == 2.0


@pytest.mark.parametrize("shares", [(), (0.5,), (0.5, 0.6), (1.0, 0.0), (1.5, -0.5), (float("nan"), 1.0)])
def test_bad_shares_are_refused(shares) -> None:
    with pytest.raises(ValueError, match="shares"):
        split(10, [Stage(FIRST, share) for share in shares], seed=0)


def test_bad_stages_and_labels_are_refused() -> None:
    with pytest.raises(ValueError, match="same classes"):
        privatize(
            [0],
            [Stage(FIRST, 0.5), Stage(labeldp.RandomizedResponse(1.0, 3), 0.5)],
            prior=frequencies,
            seed=0,
        )
    with pytest.raises(ValueError, match="shape"):
        privatize([[0]], STAGES, prior=frequencies, seed=0)
    with pytest.raises(ValueError, match="every label"):
        privatize([0, 9], STAGES, prior=frequencies, seed=0)
    with pytest.raises(TypeError, match="prior"):
        privatize([0, 1], STAGES, prior=lambda released, items: None, seed=0)


@pytest.mark.parametrize("count", [0, 1, 2, 3])
def test_few_items_are_fine(count: int) -> None:
    released = privatize(LABELS[:count], STAGES, prior=frequencies, seed=0)
    assert len(released) == count


def test_stages_that_share_items_are_refused() -> None:
    """Five releases of the same labels cost five times as much, whatever they are called; on items of their own they do not."""
    parts = tuple(labeldp.privatize(FIRST, LABELS[:40]) for _ in range(5))
    numbers = np.arange(200).reshape(5, 40)
    assert len(StagedLabels(tuple(numbers), parts)) == 200
    for wrong in (
        (numbers[0],) * 5,
        (*numbers[:4], numbers[3] + 39),  # one item in two stages
        (*numbers[:4], np.full(40, 180)),  # one item again and again in a stage
        (*numbers[:4], numbers[4] - 200),  # numbers from the end: items of the first stage
    ):
        with pytest.raises(ValueError, match="repeats"):
            StagedLabels(wrong, parts)
    for wrong in ((), tuple(numbers[:4]), (*numbers[:4], numbers[4][:39]), tuple(numbers[:, :, None])):
        with pytest.raises(ValueError, match="number for each noisy label"):
            StagedLabels(wrong, parts)
    for wrong in (tuple(numbers + 0.5), tuple(numbers.astype(str))):
        with pytest.raises(TypeError, match="integers"):
            StagedLabels(wrong, parts)


def test_items_of_stages_stay_what_they_were_checked_to_be() -> None:
    numbers = np.arange(40)
    released = StagedLabels((numbers,), (labeldp.privatize(FIRST, LABELS[:40]),))
    numbers[:] = 0
    np.testing.assert_array_equal(released.numbers, np.arange(40))
    with pytest.raises(ValueError, match="read-only"):
        released.items[0][:] = 0
