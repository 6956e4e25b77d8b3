"""Curves: what a sweep runs, keeps and says; and that learning from people's labels sees noisy labels only."""

import json
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch

from distill import config, data
from distill.config_file import UsageError
from distill.curve_data import Origin, loaded
from distill.curve_report import comparisons, table_of, write
from distill.curves import RECIPES, Recipe, Sweep, method_of, read_rows, run
from distill.distortion import shifted
from distill.label_learning import METHODS, Learner, Learnt, learn
from distill.progress import RunProgress
from labeldp import RandomizedResponse, SeededSource
from labeldp.learning.stages import StagedLabels

QUIET = RunProgress(quiet=True)
SETTINGS = config.Student(model="mlp", epochs=1, batch_size=64)
SWEEP = Sweep(
    data="digits",
    recipe=Recipe(SETTINGS, epochs=(1,)),
    methods=("rr", "clean"),
    epsilons=(1.0, 4.0),
    seeds=2,
)


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load(config.Data(name="digits"))


def learnt(
    dataset: data.Dataset, name: str = "srr", *, epsilon: float = 1.0, settings: tuple = (SETTINGS,)
) -> Learnt:
    method = None if name == "clean" else METHODS[name](epsilon, dataset.num_classes)
    learner = Learner("mlp", settings, distort=None, seed=0, device="cpu", progress=QUIET)
    return learn(dataset, method, learner, source=SeededSource(5))


def same(first: Learnt, second: Learnt) -> bool:
    weights = first.model.state_dict(), second.model.state_dict()
    return all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])


@pytest.mark.parametrize("name", METHODS)
def test_each_label_enters_one_answer(digits: data.Dataset, name: str) -> None:
    released = learnt(digits, name).released
    assert sorted(released.numbers.tolist()) == list(range(len(digits.train_labels)))
    for part in released.parts:
        assert part.mechanism.epsilon == 1.0
        assert part.guarantee(unit="label").why == "seeded randomness: not for release"


def test_a_method_learns_and_more_epsilon_helps(digits: data.Dataset) -> None:
    settings = msgspec.structs.replace(RECIPES["digits"].student, epochs=20)

    def right(epsilon: float) -> float:
        model = learnt(digits, epsilon=epsilon, settings=(settings,)).model
        with torch.no_grad():
            return float(
                (model(torch.from_numpy(digits.test_images)).argmax(1).numpy() == digits.test_labels).mean()
            )

    assert right(8.0) > 0.9
    assert right(8.0) > right(0.01) + 0.5


def model_of(digits: data.Dataset, labels: np.ndarray, monkeypatch, released: StagedLabels) -> Learnt:
    """Learns with the release replaced by a given one."""
    monkeypatch.setattr("distill.label_learning.privatize", lambda *a, **k: released)
    return learnt(replace(digits, train_labels=labels))


def test_the_model_is_a_function_of_what_was_released(digits: data.Dataset, monkeypatch) -> None:
    released = learnt(digits).released
    first = model_of(digits, digits.train_labels, monkeypatch, released)
    other = model_of(digits, (digits.train_labels + 1) % 10, monkeypatch, released)
    assert same(first, other)
    assert first.validation == other.validation
    # the twin: other answers, another model
    flipped = replace(released.parts[0], values=released.parts[0].values[:, ::-1])
    changed = StagedLabels(released.items, (flipped, released.parts[1]))
    assert not same(first, model_of(digits, digits.train_labels, monkeypatch, changed))


def test_held_out_labels_are_not_learnt_from(digits: data.Dataset, monkeypatch) -> None:
    """Change every held-out answer: the model stays, its validation score does not."""
    from distill.label_learning import _kept

    released = learnt(digits, "subset").released
    out = ~_kept(len(digits.train_labels), 0)[released.numbers]
    assert 0.08 < out.mean() < 0.12
    values = released.parts[0].values.copy()
    values[out] = ~values[out]
    changed = StagedLabels(released.items, (replace(released.parts[0], values=values),))
    monkeypatch.setattr("distill.label_learning.privatize", lambda *a, **k: released)
    first = learnt(digits, "subset")
    monkeypatch.setattr("distill.label_learning.privatize", lambda *a, **k: changed)
    second = learnt(digits, "subset")
    assert same(first, second)
    assert first.validation != second.validation


