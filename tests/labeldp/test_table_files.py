"""Files and folders of tables: the same answers as in memory, whole or not at all, charged before anything is written."""

import csv
import fcntl
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import labeldp
from labeldp.tables import (
    BudgetSpent,
    Columns,
    Job,
    Manifest,
    likelihood,
    manifest_path,
    privatize,
    privatize_file,
)
from labeldp.tables import table_files as table_files_module
from labeldp.tables.whole_file import partial_name, whole_file

ROOT = Path(__file__).parent.parent.parent
KEY = bytes(range(32))
N = 3000
SECRET = "zymotic"
CLASSES = ("flu", "cold", "none")
NUMBERS = np.random.default_rng(0).integers(3, size=N)
PRIOR = np.random.default_rng(1).dirichlet(np.ones(3), size=N)
TABLE = pa.table(
    {
        "id": np.random.default_rng(2).permutation(N),
        "y": pa.array(np.array(CLASSES)[NUMBERS]),
        **{f"p{c}": PRIOR[:, c] for c in range(3)},
        "town": [f'"town", {i}' for i in range(N)],
    }
)
RR = Job(labeldp.RandomizedResponse(1.0, 3), Columns("y", CLASSES, "id"))
SRR = Job(
    labeldp.SelectiveRandomizedResponse(1.0, 3, size=2, outside="other"),
    Columns("y", CLASSES, "id", ("p0", "p1", "p2")),
)
SETS = Job(labeldp.SubsetSelection(0.3, 3), Columns("y", CLASSES, "id"))


@pytest.fixture(autouse=True)
def small_batches(monkeypatch):
    monkeypatch.setattr(table_files_module, "BATCH_ROWS", 700)
    monkeypatch.setattr(table_files_module, "CSV_ROWS", 700)


def keyed() -> labeldp.KeyedSource:
    return labeldp.KeyedSource(KEY)


@pytest.fixture
def parquet(tmp_path):
    pq.write_table(TABLE, tmp_path / "in.parquet", row_group_size=1100)
    return tmp_path / "in.parquet"


def written_csv(path: Path, table: pa.Table = TABLE) -> Path:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(table.column_names)
        writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return path


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "parts").mkdir()
    for number, rows in enumerate((slice(0, 1000), slice(1000, 1001), slice(1001, N))):
        pq.write_table(TABLE[rows], tmp_path / "parts" / f"{number}.parquet")
    return tmp_path / "parts"


def in_memory(job: Job):
    columns = job.columns
    return privatize(
        TABLE,
        job.mechanism,
        label="y",
        classes=columns.classes,
        item="id",
        prior=columns.prior,
        source=keyed(),
    )


@pytest.mark.parametrize("job", [RR, SRR, SETS], ids=["rr", "srr", "subset"])
def test_files_and_folders_hold_what_memory_holds(job, parquet, folder, tmp_path) -> None:
    expected, manifest = in_memory(job)
    one = privatize_file(parquet, tmp_path / "out.parquet", job, source=keyed())
    many = privatize_file(folder, tmp_path / "out", job, source=keyed())
    assert pq.read_table(tmp_path / "out.parquet").equals(expected)
    assert pq.read_table(tmp_path / "out").equals(expected)
    assert one.release == many.release == manifest.release
    assert Manifest.load(manifest_path(tmp_path / "out.parquet")) == one
    assert Manifest.load(manifest_path(tmp_path / "out")) == many
    assert [file.name for file in many.files] == ["0.parquet", "1.parquet", "2.parquet"]


@pytest.mark.parametrize("job", [RR, SRR, SETS], ids=["rr", "srr", "subset"])
def test_csv_is_copied_as_it_stands(job, tmp_path) -> None:
    texts = TABLE.set_column(0, "id", TABLE["id"].cast(pa.string()))
    path = written_csv(tmp_path / "in.csv", texts)
    manifest = privatize_file(path, tmp_path / "out.csv", job, source=keyed())
    columns = job.columns
    expected, _ = privatize(
        texts,
        job.mechanism,
        label="y",
        classes=columns.classes,
        item="id",
        prior=columns.prior,
        source=keyed(),
    )
    with path.open(newline="") as before, (tmp_path / "out.csv").open(newline="") as after:
        old, new = list(csv.reader(before)), list(csv.reader(after))
    assert [row[:1] + row[2:] for row in old] == [row[:5] for row in new]
    shown = [row[5] for row in new[1:]]
    wanted = expected["y_noisy"].to_pylist()
    assert [json.loads(text) for text in shown] == wanted if job is SETS else shown == wanted
    read = pa.table({name: [row[i] for row in new[1:]] for i, name in enumerate(new[0])})
    np.testing.assert_array_equal(likelihood(read, manifest), likelihood(expected, manifest))


