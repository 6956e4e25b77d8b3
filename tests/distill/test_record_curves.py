"""Curves of records: what a private teacher covers, what its lines say, and what is refused."""

import json
from dataclasses import replace

import msgspec
import pytest

import accounting
import distill
from distill.config_file import configuration
from distill.curve_figures import draw
from distill.curve_report import write
from distill.curves import run
from distill.label_schemes import UNPROTECTED, event_of, without_noise
from distill.record_curves import METHODS, RecordSweep
from distill.usage import UsageError
from tests.distill.conftest import TINY

PRIVATE = {"kind": "private", "model": "tanh-convnet", "epochs": 2, "private": {"steps": 20}}
CONFIG = configuration({**TINY, "teacher": PRIVATE, "privacy": {"epsilon": 4.0}})


@pytest.fixture(scope="module")
def sweep(tmp_path_factory) -> RecordSweep:
    folder = tmp_path_factory.mktemp("records")
    return RecordSweep(CONFIG, METHODS, (2.0, 8.0), seeds=1, folder=folder / "private")


@pytest.fixture(scope="module")
def rows(sweep: RecordSweep) -> list[dict]:
    return run(sweep, sweep.folder.parent / "runs.jsonl", quiet=True)


def base(sweep: RecordSweep):
    return sweep.folder / "seed-0-epsilon-2"


def test_each_line_is_about_a_record(sweep: RecordSweep, rows: list[dict]) -> None:
    assert [(row["method"], row["epsilon"]) for row in rows] == [
        ("clean", None), *((method, epsilon) for method in METHODS for epsilon in (2.0, 8.0))
    ]  # fmt: skip
    assert {(row["unit"], row["delta"]) for row in rows} == {("record", 1e-5)}
    assert all(0 < row["score"] <= 1 for row in rows)
    assert "epsilon" not in rows[0]["recipe"]["teacher"]["private"]
    assert rows[0]["recipe"]["privacy"]["epsilon"] == 4.0


def test_methods_share_a_teacher_and_epsilons_do_not(
    sweep: RecordSweep, rows: list[dict], monkeypatch
) -> None:
    """What is kept is one run for each epsilon; a line of noisy answers that is missing is one more run about it."""
    made = sorted(path.name for path in sweep.folder.iterdir() if path.is_dir())
    assert made == ["seed-0-epsilon-2", "seed-0-epsilon-8"]
    asked = []
    monkeypatch.setattr("distill.recipe.run", lambda config, *a, **k: asked.append(config))
    file = sweep.folder.parent / "shorter.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows[1:-1]))
    with pytest.raises(AttributeError):  # the replaced function has no report
        run(sweep, file, quiet=True)
    assert [config.pool.from_run.endswith("seed-0-epsilon-8") for config in asked] == [True]
    assert asked[0].privacy == CONFIG.privacy


def test_a_private_teacher_covers_its_student_of_answers_without_noise(sweep: RecordSweep, rows) -> None:
    release = base(sweep) / "release"
    privacy = json.loads((release / "privacy.json").read_text())
    answer, record = privacy["guarantees"]
    assert (record["holds"], record["releasable"]) == (True, True)
    assert 1.999 < record["epsilon"] <= 2.0
    assert (answer["holds"], answer["epsilon"]) == (False, None)
    assert privacy["releasable"]
    assert privacy["epsilon_per_answer"] is None
    assert "nothing is promised about a single answer" in privacy["plain_words"]
    assert "guarantee: epsilon 2 at delta 1e-05" in privacy["plain_words"]
    assert not (release / "PRIVACY.md").read_text().startswith("**NOT FOR RELEASE")
    assert distill.load_student(base(sweep)) is not None
    page = (base(sweep) / "report.html").read_text()
    assert "distilled from a private teacher" in page
    assert "epsilon 2 per record, clean answers" in page
    assert "without privacy" not in page
    assert "not private" not in page
    # anybody finds the same from the transcript
    transcript = accounting.Transcript.from_dict(json.loads((release / "transcript.json").read_text()))
    assert accounting.guarantee(transcript, unit="record", delta=1e-5).epsilon == record["epsilon"]
    assert not accounting.guarantee(transcript, unit="answer", delta=0.5).holds
    # answers are nowhere in what may be published, but for the student
    assert not list(release.glob("noisy_labels*"))


