"""Compiled selection for few classes: many rows side by side, the same steps for all of them, arrays (K, ROWS) with a class in each line.

Loops over rows inside loops over classes turn into vector instructions; a loop meets few arrays, each allocated on its own, so that the compiler can tell them apart.
"""

from typing import Any

import numpy as np

from labeldp.mechanisms.kernels_many_classes import (
    NAT,
    NOT_ALLOWED,
    answer_units,
    entropy_units,
    heat_units,
    information_bound,
    kernel,
)

ROWS = 128


@kernel
def weigh(rows: Any, first: int, scale: float, p: Any, weights: Any) -> bool:
    """Writes the weights of ROWS rows, the last one again where there are fewer; False where a row is bad."""
    n, num_classes = rows.shape
    largest, good = np.zeros(ROWS), np.ones(ROWS, np.int64)
    for r in range(ROWS):
        for k in range(num_classes):
            p[k, r] = rows[min(first + r, n - 1), k]
    for k in range(num_classes):
        for r in range(ROWS):
            largest[r] = p[k, r] if p[k, r] > largest[r] else largest[r]
            good[r] &= p[k, r] >= 0
    for r in range(ROWS):
        if good[r] == 0 or not 0 < largest[r] < np.inf:
            return False
    for k in range(num_classes):
        for r in range(ROWS):
            weights[k, r] = max(np.int64(np.rint(p[k, r] / largest[r] * scale)), np.int64(p[k, r] > 0))
    return True


@kernel
def most_accurate(rows: Any, scale: float, ratio: float, mask: Any) -> bool:
    """As `selection.most_accurate`, all rows until the last of them stands still; False where a row is bad."""
    n, num_classes = rows.shape
    p, weights = np.empty((num_classes, ROWS)), np.empty((num_classes, ROWS), np.int64)
    level, total, count = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    before, size = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for first in range(0, n, ROWS):
        if not weigh(rows, first, scale, p, weights):
            return False
        level[:], before[:], going = np.int64(scale / ratio), num_classes + 1, True
        while going:
            total[:], count[:], going = 0, 0, False
            for k in range(num_classes):
                for r in range(ROWS):
                    total[r] += weights[k, r] if weights[k, r] > level[r] else 0
                    count[r] += weights[k, r] > level[r]
            for r in range(ROWS):
                climbs = 1 < count[r] < before[r]
                level[r] = np.int64(total[r] / (ratio + (count[r] - 1))) if climbs else level[r]
                before[r] = count[r]
                going |= climbs
        for r in range(ROWS):
            level[r] = np.int64(scale) if count[r] == 0 else level[r] + 1
            size[r] = max(count[r], 1)
        mark(weights, level, size, mask, first)
    return True


@kernel
def mark(weights: Any, level: Any, size: Any, mask: Any, first: int) -> None:
    """The classes above the level of their row, then the first ones at it, `size` together."""
    num_classes = len(weights)
    for r in range(min(ROWS, len(mask) - first)):
        count = np.int64(0)
        for k in range(num_classes):
            mask[first + r, k] = weights[k, r] >= level[r]
            count += weights[k, r] >= level[r]
        k = num_classes
        while count > size[r]:
            k -= 1
            if weights[k, r] == level[r]:
                mask[first + r, k] = False
                count -= 1


@kernel
def most_informative(rows: Any, scale: float, size: int, other: bool, table: Any, mask: Any) -> bool:
    """As `selection.most_informative`, or `selection.largest_classes` where a size > 0 is given; False where a row is bad."""
    n, num_classes = rows.shape
    p, weights = np.empty((num_classes, ROWS)), np.empty((num_classes, ROWS), np.int64)
    ordered, inside = np.empty((num_classes, ROWS), np.int64), np.zeros((num_classes + 1, ROWS), np.int64)
    best, sizes, level = np.empty(ROWS, np.int64), np.empty(ROWS, np.int64), np.empty(ROWS, np.int64)
    for first in range(0, n, ROWS):
        if not weigh(rows, first, scale, p, weights):
            return False
        ordered[:] = weights
        for last in range(num_classes - 1, 0, -1):  # bubble sort: the same exchanges for all rows
            for k in range(last):
                for r in range(ROWS):
                    one, two = ordered[k, r], ordered[k + 1, r]
                    ordered[k, r], ordered[k + 1, r] = max(one, two), min(one, two)
        for k in range(num_classes):
            for r in range(ROWS):
                inside[k + 1, r] = inside[k, r] + ordered[k, r]
        best[:], sizes[:] = NOT_ALLOWED, size if size else 1
        if not size and other:
            try_sizes_with_other(ordered, inside, best, sizes, table)
        elif not size:
            try_sizes_uniform_outside(ordered, inside, best, sizes, table)
        for r in range(ROWS):
            level[r] = ordered[sizes[r] - 1, r]
        mark(weights, level, sizes, mask, first)
    return True


