"""Real data: digits, and IDX files in every state of disrepair."""

import gzip
import struct

import numpy as np
import pytest

from distill import config, data

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


def write_set(folder, *, compressed: bool = False, train: int = 20, test: int = 10) -> None:
    rng = np.random.default_rng(0)
    for name, count in zip(NAMES, (train, train, test, test), strict=True):
        array = rng.integers(256, size=(count, 28, 28)) if "images" in name else rng.integers(10, size=count)
        content = idx(array)
        path = folder / (name + ".gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)


def load(folder) -> data.Dataset:
    return data.load(config.Data(name="mnist", directory=str(folder)))


def test_digits_are_split_once_and_for_all() -> None:
    digits = data.load(config.Data())
    assert digits.train_images.shape == (1347, 1, 8, 8)
    assert digits.test_images.shape == (450, 1, 8, 8)
    assert np.bincount(digits.test_labels).min() >= 43
    assert digits.train_images.min() == 0
    assert digits.train_images.max() == 1
    every = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    assert sorted(map(bytes, every)) == sorted(map(bytes, (load_digits().data / 16).astype(np.float32)))


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read(tmp_path, compressed: bool) -> None:
    write_set(tmp_path, compressed=compressed)
    loaded = load(tmp_path)
    assert loaded.train_images.shape == (20, 1, 28, 28)
    assert loaded.test_labels.shape == (10,)
    assert loaded.train_images.dtype == np.float32
    assert 0.9 < loaded.train_images.max() <= 1


DAMAGE = {
    "empty": lambda content: b"",
    "half a header": lambda content: content[:6],
    "other magic number": lambda content: b"\x01" + content[1:],
    "floats": lambda content: content[:2] + b"\x0d" + content[3:],
    "other dimensions": lambda content: content[:3] + b"\x02" + content[4:],
    "too short": lambda content: content[:-1],
    "too long": lambda content: content + b"\x00",
    "count too large": lambda content: content[:4] + b"\x7f" + content[5:],
    "text": lambda content: b"<html>404 Not Found</html>",
}


@pytest.mark.parametrize("file", NAMES)
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_named_in_one_line(tmp_path, file: str, damage: str, compressed: bool) -> None:
    write_set(tmp_path, compressed=compressed)
    path = tmp_path / (file + ".gz" if compressed else file)
    content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    damaged = DAMAGE[damage](content)
    path.write_bytes(gzip.compress(damaged) if compressed else damaged)
    with pytest.raises(ValueError, match=file) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no gzip at all"])
def test_a_damaged_archive_is_named(tmp_path, damage: str) -> None:
    write_set(tmp_path, compressed=True)
    path = tmp_path / (NAMES[0] + ".gz")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            "no gzip at all": b"hello",
        }[damage]
    )
    with pytest.raises(ValueError, match=NAMES[0]):
        load(tmp_path)


def test_labels_that_do_not_belong_are_refused(tmp_path) -> None:
    write_set(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(idx(np.full(20, 11)))
    with pytest.raises(ValueError, match="labels in 0"):
        load(tmp_path)
    (tmp_path / NAMES[1]).write_bytes(idx(np.zeros(19)))
    with pytest.raises(ValueError, match="20 labels"):
        load(tmp_path)


def test_missing_files_say_where_they_were_looked_for_and_how_to_bring_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(data, "_PACKAGED", {"fashion-mnist": tmp_path / "package"})
    with pytest.raises(FileNotFoundError) as caught:
        data.load(config.Data(name="fashion-mnist"))
    message = str(caught.value)
    for part in (
        str(tmp_path / "data"),
        str(tmp_path / "cache"),
        str(tmp_path / "package"),
        "apt-get install dataset-fashion-mnist",
    ):
        assert part in message
    assert "\n" not in message
    with pytest.raises(FileNotFoundError, match=NAMES[0]):
        (tmp_path / "data" / "fashion-mnist").mkdir(parents=True)
        (tmp_path / "data" / "fashion-mnist" / NAMES[1]).write_bytes(b"")
        data.load(config.Data(name="fashion-mnist"))


def test_the_cache_is_found(tmp_path, monkeypatch) -> None:
    monkeypatch.delenv("LABELDP_DATA", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "labeldp" / "mnist"
    folder.mkdir(parents=True)
    write_set(folder)
    assert data.load(config.Data(name="mnist")).name == "mnist"
