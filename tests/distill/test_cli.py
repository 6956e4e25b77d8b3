"""The command line: status 0, 1 or 2, and one line when something is wrong."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from distill import config_file, recipe
from distill.cli import dotted_options, main
from tests.distill.conftest import TINY

ROOT = Path(__file__).parents[2]
SMALL = [f"--{section}.{key}={value}" for section, values in TINY.items() for key, value in values.items()]


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(arguments))
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_distill_runs_a_file_with_overrides(tmp_path, capsys) -> None:
    out = tmp_path / "run"
    status, text, _ = run(
        capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", str(out), "--seed", "3",
        "--privacy.epsilon", "2", "--privacy.source=seeded", *SMALL,
    )  # fmt: skip
    assert status == 0
    assert "no guarantee per answer" in text
    config = config_file.load_config(out / "config.toml")
    assert (config.seed, config.privacy.epsilon, config.privacy.source, config.pool.size) == (
        3,
        2.0,
        "seeded",
        800,
    )
    report = json.loads((out / "report.json").read_text())
    assert {g["unit"] for g in report["guarantees"]} == {"answer", "record"}


def test_distill_says_epsilon_with_its_unit_and_what_it_is_not(tmp_path, capsys) -> None:
    status, text, errors = run(
        capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", str(tmp_path / "run"), *SMALL
    )
    assert status == 0
    for part in (
        "teacher ",
        "clean-label student",
        "private student",
        "epsilon 1 per answer",
        "no guarantee per record",
        "not a guarantee about",
        "report.html",
    ):
        assert part in text
    assert "student 1: " in errors  # progress, where there is no terminal


def test_demo_replaces_the_demo_before(tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    for seed in ("1", "2"):
        status, _, _ = run(capsys, "demo", "--seed", seed, *SMALL)
        assert status == 0
        assert config_file.load_config("runs/demo/config.toml").seed == int(seed)


WRONG = {
    "unknown section": (["--privcy.epsilon", "2"], "privcy"),
    "unknown key": (["--privacy.epsilonn", "2"], "privacy.epsilon"),
    "no number": (["--privacy.epsilon", "much"], "number"),
    "negative epsilon": (["--privacy.epsilon", "-1"], "epsilon"),
    "epsilon too large": (["--privacy.epsilon", "81"], "epsilon"),
    "nan": (["--privacy.epsilon", "nan"], "epsilon"),
    "unknown source": (["--privacy.source", "urandom"], "privacy"),
    "unknown stages": (["--privacy.stages", "magic"], "subset+srr"),
    "no size": (["--pool.size", "0"], "pool"),
    "half a size": (["--pool.size", "10.5"], "pool"),
    "no value": (["--pool.size"], "value"),
    "no pool": (["--pool.trajectory", "0"], "source"),
    "unknown device": (["--device", "abacus"], "cpu or a torch device"),
    "unknown data": (["--data.name", "faces"], "data"),
    "missing data": (["--data.name", "mnist", "--data.directory", "/nowhere"], "/nowhere"),
    "unknown option": (["--fast"], "--fast"),
    "bad seed": (["--seed", "-1"], "seed"),
    "unset": (["--set", "pool.size"], "KEY=VALUE"),
    "two seeds": (["--seed", "3", "--set", "seed=4"], "one value of seed, got 4 and 3"),
    "two sizes": (["--pool.size", "3", "--pool.size=2000"], "one value of pool.size, got 3 and 2000"),
    "a place for what is packed": (["--data.directory", "/nowhere"], "data.directory"),
    "nearly a section": (["--privcy.epsilon", "2"], "did you mean privacy.epsilon?"),
    "nearly a key": (["--pool.seize", "2"], "did you mean pool.size? There are pool.from"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_usage_is_one_line_and_status_2(name: str, tmp_path, capsys) -> None:
    options, word = WRONG[name]
    status, text, errors = run(
        capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", str(tmp_path / "r"), *options
    )
    assert status == 2
    assert text == ""
    assert errors.count("\n") == 1
    assert errors.startswith("labeldp: ")
    assert word in errors


def test_an_error_blames_whoever_made_it(tmp_path, capsys) -> None:
    path = tmp_path / "mine.toml"
    path.write_text("[privacy]\nepsilon = 2.0\n")
    bad = ("--pool.size", "9", "--privacy.epsilon", "-1")
    _, _, errors = run(capsys, "distill", str(path), "--out", str(tmp_path / "r"), *bad)
    assert errors.startswith("labeldp: --privacy.epsilon: ")
    assert str(path) not in errors
    together = ("--pool.pixel_noise", "0", "--pool.mixed", "0", "--generator.steps", "20")
    _, _, errors = run(capsys, "distill", str(path), "--out", str(tmp_path / "r"), *together)
    assert errors.startswith("labeldp: --pool.pixel_noise, --pool.mixed: ") or "generator.steps" in errors
    path.write_text("[privacy]\nepsilon = -2.0\n")  # the twin
    _, _, errors = run(capsys, "distill", str(path), "--out", str(tmp_path / "r"), "--pool.size", "9")
    assert errors.startswith(f"labeldp: {path}: ")


def test_the_same_value_twice_is_no_contradiction() -> None:
    from distill.cli import _overrides

    assert _overrides(("seed=3", "seed=3"), seed=3) == {"seed": "3"}


def test_warnings_are_one_line_without_our_source(tmp_path, capsys) -> None:
    """Seeded noise warns; the twin: elsewhere Python's own form stands."""
    import warnings

    from distill.cli import _warnings_in_one_line
    from labeldp import PrivacyWarning

    with _warnings_in_one_line():
        text = warnings.formatwarning("Not for\nrelease.", PrivacyWarning, "advice.py", 47, "warnings.warn()")
        other = warnings.formatwarning("Old.", DeprecationWarning, "advice.py", 47, "")
    assert text == "labeldp: warning: Not for release.\n"
    assert "advice.py" in other
    assert "advice.py" in warnings.formatwarning("x", PrivacyWarning, "advice.py", 47, "")


