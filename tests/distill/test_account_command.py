"""`labeldp account`: the numbers of the accountant, by unit, as a table or JSON, from flags or from a transcript."""

import json
import math
import subprocess
import sys
from pathlib import Path

import pytest

import accounting
import labeldp
from distill.cli import main
from tests.test_architecture import HEAVY, loaded_by

ROOT = Path(__file__).parents[2]
HUNDRED = accounting.Disjoint([accounting.RandomizedResponse(0.5, 10)], [100])


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["account", *arguments])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def asked(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict:
    status, text, errors = run(capsys, *arguments, "--json")
    assert (status, errors) == (0, "")
    return json.loads(text)


def stated(result: dict) -> dict[str, tuple[bool, float | None, float]]:
    return {one["unit"]: (one["holds"], one["epsilon"], one["delta"]) for one in result["guarantees"]}


def assert_record(result: dict, events, delta: float) -> None:
    transcript = accounting.Transcript(events, about="teacher", pool="independent")
    expected = accounting.guarantee(transcript, unit="record", delta=delta)
    assert stated(result)["record"] == (True, expected.epsilon, delta)


def test_flags_are_the_events_they_name(capsys) -> None:
    flags = ("--epsilon", "0.5", "--classes", "10", "--answers", "100", "--pool", "independent")
    result = asked(capsys, *flags, "--delta", "1e-6", "--unit", "record")
    assert list(stated(result)) == ["record"]
    assert_record(result, [HUNDRED], 1e-6)
    assert accounting.Transcript.from_dict(result["transcript"]).pool == "independent"
    assert_record(asked(capsys, *flags, "--uses", "3"), accounting.Repeated(HUNDRED, 3), 1e-5)


def test_the_directory_of_a_run_is_read(tmp_path, capsys) -> None:
    """The run's, its release/ or the file; the twin: a directory that holds none is refused, not a traceback."""
    release = tmp_path / "run" / "release"
    release.mkdir(parents=True)
    transcript = accounting.Transcript([HUNDRED], about="teacher", pool="independent")
    (release / "transcript.json").write_text(json.dumps(transcript.to_dict()))
    places = (tmp_path / "run", release, release / "transcript.json")
    results = [asked(capsys, str(place)) for place in places]
    assert results[0] == results[1] == results[2]
    assert stated(results[0])["answer"] == (True, 0.5, 0.0)
    status, _, errors = run(capsys, str(tmp_path))
    assert (status, errors.count("\n")) == (2, 1)
    assert "no release/transcript.json" in errors


def test_a_command_that_loses_counts_would_be_seen(capsys) -> None:
    flags = ("--epsilon", "0.5", "--classes", "10", "--pool", "independent", "--delta", "1e-6")
    with pytest.raises(AssertionError):
        assert_record(asked(capsys, *flags), [HUNDRED], 1e-6)


def test_labels_of_people_without_a_delta(capsys) -> None:
    result = asked(capsys, "--epsilon", "0.5", "--uses", "4")
    assert stated(result) == {"label": (True, 2.0, 0.0), "record": (False, None, 1e-5)}


def test_answers_of_a_teacher_without_certificate(capsys) -> None:
    result = asked(capsys, "--epsilon", "0.5", "--classes", "10", "--answers", "100", "--unit", "answer")
    assert stated(result) == {"answer": (True, 0.5, 0.0)}
    result = asked(capsys, "--epsilon", "0.5", "--classes", "10", "--answers", "100", "--unit", "record")
    assert stated(result)["record"] == (False, None, 1e-5)
    supposed = result["composed_if_the_pool_were_independent"]
    assert not supposed["holds"]
    assert supposed["epsilon"] == HUNDRED.events[0].privacy_loss().self_compose(100).epsilon(1e-5).upper


def test_the_teachers_own_training_certifies_records(capsys) -> None:
    result = asked(
        capsys,
        "--epsilon",
        "1",
        "--noise-multiplier",
        "1",
        "--sampling-probability",
        "0.01",
        "--steps",
        "1000",
    )
    holds, epsilon, delta = stated(result)["record"]
    assert (holds, delta) == (True, 1e-5)
    assert epsilon == pytest.approx(1.8282, rel=3e-3)
    assert stated(result)["answer"] == (True, 1.0, 0.0)
    alone = asked(capsys, "--noise-multiplier", "1", "--sampling-probability", "0.01", "--steps", "1000")
    assert stated(alone) == {"record": (True, epsilon, 1e-5)}


def test_a_transcript_file_says_the_same_as_its_transcript(tmp_path, capsys) -> None:
    transcript = accounting.Transcript(
        [HUNDRED], about="teacher", teacher=accounting.ApproximateDP(2.0, 1e-6)
    )
    path = tmp_path / "transcript.json"
    path.write_text(json.dumps(transcript.to_dict()))
    result = asked(capsys, str(path))
    assert stated(result) == {"answer": (True, 0.5, 0.0), "record": (True, 2.0, 1e-5)}
    assert accounting.Transcript.from_dict(result["transcript"]) == transcript
    status, text, _ = run(capsys, str(path))
    assert status == 0
    assert "one teacher answer on one synthetic item" in text
    assert "One answer" not in text


def test_the_table_has_units_sentences_and_one_answer(capsys) -> None:
    status, text, errors = run(capsys, "--epsilon", "1", "--classes", "10", "--margin", "0.05")
    assert (status, errors) == (0, "")
    rows = [line.split() for line in text.splitlines()[:3]]
    assert rows == [
        ["unit", "holds", "epsilon", "delta"],
        ["label", "yes", "1", "0"],
        ["record", "no", "-", "1e-05"],
    ]
    items = labeldp.required_sample_size(labeldp.RandomizedResponse(1.0, 10), margin=0.05)
    for part in ("one person's label", "advantage", "0.231969", "0.768031", "uniform prior", f"{items:,}"):
        assert part in text


def test_one_answer_is_the_law_of_randomized_response(capsys) -> None:
    view = asked(capsys, "--epsilon", "1", "--classes", "10")["one_answer"]
    assert view["keep_probability"] == pytest.approx(math.e / (math.e + 9))
    assert view["keep_probability"] + view["flip_probability"] == pytest.approx(1)
    assert view["advantage"] == pytest.approx((math.e - 1) / (math.e + 9))
    assert view["label_inference_success_uniform_prior"] == pytest.approx(math.e / (math.e + 9))


def test_a_seeded_release_promises_nothing(tmp_path, capsys) -> None:
    path = tmp_path / "transcript.json"
    seeded = accounting.Transcript([accounting.Seeded(HUNDRED)], about="teacher")
    path.write_text(json.dumps(seeded.to_dict()))
    result = asked(capsys, str(path))
    assert stated(result) == {"answer": (False, None, 0.0), "record": (False, None, 1e-5)}


WRONG = {
    "nothing": ([], "--epsilon"),
    "negative epsilon": (["--epsilon", "-1"], "epsilon"),
    "no classes": (["--epsilon", "1", "--classes", "0"], "num_classes"),
    "no answers": (["--epsilon", "1", "--answers", "0"], "counts"),
    "delta": (["--epsilon", "1", "--delta", "2"], "delta"),
    "unit": (["--epsilon", "1", "--unit", "person"], "unit"),
    "foreign unit": (["--epsilon", "1", "--unit", "label", "--pool", "independent"], "unit"),
    "no file": (["nowhere.json"], "nowhere.json"),
    "both": (["nowhere.json", "--epsilon", "1"], "both"),
    "margin of nothing": (["--noise-multiplier", "1", "--margin", "0.1"], "--margin"),
    "margin": (["--epsilon", "1", "--margin", "2"], "margin"),
    "noise": (["--noise-multiplier", "-1"], "noise_multiplier"),
    "not a number": (["--epsilon", "much"], "much"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_line_and_status_2(name: str, capsys) -> None:
    flags, word = WRONG[name]
    status, text, errors = run(capsys, *flags)
    assert (status, text, errors.count("\n")) == (2, "", 1), errors
    assert errors.startswith("labeldp: ")
    assert word in errors


@pytest.mark.parametrize(
    "content", ["", "{}", "[]", '{"type": "Transcript"}', "\x00", '{"type": "PureDP", "epsilon": 1}']
)
def test_a_file_that_is_no_transcript_is_one_line_and_status_2(content: str, tmp_path, capsys) -> None:
    path = tmp_path / "transcript.json"
    path.write_text(content)
    status, _, errors = run(capsys, str(path))
    assert (status, errors.count("\n")) == (2, 1)
    assert str(path) in errors


def test_help_is_light() -> None:
    code = "from distill.cli import app\napp(['account', '--help'], exit_on_error=False)"
    assert not loaded_by(code) & {*HEAVY, "numpy"}


def test_it_runs_without_the_packages_for_training() -> None:
    for flags, status in ((["--epsilon", "1"], 0), (["--epsilon", "-1"], 2)):
        code = (
            "import sys\nfor name in ('torch', 'msgspec', 'tomli_w', 'matplotlib'): sys.modules[name] = None\n"
            f"from distill.cli import main\nmain(['account', *{flags!r}])"
        )
        result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr


def test_a_release_of_labels_is_read(tmp_path, capsys) -> None:

    path = tmp_path / "labels.noisy.npz"
    labeldp.privatize(labeldp.RandomizedResponse(1.5, 3), [0, 1, 2]).save(path)
    with pytest.raises(SystemExit) as caught:
        main(["account", str(path), "--json"])
    assert not caught.value.code
    stated = json.loads(capsys.readouterr().out)["guarantees"]
    assert [(one["unit"], one["epsilon"]) for one in stated if one["holds"]] == [("label", 1.5)]
