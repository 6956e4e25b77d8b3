"""Directed rounding: from exact rationals to the float on the safe side."""

from __future__ import annotations

import math
from fractions import Fraction

UNIT = 2.0**-53
"""Unit roundoff of double precision: one operation errs by a factor within 1 +- UNIT."""

LIBRARY = 4
"""Assumed error of exp, log, sin and the other elementary functions of math and numpy, in units of UNIT (two ulp)."""


def relative(operations: int) -> float:
    """Returns a bound on `|(1 + UNIT)^operations - 1|` and on `|(1 - UNIT)^operations - 1|`.

    Source: Higham, Accuracy and Stability of Numerical Algorithms, lemma 3.1 (gamma_n).
    """
    product = operations * UNIT
    assert product < 2**-10
    return product / (1 - product) * (1 + 8 * UNIT)


def float_up(exact: Fraction) -> float:
    """Returns the smallest float >= `exact` (infinity beyond the largest float)."""
    try:
        near = float(exact)
    except OverflowError:
        near = math.inf if exact > 0 else -math.inf
    if math.isinf(near):
        return near if near > 0 else -math.nextafter(math.inf, 0.0)
    return near if Fraction(near) >= exact else math.nextafter(near, math.inf)


def float_down(exact: Fraction) -> float:
    """Returns the largest float <= `exact`."""
    return -float_up(-exact)
