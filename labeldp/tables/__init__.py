"""Labels in tables: files in, files without true labels out; keys, and the ledger that is charged before a release."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeldp.tables.charging import charge as charge
    from labeldp.tables.csv_file import privatize_csv as privatize_csv
    from labeldp.tables.key_file import destroy_key as destroy_key
    from labeldp.tables.key_file import fingerprint as fingerprint
    from labeldp.tables.key_file import new_key as new_key
    from labeldp.tables.key_file import read_key as read_key
    from labeldp.tables.ledger import Balance as Balance
    from labeldp.tables.ledger import BudgetSpent as BudgetSpent
    from labeldp.tables.ledger import Ledger as Ledger
    from labeldp.tables.ledger import Receipt as Receipt

_HOME = {
    "Balance": "ledger",
    "BudgetSpent": "ledger",
    "Ledger": "ledger",
    "Receipt": "ledger",
    "charge": "charging",
    "destroy_key": "key_file",
    "fingerprint": "key_file",
    "new_key": "key_file",
    "privatize_csv": "csv_file",
    "read_key": "key_file",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'labeldp.tables' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"labeldp.tables.{_HOME[name]}"), name)
    globals()[name] = value
    return value
