"""Real data: scikit-learn's digits, and data sets in IDX files."""

import gzip
import math
import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from distill import config

_DIGITS_TEST_IMAGES = 450
_UNSIGNED_BYTE = 0x08
_SIDE = 28
_CLASSES = 10
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_LICENCES = {
    "digits": "CC BY 4.0 (UCI Optical Recognition of Handwritten Digits)",
    "fashion-mnist": "MIT (Zalando SE)",
    "mnist": "CC BY-SA 3.0 (Y. LeCun and C. Cortes)",
}
_PACKAGED = {"fashion-mnist": Path("/usr/share/datasets/fashion-mnist")}


@dataclass(frozen=True)
class Dataset:
    """Real images with their labels, split once and for all.

    Attributes:
        train_images, test_images: (n, C, H, W) float32 in [0, 1].
        train_labels, test_labels: (n,) int64 in 0..num_classes - 1.
    """

    name: str
    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    num_classes: int
    licence: str

    @property
    def shape(self) -> tuple[int, int, int]:
        """The (channels, height, width) of one image."""
        channels, height, width = self.train_images.shape[1:]
        return channels, height, width


def load(data: config.Data) -> Dataset:
    """Reads the data set that the configuration names.

    Raises:
        FileNotFoundError: if its files are nowhere; the message says where they were looked for.
        ValueError: if a file is corrupt or not of the expected form; the message names it.
    """
    return _digits() if data.name == "digits" else _from_files(data)


def _digits() -> Dataset:
    """Splits scikit-learn's digits: every fourth of each class, 450 in all, is for the test."""
    from sklearn.datasets import load_digits  # here: only this data set needs scikit-learn

    loaded = cast(tuple[Any, Any], load_digits(return_X_y=True))  # its annotation allows for pandas
    images = np.asarray(loaded[0] / 16, dtype=np.float32).reshape(-1, 1, 8, 8)
    labels = np.asarray(loaded[1], dtype=np.int64)
    by_class = np.argsort(labels, kind="stable")
    spaced = np.arange(_DIGITS_TEST_IMAGES) * len(labels) // _DIGITS_TEST_IMAGES
    chosen = np.zeros(len(labels), dtype=bool)
    chosen[by_class[spaced]] = True
    return Dataset(
        name="digits",
        train_images=images[~chosen],
        train_labels=labels[~chosen],
        test_images=images[chosen],
        test_labels=labels[chosen],
        num_classes=_CLASSES,
        licence=_LICENCES["digits"],
    )


def _from_files(data: config.Data) -> Dataset:
    train_images, train_labels, test_images, test_labels = _find(data)
    images, labels = _pair(train_images, train_labels)
    other_images, other_labels = _pair(test_images, test_labels)
    return Dataset(
        name=data.name,
        train_images=images,
        train_labels=labels,
        test_images=other_images,
        test_labels=other_labels,
        num_classes=_CLASSES,
        licence=_LICENCES[data.name],
    )


def _places(data: config.Data) -> list[Path]:
    """Lists the directories that may hold the files; a given one excludes the others."""
    if data.directory:
        return [Path(data.directory).expanduser()]
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    places = [cache / "labeldp" / data.name]
    if os.environ.get("LABELDP_DATA"):
        places.insert(0, Path(os.environ["LABELDP_DATA"]) / data.name)
    return [*places, _PACKAGED[data.name]] if data.name in _PACKAGED else places


def _find(data: config.Data) -> list[Path]:
    """Returns the four files, compressed or not, of the first place that holds any of them."""
    places = _places(data)
    for place in places:
        found = [_either(place / name) for name in _FILES]
        if any(found):
            for name, path in zip(_FILES, found, strict=True):
                if path is None:
                    raise FileNotFoundError(
                        f"Expected {name} or {name}.gz beside the other files in {place}."
                    )
            return [path for path in found if path is not None]
    where = ", ".join(str(place) for place in places)
    raise FileNotFoundError(f"{data.name} is not in {where}. {_way_out(data.name)}")


def _way_out(name: str) -> str:
    if name == "fashion-mnist":
        return "Bring it with: sudo apt-get install dataset-fashion-mnist"
    return f"Put {', '.join(file + '.gz' for file in _FILES)} there, or give --data.directory DIR."


def _either(path: Path) -> Path | None:
    compressed = path.with_name(path.name + ".gz")
    return next((found for found in (path, compressed) if found.is_file()), None)


def _pair(images_path: Path, labels_path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and their labels, and checks that they belong together."""
    images, labels = read_idx(images_path, dimensions=3), read_idx(labels_path, dimensions=1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise ValueError(
            f"{images_path}: expected images of {_SIDE} x {_SIDE} pixels, got {images.shape[1:]}."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_path}: expected {len(images)} labels, one for each image, got {len(labels)}."
        )
    if len(labels) == 0:
        raise ValueError(f"{images_path}: expected at least one image, got none.")
    if labels.max() >= _CLASSES:
        raise ValueError(f"{labels_path}: expected labels in 0..{_CLASSES - 1}, got one outside.")
    return (images[:, None] / np.float32(255)).astype(np.float32), labels.astype(np.int64)


def read_idx(path: Path, *, dimensions: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes, compressed or not.

    Raises:
        ValueError: if it is damaged, of another type or number of dimensions, too short or too long.
    """
    content = _content(path)
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(
            f"{path}: expected an IDX header of {header} bytes, the file ends after {len(content)}."
        )
    zero, kind, count = struct.unpack_from(">HBB", content)
    if zero != 0:
        raise ValueError(f"{path}: not an IDX file, its magic number is {content[:4].hex()}.")
    if (kind, count) != (_UNSIGNED_BYTE, dimensions):
        raise ValueError(
            f"{path}: expected unsigned bytes in {dimensions} dimension(s) (IDX type 8), "
            f"got type {kind} in {count}."
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{path}: expected {math.prod(shape)} bytes for shape {shape}, got {len(content) - header}."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _content(path: Path) -> bytes:
    if path.suffix != ".gz":
        return path.read_bytes()
    try:
        return gzip.decompress(path.read_bytes())
    except (gzip.BadGzipFile, EOFError, zlib.error, struct.error) as error:
        raise ValueError(f"{path}: damaged gzip file ({error}).") from error
