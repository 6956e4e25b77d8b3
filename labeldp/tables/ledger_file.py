"""The file under a ledger: SQLite, one table that only grows, every row holding the digest of the row before it.

Rows are written by `Ledger` alone and checked by `ledger_check`; what is kept of them is told by `SCHEMA`.
"""

import hashlib
import json
import os
import secrets
import sqlite3
import time
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

APPLICATION = 0x6C647031
VERSION = 1
BUSY_SECONDS = 60.0

FIELDS = (
    "entry",
    "kind",
    "dataset",
    "unit",
    "part",
    "release",
    "content",
    "about",
    "pico_epsilon",
    "atto_delta",
    "renyi",
    "total_pico_epsilon",
    "total_atto_delta",
    "total_renyi",
    "spent",
    "cap",
    "written",
    "previous",
)
"""What a row says; its head is the digest of these."""

SCHEMA = {
    "entries": """CREATE TABLE entries (
    entry INTEGER PRIMARY KEY,
    kind TEXT NOT NULL CHECK (kind IN ('start', 'cap', 'charge')),
    dataset TEXT NOT NULL,
    unit TEXT NOT NULL,
    part TEXT NOT NULL,
    release TEXT UNIQUE,
    content TEXT NOT NULL,
    about TEXT NOT NULL,
    pico_epsilon INTEGER,
    atto_delta INTEGER,
    renyi REAL,
    total_pico_epsilon INTEGER,
    total_atto_delta INTEGER,
    total_renyi REAL,
    spent INTEGER,
    cap INTEGER,
    written TEXT NOT NULL,
    previous TEXT NOT NULL,
    head TEXT NOT NULL
) STRICT""",
    "budgets": "CREATE INDEX budgets ON entries (dataset, unit, kind, part, entry)",
    "only_appended": """CREATE TRIGGER only_appended BEFORE INSERT ON entries
WHEN NEW.entry IS NOT (SELECT COALESCE(MAX(entry), 0) + 1 FROM entries)
    OR NEW.previous IS NOT COALESCE((SELECT head FROM entries ORDER BY entry DESC LIMIT 1), '')
    OR EXISTS (SELECT 1 FROM entries WHERE release = NEW.release)
BEGIN SELECT RAISE(ABORT, 'a ledger grows at its end only'); END""",
    "never_changed": """CREATE TRIGGER never_changed BEFORE UPDATE ON entries
BEGIN SELECT RAISE(ABORT, 'a ledger forgets nothing'); END""",
    "never_deleted": """CREATE TRIGGER never_deleted BEFORE DELETE ON entries
BEGIN SELECT RAISE(ABORT, 'a ledger forgets nothing'); END""",
}

NETWORK = ("nfs", "cifs", "smb", "afs", "ceph", "lustre", "gluster", "beegfs", "gpfs", "fuse.sshfs")
"""Beginnings of the names of file systems that several machines see, where locks and shared memory may not be shared."""

Row = dict[str, Any]


def opened(path: Path, *, read_only: bool) -> sqlite3.Connection:
    """A connection to a ledger's file; a new file is made where there is none.

    Raises:
        FileNotFoundError, PermissionError, OSError: the file cannot be had.
        ValueError: it is no ledger, one of another version, or lies where a ledger cannot be safe.
    """
    _refuse_networks(path)
    if not path.is_file():
        if path.exists():
            raise ValueError(f"Expected a ledger's file at {path}, got a directory or a device.")
        if read_only:
            raise FileNotFoundError(f"Expected a ledger, found none at {path}.")
        _create(path)
    with named_errors(path):
        connection = _connected(path, read_only)
        try:
            if not read_only:
                _prepare(connection)
            _recognise(connection, path, read_only)
        except BaseException:
            connection.close()
            raise
    if not read_only:
        _sync_folder(path)  # the names of the file and of its log
    return connection


def head_of(row: Row) -> str:
    """The digest of a row, and with it of all rows before: 64 hex digits."""
    told = json.dumps([row[name] for name in FIELDS], separators=(",", ":"))
    return hashlib.sha256(told.encode()).hexdigest()


def append(connection: sqlite3.Connection, last: Row | None, **values: Any) -> Row:
    """Writes one row after the last one, within the transaction that read it, and returns it."""
    row: Row = dict.fromkeys(FIELDS)
    row |= {"entry": 1, "previous": "", "part": "", "about": ""} | values
    if last is not None:
        row |= {"entry": last["entry"] + 1, "previous": last["head"]}
    row["written"] = datetime.now(UTC).isoformat(timespec="seconds")
    row["head"] = head_of(row)
    connection.execute(
        f"INSERT INTO entries ({', '.join(row)}) VALUES ({', '.join('?' * len(row))})", tuple(row.values())
    )
    return row


