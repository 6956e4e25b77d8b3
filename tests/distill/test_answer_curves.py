"""Curves of distillation: one teacher and one pool for each seed, and what is said about releasing all runs."""

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from distill.answer_curves import AnswerSweep, finished_run
from distill.config import Config
from distill.config_file import configuration
from distill.curve_report import NOTICE, write
from distill.curves import run
from distill.usage import UsageError
from tests.distill.conftest import TINY


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> AnswerSweep:
    folder = tmp_path_factory.mktemp("answers")
    return AnswerSweep(
        configuration(TINY), ("rr", "subset+srr"), (1.0, 8.0), seeds=1, folder=folder / "private"
    )


@pytest.fixture(scope="module")
def rows(sweep: AnswerSweep) -> list[dict]:
    return run(sweep, sweep.folder.parent / "runs.jsonl", quiet=True)


def test_all_runs_of_a_seed_ask_one_teacher(sweep: AnswerSweep, rows: list[dict], monkeypatch) -> None:
    assert [(row["method"], row["epsilon"]) for row in rows] == [
        ("clean", None), ("rr", 1.0), ("rr", 8.0), ("subset+srr", 1.0), ("subset+srr", 8.0)
    ]  # fmt: skip
    assert len({row["teacher"] for row in rows}) == 1
    assert {row["unit"] for row in rows} == {"answer"}
    (base,) = (path for path in sweep.folder.iterdir() if path.is_dir())
    pool = hashlib.sha256((base / "private" / "pool.safetensors").read_bytes()).hexdigest()
    assert {row["pool_digest"] for row in rows} == {pool[:16]}
    asked = []
    monkeypatch.setattr("distill.recipe.run", lambda *a, **k: asked.append(a))
    run(sweep, sweep.folder.parent / "runs.jsonl", quiet=True)
    assert not asked  # the twin of the next line: with one line less, one run is missing
    file = sweep.folder.parent / "shorter.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    with pytest.raises(AttributeError):  # the replaced function has no report
        run(sweep, file, quiet=True)
    assert len(asked) == 1


def changed(config: Config, section: str, **values) -> Config:
    return msgspec.structs.replace(
        config, **{section: msgspec.structs.replace(getattr(config, section), **values)}
    )


def test_another_configuration_gets_a_teacher_of_its_own(tmp_path, monkeypatch) -> None:
    config = configuration(TINY)
    configs = [
        config,
        changed(config, "teacher", epochs=7),
        changed(config, "student", epochs=7),
        changed(config, "privacy", source="seeded"),
    ]

    def made(config: Config, run: Path, *, quiet: bool) -> None:
        run.mkdir()
        (run / "report.json").write_text(str(configs.index(config)))

    def taken(folder: Path) -> list[str]:
        return [(finished_run(one, folder, "seed-0") / "report.json").read_text() for one in configs * 2]

    monkeypatch.setattr("distill.recipe.run", made)
    assert taken(tmp_path / "one") == ["0", "1", "2", "3"] * 2
    monkeypatch.setattr(
        "distill.answer_curves._digest", lambda content: ""
    )  # the twin: named by the seed alone
    assert taken(tmp_path / "two") == ["0"] * 8


def test_a_larger_grid_asks_the_same_teacher(sweep: AnswerSweep, rows: list[dict], monkeypatch) -> None:
    asked = []
    monkeypatch.setattr("distill.recipe.run", lambda config, *a, **k: asked.append(config))
    with pytest.raises(AttributeError):  # the replaced function has no report
        run(replace(sweep, epsilons=(16.0,)), sweep.folder.parent / "runs.jsonl", quiet=True)
    assert [config.privacy.stages for config in asked] == ["rr"]


def test_seeded_answers_are_not_taken_for_secret_ones(sweep: AnswerSweep) -> None:
    def keys(config: Config) -> list[dict]:
        return list(replace(sweep, config=config).cells())

    assert keys(changed(sweep.config, "privacy", source="seeded")) != keys(sweep.config)
    assert keys(changed(sweep.config, "privacy", epsilon=3.0)) == keys(sweep.config)  # the grid has its own


def test_what_runs_cost_counts_every_line_about_the_same_answers(
    rows: list[dict], tmp_path, monkeypatch
) -> None:
    monkeypatch.setattr("distill.curve_figures.save", lambda figure, path: None)

    def said(lines: list[dict]) -> str:
        (tmp_path / "runs.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        return "\n".join(write(rows, tmp_path))

    def of(seed: int, pool: str | None) -> list[dict]:
        return [{**row, "seed": seed, "pool_digest": pool} for row in rows]

    assert "epsilon 18 for each answer" in said(rows)
    assert "epsilon 36 for each answer" in said([*rows, *rows])  # two processes, or two recipes
    assert "All runs of a seed ask" in said([*of(0, "a"), *of(1, "b")])
    assert "epsilon 18 for each answer" in said([*of(0, "a"), *of(1, "b")])
    assert "epsilon 36 for each answer" in said([*of(0, "a"), *of(1, "b"), *of(1, "c")])
    for one_pool in ([*of(0, "a"), *of(1, "a")], [*of(0, None), *of(1, None)]):
        assert "epsilon 36 for each answer" in said(one_pool)
        assert "All runs ask" in said(one_pool)
    assert "epsilon 18 for each answer" in said([*rows, *({**row, "data": "mnist"} for row in rows)])
    reused = [{**row, "recipe": {**row["recipe"], "pool": {"from": "runs/one"}}} for row in rows]
    assert "beside what runs/one released" in said(reused)


def check_for_its_owner_only(path: Path) -> None:
    assert path.stat().st_mode & 0o77 == 0


def test_files_of_a_sweep_are_for_the_data_holder(sweep: AnswerSweep, rows: list[dict], tmp_path) -> None:
    (tmp_path / "curve.md").write_text("of an earlier version, for all to read")
    with pytest.raises(AssertionError):
        check_for_its_owner_only(tmp_path / "curve.md")
    write(rows, tmp_path)
    for path in (sweep.folder, sweep.folder.parent / "runs.jsonl", *tmp_path.iterdir()):
        check_for_its_owner_only(path)
    assert (tmp_path / "curve.md").read_text().startswith(NOTICE)


def test_what_all_runs_would_cost_is_said_by_unit(sweep: AnswerSweep, rows: list[dict], tmp_path) -> None:
    text = "\n".join(write(rows, tmp_path))
    assert "epsilon 18 for each answer" in text
    assert "not a guarantee" not in text.split("None of this is")[0]
    assert "epsilon for one answer of the teacher" in (tmp_path / "curve.svg").read_text()


def test_unknown_label_stages_are_refused_first(sweep: AnswerSweep) -> None:
    wrong = AnswerSweep(sweep.config, ("nothing",), (1.0,), 1, sweep.folder)
    with pytest.raises(UsageError, match="nothing"):
        run(wrong, sweep.folder / "none.jsonl", quiet=True)
    assert not (sweep.folder / "none.jsonl").exists()