def test_without_a_certificate_the_same_answers_void_everything(sweep: RecordSweep, rows) -> None:
    """The twin: the certificate alone makes the difference, and what stands in its place is no protection of an answer."""
    import numpy as np

    released = without_noise(np.zeros(3, dtype=np.int64), np.arange(3), num_classes=10)
    assert event_of(released, stages="clean", certified=True) == UNPROTECTED
    exposed = event_of(released, stages="clean", certified=False)
    teacher = accounting.ApproximateDP(2.0, 1e-5)
    for certificate in (None, teacher):
        transcript = accounting.Transcript([exposed], about="teacher", teacher=certificate)
        assert not accounting.guarantee(transcript, unit="record", delta=1e-5).holds
        assert not accounting.guarantee(transcript, unit="record", delta=1e-5).releasable
    independent = accounting.Transcript([UNPROTECTED], about="teacher", pool="independent")
    assert not accounting.guarantee(independent, unit="record", delta=1e-5).holds


def test_what_all_teachers_would_cost_is_said_of_records(
    sweep: RecordSweep, rows: list[dict], tmp_path
) -> None:
    text = "\n".join(write(rows, tmp_path))
    assert (
        "all 2 teachers published together would cost at most epsilon 10 at delta 2e-05 for each record"
        in text
    )
    assert "teacher without DP-SGD, no privacy" in text
    assert "true labels" not in text
    assert "epsilon for one training record at delta 1e-05" in (tmp_path / "curve.svg").read_text()


def test_two_deltas_never_share_a_figure(rows: list[dict]) -> None:
    draw(rows)
    with pytest.raises(ValueError, match="unpack"):
        draw([*rows, {**rows[-1], "delta": 1e-6}])


BROKEN = {
    "not private": ({"kind": "trained"}, {}),
    "seeded": ({}, {"source": "seeded"}),
}


@pytest.mark.parametrize("broken", BROKEN)
def test_a_teacher_that_covers_nothing_is_refused_first(broken: str, sweep: RecordSweep, tmp_path) -> None:
    teacher, privacy = BROKEN[broken]
    config = msgspec.structs.replace(
        CONFIG,
        teacher=msgspec.structs.replace(CONFIG.teacher, **teacher),
        privacy=msgspec.structs.replace(CONFIG.privacy, **privacy),
    )
    with pytest.raises(UsageError, match="trained here by DP-SGD"):
        run(replace(sweep, config=config), tmp_path / "runs.jsonl", quiet=True)
    assert not (tmp_path / "runs.jsonl").exists()


def test_an_epsilon_below_the_moment_release_is_refused_first(sweep: RecordSweep, tmp_path) -> None:
    with pytest.raises(UsageError, match=r"epsilon 0\.25: Expected teacher\.private\.epsilon"):
        run(replace(sweep, epsilons=(0.25, 8.0)), tmp_path / "runs.jsonl", quiet=True)
    with pytest.raises(UsageError, match="student of noisy answers, got 'rr'"):
        run(replace(sweep, methods=("rr",)), tmp_path / "runs.jsonl", quiet=True)
    assert not (tmp_path / "runs.jsonl").exists()


def test_answers_and_records_are_not_asked_for_at_once(tmp_path, capsys) -> None:
    from distill.cli import main

    file = "configs/digits-private-teacher.toml"
    with pytest.raises(SystemExit) as stop:
        main(["curve", "--out", str(tmp_path), "--answers", file, "--records", file])
    assert stop.value.code == 2
    assert "units never share a figure" in capsys.readouterr().err
