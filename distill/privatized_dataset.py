"""Noisy labels for training loops of one's own: a torch data set whose noise is drawn once and never per epoch."""

import operator
from collections.abc import Callable, Sequence
from numbers import Number
from typing import Any, Literal, Self

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

import accounting
from labeldp import NoisyLabels, privatize
from labeldp.mechanisms import Mechanism
from labeldp.release import Source

Item = tuple[Any, Tensor | int, int]

_NAMES_OF_LABELS = frozenset({"label", "labels", "target", "targets", "y"})


class PrivatizedDataset(Dataset[Item]):
    """Features with what was released about their labels; it holds no true label, in no process, unless the features given do.

    Tensors and arrays, also in lists and dictionaries, are copied out of what they were cut from, such as a table with a column of
    labels. Other objects, such as a data set of features alone, are kept as they are: what they hold, this holds.

    Noise that is drawn anew in every epoch gives a label away: each epoch is another release. Here the release is made before the
    data set exists, so epochs, workers, transforms and copies repeat it, and repeats cost nothing.

    An item is (features, target, number): the number finds the item again, in `noisy` or in a prior. Training takes three lines,

        for features, log_likelihood, _ in DataLoader(data, batch_size=256, shuffle=True):
            loss = negative_log_likelihood(model(features), log_likelihood)
            ...  # zero_grad, backward, step

    with `distill.train.negative_log_likelihood`.

    Args:
        features: n items, public: a tensor or array (n, ...), a list, or a data set of features alone, which is read when an item is.
        noisy: their release, in the same order.
        transform: applied to the features of an item each time it is read, such as an augmentation; it sees no label.
        target: "likelihood", a float32 row (K,) of log Q(answer | c), the largest being 0; or "class", the number that was answered.

    Raises:
        TypeError, ValueError: no release, another number of items, items that may be pairs with a label, or "class" for answers that
            are no class. What may be a pair: a tuple, a row with named columns, an array beside a single number or word in a list or
            dictionary, and a dictionary with a key such as "label".

    Privacy:
        As the release: epsilon-DP for each label. Whatever is computed from the data set is post-processing of it.
    """

    def __init__(
        self,
        features: Any,
        noisy: NoisyLabels,
        *,
        transform: Callable[[Any], Any] | None = None,
        target: Literal["likelihood", "class"] = "likelihood",
    ) -> None:
        if not isinstance(noisy, NoisyLabels):
            raise TypeError(
                f"Expected labeldp.NoisyLabels, got {type(noisy).__name__}; labels go through labeldp.privatize, or `PrivatizedDataset.of`."
            )
        if len(features) != len(noisy):
            raise ValueError(
                f"Expected one noisy label for each item, got {len(features)} items and {len(noisy)} labels."
            )
        if any(map(_may_be_pair, _items(features))):
            raise TypeError(
                "Expected features alone, got items that may hold labels: tuples, named columns, or a single number or word beside an array. "
                "`PrivatizedDataset.of` reads pairs once; a feature that is a single number beside an array goes into one of shape (1,)."
            )
        self.features = _own(features)
        self.noisy = noisy
        self.transform = transform
        self._targets = _targets(noisy, target)

    @classmethod
    def of(
        cls,
        dataset: Dataset[Any],
        mechanism: Mechanism,
        *,
        prior: Any = None,
        source: Source | None = None,
        transform: Callable[[Any], Any] | None = None,
        target: Literal["likelihood", "class"] = "likelihood",
    ) -> Self:
        """Reads a data set of pairs (features, label) once, releases its labels, and keeps its features in memory.

        A transform of that data set is frozen into what is read; give random ones to `transform` here. Where features are too many
        for memory, release the labels by `labeldp.privatize` and pass a data set of features alone.

        Args:
            dataset: map-style, n pairs; it may hold the labels, so it is not kept.
            mechanism: what answers.
            prior: (n, K) or (K,) where the mechanism needs one; not from these labels.
            source: where the noise comes from; a fresh `SystemSource` by default.
            transform, target: as for the class.
        """
        pairs = [dataset[number] for number in range(len(dataset))]  # pyright: ignore[reportArgumentType]
        try:
            labels = np.array([operator.index(label) for _, label in pairs], dtype=np.int64)
        except (TypeError, ValueError):
            raise TypeError(
                "Expected a data set of pairs (features, label), labels integers, got another."
            ) from None
        noisy = privatize(mechanism, labels, prior=prior, source=source)
        features = [_own(features) for features, _ in pairs]
        return cls(features, noisy, transform=transform, target=target)

    def __len__(self) -> int:
        return len(self.noisy)

    def __getitem__(self, number: int) -> Item:
        number = range(len(self))[number]
        features = self.features[number]
        if self.transform is not None:
            features = self.transform(features)
        return features, self._targets[number], number

    def __repr__(self) -> str:
        return f"PrivatizedDataset({self.noisy!r})"

    def guarantee(
        self, *, unit: Literal["label", "answer", "record"] = "label", delta: float = 0.0
    ) -> accounting.Guarantee:
        """What may be said about the release; see `NoisyLabels.guarantee`."""
        return self.noisy.guarantee(unit=unit, delta=delta)


