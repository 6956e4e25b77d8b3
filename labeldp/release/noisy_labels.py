"""Noisy labels: what leaves the barrier, with everything needed to learn from them and nothing of the true labels."""

import importlib
import io
import json
import sys
from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import numpy.typing as npt

import accounting
from labeldp import mechanisms
from labeldp.mechanisms import Mechanism, Plan
from labeldp.mechanisms.prior import integer_weights, prior_rows

FORMAT = "labeldp noisy labels 1"


@dataclass(frozen=True, eq=False)
class NoisyLabels:
    """The release of n labels. All of it is public.

    Attributes:
        mechanism: what answered.
        values: arrays, or tensors where the labels were tensors: (n,) integers; (n, K) bool where an answer is a set of classes; floats where it is a value (n,) or a vector (n, K).
        plan: what was decided about each item before its label was read.
        event: what happened, for the accountant.
    """

    mechanism: Mechanism
    values: npt.NDArray[Any]
    plan: Plan
    event: accounting.Event

    @property
    def candidates(self) -> npt.NDArray[np.bool_] | None:
        """The classes each item could be answered in, (n, K) bool; None where that is all of them."""
        return self.plan.candidates

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the answers, items first; with `len`, `noisy[rows]` and `np.asarray` it lets scikit-learn split them."""
        return tuple(self.values.shape)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        """The answers, as `np.asarray(noisy)` has them. An answer is not the label: learn from `likelihood()`."""
        values: Any = tensors().on_host(self.values) if is_tensor(self.values) else self.values
        return np.array(values, dtype=dtype) if copy else np.asarray(values, dtype=dtype)

    def __getitem__(self, rows: Any) -> "NoisyLabels":
        """Some of the items, also several times or in another order: a slice, numbers (m,) or a mask (n,), public or made from answers.

        Raises:
            TypeError: a single number; `noisy[[i]]` is one item, `noisy.values[i]` its answer.
            IndexError: rows that are not there, or another shape.

        Privacy:
            The event stays that of the whole release. A part is post-processing of it, however its rows were chosen, so its guarantee
            holds; an event of fewer items would say that the others were never answered.
        """
        if isinstance(rows, tuple) and len(rows) == 2 and rows[1] is Ellipsis:  # pyright: ignore[reportUnknownArgumentType]
            rows = cast(Any, rows[0])  # scikit-learn asks for noisy[rows, ...]
        chosen = np.array(np.arange(len(self))[rows])  # no view: a tensor takes no negative steps
        if chosen.ndim != 1:
            raise TypeError(
                "Expected rows as a slice, row numbers or a mask, of shape (m,); noisy[[i]] is one item, noisy.values[i] its answer."
            )
        return NoisyLabels(self.mechanism, self.values[chosen], self.plan[chosen], self.event)

    def __repr__(self) -> str:
        return f"NoisyLabels({len(self)} items, {self.mechanism!r})"

    def likelihood(self) -> npt.NDArray[np.float64]:
        """Q_i(values[i] | c), the probability of what was released if the label were c; (n, K). What a learner trains on."""
        if is_tensor(self.values):
            return tensors().likelihood(self.mechanism, self.values, self.plan)
        return self.mechanism.likelihood(self.values, self.plan)

    def posterior(self, prior: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """The law of each label given what was released, by Bayes' rule from a prior (n, K) or (K,); rows sum to 1.

        Raises:
            ValueError, TypeError: a prior of another shape, or one that is not finite, non-negative and positive somewhere.
        """
        if is_tensor(self.values):
            return tensors().posterior(self.mechanism, self.values, self.plan, prior)
        rows = checked_prior(prior, len(self), self.mechanism.num_classes)
        joint = self.likelihood() * (rows / rows.max(axis=1, keepdims=True))
        return joint / joint.sum(axis=1, keepdims=True)

    def guarantee(
        self, *, unit: Literal["label", "answer", "record"], delta: float = 0.0
    ) -> accounting.Guarantee:
        """What may be said about this release alone; people's labels for unit "label", a teacher's answers otherwise."""
        about: Literal["people", "teacher"] = "people" if unit == "label" else "teacher"
        return accounting.guarantee(accounting.Transcript([self.event], about=about), unit=unit, delta=delta)

    def save(self, path: str | PathLike[str]) -> None:
        """Writes values, candidates, event and a manifest to one .npz file; plain arrays and JSON, no pickle.

        The manifest holds the mechanism's parameters, also a prior it was made for. What is read back is checked for consistency, not
        for its author.
        """
        if is_tensor(self.values):
            tensors().moved(self, None).save(path)
            return
        manifest = {
            "format": FORMAT,
            "mechanism": {"name": type(self.mechanism).__name__, **asdict(self.mechanism)},  # pyright: ignore
            "event": accounting.event_to_dict(self.event),
            "items": len(self),
        }
        arrays: dict[str, Any] = {"values": self.values, "manifest": np.array(json.dumps(manifest))}
        if self.candidates is not None:
            arrays["candidates"] = np.packbits(self.candidates, axis=1)
        if self.plan.blocks is not None:
            arrays["blocks"] = self.plan.blocks
        with Path(path).open("wb") as file:
            np.savez_compressed(file, **arrays)

    @staticmethod
    def load(path: str | PathLike[str]) -> "NoisyLabels":
        """Reads what `save` wrote.

        Raises:
            FileNotFoundError: no such file.
            ValueError: not a file of noisy labels, or a damaged one.
        """
        if not Path(path).is_file():
            raise FileNotFoundError(f"Expected a file of noisy labels, found none at {path}.")
        try:
            with np.load(io.BytesIO(Path(path).read_bytes()), allow_pickle=False) as file:
                arrays = {name: file[name] for name in file.files}
            return _assembled(arrays)
        except Exception as error:  # a damaged archive raises whatever its damage reaches first
            raise ValueError(
                f"Expected a file written by NoisyLabels.save at {path}, got another or a damaged one: {error}"
            ) from None


def is_tensor(values: object) -> bool:
    """Whether it is a torch tensor; torch is not imported to find out."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(values, torch.Tensor)


