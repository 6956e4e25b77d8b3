"""`labeldp ledger`: what stands in the ledger, as a table and as JSON, and whether it is whole."""

import json
import sqlite3

import pytest

import accounting
from distill.cli import main
from labeldp.tables import Ledger
from tests.test_architecture import HEAVY, loaded_by


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["ledger", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.fixture
def file(tmp_path, capsys):
    path = tmp_path / "l.sqlite"
    status, text, _ = run(capsys, "cap", path, "--data", "clicks", "--epsilon", "1")
    assert status == 0
    assert "Each label of clicks may lose epsilon 1.0 at delta 0.0; 0.0 is spent, 1.0 left." in text
    with Ledger(path) as ledger:
        ledger.charge("clicks", accounting.PureDP(0.1), unit="label", part="monday", about="a line")
    return path


def test_budgets_and_entries_are_shown(file, capsys) -> None:
    status, text, _ = run(capsys, "show", file)
    assert status == 0
    assert text.splitlines()[1].split() == ["clicks", "label", "1.0", "0.0", "0.1", "0.9", "1"]
    status, text, _ = run(capsys, "show", file, "--entries")
    assert status == 0
    assert "a line" in text
    status, text, _ = run(capsys, "show", file, "--entries", "--json")
    shown = json.loads(text)
    assert [row["kind"] for row in shown["entries"]] == ["start", "cap", "charge"]
    assert shown["entries"][2]["part"] == "monday"
    assert shown["head"] == shown["entries"][2]["head"]
    assert shown["budgets"][0]["left"] == 0.9


def test_a_whole_ledger_verifies_and_a_changed_one_does_not(file, capsys) -> None:
    with Ledger(file, read_only=True) as ledger:
        head = ledger.head
    status, text, _ = run(capsys, "verify", file)
    assert status == 0
    assert head in text
    assert "No head was given" in text
    status, text, _ = run(capsys, "verify", file, "--head", head, "--json")
    assert (status, json.loads(text)) == (0, {"whole": True, "head": head, "problems": []})
    status, text, _ = run(capsys, "verify", file, "--head", "ab")
    assert status == 1
    assert "not in the chain" in text
    connection = sqlite3.connect(file)
    connection.execute("DROP TRIGGER never_changed")
    connection.execute("UPDATE entries SET about = 'another' WHERE entry = 3")
    connection.commit()
    connection.close()
    status, text, _ = run(capsys, "verify", file, "--json")
    assert status == 1
    assert "entry 3 was changed" in json.loads(text)["problems"]


def test_a_cap_can_be_raised_and_its_delta_not(file, capsys) -> None:
    status, text, _ = run(capsys, "cap", file, "--data", "clicks", "--epsilon", "2")
    assert status == 0
    assert "0.1 is spent, 1.9 left" in text
    status, _, errors = run(capsys, "cap", file, "--data", "clicks", "--epsilon", "2", "--delta", "1e-6")
    assert status == 1
    assert errors.startswith("labeldp: Expected delta 0.0")


@pytest.mark.parametrize("verb", ["show", "verify"])
def test_looking_makes_no_ledger(verb, tmp_path, capsys) -> None:
    status, _, errors = run(capsys, verb, tmp_path / "none")
    assert status == 1
    assert errors.startswith("labeldp: Expected a ledger, found none")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("verb", ["key", "ledger"])
def test_help_is_light(verb) -> None:
    code = f"from distill.cli import app\napp({[verb, '--help']!r}, exit_on_error=False)"
    assert not loaded_by(code) & {*HEAVY, "numpy", "sqlite3"}
