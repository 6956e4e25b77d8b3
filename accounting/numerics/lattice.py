"""Privacy curve of losses that live on one lattice: both directions, as brackets.

With `P_j` the probability of the loss `j step`, two running sums of positive terms hold the whole curve:

    B_i = sum_(k >= 0) P_(i+k) e^(-k step),        D_i = delta(i step) = (1 - e^-step) sum_(k > i) B_k,

and inside a cell, for `epsilon = i step - gap` with `0 <= gap <= step`,

    delta(epsilon) = sum_j P_j (1 - e^(epsilon - j step))_+ = D_i + (1 - e^-gap) B_i,

which is inverted in closed form. Every term is positive, so relative errors only add up. Mass dropped from
the law (windows of a convolution) raises delta by at most itself, and is added to the upper side.

Error: with n uses, `P` carries 23n + 16 roundings (`trinomial`), `B` at most 6 for each of at most 21
doublings (one library call, one product, one sum), the running sum at most n, `1 - e^-step` five, an answer
at most ten: fewer than 24n + 256, so `relative(24n + 256)` bounds the relative error of every delta, 2.7e-9
at n = 10^6. A convolution of windows adds the shorter length and 2, the half below zero 2048. What underflows
is below 2^-1970 an entry and is added to the dropped mass. An epsilon is found on the curve raised (or
lowered) by all of it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from accounting.numerics import trinomial
from accounting.numerics.rounding import LIBRARY, float_down, float_up, relative
from accounting.numerics.trinomial import SCALE_BITS, Floats

LARGEST_COUNT = 2**21
"""Uses on one lattice that are composed exactly (about a second and 50 MB)."""

SMALLEST_STEP, LARGEST_STEP = 1e-290, 700.0
"""Steps whose exponentials stay away from underflow."""

LARGEST_WORK = 4e9
"""Multiplications spent on joining groups (a few seconds)."""

Part = tuple[float, int]
"""Middle weight and count of the equal losses of one group."""


@dataclass(frozen=True)
class Table:
    """The curve of one lattice, times 2^900, with what it may have lost.

    Attributes:
        step: the lattice is `{j step}`.
        ahead: `B_0 ... B_top`.
        deltas: `D_0 ... D_top`, never increasing, ending in 0.
        relative_error: every entry is within the factor `1 +- relative_error`.
        dropped: mass that is missing, times 2^900.
        first: the cell of the first entry.
    """

    step: float
    ahead: Floats
    deltas: Floats
    relative_error: float
    dropped: float
    first: int = 0

    def delta(self, epsilon: float) -> tuple[float, float]:
        """Returns a bracket of delta for `epsilon >= 0`, finite.

        Error: `1 - e^-gap` with an exactly reduced gap adds 8 roundings; they are part of `relative_error`.
        """
        cell = -((-Fraction(epsilon)) // Fraction(self.step))
        lower = upper = 0.0
        if (at := cell - self.first) < len(self.ahead):
            gap = float(cell * Fraction(self.step) - Fraction(epsilon))
            value = float(self.deltas[at]) - math.expm1(-gap) * float(self.ahead[at])
            lower, upper = value * (1 - self.relative_error), value * (1 + self.relative_error)
        return (
            max(0.0, math.nextafter(math.ldexp(lower, -SCALE_BITS), 0.0)),
            min(1.0, math.nextafter(math.ldexp(upper + self.dropped, -SCALE_BITS), math.inf)),
        )

    def epsilon(self, delta: float) -> tuple[float, float]:
        """Returns a bracket of the smallest `epsilon >= 0` with `delta(epsilon) <= delta`, for `delta > 0`.

        The upper side inverts the upper curve, the lower side the lower curve; both are decreasing.
        """
        target = math.ldexp(delta, SCALE_BITS)
        safe = (target - self.dropped) * (1 - relative(6)) / (1 + self.relative_error)
        upper = math.inf if safe < 0 else float_up(self._inverse(safe, guard=1 + relative(8 + LIBRARY)))
        bold = target * (1 + relative(6)) / (1 - self.relative_error)
        return max(0.0, float_down(self._inverse(bold, guard=1 - relative(8 + LIBRARY)))), upper

    def _inverse(self, target: float, *, guard: float) -> Fraction:
        """Returns where the stored curve meets `target`, moved up (guard > 1) or down (guard < 1)."""
        at = int(np.searchsorted(-self.deltas, -target))
        if at == 0:
            return self.first * Fraction(self.step)
        share = (target - float(self.deltas[at])) / float(self.ahead[at]) / guard
        gap = self.step if share >= 1 else min(self.step, -math.log1p(-share) / guard)
        return (self.first + at) * Fraction(self.step) - Fraction(gap)


def table(step: float, parts: tuple[Part, ...], tolerance_bits: int) -> Table | None:
    """Returns the curve of the composition of groups with one step, or None where it is out of reach.

    Args:
        step: the epsilon all groups share.
        parts: the groups.
        tolerance_bits: windows may drop a mass of about `2^-tolerance_bits`; a single group has no window.

    Returns:
        The table; None when step, count or work lie outside the constants of this module.
    """
    if not SMALLEST_STEP <= step <= LARGEST_STEP or sum(count for _, count in parts) > LARGEST_COUNT:
        return None
    return _table(step, parts, tolerance_bits if len(parts) > 1 else 0)


@lru_cache(maxsize=4)
def _table(step: float, parts: tuple[Part, ...], tolerance_bits: int) -> Table | None:
    count = sum(count for _, count in parts)
    if len(parts) == 1:
        joined = trinomial.upper_half(step, *parts[0]), trinomial.roundings(count), 0.0
    else:
        joined = _join(step, parts, tolerance_bits)
    if joined is None:
        return None
    law, roundings, dropped = joined
    ahead = _ahead(law, step)
    later = np.cumsum(ahead[::-1])[::-1]
    deltas = -math.expm1(-step) * np.append(later[1:], 0.0)
    # 21 doublings of 6 roundings, the factor 1 - e^-step, a gap, scaling: fewer than 256; the running sum:
    # len(law).
    error = relative(roundings + len(law) + 256)
    # Entries below the range of floats are lost one by one, and counted here.
    return Table(step, ahead, deltas, error, dropped + 64 * (count + 1) * 2.0**-1022)


def _ahead(law: Floats, step: float) -> Floats:
    """Returns `B`, by doubling the number of terms: `B <- B + e^(-span step) shift(B, span)`.

    Terms beyond `e^-700` are left out; against the entries of `D` that contain them they are below 1e-300.
    """
    ahead, span = law.copy(), 1
    while span < len(law) and step * span < LARGEST_STEP:
        ahead[:-span] += math.exp(-step * span) * ahead[span:]
        span *= 2
    return ahead


def _join(step: float, parts: tuple[Part, ...], tolerance_bits: int) -> tuple[Floats, int, float] | None:
    """Returns law on j >= 0, roundings and dropped mass of several groups, by direct convolution of windows.

    Error: each entry is a sum of at most `min(len)` positive products, whatever the order: min(len) + 2
    roundings.
    """
    floor = math.ldexp(1.0, SCALE_BITS - tolerance_bits) / (4 * len(parts))
    windows = [_cut(*trinomial.both_halves(step, *part), floor) for part in parts]
    windows.sort(key=lambda window: len(window[1]))
    squares = np.cumsum([float(len(law)) ** 2 for _, law, _ in windows])
    if (
        sum(math.sqrt(s) * len(law) for s, (_, law, _) in zip(squares, windows[1:], strict=False))
        > LARGEST_WORK
    ):
        return None
    roundings = sum(trinomial.roundings(count) + 2048 for _, count in parts)
    offset, law, dropped = windows[0]
    half = 2.0 ** (-SCALE_BITS // 2)
    for next_offset, next_law, next_dropped in windows[1:]:
        roundings += min(len(law), len(next_law)) + 2
        offset, law, newly = _cut(offset + next_offset, np.convolve(law * half, next_law * half), floor)
        dropped += next_dropped + newly
    padding = np.zeros(max(0, offset))
    return (
        np.concatenate([padding, law[max(0, -offset) :]]),
        roundings,
        dropped * (1 + relative(roundings + len(law))),
    )


def _cut(offset: int, law: Floats, floor: float) -> tuple[int, Floats, float]:
    """Returns `(offset, law, dropped)` without the tails of mass at most `floor` on either side."""
    below, above = np.cumsum(law), np.cumsum(law[::-1])
    first = int(np.searchsorted(below, floor, side="right"))
    last = len(law) - int(np.searchsorted(above, floor, side="right"))
    lost = (float(below[first - 1]) if first else 0.0) + (
        float(above[len(law) - last - 1]) if last < len(law) else 0.0
    )
    return offset + first, law[first:last], lost