def _own(features: Any) -> Any:
    """Features without their surroundings: a slice of a table's tensor is pickled with all of the table, and an array's `base` is all of it."""
    match features:
        case Tensor():
            alone = (
                features.detach()
            )  # the graph behind it, and attributes of the object, are surroundings too
            return alone if _is_whole(alone) else alone.clone()
        case np.ndarray() if features.dtype == object:
            owned = np.empty(features.shape, dtype=object)
            for place in np.ndindex(features.shape):
                owned[place] = _own(features[place])
            return owned
        case np.ndarray():
            whole = type(features) is np.ndarray and features.base is None
            return features if whole else np.array(features, subok=True)
        case list():
            return [_own(item) for item in features]
        case tuple():
            return tuple(_own(item) for item in features)
        case dict():
            return {key: _own(item) for key, item in features.items()}
        case _:
            return features


def _is_whole(tensor: Tensor) -> bool:
    """Whether the tensor is all of its memory, each place once: what `expand` made is as large as the memory it sees a part of."""
    return (
        tensor.layout == torch.strided
        and tensor.is_contiguous()
        and tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()
    )


def _items(features: Any) -> Any:
    """The items that are looked at: all in memory that may differ in kind, else the first."""
    if isinstance(features, list | tuple) or (isinstance(features, np.ndarray) and features.dtype == object):
        return features
    return [features[0]] if len(features) else []


def _may_be_pair(item: Any) -> bool:
    """Whether an item of features may hold a label; see the class."""
    if isinstance(item, tuple | np.void):
        return True
    if isinstance(item, dict):
        if not _NAMES_OF_LABELS.isdisjoint(str(key).lower() for key in item):
            return True
        item = list(item.values())
    if isinstance(item, np.ndarray) and item.dtype == object:
        item = item.ravel().tolist()
    if not isinstance(item, list):
        return False
    singles = sum(map(_is_single, item))
    return 0 < singles < len(item) or any(map(_may_be_pair, item))


def _is_single(part: Any) -> bool:
    if isinstance(part, Tensor | np.ndarray):
        return part.ndim == 0
    return part is None or isinstance(part, Number | np.generic | str | bytes)


def _targets(noisy: NoisyLabels, target: str) -> Tensor | Sequence[int]:
    """What is learnt from, item by item: rows (n, K), or class numbers."""
    if target == "likelihood":
        rows = torch.as_tensor(noisy.likelihood())
        return torch.log(rows / rows.amax(dim=1, keepdim=True)).float().cpu()
    if target != "class":
        raise ValueError(f"Expected target to be 'likelihood' or 'class', got {target!r}.")
    if noisy.mechanism.answer_shape or noisy.mechanism.answer_dtype != np.int64:
        raise TypeError(
            f"Expected answers that are classes for target='class', got those of {noisy.mechanism!r}; learn from the likelihood."
        )
    return np.asarray(noisy).tolist()
