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
