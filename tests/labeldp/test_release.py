"""The barrier: what goes in, what comes out, and what must never come out."""

import copy
import os
import pickle
import traceback
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

import accounting
import labeldp
from labeldp.mechanisms.thresholds import thresholds
from labeldp.release import sampling

RR = labeldp.RandomizedResponse(1.0, 5)
SRR = labeldp.SelectiveRandomizedResponse(1.0, 5)
OTHER = labeldp.SelectiveRandomizedResponse(1.0, 5, size=2, outside="other")
SUBSET = labeldp.SubsetSelection(1.0, 5)
MECHANISMS = [RR, SRR, OTHER, SUBSET]
PRIOR = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
LABELS = np.array([0, 1, 2, 3, 4, 4, 3, 2, 1, 0])
each_mechanism = pytest.mark.parametrize(
    "mechanism", MECHANISMS, ids=lambda m: f"{type(m).__name__}-{getattr(m, 'outside', '')}"
)


def released(mechanism, labels=LABELS, seed=0, **options):
    return labeldp.privatize(mechanism, labels, prior=PRIOR, source=labeldp.SeededSource(seed), **options)


# What may go in.

GOOD_LABELS = {
    "list": [0, 1, 4],
    "tuple": (0, 1, 4),
    "range": range(5),
    "empty list": [],
    "empty array": np.array([], dtype=np.int8),
    "uint8": np.array([0, 1, 4], dtype=np.uint8),
    "uint64": np.array([0, 1, 4], dtype=np.uint64),
    "big endian": np.array([0, 1, 4], dtype=">i4"),
    "strided": np.arange(10)[::3] % 5,
    "reversed": np.arange(5)[::-1],
    "column of a Fortran matrix": np.asfortranarray(np.arange(10).reshape(5, 2) % 5)[:, 1],
    "subclass": np.array([0, 1]).view(np.recarray),
}


@each_mechanism
@pytest.mark.parametrize("name", GOOD_LABELS)
def test_anything_that_is_integers_goes_in(mechanism, name: str) -> None:
    labels = GOOD_LABELS[name]
    noisy = released(mechanism, labels)
    assert len(noisy) == len(labels)
    assert noisy.likelihood().shape == (len(labels), 5)
    assert (noisy.likelihood() > 0).all()


def test_read_only_labels_go_in_and_stay_as_they_were() -> None:
    labels = LABELS.copy()
    labels.flags.writeable = False
    for mechanism in MECHANISMS:
        released(mechanism, labels)
    np.testing.assert_array_equal(labels, LABELS)


SECRET = 3217
BAD_LABELS = {
    "too large": [0, SECRET],
    "negative": [0, -SECRET],
    "largest uint64": np.array([2**64 - 1], dtype=np.uint64),
    "beyond 64 bits": [2**70 + SECRET],
    "floats": [0.0, 1.0],
    "float array": np.array([float(SECRET)]),
    "nan": [float("nan")],
    "bools": [True, False],
    "strings": ["0", str(SECRET)],
    "objects": np.array([0, None], dtype=object),
    "complex": np.array([1j]),
    "dates": np.array(["2020-01-01"], dtype="datetime64[D]"),
    "two-dimensional": [[0, 1], [2, 3]],
    "zero-dimensional": 3,
    "ragged": [[0], [1, 2]],
    "masked": np.ma.masked_array([0, 1], mask=[True, False]),
    "structured": np.array([(1, 2)], dtype=[("a", int), ("b", int)]),
    "dictionary": {"y": [0, 1]},
    "none": None,
    "bytes": b"012",
    "generator": (i for i in range(3)),
    "set": {0, 1},
    "timedelta": np.array([1], dtype="timedelta64[s]"),
    "void": np.zeros(2, dtype="V4"),
}


