"""A private histogram of labels: a prior for the mechanisms that want one, where no public one is at hand."""

import warnings
from dataclasses import dataclass
from fractions import Fraction
from typing import Protocol

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms.mechanism import checked_labels
from labeldp.mechanisms.parameters import checked_epsilon, checked_num_classes
from labeldp.release.advice import PrivacyWarning
from labeldp.release.keyed import KeyedSource
from labeldp.release.randomness import Source, SystemSource

LARGEST_COUNT = 2**62
"""Noisy counts are clamped to minus and plus this, which is post-processing; at epsilon above 1e-15 it never happens."""

FLOOR = 0.5
"""What a count is raised to before it becomes a probability: half a label."""

BLOCK_WORDS = 1024


@dataclass(frozen=True, eq=False)
class HistogramRelease:
    """Noisy counts of the labels of each class. All of it is public.

    Attributes:
        counts: (K,) int64, the true counts plus noise; may be negative.
        epsilon: privacy parameter of the whole histogram.
        event: what happened, for the accountant.
    """

    counts: npt.NDArray[np.int64]
    epsilon: float
    event: accounting.Event

    def prior(self) -> npt.NDArray[np.float64]:
        """Class probabilities, all positive, summing to 1: counts of at least half a label, normalised; (K,)."""
        raised = np.maximum(self.counts.astype(np.float64), FLOOR)
        return raised / raised.sum()


def laplace_histogram(
    labels: npt.ArrayLike, num_classes: int, epsilon: float, *, source: Source | None = None
) -> HistogramRelease:
    """Counts the labels of each class and adds discrete Laplace noise, exactly sampled.

    Law: count + X with P[X = x] proportional to e^(-|x| epsilon / 2) on all integers, independent for every class. Replacing a label
    moves two counts by one each, so the noise of each is for epsilon / 2. The sampler reads uniform integers only, and epsilon, a
    float, is a fraction to it: nothing is rounded.

    Real-valued labels are counted on their grid, as `mechanism.read(labels)`.

    Args:
        labels: (n,) integers in 0 .. num_classes - 1.
        num_classes: K >= 2, public.
        epsilon: privacy parameter of the histogram, above 0 and up to 80.
        source: where randomness comes from; a fresh `SystemSource` by default. A `KeyedSource` is for single items.

    Returns:
        The noisy counts, with `prior()`, and their event.

    Raises:
        TypeError, ValueError: bad parameters or labels. No message holds a label.

    Privacy:
        epsilon-DP for each label (pure); the number of labels is public. A label that is counted here and then randomized pays both:
        the events of the two releases form a Sequence. Where counted and randomized items are split publicly they form a
        Disjoint, and each label pays its own part only. One record that moves all n labels loses n epsilon here; the event says so.

    Source: A. Ghosh et al., arXiv 0811.2841; sampler: C. Canonne et al., arXiv 2004.00010, Algorithm 2.
    """
    count, budget = checked_num_classes(num_classes), checked_epsilon(epsilon)
    if budget == 0:
        raise ValueError("Expected epsilon > 0, got 0: nothing may be learnt then; use a public prior.")
    draws = UniformIntegers(_checked_source(source))
    checked = checked_labels(labels, count)
    noise = [discrete_laplace(draws, Fraction(budget) / 2) for _ in range(count)]
    exact = np.bincount(checked.astype(np.int64), minlength=count)
    noisy = [
        max(-LARGEST_COUNT, min(LARGEST_COUNT, c + x)) for c, x in zip(exact.tolist(), noise, strict=True)
    ]
    event = _event(budget, len(checked))
    if not draws.secure:
        warnings.warn("This histogram is seeded: not for release.", PrivacyWarning, stacklevel=2)
        event = accounting.Seeded(event)
    return HistogramRelease(np.array(noisy, dtype=np.int64), budget, event)


def _event(epsilon: float, num_items: int) -> accounting.Event:
    """n items, each of which moves the one histogram.

    A certificate and not `PureDP`: when one record moves all n labels, the shifts of one noise add up to n epsilon, and no more
    favourable rule of composing n independent answers applies.
    """
    if not num_items:
        return accounting.Disjoint([])
    return accounting.Disjoint([accounting.ApproximateDP(epsilon, 0.0)], counts=[num_items])


def _checked_source(source: Source | None) -> Source:
    if source is None:
        return SystemSource()
    if isinstance(source, KeyedSource):
        raise TypeError(
            "Expected a SystemSource for a histogram, got a KeyedSource, whose noise belongs to single items."
        )
    if not (hasattr(source, "words") and hasattr(source, "secure")):
        raise TypeError(f"Expected a source such as labeldp.SystemSource(), got {type(source).__name__}.")
    return source


class Draws(Protocol):
    """The two primitives that the sampler is written on."""

    def below(self, count: int) -> int:
        """A uniform integer in 0 .. count - 1."""
        ...

    def coin(self, numerator: int, denominator: int) -> bool:
        """True with probability numerator / denominator, at most 1."""
        ...


def discrete_laplace(draws: Draws, rate: Fraction) -> int:
    """An integer x with probability proportional to e^(-|x| rate), exactly.

    With rate = s / t in lowest terms: u + t v, u below t accepted with probability e^(-u / t) and v geometric of ratio 1 / e, is geometric
    of ratio e^(-1 / t); divided by s and rounded down, of ratio e^(-s / t). A fair sign is drawn, and -0 is drawn again.
    """
    numerator, denominator = rate.numerator, rate.denominator
    while True:
        rest = draws.below(denominator)
        if not _exponential_coin(draws, rest, denominator):
            continue
        whole = 0
        while _exponential_coin(draws, 1, 1):
            whole += 1
        size = (rest + denominator * whole) // numerator
        negative = draws.coin(1, 2)
        if size or not negative:
            return -size if negative else size


def _exponential_coin(draws: Draws, numerator: int, denominator: int) -> bool:
    """True with probability e^(-g) for g = numerator / denominator in 0 .. 1.

    Coins of probability g / 1, g / 2, g / 3, ... are thrown until one fails; the k-th is the first to fail with probability
    g^(k-1) / (k-1)! - g^k / k!, and over odd k these sum to the series of e^(-g).
    """
    throw = 1
    while draws.coin(numerator, denominator * throw):
        throw += 1
    return throw % 2 == 1


class UniformIntegers:
    """Uniform integers of any size from the words of a source, by rejection: the lowest bits that the count needs, drawn again from there on."""

    def __init__(self, source: Source) -> None:
        self.secure = source.secure
        self._source = source
        self._words: list[int] = []

    def below(self, count: int) -> int:
        """A uniform integer in 0 .. count - 1."""
        bits = (count - 1).bit_length()
        while True:
            number = 0
            for _ in range(-(-bits // 64)):
                number = number << 64 | self._word()
            number &= (1 << bits) - 1
            if number < count:
                return number

    def coin(self, numerator: int, denominator: int) -> bool:
        """True with probability numerator / denominator, at most 1."""
        return self.below(denominator) < numerator

    def _word(self) -> int:
        if not self._words:
            words = self._source.words(BLOCK_WORDS)
            if words.dtype != np.uint64 or words.shape != (BLOCK_WORDS,):
                raise TypeError(
                    f"Expected a source of {BLOCK_WORDS} words of type uint64, got {words.dtype} of shape {words.shape}; every word "
                    f"must be uniform over all 64 bits."
                )
            self._words = words.tolist()
        return self._words.pop()
