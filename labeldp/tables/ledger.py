"""A ledger of everything that was charged to data sets, and the caps that no charge passes. Charge first, release then."""

import json
import os
import secrets
import sqlite3
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import Any, NoReturn, Self

import accounting
from accounting import Unit, arguments
from accounting.events import EventLike, as_event
from labeldp.tables import ledger_check, ledger_file
from labeldp.tables.budget import ATTO, PICO, Budget, Cost, budget, cost_of, stated
from labeldp.tables.ledger_file import Row, append, head_of, named, named_errors, writing

UNITS = ("label", "answer", "record")
LONGEST = 200


class BudgetSpent(ValueError):
    """A charge would pass the cap; nothing was charged, nothing may be released."""


@dataclass(frozen=True)
class Receipt:
    """What a charge came to; the same for its replays, but for `replayed`.

    Attributes:
        entry: its number in the ledger.
        head: the digest of the ledger up to it, for the manifest of the release: it shows later that nothing was taken out.
        spent, left: epsilon once it had been charged, of the part that lost most among those it touched; to 1e-12.
        replayed: whether it had been charged before, and cost nothing now.
    """

    entry: int
    head: str
    spent: float
    left: float
    replayed: bool


@dataclass(frozen=True)
class Balance:
    """One budget as it stands: the cap, and what its part that lost most has spent; epsilon 0 left where that is more."""

    dataset: str
    unit: str
    epsilon: float
    delta: float
    spent: float
    left: float
    charges: int
    parts: tuple[str, ...]