@each_mechanism
@pytest.mark.parametrize("name", BAD_LABELS)
def test_bad_labels_are_refused_without_being_printed(mechanism, name: str) -> None:
    for call in (
        lambda: released(mechanism, BAD_LABELS[name]),
        lambda: mechanism.response(
            BAD_LABELS[name], np.tile(PRIOR, (np.size(BAD_LABELS[name]) if name != "ragged" else 2, 1))
        ),
    ):
        with pytest.raises((TypeError, ValueError)) as caught:
            call()
        message = "".join(traceback.format_exception_only(caught.value))
        assert str(SECRET) not in message
        assert caught.value.__cause__ is None


BAD_PRIORS = {
    "none": None,
    "nan": [0.1, np.nan, 0.1, 0.1, 0.1],
    "infinite": [0.1, np.inf, 0.1, 0.1, 0.1],
    "negative": [0.5, 0.6, -0.1, 0, 0],
    "all zero": [0.0] * 5,
    "negative zero only": [-0.0] * 5,
    "too short": [0.5, 0.5],
    "wrong number of rows": np.ones((3, 5)),
    "transposed": np.ones((5, 10)),
    "three-dimensional": np.ones((10, 5, 1)),
    "scalar": 0.2,
    "strings": ["a"] * 5,
    "complex": np.ones(5) * 1j,
    "bools": np.ones(5, dtype=bool),
    "objects": np.array([1, 2, 3, 4, None], dtype=object),
    "masked": np.ma.masked_array(np.ones(5), mask=[0, 1, 0, 0, 0]),
    "one bad row": np.vstack([np.ones((9, 5)), np.full((1, 5), np.nan)]),
}


class Trap:
    """Labels that must not be looked at."""

    shape = (10,)
    ndim = 1

    def __array__(self, *_, **__):
        raise AssertionError("the labels were read")

    def __len__(self):
        return 10

    def __getitem__(self, _):
        raise AssertionError("the labels were read")


@pytest.mark.parametrize("mechanism", [SRR, OTHER], ids=["uniform", "other"])
@pytest.mark.parametrize("name", BAD_PRIORS)
def test_bad_priors_are_refused_before_a_label_is_read(mechanism, name: str) -> None:
    with pytest.raises((TypeError, ValueError), match="prior"):
        labeldp.privatize(mechanism, Trap(), prior=BAD_PRIORS[name])
    if name != "wrong number of rows" and name != "transposed" and name != "one bad row":
        with pytest.raises((TypeError, ValueError)):
            mechanism.candidates(BAD_PRIORS[name])
    with pytest.raises((TypeError, ValueError)):
        released(RR).posterior(BAD_PRIORS[name])


def test_the_trap_works() -> None:
    """The twin: with a good prior the labels are read, and the trap says so."""
    with pytest.raises(AssertionError, match="were read"):
        labeldp.privatize(SRR, Trap(), prior=PRIOR)


BAD_PARAMETERS = [
    dict(epsilon=value, num_classes=5)
    for value in (-1, float("nan"), float("inf"), 81.0, "1", None, True, [1.0], 1j, np.array([1.0]))
] + [dict(epsilon=1.0, num_classes=value) for value in (1, 0, -3, 2.0, "5", None, True, [5])]


@pytest.mark.parametrize(
    "kind", [labeldp.RandomizedResponse, labeldp.SelectiveRandomizedResponse, labeldp.SubsetSelection]
)
@pytest.mark.parametrize("parameters", BAD_PARAMETERS, ids=str)
def test_bad_parameters_are_refused(kind, parameters) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        kind(**parameters)


@pytest.mark.parametrize("size", [0, 6, -1, 2.0, "largest", None, True, [2]])
def test_bad_sizes_are_refused(size) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        labeldp.SelectiveRandomizedResponse(1.0, 5, size=size)
    if size is not None:
        with pytest.raises((TypeError, ValueError), match="Expected"):
            labeldp.SubsetSelection(1.0, 5, subset_size=size if size != 6 else 5)


def test_bad_outside_is_refused() -> None:
    with pytest.raises(ValueError, match="uniform"):
        labeldp.SelectiveRandomizedResponse(1.0, 5, outside="drop")


