"""The joint battery, second part: answers in the wrong row, and rows that depend on the labels, the order or the number of others.

Rates and returns as in `noise`.
"""

import math
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from labeldp.testing.noise import LAGS, LOG_ALARM
from labeldp.testing.subjects import Anything, Codes, commonest, subject
from labeldp.testing.tails import (
    Floats,
    centred,
    largest_sum,
    log_chance,
    split_of,
    worst_split,
)


def assert_rows_aligned(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that an answer depends on the label of its own row, and on no label up to 1024 rows away.

    Rate: labels are drawn uniformly; matches of answers with labels of another row are binomial, and the sum over rows of
    whether the own label was kept, by the label of another row, is centred (Bernstein). 1e-6 over all lags, labels and both.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    used, size = it.used_labels(), it.sample
    labels = it.mixed_labels(size, seed=7)
    answers = it.read(labels)
    kept = answers.kept(labels, used)
    alone = np.concatenate(
        [it.read(np.full(size // 16, label)).support[:, i] for i, label in enumerate(used)]
    )
    chance, rate = float(answers.support.mean()), float(alone.mean())
    lost = abs(kept.mean() - chance) < abs(rate - chance) / 2
    assert not lost or split_of(kept, alone) > LOG_ALARM, (
        f"With one label throughout, {rate:.1%} of answers support it; among other labels only {kept.mean():.1%} do, and {chance:.1%} by "
        f"chance: answers are not in the row of their label."
    )
    _assert_no_matches(labels, answers.support, used)
    others = it.mixed_labels(size, seed=6)
    among_others = it.read(others).codes
    modes = np.array([commonest(among_others[others == label]) for label in used])
    index = np.searchsorted(used, labels)
    for feature in (kept, answers.codes == modes[index]):
        _assert_own_label_alone(centred(feature, labels), index, used)
    return None


def _assert_own_label_alone(feature: Floats, index: Codes, used: Codes) -> None:
    """Raises where whether answers support their labels depends on labels of other rows, at one distance."""
    variance, largest = float(np.mean(feature**2)), float(np.abs(feature).max())
    groups = {f"being {label}": index == i for i, label in enumerate(used)}
    groups |= {f"being below {label}": index < i for i, label in enumerate(used) if i}
    groups |= {
        f"having bit {bit} set in its turn": index >> bit & 1 == 1 for bit in range(len(used).bit_length())
    }
    for name, inside in groups.items():
        share = float(inside.mean())
        alarm = LOG_ALARM - math.log(4 * LAGS * len(groups))
        limit = largest_sum(variance * share * (1 - share), largest, len(feature) // 2, alarm)
        sums = _correlation(inside - share, feature)
        lag = int(np.abs(sums).argmax())
        assert abs(sums[lag]) <= limit, (
            f"Whether an answer supports its label depends on the label {lag - LAGS:+d} rows away {name}: rows are not answered on their own."
        )


def _assert_no_matches(labels: Codes, support: npt.NDArray[np.bool_], used: Codes) -> None:
    """Raises where answers support the labels of other rows, at one distance, more or less often than independent ones."""
    size = len(labels)
    pairs = [((labels == label) * 1.0, support[:, i].astype(np.float64)) for i, label in enumerate(used)]
    matches = np.sum([_correlation(named, supported) for named, supported in pairs], axis=0)
    expected = float(support.sum()) / len(used)
    matches[LAGS] = expected  # the own row
    lag = int(np.abs(matches - expected).argmax())
    surprise = log_chance(round(matches[lag]), size, expected / size)
    assert surprise > LOG_ALARM - math.log(4 * LAGS), (
        f"Answers support the label {lag - LAGS:+d} rows away in {matches[lag] / size:.1%} of rows, {expected / size:.1%} by chance: "
        f"answers are in the wrong row, or depend on other labels."
    )


def _correlation(one: Floats, other: Floats) -> Floats:
    """Sums of one[i + lag] * other[i], around the end, for lags -1024 .. 1024."""
    sums = np.fft.irfft(np.fft.rfft(one) * np.conj(np.fft.rfft(other)), len(one))
    return np.concatenate([sums[-LAGS:], sums[: LAGS + 1]])


def assert_permutations_do_not_matter(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that a label is answered by one law whatever the other labels are and however the rows are ordered.

    Compares the answers to each label among mixed labels, sorted ones, and alone.

    Rate: 1e-6 over all cells, by the hypergeometric law of a split total (`tails.log_split`).
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    used, size = it.used_labels(), it.sample
    mixed = it.mixed_labels(size, seed=5)
    ordered = np.sort(mixed)
    alone = [np.full(max(256, size // (4 * len(used))), label) for label in used]
    contexts = {
        "mixed labels": (mixed, it.read(mixed).codes),
        "sorted labels": (ordered, it.read(ordered).codes),
        "no other label": (np.concatenate(alone), np.concatenate([it.read(part).codes for part in alone])),
    }
    types = {
        str(array.dtype) for array in map(it.raw, (alone[0], alone[-1])) if isinstance(array, np.ndarray)
    }
    assert len(types) < 2, f"The type of the answers tells labels: {' or '.join(sorted(types))}."
    for (one, first), (other, second) in pairwise([*contexts.items(), *contexts.items()][:4]):
        for label in used:
            answers, others = first[1][first[0] == label], second[1][second[0] == label]
            code, surprise = worst_split(answers, others)
            assert surprise > LOG_ALARM - math.log(3 * len(used)), (
                f"Label {label} gets the answer of code {code} in {np.mean(answers == code):.1%} of rows among {one} and in "
                f"{np.mean(others == code):.1%} among {other}: its law depends on other labels, or on their order."
            )
    return None


def assert_order_tells_nothing(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that answers to labels in random order have one law at all positions: halves, odd and even, and each of 32 blocks.

    Rate: 1e-6 over all splits and cells, by the hypergeometric law of a split total.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    size = it.sample
    labels = it.mixed_labels(size, seed=8)
    answers = it.read(labels)
    columns = {
        "answers": answers.codes,
        "answers that support their label": answers.kept(labels, it.used_labels()) * 1,
    }
    position = np.arange(size)
    splits = {"the first half": position < size // 2, "even positions": position % 2 == 0}
    splits |= {f"block {block} of 32": position * 32 // size == block for block in range(32)}
    for name, inside in splits.items():
        for what, values in columns.items():
            value, surprise = worst_split(values[inside], values[~inside])
            assert surprise > LOG_ALARM - math.log(2 * len(splits)), (
                f"Labels come in random order, and yet {what} (code {value}) make {np.mean(values[inside] == value):.1%} in {name} and "
                f"{np.mean(values[~inside] == value):.1%} elsewhere: the order of answers, or where they have noise, tells something."
            )
    return None
