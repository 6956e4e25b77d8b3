"""A ledger on a place without a slow disk, where there is one."""

import tempfile
from pathlib import Path

import pytest

from labeldp.tables import Ledger


@pytest.fixture
def path():
    fast = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=fast if fast.is_dir() else None) as folder:
        yield Path(folder) / "ledger.sqlite"


@pytest.fixture
def ledger(path):
    with Ledger(path) as opened:
        opened.set_cap("clicks", 1.0, unit="label")
        yield opened
