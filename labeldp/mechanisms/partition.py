"""Partitioning the classes of each item from a prior alone: blocks of nearly equal mass, and how many of them.

No function here takes a label. Masses are integers and ties are broken by public integers, so that a partition is the same
on every machine; only the number of blocks compares floats, and two numbers whose information is equal up to rounding may
be told apart either way.
"""

import heapq
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.prior import WEIGHT_BITS

Weights: TypeAlias = npt.NDArray[np.int64]
Floats: TypeAlias = npt.NDArray[np.float64]

TIE_BITS = 12
_KEY_BITS = 62  # a block's mass and its tie bits, with room to spare in an int64
_MASS = ~np.int64(2**TIE_BITS - 1)
FEW_ROWS = 8
_ORDER_BITS = _KEY_BITS - WEIGHT_BITS
_MIX = [(30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB)]


def balanced_blocks(
    weights: Weights, num_blocks: int | None, epsilon: float, *, seed: int, first_row: int
) -> npt.NDArray[np.int64]:
    """The block of every class, numbered from 0 in each row; (n, K).

    The heaviest class goes first, each into the lightest block so far; among equal weights, and among equally light blocks,
    public random bits decide. Classes of weight zero follow in random order and go round the blocks, empty ones first, so
    that with at most K blocks none stays empty.

    Args:
        weights: integer weights of the classes, at most 2^40, (n, K).
        num_blocks: number of blocks g in 2 .. K, or None for the most informative one of each row.
        epsilon: privacy parameter of one answer; it decides which number is the most informative.
        seed: public seed of the ties.
        first_row: number of the first row; row i depends on the seed, its number and its weights only.
    """
    num_items, num_classes = weights.shape
    spare = max(0, WEIGHT_BITS + num_classes.bit_length() + TIE_BITS - _KEY_BITS)
    weights = np.maximum(weights >> spare, weights > 0)
    keys = _row_keys(num_items, seed, first_row)
    order, ordered = _downwards((weights << _ORDER_BITS) | _draws(keys, 0, num_classes, _ORDER_BITS))
    ordered >>= _ORDER_BITS
    if num_blocks is None:
        sizes = most_informative_sizes(ordered, epsilon)
    else:
        sizes = np.full(num_items, num_blocks, dtype=np.int64)
    ties = _draws(keys, num_classes, num_classes, TIE_BITS)
    start = _draws(keys, 2 * num_classes, 1, 32)[:, 0] % sizes
    blocks = np.empty(weights.shape, dtype=np.int64)
    np.put_along_axis(blocks, order, _greedy(ordered, sizes, ties, start)[0], axis=1)
    return blocks


def _downwards(numbers: Weights) -> tuple[npt.NDArray[np.intp], Weights]:
    """Each row's columns by falling numbers, equal ones from left to right, and the numbers in that order; (n, K) each."""
    order = np.argsort(-numbers, axis=1)
    ordered = np.take_along_axis(numbers, order, axis=1)
    tied = (ordered[:, 1:] == ordered[:, :-1]).any(
        axis=1
    )  # few rows; the quicker sort leaves their order to the machine
    order[tied] = np.argsort(-numbers[tied], axis=1, kind="stable")
    return order, ordered


def _greedy(
    ordered: Weights, sizes: npt.NDArray[np.int64], ties: Weights, start: npt.NDArray[np.int64]
) -> tuple[npt.NDArray[np.int64], Weights]:
    """The block of each class of rows sorted downwards, (n, K), and the masses of the blocks, (n, largest size).

    A block's key is its mass, then the tie bits of the last class it took. The masses do not depend on the ties: equal weights
    and equally light blocks are interchangeable for them.
    """
    num_items, num_classes = ordered.shape
    if num_items == 0:
        return np.zeros(ordered.shape, dtype=np.int64), np.zeros(ordered.shape, dtype=np.int64)
    ranks = np.arange(num_classes, dtype=np.int64)
    positive = (ordered > 0).sum(axis=1)
    largest = int(sizes.max())
    turn = np.where(positive < sizes, 0, start)[:, None] + ranks
    blocks = np.where(ranks < sizes[:, None], ranks, turn % sizes[:, None])
    added = np.ascontiguousarray(((ordered << TIE_BITS) | ties).T)
    keys = np.where(ranks[:largest] < sizes[:, None], added[:largest].T, np.int64(2**_KEY_BITS))
    if num_items <= FEW_ROWS:
        _fill_one_by_one(blocks, keys, added, sizes, positive)
    else:
        _fill_together(blocks, keys, added, sizes, positive)
    return blocks, np.where(ranks[:largest] < sizes[:, None], keys >> TIE_BITS, 0)


