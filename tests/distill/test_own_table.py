"""A table of the user's own: what becomes of its columns, and refusals that tell no label."""

import csv
from pathlib import Path

import numpy as np
import pytest

from distill import data
from distill.data import own_table

CLASSES = ("flu", "hiv")
HEADER = ["age", "town", "illness", "weeks"]
FAULTS = ["class", "number", "short row", "text", "empty number", "quote", "no rows", "binary"]


def rows(n: int = 40) -> list[list[str]]:
    rng = np.random.default_rng(0)
    return [
        [
            f"{rng.normal(50, 9):.2f}",
            ("Graz", "Linz", "Wien")[i % 3],
            CLASSES[int(rng.integers(2))],
            str(i % 9),
        ]
        for i in range(n)
    ]


def write(path: Path, table: list[list[str]], header: list[str] = HEADER) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *table])
    return path


def load(path: Path, label: str = "illness", classes: tuple[str, ...] = CLASSES) -> data.Table:
    return own_table.load(path, label, classes=classes)


def assert_same(one: data.Table, other: data.Table) -> None:
    for name in ("train_features", "train_labels", "test_features", "test_labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))
    assert one.columns == other.columns


def test_numbers_are_standardised_and_texts_are_categories(tmp_path) -> None:
    table = load(write(tmp_path / "people.csv", rows()))
    assert (table.name, table.num_classes, table.classes) == ("people.csv", 2, CLASSES)
    assert table.columns == ("age", "weeks", "town=Graz", "town=Linz", "town=Wien")
    assert (table.train_features.shape, table.test_features.shape) == ((32, 5), (8, 5))
    np.testing.assert_allclose(table.train_features[:, :2].mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(table.train_features[:, :2].std(axis=0), 1, atol=1e-6)
    assert (table.train_features[:, 2:].sum(axis=1) == 1).all()


def test_labels_stay_with_their_rows(tmp_path) -> None:
    """With a column that repeats the label, features and labels agree; with one that does not, they do not."""
    told = [[row[2], *row[1:]] for row in rows()]
    table = load(write(tmp_path / "a.csv", told))
    for features, labels in (
        (table.train_features, table.train_labels),
        (table.test_features, table.test_labels),
    ):
        repeated = features[:, table.columns.index("age=hiv")]
        assert (repeated == labels).all()
        assert not (features[:, table.columns.index("town=Graz")] == labels).all()


def test_features_do_not_hang_on_labels(tmp_path) -> None:
    """All labels changed: features, columns and split stay to the last bit."""
    swapped = {"flu": "hiv", "hiv": "flu"}
    one = load(write(tmp_path / "a.csv", rows()))
    other = load(write(tmp_path / "b.csv", [[*row[:2], swapped[row[2]], row[3]] for row in rows()]))
    np.testing.assert_array_equal(one.train_features, other.train_features)
    np.testing.assert_array_equal(one.train_labels, 1 - other.train_labels)


def test_a_column_may_say_what_is_for_the_test(tmp_path) -> None:
    split = [[*row, "test" if i < 12 else "train"] for i, row in enumerate(rows())]
    table = load(write(tmp_path / "a.csv", split, [*HEADER, "split"]))
    assert "split" not in table.columns
    expected = [CLASSES.index(row[2]) for row in rows()]
    assert table.test_labels.tolist() == expected[:12]
    assert table.train_labels.tolist() == expected[12:]
    split[3][-1] = "later"
    with pytest.raises(ValueError, match="Expected train or test in the column split"):
        load(write(tmp_path / "b.csv", split, [*HEADER, "split"]))


def test_real_values_are_kept_within_their_public_range(tmp_path) -> None:
    path = write(tmp_path / "a.csv", rows())
    table = own_table.load(path, "weeks", label_range=(1.0, 6.0))
    assert (table.num_classes, table.label_range) == (None, (1.0, 6.0))
    assert "weeks" not in table.columns
    labels = np.concatenate([table.train_labels, table.test_labels])
    assert sorted(labels) == sorted(np.clip([float(row[3]) for row in rows()], 1, 6))


def test_parquet_gives_the_same_as_csv(tmp_path) -> None:
    arrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    ages, towns, illnesses, weeks = map(list, zip(*rows(), strict=True))
    columns = [list(map(float, ages)), towns, illnesses, list(map(int, weeks))]
    parquet.write_table(arrow.table(columns, names=HEADER), tmp_path / "a.parquet")
    assert_same(load(tmp_path / "a.parquet"), load(write(tmp_path / "a.csv", rows())))
    numbered = [
        [float(age), town, CLASSES.index(ill), int(w)]
        for age, town, ill, w in zip(*map(list, zip(*rows(), strict=True)), strict=True)
    ]
    parquet.write_table(
        arrow.table([list(c) for c in zip(*numbered, strict=True)], names=HEADER), tmp_path / "b.parquet"
    )
    assert_same(load(tmp_path / "b.parquet", classes=("0", "1")), load(tmp_path / "a.parquet"))
    whole = (tmp_path / "a.parquet").read_bytes()
    (tmp_path / "c.parquet").write_bytes(whole[:40] + b"\0" * 40 + whole[80:])
    (tmp_path / "d.parquet").write_bytes(b"hiv")
    for name in ("c", "d"):
        with pytest.raises(ValueError, match="Expected a (whole )?Parquet file"):
            load(tmp_path / f"{name}.parquet")


def faulty(kind: str, path: Path) -> tuple[Path, str]:
    """Writes a table with one fault; returns it and what labels it has."""
    table, label = rows(), "illness"
    if kind == "class":
        table[7][2] = "unknown"
    elif kind == "number":
        table[7][3], label = "hiv", "weeks"
    elif kind == "short row":
        table[7] = table[7][:3]
    elif kind == "text":
        table = [[*row[:1], f"street {i}", *row[2:]] for i, row in enumerate(rows(110))]
    elif kind == "empty number":
        table = [[age if i else "", *rest] for i, (age, *rest) in enumerate(rows(2 * own_table.MOST_TEXTS))]
    elif kind == "no rows":
        table = []
    write(path, table)
    if kind == "quote":
        path.write_text(path.read_text() + '1,"hiv,flu,2\n')
    elif kind == "binary":
        path.write_bytes(b"\x80hiv\x04\n" * 20)
    return path, label


@pytest.mark.parametrize("kind", FAULTS)
def test_a_refusal_tells_no_label_and_no_row(tmp_path, kind: str) -> None:
    path, label = faulty(kind, tmp_path / "people.csv")
    with pytest.raises(ValueError, match="Expected") as caught:
        own_table.load(
            path, label, **({"label_range": (0.0, 9.0)} if label == "weeks" else {"classes": CLASSES})
        )
    message = str(caught.value)
    assert "\n" not in message
    assert not any(word in message for word in (*CLASSES, "unknown", "row 7", "row 8")), message


def test_a_message_with_a_label_would_be_seen(tmp_path, monkeypatch) -> None:
    def loud(texts, *, what):
        raise ValueError(f"Expected a number, got {texts[7]!r}.")

    monkeypatch.setattr(own_table, "_numbers", lambda path, texts, bounds: loud(texts, what=""))
    with pytest.raises(AssertionError):
        test_a_refusal_tells_no_label_and_no_row(tmp_path, "number")


def test_a_missing_file_or_column_is_named(tmp_path) -> None:
    with pytest.raises(FileNotFoundError, match="Expected a CSV file"):
        load(tmp_path / "none.csv")
    path = write(tmp_path / "a.csv", rows())
    with pytest.raises(ValueError, match="Expected --label among the columns age, town, illness, weeks of"):
        load(path, "salary")
    with pytest.raises(ValueError, match="Expected a column of features"):
        load(write(tmp_path / "b.csv", [[row[2]] for row in rows()], ["illness"]))
