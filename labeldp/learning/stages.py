"""Labelling in stages: later items are answered under a prior learnt from the noisy labels of earlier ones.

Items are split publicly, each label is used once, and a stage's prior is made before one label of that stage is read, by a function
that is given no true label at all. So the whole transcript is as private for each label as the one answer it enters.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.mechanism import checked_labels, one_dimensional_length
from labeldp.mechanisms.parameters import checked_integer
from labeldp.release import NoisyLabels, Source
from labeldp.release import privatize as release
from labeldp.release.keyed import item_blocks


@dataclass(frozen=True)
class Stage:
    """One stage: what answers, and the share of all items it answers."""

    mechanism: Mechanism
    share: float


@dataclass(frozen=True, eq=False)
class StagedLabels:
    """Noisy labels of several stages. All of it is public.

    Attributes:
        items: for each stage the numbers of its items, from 0 on; no number twice, also not in two stages.
        parts: for each stage the noisy labels of those items, in that order.

    Raises:
        TypeError: numbers that are no integers.
        ValueError: a number that repeats or is negative, or not one for each noisy label.
    """

    items: tuple[npt.NDArray[np.int64], ...]
    parts: tuple[NoisyLabels, ...]

    def __post_init__(self) -> None:
        arrays = tuple(np.array(numbers) for numbers in self.items)  # copies: what was checked stays so
        if not all(array.dtype.kind in "iu" for array in arrays if array.size):
            raise TypeError("Expected item numbers that are integers, got others.")
        shapes, lengths = [array.shape for array in arrays], [(len(part),) for part in self.parts]
        if shapes != lengths:
            raise ValueError(
                f"Expected a number for each noisy label, stage by stage, of shapes {lengths}, got {shapes}."
            )
        known = np.sort(
            np.concatenate([np.empty(0, np.int64), *(array.astype(np.int64) for array in arrays)])
        )
        if (known[:1] < 0).any() or (known[1:] == known[:-1]).any():
            raise ValueError(
                "Expected item numbers from 0 on, each in one place, got one that is negative or repeats: releases of the same labels add "
                "up, so pass their events to accounting.Transcript one after another."
            )
        for array in arrays:
            array.flags.writeable = False
        object.__setattr__(self, "items", arrays)

    def __len__(self) -> int:
        return sum(map(len, self.parts))

    @property
    def event(self) -> accounting.Event:
        """Stages answer different items."""
        return accounting.Disjoint([part.event for part in self.parts])

    def likelihood(self) -> npt.NDArray[np.float64]:
        """Q_i(released | c) of the items answered so far, in the order of `numbers`; (n, K)."""
        return np.concatenate([part.likelihood() for part in self.parts])

    @property
    def numbers(self) -> npt.NDArray[np.int64]:
        """Numbers of the items answered so far, stage after stage; (n,)."""
        return np.concatenate(self.items)


PriorOfStage: TypeAlias = Callable[[StagedLabels, npt.NDArray[np.int64]], npt.ArrayLike | None]
"""Makes the prior (m, K) of the given items from the releases of earlier stages; it is never shown a true label."""


def split(num_items: int, stages: Sequence[Stage], *, seed: int) -> tuple[npt.NDArray[np.int64], ...]:
    """A public random split of the items by the stages' shares; the seed is public.

    Raises:
        ValueError: no stage, or shares that are not positive or do not sum to 1.
    """
    shares = np.array([stage.share for stage in stages], dtype=np.float64)
    if len(shares) == 0 or not (shares > 0).all() or abs(shares.sum() - 1) > 1e-9:
        raise ValueError(f"Expected positive shares that sum to 1, got {shares.tolist()}.")
    order = np.random.default_rng(checked_integer("seed", seed, least=0)).permutation(num_items)
    ends = np.rint(np.cumsum(shares)[:-1] * num_items).astype(np.int64)
    return tuple(np.sort(part) for part in np.split(order, ends))


def privatize(
    labels: npt.ArrayLike,
    stages: Sequence[Stage],
    *,
    prior: PriorOfStage,
    seed: int,
    source: Source | None = None,
    items: npt.ArrayLike | None = None,
) -> StagedLabels:
    """Releases one noisy label for each true label, stage after stage.

    Args:
        labels: (n,) integers, as for `labeldp.privatize`.
        stages: what answers which share of the items, in order; all on the same classes.
        prior: called once before each stage with what was released so far and the numbers of the items that come next. What
            it returns must depend on nothing else that is private; None for mechanisms without a prior.
        seed: seed of the public split.
        source: where the noise comes from; a fresh `SystemSource` for each stage by default.
        items: (n,) names of the items, for a `KeyedSource`; see `labeldp.privatize`.

    Privacy:
        epsilon-DP for each label, with the largest epsilon of the stages (adaptive parallel composition over a public split).
    """
    if len({stage.mechanism.num_classes for stage in stages}) > 1:
        raise ValueError("Expected stages on the same classes, got mechanisms with different num_classes.")
    plan = split(one_dimensional_length(labels), stages, seed=seed)
    if items is not None:
        item_blocks(items, len(np.concatenate(plan)))  # no name twice, also not in two stages
    names = (
        None
        if items is None
        else np.asarray(items, dtype=object if isinstance(items, list | tuple) else None)
    )
    checked = checked_labels(labels, stages[0].mechanism.num_classes)
    released = StagedLabels((), ())
    for stage, numbers in zip(stages, plan, strict=True):
        noisy = release(
            stage.mechanism,
            checked[numbers],
            prior=prior(released, numbers.copy()),
            source=source,
            items=None if names is None else names[numbers],
        )
        released = StagedLabels((*released.items, numbers), (*released.parts, noisy))
    return released