def _fill_together(
    blocks: Weights,
    keys: Weights,
    added: Weights,
    sizes: npt.NDArray[np.int64],
    positive: npt.NDArray[np.int64],
) -> None:
    """Puts the next class of every row into its lightest block, one class after the other."""
    flat, starts = keys.ravel(), np.arange(len(keys), dtype=np.int64) * keys.shape[1]
    least = int(positive.min())
    for rank in range(int(sizes.min()), int(positive.max())):
        lightest = keys.argmin(axis=1)
        place = starts + lightest
        key = flat[place]
        key &= _MASS
        key += added[rank]
        if rank < keys.shape[1] or rank >= least:
            taken = (rank >= sizes) & (rank < positive)
            key, lightest = np.where(taken, key, flat[place]), np.where(taken, lightest, blocks[:, rank])
        flat[place] = key
        blocks[:, rank] = lightest


def _fill_one_by_one(
    blocks: Weights,
    keys: Weights,
    added: Weights,
    sizes: npt.NDArray[np.int64],
    positive: npt.NDArray[np.int64],
) -> None:
    """The same row by row, with a heap of blocks."""
    for row, (size, end) in enumerate(zip(sizes.tolist(), positive.tolist(), strict=True)):
        heap = [(key, block) for block, key in enumerate(keys[row, :size].tolist())]
        heapq.heapify(heap)
        for rank, more in enumerate(added[size:end, row].tolist(), start=size):
            key, block = heap[0]
            heapq.heapreplace(heap, ((key & int(_MASS)) + more, block))
            blocks[row, rank] = block
        for key, block in heap:
            keys[row, block] = key


def most_informative_sizes(ordered: Weights, epsilon: float) -> npt.NDArray[np.int64]:
    """The number of blocks g in 2 .. max(2, positive classes) that maximises the information of each row; (n,).

    Numbers are tried in the order of an upper bound on their information, until none left can do better.

    Args:
        ordered: integer weights, rows sorted downwards, (n, K).
        epsilon: privacy parameter of one answer.
    """
    if len(ordered) > 1 and (ordered == ordered[0]).all():
        return np.repeat(most_informative_sizes(ordered[:1], epsilon), len(ordered))
    probability = ordered / ordered.sum(axis=1, keepdims=True)
    bound = information_bounds(probability, epsilon)
    slack = 1e-12 * epsilon
    sizes, best = np.full(len(ordered), 2), np.full(len(ordered), -np.inf)
    active = np.arange(len(ordered), dtype=np.int64)
    while active.size:
        tried = bound[active].argmax(axis=1)
        bound[active, tried] = -np.inf
        nothing = np.broadcast_to(np.int64(0), (len(active), ordered.shape[1]))
        masses = _greedy(ordered[active], tried, nothing, nothing[:, 0])[1]
        information = information_of_blocks(masses / masses.sum(axis=1, keepdims=True), tried, epsilon)
        better = information > best[active]
        sizes[active[better]], best[active[better]] = tried[better], information[better]
        active = active[bound[active].max(axis=1) > best[active] + slack]
    return sizes


