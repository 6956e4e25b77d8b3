"""The ablation of answers: every variant asks each answer once with one epsilon, and priors are measured where there are any."""

import math

import pytest

from benchmarks import ablation
from benchmarks.ablation import CLEAN, drawn, measured, table
from benchmarks.ablation_variants import LINES, PRIORS, SEED, VARIANTS
from distill import analytic_curves

TINY = {
    "teacher.epochs": "4",
    "generator.steps": "40",
    "generator.restart": "20",
    "generator.warmup": "5",
    "pool.size": "2000",
    "student.epochs": "2",
    "student.batch_size": "100",
}
NOTHING_KNOWN = "prior: nothing known (rr twice)"


@pytest.mark.parametrize("name", VARIANTS)
def test_each_answer_is_asked_once_with_the_one_epsilon(name: str) -> None:
    stages = VARIANTS[name].scheme(1.5).stages
    assert sum(stage.share for stage in stages) == 1
    assert {(stage.mechanism.epsilon, stage.mechanism.num_classes) for stage in stages} == {(1.5, 10)}


def test_variants_are_different() -> None:
    """No two lines of the table ask and learn in the same way; the preset itself does, as a twin."""

    def what(name: str) -> str:
        variant = VARIANTS[name]
        return repr((variant.scheme(1.0), variant.prior, variant.pool, variant.loss_of_prior))

    assert len({what(name) for name in VARIANTS}) == len(VARIANTS)
    assert what(SEED) == what(SEED)


@pytest.fixture(scope="module")
def rows() -> list[dict]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ablation, "SETTINGS", TINY)
        patch.setattr(ablation, "EPSILONS", (0.5, 8.0))
        patch.setattr(ablation, "POOLS", {"trajectory": {}})
        patch.setattr(ablation, "VARIANTS", {name: VARIANTS[name] for name in (SEED, NOTHING_KNOWN)})
        made = list(measured(0))
        known = {ablation._key(row) for row in made}
        assert not list(measured(0, known))  # nothing is left to do; the twin: with one row less, one
        (again,) = measured(0, known - {ablation._key(made[0])})
        assert again == made[0]
        return made


def test_the_prior_of_a_stage_is_measured(rows: list[dict]) -> None:
    assert [(row["variant"], row["epsilon"]) for row in rows] == [
        (CLEAN, None), (SEED, 0.5), (SEED, 8.0), (NOTHING_KNOWN, 0.5), (NOTHING_KNOWN, 8.0)
    ]  # fmt: skip
    assert len({row["teacher"] for row in rows}) == 1
    few, many = rows[1:3]
    assert 0 < many["prior_entropy"] < few["prior_entropy"] < math.log(10)
    assert few["prior_right"] < many["prior_right"] <= 1
    # the twin: where nothing is known there is no student to measure
    assert not any("prior_right" in row for row in rows[3:])
    assert all(row["accuracy"] > few["accuracy"] for row in rows if row["epsilon"] == 8.0)


def test_the_table_and_the_figure_hold_what_was_measured() -> None:
    rows = [
        {"seed": seed, "variant": name, "pool": variant.pool, "epsilon": epsilon, "accuracy": 0.5 + 0.1 * seed,
         "prior_entropy": 1.25, "prior_right": 0.75}
        for seed in (0, 1) for name, variant in VARIANTS.items() for epsilon in ablation.EPSILONS
    ]  # fmt: skip
    rows += [
        {"seed": seed, "variant": CLEAN, "pool": pool, "epsilon": None, "accuracy": 0.99}
        for seed in (0, 1)
        for pool in ablation.POOLS
    ]
    rows.append({**rows[0], "seed": 2, "accuracy": 0.0})  # a seed that has only begun
    page = table(rows)
    assert page.count("| 55.0 (50.0 to 60.0) ") == 4 * len(VARIANTS)
    assert page.count("| 75 %, 1.25 nats ") == 4 * len(PRIORS)
    assert "| answers without noise, strokes pool | 99.0 (99.0 to 99.0) |" in page
    assert len({line.count("|") for line in page.splitlines()}) == 1
    analytic = analytic_curves.curves(ablation.EPSILONS, 10, priors={"none": math.inf, "much": 0.1})
    measured_axes, laws = drawn({"results": rows, "analytic": analytic}).axes
    assert [line.get_label() for line in measured_axes.lines] == list(LINES)
    assert measured_axes.lines[0].get_ydata() == pytest.approx([55.0] * 4)
    assert len(laws.lines) == 3 * len(ablation.EPSILONS) + 1  # two rules and a dot for each, and the floor


def test_where_nothing_is_known_selecting_by_accuracy_is_randomized_response() -> None:
    rows = analytic_curves.curves((1.0,), 10, priors={"none": math.inf, "much": 0.1})
    told = {(row["prior"], row["mechanism"]): row["information"] for row in rows}
    assert told["none", "srr, accuracy"] == pytest.approx(told["none", "rr"], rel=1e-9)
    assert told["much", "srr, accuracy"] > 1.2 * told["much", "rr"]  # the twin
