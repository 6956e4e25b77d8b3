"""Curves of distillation: one teacher and one pool for each seed, and what is said about releasing all runs."""

import json

import pytest

from distill.answer_curves import AnswerSweep
from distill.config_file import configuration
from distill.curve_report import write
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
    assert [path.name for path in sweep.folder.iterdir() if path.is_dir()] == ["seed-0"]
    asked = []
    monkeypatch.setattr("distill.recipe.run", lambda *a, **k: asked.append(a))
    run(sweep, sweep.folder.parent / "runs.jsonl", quiet=True)
    assert not asked  # the twin of the next line: with one line less, one run is missing
    file = sweep.folder.parent / "shorter.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[:-1]))
    with pytest.raises(AttributeError):  # the replaced function has no report
        run(sweep, file, quiet=True)
    assert len(asked) == 1


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