def bytes_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def holds(content: dict[str, bytes], word: str) -> list[str]:
    return [name for name, text in content.items() if word.encode() in text]


def test_a_true_label_is_in_no_byte_that_is_written(tmp_path, ledger) -> None:
    """A label that is no class, and belongs to one by name: its text is public nowhere. Looked for in outputs, manifests, ledgers, in
    what lies there while a job runs, and in what a failure says and leaves."""
    labels = pa.array(["flu", SECRET, "cold"] * (N // 3))
    table = TABLE.set_column(1, "y", labels).replace_schema_metadata({"labels": SECRET})
    table = table.append_column(
        pa.field("z", pa.int8(), metadata={"y": SECRET}), pa.array(np.zeros(N, np.int8))
    )
    (tmp_path / "in").mkdir()
    pq.write_table(table, tmp_path / "in" / "0.parquet")
    written_csv(tmp_path / "in.csv", table)
    ledger.set_cap("clicks", 9.0, unit="label")
    (tmp_path / "out").mkdir()
    seen: dict[str, bytes] = {}

    def look(what: str, done: int, total: int) -> None:
        seen.update({f"{what} {done} {name}": text for name, text in bytes_of(tmp_path / "out").items()})

    told = {"source": keyed(), "ledger": ledger, "dataset": "clicks", "progress": look}
    others = Job(RR.mechanism, Columns("y", CLASSES, "id", unknown="cold"))
    privatize_file(tmp_path / "in" / "0.parquet", tmp_path / "out" / "one.parquet", others, **told)
    privatize_file(tmp_path / "in", tmp_path / "out" / "many", others, **told)
    privatize_file(tmp_path / "in.csv", tmp_path / "out" / "one.csv", others, **told)
    with pytest.raises(ValueError, match="none of them") as caught:
        privatize_file(tmp_path / "in" / "0.parquet", tmp_path / "out" / "two.parquet", RR, **told)
    seen |= bytes_of(tmp_path / "out") | {"exception": repr(caught.value).encode()}
    seen["ledger"] = str(list(ledger.entries())).encode()
    assert any(name.startswith("releasing") and name.endswith(".partial") for name in seen)
    assert len(seen) > 10
    assert not holds(seen, SECRET)


def test_a_true_label_that_is_written_would_be_found(tmp_path) -> None:
    labels = pa.array([SECRET, "flu", "cold"] * (N // 3))
    for name, table in (
        ("kept", TABLE.set_column(1, "y", labels)),
        ("metadata", TABLE.replace_schema_metadata({"labels": SECRET})),
    ):
        pq.write_table(table, tmp_path / name)
    assert sorted(holds(bytes_of(tmp_path), SECRET)) == ["kept", "metadata"]


def test_until_it_is_whole_an_output_is_its_owners_alone(parquet, tmp_path) -> None:
    modes = set()

    def look(what: str, done: int, total: int) -> None:
        partial = partial_name(tmp_path / "out.parquet")
        if partial.exists():
            modes.add(partial.stat().st_mode & 0o777)
        assert not (tmp_path / "out.parquet").exists()

    privatize_file(parquet, tmp_path / "out.parquet", RR, progress=look)
    assert modes == {0o600}
    assert (tmp_path / "out.parquet").stat().st_mode & 0o777 == parquet.stat().st_mode & 0o777


def test_a_failure_leaves_nothing_and_no_label_in_its_message(tmp_path) -> None:
    bad = TABLE.set_column(1, "y", pa.array(["flu"] * (N - 1) + ["ebola"]))
    pq.write_table(bad, tmp_path / "in.parquet")
    written_csv(tmp_path / "in.csv", bad)
    for name in ("parquet", "csv"):
        with pytest.raises(ValueError, match="none of them") as caught:
            privatize_file(tmp_path / f"in.{name}", tmp_path / f"out.{name}", RR, source=keyed())
        assert "ebola" not in str(caught.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["in.csv", "in.parquet"]


def test_the_ledger_is_charged_before_a_label_is_read_and_once(parquet, folder, tmp_path, ledger) -> None:
    ledger.set_cap("clicks", 1.5, unit="label")
    told = {"ledger": ledger, "dataset": "clicks"}
    charged = []

    def look(what: str, done: int, total: int) -> None:
        charged.append((what, sum(row["kind"] == "charge" for row in ledger.entries())))

    privatize_file(parquet, tmp_path / "out.parquet", RR, source=keyed(), progress=look, **told)
    assert set(charged) == {("reading what is public", 0), ("releasing", 1)}
    privatize_file(folder, tmp_path / "out", RR, source=keyed(), **told)
    with pytest.raises(BudgetSpent):
        privatize_file(parquet, tmp_path / "again.parquet", RR, **told)  # fresh noise pays again
    assert not (tmp_path / "again.parquet").exists()
    ledger.set_cap("clicks", 9, unit="label")
    for table, out in ((parquet, "nowhere/out.parquet"), (folder, "nowhere/out")):
        before = ledger.head
        with pytest.raises(FileNotFoundError, match="make it first"):
            privatize_file(table, tmp_path / out, RR, **told)
        assert ledger.head == before  # an output that cannot be is not paid for
    ledger.set_cap("clicks", 1.5, unit="label")
    head = Manifest.load(manifest_path(tmp_path / "out")).charge["head"]
    assert ledger.verify(head) == ()


class Killed(BaseException):
    pass


def stopped(after: int):
    calls = []

    def progress(what: str, done: int, total: int) -> None:
        calls.append(what)
        if calls.count("releasing") == after:
            raise Killed

    return progress


def test_a_folder_goes_on_where_it_was_stopped(folder, tmp_path) -> None:
    whole = privatize_file(folder, tmp_path / "whole", RR, source=keyed())
    out = tmp_path / "out"
    with pytest.raises(Killed):
        privatize_file(folder, out, RR, source=keyed(), progress=stopped(4))
    assert sorted(path.name for path in out.iterdir()) == ["0.parquet", "1.parquet", "_unfinished.json"]
    first = (out / "0.parquet").stat().st_ino
    with pytest.raises(FileExistsError, match="pays again"):
        privatize_file(folder, out, RR)  # without the key
    with pytest.raises(FileExistsError, match="pays again"):
        privatize_file(folder, out, RR, source=labeldp.KeyedSource(KEY, epoch="later"))
    (out / "1.parquet").write_bytes(b"damaged")
    assert privatize_file(folder, out, RR, source=keyed()) == whole
    assert (out / "0.parquet").stat().st_ino == first
    assert bytes_of(out) == bytes_of(tmp_path / "whole")
    with pytest.raises(FileExistsError, match="new or empty folder"):
        privatize_file(folder, out, RR, source=keyed())


def test_a_table_that_changes_while_it_is_read_is_refused(parquet, tmp_path) -> None:
    def change(what: str, done: int, total: int) -> None:
        if what == "reading what is public" and done == N:
            pq.write_table(TABLE.take(np.arange(N)[::-1]), parquet)

    with pytest.raises(ValueError, match="stay as it is"):
        privatize_file(parquet, tmp_path / "out.parquet", RR, source=keyed(), progress=change)
    assert not (tmp_path / "out.parquet").exists()


def test_an_output_is_written_by_one_process_and_what_another_left_is_overwritten(tmp_path) -> None:
    place = tmp_path / "out"
    partial_name(place).write_text("left by one that was killed")
    with whole_file(place) as file:
        file.write(b"whole")
        with pytest.raises(BlockingIOError, match="alone"), whole_file(place):
            pass
    assert place.read_bytes() == b"whole"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]
    with partial_name(place).open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(BlockingIOError), whole_file(place):
            pass


BAD = {
    "no file": (lambda at: at / "none.parquet", "out.parquet", "none at"),
    "another kind": (lambda at: at / "in.parquet", "out.csv", "ends in .parquet"),
    "no kind": (lambda at: at / "in.txt", "out.txt", ".parquet or .csv"),
    "damaged": (lambda at: at / "damaged.parquet", "out.parquet", "damaged"),
    "there already": (lambda at: at / "in.parquet", "in.parquet", "already there"),
    "no directory": (lambda at: at / "in.parquet", "none/out.parquet", "directory"),
    "short row": (lambda at: at / "short.csv", "out.csv", "fields in every row"),
    "open quote": (lambda at: at / "quote.csv", "out.csv", "UTF-8"),
    "empty folder": (lambda at: at / "empty", "out", "empty"),
    "nested folder": (lambda at: at / "nested", "out", "folders within"),
    "mixed folder": (lambda at: at / "mixed", "out", "one format"),
    "other schema": (lambda at: at / "schemas", "out", "one schema"),
    "onto itself": (lambda at: at / "schemas", "schemas", "another folder"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_files_are_refused_and_nothing_is_written(name: str, tmp_path) -> None:
    pq.write_table(TABLE, tmp_path / "in.parquet")
    (tmp_path / "in.txt").write_text("")
    (tmp_path / "damaged.parquet").write_bytes(b"PAR1 measles")
    (tmp_path / "short.csv").write_text("id,y\n1,flu\n2,measles,x\n")
    (tmp_path / "quote.csv").write_text('id,y\n1,flu\n2,"measles\n')
    (tmp_path / "empty").mkdir()
    (tmp_path / "nested" / "y=measles").mkdir(parents=True)
    (tmp_path / "mixed").mkdir()
    (tmp_path / "schemas").mkdir()
    pq.write_table(TABLE, tmp_path / "mixed" / "a.parquet")
    (tmp_path / "mixed" / "b.csv").write_text("id,y\n")
    pq.write_table(TABLE, tmp_path / "schemas" / "a.parquet")
    pq.write_table(TABLE.drop_columns(["town"]), tmp_path / "schemas" / "b.parquet")
    before = sorted(path.name for path in tmp_path.iterdir())
    path, out, word = BAD[name]
    with pytest.raises((ValueError, OSError), match=word) as caught:
        privatize_file(path(tmp_path), tmp_path / out, RR, source=keyed())
    assert "measles" not in str(caught.value).replace("y=measles", "")
    assert [entry for entry in sorted(file.name for file in tmp_path.iterdir()) if entry != "out"] == before


def test_an_empty_table_is_released_too(tmp_path) -> None:
    pq.write_table(TABLE[:0], tmp_path / "in.parquet")
    (tmp_path / "in.csv").write_text("id,y\n")
    for job in (RR, SRR):
        out = tmp_path / f"{type(job.mechanism).__name__}.parquet"
        assert privatize_file(tmp_path / "in.parquet", out, job, source=keyed()).rows == 0
        assert pq.read_table(out).num_rows == 0
    privatize_file(tmp_path / "in.csv", tmp_path / "out.csv", RR, source=keyed())
    assert (tmp_path / "out.csv").read_text() == "id,y_noisy\n"


def test_without_items_rows_have_fresh_noise(parquet, tmp_path) -> None:
    job = Job(RR.mechanism, Columns("y", CLASSES))
    for name in ("a", "b"):
        privatize_file(parquet, tmp_path / f"{name}.parquet", job)
    a, b = (pq.read_table(tmp_path / f"{name}.parquet") for name in "ab")
    assert not a["y_noisy"].equals(b["y_noisy"])
    with pytest.raises(TypeError, match="item=COLUMN"):
        privatize_file(parquet, tmp_path / "c.parquet", job, source=keyed())


def kills(folder: Path, rows: int, number: int, *options: str) -> dict:
    command = [
        sys.executable,
        "-m",
        "tests.labeldp.table_kills",
        str(folder),
        str(rows),
        str(number),
        *options,
    ]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def sound(found: dict) -> bool:
    """Nothing was seen without a charge, one charge paid for all, and whatever was whole is the same."""
    return found["uncharged"] == 0 and found["charges"] == 1 and found["contents"] == 1


def test_killed_jobs_release_nothing_twice_and_nothing_uncharged(tmp_path) -> None:
    found = kills(tmp_path, 200_000, 8)
    assert sound(found), found
    assert found["killed"] >= 4
    assert not [name for name in found["files"] if name.endswith(".partial")]


def test_a_release_that_is_not_charged_first_would_be_found(tmp_path) -> None:
    assert not sound(kills(tmp_path, 200_000, 2, "--late-charge"))


@pytest.mark.slow
def test_a_job_of_ten_million_rows_is_killed_at_twenty_moments(tmp_path) -> None:
    found = kills(tmp_path, 10_000_000, 20)
    assert sound(found), found
    assert found["killed"] >= 15