def test_epochs_are_chosen_by_held_out_noisy_labels(digits: data.Dataset) -> None:
    """Of one pass and twenty, twenty at a large epsilon; of two that learn nothing, either. The choice is the better score."""
    few, many = SETTINGS, msgspec.structs.replace(SETTINGS, epochs=20)
    chosen = learnt(digits, "subset", epsilon=4.0, settings=(few, many))
    assert chosen.settings == many
    alone = {
        settings: learnt(digits, "subset", epsilon=4.0, settings=(settings,)) for settings in (few, many)
    }
    assert chosen.validation == max(one.validation for one in alone.values())
    assert same(chosen, alone[many])
    assert not same(chosen, alone[few])


def test_a_sweep_goes_on_where_it_stopped(tmp_path, monkeypatch) -> None:
    file = tmp_path / "runs.jsonl"
    rows = run(SWEEP, file, quiet=True)
    assert [(r["method"], r["epsilon"], r["seed"]) for r in rows] == [
        (m, e, s) for s in (0, 1) for m, e in (("rr", 1.0), ("rr", 4.0), ("clean", None))
    ]
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join(lines[:4]) + lines[4][:30])  # killed while it wrote the fifth
    asked = []
    original = Sweep.run_cell
    monkeypatch.setattr(Sweep, "run_cell", lambda sweep, cell: asked.append(cell) or original(sweep, cell))
    again = run(SWEEP, file, quiet=True)
    assert len(asked) == 2
    assert [r["score"] for r in again if r["method"] == "clean"] == [
        r["score"] for r in rows if r["method"] == "clean"
    ]
    assert again[:4] == rows[:4]
    run(SWEEP, file, quiet=True)
    assert len(asked) == 2  # nothing is missing now
    other = replace(SWEEP, recipe=Recipe(SETTINGS, epochs=(1,), shift=1), seeds=1)
    run(other, file, quiet=True)
    assert len(asked) == 5  # another recipe is another run


def test_processes_give_what_one_gives(tmp_path) -> None:
    sweep = replace(SWEEP, methods=("clean",))
    one = run(sweep, tmp_path / "one.jsonl", quiet=True)
    two = run(sweep, tmp_path / "two.jsonl", jobs=2, quiet=True)
    assert [r["score"] for r in one] == [r["score"] for r in two]
    assert len(read_rows(tmp_path / "two.jsonl")) == 2


def test_a_rare_class_is_scored_by_rank() -> None:
    from distill.curves import _score

    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(200, 3)).astype(np.float32), (rng.random(200) < 0.1).astype(int)
    features[labels == 1, 0] += 1
    table = data.Dataset("t", features[:, None, None], labels, features[:, None, None], labels, 2, "")
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3, 2)).eval()
    with torch.no_grad():
        model[1].weight[:] = torch.tensor([[0.0, 0, 0], [1.0, 0, 0]])
    pairs = features[labels == 1, 0][:, None] - features[labels == 0, 0]
    assert _score(model, table, "auc") == pytest.approx((pairs > 0).mean(), abs=1e-6)
    assert _score(model, table, "accuracy") != pytest.approx((pairs > 0).mean(), abs=1e-2)


def test_a_regression_is_no_curve_of_classes() -> None:
    with pytest.raises(ValueError, match="real numbers"):
        loaded(Origin("diabetes"))


def subset_of_three(epsilon: float, num_classes: int) -> RandomizedResponse:
    """A mechanism of a user."""
    return RandomizedResponse(epsilon, num_classes)


def test_a_mechanism_of_ones_own() -> None:
    method = method_of("tests.distill.test_curves:subset_of_three", 1.0, 10)
    assert method.stages[0].mechanism == RandomizedResponse(1.0, 10)
    for name in ("nothing", "nothing:at_all", "tests.distill.test_curves:nothing"):
        with pytest.raises(UsageError, match="Expected a"):
            method_of(name, 1.0, 10)


