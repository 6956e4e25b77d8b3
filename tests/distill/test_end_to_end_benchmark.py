"""The end-to-end benchmark: one teacher and pool for a row of epsilons, and a table of what was measured."""

import pytest

from benchmarks import end_to_end
from benchmarks.end_to_end import Case, measured, shares, table

TINY = {
    "teacher.epochs": "4",
    "generator.steps": "40",
    "generator.restart": "20",
    "generator.warmup": "5",
    "pool.size": "2000",
    "student.batch_size": "100",
}


def test_a_row_trains_one_teacher_for_all_its_epsilons(monkeypatch) -> None:
    made: list[int] = []
    original = end_to_end.teacher_and_pool
    monkeypatch.setattr(end_to_end, "teacher_and_pool", lambda *a, **k: made.append(1) or original(*a, **k))
    monkeypatch.setitem(end_to_end.CASES, "tiny", Case("digits", TINY, epsilons=(0.5, 8.0)))
    run = measured("tiny", 0)
    assert made == [1]
    assert run["private_student"].keys() == {"0.5", "8"}
    assert run["private_student"]["0.5"] < run["private_student"]["8"] <= run["teacher"] <= 1
    assert {"teacher", "generator", "pool", "student 1", "private student"} <= run["phases"].keys()
    assert sum(run["phases"].values()) <= run["seconds"]
    lines = table([{"case": "tiny", "runs": [run]}]).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| tiny | 2,000 |")
    assert lines[2].count("|") == lines[0].count("|")
    assert "teacher" in shares([{"case": "tiny", "runs": [run]}])


def test_missing_data_are_said_not_measured(monkeypatch, tmp_path) -> None:
    monkeypatch.setitem(
        end_to_end.CASES, "nowhere", Case("mnist", {"data.directory": str(tmp_path)}, epsilons=(1.0,))
    )
    with pytest.raises(FileNotFoundError):
        measured("nowhere", 0)
