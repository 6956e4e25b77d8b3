"""A scikit-learn classifier for noisy labels: any classifier inside, label differential privacy around it."""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Callable, Hashable, Sequence
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import ClassifierMixin
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from labeldp.learning import estimate
from labeldp.learning.sklearn_release import LearnsFromReleases, Released, mechanisms_of
from labeldp.learning.sklearn_rounds import class_probabilities, fitted_classifier
from labeldp.mechanisms import Mechanism, SubsetSelection
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
