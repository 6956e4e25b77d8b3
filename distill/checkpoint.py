"""Checkpoints: what a long phase needs to go on, bit for bit, after its process was killed.

A phase asks for the state it left, offers its state at every step, and finishes with its result; the offer is taken up when it is
time. A state is made of tensors and of what JSON can hold; it is stored as safetensors, and nothing of it is ever executed.
"""

import hashlib
import json
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

import msgspec
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from distill.claim import refuse_changes
from distill.config import Config
from distill.durable import write_bytes
from distill.usage import UsageError

EVERY_SECONDS = 20.0
LARGEST_SHARE = 0.05  # of the time may go into writing
_KEPT = 2
_ENTRY = "labeldp"

State = Mapping[str, Any]
"""What a phase needs to go on; "step" says how far it is."""


class Checkpoint(Protocol):
    """The checkpoints of one phase.

    Attributes:
        state: the newest state that was kept; None for a phase that has to begin.
        step: how many steps were done by then.
        spent: how many seconds they took.
    """

    @property
    def state(self) -> State | None: ...
    @property
    def step(self) -> int: ...
    @property
    def spent(self) -> float: ...

    def offer(self, state: Callable[[], State]) -> None:
        """Keeps the state if it is time. Cheap enough to be called at every step: the state is made only then."""
        ...

    def finish(self, state: State) -> None:
        """Keeps the result of the phase."""
        ...


class Saved(Protocol):
    """Whoever keeps checkpoints, one line of them for each phase."""

    def phase(self, name: str, about: str = "") -> Checkpoint: ...


class Unsaved:
    """Keeps nothing, for training outside a run, or along with another process that keeps the state."""

    spent = 0.0

    def __init__(self, state: State | None = None) -> None:
        self.state = state
        self.step: int = 0 if state is None else state["step"]

    def phase(self, name: str, about: str = "") -> "Unsaved":
        return self

    def offer(self, state: Callable[[], State]) -> None:
        pass

    def finish(self, state: State) -> None:
        pass


UNSAVED = Unsaved()


class SavedRun:
    """The checkpoints of a run.

    Args:
        folder: where they lie; for the owner only, since they hold what the teacher knows.
        config: what they belong to; a checkpoint of another configuration is refused.

    Attributes:
        seconds_before: what earlier sittings spent on the phases.
    """

    def __init__(self, folder: Path, config: Config) -> None:
        self.folder = folder
        self.config: dict[str, Any] = msgspec.to_builtins(config)
        self.seconds_before = 0.0

    def phase(self, name: str, about: str = "") -> "SavedPhase":
        """The checkpoints of one phase.

        Args:
            name: of the phase.
            about: a digest of what it learns from that the configuration does not decide.

        Raises:
            UsageError: they belong to another configuration or learnt from something else, or there are some and all are damaged.
        """
        phase = SavedPhase(self, name, about)
        self.seconds_before += phase.spent
        return phase


