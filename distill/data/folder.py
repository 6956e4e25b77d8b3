"""A folder of the user's own images with labels.

Two forms: `train/CLASS/IMAGE` and `test/CLASS/IMAGE`; or a file `labels.csv` with the columns file, split (train or
test) and class. The class names are public, directory names included; which image has which class is not. Therefore
no message shows the class of an image, and the images come in an order that their own content decides: by class, an
image's number would give its class away.

Where the shape of the images is declared beforehand, each record is made to fit it by itself, or left out by itself: then one
record decides nothing about the others, the shape, or whether there is a data set at all. Without a declaration, shape and
refusals are functions of all records.
"""

import csv
import hashlib
import os
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from distill.data.entry import Dataset

_Record = TypeVar("_Record")
_Read = TypeVar("_Read")
Shape = tuple[int, int, int]

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".webp", ".tif", ".tiff")
_SPLITS = ("train", "test")
_GREY, _COLOUR = ("1", "L"), ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr")


@dataclass(frozen=True)
class _Item:
    """One image of the folder; `shown` is what a message may say of it."""

    path: Path
    shown: str
    label: int


def load(directory: str, classes: tuple[str, ...] = (), *, shape: Shape | None = None) -> Dataset:
    """Reads a folder of images.

    Args:
        directory: the folder.
        classes: the public class names in order; empty takes the sorted names of the directories in train/.
        shape: (channels, height, width), declared beforehand; None takes it from the images. Classes are needed with it.

    Raises:
        FileNotFoundError: if the folder, a split or, without `shape`, an image is not there.
        ValueError: without `shape`, if a file is no image, or not of the size of the others; the message names the first one.

    Privacy: with `shape` and `classes`, a training record decides about itself alone: it is converted to the shape, or left out
        (damaged, of another class, no image), without a word and without a count. Adding or removing one adds or removes at
        most one image.
    """
    root = Path(directory).expanduser()
    if not directory or not root.is_dir():
        raise FileNotFoundError(
            f"Expected --data.directory to be a folder with train/CLASS/ and test/CLASS/, got {directory!r}."
        )
    table, declared = root / "labels.csv", shape is not None
    if not classes and not declared and not table.exists():
        classes = _directories(root / "train")
    if len(classes) < 2 or len(set(classes)) != len(classes):
        raise ValueError(f"{root}: expected two or more different classes, name them: --data.classes A,B,...")
    list_items = _from_table if table.exists() else _from_directories
    listed = {
        split: sorted(items, key=lambda item: item.path.name)
        for split, items in list_items(root, classes, lenient=declared).items()
    }
    size = None if declared else _size(listed["train"][0])
    (train, train_labels), (test, test_labels) = (_read(listed[split], size, shape) for split in _SPLITS)
    if shape is None:
        shape = max(image.shape for image in (*train, *test))  # they differ in their channels alone
    return Dataset(
        name="folder",
        train_images=_stacked(train, shape),
        train_labels=train_labels,
        test_images=_stacked(test, shape),
        test_labels=test_labels,
        num_classes=len(classes),
        licence="the user's own images",
        classes=classes,
    )


def _each(records: Iterable[_Record], read: Callable[[_Record], _Read], *, lenient: bool) -> list[_Read]:
    """Reads records one by one; where it is lenient, one that cannot be read is left out, and says nothing about the others."""
    done: list[_Read] = []
    for record in records:
        try:
            done.append(read(record))
        except Exception:  # whatever a decoder does with a damaged file
            if not lenient:
                raise
    return done


def _directories(place: Path) -> tuple[str, ...]:
    """Returns the sorted names of the directories in one place."""
    if not place.is_dir():
        raise FileNotFoundError(f"Expected a folder {place} with one folder for each class, found none.")
    return tuple(sorted(path.name for path in place.iterdir() if path.is_dir() and not _hidden(path)))


def _from_directories(root: Path, classes: tuple[str, ...], *, lenient: bool) -> dict[str, list[_Item]]:
    """Lists the images of train/CLASS/ and test/CLASS/; nothing below is entered."""
    listed = {}
    for split in _SPLITS:
        if not lenient and not set(_directories(root / split)) <= set(classes):
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
        if not listed[split] and not (lenient and split == "train"):
            raise FileNotFoundError(f"Expected images in {root / split}/CLASS/, found none.")
    return listed


