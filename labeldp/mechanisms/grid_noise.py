"""Noise on a public grid, as integer numbers of words: Laplace or Gaussian noise on an input of 0 or 1, rounded and clamped.

The grid is symmetric about 1/2, so the table of input 1 is the table of input 0 read backwards: one table of word counts is
the whole law, both inputs have equally many words, and none is left over.
"""

import functools
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.thresholds import Words, exponential_below, integers, word_bits

Noise = Literal["laplace", "gaussian"]

TAILS = {"laplace": 32.0, "gaussian": 9.0}
"""Scales from 0 and 1 to the ends of the grid, unless it has too few points: 1e-14 and 2e-19 of the noise lie beyond."""

STEPS_PER_SCALE = 16


@dataclass(frozen=True)
class Grid:
    """The points 1/2 + j step for j = -reach .. reach: multiples of the step, from 0 or below to 1 or above.

    Attributes:
        step: a power of two, at most 1/2.
        reach: number of points on either side of 1/2.
    """

    step: float
    reach: int

    @property
    def points(self) -> npt.NDArray[np.float64]:
        """All points from the lowest to the highest, exact floats."""
        return 0.5 + self.step * np.arange(-self.reach, self.reach + 1, dtype=np.float64)


def grid(noise: Noise, scale: float, most_points: int) -> Grid:
    """The grid of a noise of that scale: steps of at most 1/16 of it, as wide as `TAILS` wants and the number of points allows."""
    most = (most_points - 1) // 2
    halvings = next(m for m in itertools.count(1) if 2**m * scale >= STEPS_PER_SCALE)
    reach = math.ceil(min(most, (0.5 + TAILS[noise] * scale) * 2**halvings))
    while 2 ** (halvings - 1) > reach:  # too few points for 0 and 1 to be among them
        halvings -= 1
    return Grid(2.0**-halvings, reach)