@kernel
def keep_better(units: Any, ordered: Any, k: int, best: Any, sizes: Any) -> None:
    for r in range(ROWS):
        better = (units[r] > best[r]) & (ordered[k - 1, r] > 0)
        best[r] = units[r] if better else best[r]
        sizes[r] = k if better else sizes[r]


@kernel
def try_sizes_with_other(ordered: Any, inside: Any, best: Any, sizes: Any, table: Any) -> None:
    """As `selection._informative_sizes_with_other`."""
    num_classes, share = len(ordered), table.odds / inside[len(ordered)]
    heat, units = np.zeros(ROWS, np.int64), np.empty(ROWS, np.int64)
    for k in range(1, num_classes + 1):
        add_heats(ordered, k - 1, share, table.heat, heat)
        for r in range(ROWS):
            units[r] = heat_units(1 + (inside[num_classes, r] - inside[k, r]) * share[r], table.heat)
        for r in range(ROWS):
            units[r] = np.int64(np.rint((table.all_heat - heat[r] - units[r]) * table.gain[k]))
        if k > 1:
            keep_better(units, ordered, k, best, sizes)


@kernel
def add_heats(weights: Any, k: int, share: Any, heat: float, heats: Any) -> None:
    for r in range(ROWS):
        heats[r] += heat_units(1 + weights[k, r] * share[r], heat)


@kernel
def try_sizes_uniform_outside(ordered: Any, inside: Any, best: Any, sizes: Any, table: Any) -> None:
    """As `selection._informative_sizes_uniform_outside`: a size is computed for all rows, or for none if no bound promises more."""
    num_classes = len(ordered)
    share, even, units = 1 / inside[num_classes], np.empty(ROWS), np.empty(ROWS, np.int64)
    squares = (ordered[0] * share) ** 2
    for k in range(2, num_classes + 1):
        if not promises_more(ordered, inside, share, squares, best, k, table):
            continue
        lift = table.lift[k] * share
        for r in range(ROWS):
            mass, outside = inside[k, r] * share[r], (inside[num_classes, r] - inside[k, r]) * share[r]
            even[r] = mass * table.lie[k] + outside * table.inverse[k]
            units[r] = -answer_units(mass, outside, table.entropy[k], table.log[k])
        for j in range(k):
            add_entropies(ordered, j, lift, even, units)
        keep_better(units, ordered, k, best, sizes)


@kernel
def add_entropies(weights: Any, k: int, lift: Any, even: Any, units: Any) -> None:
    for r in range(ROWS):
        units[r] += entropy_units(weights[k, r] * lift[r] + even[r])


@kernel
def promises_more(ordered: Any, inside: Any, share: Any, squares: Any, best: Any, k: int, table: Any) -> bool:
    """Whether k classes may have more information than the best size so far in any row."""
    most, bend, steep, inverse = table.most[k], table.bend[k], table.steep[k], table.inverse[k]
    promising = 0
    for r in range(ROWS):
        squares[r] += (ordered[k - 1, r] * share[r]) ** 2
    for r in range(ROWS):
        largest, mass = ordered[0, r] * share[r], inside[k, r] * share[r]
        bound = information_bound(largest, mass, squares[r], most, bend, steep, inverse)
        promising |= bound > best[r] / NAT - table.slack
    return promising != 0
