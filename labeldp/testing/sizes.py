"""The joint battery, third part: calls of very many rows, of very few, and with few labels.

Rates and returns as in `noise`.
"""

import math

import numpy as np
import numpy.typing as npt

from labeldp.testing.noise import FEW_NOISE, LOG_ALARM, features_of
from labeldp.testing.subjects import Anything, Codes, Subject, subject
from labeldp.testing.tails import Floats, largest_sum, split_by_label, split_of, worst_split

LONG = 2**17 + 7
"""Rows of a long call: more than twice what two bytes number."""

LONG_LAGS = 2**16


def assert_long_calls_alike(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that noise is neither used again nor left out in a call of 131 079 rows, more than two bytes number; where that is quick.

    Looks at lags 1 to 65 536, at each of 32 blocks, and at the first and last rows of chunks of 64 to 32 768 rows.

    Rate: 1e-6 over all of it, by Bernstein's inequality and by the hypergeometric law of a split total.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    if it.frugal or it.seconds(4096) * LONG / 4096 > 0.2:
        return "so many answers take long"
    found = features_of(it, [it.mixed_labels(LONG)])
    features = {name: values for name, values in found.items() if values.any()}
    for name, feature in features.items():
        variance, bound = float(np.mean(feature**2)), float(np.abs(feature).max()) ** 2
        limit = largest_sum(variance**2, bound, LONG // 2, LOG_ALARM - math.log(8 * LONG_LAGS))
        sums = np.fft.irfft(np.abs(np.fft.rfft(feature, 2**18)) ** 2)[: LONG_LAGS + 1]
        sums[0] = 0
        lag = int(np.abs(sums).argmax())
        assert abs(sums[lag]) <= limit, (
            f"Answers {lag} rows apart are correlated in a call of {LONG} ({name}): noise is used again."
        )
    _assert_noise_everywhere(features)
    return None if features else FEW_NOISE


def _assert_noise_everywhere(features: dict[str, Floats]) -> None:
    """Raises where parts of a long call support their labels more or less often than the rest."""
    position = np.arange(LONG)
    parts = {f"block {block} of 32": position * 32 // LONG == block for block in range(32)}
    for power in range(6, 16):
        parts[f"the first rows of chunks of {2**power}"] = position % 2**power == 0
        parts[f"the last rows of chunks of {2**power}"] = position % 2**power == 2**power - 1
    for name, feature in features.items():
        high = feature > 0
        for part, inside in parts.items():
            surprise = split_of(high[inside], high[~inside])
            assert surprise > LOG_ALARM - math.log(4 * len(parts)), (
                f"In a call of {LONG} rows answers of {part} are unlike the others ({name}): {high[inside].mean():.1%} against "
                f"{high[~inside].mean():.1%}. They have other noise, or none."
            )


def assert_small_calls_alike(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that a label is answered by one law alone in its call, once in it, next to one other label only, and among many; and in its row.

    Rate: 1e-6 over all calls, labels, cells and positions, by the hypergeometric law of a split total.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    used, many = it.used_labels(), it.mixed_labels(it.sample, seed=9)
    reference = it.read(many)
    kept = reference.kept(many, used)
    for name, columns in _small_calls(it).items():
        reads, labels = [it.read(column) for column in columns], np.concatenate(columns)
        codes = np.concatenate([read.codes for read in reads])
        own = np.concatenate([read.kept(column, used) for read, column in zip(reads, columns, strict=True)])
        surprise = split_by_label(own, labels, kept, many)
        assert surprise > LOG_ALARM - math.log(8), (
            f"Answers support their labels in {own.mean():.1%} of rows with {name} (probability below e^{surprise:.0f} by what they do among "
            f"many): the law depends on other labels, or on their number."
        )
        for label in np.unique(labels):
            answers, others = codes[labels == label], reference.codes[many == label]
            code, surprise = worst_split(answers, others)
            assert surprise > LOG_ALARM - math.log(8 * len(used)), (
                f"Label {label} gets the answer of code {code} in {np.mean(answers == code):.1%} of rows with {name}, in "
                f"{np.mean(others == code):.1%} among many: its law depends on other labels, or on their number."
            )
        for row in range(len(used)) if name == "each label once" else ():
            surprise = split_by_label(own[row :: len(used)], 0 * labels[row :: len(used)], kept, 0 * many)
            assert surprise > LOG_ALARM - math.log(8 * len(used)), (
                f"In calls of {len(used)} rows answers of row {row} support their labels in {own[row :: len(used)].mean():.1%}, in "
                f"{kept.mean():.1%} elsewhere: answers are in the wrong row, or the row has other noise."
            )
    return None


def _small_calls(it: Subject) -> dict[str, list[Codes]]:
    """Calls by what they have in common; keyed noise would repeat itself in those of few rows."""
    used, calls, random = it.used_labels(), 24 if it.frugal else 320, np.random.default_rng(11)
    ends = used[[0, -1]]
    columns = {"two labels only": [random.choice(ends, size=it.sample // 8)]}
    if not it.keyed:
        columns["each label once"] = [random.permutation(used) for _ in range(calls)]
        alone = [used[0], used[len(used) // 2], used[-1]]
        columns["no other row"] = [np.array([label]) for label in alone for _ in range(calls // 2)]
    return columns