def test_an_interrupted_command_ends_as_a_shell_expects(tmp_path, capsys, monkeypatch) -> None:
    def interrupt(*_, **__):
        raise KeyboardInterrupt

    for place in ("obtain_teacher", "distilled"):
        monkeypatch.setattr(recipe, place, interrupt)
        out = str(tmp_path / place)
        status, _, errors = run(capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", out)
        assert (status, errors) == (
            130,
            f"labeldp: Interrupted; go on with: labeldp distill --resume {out}\n",
        )
    monkeypatch.setattr("distill.report_command._one", interrupt)
    assert run(capsys, "report", str(tmp_path))[::2] == (130, "labeldp: Interrupted.\n")


def test_a_finished_run_is_not_taken_for_an_interrupted_one(tiny_run, capsys) -> None:
    out = str(tiny_run.folder)
    _, _, errors = run(capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", out)
    assert "holds a finished one; choose another with --out" in errors
    assert "--resume" not in errors


def test_the_configuration_of_a_run_says_which_version_wrote_it(tiny_run) -> None:
    import labeldp

    first = (tiny_run.folder / "config.toml").read_text().splitlines()[0]
    assert first.startswith(f"# Written by labeldp {labeldp.__version__}: ")


@pytest.mark.parametrize(
    ("number", "advice"),
    [("ENOENT", "make it"), ("EROFS", "nobody may write"), ("ENOSPC", "free some space")],
)
def test_what_cannot_be_written_comes_with_advice_that_helps(number: str, advice: str) -> None:
    import errno

    from distill.durable import explained

    error = OSError(getattr(errno, number), "why")
    told = explained(error, Path("/nowhere/page.html"))
    assert told.errno == error.errno
    assert "why: could not write /nowhere/page.html. What was saved before is untouched; " in str(told)
    assert advice in str(told)
    assert ("resume" in str(told)) is (number == "ENOSPC")


def test_a_page_in_a_directory_that_is_not_there(tiny_run, tmp_path, capsys) -> None:
    status, _, errors = run(
        capsys, "report", str(tiny_run.folder), "--out", str(tmp_path / "none" / "a.html")
    )
    assert (status, errors.count("\n")) == (1, 1)
    assert f"there is no directory {tmp_path / 'none'}; make it" in errors


FILES = {
    "no file": None,
    "no toml": "privacy = {",
    "unknown key": "[privacy]\nepsilonn = 1\n",
    "unknown section": "[secrets]\nkey = 1\n",
    "wrong type": "[privacy]\nepsilon = 'one'\n",
    "section is a number": "privacy = 3\n",
    "binary": "\x00\x01",
}


@pytest.mark.parametrize("name", FILES)
def test_a_wrong_file_is_one_line_and_status_2(name: str, tmp_path, capsys) -> None:
    path = tmp_path / "config.toml"
    if FILES[name] is not None:
        path.write_text(FILES[name])
    status, _, errors = run(capsys, "distill", str(path), "--out", str(tmp_path / "r"))
    assert status == 2
    assert errors.count("\n") == 1
    assert str(path) in errors


def test_a_directory_in_use_is_one_line_and_status_2(tmp_path, capsys) -> None:
    (tmp_path / "file").write_text("")
    status, _, errors = run(capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", str(tmp_path))
    assert (status, errors.count("\n")) == (2, 1)
    assert "--out" in errors


@pytest.mark.parametrize("arguments", [["distil"], ["distill"], ["--nonsense"]])
def test_an_unknown_verb_is_status_2(arguments: list[str], capsys) -> None:
    status, _, errors = run(capsys, *arguments)
    assert (status, errors.count("\n")) == (2, 1)


def test_what_fails_inside_is_status_1(tmp_path, capsys, monkeypatch) -> None:
    def full(*_, **__):
        raise OSError("No space left on device")

    monkeypatch.setattr(recipe, "obtain_teacher", full)
    status, _, errors = run(
        capsys, "distill", str(ROOT / "configs" / "digits.toml"), "--out", str(tmp_path / "r")
    )
    assert (status, errors) == (1, "labeldp: No space left on device\n")


def test_missing_packages_print_the_install_line(tmp_path) -> None:
    code = (
        "import sys; sys.modules['torch'] = None\n"
        "from distill.cli import main\n"
        f"main(['distill', 'configs/digits.toml', '--out', {str(tmp_path / 'r')!r}])"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert result.returncode == 2
    assert "pip install 'labeldp[distill]'" in result.stderr
    assert result.stderr.count("\n") == 1


def test_dotted_options_are_rewritten() -> None:
    assert dotted_options(["distill", "--privacy.epsilon", "2", "f", "--pool.size=3", "--out", "x"]) == [
        "distill", "--set", "privacy.epsilon=2", "f", "--set", "pool.size=3", "--out", "x",
    ]  # fmt: skip


def test_every_configuration_in_the_repository_is_valid() -> None:
    for path in (ROOT / "configs").glob("*.toml"):
        assert config_file.load_config(path).privacy.source == "system", path


def test_the_configuration_of_digits_shows_every_key() -> None:

    written = tomllib.loads((ROOT / "configs" / "digits.toml").read_text())
    assert set(config_file.flat(written)) == set(config_file.known_keys())
    del written["teacher"]["private"]["clip"]  # the twin
    assert set(config_file.flat(written)) != set(config_file.known_keys())


def test_the_demo_is_the_digits_configuration() -> None:
    assert config_file.load_config(ROOT / "configs" / "digits.toml") == config_file.configuration({})


def test_privatize_replaces_the_labels_of_a_file(tmp_path, capsys) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("id,diagnosis,p1,p2\n1,flu,0.9,0.1\n2,cold,0.2,0.8\n")
    options = ["--label", "diagnosis", "--classes", "flu,cold", "--epsilon", "1"]
    status, text, _ = run(capsys, "privatize", str(table), *options)
    assert status == 0
    assert "Epsilon 1 for the label of each row" in text
    header, *rows = (tmp_path / "labels.noisy.csv").read_text().splitlines()
    assert header == "id,diagnosis_noisy,p1,p2"
    assert {row.split(",")[1] for row in rows} <= {"flu", "cold"}
    (tmp_path / "key").write_bytes(bytes(range(32)))
    (tmp_path / "key").chmod(0o600)
    keyed = [
        "--mechanism",
        "srr",
        "--prior-columns",
        "p1,p2",
        "--item",
        "id",
        "--key-file",
        str(tmp_path / "key"),
    ]
    for name in ("a", "b"):
        out = str(tmp_path / f"{name}.csv")
        assert run(capsys, "privatize", str(table), *options, *keyed, "--size", "1", "--out", out)[0] == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    for mechanism in ("subset", "unary"):
        out = str(tmp_path / f"{mechanism}.csv")
        assert run(capsys, "privatize", str(table), *options, "--mechanism", mechanism, "--out", out)[0] == 0


@pytest.mark.parametrize(
    ("options", "status"),
    [
        (["--label", "symptom"], 1),
        (["--epsilon", "-1"], 1),
        (["--epsilon", "much"], 2),
        (["--mechanism", "magic"], 2),
        (["--classes", "flu"], 1),
        (["--mechanism", "srr"], 2),
        (["--key-file", "none"], 2),
        (["--size", "2"], 2),
        (["--prior-columns", "id,diagnosis"], 2),
    ],
)
def test_privatize_fails_in_one_line(options, status: int, tmp_path, capsys) -> None:
    table = tmp_path / "labels.csv"
    table.write_text("id,diagnosis\n1,flu\n2,cold\n")
    usual = {"--label": "diagnosis", "--classes": "flu,cold", "--epsilon": "1"} | dict([options])
    got, _, errors = run(capsys, "privatize", str(table), *[word for pair in usual.items() for word in pair])
    assert got == status
    assert errors.startswith("labeldp: ")
    assert errors.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["labels.csv"]