# What comes out.


@pytest.mark.parametrize("dtype", ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8"])
def test_answers_have_the_labels_type(dtype: str) -> None:
    assert released(RR, LABELS.astype(dtype)).values.dtype == np.dtype(dtype)


@pytest.mark.parametrize(
    ("num_classes", "dtype", "expected"),
    [(128, "i1", "i2"), (256, "u1", "u2"), (300, "u1", "u2"), (127, "i1", "i1"), (70_000, "u1", "u4")],
)
def test_answers_that_do_not_fit_take_the_next_wider_type(
    num_classes: int, dtype: str, expected: str
) -> None:
    """An "other" numbered K must not wrap around to a class."""
    mechanism = labeldp.SelectiveRandomizedResponse(40.0, num_classes, size=1, outside="other")
    prior = np.zeros(num_classes)
    prior[0] = 1
    noisy = released_with(mechanism, np.array([1, 2, 0], dtype=dtype), prior)
    assert noisy.values.dtype == np.dtype(expected)
    assert noisy.values.tolist() == [num_classes, num_classes, 0]


def released_with(mechanism, labels, prior, seed=0):
    return labeldp.privatize(mechanism, labels, prior=prior, source=labeldp.SeededSource(seed))


def test_answers_stay_in_the_row_of_their_item_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    """At epsilon 40 the noise never strikes: the answer is the label where it is a candidate, on every row of every chunk."""
    monkeypatch.setattr(sampling, "CHUNK_BYTES", 5000)
    rng = np.random.default_rng(0)
    prior, labels = rng.dirichlet(np.full(7, 0.5), size=3001), rng.integers(7, size=3001)
    inside = None
    for outside in ("uniform", "other"):
        mechanism = labeldp.SelectiveRandomizedResponse(40.0, 7, size=3, outside=outside)
        noisy = released_with(mechanism, labels, prior)
        inside = noisy.candidates[np.arange(3001), labels]
        np.testing.assert_array_equal(noisy.values[inside], labels[inside])
        if outside == "other":
            assert (noisy.values[~inside] == 7).all()
        else:
            assert noisy.candidates[np.arange(3001), noisy.values].all()
    assert inside is not None
    assert 0.2 < inside.mean() < 0.95
    np.testing.assert_array_equal(
        released_with(labeldp.RandomizedResponse(40.0, 7), labels, None).values, labels
    )
    subset = released_with(labeldp.SubsetSelection(40.0, 7), labels, None).values
    np.testing.assert_array_equal(subset, labels[:, None] == np.arange(7))


class Scripted:
    """A source that starts with words that must be drawn again."""

    secure = True

    def __init__(self, bad_draws: int) -> None:
        self.bad_draws, self.good = bad_draws, labeldp.SeededSource(1)

    def words(self, count: int, context: object = None) -> np.ndarray:
        words = self.good.words(count).copy()
        if self.bad_draws:
            self.bad_draws -= 1
            words[::2] = 2**64 - 1
        return words


@each_mechanism
def test_rejected_words_are_drawn_again_for_the_same_row(mechanism) -> None:
    strong = type(mechanism)(
        **{**vars(mechanism), "epsilon": 40.0, **({"subset_size": 1} if mechanism is SUBSET else {})}
    )
    noisy = labeldp.privatize(strong, LABELS, prior=np.ones(5), source=Scripted(3))
    if mechanism is SUBSET:
        np.testing.assert_array_equal(noisy.values.argmax(axis=1), LABELS)
    else:
        inside = np.ones(10, bool) if noisy.candidates is None else noisy.candidates[np.arange(10), LABELS]
        np.testing.assert_array_equal(noisy.values[inside], LABELS[inside])


@each_mechanism
def test_the_law_of_a_large_release_fits(mechanism) -> None:
    """Goodness of fit with a fixed seed: decided once, the same on every run."""
    n = 40_000
    for label in range(5):
        noisy = released(mechanism, np.full(n, label), seed=label)
        law = mechanism.channel(PRIOR)[label]
        columns = np.arange(len(law)) if not mechanism.answer_shape else mechanism.outputs()
        if mechanism.answer_shape:
            counts = np.array([(noisy.values == row).all(axis=1).sum() for row in columns])
        else:
            counts = np.bincount(noisy.values, minlength=len(law))
        assert counts[law == 0].sum() == 0
        assert stats.chisquare(counts[law > 0], n * law[law > 0]).pvalue > 1e-4


def test_likelihood_is_that_of_the_value() -> None:
    for mechanism in MECHANISMS:
        noisy = released(mechanism)
        channel = mechanism.channel(PRIOR)
        for value, row in zip(noisy.values, noisy.likelihood(), strict=True):
            column = (
                int((mechanism.outputs() == value).all(axis=1).argmax())
                if mechanism.answer_shape
                else int(value)
            )
            np.testing.assert_array_equal(row, channel[:, column])


def test_posterior_is_bayes_rule() -> None:
    for mechanism in MECHANISMS:
        noisy = released(mechanism)
        joint = noisy.likelihood() * PRIOR
        np.testing.assert_allclose(
            noisy.posterior(7 * PRIOR), joint / joint.sum(axis=1, keepdims=True), rtol=1e-12
        )


# Randomness.


@each_mechanism
def test_two_releases_differ_unless_they_share_a_seed(mechanism) -> None:
    labels = np.tile(LABELS, 30)
    first, second = (labeldp.privatize(mechanism, labels, prior=np.ones(5)).values for _ in range(2))
    assert not np.array_equal(first, second)
    np.testing.assert_array_equal(released(mechanism, labels).values, released(mechanism, labels).values)
    assert not np.array_equal(released(mechanism, labels, seed=1).values, released(mechanism, labels).values)


def test_every_position_is_randomized() -> None:
    for length in (1, 2, 3, 129, 200):
        kept = np.ones(length, dtype=bool)
        for seed in range(200):
            kept &= released(RR, np.zeros(length, dtype=int), seed=seed).values == 0
        assert not kept.any()


def test_system_randomness_is_not_shared_with_a_child_process() -> None:
    source = labeldp.SystemSource()
    source.words(1)
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.write(writer, source.words(4).tobytes())
        os._exit(0)
    os.waitpid(child, 0)
    assert os.read(reader, 32) != source.words(4).tobytes()
    os.close(reader)
    os.close(writer)


@pytest.mark.parametrize(
    "make", [labeldp.SystemSource, lambda: labeldp.SeededSource(3)], ids=["system", "seeded"]
)
def test_sources_cannot_be_copied(make) -> None:
    for operation in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="make a new one|Make a new one"):
            operation(make())


