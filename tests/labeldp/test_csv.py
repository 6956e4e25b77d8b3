"""CSV files: the true labels go out, and nothing else changes."""

import csv
import json

import numpy as np
import pytest

import labeldp
from labeldp.tables import privatize_csv

CLASSES = ["flu", "cold", "none"]
RR = labeldp.RandomizedResponse(1.0, 3)
ROWS = [
    [str(i), CLASSES[i % 3], 'a "quoted", cell' if i == 2 else f"town {i}", "0.5", "0.3", "0.2"]
    for i in range(60)
]
HEADER = ["id", "diagnosis", "town", "p_flu", "p_cold", "p_none"]


@pytest.fixture
def table(tmp_path):
    return written(tmp_path / "in.csv", [HEADER, *ROWS])


def written(path, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(rows)
    return path


def read(path) -> list[list[str]]:
    with path.open(newline="") as file:
        return list(csv.reader(file))


def private(table, out, mechanism=RR, **options):
    return privatize_csv(table, out, mechanism, **{"label": "diagnosis", "classes": CLASSES, **options})


def test_only_the_label_column_changes(table, tmp_path) -> None:
    noisy = private(table, tmp_path / "out.csv")
    header, *rows = read(tmp_path / "out.csv")
    assert header == ["id", "diagnosis_noisy", *HEADER[2:]]
    assert [row[1] for row in rows] == [CLASSES[value] for value in noisy.values]
    assert [row[:1] + row[2:] for row in rows] == [row[:1] + row[2:] for row in ROWS]
    loaded = labeldp.NoisyLabels.load(tmp_path / "out.npz")
    np.testing.assert_array_equal(loaded.values, noisy.values)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "out.csv", "out.npz"]


def test_true_labels_do_not_come_through(table, tmp_path) -> None:
    """At epsilon 0 two tables that differ in every label give the same file for the same seed."""
    moved = [[row[0], CLASSES[(CLASSES.index(row[1]) + 1) % 3], *row[2:]] for row in ROWS]
    other = written(tmp_path / "other.csv", [HEADER, *moved])
    silent = labeldp.SelectiveRandomizedResponse(0.0, 3, size=1)
    for name, path in (("a", table), ("b", other)):
        private(
            path, tmp_path / f"{name}.csv", silent, prior_columns=HEADER[3:], source=labeldp.SeededSource(0)
        )
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    assert table.read_bytes() != other.read_bytes()


def test_sets_and_outsiders_can_be_read(table, tmp_path) -> None:
    subset = labeldp.SubsetSelection(1.0, 3, subset_size=2)
    noisy = private(table, tmp_path / "sets.csv", subset)
    for row, value in zip(read(tmp_path / "sets.csv")[1:], noisy.values, strict=True):
        assert json.loads(row[1]) == [name for name, inside in zip(CLASSES, value, strict=True) if inside]
    outsiders = labeldp.SelectiveRandomizedResponse(1.0, 3, size=1, outside="other")
    noisy = private(table, tmp_path / "other.csv", outsiders, prior_columns=HEADER[3:])
    texts = {row[1] for row in read(tmp_path / "other.csv")[1:]}
    assert texts == {"flu", "not a candidate"}


def test_a_keyed_rerun_writes_the_same_file(table, tmp_path) -> None:
    for name in ("a", "b"):
        private(table, tmp_path / f"{name}.csv", source=labeldp.KeyedSource(bytes(32)), item="id")
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()


