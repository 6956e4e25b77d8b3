"""Gaussian noise on a grid, drawn exactly: integers that are a normal number rounded down, to the last bit of probability.

A float of Gaussian noise has gaps that betray what it was added to. Here a normal number is drawn with as many binary digits
as the decisions need, and rounded to a multiple of a step afterwards; integers plus such noise are the ideal Gaussian
mechanism, its result rounded.

Source: C. Karney, Sampling exactly from the normal distribution, arXiv 1303.6257: with k = 0, 1, 2 ... and x uniform in
[0, 1), accept with exp(-k^2 / 2) exp(-x (2k + x) / 2) and attach a sign.
"""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from labeldp.release.randomness import Source

WORD = 64
_BLOCK = 1024

Draw = Callable[[], int]
"""A uniform word."""


def rounded_normals(count: int, *, deviation_bits: int, source: Source) -> npt.NDArray[np.int64]:
    """Returns independent normal numbers of standard deviation 2^deviation_bits, rounded down to integers.

    Args:
        count: how many.
        deviation_bits: m, 0 <= m <= 52.
        source: where the random words come from.

    Privacy: for integers a and a', a + noise against a' + noise is the Gaussian mechanism of that deviation, rounded: for
    integer a, floor(a + z) = a + floor(z).
    """
    draw = _words(source)
    return np.array([_rounded(deviation_bits, draw) for _ in range(count)], dtype=np.int64)


def _words(source: Source) -> Draw:
    """Words one at a time, drawn in blocks."""
    pending: list[int] = []

    def draw() -> int:
        if not pending:
            pending.extend(source.words(_BLOCK).tolist())
        return pending.pop()

    return draw


def _rounded(bits: int, draw: Draw) -> int:
    k, x = _accepted(draw)
    size = (k << bits) + (x.digits[0] >> (WORD - bits))
    # floor(-y) is -size - 1 for every y in (size, size + 1); the ends have probability 0
    return size if draw() & 1 else -size - 1


class _Uniform:
    """A uniform number in [0, 1), of which as many words are drawn as were asked for."""

    def __init__(self, draw: Draw) -> None:
        self.digits = [draw()]
        self._draw = draw

    def coin(self) -> bool:
        """True with the probability x: a fresh uniform number is compared with it, word by word, until they differ."""
        place = 0
        while True:
            if place == len(self.digits):
                self.digits.append(self._draw())
            other = self._draw()
            if other != self.digits[place]:
                return other < self.digits[place]
            place += 1


def _accepted(draw: Draw) -> tuple[int, _Uniform]:
    """The whole part and the fraction of the absolute value of a normal number."""
    while True:
        k = 0
        while _exp_half(draw):
            k += 1
        if not all(_exp_half(draw) for _ in range(k * (k - 1))):
            continue
        x = _Uniform(draw)
        if all(_exp_fraction(k, x, draw) for _ in range(k + 1)):
            return k, x


def _exp_half(draw: Draw) -> bool:
    """True with the probability exp(-1/2)."""
    return _alternating(lambda i: _below(2 * i, draw) == 0)


def _exp_fraction(k: int, x: _Uniform, draw: Draw) -> bool:
    """True with the probability exp(-x (2k + x) / (2k + 2))."""

    def coin(i: int) -> bool:
        """True with the probability x (2k + x) / (2k + 2) / i, as a product of three."""
        if _below(i, draw) or not x.coin():
            return False
        part = _below(2 * k + 2, draw)
        return part < 2 * k or (part == 2 * k and x.coin())

    return _alternating(coin)


def _alternating(coin: Callable[[int], bool]) -> bool:
    """True with the probability exp(-g) where coin(i) is true with the probability g / i: von Neumann's alternating series."""
    i = 1
    while coin(i):
        i += 1
    return i % 2 == 1


def _below(limit: int, draw: Draw) -> int:
    """A uniform integer in 0 .. limit - 1, by rejection."""
    end = (1 << WORD) // limit * limit
    while (word := draw()) >= end:
        pass
    return word % limit
