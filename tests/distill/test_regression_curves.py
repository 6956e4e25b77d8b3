"""Curves of real-valued labels: what is released, what is learnt from it, and that lower is better everywhere."""

from dataclasses import replace

import numpy as np
import pytest

import labeldp
from distill import data
from distill.curve_data import Origin
from distill.curve_figures import draw
from distill.curve_report import comparisons, table_of, write
from distill.curves import read_rows, run
from distill.regression_curves import (
    COUNTED,
    METHODS,
    RegressionRecipe,
    RegressionSweep,
    learnt,
    method_of,
    root_mean_square,
)
from distill.usage import UsageError
from labeldp import RandomizedResponseOnBins, SeededSource
from tests.distill.small_data import write_adult

RECIPE = RegressionRecipe(bins=16, rounds=3)
SWEEP = RegressionSweep(Origin("diabetes"), ("bins", "unbiased", "clean"), (1.0, 8.0), seeds=2, recipe=RECIPE)


@pytest.fixture(scope="module")
def diabetes() -> data.Table:
    return data.load_table("diabetes")


@pytest.fixture
def released(monkeypatch) -> list[tuple]:
    """What is called with labels: (call, labels, epsilon), in order."""
    calls = []
    privatize, histogram = labeldp.privatize, labeldp.laplace_histogram

    def answered(mechanism, labels, **rest):
        calls.append(("answered", np.array(labels), mechanism.epsilon))
        return privatize(mechanism, labels, **rest)

    def counted(labels, num_classes, epsilon, **rest):
        calls.append(("counted", np.array(labels), epsilon))
        return histogram(labels, num_classes, epsilon, **rest)

    monkeypatch.setattr(labeldp, "privatize", answered)
    monkeypatch.setattr(labeldp, "laplace_histogram", counted)
    return calls


def assert_each_label_once(calls: list[tuple], n: int, epsilon: float) -> None:
    assert sum(len(labels) for _, labels, _ in calls) == n
    assert {spent for _, _, spent in calls} == {epsilon}
    assert all(len(labels) for _, labels, _ in calls)


@pytest.mark.parametrize("name", METHODS)
def test_each_label_is_counted_once_or_answered_once(diabetes, released, name: str) -> None:
    """The epsilon of a cell is what one label pays: counted and answered items are different ones."""
    learnt(diabetes, METHODS[name], 1.0, RECIPE, seed=0)
    n = len(diabetes.train_labels)
    assert_each_label_once(released, n, 1.0)
    assert [call for call, _, _ in released] == (
        ["counted", "answered"] if METHODS[name].counted else ["answered"]
    )
    if METHODS[name].counted:
        assert abs(len(released[0][1]) / n - COUNTED) < 0.06
    with pytest.raises(AssertionError):  # the twin: a label in two releases
        assert_each_label_once([*released, released[0]], n, 1.0)


@pytest.mark.filterwarnings("ignore::labeldp.PrivacyWarning")
@pytest.mark.parametrize("name", METHODS)
def test_the_model_is_a_function_of_what_was_released(diabetes, monkeypatch, name: str) -> None:
    """With the releases replaced by given ones, other labels give the same model; other answers give another."""
    grid = RECIPE.grid(*diabetes.label_range)
    mechanism = METHODS[name].make(1.0, grid, (1.0,) * len(grid))
    numbers = np.arange(len(diabetes.train_labels))

    def predicted(labels, shift: int) -> np.ndarray:
        def answers(made, given, **rest):
            outputs = mechanism.outputs()
            values = outputs[(numbers[: len(given)] + shift) % len(outputs)]
            true = labeldp.release.privatize(mechanism, np.full(len(given), grid[0]), source=SeededSource(0))
            return replace(true, values=values)

        monkeypatch.setattr(labeldp, "privatize", answers)
        monkeypatch.setattr("distill.regression_curves._counted", lambda *a: (1.0,) * len(grid))
        model = learnt(replace(diabetes, train_labels=labels), METHODS[name], 1.0, RECIPE, seed=0)
        return model.predict(diabetes.test_features)

    first = predicted(diabetes.train_labels, 0)
    np.testing.assert_array_equal(first, predicted(diabetes.train_labels[::-1], 0))
    assert not np.array_equal(first, predicted(diabetes.train_labels, 1))


@pytest.mark.filterwarnings("ignore::labeldp.PrivacyWarning")
@pytest.mark.parametrize("name", METHODS)
def test_much_epsilon_comes_to_true_labels_and_little_does_not(diabetes, name: str) -> None:
    def error(method, epsilon: float) -> float:
        model = learnt(diabetes, method, epsilon, RECIPE, seed=0, source=SeededSource(0))
        return float(np.sqrt(np.mean((model.predict(diabetes.test_features) - diabetes.test_labels) ** 2)))

    clean = error(None, 1.0)
    assert clean < 60
    assert error(METHODS[name], 20.0) < clean + 4
    assert error(METHODS[name], 0.05) > clean + 4


