"""`labeldp ledger`: shows a ledger, verifies it, and sets its caps."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import App, Parameter

if TYPE_CHECKING:
    from labeldp.tables import Ledger

ledger = App(
    name="ledger",
    help="The ledger of what was charged to data sets; releases are charged before they are made.",
    help_format="plaintext",
    result_action="return_value",
)

File = Annotated[Path, Parameter(help="The ledger's file.")]
Json = Annotated[bool, Parameter(name="--json", negative=(), help="Prints JSON.")]


@ledger.command
def show(
    file: File,
    *,
    entries: Annotated[bool, Parameter(negative=(), help="Every entry, not the budgets alone.")] = False,
    as_json: Json = False,
) -> None:
    """Prints every budget: its cap, what is spent and what is left."""
    from labeldp.tables import Ledger

    with Ledger(file, read_only=True) as opened:
        balances, head = [asdict(balance) for balance in opened.balances()], opened.head
        rows = [_entry(row) for row in opened.entries()] if entries else []
    if as_json:
        print(
            json.dumps({"head": head, "budgets": balances} | ({"entries": rows} if entries else {}), indent=2)
        )
        return
    names = {
        "dataset": "data",
        "unit": "unit",
        "epsilon": "cap",
        "delta": "delta",
        "spent": "spent",
        "left": "left",
    }
    print(
        _table(
            [*names.values(), "charges"], [[row[name] for name in (*names, "charges")] for row in balances]
        )
    )
    if entries:
        print()
        print(_table(list(rows[0]), [list(row.values()) for row in rows]))
    print(f"\nHead {head}")


@ledger.command
def verify(
    file: File,
    *,
    head: Annotated[
        str | None,
        Parameter(
            help="A head from the manifest of a release; without one a ledger cut off at its end looks whole."
        ),
    ] = None,
    as_json: Json = False,
) -> int:
    """Checks every entry, every sum and every cap; status 1 where something is wrong."""
    from labeldp.tables import Ledger

    with Ledger(file, read_only=True) as opened:
        problems = opened.verify(head)
        last = None if problems else opened.head
    if as_json:
        print(json.dumps({"whole": not problems, "head": last, "problems": problems}, indent=2))
    elif problems:
        print("\n".join(problems))
    else:
        seen = "" if head else " No head was given: older copies of it would pass too."
        print(f"The ledger is whole, its head is {last}.{seen}")
    return 1 if problems else 0


@ledger.command
def cap(
    file: File,
    *,
    data: Annotated[str, Parameter(help="The public name of the data set.")],
    epsilon: Annotated[float, Parameter(help="What one label, answer or record may lose in all.")],
    unit: Annotated[Literal["label", "answer", "record"], Parameter(help="Whose budget.")] = "label",
    delta: Annotated[float, Parameter(help="Fixed by the first cap; 0 adds epsilons.")] = 0.0,
) -> None:
    """Sets, raises or lowers a cap, as an entry that stays to be seen; makes the ledger where there is none."""
    from labeldp.tables import Ledger

    with Ledger(file) as opened:
        head = opened.set_cap(data, epsilon, unit=unit, delta=delta)
        print(_states(opened, data, unit))
    print(f"Head {head}")


def _states(opened: "Ledger", data: str, unit: str) -> str:
    (balance,) = (one for one in opened.balances() if (one.dataset, one.unit) == (data, unit))
    return (
        f"Each {unit} of {data} may lose epsilon {balance.epsilon} at delta {balance.delta}; {balance.spent} is spent, "
        f"{balance.left} left."
    )


def _entry(row: dict[str, Any]) -> dict[str, Any]:
    """What people want to see of an entry."""
    epsilon = row["pico_epsilon"]
    return {
        "entry": row["entry"],
        "kind": row["kind"],
        "data": row["dataset"],
        "unit": row["unit"],
        "part": row["part"],
        "epsilon": None if epsilon is None else epsilon / 10**12,
        "spent": None if row["spent"] is None else row["spent"] / 10**12,
        "written": row["written"],
        "about": row["about"],
        "head": row["head"],
    }


def _table(names: list[str], rows: list[list[Any]]) -> str:
    cells = [names, *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(line[place]) for line in cells) for place in range(len(names))]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
        for line in cells
    )


def _cell(value: object) -> str:
    return "" if value is None else str(value)