def _from_table(root: Path, classes: tuple[str, ...], *, lenient: bool) -> dict[str, list[_Item]]:
    """Lists the images that labels.csv names; a message shows the number of a row and nothing that stands in it."""
    table = root / "labels.csv"
    header, rows = _table_rows(table)
    numbers = {name: label for label, name in enumerate(classes)}

    def listed_row(numbered: tuple[int, list[str]]) -> tuple[str, _Item]:
        number, cells = numbered
        if len(cells) != len(header):
            raise ValueError(f"{table}: expected {len(header)} columns in row {number}, got {len(cells)}.")
        row = dict(zip(header, cells, strict=True))
        path = root / row["file"]
        if Path(row["file"]).is_absolute() or ".." in path.parts[len(root.parts) :]:
            raise ValueError(f"{table}: expected files inside the folder, got another in row {number}.")
        if row["split"] not in _SPLITS:
            raise ValueError(f"{table}: expected train or test in the column split, not so in row {number}.")
        if row["class"] not in numbers:
            raise ValueError(f"{table}: expected every class to be one of --data.classes, got another.")
        return row["split"], _Item(path, f"{table}, row {number}", numbers[row["class"]])

    items = _each(enumerate(rows, start=1), listed_row, lenient=lenient)
    listed = {split: [item for where, item in items if where == split] for split in _SPLITS}
    for split in _SPLITS:
        if not listed[split] and not (lenient and split == "train"):
            raise ValueError(f"{table}: expected rows with the split {split}, got none.")
    return listed


def _table_rows(table: Path) -> tuple[list[str], list[list[str]]]:
    """Returns the first line, and the others."""
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.reader(file, strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{table}: expected a CSV file in UTF-8.") from None
    header = rows[0] if rows else []
    if not {"file", "split", "class"} <= set(header):
        raise ValueError(f"{table}: expected the columns file, split and class in its first line.")
    return header, rows[1:]


def _hidden(path: Path) -> bool:
    return path.name.startswith(".") or path.name == "Thumbs.db"


def _read(
    items: list[_Item], size: tuple[int, int] | None, shape: Shape | None
) -> tuple[list[np.ndarray], np.ndarray]:
    """Returns the pixels (1 or 3, H, W) uint8 of each image, and the labels (n,)."""

    def pixels(item: _Item) -> tuple[_Item, np.ndarray]:
        return item, _pixels(item, size, shape)

    pairs = _each(items, pixels, lenient=shape is not None)
    items, images = [item for item, _ in pairs], [image for _, image in pairs]
    order = _order(items, images)
    return [images[i] for i in order], np.array([items[i].label for i in order], dtype=np.int64)


def _stacked(images: list[np.ndarray], shape: Shape) -> np.ndarray:
    """The images (n, C, H, W) float32 in [0, 1]."""
    stack = np.empty((len(images), *shape), dtype=np.float32)
    for row, image in enumerate(images):
        stack[row] = image  # one channel is repeated where others have three
    stack /= 255
    return stack


def _order(items: list[_Item], pixels: list[np.ndarray]) -> list[int]:
    """Orders images by content, equal ones by name, and equal ones of equal name, which two classes may have, by chance."""
    digests = [hashlib.sha256(image.tobytes()).digest() for image in pixels]
    keys = [(digest, item.path.name, os.urandom(8)) for digest, item in zip(digests, items, strict=True)]
    return sorted(range(len(items)), key=keys.__getitem__)


def _size(item: _Item) -> tuple[int, int]:
    with _open(item) as image:
        return image.size


def _pixels(item: _Item, size: tuple[int, int] | None, shape: Shape | None) -> np.ndarray:
    """Returns the pixels (1 or 3, H, W) uint8 of one image, which has the size, or is brought to the shape.

    A size is checked before pixels are decoded.
    """
    with _open(item) as image:
        if size is not None and image.size != size:
            raise ValueError(
                f"{item.shown}: expected {size[0]} x {size[1]} pixels as in the first image, "
                f"got {image.size[0]} x {image.size[1]}; bring all images to one size."
            )
        grey = image.mode in _GREY if shape is None else shape[0] == 1
        try:
            image = image.convert("L" if grey else "RGB")
            if shape is not None and image.size != (shape[2], shape[1]):
                image = image.resize((shape[2], shape[1]))
        except (OSError, SyntaxError, ValueError) as error:
            raise ValueError(f"{item.shown}: expected a whole image, got a damaged one.") from error
        return np.asarray(image)[None] if grey else np.asarray(image).transpose(2, 0, 1)


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
