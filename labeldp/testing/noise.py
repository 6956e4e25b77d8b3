"""The joint battery, first part: what no single answer shows about its noise. Replayed, shared between rows, missing at a position.

Each check looks for one class of faults, whatever the law of one answer is. It raises with probability at most 1e-6 (`tails.ALARM`) on a
release whose rows are answered independently, by the same law, from fresh randomness, and returns why it could see nothing, or None.
"""

import math

import numpy as np
import numpy.typing as npt

from labeldp.testing.subjects import Anything, Codes, Subject, commonest, subject
from labeldp.testing.tails import (
    ALARM,
    Floats,
    centred,
    largest_sum,
    log_arrangements,
    log_chance,
    log_dependence,
    split_of,
)

LENGTHS = (1, 2, 3, 129, 200, 1025)
"""Lengths at which every position must be randomized; short ones, and just above and below round batches."""

LAGS = 1024
LOG_ALARM = math.log(ALARM)
FEW_NOISE = "too little noise to tell; the epsilon may be large, or the answers constant"


def assert_fresh(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that two calls differ, and that there is noise at all; one that is keyed must repeat itself instead.

    Rate: given its answers, a second call arranges them in each of the ways there are with equal probability; it raises where there are
    more than 1e6. That 320 000 answers show no noise has probability below 1e-6 for every epsilon up to 10.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    if it.keyed:
        return assert_idempotent(it, num_classes=num_classes)
    labels = np.zeros(0, dtype=np.int64)
    first = labels
    for size in (256, 4096, 16_384 if it.frugal or it.mechanism else 160_000):
        labels = np.resize(it.used_labels(), size)
        first, second = it.exact(labels), it.exact(labels)
        if not np.array_equal(first, second):
            return None
        assert log_arrangements(second, labels) < -LOG_ALARM, (
            f"Two calls with the same {size} labels gave the same answers, noise included: the seed is fixed, or kept between calls."
        )
    return _no_noise(it, first, labels)


def _no_noise(it: Subject, answers: Codes, labels: Codes) -> str:
    """Raises where answers to so many labels are a function of the label, other than a constant."""
    values = [np.unique(answers[labels == label]) for label in it.used_labels()]
    if any(len(value) > 1 for value in values) or len({int(value[0]) for value in values}) == 1:
        return FEW_NOISE
    seen = len(labels) if it.keyed else 2 * len(labels)
    epsilon = math.log(seen / -LOG_ALARM - 1)
    if it.mechanism is not None and it.mechanism.epsilon > epsilon:
        return FEW_NOISE
    raise AssertionError(
        f"{seen} answers are a function of their labels, without any noise; an epsilon up to {epsilon:.1f} would have shown some."
    )


def assert_idempotent(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None
) -> str | None:
    """Asserts that two calls agree, as keyed noise must, since otherwise a rerun is a second release; and that there is noise.

    Rate: 0 where calls differ; as for `assert_fresh` where no noise is seen.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=True)
    labels = np.zeros(0, dtype=np.int64)
    first = labels
    for size in (512, 160_000):
        labels = it.mixed_labels(size)
        first = it.exact(labels)
        differing = int((first != it.exact(labels)).sum())
        assert not differing, (
            f"Two calls with the same {size} labels differ in {differing} answers, though declared keyed: a rerun pays again."
        )
        if log_arrangements(first, labels) > 1:
            return None
    return _no_noise(it, first, labels)


def assert_seeds_do_not_repeat(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that of up to 1500 calls no two give the same answers, as seeds of 16 bits or fewer would; 256 calls where they take long.

    Rate: each pair of calls agrees with probability below 1e-6 over the number of pairs, by the number of arrangements of its answers.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    if it.keyed:
        return "keyed: calls agree on purpose; the key's length cannot be seen"
    quick = not it.frugal and it.mechanism is None and it.seconds(64) < 2e-4
    for size, calls in (
        (64, 64 if it.frugal else 1500 if quick else 256),
        (96, 64) if it.frugal else (128, 256),
        (256, 64 if it.frugal else 256),
        (1024, 128),
        (4096, 64),
    ):
        labels, rare = np.resize(it.used_labels(), size), -LOG_ALARM + math.log(calls**2 / 2)
        if log_arrangements(it.exact(labels), labels) < 1.5 * rare:
            continue
        seen: dict[bytes, int] = {}
        for call in range(calls):
            answers = it.exact(labels)
            earlier = seen.setdefault(answers.tobytes(), call)
            assert earlier == call or log_arrangements(answers, labels) < rare, (
                f"Calls {earlier} and {call} gave the same {size} answers, noise included: seeds repeat, there are perhaps "
                f"{max(1, call**2 // 2)} of them."
            )
        return None
    return FEW_NOISE


def assert_every_position_randomized(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that no position always answers a label in the same way, and no two alike, at lengths 1, 2, 3, 129, 200 and 1025.

    Rate: a position, or a pair, is blamed where as many answers of the same label, at any positions, would all agree with probability
    below 1e-6 over the number of pairs.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    labels = it.used_labels()[[0, len(it.used_labels()) // 2, -1]]
    if it.keyed:
        return _last_positions(it, labels)
    lengths = LENGTHS[:-1] if it.frugal else LENGTHS
    columns = {length: np.zeros((3, 0, length), dtype=np.int64) for length in lengths}
    for visits in (2, 2, 4, 8, 16, 32, 64):
        suspects = [length for length, grid in columns.items() if not grid.shape[1] or _suspects(grid).any()]
        if not suspects:
            return None
        for length in suspects:
            more = [[it.read(np.full(length, label)).codes for _ in range(visits)] for label in labels]
            columns[length] = np.concatenate([columns[length], np.array(more)], axis=1)
        log_common = sum(
            _log_commonest([grid[row] for grid in columns.values()]) for row in range(len(labels))
        )
        pairs = math.log(sum(length**2 for length in lengths))
        if visits == 8 and 127 * log_common + pairs > LOG_ALARM:
            return FEW_NOISE
        for length, grid in columns.items():
            suspect = np.flatnonzero(_suspects(grid))
            assert not len(suspect) or (grid.shape[1] - 1) * log_common + pairs > LOG_ALARM, (
                f"At length {length}, position {int(suspect[-1])} gave one answer to each label in {grid.shape[1]} calls each, or always that of "
                f"an earlier position, while others vary: {len(suspect)} of {length} positions have no noise of their own."
            )
    return FEW_NOISE


def _suspects(grid: Codes) -> npt.NDArray[np.bool_]:
    """Positions at which every label always got the same answer, or that of an earlier position; grid is (labels, visits, length)."""
    stuck = (grid == grid[:, :1]).all(axis=(0, 1))
    _, first = np.unique(grid.reshape(-1, grid.shape[2]), axis=1, return_index=True)
    twin = np.ones(grid.shape[2], dtype=np.bool_)
    twin[first] = False
    return stuck | twin


def _log_commonest(grids: list[Codes]) -> float:
    """Logarithm of the share of the commonest answer, four standard errors up."""
    _, counts = np.unique(np.concatenate([grid.ravel() for grid in grids]), return_counts=True)
    share, size = counts.max() / counts.sum(), counts.sum()
    return math.log(min(1.0, share + 4 * math.sqrt(share * (1 - share) / size) + 4 / size))


def _last_positions(it: Subject, labels: Codes) -> str | None:
    """For keyed noise, which repeats itself: whether the last positions of many lengths are answered like others."""
    for label in labels:
        rows = [it.read(np.full(length, label)).codes for length in range(2, 130)]
        last, rest = np.array([row[-1] for row in rows]), np.concatenate([row[:-1] for row in rows[-8:]])
        for answer in np.unique(last):
            surprise = split_of(last == answer, rest == answer)
            assert surprise > LOG_ALARM - math.log(3 * len(np.unique(last))), (
                f"The last position gave label {label} the answer of code {answer} in {int((last == answer).sum())} of {len(last)} lengths, "
                f"others in {np.mean(rest == answer):.1%}."
            )
    return None


def assert_no_lag_correlation(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that the noise of a row does not follow that of a row 1 to 8192 places away (2048 where answers take long), or of its mirror image.

    Looks at whether the commonest answer was kept, and at a random sign of each answer, in one long call and in 16 short ones put end to
    end: mixed labels, labels that take turns, and one label throughout.

    Rate: 1e-6 over all lags, features and both, by Bernstein's inequality (`tails.largest_sum`).
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    size = it.sample
    long = [np.concatenate([np.zeros(size // 2, dtype=np.int64), it.mixed_labels(size // 2)])]
    short = [it.mixed_labels(size // 16, seed=seed) for seed in range(4)]
    short += [np.resize(np.roll(it.used_labels(), turn), size // 16) for turn in range(4)]
    short += [np.full(size // 16, label) for label in (0, num_classes - 1) for _ in range(4)]
    found = [features_of(it, calls) for calls in ([long] if it.keyed else [long, short])]
    moving = [(name, values) for features in found for name, values in features.items() if values.any()]
    for name, feature in moving:
        variance, bound = float(np.mean(feature**2)), float(np.abs(feature).max()) ** 2
        limit = largest_sum(variance**2, bound, size // 2, LOG_ALARM - math.log(3 * size))
        calls = feature.reshape(-1, size // 16)
        mirrored = float((calls * calls[:, ::-1]).sum() + (feature * feature[::-1]).sum()) / 2
        sums = np.fft.irfft(np.abs(np.fft.rfft(feature, 2 * size)) ** 2)[: size // 2 + 1]
        sums[0] = mirrored
        lag = int(np.abs(sums).argmax())
        assert abs(sums[lag]) <= limit, (
            f"Answers {f'{lag} rows apart' if lag else 'and those from the other end'} are correlated ({name}: "
            f"{sums[lag] / variance / size:+.3f}, at most {limit / variance / size:.3f} by chance): rows share randomness, or it is used again."
        )
    return None if moving else FEW_NOISE


def features_of(it: Subject, calls: list[Codes]) -> dict[str, Floats]:
    """Numbers that the answers to some calls, put end to end, are told by; each with mean 0 for every label, (n,)."""
    reads, labels = [it.read(part) for part in calls], np.concatenate(calls)
    supported = [read.kept(part, it.used_labels()) for part, read in zip(calls, reads, strict=True)]
    _, code = np.unique(np.concatenate([read.codes for read in reads]), return_inverse=True)
    signs = np.random.default_rng(1).choice([-1.0, 1.0], size=len(code))[code]
    return {
        "whether they support their label": centred(np.concatenate(supported), labels),
        "what they are": centred(signs, labels),
    }


def assert_counts_vary(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that the number of lies in a call varies as independent ones do: no quota settles it, and no coin decides for many rows.

    Rate: a number of independent events of variance v takes each value with probability at most .469 / sqrt(v) (J.-B. Baillon,
    R. Cominetti, J. Vaisman, 2016), so up to 64 pairs of calls agree as often as a binomial at most; each count is binomial itself.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    if it.keyed:
        return "keyed: calls agree on purpose"
    label = it.used_labels()[-1]
    codes = np.array([it.read(np.full(64, label)).codes for _ in range(96 if it.frugal else 128)])
    kept = (codes == commonest(codes)).sum(axis=1)
    share = float(kept.mean()) / 64
    variance = 0.8 * 64 * share * (1 - share)
    if variance < 1:
        return FEW_NOISE
    far = kept[np.abs(kept - kept.mean()).argmax()]
    assert log_chance(float(far), 64, share) > LOG_ALARM - math.log(2 * len(kept)), (
        f"Of 64 equal labels {far} get the commonest answer in one call, {64 * share:.1f} on average: rows share a coin."
    )
    pairs = len(kept) // 2
    agreeing = int((kept[::2] == kept[1::2]).sum())
    chance = 0.469 / math.sqrt(variance)
    assert agreeing <= pairs * chance or log_chance(agreeing, pairs, chance) > LOG_ALARM, (
        f"{agreeing} of {pairs} pairs of calls with 64 equal labels have the same number of lies, {int(kept[0])} kept in the first: a quota is "
        f"no independent noise, and who knows the other labels learns the last."
    )
    return None


def assert_label_changes_noise(
    mechanism: Anything, *, num_classes: int, prior: npt.ArrayLike | None = None, keyed: bool | None = None
) -> str | None:
    """Asserts that changing a label draws its noise anew: the answers of each row to two labels must be independent.

    A coin that depends on the row alone gives the label away when it is corrected, or released again at another epsilon.

    Rate: 1e-6 over all pairs of labels and cells, by the hypergeometric law of a table with these margins.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    used, size = it.used_labels(), 2**11 if it.frugal else 2**12
    chosen = sorted({int(label) for label in (used[0], used[1], used[len(used) // 2], used[-1])})
    answers = {label: it.read(np.full(size, label)).codes for label in chosen}
    for one, other in ((one, other) for one in chosen for other in chosen if one < other):
        surprise = log_dependence(_few(answers[one]), _few(answers[other]))
        assert surprise > LOG_ALARM - math.log(6), (
            f"The answers of {size} rows to label {one} and to label {other} are not independent (probability below e^{surprise:.0f}): noise "
            f"does not depend on the label, so a corrected label, or a second release, gives it away."
        )
    return None


def _few(codes: Codes, most: int = 32) -> Codes:
    """Codes by their rank of frequency, the rare ones as one."""
    _, which, counts = np.unique(codes, return_inverse=True, return_counts=True)
    rank = np.argsort(np.argsort(-counts, kind="stable"), kind="stable")
    return np.minimum(rank[which], most).astype(np.int64)
