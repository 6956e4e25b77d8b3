"""Estimates from noisy labels: how many items of each class, what share, what mean in each group, how good a prediction.

Each answer gives an unbiased one-hot vector of its item's label, (indicators - other_mean) / gap with `IndicatorMoments`. All that
is estimated here is linear in the sums of these vectors over public groups of items, so it is unbiased, and its variance follows
from the law.

Privacy: estimates are post-processing of a release. They read no label and cost nothing, however many are made. Groups and
predictions must be public, or made from what was released.
"""

import math
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from labeldp.learning.intervals import Limits, count_limits, normal_limits, share_limits
from labeldp.learning.sample_size import required_sample_size
from labeldp.learning.support import (
    Floats,
    Support,
    checked_fraction,
    checked_groups,
    checked_release,
    group_moments,
    share_variance,
    support_of,
    support_of_classes,
)
from labeldp.mechanisms.indicators import IndicatorMoments
from labeldp.mechanisms.unbiased import UnbiasedRandomizer
from labeldp.release import NoisyLabels

__all__ = [
    "Estimate",
    "accuracy",
    "confusion",
    "counts",
    "means",
    "proportions",
    "required_sample_size",
]

Numbers: TypeAlias = Floats | float


@dataclass(frozen=True, eq=False)
class Estimate:
    """Numbers estimated from noisy labels; arrays of one shape, or floats.

    Attributes:
        value: unbiased; so it may lie outside the possible range, and then outside its interval too.
        lower: lower end of the interval, within the possible range.
        upper: upper end, likewise.
        standard_error: estimated standard deviation of the value.
        confidence: of each interval on its own: for m numbers at once ask for 1 - (1 - confidence) / m.
    """

    value: Numbers
    lower: Numbers
    upper: Numbers
    standard_error: Numbers
    confidence: float

    def __getitem__(self, index: Any) -> "Estimate":
        """The estimates at an index of the arrays: of one class, of one group."""
        fields = (self.value, self.lower, self.upper, self.standard_error)
        value, lower, upper, deviation = (np.asarray(field)[index] for field in fields)
        return Estimate(value, lower, upper, deviation, self.confidence)


def counts(noisy: NoisyLabels, *, confidence: float = 0.95) -> Estimate:
    """Estimates how many items of this data set have each class; (K,). The labels are fixed, only the noise is random.

    Args:
        noisy: a release by RandomizedResponse, SubsetSelection, UnaryEncoding or NoisyOneHot.
        confidence: of each interval, in (0, 1).

    Raises:
        TypeError: answers of another mechanism.
        ValueError: epsilon = 0, or a confidence outside (0, 1).

    Error:
        Intervals hold for any number of items where an answer is a class or a set of classes; approximately (normal) for noisy vectors.
    """
    confidence = checked_fraction("confidence", confidence)
    return _counted(support_of(noisy), confidence)[0]


def proportions(noisy: NoisyLabels, *, confidence: float = 0.95) -> Estimate:
    """Estimates the share of each class in the population that the items are an independent sample of; (K,).

    The value is `counts` / n; the interval covers sampling as well as noise. Without items it is (0, 1), and the value NaN.

    Args, Raises, Error: as for `counts`.
    """
    confidence = checked_fraction("confidence", confidence)
    support = support_of(noisy)
    moments, items = support.moments, support.sizes[0]
    with np.errstate(invalid="ignore", divide="ignore"):
        value = support.one_hots()[0] / items
        deviation = np.sqrt(share_variance(np.clip(value, 0, 1), moments) / items)
    if support.discrete:
        limits = share_limits(support.totals[0], items, confidence=confidence)
        lower, upper = ((limit - moments.other_mean) / moments.gap for limit in limits)
    else:
        lower, upper = normal_limits(np.nan_to_num(value), np.nan_to_num(deviation, nan=np.inf), confidence)
    return Estimate(value, np.clip(lower, 0, 1), np.clip(upper, 0, 1), deviation, confidence)


