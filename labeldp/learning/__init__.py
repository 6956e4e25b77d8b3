"""Learning from noisy labels."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeldp.learning import estimate as estimate
    from labeldp.learning import stages as stages

__all__ = ["estimate", "stages"]


def __getattr__(name: str) -> Any:
    """Imports a module when it is first used: estimates bring scipy, stages do not."""
    if name not in __all__:
        raise AttributeError(f"module 'labeldp.learning' has no attribute {name!r}")
    return importlib.import_module(f"labeldp.learning.{name}")
