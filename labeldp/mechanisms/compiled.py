"""Whether large releases run compiled loops: where numba is installed (`pip install labeldp[fast]`), and only when they pay.

Compiled or not, the answers are the same for the same words; only the time differs.
"""

import functools
import importlib
from typing import Any

LARGE = 2**24
"""Cells n * K from which candidates are chosen by compiled loops. numpy takes about half a second for so many; importing numba and
reading the loops from its cache takes as long, and compiling them, once on a machine, two to five seconds."""

allowed = True
"""Tests switch compiled loops off here."""


def loops(cells: int) -> Any:
    """The compiled loops, `labeldp.mechanisms.kernels`, if a release of that many cells is large enough for them, else None."""
    return _loaded() if allowed and cells >= LARGE else None


def loops_in_use() -> Any:
    """The compiled loops, if a large release has brought them in, else None; chunks of a release ask this."""
    return _loaded() if allowed and _loaded.cache_info().currsize else None


@functools.cache
def _loaded() -> Any:
    try:
        return importlib.import_module("labeldp.mechanisms.kernels")
    except (ImportError, RuntimeError):  # no numba, or no folder for its cache
        return None