def tensors() -> Any:
    """The path for tensors, `torch_kernels`; torch is in memory already where a tensor came."""
    return importlib.import_module("labeldp.release.torch_kernels")


def _assembled(arrays: dict[str, npt.NDArray[Any]]) -> NoisyLabels:
    manifest = json.loads(str(arrays["manifest"]))
    if manifest["format"] != FORMAT:
        raise ValueError(f"format {manifest['format']!r} instead of {FORMAT!r}")
    parameters = dict(manifest["mechanism"])
    name = parameters.pop("name")
    kinds = {kind.__name__: kind for kind in mechanisms.ALL}
    if name not in kinds:
        raise ValueError(f"unknown mechanism {name!r}")
    mechanism = kinds[name](**parameters)
    values, candidates = arrays["values"], None
    if "candidates" in arrays:
        candidates = np.unpackbits(arrays["candidates"], axis=1, count=mechanism.num_classes).astype(np.bool_)
    event = accounting.event_from_dict(manifest["event"])
    plan = Plan(manifest["items"], candidates, arrays.get("blocks"))
    charged = mechanism.event(plan) if mechanism.possible(values, plan) else None
    if charged is None or not _covers(event, charged):
        raise ValueError("values, candidates and manifest do not belong together")
    return NoisyLabels(mechanism, values, plan, event)


def _covers(event: accounting.Event, charged: accounting.Event) -> bool:
    """Whether the event is what the items were charged, or that of a release they are a part of."""
    whole = event.event if isinstance(event, accounting.Seeded) else event
    if whole == charged:
        return True
    if not (isinstance(whole, accounting.Disjoint) and isinstance(charged, accounting.Disjoint)):
        return False
    return set(charged.events) <= set(whole.events)  # a part may hold an item several times


def checked_prior(prior: object, num_items: int, num_classes: int) -> npt.NDArray[np.float64]:
    """A prior of shape (n, K) or (K,) whose rows are distributions up to scale, as float64 (n, K)."""
    rows = prior_rows(prior, num_items, num_classes)
    integer_weights(rows)
    return rows.astype(np.float64)
