"""Class numbers from a given list of classes: what goes in, and what is never told."""

import datetime
import traceback

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import labeldp
from labeldp.release import encode as module

PETS = ["cat", "dog", "horse"]
EXPECTED = [1, 0, 2, 1]
TEXTS = ["dog", "cat", "horse", "dog"]

COLUMNS = {
    "list": TEXTS,
    "tuple": tuple(TEXTS),
    "array of texts": np.array(TEXTS),
    "array of wider texts": np.array(TEXTS, dtype="U40"),
    "big endian texts": np.array(TEXTS, dtype=">U8"),
    "strided": np.array(TEXTS)[::-1][::-1],
    "array of objects": np.array(TEXTS, dtype=object),
    "numpy scalars": [np.str_(text) for text in TEXTS],
}


@pytest.mark.parametrize("name", COLUMNS)
def test_columns_of_texts_are_numbered_by_place(name: str) -> None:
    assert labeldp.encode(COLUMNS[name], PETS).tolist() == EXPECTED


@pytest.mark.parametrize("classes", [tuple(PETS), np.array(PETS), np.array(PETS, dtype=object)], ids=type)
def test_classes_come_in_any_sequence(classes) -> None:
    assert labeldp.encode(TEXTS, classes).tolist() == EXPECTED
    assert labeldp.encode(np.array(TEXTS), classes).tolist() == EXPECTED


@pytest.mark.parametrize("library", ["pandas", "polars"])
def test_series_are_numbered_by_place(library: str) -> None:
    frames = pytest.importorskip(library)
    plain = frames.Series(TEXTS)
    categorical = plain.astype("category") if library == "pandas" else plain.cast(frames.Categorical)
    for series in (plain, categorical):
        assert labeldp.encode(series, PETS).tolist() == EXPECTED
        assert labeldp.encode(series, frames.Series(PETS)).tolist() == EXPECTED
    for values in (["cat", None], [1, None], [True, None]):
        with pytest.raises(ValueError, match="null"):
            labeldp.encode(frames.Series(values), [*PETS, 1, True])
    if library == "pandas":
        with pytest.raises(ValueError, match="null"):
            labeldp.encode(frames.Series([1, None], dtype="Int64"), [1, 2])
        with pytest.raises(ValueError, match="null"):
            labeldp.encode(frames.Categorical(["cat", None], categories=PETS), PETS)


short_texts = st.text("ab\0é", max_size=3)
names = st.lists(st.one_of(short_texts, st.integers(-2, 2), st.booleans()), min_size=2, unique_by=repr)


@given(st.data(), names)
def test_every_label_gets_the_place_of_its_class(data: st.DataObject, classes: list) -> None:
    places = data.draw(st.lists(st.integers(0, len(classes) - 1)))
    labels = [classes[place] for place in places]
    assert labeldp.encode(labels, classes).tolist() == places
    assert labeldp.encode(np.array([*labels, None], dtype=object)[:-1], classes).tolist() == places


@given(st.lists(short_texts.map(lambda text: text.rstrip("\0")), min_size=2, unique=True), st.data())
def test_searching_arrays_agrees_with_looking_up(classes: list[str], data: st.DataObject) -> None:
    """Also where a class ends in a character that numpy drops from texts."""
    places = np.array(data.draw(st.lists(st.integers(0, len(classes) - 1), min_size=1)))
    labels = np.array(classes)[places]
    assert labeldp.encode(labels, classes).tolist() == places.tolist()
    assert labeldp.encode(labels, [*classes, "a\0"]).tolist() == places.tolist()


def test_rows_stay_in_place_across_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "CHUNK_ROWS", 7)
    places = np.random.default_rng(0).integers(3, size=100)
    for labels in (np.array(PETS)[places], np.array(PETS, dtype=object)[places], [PETS[i] for i in places]):
        np.testing.assert_array_equal(labeldp.encode(labels, PETS), places)


@pytest.mark.parametrize(
    ("size", "dtype"), [(2, "u1"), (256, "u1"), (257, "u2"), (65_536, "u2"), (65_537, "u4")]
)
def test_the_smallest_unsigned_type_that_fits(size: int, dtype: str) -> None:
    numbers = labeldp.encode([size - 1, 0], range(size))
    assert numbers.dtype == np.dtype(dtype)
    assert numbers.tolist() == [size - 1, 0]
    assert labeldp.encode([], range(size)).dtype == np.dtype(dtype)


def test_equal_numbers_are_one_class_but_truth_is_not_a_number() -> None:
    assert labeldp.encode([2.0, 1.0, np.int8(2)], [1, 2]).tolist() == [1, 0, 1]
    assert labeldp.encode(np.array([2, 1], dtype=np.float32), [1, 2]).tolist() == [1, 0]
    assert labeldp.encode(np.array([True, False]), [False, True]).tolist() == [1, 0]
    assert labeldp.encode([True, 1, "1", np.True_], ["1", 1, True]).tolist() == [2, 1, 0, 2]
    for labels, classes in (([True], [0, 1]), ([1], [False, True]), (["1"], [1, 2]), ([b"a"], ["a", "b"])):
        with pytest.raises(ValueError, match="every label"):
            labeldp.encode(labels, classes)


