"""Parts of a release: the same answers, likelihoods and candidates, and the event of the whole."""

import numpy as np
import pytest
from sklearn.model_selection import KFold, StratifiedKFold, check_cv, train_test_split

import accounting
import labeldp

LABELS = np.arange(40) % 5
PRIOR = np.tile([0.4, 0.3, 0.2, 0.1, 0.0], (40, 1))
MECHANISMS = [
    labeldp.RandomizedResponse(1.0, 5),
    labeldp.SelectiveRandomizedResponse(1.0, 5, size=2, outside="other"),
    labeldp.SubsetSelection(0.5, 5),
    labeldp.PartitionedRandomizedResponse(1.0, 5),
    labeldp.UnaryEncoding(1.0, 5),
    labeldp.NoisyOneHot(1.0, 5),
    labeldp.RandomizedResponseOnBins(1.0, tuple(range(5)), (1, 1, 1, 1, 1)),
]
each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda it: type(it).__name__)
ROWS = {
    "numbers": np.array([3, 30, 7]),
    "list": [3, 30, 7],
    "again and again": [5, 5, 5],
    "negative": [-1, -2],
    "slice": slice(4, 30, 3),
    "backwards": slice(None, None, -1),
    "mask": np.arange(40) % 3 == 1,
    "nothing": [],
    "as scikit-learn asks": (np.array([3, 30, 7]), ...),
}


def released(mechanism, source=None) -> labeldp.NoisyLabels:
    return labeldp.privatize(mechanism, LABELS, prior=PRIOR, source=source)


@each_mechanism
@pytest.mark.parametrize("name", ROWS)
def test_a_part_answers_as_the_whole(mechanism, name: str) -> None:
    noisy = released(mechanism)
    chosen = ROWS[name][0] if isinstance(ROWS[name], tuple) else ROWS[name]
    part, numbers = noisy[ROWS[name]], np.arange(40)[chosen]
    assert len(part) == len(numbers) == part.shape[0]
    np.testing.assert_array_equal(part.values, noisy.values[numbers])
    np.testing.assert_array_equal(np.asarray(part), part.values)
    np.testing.assert_array_equal(part.likelihood(), noisy.likelihood()[numbers])


@each_mechanism
def test_the_event_of_a_part_is_that_of_the_whole(mechanism) -> None:
    for source in (None, labeldp.SeededSource(0)):
        noisy = released(mechanism, source)
        part = noisy[noisy.likelihood()[:, 0] > noisy.likelihood()[:, 1]]  # chosen by the answers themselves
        assert part.event == noisy.event
        assert part.guarantee(unit="answer") == noisy.guarantee(unit="answer")


def test_an_event_of_fewer_items_would_promise_more() -> None:
    noisy = released(MECHANISMS[0])

    def record(event: accounting.Event) -> float:
        transcript = accounting.Transcript([event], about="teacher", pool="independent")
        return accounting.guarantee(transcript, unit="record", delta=1e-5).epsilon

    assert record(noisy[:10].event) == record(noisy.event)
    assert record(MECHANISMS[0].event(noisy[:10].plan)) < record(noisy.event)


@each_mechanism
def test_a_part_is_saved_and_read(mechanism, tmp_path) -> None:
    part = released(mechanism)[[1, 1, 4]]
    part.save(tmp_path / "part.npz")
    read = labeldp.NoisyLabels.load(tmp_path / "part.npz")
    np.testing.assert_array_equal(read.values, part.values)
    assert read.event == part.event


def test_a_part_of_another_release_is_not_read(tmp_path) -> None:
    part = released(MECHANISMS[0])[:3]
    stranger = labeldp.RandomizedResponse(0.5, 5)
    labeldp.NoisyLabels(part.mechanism, part.values, part.plan, stranger.event(part.plan)).save(
        tmp_path / "part.npz"
    )
    with pytest.raises(ValueError, match="belong together"):
        labeldp.NoisyLabels.load(tmp_path / "part.npz")


@pytest.mark.parametrize("rows", [3, None, [[1]], np.int64(2)], ids=str)
def test_one_answer_is_not_a_part(rows) -> None:
    noisy = released(MECHANISMS[0])
    with pytest.raises(TypeError, match="noisy.values"):
        noisy[rows]
    with pytest.raises(TypeError, match="noisy.values"):
        iter(noisy).__next__()


@pytest.mark.parametrize("rows", [[40], np.ones(39, bool), [0.5], "a"], ids=str)
def test_rows_that_are_not_there_are_refused(rows) -> None:
    with pytest.raises(IndexError):
        released(MECHANISMS[0])[rows]


def test_parts_of_tensors_are_tensors() -> None:
    torch = pytest.importorskip("torch")
    noisy = labeldp.privatize(MECHANISMS[1], torch.arange(40) % 5, prior=torch.from_numpy(PRIOR))
    for rows in ([3, 30, 7], slice(None, None, -1), torch.tensor([1, 2])):
        part = noisy[rows]
        assert torch.equal(part.likelihood(), noisy.likelihood()[np.arange(40)[rows].copy()])
    assert np.asarray(noisy).tolist() == noisy.values.tolist()


def test_scikit_learn_splits_noisy_labels() -> None:
    answers, sets = released(MECHANISMS[0]), released(MECHANISMS[2])
    assert isinstance(check_cv(3, answers, classifier=True), StratifiedKFold)  # by answers, not by labels
    assert isinstance(check_cv(3, sets, classifier=True), KFold)
    train, test = train_test_split(sets, test_size=10)
    assert (len(train), len(test)) == (30, 10)
