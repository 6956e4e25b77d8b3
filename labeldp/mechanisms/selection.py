"""Choosing candidates from a prior alone: which classes a selective mechanism answers in.

No function here takes a label. The accuracy rule needs no sort (theory: S = {p > V*} and the most likely class, where V* is
the attainable probability of a true answer); the information rule looks at every size at once over the sorted row.
"""

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Weights: TypeAlias = npt.NDArray[np.int64]
Candidates: TypeAlias = npt.NDArray[np.bool_]


def largest_classes(weights: Weights, size: int) -> Candidates:
    """The `size` largest classes of each row, ties by index, zeros last; shape (n, K)."""
    order = np.argsort(-weights, axis=1, kind="stable")[:, :size]
    mask = np.zeros(weights.shape, dtype=np.bool_)
    np.put_along_axis(mask, order, True, axis=1)
    return mask


def most_accurate(weights: Weights, epsilon: float) -> Candidates:
    """The candidates that maximise P[output = label] under the prior, over all sizes; shape (n, K).

    For the k largest classes of total weight P_k that probability is P_k E / (E + k - 1). With V = P_k / (E + k - 1), a
    further class raises it exactly when its weight is above V, so the optimum is the fixed point S = {weight > V(S)},
    reached from above in a few passes. Two values near 2^-53 of each other may be told apart either way: S stays a function of the prior alone.

    Source: arXiv 2102.06062, Theorem 3 (optimality among all epsilon-DP mechanisms); the fixed point is proved in docs/design.
    """
    ratio = np.exp(np.float64(epsilon))
    mask = weights > 0
    active = np.arange(len(weights))
    total = weights.sum(axis=1)
    count = mask.sum(axis=1)
    while active.size:
        level = total[active] / (ratio + (count[active] - 1))
        kept = weights[active] > level[:, None]
        new_count = kept.sum(axis=1)
        changed = (new_count < count[active]) & (new_count > 0)
        lonely = new_count == 0  # the most likely class alone, the first of equals
        if lonely.any():
            rows = active[lonely]
            kept[lonely] = np.arange(weights.shape[1]) == weights[rows].argmax(axis=1)[:, None]
        mask[active] = kept
        active = active[changed]
        total[active] = (weights[active] * mask[active]).sum(axis=1)
        count[active] = new_count[changed]
    return mask


def most_informative(weights: Weights, epsilon: float, *, other: bool) -> Candidates:
    """The candidates of size k >= 2 that maximise the mutual information of label and output under the prior; (n, K).

    A class of prior zero is never a candidate, so a row with one positive class gets k = 1.
    """
    num_classes = weights.shape[1]
    order = np.argsort(-weights, axis=1, kind="stable")
    ordered = np.take_along_axis(weights, order, axis=1)
    probability = ordered / ordered.sum(axis=1, keepdims=True)
    information = information_by_size(probability, epsilon, other=other)
    positive = (ordered > 0).sum(axis=1)
    sizes = np.arange(1, num_classes + 1, dtype=np.int64)
    allowed = (sizes <= np.maximum(positive, 1)[:, None]) & (sizes >= np.minimum(positive, 2)[:, None])
    size = np.where(allowed, information, -np.inf).argmax(axis=1) + 1
    mask = np.zeros(weights.shape, dtype=np.bool_)
    np.put_along_axis(mask, order, sizes <= size[:, None], axis=1)
    return mask


def information_by_size(
    probability: npt.NDArray[np.float64], epsilon: float, *, other: bool
) -> npt.NDArray[np.float64]:
    """Mutual information in nats between label and output, for the k most likely classes as candidates; column k - 1.

    Args:
        probability: rows sorted downwards, each summing to 1, shape (n, K).
        epsilon: privacy parameter of one answer.
        other: whether "not a candidate" is an output of its own.
    """
    rule = _information_with_other if other else _information_uniform_outside
    columns = [rule(probability, epsilon, k) for k in range(1, probability.shape[1] + 1)]
    return np.stack(columns, axis=1) if columns else np.zeros_like(probability)


def _information_with_other(
    probability: npt.NDArray[np.float64], epsilon: float, k: int
) -> npt.NDArray[np.float64]:
    """I = H(output) - H(answer): every label draws from the same row of (k+1)-ary randomized response, rearranged."""
    num_classes = probability.shape[1]
    inside = probability[:, :k]
    if k < num_classes:
        inside = np.concatenate([inside, probability[:, k:].sum(axis=1, keepdims=True)], axis=1)
    alphabet = inside.shape[1]
    lie = 1 / (np.exp(epsilon) + alphabet - 1)
    output = lie + inside * (np.expm1(epsilon) * lie)
    return _entropy(output) - _answer_entropy(epsilon, alphabet)


def _information_uniform_outside(
    probability: npt.NDArray[np.float64], epsilon: float, k: int
) -> npt.NDArray[np.float64]:
    """I = H(output) - P_k H(answer) - (1 - P_k) ln k: labels outside answer uniformly on the candidates."""
    inside = probability[:, :k]
    mass = np.minimum(inside.sum(axis=1), 1.0)
    lie = 1 / (np.exp(epsilon) + k - 1)
    output = inside * (np.expm1(epsilon) * lie) + (mass * lie + (1 - mass) / k)[:, None]
    return _entropy(output) - mass * _answer_entropy(epsilon, k) - (1 - mass) * np.log(k)


def _entropy(rows: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    return -(rows * np.log(np.maximum(rows, np.finfo(np.float64).tiny))).sum(axis=1)


def _answer_entropy(epsilon: float, alphabet: int) -> float:
    """Entropy in nats of one row of randomized response on the alphabet."""
    normalizer = np.exp(epsilon) + alphabet - 1
    return float(np.log(normalizer) - epsilon * np.exp(epsilon) / normalizer)