def test_a_seeded_source_is_a_stream() -> None:
    one, two = labeldp.SeededSource(5), labeldp.SeededSource(5)
    np.testing.assert_array_equal(np.concatenate([one.words(3), one.words(5)]), two.words(8))
    assert not np.array_equal(labeldp.SeededSource(6).words(8), labeldp.SeededSource(5).words(8))
    for seed in (-1, 2**64, 1.0, "1", None, True):
        with pytest.raises((TypeError, ValueError), match="seed"):
            labeldp.SeededSource(seed)


# What it says of itself.


def test_event_counts_alphabets_and_says_when_sizes_are_adaptive() -> None:
    prior = np.array([[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 1, 1, 1, 1]])
    answer = accounting.RandomizedResponse
    fixed = labeldp.privatize(OTHER, [0, 1, 2], prior=prior)
    assert fixed.event == accounting.Disjoint([answer(1.0, 3)], [3], adaptive=False)
    adaptive = labeldp.privatize(labeldp.SelectiveRandomizedResponse(1.0, 5), [0, 1, 2], prior=prior)
    assert adaptive.event == accounting.Disjoint(
        [answer(1.0, 1), answer(1.0, 2), answer(1.0, 5)], [1, 1, 1], adaptive=True
    )
    assert labeldp.privatize(RR, LABELS).event == accounting.Disjoint([answer(1.0, 5)], [10])


