"""`labeldp privatize` and `labeldp verify` on tables: from a key and a ledger to a release that is checked."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import labeldp
from distill.cli import main
from labeldp.tables import Ledger, new_key, privatize, read_key

ROOT = Path(__file__).parent.parent.parent
N = 600
CLASSES = ["flu", "cold", "none"]


def run(capsys: pytest.CaptureFixture[str], *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(list(map(str, arguments)))
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


@pytest.fixture
def table(tmp_path):
    draw = np.random.default_rng(0)
    made = pa.table(
        {
            "id": np.arange(N),
            "y": pa.array(np.array(CLASSES)[draw.integers(3, size=N)]),
            **{f"p{c}": column for c, column in enumerate(draw.dirichlet(np.ones(3), size=N).T)},
            "who": np.arange(N) // 2,
        }
    )
    pq.write_table(made, tmp_path / "in.parquet")
    new_key(tmp_path / "key")
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.set_cap("clicks", 2.0, unit="label")
    return made


USUAL = ["--label", "y", "--classes", "flu,cold,none", "--epsilon", "1"]


def test_a_table_is_released_charged_and_checked(table, tmp_path, capsys) -> None:
    out = tmp_path / "out.parquet"
    told = ["--item", "id", "--key-file", tmp_path / "key", "--epoch", "May", "--person", "who"]
    told += ["--ledger", tmp_path / "ledger", "--dataset", "clicks"]
    status, text, errors = run(capsys, "privatize", tmp_path / "in.parquet", out, *USUAL, *told)
    assert status == 0
    assert "Epsilon 2 for all labels of one 'who' together, 2 rows at most" in text
    assert "Charged to clicks: entry 3, head " in text
    assert "releasing: 600/600" in errors
    source = labeldp.KeyedSource(read_key(tmp_path / "key"), epoch="May")
    expected, manifest = privatize(
        table,
        labeldp.RandomizedResponse(1.0, 3),
        label="y",
        classes=CLASSES,
        item="id",
        person="who",
        source=source,
    )
    assert pq.read_table(out).equals(expected)
    assert manifest.noise["epoch"] == "May"
    checks = ["--truth", tmp_path / "in.parquet", "--ledger", tmp_path / "ledger"]
    status, text, _ = run(capsys, "verify", out, *checks)
    assert status == 0
    assert text.endswith("Nothing is wrong, as far as was looked.\n")
    status, text, _ = run(capsys, "verify", out, "--manifest", f"{out}.manifest.json", "--json")
    assert (status, json.loads(text)["problems"]) == (0, [])
    again = tmp_path / "again.parquet"
    told[5] = "June"
    status, _, errors = run(capsys, "privatize", tmp_path / "in.parquet", again, *USUAL, *told)
    assert (status, again.exists()) == (1, False)
    assert "nothing may be released" in errors


def test_what_is_wrong_is_a_line_and_status_1(table, tmp_path, capsys) -> None:
    copied = table.append_column("z", table["y"])
    pq.write_table(copied, tmp_path / "in.parquet")
    srr = ["--mechanism", "srr", "--prior-columns", "p0,p1,p2", "--size", "2"]
    status, text, _ = run(capsys, "privatize", tmp_path / "in.parquet", *USUAL, *srr)
    assert status == 0
    out = tmp_path / "in.noisy.parquet"
    assert "with their manifest" in text
    assert {"y_noisy", "y_candidates"} <= set(pq.read_table(out).column_names)
    status, text, _ = run(capsys, "verify", out, "--truth", tmp_path / "in.parquet")
    assert (status, "column z tells the true labels" in text) == (1, True)
    assert run(capsys, "verify", out)[0] == 0  # that takes the truth


def test_folders_and_csv_files_are_streamed_where_that_is_asked_for(table, tmp_path, capsys) -> None:
    (tmp_path / "parts").mkdir()
    pq.write_table(table, tmp_path / "parts" / "a.parquet")
    assert run(capsys, "privatize", tmp_path / "parts", *USUAL)[0] == 0
    assert run(capsys, "verify", tmp_path / "parts.noisy", "--truth", tmp_path / "parts")[0] == 0
    (tmp_path / "in.csv").write_text("id,y\n1,flu\n2,\n3,ebola\n")
    status, _, errors = run(capsys, "privatize", tmp_path / "in.csv", *USUAL, "--unknown", "none")
    assert (status, errors.count("labeldp: ")) == (0, 0)
    assert (tmp_path / "in.noisy.csv.manifest.json").is_file()
    assert not (tmp_path / "in.noisy.npz").exists()


@pytest.mark.parametrize(
    ("options", "status", "word"),
    [
        (["--ledger", "l"], 2, "--data"),
        (["--data", "clicks"], 2, "--ledger"),
        (["--key-file", "key"], 2, "--item"),
        (["--label", "symptom"], 1, "symptom"),
        (["--classes", "flu,cold"], 1, "none of them"),
        (["--person", "y"], 1, "decide"),
        (["--person", ""], 2, "empty"),
        (["--label", "who"], 2, "can hold"),
        (["--item", "p0"], 2, "integers or texts"),
    ],
)
def test_failures_are_one_line(options, status: int, word: str, table, tmp_path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    usual = dict(zip(USUAL[::2], USUAL[1::2], strict=True)) | {options[0]: options[1]}
    before = sorted(path.name for path in tmp_path.iterdir())
    got, _, errors = run(
        capsys, "privatize", "in.parquet", *[word for pair in usual.items() for word in pair]
    )
    assert got == status
    last = errors.splitlines()[-1]
    assert last.startswith("labeldp: ")
    assert word in last
    assert sorted(path.name for path in tmp_path.iterdir()) == before


def test_a_csv_file_needs_no_package_and_the_rest_says_which(tmp_path) -> None:
    (tmp_path / "in.csv").write_text("id,y\n1,flu\n2,cold\n")
    (tmp_path / "in.parquet").write_bytes(b"")
    code = "import sys; sys.modules |= dict.fromkeys(['pyarrow', 'narwhals'])\nfrom distill.cli import main\nmain(sys.argv[1:])"
    for name, status in (("in.csv", 0), ("in.parquet", 2)):
        command = [sys.executable, "-c", code, "privatize", str(tmp_path / name), *USUAL]
        result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
        assert result.returncode == status, result.stderr
    assert "pip install 'labeldp[arrow]'" in result.stderr
    assert result.stderr.count("\n") == 1
