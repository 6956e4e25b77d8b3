"""Real data: every known set keeps the same contract, and files in every state of disrepair are refused."""

import dataclasses
import gzip
import hashlib

import numpy as np
import pytest

from distill import config, data
from distill.data.places import where
from tests.distill.small_data import CIFAR_NAMES, IDX_NAMES, WRITERS, idx, write_cifar, write_idx

HERE = [name for name, entry in data.ENTRIES.items() if not entry.files or where(entry)]


def load_any(name: str, directory: str = "") -> data.Dataset | data.Table:
    if name in data.IMAGES:
        return data.load(config.Data(name=name, directory=directory))
    return data.load_table(name, directory)


def load(folder) -> data.Dataset:
    return data.load(config.Data(name="mnist", directory=str(folder)))


def assert_images(loaded: data.Dataset) -> None:
    for images, labels in (
        (loaded.train_images, loaded.train_labels),
        (loaded.test_images, loaded.test_labels),
    ):
        assert images.dtype == np.float32
        assert images.shape == (len(labels), *loaded.shape)
        assert 0 <= images.min() < 0.1
        assert 0.9 < images.max() <= 1
        assert_classes(labels, loaded.num_classes)
    assert len(set(loaded.classes)) == loaded.num_classes


def assert_table(loaded: data.Table) -> None:
    assert len(set(loaded.columns)) == len(loaded.columns) == loaded.train_features.shape[1]
    for features, labels in (
        (loaded.train_features, loaded.train_labels),
        (loaded.test_features, loaded.test_labels),
    ):
        assert features.dtype == np.float32
        assert features.shape == (len(labels), len(loaded.columns))
        assert np.isfinite(features).all()
        if loaded.num_classes is not None:
            assert len(set(loaded.classes)) == loaded.num_classes
            assert_classes(labels, loaded.num_classes)
        else:
            assert loaded.label_range is not None
            low, high = loaded.label_range
            assert low <= labels.min() < labels.max() <= high
    binary = np.isin(loaded.train_features, (0, 1)).all(axis=0)
    numeric = loaded.train_features[:, ~binary]
    np.testing.assert_allclose(numeric.mean(axis=0), 0, atol=1e-3)
    np.testing.assert_allclose(numeric.std(axis=0), 1, atol=1e-3)


def assert_classes(labels: np.ndarray, num_classes: int) -> None:
    assert labels.dtype == np.int64
    assert labels.min() >= 0
    assert labels.max() < num_classes


def assert_contract(name: str, loaded: data.Dataset | data.Table) -> None:
    assert loaded.name == name
    assert loaded.licence == data.ENTRIES[name].licence
    if isinstance(loaded, data.Dataset):
        assert_images(loaded)
    else:
        assert_table(loaded)


SIZES = {
    "digits": (1347, 450),
    "mnist": (60000, 10000),
    "fashion-mnist": (60000, 10000),
    "cifar-10": (50000, 10000),
    "adult": (32561, 16281),
    "adult-hours": (32561, 16281),
    "diabetes": (354, 88),
    "open-bandit": (45000, 15000),
}


@pytest.mark.parametrize("name", HERE)
def test_every_set_of_this_machine_keeps_the_contract(name: str) -> None:
    loaded = load_any(name)
    assert_contract(name, loaded)
    assert (len(loaded.train_labels), len(loaded.test_labels)) == SIZES[name]


def test_every_set_with_files_has_a_small_one_for_tests() -> None:
    assert set(WRITERS) == {name for name, entry in data.ENTRIES.items() if entry.files}
    assert set(SIZES) == set(data.ENTRIES)


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_keeps_the_contract(name: str, tmp_path) -> None:
    WRITERS[name](tmp_path)
    assert_contract(name, load_any(name, str(tmp_path)))


@pytest.mark.parametrize(
    "change",
    [
        {"train_images": np.zeros((20, 1, 28, 28))},
        {"test_images": np.full((10, 1, 28, 28), 2, dtype=np.float32)},
        {"train_labels": np.full(20, 10)},
        {"test_labels": np.zeros(9, dtype=np.int64)},
        {"classes": ("a",) * 10},
        {"licence": "none"},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_broken_contract_would_be_seen(change: dict, tmp_path) -> None:
    write_idx(tmp_path)
    with pytest.raises(AssertionError):
        assert_contract("mnist", dataclasses.replace(load(tmp_path), **change))


@pytest.mark.parametrize("name", WRITERS)
def test_a_file_that_is_not_the_published_one_is_refused(name: str, tmp_path, monkeypatch) -> None:
    entry = data.ENTRIES[name]
    folder = tmp_path / (entry.stored_as or name)
    folder.mkdir()
    WRITERS[name](folder)
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path))
    with pytest.raises(ValueError, match=f"expected SHA-256.*labeldp data fetch {name}") as caught:
        load_any(name)
    assert str(folder) in str(caught.value)
    own = {file: hashlib.sha256((folder / file).read_bytes()).hexdigest() for file in entry.files}
    published = dataclasses.replace(entry, files=own)
    monkeypatch.setitem(data.IMAGES if name in data.IMAGES else data.TABLES, name, published)
    assert_contract(name, load_any(name))


def test_digits_are_split_once_and_for_all() -> None:
    digits = data.load(config.Data())
    assert digits.train_images.shape == (1347, 1, 8, 8)
    assert np.bincount(digits.test_labels).min() >= 43
    every = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    from sklearn.datasets import load_digits

    assert sorted(map(bytes, every)) == sorted(map(bytes, (load_digits().data / 16).astype(np.float32)))


