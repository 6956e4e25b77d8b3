"""A scikit-learn regressor for noisy real-valued labels."""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable, Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.validation import check_is_fitted

from labeldp.learning.sklearn_release import LearnsFromReleases, Released, mechanisms_of
from labeldp.learning.sklearn_rounds import fitted_regressor
from labeldp.mechanisms import Mechanism, RandomizedResponseOnBins, UnbiasedRandomizer
from labeldp.mechanisms.parameters import checked_integer
from labeldp.release import NoisyLabels, Source

Floats = npt.NDArray[np.float64]


class LabelDPRegressor(RegressorMixin, LearnsFromReleases):  # pyright: ignore[reportUntypedBaseClass]
    """A regressor that learns from noisy real-valued labels, by their likelihood on a public grid of values.

    As `LabelDPClassifier`, with these differences. The first round learns from unbiased answers; the next ones from the mean of each
    label given its answer, where labels are normal around predictions that have not seen the answer.

    Args:
        estimator: any scikit-learn regressor, also a pipeline that ends in one.
        epsilon: as for `LabelDPClassifier`.
        bounds: (low, high) of the labels, public; never taken from y. Labels outside count as the nearer of the two.
        bins: K >= 2, number of values on the grid between the bounds; labels are rounded to it.
        mechanism: what answers for raw labels, called with epsilon, the grid and its prior.
        prior: (K,) public probabilities of the grid's values, up to scale; uniform by default.
        rounds, folds, max_releases, random_state: as for `LabelDPClassifier`.

    Attributes:
        estimator_, noisy_labels_, event_, guarantee_: as for `LabelDPClassifier`.

    Privacy: as for `LabelDPClassifier`, however the label changes.
    """

    def __init__(
        self,
        estimator: Any,
        epsilon: float | None = None,
        *,
        bounds: tuple[float, float],
        bins: int = 32,
        mechanism: Callable[
            [float, tuple[float, ...], tuple[float, ...]], Mechanism
        ] = RandomizedResponseOnBins,
        prior: Sequence[float] | npt.NDArray[Any] | None = None,
        rounds: int = 6,
        folds: int = 3,
        max_releases: int = 1,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.epsilon = epsilon
        self.bounds = bounds
        self.bins = bins
        self.mechanism = mechanism
        self.prior = prior
        self.rounds = rounds
        self.folds = folds
        self.max_releases = max_releases
        self.random_state = random_state

    def fit(self, X: Any, y: Any, *, source: Source | None = None) -> Self:
        """Learns from noisy labels; raw labels are released first. See `LabelDPClassifier.fit`.

        Args:
            X: (n, d), whatever the inner estimator takes; public.
            y: `labeldp.NoisyLabels` of `RandomizedResponseOnBins` or `UnbiasedRandomizer`; or raw labels (n,), real numbers.
            source: as for `LabelDPClassifier.fit`.
        """
        items, y = self._take(X, y)
        learning = self._learning()
        if isinstance(y, Released):
            released = self._keep(y, mechanisms_of(y), None)
        else:
            grid = self._grid()
            weights = (1.0,) * len(grid) if self.prior is None else tuple(self.prior)
            released = self._release(
                y,
                lambda epsilon: self.mechanism(epsilon, grid, weights),
                lambda labels: _clipped(labels, grid[0], grid[-1]),
                prior=None,
                source=source,
            )
        answers = _answers(released)
        fitted = fitted_regressor(
            self.estimator,
            items,
            released.likelihood(),
            label_values=np.array(answers.label_values),
            targets=unbiased(cast(NoisyLabels, released)),
            **learning,
        )
        return self._adopt(fitted)

    def predict(self, X: Any) -> Floats:
        """What is expected of each item's label; (n,)."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.predict(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """R squared on public labels (n,); on NoisyLabels that of unbiased answers, which is lower but ranks models alike, on average."""
        labels = unbiased(y) if isinstance(y, NoisyLabels) else y
        return float(r2_score(labels, self.predict(X), sample_weight=sample_weight))

    def _grid(self) -> tuple[float, ...]:
        low, high = map(float, self.bounds)
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise ValueError(f"Expected finite bounds, the lower one first, got ({low}, {high}).")
        return tuple(np.linspace(low, high, checked_integer("bins", self.bins, least=2)).tolist())


def _clipped(labels: object, low: float, high: float) -> Floats:
    """Labels as numbers between the bounds, (n,); the one check that may depend on them.

    Raises:
        TypeError: not an array of numbers.
        ValueError: not one-dimensional, or a label that is not finite. No message holds a label.
    """
    try:
        array = None if isinstance(labels, np.ma.MaskedArray) else np.asarray(cast(Any, labels))
        numbers = None if array is None or array.dtype.kind == "c" else array.astype(np.float64)
    except (ValueError, TypeError):
        numbers = None
    if numbers is None:
        raise TypeError("Expected labels that are real numbers without a mask, got others.")
    if numbers.ndim != 1:
        raise ValueError(f"Expected labels of shape (n,), got {numbers.shape}.")
    if not np.isfinite(numbers).all():
        raise ValueError(
            "Expected every label to be finite, got at least one that is not; decide first what a missing label is."
        )
    return np.clip(numbers, low, high)


def unbiased(noisy: NoisyLabels) -> Floats:
    """Answers whose mean is the label (of RandomizedResponseOnBins: the value of its bin); (n,).

    Randomized response on B bins answers v with probability E / (E + B - 1) and any other value o with 1 / (E + B - 1), on average
    ((E - 1) v + sum o) / (E + B - 1).
    """
    answers, values = _answers(noisy), np.asarray(noisy, dtype=np.float64)
    if isinstance(answers, UnbiasedRandomizer) or answers.epsilon == 0 or answers.num_outputs == 1:
        return values
    outputs = answers.outputs()
    return ((math.exp(answers.epsilon) + len(outputs) - 1) * values - outputs.sum()) / math.expm1(
        answers.epsilon
    )


def _answers(released: Released) -> RandomizedResponseOnBins | UnbiasedRandomizer:
    """The mechanism of real-valued answers.

    Raises:
        TypeError: another one.
    """
    mechanism = released.mechanism if isinstance(released, NoisyLabels) else None
    if not isinstance(mechanism, RandomizedResponseOnBins | UnbiasedRandomizer):
        raise TypeError(
            "Expected noisy labels of RandomizedResponseOnBins or UnbiasedRandomizer, got others; classes are for LabelDPClassifier."
        )
    return mechanism
