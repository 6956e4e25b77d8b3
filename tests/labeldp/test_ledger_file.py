"""The ledger's file: safe where it lies, whole after kills and full disks, and no change of it goes unseen."""

import math
import os
import resource
import sqlite3
import tempfile
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

import accounting
from labeldp.tables import Ledger, ledger_file
from labeldp.tables import ledger as ledger_module
from labeldp.tables.budget import Cost

TENTH = accounting.RandomizedResponse(0.1, 10)


def test_a_new_ledger_is_the_owners_alone_and_no_two_begin_alike(path) -> None:
    with Ledger(path) as one, Ledger(path.with_name("two")) as two:
        assert one.head != two.head
    assert path.stat().st_mode & 0o777 == 0o600
    connection = sqlite3.connect(path)
    assert connection.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    connection.close()


def test_a_charge_waits_for_the_disk(ledger) -> None:
    assert ledger._connection.execute("PRAGMA synchronous").fetchone() == (2,)


def test_what_is_no_ledger_is_refused(path) -> None:
    with pytest.raises(FileNotFoundError, match="found none"):
        Ledger(path, read_only=True)
    with pytest.raises(FileNotFoundError, match="directory"):
        Ledger(path.parent / "none" / "ledger")
    with pytest.raises(ValueError, match="directory or a device"):
        Ledger(path.parent)
    path.write_bytes(b"no database, but long enough to look like one " * 100)
    with pytest.raises(ValueError, match="Expected a whole ledger"):
        Ledger(path)
    other = path.with_name("other")
    connection = sqlite3.connect(other)
    connection.execute("CREATE TABLE t (a)")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match="another file or database"):
        Ledger(other)


class Meddled:
    """A connection to which something happens when the log is about to be set up."""

    def __init__(self, path, meddle) -> None:
        self.connection, self.meddle = sqlite3.connect(path, isolation_level=None), meddle

    def execute(self, statement: str, *values):
        if statement == "PRAGMA journal_mode=WAL":
            self.meddle()
        return self.connection.execute(statement, *values)

    @property
    def in_transaction(self) -> bool:
        return self.connection.in_transaction


def test_two_processes_may_make_one_ledger(path, monkeypatch) -> None:
    ledger_file._create(path)
    ledger_file._create(path)  # the second finds it there
    late = Meddled(path, lambda: Ledger(path).close())  # another one makes it meanwhile
    ledger_file._prepare(late)
    late.connection.close()
    with Ledger(path) as ledger:
        assert [row["kind"] for row in ledger.entries()] == ["start"]
        assert ledger.verify() == ()


def test_setting_up_waits_for_its_turn(path, monkeypatch) -> None:
    ledger_file._create(path)
    refusals = iter([True, True, False])

    def refuse() -> None:
        if next(refusals):
            raise sqlite3.OperationalError("database is locked")

    waiting = Meddled(path, refuse)
    ledger_file._prepare(waiting)
    waiting.connection.close()
    Ledger(path, read_only=True).close()
    ledger_file._create(path.with_name("other"))
    monkeypatch.setattr(ledger_file, "BUSY_SECONDS", -1.0)
    hopeless = Meddled(
        path.with_name("other"), lambda: (_ for _ in ()).throw(sqlite3.OperationalError("locked"))
    )
    with pytest.raises(sqlite3.OperationalError, match="locked"):
        ledger_file._prepare(hopeless)
    hopeless.connection.close()


def test_a_file_without_its_log_is_read_and_not_charged(path) -> None:
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode=DELETE")
    connection.close()
    with pytest.raises(ValueError, match="journal mode 'delete'"):
        Ledger(path)
    with Ledger(path, read_only=True) as reader:
        assert reader.verify() == ()


def test_another_version_is_refused(path) -> None:
    Ledger(path).close()
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA user_version = 2")
    connection.commit()
    connection.close()
    with pytest.raises(ValueError, match=r"version 2; use the labeldp that wrote it"):
        Ledger(path)


def test_a_file_that_was_replaced_under_a_handle_is_seen(ledger, path) -> None:
    path.rename(path.with_name("moved"))
    with pytest.raises(ValueError, match="moved or replaced"):
        ledger.charge("clicks", TENTH, unit="label")
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="moved or replaced"):
        ledger.charge("clicks", TENTH, unit="label")


