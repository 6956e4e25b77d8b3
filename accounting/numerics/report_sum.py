"""Sums over shuffled reports, as `shuffle` needs them: the mean of their positive part, on the safe side."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from accounting.numerics.binomial import half_width, mean_below, windows
from accounting.numerics.positive_part import Steps, positive_part
from accounting.numerics.rounding import relative
from accounting.numerics.trinomial import Floats

FEW, MANY = 2000, 2**20
"""Up to FEW reports windows are tight and fast; up to MANY they are within reach."""

BLOCK = 1 << 18
"""Entries of a table worked on at a time."""

TERM = relative(1024)
"""Relative error of a coefficient of S, of one of its three products, and of their quotient with the slope."""


@dataclass(frozen=True)
class ReportSum:
    """`S = gain h - cost (s - h) + base (n - s) - slope h0` over the reports, divided by their number.

    Attributes:
        epsilon: of one report; S is at most `n e^epsilon`.
        odds: `s ~ Bin(n, odds / (1 + odds))`.
        split: whether `h ~ Bin(s, 1/2)`; else h is 0.
        gain, cost, base, slope, middle: the coefficients, and `middle = slope - base`; only base may be negative.
        rest: `h0 ~ Bin(n - s, rest / (1 + rest))`.
    """

    epsilon: float
    odds: float
    split: bool
    gain: float
    cost: float
    base: float
    slope: float
    middle: float
    rest: float

    def mean(self, count: int, *, bits: int, side: int) -> tuple[float, float]:
        """Returns `(value, dropped)`: a bound of `E[S_+] / n`, and what an upper bound has to add.

        Args:
            count: n.
            bits: windows drop at most `2^-bits` on each side.
            side: +1 for an upper bound, -1 for a lower one.

        Error: few reports are summed one by one, many along a line; where that fails, fewer reports lose more, and
        nothing is claimed below.
        """
        if count > FEW and (line := positive_part(self.steps(count, side))) is not None:
            value = line[1 if side > 0 else 0] / count * (1 + side * relative(8))
            return math.nextafter(value, math.inf if side > 0 else 0.0), 0.0  # also where it underflows
        if count > MANY:
            return self.windowed(MANY, bits=bits, side=side) if side > 0 else (0.0, 0.0)
        return self.windowed(count, bits=bits, side=side)

    def steps(self, count: int, side: int) -> Steps:
        """Returns S as a sum of equal steps, each value moved to the side by what it may be off."""
        share, more, less = 1 / (1 + self.odds), 1 + side * TERM, 1 - side * TERM
        base = self.base + side * TERM * abs(self.base)
        values = [-self.cost * less, -self.middle * less, base]
        weights = [self.odds * share, share * self.rest / (1 + self.rest), share / (1 + self.rest)]
        if self.split:
            values, weights = [self.gain * more, *values], [weights[0] / 2, weights[0] / 2, *weights[1:]]
        return Steps(np.array(values), np.array(weights), count)

    def windowed(self, count: int, *, bits: int, side: int) -> tuple[float, float]:
        """Returns the same over windows of binomial laws, and what lies outside them; positive terms only.

        Error: a law of half width w carries `26 w + 4` roundings, its two running sums 4w + 2, the sums over
        windows 2w each; normalising by the window raises every entry by at most `1 + 2^(2-bits)`.
        """
        bits += math.ceil(self.epsilon / math.log(2))
        first, weights = windows(np.array([float(count)]), self.odds, bits)
        numbers: Floats = first[0] + np.arange(weights.shape[1], dtype=np.float64)
        kept = (weights[0] > 0) & (numbers >= 0) & (numbers <= count)
        numbers, weights = numbers[kept], weights[0][kept]
        width = sum(half_width(count, odds, bits) for odds in (self.odds, 1.0, self.rest))
        total, rows = 0.0, max(1, BLOCK // width)
        for begin in range(0, len(numbers), rows):
            part = slice(begin, begin + rows)
            total += float(weights[part] @ self._given(numbers[part], float(count), bits, side))
        error = relative(32 * width + 256) + 2.0 ** (6 - bits)
        dropped = math.exp(self.epsilon) * (2.0 ** (3 - bits) + 2.0**-900)
        return total / count * (1 + side * error), dropped

    def _given(self, numbers: Floats, count: float, bits: int, side: int) -> Floats:
        """Returns `E[S_+ | s]` for each s."""
        column = numbers[:, None]
        if self.split:
            first, shares = windows(numbers, 1.0, bits)
            reach = first[:, None] + np.arange(shares.shape[1], dtype=np.float64)
            own: Floats = np.minimum(np.maximum(reach, 0.0), column)
        else:
            shares, own = np.ones_like(column), np.zeros_like(column)
        terms = self.gain * own, self.cost * (column - own), self.base * (count - column)
        above: Floats = terms[0] - terms[1] + terms[2]
        above = above + side * TERM * (terms[0] + terms[1] + np.abs(terms[2]))
        slope = self.slope * (1 - side * TERM)
        if slope == 0 or self.rest == 0:
            return np.sum(shares * np.maximum(above, 0.0), axis=1)
        start, law = windows(count - numbers, self.rest, bits)
        return np.sum(shares * slope * mean_below(above / slope, start[:, None], law), axis=1)
