"""`labeldp curve` on published data and on one's own: what is trained, what is refused, and which runs are known again."""

import csv
from pathlib import Path

import numpy as np
import pytest

from distill import data
from distill.cli import main
from distill.curve_choice import REAL_VALUED, recipe_for, sweep_of
from distill.curve_data import Origin
from distill.curves import RECIPES, Sweep, read_rows, run
from distill.regression_curves import RegressionSweep
from tests.distill.small_data import write_cifar
from tests.distill.test_data_folder import write_folder
from tests.distill.test_own_table import write as write_rows


def curve(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stop:
        main(["curve", *map(str, arguments)])
    return int(stop.value.code or 0)


def refused(capsys, *arguments: str) -> str:
    """The one line that refuses a command line."""
    assert curve(*arguments) == 2
    error = capsys.readouterr().err
    assert error.startswith("labeldp: Expected")
    assert error.count("\n") == 1
    return error


def table_of_people(path: Path, n: int = 120) -> Path:
    rng = np.random.default_rng(0)
    ages = rng.normal(50, 9, n)
    rows = [[f"{age:.1f}", "ill" if age > 50 else "well", f"{age / 10:.3f}"] for age in ages]
    return write_rows(path, rows, ["age", "state", "decades"])


def chosen(origin: Origin, **rest):
    empty = {"methods": (), "epsilons": (1.0,), "seeds": 1, "epochs": (), "model": "", "device": "cpu"}
    return sweep_of(origin, **{**empty, **rest})


def test_a_folder_of_ones_own(tmp_path, capsys) -> None:
    write_folder(tmp_path / "cells", colour=True)
    out = tmp_path / "out"
    options = ["--data", "folder", "--directory", tmp_path / "cells", "--epsilons", "1", "--seeds", "1"]
    options += ["--mechanisms", "rr,clean", "--epochs", "1", "--out", out]
    assert curve(*options) == 0
    rows = read_rows(out / "runs.jsonl")
    assert [(row["data"], row["method"], row["num_classes"]) for row in rows] == [
        ("cells", "rr", 3),
        ("cells", "clean", 3),
    ]
    assert {path.name for path in out.iterdir()} == {"runs.jsonl", "curve.png", "curve.svg", "curve.md"}
    assert "one person's label" in capsys.readouterr().out


def test_other_images_are_other_runs_and_labels_leave_no_trace(tmp_path) -> None:
    """What a run is known by hangs on images alone: a digest of labels in a file of results would tell of them."""
    for name, seed, labels in (("a", 0, "012"), ("b", 0, "210"), ("c", 1, "012")):
        write_folder(tmp_path / name, seed=seed, labels=labels)
    one, swapped, other = (Origin("folder", str(tmp_path / name)).identity()["features"] for name in "abc")
    assert one == swapped
    assert one != other
    named = Origin("folder", str(tmp_path / "a"), classes=("tbc", "hiv", "malaria")).identity()["features"]
    assert named != one  # other classes are other runs


def test_a_sweep_of_ones_own_goes_on_where_it_stopped(tmp_path) -> None:
    write_folder(tmp_path / "a")
    write_folder(tmp_path / "b" / "a", seed=1)
    file, asked = tmp_path / "runs.jsonl", {"methods": ("clean",), "epochs": (1,)}
    for folder, lines in (("a", 1), ("a", 1), ("b/a", 2)):  # two folders of one name
        run(chosen(Origin("folder", str(tmp_path / folder)), **asked), file, quiet=True)
        assert len(read_rows(file)) == lines


def test_a_table_of_ones_own(tmp_path) -> None:
    path = table_of_people(tmp_path / "people.csv")
    options = ["--data", path, "--label", "state", "--classes", "well,ill", "--epsilons", "8", "--seeds", "1"]
    assert curve(*options, "--mechanisms", "subset,clean", "--out", tmp_path / "out") == 0
    rows = read_rows(tmp_path / "out" / "runs.jsonl")
    assert [(row["data"], row["recipe"]["model"]) for row in rows] == [("people.csv", "mlp")] * 2
    assert min(row["score"] for row in rows) > 0.8  # the age tells the state


def test_real_valued_labels_of_ones_own(tmp_path, capsys) -> None:
    path = table_of_people(tmp_path / "people.csv")
    options = ["--data", path, "--label", "decades", "--range", "0,10", "--epsilons", "8", "--seeds", "1"]
    assert curve(*options, "--mechanisms", "unbiased,clean", "--out", tmp_path / "out") == 0
    noisy, clean = read_rows(tmp_path / "out" / "runs.jsonl")
    assert max(clean["score"], noisy["score"]) < noisy["floor"] / 2  # at epsilon 8 either may be nearer
    assert "root mean squared error, lower is better" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("shape", "n", "model", "batch_size", "shift"),
    [
        ((1, 1, 30), 100, "mlp", 64, 0),
        ((1, 8, 8), 20_000, "mlp", 256, 1),
        ((1, 28, 28), 100, "convnet", 64, 2),
        ((3, 16, 16), 100, "convnet", 64, 2),
        ((3, 32, 32), 20_000, "convnet-3", 256, 4),
    ],
)
def test_the_network_suits_the_shape(shape, n: int, model: str, batch_size: int, shift: int) -> None:
    images, labels = np.empty((n, *shape), dtype=np.float32), np.zeros(n, dtype=np.int64)
    recipe = recipe_for(data.Dataset("own", images, labels, images, labels, 2, ""))
    assert (recipe.student.model, recipe.student.batch_size, recipe.shift) == (model, batch_size, shift)
    assert not recipe.mirrored  # letters would become others


