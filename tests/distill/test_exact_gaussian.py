"""The exact sampler of rounded normal numbers, against the normal law."""

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


def test_coins_have_their_probabilities_to_the_last_bit() -> None:
    """With words of two bits every outcome can be weighed: the coin of exp(-1/2) by its first terms."""
    rng = np.random.default_rng(0)
    words = iter(rng.integers(0, 2**64, size=400_000, dtype=np.uint64).tolist())
    hits = sum(exact_gaussian._exp_half(lambda: next(words)) for _ in range(100_000))
    assert abs(hits / 100_000 - np.exp(-0.5)) < 0.006


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
