"""Tables: features that owe nothing to the labels, and files that are refused without showing a cell."""

import numpy as np
import pytest

from distill import data
from distill.data import table
from tests.distill.small_data import WRITERS

LABELS = {
    "adult": ("adult.data", "adult.test"),
    "open-bandit": tuple(
        f"{policy}/{name}.csv" for policy in ("random", "bts") for name in ("all", "men", "women")
    ),
}


def flip(name: str, folder) -> None:
    """Exchanges the two labels of every row."""
    for file in LABELS[name]:
        lines = (folder / file).read_text().splitlines()
        for number, line in enumerate(lines):
            cells = line.split(",")
            if name == "adult" and len(cells) > 1:
                old = cells[-1].strip().rstrip(".")
                cells[-1] = cells[-1].replace(old, {"<=50K": ">50K", ">50K": "<=50K"}[old])
            if name == "open-bandit" and number > 0:
                cells[4] = {"0": "1", "1": "0"}[cells[4]]
            lines[number] = ",".join(cells)
        (folder / file).write_text("\n".join(lines))


def assert_features_owe_nothing_to_labels(name: str, folder) -> None:
    WRITERS[name](folder)
    one = data.load_table(name, str(folder))
    flip(name, folder)
    other = data.load_table(name, str(folder))
    np.testing.assert_array_equal(one.train_labels, 1 - other.train_labels)
    np.testing.assert_array_equal(one.test_labels, 1 - other.test_labels)
    np.testing.assert_array_equal(one.train_features, other.train_features)
    np.testing.assert_array_equal(one.test_features, other.test_features)
    assert one.columns == other.columns


@pytest.mark.parametrize("name", LABELS)
def test_features_owe_nothing_to_labels(name: str, tmp_path) -> None:
    assert_features_owe_nothing_to_labels(name, tmp_path)


def test_a_label_among_the_features_would_be_seen(tmp_path, monkeypatch) -> None:
    from distill.data import adult

    monkeypatch.setattr(adult, "_CATEGORIES", (*adult._CATEGORIES, "income"))
    with pytest.raises(AssertionError):
        assert_features_owe_nothing_to_labels("adult", tmp_path)


def test_a_regression_label_is_no_feature(tmp_path) -> None:
    WRITERS["adult-hours"](tmp_path)
    hours = data.load_table("adult-hours", str(tmp_path))
    income = data.load_table("adult", str(tmp_path))
    assert set(income.columns) - set(hours.columns) == {"hours"}
    np.testing.assert_array_equal(hours.train_labels, np.arange(20, 32))
    assert hours.label_range == (1, 99)


def test_numbers_are_standardised_by_the_training_rows_alone() -> None:
    train = np.array([True, True, False])
    values, names = table.features(
        {"age": np.array([1.0, 3.0, 100.0])}, {"sex": ["f", "m", "x"]}, train=train
    )
    assert names == ("age", "sex=f", "sex=m")
    np.testing.assert_array_equal(values, np.float32([[-1, 1, 0], [1, 0, 1], [98, 0, 0]]))


def test_a_constant_column_is_zero() -> None:
    values, _ = table.features({"age": np.full(3, 7.0)}, {}, train=np.ones(3, dtype=bool))
    assert (values == 0).all()


def test_the_small_clicks_are_read(tmp_path) -> None:
    WRITERS["open-bandit"](tmp_path)
    clicks = data.load_table("open-bandit", str(tmp_path))
    assert (len(clicks.train_labels), len(clicks.test_labels)) == (36, 12)
    assert clicks.train_labels.sum() == clicks.test_labels.sum() == 6
    affinity = clicks.train_features[:6, clicks.columns.index("affinity")]  # of rows 0, 1, 2, 4, 5, 6
    assert affinity[0] == affinity[2] == affinity[3] == affinity[5] < affinity[1] < affinity[4]


def edit(path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


WRONG = {
    "short row": ("adult", "adult.data", "39, State-gov", "State-gov", "expected 15 columns in line 1, got 14"),
    "no number": ("adult", "adult.data", "39, ", "SECRET, ", "column age: expected a finite number in row 1"),
    "nan": ("adult", "adult.data", "39, ", "nan, ", "column age: expected a finite number in row 1"),
    "below zero": ("adult", "adult.data", "Male, 0,", "Male, -9,", "column capital-gain: expected numbers of"),
    "another label": ("adult", "adult.test", ">50K.", "SECRET", "in the last column of every row"),
    "hours outside": ("adult-hours", "adult.data", " 0, 25,", " 0, 137,", "expected 1 to 99 hours in every row"),
    "hours no number": ("adult-hours", "adult.data", " 0, 25,", " 0, SECRET,", "expected 1 to 99 hours"),
    "no text": ("adult", "adult.data", "Peru", "Perú", "expected plain text"),
    "another click": ("open-bandit", "bts/men.csv", ",1,0.5", ",SECRET,0.5", "expected 0 or 1 in the column click"),
    "short click": ("open-bandit", "bts/men.csv", "0,2019", "2019", "bts/men.csv: expected 12 columns in row 1"),
    "no such item": ("open-bandit", "bts/men.csv", "-24,1,", "-24,137,", "expected an item of bts/men_items.csv in row 2"),
    "no header": ("open-bandit", "bts/all.csv", "click", "clack", "bts/all.csv: expected a header"),
    "open quote": ("open-bandit", "bts/all.csv", ",0.5", ',"0.5', "bts/all.csv: expected"),
}  # fmt: skip


@pytest.mark.parametrize("kind", WRONG)
def test_a_wrong_file_is_refused_without_showing_a_cell(kind: str, tmp_path) -> None:
    name, file, old, new, message = WRONG[kind]
    WRITERS[name](tmp_path)
    edit(tmp_path / file, old, new)
    with pytest.raises(ValueError, match=".*") as caught:
        data.load_table(name, str(tmp_path))
    shown = str(caught.value).replace(str(tmp_path), "")
    assert message in shown
    assert "\n" not in shown
    assert not any(cell in shown for cell in ("SECRET", "137", "-9"))


@pytest.mark.parametrize("name", ["adult", "open-bandit"])
def test_an_empty_file_is_refused(name: str, tmp_path) -> None:
    WRITERS[name](tmp_path)
    (tmp_path / LABELS[name][0]).write_bytes(b"")
    with pytest.raises(ValueError, match=LABELS[name][0]):
        data.load_table(name, str(tmp_path))