@dataclass(frozen=True, eq=False)
class Table:
    """Words of each grid point, from the lowest to the highest, for a coordinate whose input is 0; backwards for input 1."""

    grid: Grid
    counts: tuple[int, ...]
    bits: int

    @functools.cached_property
    def ends(self) -> Words:
        """The first word after those of each point but the last."""
        return integers(list(itertools.accumulate(self.counts))[:-1], self.bits)

    @functools.cached_property
    def log_masses(self) -> npt.NDArray[np.float64]:
        """Logarithm of the probability of each point, input 0."""
        return np.array([math.log(count) for count in self.counts]) - self.bits * math.log(2)

    def largest_ratio(self) -> Fraction:
        """The largest ratio of the two inputs at one point."""
        return max(Fraction(a, b) for a, b in zip(self.counts, self.counts[::-1], strict=True))

    def delta(self, ratio: Fraction) -> Fraction:
        """The least delta at which two labels are (ln ratio, delta)-indistinguishable, exactly.

        Two labels differ in two coordinates, so it is the sum over pairs of points of max(0, P1(x) P0(y) - ratio P0(x) P1(y)).
        A pair counts where P1(y) / P0(y) < P1(x) / P0(x) / ratio: with the points sorted by that quotient, the partners of
        each x are the first ones, and their sums are running sums.
        """
        zero, one = self.counts, self.counts[::-1]
        order = sorted(range(len(zero)), key=lambda x: (one[x] << 2 * self.bits) // zero[x])
        above, below = ratio.numerator, ratio.denominator
        partners, sum_zero, sum_one, excess = iter(order), 0, 0, 0
        y = next(partners)  # the next partner; x itself never is one, so they do not run out
        for x in order:
            while above * zero[x] * one[y] < below * one[x] * zero[y]:
                sum_zero, sum_one, y = sum_zero + zero[y], sum_one + one[y], next(partners)
            excess += below * one[x] * sum_zero - above * zero[x] * sum_one
        return Fraction(excess, below * 4**self.bits)

    def moments(self) -> tuple[Fraction, Fraction]:
        """Mean and variance of a coordinate of input 0."""
        steps = range(-self.grid.reach, self.grid.reach + 1)
        first = Fraction(sum(j * c for j, c in zip(steps, self.counts, strict=True)), 2**self.bits)
        second = Fraction(sum(j * j * c for j, c in zip(steps, self.counts, strict=True)), 2**self.bits)
        step = Fraction(self.grid.step)
        return Fraction(1, 2) + step * first, step**2 * (second - first**2)


@functools.lru_cache(maxsize=64)
def laplace_table(epsilon: float, most_points: int, bits: int) -> Table:
    """Laplace noise of scale 2 / epsilon, so that each coordinate loses at most epsilon / 2.

    Privacy:
        No ratio of the two inputs exceeds r <= e^(epsilon / 2), r rational.
    """
    scale = math.inf if epsilon == 0 else 2 / epsilon
    return _table("laplace", scale, most_points, bits, exponential_below(epsilon / 2))


@functools.lru_cache(maxsize=64)
def gaussian_table(scale: float, most_points: int, bits: int) -> Table:
    """Gaussian noise of that standard deviation."""
    return _table("gaussian", scale, most_points, bits, None)


@functools.lru_cache(maxsize=64)
def gaussian_scale(epsilon: float, delta: float, most_points: int) -> float:
    """A standard deviation at which the table in use is (epsilon, delta)-DP for one label, exactly.

    That of the analytic Gaussian mechanism of L2 sensitivity sqrt(2). Rounding and clamping only lose, so it nearly always
    passes; where words or floats are too coarse for delta it grows until the exact delta of the table is small enough.

    Source: B. Balle and Y.-X. Wang, arXiv 1805.06530, Theorem 8.
    """
    ratio, bits = exponential_below(epsilon), word_bits(epsilon)
    scale, growth = _analytic_scale(epsilon, delta), 2.0**-20
    while gaussian_table(scale, most_points, bits).delta(ratio) > Fraction(delta):
        scale, growth = scale * (1 + growth), min(1.0, 2 * growth)
    return scale


def _table(noise: Noise, scale: float, most_points: int, bits: int, ceiling: Fraction | None) -> Table:
    """Words for each point: rounded up for the input that the point is far from, rounded down for the other, at most `ceiling` times as many.

    Every point gets a word, and the point 1/2, which the inputs share, gets those that are left: with G points and a budget of
    2^bits - G, the others have at most 1 + budget p words each, so at most 2^bits - 1 in all. No ratio is above the ceiling, nor,
    but for an input's only word, above that of the masses.

    Raises:
        ValueError: the words are too narrow for the points.
    """
    public = grid(noise, scale, most_points)
    size, reach = 2 * public.reach + 1, public.reach
    if 2**bits < 2 * size:
        raise ValueError(
            f"Expected at most {2 ** (bits - 1)} grid points for words of {bits} bits, got {size}; "
            f"use wider words or a smaller grid_points."
        )
    masses = [int(math.ldexp(mass, 256)) for mass in _masses(noise, scale, public)]
    total, budget = sum(masses), 2**bits - size
    counts = [0] * size
    for j in range(1, reach + 1):
        far, near = masses[reach + j], masses[reach - j]
        least = max(1, -(-budget * far // total))
        most = budget * near // total
        if ceiling is not None:
            most = min(most, least * ceiling.numerator // ceiling.denominator)
        counts[reach + j], counts[reach - j] = least, max(least, most)
    counts[reach] = 2**bits - sum(counts)
    return Table(public, tuple(counts), bits)


def _masses(noise: Noise, scale: float, public: Grid) -> list[float]:
    """Probability that noise on the input 0 is rounded or clamped to each point."""
    half = _laplace_half if noise == "laplace" else _gaussian_half
    inner = (public.points[:-1] + public.step / 2) / scale
    edges = [-math.inf, *inner.tolist(), math.inf]
    return [_mass(half, low, high) for low, high in itertools.pairwise(edges)]


def _mass(half: Callable[[float, float], float], low: float, high: float) -> float:
    """Mass of an interval, from that of the intervals on the positive half."""
    if low >= 0:
        return half(low, high)
    return half(-high, -low) if high <= 0 else half(0.0, -low) + half(0.0, high)


def _laplace_half(low: float, high: float) -> float:
    """P[low < noise < high] for Laplace noise of scale 1 and 0 <= low <= high."""
    return -math.exp(-low) * math.expm1(low - high) / 2


def _gaussian_half(low: float, high: float) -> float:
    """P[low < noise < high] for Gaussian noise of scale 1 and 0 <= low <= high; by two Gauss points where erfc would cancel."""
    width = high - low
    if width < 2**-10:
        middle, shift = (low + high) / 2, width / math.sqrt(12)
        ends = math.exp(-((middle - shift) ** 2) / 2) + math.exp(-((middle + shift) ** 2) / 2)
        return width * ends / math.sqrt(8 * math.pi)
    return (math.erfc(low / math.sqrt(2)) - math.erfc(high / math.sqrt(2))) / 2


def _analytic_scale(epsilon: float, delta: float) -> float:
    """The least sigma of the analytic Gaussian mechanism, sensitivity sqrt(2), from above and within a relative 2^-40."""
    low, high = 2.0**-10, 2.0**60
    while high > low * (1 + 2**-40):
        middle = math.sqrt(low * high)
        low, high = (low, middle) if _gaussian_delta(epsilon, middle) <= delta else (middle, high)
    return high


def _gaussian_delta(epsilon: float, sigma: float) -> float:
    """Phi(a - epsilon / 2a) - E Phi(-a - epsilon / 2a) with a = 1 / (sqrt(2) sigma); its floats are no proof and need none."""
    a, b = 0.5 / sigma, epsilon * sigma / 2  # both divided by sqrt(2), as erfc wants them
    return (math.erfc(b - a) - math.exp(epsilon) * math.erfc(b + a)) / 2
