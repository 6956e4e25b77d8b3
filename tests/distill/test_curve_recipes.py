"""How curves train on each kind of data: the network of three convolutions and the recipe for CIFAR-10."""

from dataclasses import replace

import msgspec
import numpy as np
import pytest

from distill import data, models
from distill.curves import RECIPES, Recipe, Sweep, read_rows, run
from distill.label_learning import METHODS, learn
from distill.randomness import stream
from distill.train import accuracy
from labeldp import SeededSource
from tests.distill.small_data import write_cifar

CIFAR = RECIPES["cifar-10"]


def faster(recipe: Recipe, *, epochs: int, batch_size: int) -> Recipe:
    return replace(
        recipe, epochs=(epochs,), student=msgspec.structs.replace(recipe.student, batch_size=batch_size)
    )


def stripes(*, informative: bool, n: int = 360) -> data.Dataset:
    """Coloured images of 32 x 32: the class is the width of horizontal stripes, which neither shifts nor mirrors change."""
    rng = np.random.default_rng(0)
    labels = rng.integers(3, size=n)
    width = np.array([1, 2, 4])[labels]
    rows = (np.arange(32) + rng.integers(16, size=(n, 1))) // width[:, None] % 2
    images = 0.4 * rows[:, None, :, None] + rng.random((n, 3, 1, 1)) * 0.4 + rng.random((n, 3, 32, 32)) * 0.2
    told = labels if informative else rng.permutation(labels)
    images = images.astype(np.float32)
    return data.Dataset("stripes", images[:240], told[:240], images[240:], told[240:], 3, "")


@pytest.mark.parametrize("informative", [True, False])
def test_three_convolutions_learn_coloured_images_from_noisy_labels(informative: bool) -> None:
    """The recipe for CIFAR-10 in small; where labels have nothing to do with the images, it learns nothing."""
    dataset = stripes(informative=informative)
    learner = faster(CIFAR, epochs=8, batch_size=32).learner(seed=0, device="cpu")
    learnt = learn(dataset, METHODS["subset"](2.0, 3), learner, source=SeededSource(0))
    right = accuracy(learnt.model, dataset.test_images, dataset.test_labels)
    assert (right > 0.8) is informative
    assert informative or right < 0.55


def test_three_convolutions_are_a_small_network() -> None:
    """Of the size of the networks that published tables of a small CNN on CIFAR-10 use."""
    model = models.build("convnet-3", shape=(3, 32, 32), num_classes=10, generator=stream(0, "x"))
    assert 1e5 < sum(p.numel() for p in model.parameters()) < 1e6
    assert sum(type(layer).__name__ == "Conv2d" for layer in model.modules()) == 3


def test_a_sweep_of_cifar_10_runs(tmp_path) -> None:
    write_cifar(tmp_path)
    recipe = faster(CIFAR, epochs=1, batch_size=25)
    sweep = Sweep("cifar-10", recipe, ("subset", "clean"), (1.0,), seeds=1, directory=str(tmp_path))
    rows = run(sweep, tmp_path / "runs.jsonl", quiet=True)
    assert [row["method"] for row in rows] == ["subset", "clean"]
    assert rows == read_rows(tmp_path / "runs.jsonl")
    assert {(row["recipe"]["model"], row["recipe"]["shift"], row["recipe"]["mirrored"]) for row in rows} == {
        ("convnet-3", 4, True)
    }
