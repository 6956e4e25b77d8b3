"""The diabetes study that comes with scikit-learn: a small regression."""

from typing import Any, cast

import numpy as np

from distill.data.entry import Entry, Files, Table
from distill.data.table import features

_COLUMNS = (
    "age",
    "sex",
    "body mass index",
    "blood pressure",
    "tc",
    "ldl",
    "hdl",
    "tch",
    "ltg",
    "glucose",
)
_RANGE = (25.0, 346.0)  # as its documentation gives it


def _load(_: Files) -> Table:
    """Every fifth row is for the test."""
    from sklearn.datasets import load_diabetes  # here: the bundled sets alone need scikit-learn

    loaded = cast(tuple[Any, Any], load_diabetes(return_X_y=True, scaled=False))
    rows, labels = np.asarray(loaded[0], dtype=np.float64), np.asarray(loaded[1], dtype=np.float64)
    train = np.arange(len(rows)) % 5 != 4
    return Table.split(
        "diabetes",
        features(dict(zip(_COLUMNS, rows.T, strict=True)), {}, train=train),
        labels,
        train=train,
        licence=DIABETES.licence,
        label_range=_RANGE,
    )


DIABETES = Entry(
    name="diabetes",
    about="442 patients, a regression: progression of the disease after a year, 25 to 346",
    origin="B. Efron, T. Hastie, I. Johnstone, R. Tibshirani: Least Angle Regression, 2004; in scikit-learn",
    licence="BSD-3-Clause, as part of scikit-learn",
    load=_load,
    files={},
)