def test_times_and_tuples_are_classes_too() -> None:
    days = np.array(["2024-01-01", "2024-01-02"], dtype="M8[ns]")
    assert labeldp.encode(days[::-1], days).tolist() == [1, 0]
    assert labeldp.encode([(1, 2), (0, 1)], [(0, 1), (1, 2)]).tolist() == [1, 0]
    first = datetime.date(2024, 1, 1)
    assert labeldp.encode([first], [datetime.date(2023, 1, 1), first]).tolist() == [1]
    with pytest.raises(ValueError, match="null"):
        labeldp.encode(np.array(["NaT", "2024-01-01"], dtype="M8[ns]"), days)


def test_numbers_go_through_a_mechanism_and_back() -> None:
    noisy = labeldp.privatize(labeldp.RandomizedResponse(40.0, 3), labeldp.encode(TEXTS, PETS))
    assert noisy.values.dtype == np.uint8
    assert np.array(PETS)[noisy.values].tolist() == TEXTS


def test_the_domain_does_not_depend_on_the_labels() -> None:
    """The twin: numbering by the labels that occur, as np.unique does, moves the other labels' numbers."""
    first, second = ["dog", "horse"], ["cat", "horse"]
    assert labeldp.encode(first, PETS)[1] == labeldp.encode(second, PETS)[1] == 2
    assert np.unique(first, return_inverse=True)[1][1] == 1
    assert np.unique(["horse", "horse"], return_inverse=True)[1][1] == 0


SECRET = "secret-disease"
UNKNOWN = {
    "list": ["cat", SECRET, "dog"],
    "array": np.array(["cat", SECRET, "dog"]),
    "objects": np.array(["cat", SECRET, "dog"], dtype=object),
    "of another type": ["cat", 7, "dog"],
    "not hashable": ["cat", [SECRET], "dog"],
}
NULLS = {
    "none": ["cat", None],
    "nan": ["cat", float("nan")],
    "numpy nan": np.array(["cat", np.nan], dtype=object),
    "floats": np.array([1.0, np.nan]),
    "with an unknown one": ["cat", SECRET, None],
}


def refusal(labels, classes=PETS) -> str:
    with pytest.raises(ValueError) as caught:
        labeldp.encode(labels, classes)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    return "".join(traceback.format_exception_only(caught.value))


@pytest.mark.parametrize("name", UNKNOWN)
def test_no_message_tells_a_label_or_how_many(name: str) -> None:
    """However many are unknown and wherever, the message is the same."""
    message = refusal(UNKNOWN[name])
    assert SECRET not in message
    assert "7" not in message
    assert message == refusal(["x"] * 1000)
    assert "at least one that is none of them" in message


@pytest.mark.parametrize("name", NULLS)
def test_null_labels_are_to_be_decided_first(name: str) -> None:
    message = refusal(NULLS[name])
    assert SECRET not in message
    assert message == refusal([None, None, "dog"])
    assert "null" in message
    assert "null" not in refusal(UNKNOWN["list"])


def test_all_labels_are_looked_up_before_an_error() -> None:
    looked_up = []

    class Watched(str):
        def __hash__(self):
            looked_up.append(self)
            return super().__hash__()

    refusal([Watched(SECRET), Watched("cat"), Watched("dog")])
    assert looked_up == [SECRET, "cat", "dog"]


@pytest.mark.parametrize(
    ("classes", "error", "match"),
    [
        ("cat", TypeError, "order"),
        ({"cat", "dog"}, TypeError, "order"),
        ({"cat": 0, "dog": 1}, TypeError, "order"),
        (["cat"], ValueError, "2 to"),
        ([], ValueError, "2 to"),
        (["cat", "dog", "cat"], ValueError, "got 2 among 3"),
        ([1, 1.0], ValueError, "distinct"),
        (["cat", None], ValueError, "null"),
        ([1.0, float("nan")], ValueError, "null"),
        ([["cat"], ["dog"]], TypeError, "hashable"),
        (np.array([["cat", "dog"]]), ValueError, "shape"),
        (3, ValueError, "shape"),
    ],
)
def test_bad_classes_are_refused(classes, error, match: str) -> None:
    with pytest.raises(error, match=match):
        labeldp.encode(["cat"], classes)


@pytest.mark.parametrize(
    ("labels", "error"),
    [
        ("cat", TypeError),
        (b"cat", TypeError),
        ({"cat"}, TypeError),
        ({"cat": 1}, TypeError),
        (np.ma.masked_array(["cat", "dog"], mask=[0, 1]), TypeError),
        (np.array([["cat"]]), ValueError),
        (np.array("cat"), ValueError),
        (iter(["cat"]), ValueError),
        (None, ValueError),
    ],
    ids=lambda value: type(value).__name__ if not isinstance(value, type) else value.__name__,
)
def test_what_is_no_column_is_refused(labels, error) -> None:
    with pytest.raises(error, match="labels"):
        labeldp.encode(labels, PETS)
