"""One use of the Poisson-subsampled Gaussian mechanism, in closed form.

With `G(x)` the delta of the Gaussian mechanism at x, q the sampling probability, and `E = e^epsilon`,

    removing:  delta(epsilon) = q G(log(1 + (E - 1) / q)),
    adding:    delta(epsilon) = (1 - E (1 - q)) G(-log(1 - (1 - 1/E) / q)),   0 from E = 1 / (1 - q) on.

Error: decimals of twice the digits that `gaussian` promises; the floats around the value are returned.

Source: Balle, Barthe, Gaboardi 2018 (removing); adding by exchanging P and Q.
"""

from __future__ import annotations

import math
from decimal import Decimal, localcontext
from fractions import Fraction

from accounting.numerics.gaussian import DIGITS, GaussianUses, context, delta_in_digits, delta_of
from accounting.numerics.rounding import float_down, float_up
from accounting.numerics.subsampled import SubsampledUses

Pair = tuple[float, float]

LONG = 400
"""Digits for arguments, enough for a difference of epsilons of 1e-300."""

FARTHEST = 1e12


def delta_once(use: SubsampledUses, epsilon: float, *, removal: bool) -> Pair:
    """Returns the two floats around delta at a finite `epsilon >= 0`, for a count of 1."""
    noise, q = (GaussianUses(use.noise_multiplier, 1),), Decimal(use.sampling_probability)
    if epsilon > FARTHEST:  # the Gaussian mechanism without sampling loses more
        return 0.0, delta_of(noise, epsilon)[1]
    with localcontext(context(LONG)):
        large = Decimal(epsilon).exp()
        weight = q if removal else 1 - large * (1 - q)
        if weight <= 0:
            return 0.0, 0.0
        inner = 1 + (large - 1) / q if removal else 1 / (1 - (1 - 1 / large) / q)
        where = inner.ln()
    value, error = delta_in_digits(noise, where)
    with localcontext(context(LONG)):
        error = error + value * Decimal(10) ** (2 - DIGITS)
        lower, upper = weight * (value - error), weight * (value + error)
    return max(0.0, float_down(Fraction(lower))), min(1.0, float_up(Fraction(upper)))


def epsilon_once(use: SubsampledUses, delta: float, *, removal: bool) -> Pair:
    """Returns floats around the least `epsilon >= 0` with `delta(epsilon) <= delta`, by bisection of floats."""
    if delta_once(use, 0.0, removal=removal)[1] <= delta:
        return 0.0, 0.0
    high = 1.0
    while delta_once(use, high, removal=removal)[1] > delta:
        high *= 2
        if high > FARTHEST:
            return 0.0, math.inf
    low = 0.0
    for _ in range(64):
        middle = (low + high) / 2
        if not low < middle < high or high - low <= 1e-15 * high:
            break
        low, high = (low, middle) if delta_once(use, middle, removal=removal)[1] <= delta else (middle, high)
    below = low
    while below > 0 and delta_once(use, below, removal=removal)[0] < delta:
        below = below * (1 - 1e-15) if below > 1e-300 else 0.0
    return below, high
