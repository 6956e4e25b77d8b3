"""Compiled selection for many classes: row by row, with vector instructions along the row, and no more work than a row needs.

The same integers as `prior` and `selection` make with numpy: floats meet +, -, *, / and rounding in the same order, and numba contracts
none of them. Its cache looks at the dates of these files alone: touch them after a change to a function taken from `selection`.
"""

from typing import Any

import numpy as np
from numba import njit

from labeldp.mechanisms import selection

CELLS = 1024  # weights kept at a time, so that they stay in the fastest memory
LANES = 8  # logarithms taken at once
BRACKET = 24  # classes put in order at a time
# what is kept of a row: sum and number of its weights above a level, how many of them are in order, and the size
TOTAL, COUNT, KNOWN, SIZE = range(4)
NAT, NOT_ALLOWED = selection.NAT, np.int64(selection.NOT_ALLOWED)

kernel: Any = njit(cache=True, nogil=True, error_model="numpy")
natural_log = kernel(selection.natural_log)
answer_units = kernel(selection.answer_units)
information_bound = kernel(selection.information_bound)


@kernel
def entropy_units(p: float) -> Any:
    return np.int64(np.rint(p * natural_log(p) * -NAT))


@kernel
def heat_units(x: float, heat: float) -> Any:
    return np.int64(np.rint(x * natural_log(x) * heat))


@kernel
def weigh(rows: Any, bits: Any, first: int, scale: float, level: int, weights: Any, kept: Any) -> bool:
    """Writes the weights of some rows, and the sum and number of those above the level; False where a row is bad.

    The maximum of a row is that of its bits as unsigned integers, which order floats that are not negative; others are larger.
    """
    most = np.empty(2, bits.dtype)  # bits of the maximum of a row, and of infinity
    largest = most.view(rows.dtype)
    largest[1] = np.inf
    for r in range(min(len(weights), len(rows) - first)):
        i, top = first + r, bits[first + r, 0]
        for k in range(rows.shape[1]):
            top = max(top, bits[i, k])
        most[0] = top
        if top >= most[1]:
            maximum_beside_negative_zeros(rows, bits, i, most)
        if most[0] == 0:
            return False
        p_max, total, count = np.float64(largest[0]), np.int64(0), np.int64(0)
        for k in range(rows.shape[1]):
            p = np.float64(rows[i, k])
            weight = max(np.int64(np.rint(p / p_max * scale)), np.int64(p > 0))
            weights[r, k] = weight
            total += weight if weight > level else 0
            count += weight > level
        kept[r, TOTAL], kept[r, COUNT], kept[r, KNOWN] = total, count, 0
    return True


@kernel
def maximum_beside_negative_zeros(rows: Any, bits: Any, i: int, most: Any) -> None:
    """Writes the bits of the maximum of a row, 0 where it holds anything else that is not a finite number >= 0."""
    most[0] = 0
    for k in range(rows.shape[1]):
        if not 0 <= rows[i, k] < np.inf:
            most[0] = 0
            break
        if rows[i, k] > 0:
            most[0] = max(most[0], bits[i, k])


@kernel
def mark(weights: Any, level: int, r: int, size: int, mask: Any, i: int) -> None:
    """The classes above the level, then the first ones at it, `size` together."""
    count = np.int64(0)
    for k in range(mask.shape[1]):
        mask[i, k] = weights[r, k] >= level
        count += weights[r, k] >= level
    k = mask.shape[1]
    while count > size:
        k -= 1
        if weights[r, k] == level:
            mask[i, k] = False
            count -= 1


