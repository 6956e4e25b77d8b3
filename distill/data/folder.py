"""A folder of the user's own images with labels.

Two forms: `train/CLASS/IMAGE` and `test/CLASS/IMAGE`; or a file `labels.csv` with the columns file, split (train or
test) and class. The class names are public, directory names included; which image has which class is not. Therefore
no message shows the class of an image, and the images come in an order that their own content decides: by class, an
image's number would give its class away.
"""

import csv
import hashlib
import os
import warnings
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill.data.entry import Dataset

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tif", ".tiff")
_SPLITS = ("train", "test")
_GREY, _COLOUR = ("1", "L"), ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class _Item:
    """One image of the folder; `shown` is what a message may say of it."""

    path: Path
    shown: str
    label: int


def load(directory: str, classes: tuple[str, ...] = ()) -> Dataset:
    """Reads a folder of images.

    Args:
        directory: the folder.
        classes: the public class names in order; empty takes the sorted names of the directories in train/.

    Raises:
        FileNotFoundError: if the folder, a split or an image is not there.
        ValueError: if a file is no image, or not of the size of the others; the message names the first one.
    """
    root = Path(directory).expanduser()
    if not directory or not root.is_dir():
        raise FileNotFoundError(
            f"Expected --data.directory to be a folder with train/CLASS/ and test/CLASS/, got {directory!r}."
        )
    table = root / "labels.csv"
    classes = classes or (() if table.exists() else _directories(root / "train"))
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"{root}: expected two or more different classes, name them: --data.classes A,B,...")
    listed = _from_table(table, classes) if table.exists() else _from_directories(root, classes)
    listed = {split: sorted(items, key=lambda item: item.path.name) for split, items in listed.items()}
    size = _size(listed["train"][0])
    train_images, train_labels = _read(listed["train"], size)
    test_images, test_labels = _read(listed["test"], size)
    colours = max(train_images.shape[1], test_images.shape[1])
    return Dataset(
        name="folder",
        train_images=_in_colours(train_images, colours),
        train_labels=train_labels,
        test_images=_in_colours(test_images, colours),
        test_labels=test_labels,
        num_classes=len(classes),
        licence="the user's own images",
        classes=classes,
    )


def _directories(place: Path) -> tuple[str, ...]:
    """Returns the sorted names of the directories in one place."""
    if not place.is_dir():
        raise FileNotFoundError(f"Expected a folder {place} with one folder for each class, found none.")
    return tuple(sorted(path.name for path in place.iterdir() if path.is_dir() and not _hidden(path)))


def _from_directories(root: Path, classes: tuple[str, ...]) -> dict[str, list[_Item]]:
    """Lists the images of train/CLASS/ and test/CLASS/; nothing below is entered."""
    listed = {}
    for split in _SPLITS:
        if not set(_directories(root / split)) <= set(classes):
            raise ValueError(
                f"{root / split}: expected a folder for each of the {len(classes)} classes, got one with another "
                "name; move it away, or name all classes: --data.classes A,B,..."
            )
        listed[split] = [
            _Item(path, f"{root / split}/*/{path.name}", label)
            for label, name in enumerate(classes)
            if (root / split / name).is_dir()
            for path in (root / split / name).iterdir()
            if not _hidden(path)
        ]
        if not listed[split]:
            raise FileNotFoundError(f"Expected images in {root / split}/CLASS/, found none.")
    return listed


def _from_table(table: Path, classes: tuple[str, ...]) -> dict[str, list[_Item]]:
    """Lists the images that labels.csv names."""
    listed: dict[str, list[_Item]] = {split: [] for split in _SPLITS}
    numbers = {name: label for label, name in enumerate(classes)}
    for number, row in _table_rows(table):
        path = table.parent / row["file"]
        if Path(row["file"]).is_absolute() or ".." in path.parts[len(table.parent.parts) :]:
            raise ValueError(f"{table}: expected files inside the folder, got another in row {number}.")
        if row["split"] not in listed:
            raise ValueError(f"{table}: expected train or test in the column split, not so in row {number}.")
        if row["class"] not in numbers:
            raise ValueError(f"{table}: expected every class to be one of --data.classes, got another.")
        listed[row["split"]].append(_Item(path, str(path), numbers[row["class"]]))
    for split, items in listed.items():
        if not items:
            raise ValueError(f"{table}: expected rows with the split {split}, got none.")
    return listed


def _table_rows(table: Path) -> list[tuple[int, dict[str, str]]]:
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{table}: expected a CSV file in UTF-8.") from None
    header = rows[0] if rows else []
    if not {"file", "split", "class"} <= set(header):
        raise ValueError(f"{table}: expected the columns file, split and class in its first line.")
    for number, row in enumerate(rows[1:], start=1):
        if len(row) != len(header):
            raise ValueError(f"{table}: expected {len(header)} columns in row {number}, got {len(row)}.")
    return [(number, dict(zip(header, row, strict=True))) for number, row in enumerate(rows[1:], start=1)]


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "Thumbs.db"


def _read(items: list[_Item], size: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images (n, 1 or 3, H, W) float32 in [0, 1] and the labels (n,)."""
    pixels = [_pixels(item, size) for item in items]
    order = _order(items, pixels)
    colours = max(image.shape[0] for image in pixels)
    images = np.empty((len(items), colours, size[1], size[0]), dtype=np.float32)
    for row, index in enumerate(order):
        images[row] = pixels[index]  # one channel is repeated where others have three
    images /= 255
    return images, np.array([items[index].label for index in order], dtype=np.int64)


def _order(items: list[_Item], pixels: list[np.ndarray]) -> list[int]:
    """Orders images by content, equal ones by name, and equal ones of equal name, which two classes may have, by chance."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    keys = [(digest, item.path.name, os.urandom(8)) for digest, item in zip(digests, items, strict=True)]
    return sorted(range(len(items)), key=keys.__getitem__)


def _in_colours(images: np.ndarray, colours: int) -> np.ndarray:
    return images if images.shape[1] == colours else np.repeat(images, colours, axis=1)


def _size(item: _Item) -> tuple[int, int]:
    with _open(item) as image:
        return image.size


def _pixels(item: _Item, size: tuple[int, int]) -> np.ndarray:
    """Returns the pixels (1 or 3, H, W) uint8 of one image; the size is checked before they are decoded."""
    with _open(item) as image:
        if image.size != size:
            raise ValueError(
                f"{item.shown}: expected {size[0]} x {size[1]} pixels as in the first image, "
                f"got {image.size[0]} x {image.size[1]}; bring all images to one size."
            )
        try:
            if image.mode in _GREY:
                return np.asarray(image.convert("L"))[None]
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{item.shown}: expected a whole image, got a damaged one.") from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # its message would show the whole path
        return False


def _open(item: _Item):
    """Opens one image without decoding it."""
    from PIL import Image  # here: it comes with matplotlib; folders and one download need it

    if not _is_file(item.path):
        raise FileNotFoundError(f"{item.shown}: expected an image file, found none.")
    if item.path.suffix.lower() not in _SUFFIXES:
        raise ValueError(f"{item.shown}: expected only images ({' '.join(_SUFFIXES)}); move it away.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            image = Image.open(item.path)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise ValueError(f"{item.shown}: expected an image of moderate size, got a giant one.") from None
    except (OSError, SyntaxError, ValueError):
        raise ValueError(f"{item.shown}: expected an image, cannot read it as one.") from None
    if image.mode not in (*_GREY, *_COLOUR):
        image.close()
        raise ValueError(f"{item.shown}: expected 8 bits for each colour, got mode {image.mode}.")
    return image