def test_network_file_systems_are_refused(path, monkeypatch) -> None:
    mounts = "short line\n/dev/a / ext4 rw 0 0\nserver:/x /mnt/share nfs4 rw 0 0\ntmpfs /mnt/share/own tmpfs rw 0 0\nx /with\\040space cifs rw 0 0\n"
    kinds = {
        "/a/b": "ext4",
        "/mnt/share/l": "nfs4",
        "/mnt/shared": "ext4",
        "/mnt/share/own/l": "tmpfs",
        "/with space/l": "cifs",
    }
    assert {place: ledger_file.file_system(Path(place), mounts) for place in kinds} == kinds
    monkeypatch.setattr(ledger_file, "file_system", lambda *_: "nfs4")
    with pytest.raises(ValueError, match="local disk"):
        Ledger(path)
    assert not path.exists()


def test_a_reader_changes_nothing(ledger, path) -> None:
    with Ledger(path, read_only=True) as reader:
        assert reader.verify(ledger.head) == ()
        with pytest.raises(PermissionError, match="nothing was charged"):
            reader.charge("clicks", TENTH, unit="label")
        with pytest.raises(PermissionError):
            reader.set_cap("clicks", 5.0, unit="label")
    assert len(list(ledger.entries())) == 2


@contextmanager
def as_nobody():
    """Leaves root's rights, which know no read-only files."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_file_that_cannot_be_written_is_not_charged(path) -> None:
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label")
    path.chmod(0o444)
    path.parent.chmod(0o555)
    try:
        with as_nobody():
            with pytest.raises(PermissionError, match="nothing was charged"):
                Ledger(path)
            with Ledger(path, read_only=True) as reader:
                assert reader.verify() == ()
    finally:
        path.parent.chmod(0o755)
        path.chmod(0o600)


@contextmanager
def full_disk(path: Path, room: int):
    """Files cannot grow beyond what the log has now, and some room."""
    size = max(file.stat().st_size for file in path.parent.iterdir() if file.name.startswith(path.name))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size + room, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("room", [0, 5000, 9000, 13000])
def test_a_full_disk_charges_nothing_and_heals(path, room) -> None:
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label")
        for i in range(3):
            ledger.charge("clicks", TENTH, unit="label", release=f"{i}")
        with full_disk(path, room):
            with pytest.raises(OSError, match="nothing may be released"):
                for i in range(3, 9):
                    ledger.charge("clicks", TENTH, unit="label", release=f"{i}")
            before = sum(row["kind"] == "charge" for row in ledger.entries())
        with Ledger(path) as other:
            assert other.verify() == ()
        receipt = ledger.charge("clicks", TENTH, unit="label", release=f"{before}")
        assert not receipt.replayed
        assert receipt.spent == (before + 1) / 10
        assert ledger.verify(receipt.head) == ()


def test_a_ledger_that_never_comes_free_says_so(ledger, path, monkeypatch) -> None:
    monkeypatch.setattr(ledger_file, "BUSY_SECONDS", 0.05)
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    with Ledger(path) as waiting, pytest.raises(TimeoutError, match="another process holds it"):
        waiting.charge("clicks", TENTH, unit="label")
    holder.execute("ROLLBACK")
    holder.close()


# Tampering


def filled(path: Path) -> list[str]:
    """A ledger with a few entries of every kind; the heads in order."""
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.5, unit="label", delta=1e-4)
        ledger.charge("clicks", TENTH, unit="label", release="a", part="monday")
        ledger.charge("clicks", [TENTH, accounting.Gaussian(5.0)], unit="label", about="a line")
        ledger.charge("clicks", accounting.ApproximateDP(0.1, 1e-6), unit="label", release="b")
        ledger.set_cap("clicks", 2.0, unit="label", delta=1e-4)
        return [row["head"] for row in ledger.entries()]


@contextmanager
def tampering(path: Path):
    """The file as SQLite opens it, with the triggers away while it is changed and back afterwards."""
    connection = sqlite3.connect(path, isolation_level=None)
    triggers = [name for name, text in ledger_file.SCHEMA.items() if text.startswith("CREATE TRIGGER")]
    for name in triggers:
        connection.execute(f"DROP TRIGGER {name}")
    yield connection
    for name in triggers:
        connection.execute(ledger_file.SCHEMA[name])
    connection.close()


def changed(value: object) -> list[object]:
    """Other values of the same type."""
    if isinstance(value, str):
        ends = [value[:-1] + chr(ord(value[-1]) ^ 1), chr(ord(value[0]) ^ 1) + value[1:]] if value else []
        return [*ends, value + "x", value[:-1] or "y"]
    if isinstance(value, float):
        return [math.nextafter(value, math.inf), value / 2, None, math.inf]
    return [value + 1, value - 1, None] if isinstance(value, int) else [0]


def test_sql_cannot_change_delete_or_insert_out_of_order(path) -> None:
    filled(path)
    connection = sqlite3.connect(path, isolation_level=None)
    row = "SELECT entry{}, kind, dataset, unit, part, release, content, about, pico_epsilon, atto_delta, renyi, total_pico_epsilon, total_atto_delta, total_renyi, spent, cap, written, previous, head FROM entries WHERE entry = 3"
    for statement in (
        "UPDATE entries SET about = 'nothing' WHERE entry = 3",
        "DELETE FROM entries WHERE entry = 6",
        f"INSERT INTO entries {row.format(' + 100')}",
        f"INSERT OR REPLACE INTO entries {row.format('')}",
        f"INSERT OR REPLACE INTO entries {row.format(' + 4')}",
    ):
        with pytest.raises(sqlite3.IntegrityError, match="a ledger"):
            connection.execute(statement)
    connection.close()
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify() == ()


def test_every_change_of_every_field_is_seen(path) -> None:
    filled(path)
    with Ledger(path, read_only=True) as ledger:
        rows = list(ledger.entries())
        assert ledger.verify() == ()
    content = path.read_bytes()
    tried = 0
    for row in rows:
        for field in row:
            for value in changed(row[field]):
                path.write_bytes(content)
                with tampering(path) as connection:
                    try:
                        connection.execute(
                            f"UPDATE entries SET {field} = ? WHERE entry = ?", (value, row["entry"])
                        )
                    except sqlite3.IntegrityError:  # the table itself refuses it
                        continue
                with Ledger(path, read_only=True) as ledger:
                    assert ledger.verify(), (row["entry"], field, value)
                tried += 1
    assert tried > 250


def test_rows_taken_out_or_put_in_are_seen(path) -> None:
    filled(path)
    content = path.read_bytes()
    for statement in (
        "DELETE FROM entries WHERE entry = 3",
        "DELETE FROM entries WHERE entry = 1",
        "DELETE FROM entries",
        "UPDATE entries SET entry = entry + 10 WHERE entry = 6",
        "UPDATE entries SET kind = 'start' WHERE entry = 3",
        "UPDATE entries SET kind = 'cap' WHERE entry = 1",
        "UPDATE entries SET kind = 'charge' WHERE entry = 2",
    ):
        path.write_bytes(content)
        with tampering(path) as connection:
            connection.execute(statement)
        with Ledger(path, read_only=True) as ledger:
            assert ledger.verify()


def test_a_tail_that_was_cut_off_is_seen_by_a_head_alone(path) -> None:
    """Without the head of a manifest a shorter ledger is whole, as an older copy of it was."""
    *_, fourth, last, _ = filled(path)
    with tampering(path) as connection:
        connection.execute("DELETE FROM entries WHERE entry > 4")
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify() == ()
        assert ledger.verify(fourth) == ()
        (problem,) = ledger.verify(last)
        assert "not in the chain" in problem


def write_anew(path: Path, change) -> None:
    """Changes rows (a list of dictionaries) and makes every digest fit again, as whoever can write the file can."""
    with tampering(path) as connection:
        names = [*ledger_file.FIELDS, "head"]
        query = f"SELECT {', '.join(names)} FROM entries ORDER BY entry"
        rows = [dict(zip(names, row, strict=True)) for row in connection.execute(query).fetchall()]
        change(rows)
        connection.execute("DELETE FROM entries")
        previous = ""
        for row in rows:
            row["previous"] = row["previous"] if row["previous"] == "elsewhere" else previous
            row["head"] = previous = ledger_file.head_of(row)
            connection.execute(
                f"INSERT INTO entries ({', '.join(names)}) VALUES ({', '.join('?' * len(names))})",
                [row[name] for name in names],
            )


def test_a_ledger_written_anew_is_seen_by_a_head_alone(path) -> None:
    heads = filled(path)
    write_anew(path, lambda rows: rows[0].update(about="rewritten"))
    with Ledger(path, read_only=True) as ledger:
        assert ledger.verify() == ()
        assert all(ledger.verify(head) for head in heads)


def leave_out_the_first_cap(rows: list[dict]) -> None:
    del rows[1]
    for number, row in enumerate(rows, 1):
        row["entry"] = number


ANEW = {
    "does not follow": lambda rows: rows[3].update(previous="elsewhere"),
    "another delta or order": lambda rows: rows[5].update(atto_delta=rows[5]["atto_delta"] * 2),
    "another delta or order than": lambda rows: rows[5].update(content='{"order": 3.0}'),
    "without a cap": leave_out_the_first_cap,
    "passed the cap": lambda rows: (
        [row.update(cap=10**11, pico_epsilon=10**11) for row in rows[1:2]]
        + [row.update(cap=10**11) for row in rows[2:5]]
    ),
    "for less than its event costs": lambda rows: rows[4].update(atto_delta=0, total_atto_delta=0),
    "charged for less": lambda rows: rows[2].update(renyi=0.0, total_renyi=0.0),
    "add up": lambda rows: rows[4].update(total_renyi=1.0),
    "states less": lambda rows: rows[4].update(spent=1),
    "cannot be read": lambda rows: rows[2].update(content="{}"),
    "is a start": lambda rows: rows[2].update(kind="start"),
}


@pytest.mark.parametrize("problem", ANEW)
def test_sums_and_caps_are_checked_by_what_was_charged(path, problem) -> None:
    """Digests that fit do not make a ledger whole."""
    filled(path)
    write_anew(path, ANEW[problem])
    with Ledger(path, read_only=True) as ledger:
        assert any(problem in one for one in ledger.verify())


def test_triggers_that_are_gone_are_seen(path) -> None:
    filled(path)
    connection = sqlite3.connect(path)
    connection.execute("DROP TRIGGER never_changed")
    connection.commit()
    connection.close()
    with Ledger(path, read_only=True) as ledger:
        (problem,) = ledger.verify()
        assert "never_changed" in problem


def test_a_changed_end_is_not_charged_on(path) -> None:
    filled(path)
    with tampering(path) as connection:
        connection.execute("UPDATE entries SET about = 'x' WHERE entry = 6")
    with Ledger(path) as ledger, pytest.raises(ValueError, match="entry 6 was changed"):
        ledger.charge("clicks", TENTH, unit="label")


def test_damaged_pages_are_seen(path) -> None:
    """Sixteen bytes of noise anywhere in the file: verify says something or the ledger does not open."""
    filled(path)
    content = path.read_bytes()
    draw = np.random.default_rng(0)
    used = [i for i in range(100, len(content), 16) if any(content[i : i + 16])]
    seen = 0
    for place in draw.choice(used, 60, replace=False):
        noise = draw.integers(256, size=16, dtype=np.uint8).tobytes()
        path.write_bytes(content[:place] + noise + content[place + 16 :])
        try:
            with Ledger(path, read_only=True) as ledger:
                seen += bool(ledger.verify())
        except ValueError:
            seen += 1
    assert seen == 60


def test_costs_below_todays_are_seen(path, monkeypatch) -> None:
    """A ledger written by an accountant that charged too little."""
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label")
        monkeypatch.setattr(ledger_module, "cost_of", lambda *_: Cost(1))
        ledger.charge("clicks", TENTH, unit="label")
        (problem,) = ledger.verify()
        assert "charged for less" in problem


# Kills


def test_killed_writers_leave_nothing_uncharged(path) -> None:
    from benchmarks.ledger import killed

    result = killed(path.parent, 20, seed=0, cap=0.5)
    assert (result["released and not charged"], result["over the cap"], result["problems"]) == (0, False, [])
    assert result["spent"] == 0.5


def test_releasing_first_would_be_found_out(path) -> None:
    from benchmarks.ledger import killed

    assert killed(path.parent, 20, seed=0, early=True, cap=1000.0)["released and not charged"] > 0


@pytest.mark.slow
def test_a_thousand_kills() -> None:
    from benchmarks.ledger import killed

    with tempfile.TemporaryDirectory() as folder:
        result = killed(Path(folder), 1000, seed=1)
    assert (result["released and not charged"], result["over the cap"], result["problems"]) == (0, False, [])


def test_sqlite_is_new_enough_for_strict_tables() -> None:
    assert sqlite3.sqlite_version_info >= (3, 37)