@kernel
def most_accurate(rows: Any, bits: Any, scale: float, ratio: float, mask: Any) -> bool:
    """As `selection.most_accurate`; False where a row is bad."""
    n, num_classes = rows.shape
    weights = np.empty((max(1, CELLS // num_classes), num_classes), np.int64)
    kept, start = np.empty((len(weights), 4), np.int64), np.int64(scale / ratio)
    for first in range(0, n, len(weights)):
        if not weigh(rows, bits, first, scale, start, weights, kept):
            return False
        for r in range(min(len(weights), n - first)):
            level, total, count, before = start, kept[r, TOTAL], kept[r, COUNT], num_classes + 1
            while 1 < count < before:
                before, level = count, np.int64(total / (ratio + (count - 1)))
                total, count = np.int64(0), np.int64(0)
                for k in range(num_classes):
                    total += weights[r, k] if weights[r, k] > level else 0
                    count += weights[r, k] > level
            for k in range(num_classes):
                mask[first + r, k] = weights[r, k] > level
            if count == 0:
                mark(weights, np.int64(scale), r, 1, mask, first + r)
    return True


@kernel
def most_informative(
    rows: Any, bits: Any, scale: float, size: int, other: bool, table: Any, mask: Any
) -> bool:
    """As `selection.most_informative`, or `selection.largest_classes` where a size > 0 is given; False where a row is bad."""
    n, num_classes = rows.shape
    weights = np.empty((max(1, CELLS // num_classes), num_classes), np.int64)
    kept = np.empty((len(weights), 4), np.int64)
    ordered = np.zeros((len(weights), num_classes + 2 * LANES), np.int64)
    for first in range(0, n, len(weights)):
        count = min(len(weights), n - first)
        if not weigh(rows, bits, first, scale, 0, weights, kept):
            return False
        put_in_order(weights, 0, count, scale, ordered, kept)
        if size:
            kept[:, SIZE] = size
        elif other:
            sizes_with_other(weights, count, scale, ordered, kept, table)
        else:
            sizes_uniform_outside(weights, count, scale, ordered, kept, table)
        for r in range(count):
            size_r = kept[r, SIZE]
            while kept[r, KNOWN] < min(size_r, kept[r, COUNT]):
                put_in_order(weights, r, r + 1, scale, ordered, kept)
            level = ordered[r, size_r - 1] if size_r <= kept[r, COUNT] else np.int64(0)
            mark(weights, level, r, size_r, mask, first + r)
    return True


@kernel
def put_in_order(weights: Any, start: int, stop: int, scale: float, ordered: Any, kept: Any) -> None:
    """Puts the next largest weights of some rows in order: up to BRACKET of each, or a few and all that equal the last of them."""
    num_classes, guess = weights.shape[1], np.int64(scale) // 2
    found = np.empty(num_classes + 1, np.int64)
    for r in range(start, stop):
        known = kept[r, KNOWN]
        low, high = np.int64(0), ordered[r, known - 1] if known else np.int64(scale) + 1
        top, level = high, min(guess, high // 2)
        if kept[r, COUNT] - known <= BRACKET:
            top = level = low
        while level < top:  # more than BRACKET weights are between low and high, too few between top and high
            count = np.int64(0)
            for k in range(num_classes):
                count += np.uint64(weights[r, k] - level - 1) < np.uint64(high - level - 1)
            if count > BRACKET:
                low = level
            elif count < BRACKET // 3:
                top = level
            else:
                guess = level
                break
            level = low + (top - low) // 2 if top - low > 1 else top
        count = np.int64(0)
        for k in range(num_classes):
            found[count] = weights[r, k]
            count += np.uint64(weights[r, k] - level - 1) < np.uint64(high - level - 1)
        append_in_order(found, count, ordered, r, known)
        known += count
        for k in range(num_classes if 0 < level == top else 0):
            if weights[r, k] == top:
                ordered[r, known] = top
                known += 1
        kept[r, KNOWN] = known


@kernel
def append_in_order(found: Any, count: int, ordered: Any, r: int, known: int) -> None:
    """Appends at most BRACKET weights downwards: the place of each is the number of larger ones, made different by their index."""
    for j in range(count):
        found[j] = found[j] * BRACKET + j
    for j in range(count):
        place = np.int64(known)
        for other in range(count):
            place += found[other] > found[j]
        ordered[r, place] = found[j] // BRACKET


@kernel
def sizes_with_other(weights: Any, count: int, scale: float, ordered: Any, kept: Any, table: Any) -> None:
    """As `selection._informative_sizes_with_other`, from the largest class on, until none of the rest can do better."""
    x, heats = np.ones(2 * LANES), np.zeros(2 * LANES, np.int64)
    for r in range(count):
        total, part, best, size = kept[r, TOTAL], 1 / kept[r, TOTAL], NOT_ALLOWED, 1
        inside, heat, rest, k, start, stop = np.int64(0), np.int64(0), np.inf, 0, 0, 0
        share = table.odds / total
        while k < kept[r, COUNT] and rest > best / NAT - table.slack:
            if k == kept[r, KNOWN]:
                put_in_order(weights, r, r + 1, scale, ordered, kept)
            if k == stop:
                start, stop, beyond = k, min(k + LANES, kept[r, KNOWN]), total - inside
                for j in range(LANES):
                    beyond -= ordered[r, k + j]
                    x[j], x[LANES + j] = 1 + ordered[r, k + j] * share, 1 + beyond * share
                take_heats(x, table.heat, heats)
            p, inside, heat = ordered[r, k] * part, inside + ordered[r, k], heat + heats[k - start]
            outside, k = heats[k - start + LANES], k + 1
            units = np.int64(np.rint((table.all_heat - heat - outside) * table.gain[k]))
            if k > 1 and units > best:
                best, size = units, k
            rest = table.most_beyond[k + 1]
            for line in range(2):
                columns = table.base[line, k + 1], table.slope[line, k + 1], table.turn[line, k + 1]
                rest = min(
                    rest, information_beyond(inside * part, p, k, columns, table.slope_times_size[line])
                )
        kept[r, SIZE] = size


@kernel
def take_heats(x: Any, heat: float, heats: Any) -> None:
    for j in range(len(x)):  # not unrolled, so that several are taken at once
        heats[j] = heat_units(x[j], heat)


@kernel
def sizes_uniform_outside(
    weights: Any, count: int, scale: float, ordered: Any, kept: Any, table: Any
) -> None:
    """As `selection._informative_sizes_uniform_outside`: of the next class and the best bound, what promises more comes first."""
    bound, inside = np.empty(weights.shape[1] + 1), np.empty(weights.shape[1] + 1, np.int64)
    parts = np.empty(ordered.shape[1], np.int64)
    for r in range(count):
        total, share, best, size = kept[r, TOTAL], 1 / kept[r, TOTAL], NOT_ALLOWED, 1
        squares, rest, k, leader = 0.0, np.inf, 0, 1
        bound[1], inside[0] = -np.inf, 0
        while True:
            enough = best / NAT - table.slack
            if k < kept[r, COUNT] and rest > enough and rest >= bound[leader]:
                if k == kept[r, KNOWN]:
                    put_in_order(weights, r, r + 1, scale, ordered, kept)
                p, inside[k + 1] = ordered[r, k] * share, inside[k] + ordered[r, k]
                squares, k = squares + p * p, k + 1
                mass, bend, steep = inside[k] * share, table.bend[k], table.steep[k]
                if k > 1:
                    bound[k] = information_bound(
                        scale * share, mass, squares, table.most[k], bend, steep, table.inverse[k]
                    )
                    leader = k if bound[k] > bound[leader] else leader
                columns = 0.0, table.slope[0, k + 1], table.turn[0, k + 1]
                rest = information_beyond(mass, p, k, columns, table.slope_times_size[0])
                rest = min(rest, table.most_beyond[k + 1])
            elif bound[leader] > enough:
                mass, outside = inside[leader] * share, (total - inside[leader]) * share
                even = mass * table.lie[leader] + outside * table.inverse[leader]
                units = output_entropy(ordered, r, leader, table.lift[leader] * share, even, parts)
                units -= answer_units(mass, outside, table.entropy[leader], table.log[leader])
                if units > best or (units == best and leader < size):
                    best, size = units, leader
                bound[leader] = -np.inf
                for j in range(2, k + 1):
                    leader = j if bound[j] > bound[leader] else leader
            else:
                break
        kept[r, SIZE] = size


@kernel
def output_entropy(ordered: Any, r: int, k: int, lift: float, even: float, parts: Any) -> Any:
    """Entropy of the output on the k most likely classes of a row, in units."""
    units = np.int64(0)
    for j in range(
        (k + LANES - 1) // LANES * LANES
    ):  # whole groups, so that several logarithms are taken at once
        parts[j] = entropy_units(ordered[r, j] * lift + even)
    for j in range(k):
        units += parts[j]
    return units


@kernel
def information_beyond(
    mass: float, p: float, k: int, columns: tuple[float, float, float], slope_times_size: float
) -> float:
    """An upper bound on the information of more than k classes, in nats, if k hold that mass and the last of them p.

    A size k' > k holds at most mass + (k' - k) p; that times the slope of its line falls with k' if mass - k p is large enough.
    """
    base, slope, turn = columns
    fixed = max(mass - k * p, 0.0)
    if fixed >= p * turn:
        return base + (fixed + (k + 1) * p) * slope
    return base + fixed * slope + p * slope_times_size
