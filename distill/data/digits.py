"""Scikit-learn's handwritten digits: nothing to bring."""

from typing import Any, cast

import numpy as np

from distill.data.entry import Dataset, Entry, Files

_TEST_IMAGES = 450


def _load(_: Files) -> Dataset:
    """Splits the digits: every fourth of each class, 450 in all, is for the test."""
    from sklearn.datasets import load_digits  # here: the bundled sets alone need scikit-learn

    loaded = cast(tuple[Any, Any], load_digits(return_X_y=True))  # its annotation allows for pandas
    images = np.asarray(loaded[0] / 16, dtype=np.float32).reshape(-1, 1, 8, 8)
    labels = np.asarray(loaded[1], dtype=np.int64)
    by_class = np.argsort(labels, kind="stable")
    spaced = np.arange(_TEST_IMAGES) * len(labels) // _TEST_IMAGES
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[by_class[spaced]] = True
    return Dataset(
        name="digits",
        train_images=images[~chosen],
        train_labels=labels[~chosen],
        test_images=images[chosen],
        test_labels=labels[chosen],
        num_classes=10,
        licence=DIGITS.licence,
        classes=tuple("0123456789"),
    )


DIGITS = Entry(
    name="digits",
    about="1,797 grey images of 8 x 8 pixels, 10 classes: handwritten digits",
    origin="E. Alpaydin, C. Kaynak: Optical Recognition of Handwritten Digits, UCI 1998; in scikit-learn",
    licence="CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
    load=_load,
    files={},
)