SECRET = "measles"
BAD = {
    "unknown label": ([HEADER, ["0", SECRET, "x", "1", "0", "0"]], {}, "classes"),
    "missing label": ([HEADER, ["0", "", "x", "1", "0", "0"]], {}, "Expected"),
    "no such column": ([HEADER, *ROWS], {"label": "symptom"}, "symptom"),
    "no such item column": ([HEADER, *ROWS], {"item": "name"}, "name"),
    "no such prior column": ([HEADER, *ROWS], {"prior_columns": ["p", "q", "r"]}, "p, q, r"),
    "too few prior columns": ([HEADER, *ROWS], {"prior_columns": ["p_flu"]}, None),
    "prior that is a text": ([HEADER, *ROWS], {"prior_columns": ["p_flu", "p_cold", "town"]}, "numbers"),
    "short row": ([HEADER, ["0", "flu"]], {}, "6 fields in every row"),
    "empty file": ([], {}, "header"),
    "column twice": ([["diagnosis", "diagnosis"], ["flu", "flu"]], {}, "twice"),
    "noisy column already there": ([["diagnosis", "diagnosis_noisy"], ["flu", "flu"]], {}, "diagnosis_noisy"),
    "reserved class": ([HEADER, *ROWS], {"classes": ["flu", "cold", "not a candidate"]}, "not a candidate"),
    "label outside the classes": ([HEADER, *ROWS], {"classes": ["flu", "cold"]}, None),
    "label as its own prior": (
        [HEADER, *ROWS],
        {"prior_columns": ["p_flu", "p_cold", "diagnosis"]},
        "decide",
    ),
    "label as name": ([HEADER, *ROWS], {"item": "diagnosis"}, "decide"),
    "repeated item": ([HEADER, *ROWS, ROWS[0]], {"item": "id"}, "once"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_tables_are_refused_and_nothing_is_written(name: str, tmp_path) -> None:
    rows, options, word = BAD[name]
    table = written(tmp_path / "in.csv", rows)
    mechanism: labeldp.Mechanism = RR
    if name == "too few prior columns":
        mechanism = labeldp.SelectiveRandomizedResponse(1.0, 3)
    if name == "label outside the classes":
        mechanism = labeldp.RandomizedResponse(1.0, 2)
    with pytest.raises((ValueError, TypeError), match=word) as caught:
        private(table, tmp_path / "out.csv", mechanism, **options)
    assert SECRET not in str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]


def test_a_missing_table_and_an_existing_output_are_refused(table, tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="none at"):
        private(tmp_path / "none.csv", tmp_path / "out.csv")
    private(table, tmp_path / "out.csv")
    with pytest.raises(FileExistsError, match="already there"):
        private(table, tmp_path / "out.csv")


def test_the_classes_must_be_as_many_as_the_mechanism_has(table, tmp_path) -> None:
    with pytest.raises(ValueError, match="4"):
        private(table, tmp_path / "out.csv", labeldp.RandomizedResponse(1.0, 4))


def test_columns_and_class_lists_have_noise_of_their_own(tmp_path) -> None:
    """Were they not in the context, equal answers would show equal labels in two columns, or under two orders of the classes."""
    rows = [[str(i), "flu", "flu"] for i in range(2000)]
    table = written(tmp_path / "in.csv", [["id", "y", "z"], *rows])
    kept = {}
    for name, label, classes in (
        ("a", "y", CLASSES),
        ("b", "z", CLASSES),
        ("c", "y", ["flu", "none", "cold"]),
    ):
        noisy = privatize_csv(
            table,
            tmp_path / f"{name}.csv",
            RR,
            label=label,
            classes=classes,
            item="id",
            source=labeldp.KeyedSource(bytes(32)),
        )
        kept[name] = noisy.values == 0
    expected = RR.channel()[0, 0] ** 2 + (1 - RR.channel()[0, 0]) ** 2
    for one, other in (("a", "b"), ("a", "c")):
        assert abs((kept[one] == kept[other]).mean() - expected) < 5 * np.sqrt(0.25 / 2000)


def test_a_table_that_is_not_utf_8_or_not_closed_is_refused_without_its_content(tmp_path) -> None:
    for content in (b"id,diagnosis\n1,measl\xe9s\n", b'id,diagnosis\n1,"measles\n', b"\xff\xfe"):
        table = tmp_path / "in.csv"
        table.write_bytes(content)
        with pytest.raises(ValueError, match="Expected") as caught:
            private(table, tmp_path / "out.csv")
        assert "measl" not in str(caught.value)
        assert caught.value.__cause__ is None


def test_a_failure_leaves_nothing_behind(table, tmp_path, monkeypatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left")

    monkeypatch.setattr(labeldp.NoisyLabels, "save", full)
    with pytest.raises(OSError, match="no space"):
        private(table, tmp_path / "out.csv")
    assert [path.name for path in tmp_path.iterdir()] == ["in.csv"]
    with pytest.raises(ValueError, match="CSV"):
        private(table, tmp_path / "out.npz")
