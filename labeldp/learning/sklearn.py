"""scikit-learn estimators for noisy labels: any classifier or regressor inside, label differential privacy around it."""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

import math
from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.metrics import r2_score
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from labeldp.learning import estimate
from labeldp.learning.sklearn_release import LearnsFromReleases, Released, mechanisms_of
from labeldp.learning.sklearn_rounds import class_probabilities, fitted_classifier, fitted_regressor
from labeldp.mechanisms import Mechanism, RandomizedResponseOnBins, SubsetSelection, UnbiasedRandomizer
from labeldp.mechanisms.parameters import checked_integer
from labeldp.release import NoisyLabels, Source
from labeldp.release.encode import encode
from labeldp.release.noisy_labels import checked_prior

Floats = npt.NDArray[np.float64]


def _has(name: str) -> Callable[[Any], bool]:
    """Whether the estimator inside has a method."""
    return lambda self: hasattr(getattr(self, "estimator_", self.estimator), name)


class LabelDPClassifier(ClassifierMixin, LearnsFromReleases):  # pyright: ignore[reportUntypedBaseClass]
    """A classifier that learns from noisy labels, by their exact likelihood under the mechanism that made them.

    `fit(X, noisy)` takes what `labeldp.privatize` returned, and costs nothing more however often it is called: in clones, folds and
    grids. `fit(X, y)` with labels themselves releases them first, if an epsilon says what that may cost; once, unless
    `max_releases` allows more.

    The inner estimator is fitted in rounds: each item in every class with its posterior as weight, where the belief of the next
    round comes from models that have not seen the item's answer, as sure as the answers bear out.

    Args:
        estimator: any scikit-learn classifier, also a pipeline that ends in one. Best with `sample_weight` in its `fit` and
            `predict_proba`; without weights it learns from the most likely class of each item.
        epsilon: what the label of one person may cost, in 0 .. 80; noisy labels with a larger one are refused. None takes noisy labels
            only.
        classes: K >= 2 distinct values in a fixed order, public; never taken from y. Answer c of a mechanism means classes[c].
        mechanism: what answers for raw labels, called with epsilon and K.
        rounds: R >= 1; the inner estimator is fitted (R - 1) * folds + 1 times.
        folds: F >= 2.
        max_releases: how often raw labels may be released by this estimator and all its clones together.
        random_state: of folds and ties. It never decides noise.

    Attributes:
        classes_: (K,).
        estimator_: the fitted inner estimator, on class numbers 0 .. K - 1.
        noisy_labels_: what was learnt from, public; for `fit(X, noisy_labels_)` again.
        event_: for the accountant: of raw labels, all releases of this estimator and its clones up to this one.
        guarantee_: the guarantee per label.

    Privacy:
        epsilon-DP for the label of each item, times the number of releases where that is more than one; features, number and order
        are public. The fitted estimator is a function of X and the noisy labels: predictions, `repr` and pickle of it may leave. A
        `score` on labels that are not public is not covered by any guarantee, and neither is what is chosen by it.

    Source: A. P. Dempster et al., 1977 (expectation maximisation); the likelihood is that of arXiv 2102.06062, section 2.
    """

    classes_: npt.NDArray[Any]

    def __init__(
        self,
        estimator: Any,
        epsilon: float | None = None,
        *,
        classes: Sequence[Hashable] | npt.NDArray[Any],
        mechanism: Callable[[float, int], Mechanism] = SubsetSelection,
        rounds: int = 6,
        folds: int = 3,
        max_releases: int = 1,
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.epsilon = epsilon
        self.classes = classes
        self.mechanism = mechanism
        self.rounds = rounds
        self.folds = folds
        self.max_releases = max_releases
        self.random_state = random_state

    def fit(
        self, X: Any, y: Any, *, prior: npt.ArrayLike | None = None, source: Source | None = None
    ) -> Self:
        """Learns from noisy labels; raw labels are released first.

        Args:
            X: (n, d), whatever the inner estimator takes; public.
            y: `labeldp.NoisyLabels`, also a part of them, or the `StagedLabels` of X[staged.numbers]; or raw labels (n,), each of
                them in `classes`.
            prior: (n, K) or (K,), a first belief that does not depend on the labels; uniform by default.
            source: where the noise of raw labels comes from; a fresh `SystemSource` by default. A `SeededSource` is for tests: its
                release is stamped not for release.

        Raises:
            TypeError, ValueError: see the class; no message holds a label. A label that is none of the classes is the one error that
                depends on labels.
        """
        items, y = self._take(X, y)
        encode(
            [], self.classes
        )  # classes and the rest of what is public are checked before labels are looked at
        num_classes = len(self.classes)
        learning = self._learning()
        if isinstance(y, Released):
            released = self._keep(y, mechanisms_of(y), num_classes)
        else:
            released = self._release(
                y,
                lambda epsilon: self.mechanism(epsilon, num_classes),
                lambda labels: encode(labels, self.classes),
                prior=prior,
                source=source,
            )
        self.classes_ = np.asarray(self.classes)
        likelihood = np.asarray(released.likelihood(), dtype=np.float64)
        belief = None if prior is None else checked_prior(prior, len(likelihood), num_classes)
        return self._adopt(fitted_classifier(self.estimator, items, likelihood, belief=belief, **learning))

    def predict(self, X: Any) -> npt.NDArray[Any]:
        """The most likely class of each item; (n,)."""
        numbers = self._numbers(X)
        return self.classes_[numbers]

    @available_if(_has("predict_proba"))
    def predict_proba(self, X: Any) -> Floats:
        """Probability of each class, in the order of `classes`; (n, K)."""
        check_is_fitted(self, "estimator_")
        return class_probabilities(self.estimator_, X, len(self.classes_))

    @available_if(_has("predict_proba"))
    def predict_log_proba(self, X: Any) -> Floats:
        """Logarithm of `predict_proba`; (n, K)."""
        with np.errstate(divide="ignore"):
            return np.log(self.predict_proba(X))

    @available_if(_has("decision_function"))
    def decision_function(self, X: Any) -> Floats:
        """The inner estimator's; (n, K), or (n,) for two classes."""
        check_is_fitted(self, "estimator_")
        return self.estimator_.decision_function(X)

    def score(self, X: Any, y: Any, sample_weight: Any = None) -> float:
        """Share of items whose predicted class is their label; from noisy labels an unbiased estimate of it, see `estimate.accuracy`.

        Args:
            X: (n, d).
            y: public labels (n,); or NoisyLabels of a mechanism that answers every item alike, such as SubsetSelection. For others
                there is `mean_log_likelihood`.
            sample_weight: (n,), with public labels only.
        """
        if not isinstance(y, Released):
            return float(super().score(X, y, sample_weight))
        if sample_weight is not None:
            raise TypeError("Expected no sample_weight with noisy labels, got some.")
        return cast(float, estimate.accuracy(cast(NoisyLabels, y), self._numbers(X)).value)

    def _numbers(self, X: Any) -> npt.NDArray[np.int64]:
        check_is_fitted(self, "estimator_")
        return np.asarray(self.estimator_.predict(X)).astype(np.int64)


def mean_log_likelihood(estimator: Any, X: Any, noisy: NoisyLabels) -> float:
    """Mean over items of log sum_c Q(answer | c) P(c | x), for `scoring=`: how well a classifier predicts answers it has not seen.

    It needs no label, holds for every mechanism, and varies less than an estimated accuracy: for choosing among models.

    Args:
        estimator: fitted, with `predict_proba` whose columns are the classes 0 .. K - 1.
        X: (m, d).
        noisy: of these items.
    """
    with np.errstate(divide="ignore"):
        return float(np.log(np.einsum("ij,ij->i", noisy.likelihood(), estimator.predict_proba(X))).mean())


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