def information_of_blocks(masses: Floats, sizes: npt.NDArray[np.int64], epsilon: float) -> Floats:
    """Mutual information in nats of label and answer, for blocks of the given masses; (n,).

    I = H(out) - ln(E + g - 1) + epsilon E / (E + g - 1), with P[out = b] = (1 + (E - 1) m_b) / (E + g - 1). The logarithms
    of E + g - 1 cancel: I = (psi(E - 1) - sum_b psi((E - 1) m_b)) / (E + g - 1) with the convex psi(z) = (1 + z) ln(1 + z) - z.

    Args:
        masses: rows of probabilities of the blocks, zeros where a row has fewer, (n, g).
        sizes: the number of blocks g of each row, (n,).
        epsilon: privacy parameter of one answer.
    """
    excess = np.expm1(epsilon)
    return (_psi(excess) - _psi(excess * masses).sum(axis=1)) / (excess + sizes)


def information_bounds(probability: Floats, epsilon: float) -> Floats:
    """An upper bound on the information of g blocks, in column g; -inf where g is not allowed; (n, K + 1).

    The t heaviest classes are given a block each and the rest is spread evenly over the g - t others, with t the least number
    that leaves no class heavier than its share. Every partition into g blocks has masses that majorise these, and psi is convex.
    Class t is heavier than its share (1 - P_t) / (g - t) exactly if t + (1 - P_t) / p_t < g, which grows with t.

    Args:
        probability: rows sorted downwards, each summing to 1, (n, K).
        epsilon: privacy parameter of one answer.
    """
    num_items, num_classes = probability.shape
    ranks, sizes = np.arange(num_classes, dtype=np.int64), np.arange(num_classes + 1, dtype=np.int64)
    excess = np.expm1(epsilon)
    before = np.cumsum(probability, axis=1) - probability
    spent = _psi(excess * probability)
    spent = np.cumsum(spent, axis=1) - spent
    share = np.maximum(1 - before, 0) / np.maximum(probability, np.finfo(np.float64).tiny)
    first = ranks + np.minimum(share, num_classes - ranks).astype(np.int64) + 1
    flat = (np.arange(num_items, dtype=np.int64)[:, None] * (num_classes + 2) + first).ravel()
    counts = np.bincount(flat, minlength=num_items * (num_classes + 2)).reshape(num_items, -1)
    alone = np.minimum(np.cumsum(counts, axis=1)[:, :-1], np.maximum(sizes - 1, 0))
    rest = np.maximum(1 - np.take_along_axis(before, alone, axis=1), 0)
    even = np.maximum(sizes - alone, 1)
    least = np.take_along_axis(spent, alone, axis=1) + even * _psi(excess * rest / even)
    most = np.maximum((probability > 0).sum(axis=1), 2)[:, None]
    return np.where(
        (sizes >= 2) & (sizes <= most), (_psi(excess) - least) / (excess + np.maximum(sizes, 1)), -np.inf
    )


def _psi(z: npt.ArrayLike) -> Floats:
    """(1 + z) ln(1 + z) - z for z >= 0, by its series where the difference would cancel."""
    z = np.asarray(z, dtype=np.float64)
    series = z * z * (1 / 2 - z / 6 + z * z / 12)
    return np.where(z < 1e-4, series, (1 + z) * np.log1p(z) - z)


def _row_keys(num_items: int, seed: int, first_row: int) -> npt.NDArray[np.uint64]:
    """One public 64-bit number for each row number under a seed; (n,)."""
    numbers = np.arange(first_row, first_row + num_items, dtype=np.uint64)
    return _mixed(_mixed(np.array([seed], dtype=np.uint64)) ^ numbers)


def _draws(keys: npt.NDArray[np.uint64], first: int, count: int, bits: int) -> Weights:
    """Columns first .. first + count - 1 of the rows' public random numbers of so many bits; (n, count)."""
    columns = np.arange(first, first + count, dtype=np.uint64)
    return (_mixed(keys[:, None] ^ columns) >> np.uint64(64 - bits)).astype(np.int64)


def _mixed(numbers: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    """SplitMix64 (Steele, Lea and Flood, 2014), a permutation of 64-bit numbers that scatters neighbours."""
    numbers = numbers + np.uint64(0x9E3779B97F4A7C15)
    for shift, factor in _MIX:
        numbers = (numbers ^ (numbers >> np.uint64(shift))) * np.uint64(factor)
    return numbers ^ (numbers >> np.uint64(31))
