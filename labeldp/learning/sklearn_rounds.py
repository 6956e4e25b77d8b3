"""Learning from likelihoods with any scikit-learn estimator, in rounds of expectation and maximisation.

An item stands in the training set once for each class, with the posterior of that class as its weight: the exact likelihood of what
was released, maximised step by step. What a round believes of an item comes from a model that has not seen the item's answer, since
one that has repeats its noise; and it is made as confident as the answers bear out, which saves most of the rounds.

All of it is post-processing of a release: it reads no label.
"""

# scikit-learn has no types
# pyright: reportMissingTypeStubs=false, reportUnknownVariableType=false, reportUnknownMemberType=false, reportUnknownArgumentType=false

from typing import Any

import numpy as np
import numpy.typing as npt
from sklearn.base import clone
from sklearn.model_selection import KFold
from sklearn.pipeline import Pipeline
from sklearn.utils import _safe_indexing, check_random_state  # pyright: ignore[reportPrivateUsage]
from sklearn.utils.validation import has_fit_parameter

Floats = npt.NDArray[np.float64]

LEAST_WEIGHT = 1e-3
"""A class that is less likely than this is left out for its item."""

DOUBT = 0.01
"""Share of every belief that is spread over all classes: no model is certain of an item that it has not seen."""

TIE = 1e-9
"""Weights this close are equal: where an estimator takes no weights, an item stands in its most likely class, ties at random."""

SHARPNESS = 2.0 ** np.arange(-2, 5.5, 0.5)
SPREAD_STEPS = 20


def fitted_classifier(
    estimator: Any,
    X: Any,
    likelihood: Floats,
    *,
    belief: Floats | None,
    rounds: int,
    folds: int,
    random_state: Any,
) -> Any:
    """A clone of the classifier, fitted to class numbers 0 .. K - 1 by the likelihood (n, K), from a first belief (n, K).

    Without a belief the first of several rounds learns from what sets classes apart in an answer: the part of a posterior that all
    classes share is the same for every item, drowns the rest where rows are drawn, as forests do, and is undone by calibration.
    """
    likelihood = likelihood / likelihood.max(axis=1, keepdims=True)
    random = check_random_state(random_state)
    even = np.full_like(likelihood, 1 / likelihood.shape[1])
    contrast = likelihood - likelihood.min(axis=1, keepdims=True) + 1e-9
    weights = _posterior(contrast if belief is None else likelihood, even if belief is None else belief)
    for splits in _splits(len(likelihood), rounds - 1, folds, random):
        opinion = np.zeros_like(likelihood)
        for train, test in splits:
            model = _fitted_to_weights(estimator, _safe_indexing(X, train), weights[train], random)
            opinion[test] = _opinion(model, _safe_indexing(X, test), likelihood.shape[1])
        belief = _calibrated(opinion, likelihood)
        weights = _posterior(likelihood, belief)
    if belief is None:  # no round but this one
        weights = _posterior(likelihood, even)
    return _fitted_to_weights(estimator, X, weights, random)


def fitted_regressor(
    estimator: Any,
    X: Any,
    likelihood: Floats,
    *,
    label_values: Floats,
    targets: Floats,
    rounds: int,
    folds: int,
    random_state: Any,
) -> Any:
    """A clone of the regressor, fitted to the means of the labels given the answers; labels are normal around a prediction.

    Args:
        likelihood: (n, K), of every label value.
        label_values: (K,), increasing.
        targets: (n,) what the first round learns from.
    """
    random = check_random_state(random_state)
    for splits in _splits(len(targets), rounds - 1, folds, random):
        predictions = np.empty_like(targets)
        for train, test in splits:
            model = _fresh(estimator).fit(_safe_indexing(X, train), targets[train])
            predictions[test] = np.ravel(model.predict(_safe_indexing(X, test)))
        targets = _label_means(predictions, likelihood, label_values)
    return _fresh(estimator).fit(X, targets)


