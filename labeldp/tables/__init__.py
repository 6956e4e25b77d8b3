# pyright: reportUnknownVariableType=false
"""Labels in tables: files in, files without true labels out; keys, and the ledger that is charged before a release."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeldp.tables.arrow_job import noisy_batch as noisy_batch
    from labeldp.tables.arrow_job import source_for as source_for
    from labeldp.tables.charging import charge as charge
    from labeldp.tables.csv_file import privatize_csv as privatize_csv
    from labeldp.tables.files import manifest_path as manifest_path
    from labeldp.tables.files import privatize_file as privatize_file
    from labeldp.tables.job import Columns as Columns
    from labeldp.tables.job import Job as Job
    from labeldp.tables.key_file import destroy_key as destroy_key
    from labeldp.tables.key_file import fingerprint as fingerprint
    from labeldp.tables.key_file import new_key as new_key
    from labeldp.tables.key_file import read_key as read_key
    from labeldp.tables.ledger import Balance as Balance
    from labeldp.tables.ledger import BudgetSpent as BudgetSpent
    from labeldp.tables.ledger import Ledger as Ledger
    from labeldp.tables.ledger import Receipt as Receipt
    from labeldp.tables.manifest import Manifest as Manifest
    from labeldp.tables.manifest import likelihood as likelihood
    from labeldp.tables.manifest import manifest_of as manifest_of
    from labeldp.tables.manifest import noisy_labels_of as noisy_labels_of
    from labeldp.tables.memory import Released as Released
    from labeldp.tables.memory import privatize as privatize
    from labeldp.tables.surveys import Survey as Survey
    from labeldp.tables.surveys import survey as survey
    from labeldp.tables.verification import Verification as Verification
    from labeldp.tables.verification import verify as verify

_HOME = {
    "Balance": "ledger",
    "BudgetSpent": "ledger",
    "Columns": "job",
    "Job": "job",
    "Ledger": "ledger",
    "Manifest": "manifest",
    "Receipt": "ledger",
    "Released": "memory",
    "Survey": "surveys",
    "Verification": "verification",
    "charge": "charging",
    "destroy_key": "key_file",
    "fingerprint": "key_file",
    "likelihood": "manifest",
    "manifest_of": "manifest",
    "manifest_path": "files",
    "new_key": "key_file",
    "noisy_batch": "arrow_job",
    "noisy_labels_of": "manifest",
    "privatize": "memory",
    "privatize_csv": "csv_file",
    "privatize_file": "files",
    "read_key": "key_file",
    "source_for": "arrow_job",
    "survey": "surveys",
    "verify": "verification",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used."""
    if name not in _HOME:
        raise AttributeError(f"module 'labeldp.tables' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"labeldp.tables.{_HOME[name]}"), name)
    globals()[name] = value
    return value
