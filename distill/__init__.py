"""distill: data-free distillation of private teachers, on top of labeldp. Needs the extra `distill`."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from distill.config import Config as Config
    from distill.config_file import UsageError as UsageError
    from distill.config_file import load_config as load_config
    from distill.privatized_dataset import PrivatizedDataset as PrivatizedDataset
    from distill.recipe import resume as resume
    from distill.recipe import run as run
    from distill.report import Report as Report
    from distill.run_directory import load_student as load_student

_HOME = {
    "Config": "distill.config",
    "PrivatizedDataset": "distill.privatized_dataset",
    "Report": "distill.report",
    "UsageError": "distill.config_file",
    "load_config": "distill.config_file",
    "load_student": "distill.run_directory",
    "resume": "distill.recipe",
    "run": "distill.recipe",
}

__all__ = [*_HOME]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that the command line starts without torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'distill' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value
