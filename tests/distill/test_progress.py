"""Progress: time left, figures of a run that goes on, and TensorBoard's event files."""

import json
import stat
import sys

import pytest

from distill import progress
from distill.progress import RunProgress, seconds_left


def test_time_left_follows_the_pace_of_this_process() -> None:
    """80 of 100 steps were done before; 10 took 5 s, so the other 10 take 5 s."""
    assert seconds_left(5.0, before=80, done=90, total=100) == 5.0
    assert seconds_left(5.0, before=0, done=90, total=100) < 1  # the twin: all steps taken for this process's


def test_a_phase_that_goes_on_says_how_long_it_really_takes(monkeypatch, capsys) -> None:
    monkeypatch.setattr(progress, "LINE_EVERY_SECONDS", 0.0)
    clock = iter([0.0, 0.0, *(2.0 * step for step in range(1, 50))])
    monkeypatch.setattr(progress.time, "perf_counter", lambda: next(clock))
    with RunProgress().phase("student", total=100, start=90) as phase:
        phase.advance()
    first = capsys.readouterr().err.splitlines()[0]
    seconds = float(first.split(", ")[1].split()[0])
    assert first.startswith("student: 91/100, ")
    assert 9 <= seconds <= 60  # 9 steps of 1 to 6 s; with the 90 in the pace it would be less than one


def test_figures_of_an_interrupted_run_are_kept_and_none_comes_twice(tmp_path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    with RunProgress(metrics, quiet=True).phase("student", total=40) as phase:
        for step in range(30):
            phase.advance(1, **({"loss": 1.0} if step % 10 == 0 else {}))
    with metrics.open("a") as file:
        file.write('{"phase": "stu')  # a kill
    again = RunProgress(metrics, quiet=True, resumed=True)
    assert [row["step"] for row in again.figures if "step" in row] == [1, 11, 21]
    with again.phase("student", total=40, start=15) as phase:
        for step in range(15, 40):
            phase.advance(1, **({"loss": 0.5} if step % 10 == 0 else {}))
    rows = [json.loads(line) for line in metrics.read_text().splitlines()]
    assert rows == again.figures
    assert [(row["step"], row["loss"]) for row in rows if "step" in row] == [
        (1, 1.0),
        (11, 1.0),
        (21, 0.5),
        (31, 0.5),
    ]
    assert stat.S_IMODE(metrics.stat().st_mode) == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["metrics.jsonl"]


def test_the_time_of_a_phase_outlives_its_process(tmp_path) -> None:
    metrics = tmp_path / "metrics.jsonl"
    first = RunProgress(metrics, quiet=True)
    with first.phase("teacher", total=1) as phase:
        phase.advance()
    again = RunProgress(metrics, quiet=True, resumed=True)
    assert again.seconds == pytest.approx(first.seconds, abs=1e-3)
    with again.phase("student", total=9, start=3, spent=1000.0):
        pass
    assert again.seconds["student"] > 1000
    with again.phase("teacher", total=1, start=1):  # nothing is left to do
        pass
    assert again.seconds["teacher"] == pytest.approx(first.seconds["teacher"], abs=1e-3)


def test_event_files_hold_the_scalars_of_each_phase(tmp_path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    folder = tmp_path / "private" / "tensorboard"
    shown = RunProgress(events=folder, quiet=True)
    with shown.phase("clean-label student", total=3) as phase:
        for loss in (3.0, 2.0, 1.0):
            phase.advance(1, loss=loss)
    events = EventAccumulator(str(folder / "clean-label_student"))
    events.Reload()
    assert [(each.step, each.value) for each in events.Scalars("loss")] == [(1, 3.0), (2, 2.0), (3, 1.0)]
    with shown.phase("pool", total=3) as phase:  # without figures: there is nothing to look at
        phase.advance(3)
    assert [path.name for path in folder.iterdir()] == ["clean-label_student"]
    for path in (folder.parent, folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


def test_without_tensorboard_there_are_simply_no_event_files(tmp_path, monkeypatch, capsys) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "tensorboard"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.delitem(sys.modules, "torch.utils.tensorboard", raising=False)
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    shown = RunProgress(tmp_path / "metrics.jsonl", events=tmp_path / "private" / "events", quiet=True)
    with shown.phase("teacher", total=1) as phase:
        phase.advance(1, loss=1.0)
    assert shown.figures[0] == {"phase": "teacher", "step": 1, "loss": 1.0}
    assert not (tmp_path / "private").exists()
    assert capsys.readouterr().err == ""


def test_a_quiet_run_says_nothing_and_another_says_what_it_did(capsys) -> None:
    for quiet in (True, False):
        with RunProgress(quiet=quiet).phase("teacher", total=1) as phase:
            phase.advance()
        assert ("teacher: 1/1, done in" in capsys.readouterr().err) is not quiet


def test_a_broken_phase_takes_its_error_along(tmp_path) -> None:
    shown = RunProgress(events=tmp_path / "events", quiet=True)
    with pytest.raises(ValueError, match="no data"), shown.phase("teacher", total=1):
        raise ValueError("no data")
    assert shown.seconds == {}
