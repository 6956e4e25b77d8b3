"""Audits of labels that were released: a lower bound of epsilon from canaries, and what an attacker gains from the release.

Both read true labels: what they return is for the data holder, and publishing it would void the guarantee of the release.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from labeldp.release import NoisyLabels
from labeldp.release.noisy_labels import checked_prior
from labeldp.testing.claims import AuditReport, Claim, Witness
from labeldp.testing.evidence import MAX_EPSILON

Floats = npt.NDArray[np.floating[Any]]


def audit_release(
    true_labels: npt.ArrayLike,
    noisy: NoisyLabels,
    canaries: npt.ArrayLike,
    *,
    epsilon: float | None = None,
    confidence: float = 0.99,
) -> AuditReport:
    """Bounds the epsilon of one release from below, by its canaries: items whose labels the auditor drew at random.

    Before the release the auditor gives some items labels of its own, uniform over all K classes and independent of everything. After it,
    each is guessed to be one of the m likeliest classes given what was released; epsilon-DP allows a right guess with probability
    m E / (m E + K - m), E = e^epsilon, at most, so the number of right guesses is stochastically below a sum of such coins.

    Args:
        true_labels: (n,) labels; only those of canaries are looked at.
        noisy: the release of these n items.
        canaries: indexes of the canaries, or a mask (n,).
        epsilon: the claim; by default what the mechanism says of itself.
        confidence: of the lower bound.

    Returns:
        The lower bound; `calls` is the number of canaries that were guessed. Items answered alike for all labels (k = 1) are not.

    Raises:
        ValueError: no canaries, or shapes that do not belong together; canary labels that are no uniform draw (a draw is refused with
            probability 1e-9).

    Privacy:
        Reads true labels; the canaries' alone, which are nobody's. A bound above the true epsilon comes with probability at most
        1 - confidence, whatever depends on what between items, if canaries were drawn as said. It never proves privacy.

    Source: T. Steinke et al., arXiv 2305.08846, with K labels instead of two.
    """
    claim = Claim(
        noisy.mechanism.epsilon if epsilon is None else epsilon, 0.0, noisy.mechanism.num_classes, confidence
    )
    _require_pure(noisy)
    chosen = _positions(canaries, len(noisy))
    labels = _checked(true_labels, noisy)[chosen]
    _require_uniform(labels, claim.num_classes)
    likelihood = noisy.likelihood()[chosen]
    inside = likelihood >= likelihood.max(axis=1, keepdims=True) * (1 - 1e-9)
    size = inside.sum(axis=1)
    guessed = size < claim.num_classes
    right = int(inside[np.arange(len(labels)), labels][guessed].sum())
    sizes = np.bincount(size[guessed], minlength=claim.num_classes)
    bound = _largest_refuted(right, sizes, 1 - claim.confidence)
    witness = _witness(right, sizes, claim) if bound > claim.epsilon else None
    return AuditReport(bound, claim.confidence, int(guessed.sum()), witness, stopped_early=False)


@dataclass(frozen=True)
class LabelInferenceReport:
    """What a release adds to guessing labels, over knowing each item and its prior. A diagnostic: it is a function of the true labels.

    Attributes:
        advantage: share of labels guessed right from the posterior, less the share guessed right from the prior.
        standard_error: of the advantage, over items.
        bound: no epsilon-DP release has a larger advantage, on average over labels drawn from the prior.
        items: number of items.
    """

    advantage: float
    standard_error: float
    bound: float
    items: int

    def __str__(self) -> str:
        return (
            f"Advantage over someone who knows the items and the prior: {100 * self.advantage:.2f} points (standard error "
            f"{100 * self.standard_error:.2f}), on {self.items:,} items. On average over labels drawn from the prior no release at this "
            f"epsilon allows more than {100 * self.bound:.2f}. A small advantage proves nothing private.\n"
            f"Diagnostic: computed from true labels; not for release."
        )


def label_inference_report(
    true_labels: npt.ArrayLike, noisy: NoisyLabels, prior: npt.ArrayLike
) -> LabelInferenceReport:
    """How much better labels are guessed from a release and the prior than from the prior alone.

    With prior p no epsilon-DP release lets anyone guess right with probability above w*(p) = max_k P_k E / (E + k - 1), where E = e^epsilon and
    P_k is the mass of the k likeliest classes; the prior alone is right with probability p_max. The bound is the mean of w*(p) - p_max.

    Args:
        true_labels: (n,) labels.
        noisy: the release of these n items.
        prior: (n, K), or one row (K,): what an attacker knows of each label without the release.

    Returns:
        The advantage and its bound; never an accuracy, most of which may be the prior's.

    Raises:
        TypeError, ValueError: bad labels or prior; no items.

    Privacy:
        Reads true labels: a diagnostic for the data holder. What it returns is not private and stays out of every release.

    Source: theory P9; optimality in arXiv 2102.06062, Theorem 3.
    """
    _require_pure(noisy)
    rows = checked_prior(prior, len(noisy), noisy.mechanism.num_classes)
    labels = _checked(true_labels, noisy)
    if not len(labels):
        raise ValueError("Expected at least one item, got none.")
    rows = rows / rows.sum(axis=1, keepdims=True)
    gain = (noisy.posterior(rows).argmax(axis=1) == labels) - (rows.argmax(axis=1) == labels).astype(
        np.float64
    )
    bound = best_guess(rows, noisy.mechanism.epsilon) - rows.max(axis=1)
    error = float(gain.std()) / math.sqrt(len(gain))
    return LabelInferenceReport(float(gain.mean()), error, float(bound.mean()), len(gain))


def best_guess(prior: Floats, epsilon: float) -> Floats:
    """w*(p) of each prior row, (n,): the largest probability of a right guess that an epsilon-DP release allows."""
    mass = np.cumsum(-np.sort(-prior, axis=1), axis=1)
    others = np.arange(prior.shape[1], dtype=np.float64)
    return np.divide(mass, 1 + np.multiply(others, math.exp(-epsilon))).max(axis=1)


def _require_pure(noisy: NoisyLabels) -> None:
    if getattr(noisy.mechanism, "delta", None):
        raise ValueError(
            f"Expected a release that is epsilon-DP with delta = 0, got one of {noisy.mechanism!r}; its guesses have no such bound."
        )


def _checked(true_labels: npt.ArrayLike, noisy: NoisyLabels) -> npt.NDArray[np.integer]:
    labels = noisy.mechanism.read(true_labels)
    if len(labels) != len(noisy):
        raise ValueError(f"Expected one true label for each of {len(noisy)} items, got {len(labels)}.")
    return labels


def _positions(canaries: npt.ArrayLike, num_items: int) -> npt.NDArray[np.intp]:
    """Indexes of the canaries, each once."""
    array = np.asarray(canaries)
    if array.dtype == np.bool_ and array.shape == (num_items,):
        array = np.flatnonzero(array)
    inside = array.dtype.kind in "iu" and array.ndim == 1 and array.size > 0
    if not inside or array.min() < 0 or array.max() >= num_items or len(np.unique(array)) < len(array):
        raise ValueError(
            f"Expected canaries as distinct indexes below {num_items} or a mask of shape ({num_items},), at least one; "
            f"got {array.size} of type {array.dtype}, in shape {array.shape}."
        )
    return array.astype(np.intp)


def _require_uniform(labels: npt.NDArray[np.integer], num_classes: int) -> None:
    """Refuses canary labels of which some class has a share that a uniform draw has with probability 1e-9 at most (Chernoff)."""
    share = np.bincount(labels, minlength=num_classes) / len(labels)
    pairs = ((share, 1 / num_classes), (1 - share, 1 - 1 / num_classes))
    divergence = sum(np.where(p > 0, p * np.log(np.maximum(p, 1e-300) / q), 0) for p, q in pairs)
    if len(labels) * float(np.max(divergence)) > math.log(2e9 * num_classes):
        raise ValueError(
            "Expected canary labels drawn uniformly from all classes, got a draw that is none; real labels cannot be canaries."
        )


def _largest_refuted(right: int, sizes: npt.NDArray[np.integer], alarm: float) -> float:
    """The largest epsilon at which that many right guesses have probability at most alarm; 0 if none has."""
    if _tail(right, sizes, 0.0) > alarm:
        return 0.0
    low, high = 0.0, MAX_EPSILON
    for _ in range(50):
        middle = (low + high) / 2
        low, high = (middle, high) if _tail(right, sizes, middle) <= alarm else (low, middle)
    return low


def _tail(right: int, sizes: npt.NDArray[np.integer], epsilon: float) -> float:
    """P[S >= right] for the sum S of independent coins: sizes[m] of them with probability m E / (m E + K - m) each.

    Error: below the truth by less than 1e-15: each binomial is cut 10 standard deviations and 40 away from its mean.
    """
    start, law = 0, np.ones(1)
    for size in np.flatnonzero(sizes):
        first, part = _binomial(int(sizes[size]), epsilon + math.log(size / (len(sizes) - size)))
        start, law = start + first, np.convolve(law, part)
    return float(law[max(0, right - start) :].sum())


def _binomial(trials: int, log_odds: float) -> tuple[int, Floats]:
    """Probabilities of the counts of a binomial near its mean, and the first of these counts."""
    chance = 1 / (1 + math.exp(-log_odds))
    reach = 10 * math.sqrt(trials * chance * (1 - chance)) + 40
    first, last = max(0, int(trials * chance - reach)), min(trials, math.ceil(trials * chance + reach))
    counts = np.arange(first, last)
    steps = np.log((trials - counts) / (counts + 1)) + log_odds
    log_law = np.concatenate([[0.0], np.cumsum(steps)])
    law = np.exp(log_law - log_law.max())
    return first, law / law.sum()


def _witness(right: int, sizes: npt.NDArray[np.integer], claim: Claim) -> Witness:
    because = (
        f"Of {int(sizes.sum()):,} canaries {right:,} were guessed right; while the claim of {claim} holds, that many or more have "
        f"probability {_tail(right, sizes, claim.epsilon):.3g} at most."
    )
    return Witness(
        None, None, None, None, because, "labeldp.testing.audit_release(true_labels, noisy, canaries)"
    )
