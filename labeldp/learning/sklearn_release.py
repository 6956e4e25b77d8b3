"""What scikit-learn estimators that learn from noisy labels share: which labels they take, and what the labels of people cost."""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from collections.abc import Callable
from threading import Lock
from typing import Any, Self, cast

import numpy as np
import numpy.typing as npt
from sklearn.base import BaseEstimator, MetaEstimatorMixin
from sklearn.utils import column_or_1d, indexable

import accounting
from labeldp.learning.stages import StagedLabels
from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.parameters import checked_integer
from labeldp.release import KeyedSource, NoisyLabels, Source, privatize

Released = NoisyLabels | StagedLabels

_COUNTING = Lock()
"""Held while releases are counted. One for all estimators: it is held for moments, and no copy of an estimator has to carry it."""


class LearnsFromReleases(MetaEstimatorMixin, BaseEstimator):  # pyright: ignore[reportUntypedBaseClass]
    """The part of an estimator that stands between labels and what is learnt from them.

    Clones share one list of what raw labels were released for, so that cross-validation spends what one estimator may spend.
    """

    estimator: Any
    epsilon: float | None
    max_releases: int
    rounds: int
    folds: int
    random_state: Any
    noisy_labels_: Released
    event_: accounting.Event

    @property
    def guarantee_(self) -> accounting.Guarantee:
        """What holds for each person's label, whatever is done with this estimator; see `noisy_labels_` for other units."""
        transcript = accounting.Transcript([self.event_], about="people")
        return accounting.guarantee(transcript, unit="label")

    def _take(self, X: Any, y: Any) -> tuple[Any, Any]:
        """The two as they can be indexed, when what is public about them was checked; scikit-learn's own checks show labels.

        Raises:
            TypeError: y without a length.
            ValueError: complex X, no y, or not as many labels as items.
        """
        if y is None:
            raise ValueError(
                f"Expected noisy labels, got none: {type(self).__name__} requires y to be passed, but the target y is None."
            )
        items = cast(Any, indexable(X)[0])
        if np.iscomplexobj(items):
            raise ValueError("Complex data not supported: expected features that are real numbers.")
        labels = y if hasattr(y, "__len__") or not hasattr(y, "__array__") else np.asarray(y)
        if not hasattr(labels, "__len__") or getattr(labels, "shape", None) == ():
            raise TypeError(f"Expected noisy labels, or labels of shape (n,), got {type(labels).__name__}.")
        num_items = items.shape[0] if hasattr(items, "shape") else len(items)
        if len(labels) != num_items:
            raise ValueError(
                f"Expected one label for each item, got {num_items} items and {len(labels)} labels."
            )
        return items, labels

    def _learning(self) -> dict[str, Any]:
        """Parameters of the rounds."""
        return {
            "rounds": checked_integer("rounds", self.rounds, least=1),
            "folds": checked_integer("folds", self.folds, least=2),
            "random_state": self.random_state,
        }

    def _keep(self, released: Released, mechanisms: list[Mechanism], num_classes: int | None) -> Released:
        """Takes what was released elsewhere.

        Raises:
            ValueError: on other classes, or with a larger epsilon than this estimator promises.
        """
        if num_classes and any(mechanism.num_classes != num_classes for mechanism in mechanisms):
            raise ValueError(f"Expected noisy labels on {num_classes} classes, got some on another number.")
        if self.epsilon is not None and any(mechanism.epsilon > self.epsilon for mechanism in mechanisms):
            raise ValueError(
                f"Expected noisy labels of epsilon {self.epsilon:g} at most, got a larger one; give the estimator its epsilon, or none."
            )
        self.noisy_labels_, self.event_ = released, released.event
        return released

    def _release(
        self,
        labels: Any,
        mechanism: Callable[[float], Mechanism],
        encode: Callable[[Any], npt.NDArray[Any]],
        *,
        prior: npt.ArrayLike | None,
        source: Source | None,
    ) -> NoisyLabels:
        """Releases raw labels once and keeps nothing of them. All that can be refused is refused before they are looked at.

        Raises:
            TypeError: no epsilon, so raw labels are not expected; or a source that wants names.
            ValueError: as many releases were made as were allowed; or a label outside the public domain.
        """
        if self.epsilon is None:
            raise TypeError(
                "Expected noisy labels, got others: pass labeldp.privatize(mechanism, labels), or an epsilon that raw labels may cost."
            )
        if isinstance(source, KeyedSource):
            raise TypeError(
                "Expected a SystemSource or a SeededSource, got a KeyedSource, which wants the items' names: release the labels first, by "
                "labeldp.privatize with items=..., and fit on that."
            )
        answers = mechanism(self.epsilon)
        event = answers.event(answers.plan(prior, len(labels)))
        event = event if getattr(source, "secure", True) else accounting.Seeded(event)
        past = self._reserve(event)
        try:
            numbers = encode(_flat(labels))
        except BaseException:  # nothing was drawn
            with _COUNTING:
                past.remove(event)
            raise
        with _COUNTING:
            spent = list(past)
        noisy = privatize(answers, numbers, prior=prior, source=source)
        self.noisy_labels_ = noisy
        self.event_ = spent[0] if len(spent) == 1 else accounting.Sequence(spent)
        return noisy

    def _reserve(self, event: accounting.Event) -> list[accounting.Event]:
        """Counts a release before it is made, in one step with the check that one more is allowed: clones may be fitted in threads."""
        allowed = checked_integer("max_releases", self.max_releases, least=1)
        past = self._past_releases()
        if past is None:
            raise ValueError(
                "Expected noisy labels in an estimator that was copied or sent to another process, got raw ones: what they cost could not "
                "be counted. Release them once, by labeldp.privatize, and fit on that."
            )
        with _COUNTING:
            if len(past) < allowed:
                past.append(event)
                return past
        raise ValueError(
            f"Expected noisy labels, got raw ones: this estimator and its clones released raw labels {allowed} time(s) of "
            f"max_releases={allowed}, and each release costs its epsilon again. Release them once, noisy = labeldp.privatize(mechanism, "
            f"labels), and fit on that as often as you like."
        )

    def _past_releases(self) -> Any:
        """The events of raw labels released by this estimator and its clones; None in a copy by pickle, which cannot know."""
        return self.__dict__.setdefault("_releases", [])

    def __sklearn_clone__(self) -> Self:
        clone: Any = super().__sklearn_clone__()
        clone._releases = self._past_releases()
        return clone

    def __getstate__(self) -> dict[str, Any]:
        return {**cast(dict[str, Any], super().__getstate__()), "_releases": None}

    def _more_tags(self) -> dict[str, Any]:  # scikit-learn < 1.6
        return {"non_deterministic": True}

    def __sklearn_tags__(self) -> Any:
        from sklearn.utils import get_tags  # scikit-learn >= 1.6, which alone calls this

        tags = super().__sklearn_tags__()
        tags.non_deterministic = True  # the noise of a release hangs on no random_state
        tags.input_tags = get_tags(self.estimator).input_tags
        return tags

    def _adopt(self, fitted: Any) -> Self:
        """Keeps the fitted estimator, and what it says of the features."""
        self.estimator_ = fitted
        for name in ("n_features_in_", "feature_names_in_"):
            self.__dict__.pop(name, None)
            if hasattr(fitted, name):
                setattr(self, name, getattr(fitted, name))
        return self


def _flat(labels: Any) -> Any:
    """Labels (n, 1) as (n,), with scikit-learn's warning; others as they are."""
    shape = getattr(labels, "shape", ())
    return column_or_1d(labels, warn=True) if len(shape) == 2 and shape[1] == 1 else labels


def mechanisms_of(released: Released) -> list[Mechanism]:
    """What answered."""
    parts = released.parts if isinstance(released, StagedLabels) else (released,)
    return [part.mechanism for part in parts]
