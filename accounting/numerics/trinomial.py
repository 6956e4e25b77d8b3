"""The law of a sum of equal three-point losses, in scaled floats, without cancellation.

One use loses `+epsilon`, `0` or `-epsilon` with probabilities proportional to `1 : middle : e^-epsilon`.
After n uses the loss is `j epsilon` with probability `c_j`, a trinomial. The generating function `f = g^n`
satisfies `g f' = n g' f`, which for the coefficients counted from the top, `h_m = c_(n-m)`, reads

    (m+1) h_(m+1) = middle (n-m) h_m + e^-epsilon (2n-m+1) h_(m-1),      m = 0 ... n-1,

with positive terms only; the other half follows from `c_-j = c_j e^(-j epsilon)`, so nothing is ever
subtracted.

Error: let the two coefficients carry at most `a` roundings each (middle 7, e^-epsilon 4, two more for the
product and the quotient: a <= 9). If `h_m` and `h_(m-1)` are within factors (1+u)^(+-t) of the truth, so are
the two terms within (1+u)^(+-(t+a+1)), and, both being positive, their rounded sum within (1+u)^(+-(t+a+2)).
By induction `h_m` is within (1+u)^(+-11m). Dividing by the total (n terms summed in any order: 11n + n)
leaves every probability within (1+u)^(+-(23n + 16)) of the truth: `relative(roundings(n))`. Multiplication by
powers of two is exact.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SCALE_BITS = 900
"""Laws are stored times 2^900, so that masses down to 1e-578 keep full relative accuracy."""

CHUNK = 1 << 16
LOW, HIGH, STEP_BITS = 2.0**300, 2.0**700, 400
"""The recurrence is kept in [LOW, HIGH] by exact factors 2^400: one step changes it by 2^-1035 to 2^100."""

Floats = NDArray[np.float64]


def roundings(count: int) -> int:
    """Returns the number of roundings in any probability of `upper_half(..., count)`."""
    return 23 * count + 16


def upper_half(epsilon: float, middle: float, count: int) -> Floats:
    """Returns the probabilities, times 2^900, of the losses `j epsilon` for j = 0 ... top.

    Args:
        epsilon: the step of the lattice, in [1e-290, 700].
        middle: weight of the zero loss against that of `+epsilon`.
        count: n >= 1, the number of uses.

    Returns:
        A vector of length at most n + 1; losses above its end have probability below 2^-1970.

    Error: every entry is within a factor 1 +- relative(roundings(count)), or is below 2^-1920 (unscaled) and
    may be off by 2^-1973.
    """
    values, exponents = _climb(epsilon, middle, count)
    law = _common_scale(values, exponents)[::-1]
    weights = 1.0 + np.exp(-epsilon * np.arange(count + 1))
    weights[0] = 1.0
    law = law * (2.0**SCALE_BITS / float(np.sum(law * weights)))
    return law[: int(np.flatnonzero(law)[-1]) + 1]


def both_halves(epsilon: float, middle: float, count: int) -> tuple[int, Floats]:
    """Returns `(offset, law)`: the whole law times 2^900, the first entry at loss `offset * epsilon`.

    Error: as `upper_half`, and 2048 roundings more below zero (the factor is applied as two square roots, so
    that it does not underflow where the law does not).
    """
    upper = upper_half(epsilon, middle, count)
    root = np.exp(-0.5 * epsilon * np.arange(len(upper)))
    lower = (upper * root * root)[:0:-1]
    return -len(lower), np.concatenate([lower, upper])


def _climb(epsilon: float, middle: float, count: int) -> tuple[Floats, Floats]:
    """Returns `h_0 ... h_n` as values and binary exponents, each value with the exponent of its time."""
    down = math.exp(-epsilon)
    previous, current, exponent = 0.0, 2.0**500, 0
    values, changes, levels = [np.array([current])], [0], [0]
    for begin in range(0, count, CHUNK):
        m = np.arange(begin, min(begin + CHUNK, count), dtype=np.float64)
        near: list[float] = (middle * (count - m) / (m + 1)).tolist()
        far: list[float] = (down * (2 * count - m + 1) / (m + 1)).tolist()
        chunk: list[float] = []
        for here, before in zip(near, far, strict=True):
            previous, current = current, here * current + before * previous
            while not LOW <= previous + current <= HIGH:
                shift = STEP_BITS if previous + current < LOW else -STEP_BITS
                previous, current = math.ldexp(previous, shift), math.ldexp(current, shift)
                exponent -= shift
                changes.append(begin + len(chunk) + 1)
                levels.append(exponent)
            chunk.append(current)
        values.append(np.array(chunk))
    spans = np.diff(np.array([*changes, count + 1]))
    return np.concatenate(values), np.repeat(np.array(levels, dtype=np.float64), spans)


def _common_scale(values: Floats, exponents: Floats) -> Floats:
    """Returns `values * 2^exponents` times the power of two that puts the largest just below 2^900."""
    mantissas, own = np.frexp(values)
    total = np.where(mantissas > 0, own + exponents, -np.inf)
    shift = np.clip(total - np.max(total) + SCALE_BITS, -3000, SCALE_BITS)
    return np.ldexp(mantissas, shift.astype(np.int32))
