"""How much the answers of a release support each class, summed over groups of items: all that estimates need of it."""

import numbers
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.indicators import Indicating, IndicatorMoments
from labeldp.mechanisms.parameters import checked_integer
from labeldp.release import NoisyLabels

Floats: TypeAlias = npt.NDArray[np.float64]
CHUNK_BYTES = 16 * 2**20
SMALLEST_GAP = 1e-100


@dataclass(frozen=True, eq=False)
class Support:
    """Sums of indicators, and what is known of them.

    Attributes:
        totals: sum of each class's indicator over the items of each group, (G, K).
        sizes: number of items of each group, (G,).
        moments: of the indicators of one answer.
        discrete: whether an indicator is 0 or 1.
    """

    totals: Floats
    sizes: Floats
    moments: IndicatorMoments
    discrete: bool

    def one_hots(self) -> Floats:
        """Unbiased estimates of the number of items of each group and class; (G, K)."""
        return (self.totals - self.sizes[:, None] * self.moments.other_mean) / self.moments.gap


def support_of(noisy: NoisyLabels, groups: npt.NDArray[np.int64] | None = None, size: int = 1) -> Support:
    """Sums the indicators over each of `size` groups, or over all items."""
    mechanism = checked_mechanism(checked_release(noisy).mechanism)
    moments, num_classes = moments_of(noisy.mechanism), noisy.mechanism.num_classes
    totals = np.zeros((size, num_classes))
    for rows, indicators in _chunks(noisy, mechanism):
        if groups is None:
            totals[0] += indicators.sum(axis=0)
        else:
            cells = groups[rows, None] * num_classes + np.arange(num_classes)
            sums = np.bincount(cells.ravel(), indicators.ravel(), minlength=totals.size)
            totals += sums.reshape(totals.shape)
    sizes = np.array([len(noisy)]) if groups is None else np.bincount(groups, minlength=size)
    return Support(totals, sizes.astype(np.float64), moments, is_discrete(noisy.mechanism))


def support_of_classes(noisy: NoisyLabels, classes: npt.NDArray[np.int64]) -> Support:
    """Sums over all items the indicator of one class of each; the total (1, 1) tells how many items have that label."""
    mechanism, moments = checked_mechanism(noisy.mechanism), moments_of(noisy.mechanism)
    total = 0.0
    for rows, indicators in _chunks(noisy, mechanism):
        total += float(np.take_along_axis(indicators, classes[rows, None], axis=1).sum())
    sizes = np.array([float(len(noisy))])
    return Support(np.array([[total]]), sizes, moments, is_discrete(noisy.mechanism))


def group_moments(values: Floats, groups: npt.NDArray[np.int64] | None, size: int) -> tuple[Floats, ...]:
    """Number, mean and sample variance of the values of each group, or of all; three of (G,), NaN where there are too few."""
    numbers = np.zeros(len(values), dtype=np.int64) if groups is None else groups
    sizes = np.bincount(numbers, minlength=size).astype(np.float64)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        means = np.bincount(numbers, values, minlength=size) / sizes
        squares = np.bincount(numbers, (values - means[numbers]) ** 2, minlength=size)
        return sizes, means, np.where(sizes > 1, squares / (sizes - 1), np.nan)


def checked_release(noisy: NoisyLabels) -> NoisyLabels:
    """Noisy labels of one release.

    Raises:
        TypeError: something else.
    """
    if not isinstance(noisy, NoisyLabels):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(
            f"Expected NoisyLabels, got {type(noisy).__name__}; pass what labeldp.privatize returned, of staged labels one of the parts."
        )
    return noisy


def checked_mechanism(mechanism: object) -> Indicating:
    """A mechanism whose answers give unbiased estimates of each label.

    Raises:
        TypeError: another mechanism.
    """
    if not isinstance(mechanism, Indicating):
        raise TypeError(
            f"Expected a mechanism whose every answer gives an unbiased estimate of its label, got {type(mechanism).__name__}, whose "
            f"answers do not tell all classes apart item by item. For surveys release with RandomizedResponse or SubsetSelection (real values: UnbiasedRandomizer); "
            f"to learn from these answers use their likelihood or posterior."
        )
    return mechanism


def moments_of(mechanism: Mechanism) -> IndicatorMoments:
    """Moments of the indicators of one answer.

    Raises:
        TypeError: as for `checked_mechanism`.
        ValueError: answers that say nothing of the label.
    """
    moments = IndicatorMoments(*checked_mechanism(mechanism).indicator_moments())
    if not moments.gap > SMALLEST_GAP:
        raise ValueError(
            f"Expected an epsilon > 0 that leaves something to estimate from, got {mechanism.epsilon:g}: whatever the label, answers "
            f"have the same law. Release with a larger epsilon."
        )
    return moments


def is_discrete(mechanism: Mechanism) -> bool:
    """Whether an answer is a class or a set of classes, so that indicators are 0 or 1."""
    return mechanism.answer_dtype.kind in "iub"


def share_variance(share: npt.ArrayLike, moments: IndicatorMoments) -> Floats:
    """Variance of one answer's estimate for a class of that share in the population: noise, and sampling."""
    own = np.asarray(share, dtype=np.float64)
    noise = own * moments.own_variance + (1 - own) * moments.other_variance
    return noise / moments.gap / moments.gap + own * (1 - own)


def checked_fraction(name: str, value: object) -> float:
    """A real number strictly between 0 and 1."""
    if isinstance(value, bool) or not isinstance(value, numbers.Real):
        raise TypeError(f"Expected {name} to be a real number, got {type(value).__name__}.")
    number = float(value)
    if not 0 < number < 1:
        raise ValueError(f"Expected 0 < {name} < 1, got {number:g}.")
    return number


def checked_groups(
    name: str, groups: object, num_items: int, size: int | None
) -> tuple[npt.NDArray[np.int64], int]:
    """Group numbers (n,) in 0 .. size - 1, and size; one more than the largest by default. They are public: messages tell of them.

    Raises:
        TypeError: not an array of integers.
        ValueError: another shape, or a number outside.
    """
    count = None if size is None else checked_integer(f"num_{name}", size, least=1)
    array = np.asarray(groups)
    if array.shape != (num_items,):
        raise ValueError(f"Expected {name} of shape (n,) = ({num_items},), got {array.shape}.")
    if array.size == 0:
        return np.zeros(0, dtype=np.int64), count or 0
    if array.dtype.kind not in "iu":
        raise TypeError(
            f"Expected {name} that are integers, got an array of {array.dtype.type.__name__}; number public names with "
            f"np.unique(names, return_inverse=True)[1]."
        )
    least, most = int(array.min()), int(array.max())
    count = most + 1 if count is None else count
    if least < 0 or most >= count:
        raise ValueError(
            f"Expected {name} in 0 .. {count - 1}, got {least if least < 0 else most}, which is none of them."
        )
    return array.astype(np.int64), count


def _chunks(noisy: NoisyLabels, mechanism: Indicating) -> Iterator[tuple[slice, Floats]]:
    """Indicators (rows, K) of a bounded number of rows at a time."""
    for rows in noisy.plan.chunks(max(1, CHUNK_BYTES // (8 * noisy.mechanism.num_classes))):
        yield rows, mechanism.indicators(noisy.values[rows])