@pytest.mark.parametrize("compressed", [False, True])
def test_idx_files_are_read(tmp_path, compressed: bool) -> None:
    write_idx(tmp_path, compressed=compressed)
    loaded = load(tmp_path)
    rng = np.random.default_rng(0)
    np.testing.assert_array_equal(
        (loaded.train_images * 255).round(), rng.integers(256, size=(20, 28, 28))[:, None]
    )
    np.testing.assert_array_equal(loaded.train_labels, rng.integers(10, size=20))


def test_cifar_records_are_read(tmp_path) -> None:
    write_cifar(tmp_path)
    loaded = data.load(config.Data(name="cifar-10", directory=str(tmp_path)))
    second = np.frombuffer((tmp_path / CIFAR_NAMES[1]).read_bytes(), dtype=np.uint8).reshape(10, 3073)
    np.testing.assert_array_equal(loaded.train_labels[10:20], second[:, 0])
    np.testing.assert_array_equal(
        (loaded.train_images[10:20] * 255).round(), second[:, 1:].reshape(10, 3, 32, 32)
    )


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


@pytest.mark.parametrize("file", IDX_NAMES)
@pytest.mark.parametrize("damage", DAMAGE)
@pytest.mark.parametrize("compressed", [False, True])
def test_a_damaged_file_is_named_in_one_line(tmp_path, file: str, damage: str, compressed: bool) -> None:
    write_idx(tmp_path, compressed=compressed)
    path = tmp_path / (file + ".gz" if compressed else file)
    content = gzip.decompress(path.read_bytes()) if compressed else path.read_bytes()
    damaged = DAMAGE[damage](content)
    path.write_bytes(gzip.compress(damaged) if compressed else damaged)
    with pytest.raises(ValueError, match=file) as caught:
        load(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["truncated", "flipped", "no gzip at all"])
def test_a_damaged_archive_is_named(tmp_path, damage: str) -> None:
    write_idx(tmp_path, compressed=True)
    path = tmp_path / (IDX_NAMES[0] + ".gz")
    content = path.read_bytes()
    middle = len(content) // 2
    path.write_bytes(
        {
            "truncated": content[:middle],
            "flipped": content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1 :],
            "no gzip at all": b"hello",
        }[damage]
    )
    with pytest.raises(ValueError, match=IDX_NAMES[0]):
        load(tmp_path)


def test_labels_that_do_not_belong_are_refused(tmp_path) -> None:
    write_idx(tmp_path)
    (tmp_path / IDX_NAMES[1]).write_bytes(idx(np.full(20, 117)))
    with pytest.raises(ValueError, match="labels in 0") as caught:
        load(tmp_path)
    assert "117" not in str(caught.value).removeprefix(str(tmp_path))
    (tmp_path / IDX_NAMES[1]).write_bytes(idx(np.zeros(19)))
    with pytest.raises(ValueError, match="20 labels"):
        load(tmp_path)


@pytest.mark.parametrize("damage", ["short", "empty", "label outside"])
def test_damaged_records_are_named(tmp_path, damage: str) -> None:
    write_cifar(tmp_path)
    path = tmp_path / CIFAR_NAMES[2]
    content = path.read_bytes()
    path.write_bytes({"short": content[:-1], "empty": b"", "label outside": b"\xf7" + content[1:]}[damage])
    with pytest.raises(ValueError, match=CIFAR_NAMES[2]) as caught:
        data.load(config.Data(name="cifar-10", directory=str(tmp_path)))
    assert "247" not in str(caught.value).removeprefix(str(tmp_path))


def test_missing_files_say_where_they_were_looked_for_and_how_to_bring_them(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    moved = dataclasses.replace(data.IMAGES["fashion-mnist"], installed=tmp_path / "package")
    monkeypatch.setitem(data.IMAGES, "fashion-mnist", moved)
    with pytest.raises(FileNotFoundError) as caught:
        data.load(config.Data(name="fashion-mnist"))
    message = str(caught.value)
    for part in (
        str(tmp_path / "data"),
        str(tmp_path / "cache"),
        str(tmp_path / "package"),
        "labeldp data fetch fashion-mnist",
        "apt-get install dataset-fashion-mnist",
    ):
        assert part in message
    assert "\n" not in message
    (tmp_path / "data" / "fashion-mnist").mkdir(parents=True)
    (tmp_path / "data" / "fashion-mnist" / IDX_NAMES[1]).write_bytes(b"")
    with pytest.raises(FileNotFoundError, match=IDX_NAMES[0]):
        data.load(config.Data(name="fashion-mnist"))


def test_a_whole_set_is_preferred_to_half_a_one(tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("LABELDP_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    half, whole = tmp_path / "data" / "mnist", tmp_path / "cache" / "labeldp" / "mnist"
    for folder in (half, whole):
        folder.mkdir(parents=True)
        write_idx(folder)
    assert where(data.IMAGES["mnist"]) == half
    (half / IDX_NAMES[3]).unlink()
    assert where(data.IMAGES["mnist"]) == whole


def test_an_unknown_name_says_which_there_are() -> None:
    with pytest.raises(ValueError, match=r"digits, fashion-mnist, mnist, cifar-10, folder.*'faces'"):
        config.Data(name="faces")
    with pytest.raises(ValueError, match=r"adult, adult-hours, diabetes, open-bandit.*'digits'"):
        data.load_table("digits")