class SavedPhase:
    """The checkpoints of one phase, numbered files; the last two are kept, so that a damaged one has a predecessor."""

    def __init__(self, run: SavedRun, name: str, about: str) -> None:
        self._run, self._name, self._about = run, name, about
        self._start = time.monotonic()
        self._due = self._start + EVERY_SECONDS
        self.spent = 0.0
        self.state = self._newest()
        self.step: int = 0 if self.state is None else self.state["step"]

    def _newest(self) -> State | None:
        damaged: list[Path] = []
        for path in reversed(self._files()):
            try:
                entry, state = _read(path)
            except (SafetensorError, ValueError, KeyError, TypeError, OSError):
                damaged.append(path)
                continue
            refuse_changes(self._run.config, entry["configuration"], source=str(path))
            if entry.get("about", "") != self._about:
                raise UsageError(
                    f"Expected a checkpoint of the phase {self._name!r} that learnt from the labels of this run, but {path} learnt from "
                    f"others; start a new run."
                )
            if damaged:
                names = ", ".join(str(bad) for bad in damaged)
                warnings.warn(f"{names}: damaged checkpoint; going on from {path.name}.", stacklevel=4)
            self.spent = entry["seconds"]
            return state
        if damaged:
            raise UsageError(
                f"Expected a checkpoint of the phase {self._name!r}, but {', '.join(map(str, damaged))} is damaged; delete it to begin this "
                f"phase again, nothing else is lost."
            )
        return None

    def offer(self, state: Callable[[], State]) -> None:
        """Keeps the state if the last time is long enough ago."""
        if time.monotonic() < self._due:
            return
        begin = time.monotonic()
        self.finish(state())
        end = time.monotonic()
        self._due = end + max(EVERY_SECONDS, (end - begin) / LARGEST_SHARE)

    def finish(self, state: State) -> None:
        """Keeps the state now; the one before goes only when this one is on the disk."""
        files = self._files()
        number = int(files[-1].suffixes[-2][1:]) + 1 if files else 1
        seconds = self.spent + time.monotonic() - self._start
        entry = {"configuration": self._run.config, "about": self._about, "seconds": seconds}
        write_bytes(self._run.folder / f"{self._stem}.{number:06d}.safetensors", _content(entry, state))
        for path in [*files, None][:-_KEPT]:
            assert path is not None
            path.unlink()

    @property
    def _stem(self) -> str:
        return self._name.replace(" ", "-")

    def _files(self) -> list[Path]:
        return sorted(self._run.folder.glob(f"{self._stem}.*.safetensors"))


def _content(entry: Mapping[str, Any], state: State) -> bytes:
    tensors: dict[str, Tensor] = {}
    structure = _taken_apart(state, tensors)
    entry = {**entry, "structure": structure, "digest": _digest(structure, tensors)}
    return save(tensors, {_ENTRY: json.dumps(entry)})


def _read(path: Path) -> tuple[dict[str, Any], State]:
    with safe_open(path, framework="pt") as file:
        entry = json.loads(file.metadata()[_ENTRY])
        tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    if _digest(entry["structure"], tensors) != entry["digest"]:
        raise ValueError("the digest is another")
    return entry, _put_together(entry["structure"], tensors)


def _digest(structure: object, tensors: Mapping[str, Tensor]) -> str:
    digest = hashlib.blake2b(json.dumps(structure).encode(), digest_size=16)
    for name in sorted(tensors):
        digest.update(f"{name} {tensors[name].dtype} {tuple(tensors[name].shape)}".encode())
        if tensors[name].numel():  # an empty one cannot be looked at as bytes
            digest.update(tensors[name].reshape(-1).view(torch.uint8).numpy().data)
    return digest.hexdigest()


def _taken_apart(value: Any, tensors: dict[str, Tensor]) -> Any:
    """The value as JSON, each tensor replaced by its name in `tensors`; dictionaries may have numbers for keys."""
    match value:
        case Tensor():
            name = f"t{len(tensors)}"
            tensors[name] = value.detach().to("cpu", copy=True).contiguous()
            return {"tensor": name}
        case Mapping():
            return {"items": [[key, _taken_apart(part, tensors)] for key, part in value.items()]}
        case tuple():
            return {"tuple": [_taken_apart(part, tensors) for part in value]}
        case list():
            return [_taken_apart(part, tensors) for part in value]
        case None | bool() | int() | float() | str():
            return value
        case _:
            raise TypeError(f"Expected tensors and JSON values in a checkpoint, got {type(value).__name__}.")


def _put_together(value: Any, tensors: Mapping[str, Tensor]) -> Any:
    match value:
        case {"tensor": name}:
            return tensors[name]
        case {"items": items}:
            return {key: _put_together(part, tensors) for key, part in items}
        case {"tuple": parts}:
            return tuple(_put_together(part, tensors) for part in parts)
        case list():
            return [_put_together(part, tensors) for part in value]
        case _:
            return value
