"""`labeldp key`: a key from its file's first byte to its last; the fingerprint is all that is printed of it."""

import pytest

from distill.cli import main


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["key", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


def test_a_key_lives_and_dies(tmp_path, capsys) -> None:
    file = tmp_path / "key"
    status, made, _ = run(capsys, "new", file)
    secret = file.read_text().split("\n")[1]
    assert status == 0
    status, text, _ = run(capsys, "fingerprint", file)
    name = text.strip()
    assert (status, len(name)) == (0, 32)
    status, destroyed, _ = run(capsys, "destroy", file)
    assert status == 0
    assert not file.exists()
    for text in (made, destroyed):
        assert name in text
        assert secret[:8] not in text
    assert "snapshots, backups" in destroyed


@pytest.mark.parametrize("verb", ["new", "fingerprint", "destroy"])
def test_failures_are_one_line(verb, tmp_path, capsys) -> None:
    file = tmp_path / "key"
    run(capsys, "new", file)
    file.chmod(0o640)
    status, text, errors = run(capsys, verb, file)
    assert (status, text) == (1, "")
    assert errors.startswith("labeldp: Expected")
    assert errors.count("\n") == 1
    assert file.exists()


def test_a_key_file_of_the_command_makes_reruns_alike(tmp_path, capsys) -> None:
    table, file = tmp_path / "t.csv", tmp_path / "key"
    table.write_text("id,y\n" + "".join(f"{i},{'ab'[i % 2]}\n" for i in range(200)))
    run(capsys, "new", file)
    outs = []
    for name in ("one", "two", "other key"):
        if name == "other key":
            run(capsys, "destroy", file)
            run(capsys, "new", file)
        out = tmp_path / f"{name}.csv"
        options = ["--label", "y", "--classes", "a,b", "--epsilon", "1", "--item", "id"]
        with pytest.raises(SystemExit) as caught:
            main(["privatize", str(table), *options, "--key-file", str(file), "--out", str(out)])
        assert not caught.value.code
        outs.append(out.read_bytes())
    assert outs[0] == outs[1] != outs[2]