def test_lines_hold_error_floor_and_variance(tmp_path, diabetes) -> None:
    rows = run(SWEEP, tmp_path / "runs.jsonl", quiet=True)
    assert rows == read_rows(tmp_path / "runs.jsonl")
    assert len(rows) == 2 * (2 * 2 + 1)
    low, high = diabetes.label_range
    errors = diabetes.test_labels - (low + high) / 2
    for row in rows:
        assert row["floor"] == pytest.approx(np.sqrt((errors**2).mean()))
        assert 0 < row["score"] < 2 * row["floor"]
        assert (row["unit"], row["test_items"]) == ("label", len(diabetes.test_labels))
    clean = [row["score"] for row in rows if row["method"] == "clean"]
    assert clean[0] == clean[1] == min(clean)


def test_the_variance_of_an_error_is_that_of_other_test_items() -> None:
    """Against the spread over many test sets; twice as much would be seen."""
    errors = np.random.default_rng(0).normal(3, 2, size=(4000, 88))
    scores, variances = np.transpose([root_mean_square(row) for row in errors])
    assert np.mean(variances) == pytest.approx(scores.var(), rel=0.1)
    assert 2 * np.mean(variances) != pytest.approx(scores.var(), rel=0.1)


def made_up(errors: dict[str, list[float]], *, variance: float = 1e-4) -> list[dict]:
    return [
        {"unit": "label", "data": "diabetes", "method": method, "epsilon": 1.0, "seed": seed, "score": value,
         "item_variance": variance, "floor": 80.0, "test_items": 88, "recipe": {"score": "rmse"}}
        for method, values in errors.items()
        for seed, value in enumerate(values)
    ]  # fmt: skip


def test_the_lower_error_beats_the_higher() -> None:
    clear = {"a": [60.0, 61.0, 62.0], "b": [70.0, 71.0, 72.0]}
    (said,) = comparisons(made_up(clear))
    assert said.startswith("epsilon 1: a beats b by 10.00 (")
    assert not comparisons(made_up(clear, variance=50.0))  # few test items
    # the twin: read as accuracies, the same numbers say the opposite
    shares = [
        {**{k: v for k, v in row.items() if k != "item_variance"}, "score": row["score"] / 100,
         "test_items": 10**6, "recipe": {"score": "accuracy"}}
        for row in made_up(clear)
    ]  # fmt: skip
    assert comparisons(shares)[0].startswith("epsilon 1: b beats a by 10.0 points")


def test_the_page_says_which_way_is_better(tmp_path) -> None:
    rows = made_up({"a": [60.0, 61.0, 62.0], "b": [70.0, 71.0, 72.0]})
    rows += [{**row, "method": "clean", "epsilon": None, "score": 55.0} for row in rows[:3]]
    lines = write(rows, tmp_path)
    table = table_of(rows)
    assert table.startswith(
        "| root mean squared error, lower is better, epsilon for one person's label | 1 |"
    )
    assert "| a | 61.00 (60.00 to 62.00) |" in table
    assert table.endswith("| middle of the range, no labels | 80.00 |")
    assert "points" not in "\n".join(lines)
    figure = (tmp_path / "curve.svg").read_text()
    assert "lower is better" in figure
    assert "true labels: 55.00" in figure
    bottom, top = draw(rows).axes[0].get_ylim()
    assert bottom < 55 < 80 < top  # the floor of an error is above


def answers_of_a_user(epsilon: float, values: tuple, prior: tuple) -> RandomizedResponseOnBins:
    """A mechanism of a user."""
    return RandomizedResponseOnBins(epsilon, values, prior, loss="absolute")


def labels_of_classes(epsilon: float, values: tuple, prior: tuple) -> labeldp.RandomizedResponse:
    """Not one for real values."""
    return labeldp.RandomizedResponse(epsilon, len(values))


def test_a_mechanism_of_ones_own() -> None:
    here = "tests.distill.test_regression_curves"
    assert method_of(f"{here}:answers_of_a_user").make is answers_of_a_user
    replace(SWEEP, methods=(f"{here}:answers_of_a_user",)).check()
    for name, said in (
        ("rr", "a method among bins"),
        (f"{here}:labels_of_classes", "got RandomizedResponse"),
    ):
        with pytest.raises(UsageError, match=said):
            replace(SWEEP, methods=(name,)).check()


def test_classes_are_no_real_values(tmp_path) -> None:
    write_adult(tmp_path)
    with pytest.raises(UsageError, match="has classes"):
        replace(SWEEP, origin=Origin("adult", str(tmp_path))).check()