def test_other_at_every_candidate_costs_like_randomized_response() -> None:
    noisy = labeldp.privatize(
        labeldp.SelectiveRandomizedResponse(1.0, 5, size=5, outside="other"), LABELS, prior=PRIOR
    )
    assert noisy.event == accounting.Disjoint([accounting.RandomizedResponse(1.0, 5)], [10])


@each_mechanism
def test_guarantee_names_its_unit(mechanism) -> None:
    noisy = labeldp.privatize(mechanism, LABELS, prior=PRIOR)
    for unit in ("label", "answer"):
        guarantee = noisy.guarantee(unit=unit)
        assert (guarantee.unit, guarantee.holds, guarantee.epsilon, guarantee.delta) == (unit, True, 1.0, 0.0)
    assert not noisy.guarantee(unit="record", delta=1e-5).holds


@each_mechanism
def test_a_seeded_release_is_stamped(mechanism) -> None:
    guarantee = released(mechanism).guarantee(unit="label")
    assert not guarantee.holds
    assert not guarantee.releasable
    assert guarantee.why == "seeded randomness: not for release"


def test_one_candidate_loses_nothing() -> None:
    noisy = labeldp.privatize(labeldp.SelectiveRandomizedResponse(1.0, 5, size=1), LABELS, prior=PRIOR)
    assert (noisy.values == 0).all()
    assert noisy.guarantee(unit="label").epsilon == 0
    other = labeldp.privatize(
        labeldp.SelectiveRandomizedResponse(1.0, 5, size=1, outside="other"), LABELS, prior=PRIOR
    )
    assert other.guarantee(unit="label").epsilon == 1


@each_mechanism
def test_no_true_label_is_kept(mechanism) -> None:
    """Two releases whose answers agree are the same in every byte, whatever the labels were."""
    by_answer: dict[bytes, bytes] = {}
    collisions = 0
    for seed in range(60):
        for label in range(5):
            noisy = labeldp.privatize(mechanism, [label], prior=PRIOR, source=labeldp.SeededSource(seed))
            key, everything = noisy.values.tobytes(), pickle.dumps(noisy)
            collisions += key in by_answer
            assert by_answer.setdefault(key, everything) == everything
    assert collisions > 100


@each_mechanism
def test_repr_says_nothing_of_labels(mechanism) -> None:
    assert repr(released(mechanism)) == f"NoisyLabels(10 items, {mechanism!r})"


# Saving.


@each_mechanism
def test_saving_and_loading_gives_the_same_release(mechanism, tmp_path) -> None:
    noisy = labeldp.privatize(mechanism, LABELS.astype(np.int16), prior=PRIOR)
    noisy.save(tmp_path / "noisy")
    loaded = labeldp.NoisyLabels.load(tmp_path / "noisy")
    np.testing.assert_array_equal(loaded.values, noisy.values)
    assert loaded.values.dtype == noisy.values.dtype
    np.testing.assert_array_equal(loaded.likelihood(), noisy.likelihood())
    assert (loaded.mechanism, loaded.event) == (noisy.mechanism, noisy.event)


@each_mechanism
def test_a_damaged_file_is_refused_or_unchanged(mechanism, tmp_path) -> None:
    noisy = released(mechanism)
    path = tmp_path / "noisy.npz"
    noisy.save(path)
    content = path.read_bytes()
    for position in range(0, len(content), 7):
        path.write_bytes(content[:position] + bytes([content[position] ^ 0x5A]) + content[position + 1 :])
        try:
            loaded = labeldp.NoisyLabels.load(path)
        except ValueError as error:
            assert "NoisyLabels.save" in str(error)
        else:
            np.testing.assert_array_equal(loaded.likelihood(), noisy.likelihood())
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ValueError, match=r"NoisyLabels\.save"):
            labeldp.NoisyLabels.load(path)


