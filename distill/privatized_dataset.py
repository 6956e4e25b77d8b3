"""Noisy labels for training loops of one's own: a torch data set whose noise is drawn once and never per epoch."""

import operator
from collections.abc import Callable, Sequence
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


class PrivatizedDataset(Dataset[Item]):
    """Features with what was released about their labels; it holds no true label, in no process.

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
        TypeError, ValueError: no release, another number of items, items that are tuples, or "class" for answers that are no class.

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
        if len(features) and isinstance(features[0], tuple):
            raise TypeError(
                "Expected features alone, got items that are tuples: they may hold labels. `PrivatizedDataset.of` reads pairs once."
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
    """Features without their surroundings: a slice of a table's tensor is pickled with all of the table, labels and all."""
    if not isinstance(features, Tensor):
        return features
    whole = features.untyped_storage().nbytes()
    return features if whole == features.numel() * features.element_size() else features.clone()


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
