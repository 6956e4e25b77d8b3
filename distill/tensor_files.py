"""Files of tensors: safetensors with a description in JSON, written whole or not at all."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.durable import OWNER_ONLY, write_bytes
from distill.usage import UsageError


def write_tensors(
    path: Path,
    tensors: Mapping[str, Tensor],
    description: Mapping[str, Any] | None = None,
    *,
    mode: int = OWNER_ONLY,
) -> None:
    """Writes tensors, and what JSON holds about them, to one file."""
    stored = {
        name: tensor.detach().cpu().clone(memory_format=torch.contiguous_format)  # tied weights share memory
        for name, tensor in tensors.items()
    }
    write_bytes(path, save(stored, {"labeldp": json.dumps(description or {})}), mode=mode)


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """What `write_tensors` wrote.

    Raises:
        UsageError: no such file, or a damaged one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            description = _description(file)
            return {name: file.get_tensor(name) for name in file.keys()}, description  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def read_description(path: Path) -> dict[str, Any]:
    """What JSON holds about the tensors, which are not read.

    Raises:
        UsageError: no such file, or a damaged one.
    """
    try:
        with safe_open(path, framework="pt") as file:
            return _description(file)
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from None


def _description(file: Any) -> dict[str, Any]:
    return json.loads((file.metadata() or {}).get("labeldp", "{}"))


def _unreadable(path: Path, error: Exception) -> UsageError:
    return UsageError(f"Expected a file of tensors at {path}: {error}")
