"""The exact sampler of rounded normal numbers, against the normal law."""

import math
from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from distill import exact_gaussian
from distill.exact_gaussian import rounded_normals
from labeldp import SeededSource, SystemSource


def p_value(values: np.ndarray, deviation: float) -> float:
    """Of the chi-squared test that values are floor(deviation z), over cells of equal probability."""
    ends = np.unique(
        np.ceil(deviation * stats.norm.ppf(np.arange(1, 40) / 40))
    )  # integers, as floor(x) < m is x < m
    seen = np.bincount(np.searchsorted(ends, values, side="right"), minlength=len(ends) + 1)
    expected = np.diff(stats.norm.cdf(np.concatenate([[-np.inf], ends, [np.inf]]) / deviation)) * len(values)
    return float(stats.chisquare(seen, expected).pvalue)


@pytest.mark.parametrize("bits", [3, 24])
def test_numbers_are_normal(bits: int) -> None:
    drawn = rounded_normals(20_000, deviation_bits=bits, source=SeededSource(1))
    assert p_value(drawn, 2**bits) > 1e-3


def test_a_wrong_law_would_be_seen(monkeypatch) -> None:
    """The twin: a step of the algorithm left out."""
    monkeypatch.setattr(exact_gaussian, "_exp_fraction", lambda k, x, draw: True)
    assert p_value(rounded_normals(20_000, deviation_bits=24, source=SeededSource(1)), 2**24) < 1e-6


class Undecided(Exception): ...


def weigh(
    decide: Callable[[exact_gaussian.Draw], bool], *, words: int, depth: int
) -> tuple[Fraction, Fraction]:
    """Bounds of the probability of True, exactly: every sequence of at most `depth` words is tried."""

    def walk(prefix: list[int]) -> tuple[Fraction, Fraction]:
        pending = iter(prefix)

        def draw() -> int:
            for word in pending:
                return word
            raise Undecided

        try:
            return (Fraction(1), Fraction(1)) if decide(draw) else (Fraction(0), Fraction(0))
        except Undecided:
            if len(prefix) == depth:
                return Fraction(0), Fraction(1)
            parts = [walk([*prefix, word]) for word in range(words)]
            return sum(low for low, _ in parts) / words, sum(high for _, high in parts) / words

    return walk([])


def begun(draw: exact_gaussian.Draw, *digits: int) -> exact_gaussian._Uniform:
    """A uniform fraction of which some words are known."""
    fraction = exact_gaussian._Uniform(lambda: 0)
    fraction.digits, fraction._draw = [*digits], draw
    return fraction


def test_coins_have_their_probabilities(monkeypatch) -> None:
    """Enumerated with words of three bits; for a fraction x between 12/64 and 13/64, whose further digits are drawn."""
    monkeypatch.setattr(exact_gaussian, "WORD", 3)
    low, high = weigh(exact_gaussian._exp_half, words=8, depth=5)
    assert low < math.exp(-0.5) < high < low + 0.02
    assert not low < math.exp(-0.52) < high  # the twin
    x = 12.5 / 64
    wanted = [math.exp(-x * (2 * k + x) / (2 * k + 2)) for k in range(3)]
    for k in range(3):
        low, high = weigh(
            lambda draw, k=k: exact_gaussian._exp_fraction(k, begun(draw, 1, 4), draw), words=8, depth=5
        )
        assert low < wanted[k] < high
        assert not low < wanted[k] ** 2 < high  # the twin


def test_a_uniform_number_grows_where_words_agree() -> None:
    words = iter([5, 5, 7, 6])  # its first word, an equal one, its second, a smaller one
    number = exact_gaussian._Uniform(lambda: next(words))
    assert number.coin()
    assert number.digits == [5, 7]


def test_secret_words_give_other_noise_each_time_and_a_seed_the_same() -> None:
    def drawn(source) -> list[int]:
        return rounded_normals(20, deviation_bits=24, source=source).tolist()

    assert drawn(SystemSource()) != drawn(SystemSource())
    assert drawn(SeededSource(3)) == drawn(SeededSource(3)) != drawn(SeededSource(4))