def class_probabilities(model: Any, X: Any, num_classes: int) -> Floats:
    """What the model says of each class number, (n, K); 0 for classes that it was not shown."""
    probabilities = np.zeros((X.shape[0] if hasattr(X, "shape") else len(X), num_classes))
    probabilities[:, model.classes_] = model.predict_proba(X)
    return probabilities


def _splits(num_items: int, rounds: int, folds: int, random: Any) -> Any:
    """For each round a random split of the items in folds, as (train, test); none for a single item, which has no other to learn from."""
    if num_items < 2:
        return
    for _ in range(rounds):
        yield KFold(min(folds, num_items), shuffle=True, random_state=random).split(np.empty(num_items))


def _posterior(likelihood: Floats, belief: Floats) -> Floats:
    joint = likelihood * belief
    return joint / joint.sum(axis=1, keepdims=True)


def _fitted_to_weights(estimator: Any, X: Any, weights: Floats, random: Any) -> Any:
    """A clone fitted to every item in every class by weight, or in its most likely class; each class has at least one row."""
    num_items = len(weights)
    name = _weight_name(estimator)
    heaviest = weights.argmax(axis=0) if num_items else np.empty(0, np.intp)
    if name is None:
        likeliest = (weights + TIE * random.random_sample(weights.shape)).argmax(axis=1)
        items = np.concatenate([np.arange(num_items), heaviest])
        classes = np.concatenate([likeliest, np.arange(len(heaviest))])
        return _fresh(estimator).fit(_safe_indexing(X, items), classes)
    kept = weights > LEAST_WEIGHT
    kept[heaviest, np.arange(len(heaviest))] = True
    items, classes = np.nonzero(kept)
    return _fresh(estimator).fit(_safe_indexing(X, items), classes, **{name: weights[kept]})


def _fresh(estimator: Any) -> Any:
    return clone(estimator)


def _weight_name(estimator: Any) -> str | None:
    """What the estimator's `fit` calls the weights of items; None if it takes none."""
    prefix = ""
    while isinstance(estimator, Pipeline):
        name, estimator = estimator.steps[-1]
        prefix += f"{name}__"
    return f"{prefix}sample_weight" if has_fit_parameter(estimator, "sample_weight") else None


def _opinion(model: Any, X: Any, num_classes: int) -> Floats:
    """Logarithms of what the model says of each class, up to sharpness; (n, K)."""
    if hasattr(model, "predict_proba"):
        return np.log(np.maximum(class_probabilities(model, X, num_classes), 1e-9))
    return (model.predict(X)[:, None] == np.arange(num_classes)).astype(np.float64)


def _calibrated(opinion: Floats, likelihood: Floats) -> Floats:
    """Beliefs (n, K) proportional to exp(sharpness * opinion), of the sharpness under which the answers are most likely.

    The model has not seen these answers, so a belief that is too bold is told so by them.
    """
    opinion = opinion - opinion.max(axis=1, keepdims=True)
    best, most = np.empty_like(opinion), -np.inf
    for sharpness in SHARPNESS:
        belief = np.exp(sharpness * opinion)
        belief *= (1 - DOUBT) / belief.sum(axis=1, keepdims=True)
        belief += DOUBT / belief.shape[1]
        evidence = float(np.log(np.einsum("ij,ij->i", likelihood, belief)).sum())
        if evidence > most:
            best, most = belief, evidence
    return best


def _label_means(predictions: Floats, likelihood: Floats, label_values: Floats) -> Floats:
    """Mean of each label given its answer, (n,); labels are normal around their predictions with the spread that fits the answers."""
    step, span = np.diff(label_values).min(), label_values[-1] - label_values[0]
    squares = (label_values - np.clip(predictions, label_values[0], label_values[-1])[:, None]) ** 2
    spread, weights = (span / 4) ** 2, likelihood
    for _ in range(SPREAD_STEPS):
        nearest = squares.min(axis=1, keepdims=True)
        weights = _posterior(likelihood, np.exp((nearest - squares) / (2 * spread)))
        spread = max(float((weights * squares).sum() / len(weights)), (step / 2) ** 2)
    return weights @ label_values