def made_up(accuracies: dict[str, list[float]], *, images: int = 10**6) -> list[dict]:
    return [
        {"unit": "label", "data": "digits", "method": method, "epsilon": 1.0, "seed": seed, "score": value,
         "num_classes": 10, "test_items": images,
         "recipe": {"score": "accuracy"}}
        for method, values in accuracies.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_one_beats_another_only_where_seeds_and_images_say_so() -> None:
    clear = {"a": [0.90, 0.91, 0.92], "b": [0.80, 0.81, 0.82]}
    (said,) = comparisons(made_up(clear))
    assert said.startswith("epsilon 1: a beats b by 10.0 points")
    assert not comparisons(made_up(clear, images=20))  # three lucky images
    assert not comparisons(made_up({"a": [0.90, 0.99, 0.80], "b": [0.80, 0.81, 0.82]}))  # noisy seeds
    assert not comparisons(made_up({"a": [0.90, 0.91], "b": [0.80, 0.81]}))  # two seeds


def test_differences_are_paired() -> None:
    """Seeds that are good for both methods do not hide a difference; unpaired, they would."""
    paired = {"a": [0.52, 0.72, 0.92], "b": [0.50, 0.70, 0.90]}
    assert comparisons(made_up(paired))
    assert not comparisons(made_up({"a": [0.92, 0.52, 0.72], "b": [0.50, 0.70, 0.90]}))


def test_false_differences_are_rare() -> None:
    """Two equal methods, 2000 sweeps of 5 seeds: at most 5 % say that one beats the other; without the interval, all do."""
    rng = np.random.default_rng(0)
    said = sum(
        bool(
            comparisons(
                made_up({"a": rng.normal(0.8, 0.01, 5).tolist(), "b": rng.normal(0.8, 0.01, 5).tolist()})
            )
        )
        for _ in range(2000)
    )
    assert said <= 0.065 * 2000  # alarm 1e-3 at a rate of 5 %


def test_the_page_of_a_sweep(tmp_path) -> None:
    rows = made_up({"a": [0.90, 0.91, 0.92], "b": [0.80, 0.81, 0.82]})
    rows += [{**row, "method": "clean", "epsilon": None, "score": 0.95} for row in rows[:3]]
    lines = write(rows, tmp_path)
    assert "| a | 91.0 (90.0 to 92.0) |" in table_of(rows)
    assert "one person's label" in lines[0]
    assert "epsilon 6 for each label" in "\n".join(lines)  # 2 methods, 3 seeds, epsilon 1
    assert {path.name for path in tmp_path.iterdir()} == {"curve.png", "curve.svg", "curve.md"}
    text = (tmp_path / "curve.svg").read_text()
    assert "true labels: 95.0 %" in text
    assert "epsilon for one person's label" in text


def test_two_units_never_share_a_figure(tmp_path) -> None:
    rows = made_up({"a": [0.9], "b": [0.8]})
    with pytest.raises(ValueError, match="unpack"):
        write([*rows, {**rows[0], "unit": "answer"}], tmp_path)


def test_shifted_images_are_the_same_images_elsewhere() -> None:
    images = torch.zeros(64, 1, 9, 9)
    images[:, 0, 4, 4] = 1
    moved = shifted(2)(images, torch.Generator().manual_seed(0))
    assert moved.shape == images.shape
    assert torch.equal(moved.sum((1, 2, 3)), torch.ones(64))
    places = {(int(i), int(j)) for _, _, i, j in moved.nonzero()}
    assert places <= {(i, j) for i in range(2, 7) for j in range(2, 7)}
    assert len(places) > 15
    assert torch.equal(shifted(0)(images, torch.Generator()), images)
    half = torch.zeros(400, 1, 1, 2)
    half[..., 0] = 1
    mirrored = shifted(0, mirrored=True)(half, torch.Generator().manual_seed(0))
    assert 150 < int(mirrored[..., 1].sum()) < 250


@pytest.mark.parametrize(
    "arguments", [["--data", "nothing"], ["--epsilons", "one"], ["--mechanisms", "nothing"]]
)
def test_bad_usage_is_one_line(arguments: list[str], tmp_path, capsys) -> None:
    from distill.cli import main

    with pytest.raises(SystemExit) as stop:
        main(["curve", "--out", str(tmp_path), *arguments])
    assert stop.value.code == 2
    assert capsys.readouterr().err.startswith("labeldp: Expected")


def test_lines_say_all_that_a_run_was(tmp_path) -> None:
    (row,) = run(replace(SWEEP, methods=("clean",), seeds=1), tmp_path / "runs.jsonl", quiet=True)
    assert row == json.loads((tmp_path / "runs.jsonl").read_text())
    assert set(row) == {"unit", "data", "method", "epsilon", "seed", "recipe", "score", "validation",
                        "num_classes", "test_items", "epochs", "seconds"}  # fmt: skip
    assert (row["recipe"]["epochs"], row["epochs"]) == ([1], 1)