def test_a_network_may_be_named(tmp_path, capsys) -> None:
    write_cifar(tmp_path)
    origin = Origin("cifar-10", str(tmp_path))
    assert chosen(origin).recipe == RECIPES["cifar-10"]
    assert chosen(origin, model="convnet-small", epochs=(3,)).recipe.to_dict() == {
        **RECIPES["cifar-10"].to_dict(),
        "model": "convnet-small",
        "epochs": [3],
    }
    assert "--model to be one of mlp" in refused(capsys, "--model", "huge")


def test_labels_decide_the_kind_of_sweep() -> None:
    """Every published set has its curve: classes a network, real values a regression."""
    assert {*RECIPES, *REAL_VALUED} == set(data.ENTRIES)
    assert isinstance(chosen(Origin("digits")), Sweep)
    assert isinstance(chosen(Origin("diabetes")), RegressionSweep)
    assert isinstance(chosen(Origin("a.parquet", label="x", label_range=(0.0, 1.0))), RegressionSweep)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--data", "nothing"], "--data among digits"),
        (["--data", "digits", "--classes", "a,b"], "--classes with data of your own"),
        (["--data", "digits", "--label", "a"], "--label and --range with a table"),
        (["--data", "folder"], "--directory DIR with --data folder"),
        (["--data", "folder", "--directory", "nowhere"], "Expected --directory to be a folder"),
        (["--data", "a.csv"], "--label COLUMN"),
        (["--data", "a.csv", "--label", "x"], "--classes A,B,... or --range LOW,HIGH"),
        (["--data", "a.csv", "--label", "x", "--classes", "a,b", "--range", "0,1"], "one of them"),
        (["--data", "a.csv", "--label", "x", "--classes", "a,b", "--directory", "d"], "no --directory"),
        (["--data", "a.csv", "--label", "x", "--classes", "a,b"], "CSV file"),
        (["--data", "a.csv", "--label", "x", "--range", "0,1"], "CSV file"),
        (["--data", "a.csv", "--label", "x", "--range", "0"], "--range LOW,HIGH"),
        (["--data", "diabetes", "--epochs", "3"], "no --epochs and no --model"),
        (["--data", "diabetes", "--mechanisms", "rr"], "a method among bins"),
        (["--analytic", "--classes", "many"], "a number of classes"),
    ],
)
def test_what_does_not_go_together_is_one_line(arguments, line: str, tmp_path, capsys) -> None:
    assert line in refused(capsys, *arguments, "--out", str(tmp_path))


def test_a_label_that_is_no_class_is_not_told(tmp_path, capsys) -> None:
    path = table_of_people(tmp_path / "people.csv")
    with path.open() as file:
        rows = list(csv.reader(file))
    rows[9][1] = "dead"
    write_rows(path, rows[1:], rows[0])
    error = refused(capsys, "--data", path, "--label", "state", "--classes", "well,ill")
    assert "dead" not in error
    assert "9" not in error.replace(str(path), "")