def means(
    noisy: NoisyLabels,
    class_values: npt.ArrayLike | None = None,
    *,
    groups: npt.ArrayLike | None = None,
    num_groups: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimates the mean, over the items of this data set or of each group of them, of a number that belongs to the label.

    With two classes and no values it is the rate of class 1, such as a click-through rate for each campaign.

    Args:
        noisy: a release as for `counts`, or of real-valued labels by UnbiasedRandomizer: the means of its answers are those of the
            labels, as rounded to its grid.
        class_values: (K,) the number of each class; by default its own, 0 .. K - 1. None for answers that are values.
        groups: (n,) integers from 0, public: the group of each item. Without them there is one mean, a float.
        num_groups: G; by default one more than the largest. A group without items has no mean: all NaN.
        confidence: of each interval, in (0, 1).

    Returns:
        (G,), or floats without groups.

    Raises:
        TypeError, ValueError: as for `counts`; values or groups of another shape or type.

    Error:
        Intervals hold for any number of items where an answer is one class and there are two values, as with two classes; else
        approximately (normal): trust those of groups of some 50 items or more. Those of UnbiasedRandomizer are on the wide side: its
        standard errors hold the spread of the labels too, and a single answer has none, so its interval is the whole range.
    """
    confidence = checked_fraction("confidence", confidence)
    mechanism = checked_release(noisy).mechanism
    numbers, size = None, 1
    if groups is not None:
        numbers, size = checked_groups("groups", groups, len(noisy), num_groups)
    if isinstance(mechanism, UnbiasedRandomizer):
        if class_values is not None:
            raise TypeError(
                "Expected no class_values for answers that are values themselves, got some; leave them out."
            )
        found = _mean_of_answers(noisy.values, mechanism.label_values, numbers, size, confidence)
    else:
        weights = _checked_values(class_values, mechanism.num_classes)
        found = _mean(support_of(noisy, numbers, size), weights, not mechanism.answer_shape, confidence)
    return found[0] if groups is None else found


def confusion(
    noisy: NoisyLabels,
    predictions: npt.ArrayLike,
    *,
    num_predictions: int | None = None,
    confidence: float = 0.95,
) -> Estimate:
    """Estimates how many items of this data set have each prediction and each label; (P, K).

    Args:
        noisy: a release as for `counts`.
        predictions: (n,) integers from 0, public. A model that was fitted to these very answers has fitted their noise, and is
            estimated to be better than it is: hold items out.
        num_predictions: P; by default the number of classes.
        confidence: of each interval, in (0, 1).

    Raises, Error: as for `counts`.
    """
    confidence = checked_fraction("confidence", confidence)
    size = checked_release(noisy).mechanism.num_classes if num_predictions is None else num_predictions
    support = support_of(noisy, *checked_groups("predictions", predictions, len(noisy), size))
    return _counted(support, confidence)


def accuracy(noisy: NoisyLabels, predictions: npt.ArrayLike, *, confidence: float = 0.95) -> Estimate:
    """Estimates the share of this data set's items whose prediction is their label; floats, NaN without items.

    Args:
        noisy: a release as for `counts`.
        predictions: (n,) classes, as for `confusion`.
        confidence: of the interval, in (0, 1).

    Raises, Error: as for `counts`.
    """
    confidence = checked_fraction("confidence", confidence)
    num_classes = checked_release(noisy).mechanism.num_classes
    classes, _ = checked_groups("predictions", predictions, len(noisy), num_classes)
    right = _counted(support_of_classes(noisy, classes), confidence)[0, 0]
    share = 1 / len(noisy) if len(noisy) else math.nan
    fields = (right.value, right.lower, right.upper, right.standard_error)
    value, lower, upper, deviation = (float(field) * share for field in fields)
    return Estimate(value, lower, upper, deviation, confidence)


def _counted(support: Support, confidence: float) -> Estimate:
    """Numbers of items of each group and class; labels are fixed."""
    moments, value = support.moments, support.one_hots()
    items = np.broadcast_to(support.sizes[:, None], value.shape)
    own = np.clip(value, 0, items)
    deviation = np.sqrt(own * moments.own_variance + (items - own) * moments.other_variance) / moments.gap
    if support.discrete:
        own_mean, other_mean = moments.own_mean, moments.other_mean
        lower, upper = count_limits(
            support.totals, items, own=own_mean, other=other_mean, confidence=confidence
        )
    else:
        lower, upper = normal_limits(value, deviation, confidence)
    return Estimate(value, np.clip(lower, 0, items), np.clip(upper, 0, items), deviation, confidence)


def _mean(support: Support, weights: Floats, whole: bool, confidence: float) -> Estimate:
    """Mean of the labels' weights in each group; labels are fixed. `whole` says that an answer is one class.

    Weights are centred first: one-hot vectors sum to 1, so that changes nothing but the noise of those that sum to 1 on average only.
    """
    centre = weights.mean()
    with np.errstate(invalid="ignore", divide="ignore"):
        shares = support.one_hots() / support.sizes[:, None]
        value = centre + shares @ (weights - centre)
        spread = _variances(weights - centre, support.moments)
        variance = np.clip(spread.mean() + shares @ (spread - spread.mean()), spread.min(), spread.max())
        deviation = np.sqrt(variance / support.sizes)
        if whole and len(np.unique(weights)) == 2:
            lower, upper = _two_valued_limits(support, weights, confidence)
        else:
            lower, upper = normal_limits(value, deviation, confidence)
    lower, upper = (np.clip(limit, weights.min(), weights.max()) for limit in (lower, upper))
    return Estimate(value, lower, upper, deviation, confidence)


def _mean_of_answers(
    answers: Floats,
    label_values: tuple[float, ...],
    groups: npt.NDArray[np.int64] | None,
    size: int,
    confidence: float,
) -> Estimate:
    """Mean of the labels in each group from answers that are unbiased for them."""
    sizes, value, variance = group_moments(answers, groups, size)
    with np.errstate(invalid="ignore"):
        deviation = np.sqrt(variance / sizes)
        lower, upper = normal_limits(value, np.where(sizes == 1, np.inf, deviation), confidence)
    lower, upper = (np.clip(limit, label_values[0], label_values[-1]) for limit in (lower, upper))
    return Estimate(value, lower, upper, deviation, confidence)


def _two_valued_limits(support: Support, weights: Floats, confidence: float) -> Limits:
    """Limits for means of two values: answers of the larger one's classes are 1, the others 0."""
    larger = weights == weights.max()
    other = float(support.moments.other_mean * larger.sum())
    ones = support.totals[:, larger].sum(axis=1)
    own = other + support.moments.gap
    limits = count_limits(ones, support.sizes, own=own, other=other, confidence=confidence)
    low, step = weights.min(), np.ptp(weights)
    return low + step * (limits[0] / support.sizes), low + step * (limits[1] / support.sizes)


def _variances(weights: Floats, moments: IndicatorMoments) -> Floats:
    """For each label, the variance of one answer's estimate of its weight, sum_c weights[c] z[c]; weights sum to 0. (K,)"""
    other = moments.other_variance - moments.other_covariance
    own = moments.own_variance - 2 * moments.own_covariance + moments.other_covariance
    return ((weights**2).sum() * other + weights**2 * (own - other)) / moments.gap / moments.gap


def _checked_values(values: object, num_classes: int) -> Floats:
    """A finite real number for each class; (K,)."""
    array = np.arange(num_classes) if values is None else np.asarray(cast(npt.ArrayLike, values))
    if array.shape != (num_classes,):
        raise ValueError(f"Expected class_values of shape (K,) = ({num_classes},), got {array.shape}.")
    if array.dtype.kind not in "fiub" or not np.isfinite(array).all():
        raise ValueError("Expected class_values that are finite real numbers, got others.")
    return array.astype(np.float64)
