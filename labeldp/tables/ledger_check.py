"""Whether a ledger is whole: every row by its digest, every sum and every cap by what was charged."""

import json
import math
import sqlite3
from collections.abc import Iterator
from typing import Any

import accounting
from labeldp.tables.budget import Budget, Cost, cost_of
from labeldp.tables.ledger_file import FIELDS, SCHEMA, Row, head_of

TOLERANCE = 1e-9
"""How much smaller, relatively, a divergence of another version or machine may have been."""


def budget_of(row: Row) -> Budget:
    """The budget that a row of kind cap set."""
    return Budget(row["pico_epsilon"], row["atto_delta"], json.loads(row["content"])["order"])


def total_of(row: Row) -> Cost:
    """What had been charged to the part of a row, the row included."""
    return Cost(row["total_pico_epsilon"], row["total_atto_delta"], row["total_renyi"])


def problems(connection: sqlite3.Connection, head: str | None) -> tuple[str, ...]:
    """Everything that is wrong, in words."""
    found = [
        f"the file is damaged: {line}"
        for (line,) in connection.execute("PRAGMA integrity_check")
        if line != "ok"
    ]
    if found:
        return tuple(found)
    names: list[str] = [*FIELDS, "head"]
    connection.execute("BEGIN")
    try:
        found += _schema(connection)
        cursor = connection.execute(f"SELECT {', '.join(names)} FROM entries ORDER BY entry")
        rows = (dict(zip(names, values, strict=True)) for values in cursor)
        heads: set[str] = set()
        found += _chain(rows, heads)
    finally:
        connection.execute("ROLLBACK")
    if head is not None and head not in heads:
        found.append(
            f"the head {head} is not in the chain: entries were taken out or replaced since it was given out, or it belongs to another "
            f"ledger"
        )
    return tuple(found)


def _schema(connection: sqlite3.Connection) -> Iterator[str]:
    """What of the table, its index and its triggers is not as it was made."""
    there: dict[str, Any] = dict(
        connection.execute("SELECT name, sql FROM sqlite_master WHERE name NOT LIKE 'sqlite_%'").fetchall()
    )
    for name in SCHEMA.keys() | there.keys():
        if there.get(name) != SCHEMA.get(name):
            yield f"{name} is not as a ledger is made: what keeps entries from being changed may have been switched off"


def _chain(rows: Iterator[Row], heads: set[str]) -> Iterator[str]:
    previous, count = "", 0
    budgets: dict[tuple[str, str], Budget] = {}
    totals: dict[tuple[str, str], dict[str, Cost]] = {}
    for count, row in enumerate(rows, 1):
        place = f"entry {row['entry']}"
        if row["entry"] != count:
            yield f"{place} stands where entry {count} should: entries are missing"
            return
        if head_of(row) != row["head"]:
            yield f"{place} was changed"
        if row["previous"] != previous:
            yield f"{place} does not follow the entry before it"
        if (row["kind"] == "start") != (count == 1):
            yield f"{place} is a start, and not the first entry" if count > 1 else f"{place} is not a start"
        previous = row["head"]
        heads.add(previous)
        try:
            yield from (f"{place} {problem}" for problem in _meaning(row, budgets, totals))
        except (TypeError, ValueError, KeyError) as error:
            yield f"{place} cannot be read: {error}"
    if count == 0:
        yield "there is no entry, not even the first"


def _meaning(
    row: Row, budgets: dict[tuple[str, str], Budget], totals: dict[tuple[str, str], dict[str, Cost]]
) -> Iterator[str]:
    """What is wrong with a row as a cap or a charge; keeps the books."""
    line = row["dataset"], row["unit"]
    if row["kind"] == "cap":
        budget, first = budget_of(row), budgets.get(line)
        if first is not None and (budget.atto_delta, budget.order) != (first.atto_delta, first.order):
            yield "has another delta or order than the first cap"
        budgets[line] = budget
    elif row["kind"] == "charge":
        if line not in budgets:
            yield "was charged without a cap"
            return
        cost = Cost(row["pico_epsilon"], row["atto_delta"], row["renyi"])
        if not _covers(cost, _recomputed(row, budgets[line])):
            yield "was charged for less than its event costs"
        books = totals.setdefault(line, {})
        books[row["part"]] = books.get(row["part"], Cost()).plus(cost)
        if books[row["part"]] != total_of(row):
            yield "does not add up with the charges before it"
        yield from _cap(row, budgets[line], books)


def _recomputed(row: Row, budget: Budget) -> Cost:
    event = accounting.event_from_dict(json.loads(row["content"]))
    return cost_of(event, row["unit"], budget.order)


def _covers(charged: Cost, due: Cost) -> bool:
    """Whether what was charged is not less than what the event costs by today's accountant."""
    enough = charged.pico_epsilon is None or (
        due.pico_epsilon is not None and charged.pico_epsilon >= due.pico_epsilon
    )
    close = charged.renyi >= due.renyi or (
        math.isfinite(due.renyi) and charged.renyi >= due.renyi * (1 - TOLERANCE)
    )
    return enough and close and charged.atto_delta >= due.atto_delta


def _cap(row: Row, budget: Budget, books: dict[str, Cost]) -> Iterator[str]:
    whole = books.get("", Cost())
    touched = [row["part"]] if row["part"] else [part for part in books if part]
    lost = [whole.plus(books[part]) for part in touched if part] or [whole]
    due = [budget.spent(cost) for cost in lost]
    stated = row["spent"]
    if stated is None or any(one is None or one > stated * (1 + TOLERANCE) + 1 for one in due):
        yield "states less than was spent"
    elif row["cap"] != budget.pico_epsilon or stated > budget.pico_epsilon:
        yield "passed the cap"
