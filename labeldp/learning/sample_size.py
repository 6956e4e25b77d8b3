"""How many items a survey needs."""

import math

import numpy as np

from labeldp.learning.intervals import normal_quantile, share_limits
from labeldp.learning.support import checked_fraction, is_discrete, moments_of, share_variance
from labeldp.mechanisms import Mechanism


def required_sample_size(mechanism: Mechanism, *, margin: float, confidence: float = 0.95) -> int:
    """Number of items with which no interval of `estimate.proportions` is wider than 2 margin, whatever the answers turn out to be.

    Args:
        mechanism: what is to answer; as for `estimate.counts`.
        margin: half of the width allowed, in (0, 1).
        confidence: of each interval, in (0, 1).

    Returns:
        n >= 1.

    Raises:
        TypeError, ValueError: as for `estimate.counts`; a margin outside (0, 1).

    Error:
        Never too few, and only few too many: the width is taken where answers vary most among those that a proportion in 0 .. 1
        leads to.
    """
    moments = moments_of(mechanism)
    margin, confidence = checked_fraction("margin", margin), checked_fraction("confidence", confidence)
    if not is_discrete(mechanism):
        tilt = (moments.own_variance - moments.other_variance) / moments.gap**2
        worst = share_variance(np.clip((1 + tilt) / 2, 0, 1), moments)
        return math.ceil(float(worst) * (normal_quantile(confidence) / margin) ** 2)
    frequency = min(max(0.5, moments.other_mean), moments.own_mean)

    def suffices(items: int) -> bool:
        lower, upper = share_limits(np.array(frequency * items), items, confidence=confidence)
        return bool(upper - lower <= 2 * margin * moments.gap)

    enough = 1
    while not suffices(enough):
        enough *= 2
    short = enough // 2
    while enough - short > 1:
        middle = (short + enough) // 2
        short, enough = (short, middle) if suffices(middle) else (middle, enough)
    return enough