def test_a_missing_or_foreign_file_is_refused(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="none at"):
        labeldp.NoisyLabels.load(tmp_path / "none.npz")
    np.savez(tmp_path / "foreign.npz", values=np.arange(3))
    with pytest.raises(ValueError, match="another or a damaged"):
        labeldp.NoisyLabels.load(tmp_path / "foreign.npz")
    np.savez(tmp_path / "pickled.npz", values=np.array([{}], dtype=object), manifest=np.array("{}"))
    with pytest.raises(ValueError, match="another or a damaged"):
        labeldp.NoisyLabels.load(tmp_path / "pickled.npz")


def rewritten(path, **changes) -> None:
    """Changes arrays of a saved file, and keys of its manifest."""
    import json

    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    manifest = json.loads(str(arrays["manifest"]))
    for name, value in changes.items():
        if name in arrays:
            arrays[name] = value
        else:
            manifest[name] = value
    np.savez(path, **{**arrays, "manifest": np.array(json.dumps(manifest))})


def test_a_file_that_contradicts_itself_is_refused(tmp_path) -> None:
    path = tmp_path / "noisy.npz"
    cheaper = accounting.event_to_dict(accounting.Disjoint([accounting.RandomizedResponse(0.01, 3)], [10]))
    contradictions = [
        (OTHER, {"event": cheaper}),
        (OTHER, {"items": 9}),
        (OTHER, {"mechanism": {"name": "RandomizedResponse", "epsilon": 1.0, "num_classes": 5}}),
        (RR, {"mechanism": {"name": "RandomizedResponse", "epsilon": 9.0, "num_classes": 5}}),
        (RR, {"mechanism": {"name": "SelectiveRandomizedResponse", "epsilon": 1.0, "num_classes": 5}}),
        (RR, {"values": np.full(10, 5)}),
        (RR, {"values": np.full(10, 1.0)}),
        (labeldp.SelectiveRandomizedResponse(1.0, 5, size=2), {"values": np.full(10, 4)}),
        (
            labeldp.SelectiveRandomizedResponse(1.0, 5, size=2),
            {"candidates": np.full((10, 1), 0xF8, np.uint8)},
        ),
    ]
    for mechanism, changes in contradictions:
        labeldp.privatize(mechanism, LABELS, prior=PRIOR).save(path)
        rewritten(path)
        labeldp.NoisyLabels.load(path)
        rewritten(path, **changes)
        with pytest.raises(ValueError, match="another or a damaged"):
            labeldp.NoisyLabels.load(path)


@pytest.mark.parametrize("dtype", [np.uint32, np.int64, np.float64])
def test_words_of_another_width_are_refused(dtype) -> None:
    class Narrow:
        secure = True

        def words(self, count, context=None):
            return np.zeros(count, dtype=dtype)

    with pytest.raises(TypeError, match="uint64"):
        labeldp.privatize(RR, LABELS, source=Narrow())


def test_what_is_no_mechanism_or_source_is_refused() -> None:
    for call in (lambda: labeldp.privatize("rr", LABELS), lambda: labeldp.privatize(RR, LABELS, source=42)):
        with pytest.raises(TypeError, match="Expected a"):
            call()
    with pytest.raises(ValueError, match="num_classes"):
        labeldp.RandomizedResponse(1.0, 2**64)
    with pytest.raises(ValueError, match="epsilon"):
        labeldp.RandomizedResponse(10**400, 3)


def test_realized_ratio_is_that_of_the_thresholds() -> None:
    assert RR.realized_ratio() == Fraction(*thresholds(1.0, 1, 4, 64))
    assert OTHER.realized_ratio() == max(Fraction(*thresholds(1.0, 1, a, 64)) for a in range(1, 5))
    assert SUBSET.realized_ratio() == Fraction(*thresholds(1.0, SUBSET.size, 5 - SUBSET.size, 64))
