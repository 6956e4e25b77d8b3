"""What an attacker gains at most under (epsilon, delta): the figures that stand beside an epsilon in a report.

With `E = e^epsilon`, the two outcomes that are to be told apart have laws P and Q with `P(A) <= E Q(A) + delta`
for every set of outputs A, and the same with P and Q exchanged. An attacker who answers "P" on A is right
with `P(A)`, the true positive rate, and wrong with `Q(A)`, the false positive rate. Applying both inequalities
to A and to its complement gives

    P(A) <= min(E Q(A) + delta, 1 - (1 - delta - Q(A)) / E, 1).

Every figure is on the safe side: rounded up, with the rounding of its own computation inside.
"""

from __future__ import annotations

import math
from decimal import ROUND_CEILING, Context

import numpy as np
from numpy.typing import ArrayLike

from accounting import arguments
from accounting.numerics.rounding import LIBRARY, relative

GUARD = 1 + relative(16 + 2 * LIBRARY)
"""Covers one exponential, and up to seven operations of one sign each way."""


def advantage(epsilon: float, delta: float = 0.0) -> float:
    """Returns the largest true positive rate less false positive rate: `(E - 1 + 2 delta) / (E + 1)`.

    The two lines above meet at `Q(A) = (1 - delta) / (E + 1)`. Randomized response on two classes attains it.

    Args:
        epsilon: >= 0; infinity promises nothing and gives 1.
        delta: in [0, 1].

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.
    """
    size, share = _checked(epsilon, delta)
    down = math.exp(-size)
    return min(1.0, _up(_up(-math.expm1(-size) + 2 * share * down) / (1 + down)))


def true_positive_rate(epsilon: float, delta: float = 0.0, *, false_positive_rate: float) -> float:
    """Returns the largest true positive rate at a false positive rate.

    Args:
        epsilon: >= 0; infinity promises nothing and gives 1.
        delta: in [0, 1].
        false_positive_rate: in [0, 1].

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.
    """
    size, share = _checked(epsilon, delta)
    rate = arguments.probability("false_positive_rate", false_positive_rate)
    if size == math.inf:
        return 1.0
    down = math.exp(-size)
    first = share if rate == 0 else rate / down + share if down > rate else 1.0
    second = -math.expm1(-size) + (share + rate) * down
    return min(1.0, _up(first), _up(second))


def label_inference_success(epsilon: float, prior: ArrayLike, *, delta: float = 0.0) -> float:
    """Returns how often a label can be guessed right at best: `max_k P_k E / (E + k - 1)`, plus delta.

    `P_k` is the mass of the k likeliest classes. It bounds every guess from an epsilon-DP release of the
    label by someone who knows the prior, however good the guess would be without any release. For the
    uniform prior it is `E / (E + K - 1)`.

    Args:
        epsilon: >= 0, for the unit label or answer; infinity gives 1.
        prior: (K,) class probabilities of the item, before the release; scaled to sum 1.
        delta: in [0, 1].

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Source: Ghazi et al. 2021, theorem 3, the optimum over all epsilon-DP mechanisms. With a delta, a guess of
    label y is right with at most `u_y + delta`, where u is a mechanism's of delta = 0 (docs, accounting).
    """
    size, share = _checked(epsilon, delta)
    weights = np.sort(np.asarray(prior, dtype=np.float64))[::-1]
    if weights.ndim != 1 or not len(weights) or not np.all(np.isfinite(weights)) or weights[-1] < 0:
        raise ValueError(f"Expected prior of shape (K,), finite and >= 0, got {prior!r}.")
    if weights[0] == 0:
        raise ValueError("Expected prior with a positive entry, got zeros only; use equal entries.")
    weights = weights / weights[0]
    others = np.arange(len(weights)) * math.exp(-size)
    best = float(np.max(np.cumsum(weights) / (1 + others))) / float(np.sum(weights))
    return min(1.0, best * (1 + relative(4 * len(weights) + 16 + LIBRARY)) + _up(share))


def rounded_up(value: float, *, digits: int = 6) -> str:
    """Returns so many significant digits, never less than the value."""
    up = Context(prec=digits, rounding=ROUND_CEILING).create_decimal(repr(value))
    return f"{float(up):.{digits}g}"


def percent_up(share: float) -> str:
    """Returns three significant digits of a percentage, never less than the share."""
    return f"{rounded_up(math.nextafter(100 * share, math.inf), digits=3)} %" if share < 1 else "100 %"


def _up(value: float) -> float:
    """Returns more than the value by GUARD, also where numbers are subnormal; 0 stays 0."""
    return math.nextafter(value * GUARD, math.inf) if value else 0.0


def _checked(epsilon: object, delta: object) -> tuple[float, float]:
    size = arguments.real("epsilon", epsilon)
    if size < 0:
        raise ValueError(f"Expected epsilon >= 0, got {size!r}.")
    return size, arguments.probability("delta", delta)
