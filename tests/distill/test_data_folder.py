"""A folder of the user's own images: two forms, hostile files, and nothing that gives a label away."""

import csv
import os
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from distill import config, data
from distill.config_file import configuration
from distill.data import folder
from distill.usage import UsageError

CLASSES = ("hiv", "malaria", "tbc")
COUNTS = {"train": 12, "test": 6}


def picture(rng: np.random.Generator, *, colour: bool = False, size: tuple[int, int] = (6, 4)) -> Image.Image:
    return Image.fromarray(
        rng.integers(256, size=(size[1], size[0], *((3,) if colour else ())), dtype=np.uint8)
    )


def write_folder(root: Path, *, colour: bool = False, seed: int = 0, labels: str = "012") -> None:
    """The images and their names do not depend on the classes, which `labels` deals out in turn."""
    rng = np.random.default_rng(seed)
    for split, count in COUNTS.items():
        for name in CLASSES:
            (root / split / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            name = CLASSES[int(labels[number % len(labels)])]
            picture(rng, colour=colour).save(root / split / name / f"{number:03}.png")


def write_table(root: Path) -> None:
    """The same images in one directory, with labels.csv."""
    write_folder(root / "moved")
    rows = []
    for path in sorted((root / "moved").rglob("*.png")):
        target = f"{path.parts[-3]}-{path.name}"
        rows.append([target, path.parts[-3], path.parts[-2]])
        path.rename(root / target)
    with (root / "labels.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["file", "split", "class"], *rows])


def load(root: Path, classes: str = "", shape: str = "") -> data.Dataset:
    return data.load(config.Data(name="folder", directory=str(root), classes=classes, shape=shape))


def refused(root: Path, classes: str = "") -> str:
    """The one line that refuses a folder; it shows no class of any image."""
    with pytest.raises((ValueError, FileNotFoundError)) as caught:
        load(root, classes)
    message = str(caught.value)
    assert "\n" not in message
    assert not any(name in message for name in CLASSES), message
    return message


@pytest.mark.parametrize("colour", [False, True])
def test_a_folder_is_read(tmp_path, colour: bool) -> None:
    write_folder(tmp_path, colour=colour)
    loaded = load(tmp_path)
    assert loaded.shape == (3 if colour else 1, 4, 6)
    assert (len(loaded.train_labels), len(loaded.test_labels)) == (12, 6)
    assert (loaded.classes, loaded.num_classes) == (CLASSES, 3)
    assert loaded.train_images.dtype == np.float32
    found = 0
    for path in (tmp_path / "train").rglob("*.png"):
        pixels = np.asarray(Image.open(path), dtype=np.float32) / 255
        pixels = pixels.transpose(2, 0, 1) if colour else pixels[None]
        [row] = np.flatnonzero((loaded.train_images == pixels).all(axis=(1, 2, 3)))
        assert CLASSES[loaded.train_labels[row]] == path.parent.name
        found += 1
    assert found == 12


def test_a_table_gives_the_same_as_directories(tmp_path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    write_folder(tmp_path / "a")
    write_table(tmp_path / "b")
    one, other = load(tmp_path / "a"), load(tmp_path / "b", ",".join(CLASSES))
    for name in ("train_images", "train_labels", "test_images", "test_labels"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_the_classes_may_be_named_in_another_order_and_one_may_be_empty(tmp_path) -> None:
    write_folder(tmp_path)
    named = load(tmp_path, "tbc, flu, malaria, hiv")
    assert named.num_classes == 4
    assert set(named.train_labels) == {0, 2, 3}


def test_the_order_of_the_images_does_not_depend_on_their_labels(tmp_path) -> None:
    """Else the number of an image, which a release shows, would tell its class."""
    images = []
    for number, labels in enumerate(("012", "210", "000000000012")):
        write_folder(tmp_path / str(number), labels=labels)
        images.append(load(tmp_path / str(number)).train_images)
    np.testing.assert_array_equal(images[0], images[1])
    np.testing.assert_array_equal(images[0], images[2])


def test_an_order_by_class_would_be_seen(tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(
        folder, "_order", lambda items, pixels: sorted(range(len(items)), key=lambda i: items[i].label)
    )
    with pytest.raises(AssertionError):
        test_the_order_of_the_images_does_not_depend_on_their_labels(tmp_path)


def test_equal_images_of_equal_name_come_in_an_order_of_chance(tmp_path) -> None:
    write_folder(tmp_path)
    same = picture(np.random.default_rng(9))
    for name in CLASSES[:2]:
        same.save(tmp_path / "train" / name / "same.png")
    orders = set()
    for _ in range(40):
        loaded = load(tmp_path)
        rows = (loaded.train_images == np.float32(np.asarray(same)) / 255).all(axis=(1, 2, 3))
        orders.add(tuple(loaded.train_labels[rows]))
    assert orders == {(0, 1), (1, 0)}


def test_an_image_of_another_size_is_named(tmp_path) -> None:
    write_folder(tmp_path)
    path = tmp_path / "test" / "hiv" / "003.png"
    picture(np.random.default_rng(1), size=(4, 6)).save(path)
    assert "test/*/003.png: expected 6 x 4 pixels as in the first image, got 4 x 6" in refused(tmp_path)


def test_grey_and_coloured_images_together_are_coloured(tmp_path) -> None:
    write_folder(tmp_path)
    picture(np.random.default_rng(1), colour=True).save(tmp_path / "train" / "tbc" / "coloured.png")
    loaded = load(tmp_path)
    assert loaded.train_images.shape == (13, 3, 4, 6)
    assert loaded.test_images.shape == (6, 3, 4, 6)
    assert (loaded.test_images[:, 0] == loaded.test_images[:, 2]).all()


RECORDS = {
    "coloured": lambda path: picture(np.random.default_rng(1), colour=True).save(path),
    "of another size, and first": lambda path: picture(np.random.default_rng(1), size=(9, 9)).save(path),
    "with a palette": lambda path: picture(np.random.default_rng(1)).convert("P").save(path),
    "damaged": lambda path: path.write_bytes(b"\x89PNG no more"),
    "no image": lambda path: path.with_suffix(".txt").write_text("hiv"),
    "a directory": lambda path: path.mkdir(),
    "of a class of its own": lambda path: path.parent.with_name("plague").mkdir(),
}
DECLARED = {"classes": ",".join(CLASSES), "shape": "1x4x6"}


@pytest.mark.parametrize("kind", RECORDS)
def test_a_record_decides_about_itself_alone(tmp_path, kind: str) -> None:
    """Where the shape is declared, adding any record adds one image or none, and changes nothing else."""
    write_folder(tmp_path)
    before = load(tmp_path, **DECLARED)
    RECORDS[kind](tmp_path / "train" / "hiv" / "!.png")
    after = load(tmp_path, **DECLARED)
    assert after.shape == before.shape == (1, 4, 6)
    assert after.num_classes == before.num_classes == 3
    rows = {image.tobytes() for image in after.train_images}
    assert rows >= {image.tobytes() for image in before.train_images}
    assert len(after.train_labels) - len(before.train_labels) in (0, 1)
    np.testing.assert_array_equal(after.test_images, before.test_images)


@pytest.mark.parametrize("kind", RECORDS)
def test_without_a_declaration_a_record_decides_about_all(tmp_path, kind: str) -> None:
    """The twin: shape, number of classes, or whether there is a data set; but for a palette, which is colour too."""
    write_folder(tmp_path)
    before = load(tmp_path)
    RECORDS[kind](tmp_path / "train" / "hiv" / "!.png")
    try:
        after = load(tmp_path)
    except (ValueError, FileNotFoundError):
        return
    assert (after.shape, after.num_classes) != (before.shape, before.num_classes)


@pytest.mark.parametrize(
    "row",
    [
        ["no.png", "train", "hiv"],
        ["../x.png", "train", "hiv"],
        ["a.png", "train"],
        ["a.png", "train", "plague"],
    ],
)
def test_a_row_of_a_table_decides_about_itself_alone(tmp_path, row: list[str]) -> None:
    write_table(tmp_path)
    before = load(tmp_path, **DECLARED)
    with (tmp_path / "labels.csv").open("a", newline="") as file:
        csv.writer(file).writerow(row)
    np.testing.assert_array_equal(load(tmp_path, **DECLARED).train_images, before.train_images)
    refused(tmp_path, DECLARED["classes"])  # the twin


def test_a_declared_shape_is_what_comes(tmp_path) -> None:
    write_folder(tmp_path)
    grey = load(tmp_path, **DECLARED).train_images
    np.testing.assert_array_equal(grey, load(tmp_path).train_images)  # these fit as they are
    coloured = load(tmp_path, **DECLARED | {"shape": "3x4x6"}).train_images
    assert {image.tobytes() for image in coloured} == {np.repeat(image, 3, 0).tobytes() for image in grey}
    assert load(tmp_path, **DECLARED | {"shape": "1x8x5"}).shape == (1, 8, 5)
    for path in (tmp_path / "train").rglob("*.png"):  # no record at all is a data set, too
        path.unlink()
    assert load(tmp_path, **DECLARED).train_images.shape == (0, 1, 4, 6)


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 100,000 x 100,000 pixels."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        )

    header = struct.pack(">IIBBBBB", 100_000, 100_000, 8, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", b"") + chunk(b"IEND", b"")


def hostile(kind: str, path: Path) -> None:
    whole = path.read_bytes()
    path.unlink()
    if kind == "loop":
        path.symlink_to(path.name)
    elif kind == "loop of directories":
        path.symlink_to(path.parent, target_is_directory=True)
    elif kind == "directory":
        path.mkdir()
    elif kind == "deep colours":
        Image.fromarray(np.zeros((4, 6), dtype=np.uint16)).save(path)
    elif kind == "pipe":
        os.mkfifo(path)
    else:
        path.write_bytes(
            {"truncated": whole[:60], "text": b"hiv", "empty": b"", "bomb": bomb(), "pickle": b"\x80\x04."}[
                kind
            ]
        )


@pytest.mark.parametrize(
    "kind",
    [
        "truncated",
        "text",
        "empty",
        "bomb",
        "pickle",
        "loop",
        "loop of directories",
        "directory",
        "deep colours",
        "pipe",
    ],
)
def test_a_hostile_file_is_named(tmp_path, kind: str) -> None:
    write_folder(tmp_path)
    hostile(kind, tmp_path / "train" / "malaria" / "004.png")
    message = refused(tmp_path)
    assert f"{tmp_path}/train/*/004.png: expected" in message
    assert ("moderate size" in message) is (kind == "bomb")
    assert kind != "text" or "expected an image, cannot read it as one" in message


def test_a_file_that_is_no_image_is_named_and_hidden_ones_are_passed_over(tmp_path) -> None:
    write_folder(tmp_path)
    (tmp_path / "train" / "hiv" / ".DS_Store").write_bytes(b"x")
    assert len(load(tmp_path).train_labels) == 12
    (tmp_path / "train" / "hiv" / "notes.txt").write_text("hiv")
    assert "train/*/notes.txt: expected only images" in refused(tmp_path)


def test_what_is_missing_or_too_much_is_said(tmp_path) -> None:
    assert "expected two or more" in refused_empty(tmp_path)
    write_folder(tmp_path)
    assert "with another name" in refused(tmp_path, "hiv,tbc")
    assert "two or more different classes" in refused(tmp_path, "hiv,hiv")
    for path in (tmp_path / "test").rglob("*.png"):
        path.unlink()
    assert f"Expected images in {tmp_path}/test" in refused(tmp_path)
    for path in (tmp_path / "test").iterdir():
        path.rmdir()
    (tmp_path / "test").rmdir()
    assert f"{tmp_path}/test" in refused(tmp_path)
    assert "nowhere" in refused(tmp_path / "nowhere")


def refused_empty(root: Path) -> str:
    (root / "train").mkdir()
    message = refused(root)
    (root / "train").rmdir()
    return message


TABLES = {
    "another class": (lambda rows: [*rows[:-1], [*rows[-1][:2], "plague"]], "one of --data.classes"),
    "another split": (lambda rows: [*rows[:-1], [rows[-1][0], "hiv", "hiv"]], "train or test"),
    "columns swapped": (lambda rows: [rows[0], *([c, b, a] for a, b, c in rows[1:])], "expected"),
    "outside": (
        lambda rows: [*rows, ["../x.png", "train", "hiv"]],
        "inside the folder, got another in row 19",
    ),
    "below and out": (lambda rows: [*rows, ["a/../../x.png", "train", "hiv"]], "inside the folder"),
    "absolute": (lambda rows: [*rows, ["/etc/passwd", "train", "hiv"]], "inside the folder"),
    "missing file": (lambda rows: [*rows, ["hiv/no.png", "train", "hiv"]], "row 19: expected an image"),
    "short row": (lambda rows: [*rows, ["no.png", "train"]], "3 columns in row 19, got 2"),
    "no header": (lambda rows: rows[1:], "columns file, split and class"),
    "nothing": (lambda rows: [], "columns file, split and class"),
    "no test": (lambda rows: [row for row in rows if row[1] != "test"], "the split test"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_a_wrong_table_is_refused_without_a_label(tmp_path, kind: str) -> None:
    write_table(tmp_path)
    table = tmp_path / "labels.csv"
    with table.open(newline="") as file:
        rows = list(csv.reader(file))
    change, word = TABLES[kind]
    with table.open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))
    message = refused(tmp_path, ",".join(CLASSES))
    assert word in message
    assert "plague" not in message


def test_a_table_needs_named_classes(tmp_path) -> None:
    """Taken from the table they would be taken from the labels."""
    write_table(tmp_path)
    assert "name them: --data.classes" in refused(tmp_path)
    (tmp_path / "labels.csv").write_bytes(b"file,split,class\n\xff\xfe")
    assert "CSV file in UTF-8" in refused(tmp_path, "hiv,tbc")


def test_the_configuration_asks_for_what_a_folder_needs() -> None:
    with pytest.raises(ValueError, match=r"data\.directory"):
        config.Data(name="folder")
    with pytest.raises(ValueError, match=r"data\.classes"):
        config.Data(name="mnist", classes="a,b")
    with pytest.raises(ValueError, match=r"data\.shape"):
        config.Data(name="mnist", shape="1x28x28")
    for shape in ("28x28", "2x28x28", "1x0x8", "1x28x28x1", "1 x 28 x 28"):
        with pytest.raises(ValueError, match="CHANNELSxHEIGHTxWIDTH"):
            config.Data(name="folder", directory="x", shape=shape)


PROMISES = {
    "a private teacher": {"teacher": {"kind": "private", "model": "tanh-convnet"}},
    "a certificate": {"teacher": {"kind": "file", "path": "x", "certificate": "y"}},
    "a pool without the teacher": {"pool": {"trajectory": 0.0, "procedural": 1.0}},
}


@pytest.mark.parametrize("promise", PROMISES)
def test_what_promises_something_about_records_declares_shape_and_classes(promise: str) -> None:
    data = {"name": "folder", "directory": "x"}
    for missing in ({}, {"classes": "a,b"}, {"shape": "1x8x8"}):
        with pytest.raises(UsageError, match=r"data\.shape and data\.classes"):
            configuration({"data": data | missing, **PROMISES[promise]})
    configuration({"data": data | {"classes": "a,b", "shape": "1x8x8"}, **PROMISES[promise]})
    configuration({"data": data})  # nothing is promised about a record here
    configuration(PROMISES[promise])  # published data sets have one shape


def test_a_loop_that_a_table_names_is_refused(tmp_path) -> None:
    write_table(tmp_path)
    (tmp_path / "loop.png").symlink_to("loop.png")
    with (tmp_path / "labels.csv").open("a") as file:
        file.write("loop.png,train,hiv\n")
    assert "row 19: expected an image file" in refused(tmp_path, ",".join(CLASSES))


def test_a_file_that_may_not_be_looked_at_is_named_without_its_class(tmp_path, monkeypatch) -> None:
    write_folder(tmp_path)
    is_file = Path.is_file

    def denied(path: Path) -> bool:
        if path.name == "004.png":
            raise PermissionError(13, "Permission denied", str(path))
        return is_file(path)

    monkeypatch.setattr(Path, "is_file", denied)
    assert "train/*/004.png: expected an image file" in refused(tmp_path)