@contextmanager
def writing(connection: sqlite3.Connection) -> Generator[None]:
    """One transaction that no other writer can come between; it is on the disk when this is left without an error."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


@contextmanager
def named_errors(path: Path) -> Generator[None]:
    """Turns the errors of SQLite into ones that say what to do."""
    try:
        yield
    except sqlite3.Error as error:
        raise named(error, path) from error


def named(error: sqlite3.Error, path: Path) -> Exception:
    """The error of a ledger that an error of SQLite comes to."""
    match getattr(error, "sqlite_errorcode", 0) & 0xFF:
        case sqlite3.SQLITE_BUSY:
            return TimeoutError(
                f"Expected the ledger {path} to be free within {BUSY_SECONDS:.0f} s, got no turn; another process holds it: let that end."
            )
        case sqlite3.SQLITE_READONLY | sqlite3.SQLITE_CANTOPEN | sqlite3.SQLITE_PERM:
            return PermissionError(
                f"Expected a ledger that can be written at {path}, in a directory that can be, got: {error}; nothing was charged, "
                f"nothing may be released."
            )
        case sqlite3.SQLITE_FULL | sqlite3.SQLITE_IOERR:
            return OSError(
                f"Expected a disk with room and in order for the ledger {path}, got: {error}; nothing may be released. Make room, and "
                f"charge again."
            )
        case _:
            return ValueError(
                f"Expected a whole ledger at {path}, got: {error}; look at it with: labeldp ledger verify {path}"
            )


def _create(path: Path) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"Expected a directory for the ledger, found none at {path.parent}.")
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_CLOEXEC, 0o600))
    except FileExistsError:
        return  # another process was quicker
    _sync_folder(path)


def _connected(path: Path, read_only: bool) -> sqlite3.Connection:
    mode = "rw"
    if read_only:
        # In a directory that cannot be written a ledger without a log can be read as it lies.
        log = path.with_name(path.name + "-wal")
        empty = not log.exists() or log.stat().st_size == 0
        effective = os.access in os.supports_effective_ids
        fixed = empty and not os.access(path.parent, os.W_OK, effective_ids=effective)
        mode = "ro&immutable=1" if fixed else "ro"
    connection = sqlite3.connect(
        f"file:{quote(str(path))}?mode={mode}",
        uri=True,
        timeout=BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    for pragma in ("synchronous=FULL", "fullfsync=ON", "trusted_schema=OFF", "cell_size_check=ON"):
        connection.execute(f"PRAGMA {pragma}")
    return connection


def _prepare(connection: sqlite3.Connection) -> None:
    """Makes an empty file a ledger."""
    if _pragma(connection, "application_id") or connection.execute("SELECT 1 FROM sqlite_master").fetchone():
        return
    deadline = time.monotonic() + BUSY_SECONDS
    while True:  # SQLite does not wait for its turn here
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            break
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
    with writing(connection):
        if _pragma(connection, "application_id"):
            return
        for statement in SCHEMA.values():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={APPLICATION}")
        connection.execute(f"PRAGMA user_version={VERSION}")
        append(connection, None, kind="start", dataset="", unit="", content=secrets.token_hex(16))


def _recognise(connection: sqlite3.Connection, path: Path, read_only: bool) -> None:
    if _pragma(connection, "application_id") != APPLICATION:
        raise ValueError(f"Expected a ledger at {path}, got another file or database.")
    version = _pragma(connection, "user_version")
    if version != VERSION:
        raise ValueError(
            f"Expected a ledger of version {VERSION} at {path}, got version {version}; use the labeldp that wrote it."
        )
    (mode,) = connection.execute("PRAGMA journal_mode").fetchone()
    if mode != "wal" and not read_only:
        raise ValueError(
            f"Expected a ledger with a write-ahead log at {path}, got journal mode {mode!r}, set by someone else; restore it with: "
            f"sqlite3 {path} 'PRAGMA journal_mode=WAL'"
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return connection.execute(f"PRAGMA {name}").fetchone()[0]


def _refuse_networks(path: Path) -> None:
    mounts = Path("/proc/self/mounts")
    kind = file_system(path, mounts.read_text()) if mounts.is_file() else ""
    if kind.startswith(NETWORK):
        raise ValueError(
            f"Expected a ledger on a local disk, {path} lies on {kind}, where two machines could charge at once without seeing each "
            f"other; keep it on a disk of the machine that releases."
        )


def file_system(path: Path, mounts: str) -> str:
    """The kind of file system a path lies on, by a table in the form of /proc/mounts; empty where that does not tell."""
    best, found = -1, ""
    for line in mounts.splitlines():
        fields = line.split()
        if len(fields) > 2:
            point = Path(fields[1].encode().decode("unicode_escape"))
            if path.is_relative_to(point) and len(point.parts) >= best:
                best, found = len(point.parts), fields[2]
    return found


def _sync_folder(path: Path) -> None:
    descriptor = os.open(path.parent, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