class Ledger:
    """Charges against caps in one file, that several processes and threads may use at once.

    A budget is kept for each (data set, unit). Charges add up by the accountants of `accounting`, whoever made them and whatever
    they were chosen by. Parts are disjoint sets of what is protected, named publicly; charges to one part cost the others nothing.

    Args:
        path: a file on a local disk; it is made where there is none.
        read_only: for looking at it; then it has to be there.

    Raises:
        FileNotFoundError, PermissionError, ValueError: no directory or no right to write; no ledger; a network file system.

    Privacy: for everything that was released after its charge, the cap in force at the last charge holds for each protected thing,
        also if charges were chosen by earlier releases, provided that the data set is the same under its name, that parts share
        nothing, and that nothing was released past the ledger. It holds against `kill -9` and loss of power as far as the disk
        keeps what it says it wrote. It cannot see that its file was replaced by an older copy: `verify` with the head from a
        manifest can.
    """

    def __init__(self, path: str | PathLike[str], *, read_only: bool = False) -> None:
        self._path = Path(path).resolve()
        self._text = str(self._path)
        self._read_only = read_only
        self._connection = ledger_file.opened(self._path, read_only=read_only)
        self._file, self._process, self._turn = self._identity(), os.getpid(), threading.Lock()

    def charge(
        self,
        dataset: str,
        event: EventLike,
        *,
        unit: Unit,
        release: str | None = None,
        part: str = "",
        about: str = "",
    ) -> Receipt:
        """Charges a release that is about to happen; when this returns, the charge is on the disk.

        Args:
            dataset: the public name of the data whose labels, answers or records are protected, all versions of it.
            event: what is going to happen, or more than that.
            unit: whose budget.
            release: the digest of everything its noise depends on, `KeyedSource.release_digest`: the same one again costs this
                unit and part nothing. None for noise that is fresh each time: it is always charged. For a record, items have to be
                in it.
            part: the public name of a part that shares nothing with any other part of the data set; by default all of it.
            about: a public line for those who read the ledger.

        Raises:
            BudgetSpent: it would pass the cap.
            ValueError: no cap was set; `release` was charged as another event or to another data set; seeded noise; a file that is
                not what it was.
            OSError: it could not be written.
        """
        name, piece = checked_name("dataset", dataset), checked_name("part", part, empty=True)
        arguments.one_of("unit", unit, UNITS)
        told = _told(as_event(event), unit)
        if release is None:
            key = f"once {secrets.token_hex(32)}"
        else:  # one release may cost several units and parts, each of them once
            key = f"keyed {unit} {len(piece)} {piece} {checked_name('release', release)}"
        about = checked_name("about", about, empty=True)
        with self._ready():
            try:
                known = None if release is None else self._charged(key)
                if known is None:
                    with writing(self._connection):
                        known = self._charged(key)
                        if known is None:
                            row = self._charge(name, unit, piece, key, told, about)
                            return _receipt(
                                row["entry"], row["head"], row["spent"], row["cap"], replayed=False
                            )
            except sqlite3.Error as error:
                raise named(error, self._path) from error
        entry, head, spent, cap, *charged = known
        if charged != [name, unit, piece, told]:
            raise ValueError(
                f"Expected the release that entry {entry} was charged for, got another event or data set under its name; what differs "
                f"belongs into the name: give it another epoch."
            )
        return _receipt(entry, head, spent, cap, replayed=True)

    def set_cap(self, dataset: str, epsilon: float, *, unit: Unit, delta: float = 0.0) -> str:
        """Sets, raises or lowers the cap of a budget, as an entry that stays to be seen; returns the head after it.

        Delta, and the Rényi order that goes with it, are fixed by the first cap: statements at several of them would not be one.
        A cap raised because of what was released is itself an outcome: what was spent still holds, the first cap does not.

        Raises:
            TypeError, ValueError: not numbers, out of range, or another delta than the first one.
        """
        name = checked_name("dataset", dataset)
        arguments.one_of("unit", unit, UNITS)
        asked = budget(epsilon, delta)
        with self._ready(), named_errors(self._path), writing(self._connection):
            first = self._budget(name, unit)
            if first is not None and first.atto_delta != asked.atto_delta:
                raise ValueError(
                    f"Expected delta {first.atto_delta / ATTO!r}, fixed by the first cap of {name!r}, got {float(delta)!r}; only "
                    f"epsilon can be changed."
                )
            order = asked.order if first is None else first.order
            content = json.dumps({"order": order})
            row = append(
                self._connection,
                self._last(),
                kind="cap",
                dataset=name,
                unit=unit,
                content=content,
                pico_epsilon=asked.pico_epsilon,
                atto_delta=asked.atto_delta,
            )
        return row["head"]

    def balances(self) -> tuple[Balance, ...]:
        """Every budget as it stands."""
        with self._ready(), named_errors(self._path):
            self._connection.execute("BEGIN")
            try:
                names = self._rows(
                    "SELECT DISTINCT dataset, unit FROM entries WHERE kind = 'cap' ORDER BY 1, 2"
                )
                return tuple(self._balance(row["dataset"], row["unit"]) for row in names)
            finally:
                self._connection.execute("ROLLBACK")

    def entries(self) -> Iterator[Row]:
        """Every row in order, as a dictionary: see `ledger_file.SCHEMA`; `event_of` reads what was charged."""
        last = 0
        while True:
            with self._ready(), named_errors(self._path):
                rows = self._rows("SELECT * FROM entries WHERE entry > ? ORDER BY entry LIMIT 1000", last)
            if not rows:
                return
            last = rows[-1]["entry"]
            yield from rows

    def verify(self, head: str | None = None) -> tuple[str, ...]:
        """What is wrong with the ledger, in words; nothing where it is whole.

        Args:
            head: one from the manifest of a release, which has to be in the chain. Without it a ledger that was cut off at its
                end, replaced by an older copy, or written anew as a whole, looks like any other.
        """
        with self._ready(), named_errors(self._path):
            return ledger_check.problems(self._connection, head)

    @property
    def head(self) -> str:
        """The digest of the last entry, and with it of all."""
        with self._ready(), named_errors(self._path):
            return self._last()["head"]

    def close(self) -> None:
        """Closes the file."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"Ledger({str(self._path)!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("A Ledger cannot be copied or pickled; open another one from its path.")

    def _charge(self, name: str, unit: Unit, part: str, key: str, told: str, about: str) -> Row:
        """Appends a charge, within a transaction, if the cap allows it."""
        current = self._budget(name, unit)
        if current is None:
            raise ValueError(
                f"Expected a cap for {unit}s of {name!r} before the first charge, found none; set it with: labeldp ledger cap "
                f"{self._path} --data {name} --unit {unit} --epsilon E"
            )
        cost = cost_of(_event(told), unit, current.order)
        totals = self._totals(name, unit)
        total = totals.get(part, Cost()).plus(cost)
        whole = totals.get("", Cost())
        others = [whole.plus(total)] if part else [total.plus(totals[piece]) for piece in totals if piece]
        after = [current.spent(lost) for lost in (others or [total])]
        spent = max((s for s in after if s is not None), default=0)
        if None in after or spent > current.pico_epsilon:
            self._refuse(name, unit, current, cost, totals)
        return append(
            self._connection,
            self._last(),
            kind="charge",
            dataset=name,
            unit=unit,
            part=part,
            release=key,
            content=told,
            about=about,
            pico_epsilon=cost.pico_epsilon,
            atto_delta=cost.atto_delta,
            renyi=cost.renyi,
            total_pico_epsilon=total.pico_epsilon,
            total_atto_delta=total.atto_delta,
            total_renyi=total.renyi,
            spent=spent,
            cap=current.pico_epsilon,
        )

    def _refuse(self, name: str, unit: str, current: Budget, cost: Cost, totals: dict[str, Cost]) -> NoReturn:
        before = _epsilon(_most_spent(current, totals))
        alone = _epsilon(current.spent(cost))
        certificates = ""
        if cost.atto_delta and current.order:
            certificates = (
                f" Half of the cap's delta pays for composition, half for certificates: the event asks for "
                f"{cost.atto_delta / ATTO!r} of {current.atto_delta / (2 * ATTO)!r}."
            )
        raise BudgetSpent(
            f"Expected a charge within the cap of epsilon {_epsilon(current.pico_epsilon)!r} at delta {current.atto_delta / ATTO!r} for "
            f"{unit}s of {name!r}, of which {before!r} is spent, got one that costs {alone!r} alone; nothing was charged, nothing may be "
            f"released. Ask for a smaller epsilon, or stop.{certificates}"
        )

    def _budget(self, name: str, unit: str) -> Budget | None:
        rows = self._rows(
            "SELECT content, pico_epsilon, atto_delta FROM entries WHERE dataset = ? AND unit = ? AND kind = 'cap' "
            "ORDER BY entry DESC LIMIT 1",
            name,
            unit,
        )
        return ledger_check.budget_of(rows[0]) if rows else None

    def _totals(self, name: str, unit: str) -> dict[str, Cost]:
        """What was charged to each part, and to all under the empty name."""
        last = "SELECT * FROM entries WHERE dataset = ? AND unit = ? AND kind = 'charge' AND part {} ORDER BY part DESC, entry DESC LIMIT 1"
        totals: dict[str, Cost] = {}
        rows = self._rows(last.format("= ''"), name, unit)
        for row in rows:
            totals[""] = ledger_check.total_of(row)
        rows = self._rows(last.format("> ''"), name, unit)
        while rows:  # one look into the index for each part, the last one first
            totals[rows[0]["part"]] = ledger_check.total_of(rows[0])
            rows = self._rows(last.format("> '' AND part < ?"), name, unit, rows[0]["part"])
        return totals

    def _balance(self, name: str, unit: str) -> Balance:
        current = self._budget(name, unit)
        assert current is not None
        totals = self._totals(name, unit)
        spent = _most_spent(current, totals)
        (count,) = self._connection.execute(
            "SELECT COUNT(*) FROM entries WHERE dataset = ? AND unit = ? AND kind = 'charge'", (name, unit)
        ).fetchone()
        return Balance(
            name,
            unit,
            _epsilon(current.pico_epsilon),
            current.atto_delta / ATTO,
            _epsilon(spent),
            _left(current.pico_epsilon, spent),
            count,
            tuple(sorted(filter(None, totals))),
        )

    def _charged(self, key: str) -> tuple[Any, ...] | None:
        return self._connection.execute(
            "SELECT entry, head, spent, cap, dataset, unit, part, content FROM entries WHERE release = ?",
            (key,),
        ).fetchone()

    def _last(self) -> Row:
        (row,) = self._rows("SELECT * FROM entries ORDER BY entry DESC LIMIT 1")
        if head_of(row) != row["head"]:
            raise ValueError(
                f"Expected a whole ledger at {self._path}, entry {row['entry']} was changed; nothing may be charged to it. See: labeldp "
                f"ledger verify {self._path}"
            )
        return row

    def _rows(self, query: str, *values: object) -> list[Row]:
        cursor = self._connection.execute(query, values)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor]

    def _ready(self) -> threading.Lock:
        """The lock of this handle, once it is sure that the file under it is the one that stands at its path."""
        if os.getpid() != self._process:
            raise ValueError(
                "Expected a ledger opened in this process, got one from before a fork; open another from its path."
            )
        if self._identity() != self._file:
            raise ValueError(
                f"Expected the file {self._path} to stay where it is, it was moved or replaced while it was open; open the ledger again."
            )
        return self._turn

    def _identity(self) -> tuple[int, int] | None:
        try:
            status = os.stat(self._text)  # noqa: PTH116 - on the path of every replay
        except FileNotFoundError:
            return None
        return status.st_dev, status.st_ino


def checked_name(name: str, value: object, *, empty: bool = False) -> str:
    """A public text that has one spelling only: printable ASCII, no space at either end.

    Raises:
        TypeError, ValueError: it is not one.
    """
    if not isinstance(value, str):
        raise TypeError(f"Expected {name} to be a text, got {type(value).__name__}.")
    if not value and empty:
        return value
    if not value or not value.isascii() or not value.isprintable() or value != value.strip():
        raise ValueError(
            f"Expected {name} to be a text of printable ASCII characters without spaces at its ends{'' if empty else ', not empty'}, got "
            f"another: two spellings would be two budgets."
        )
    if len(value) > LONGEST:
        raise ValueError(f"Expected {name} to have at most {LONGEST} characters, got {len(value)}.")
    return value


def event_of(row: Row) -> accounting.Event | None:
    """The event of a row that is a charge; None for others."""
    return _event(row["content"]) if row["kind"] == "charge" else None


def _event(content: str) -> accounting.Event:
    return accounting.event_from_dict(json.loads(content))


@lru_cache(maxsize=4096)
def _told(event: accounting.Event, unit: str) -> str:
    return json.dumps(accounting.event_to_dict(stated(event, unit)), sort_keys=True)


def _most_spent(current: Budget, totals: dict[str, Cost]) -> int | None:
    whole = totals.get("", Cost())
    spent = [current.spent(whole.plus(cost)) for part, cost in totals.items() if part] or [
        current.spent(whole)
    ]
    return None if None in spent else max(s for s in spent if s is not None)


def _epsilon(pico: int | None) -> float:
    return float("inf") if pico is None else pico / PICO


def _left(cap: int, spent: int | None) -> float:
    return 0.0 if spent is None else max(0, cap - spent) / PICO


def _receipt(entry: int, head: str, spent: int, cap: int, *, replayed: bool) -> Receipt:
    return Receipt(entry, head, spent / PICO, (cap - spent) / PICO, replayed)
