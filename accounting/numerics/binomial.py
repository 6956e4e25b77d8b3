"""Windows of binomial laws, and means of positive parts under them, from positive terms only."""

from __future__ import annotations

import math

import numpy as np

from accounting.numerics.trinomial import Floats


def mean_below(point: Floats, start: Floats, law: Floats) -> Floats:
    """Returns `E[(point - X)_+]` row by row, for X on start, start + 1, ... with the law of that row.

    The point is split into whole and rest before the start is taken off, so that no rounding enters.
    """
    below = np.cumsum(law, axis=1)
    areas = np.zeros_like(below)
    np.cumsum(below[:, :-1], axis=1, out=areas[:, 1:])
    cell = np.clip(np.floor(point) - start, 0, law.shape[1] - 1)
    beyond = point - (cell + start)
    at = cell.astype(np.int64)
    area = np.take_along_axis(areas, at, axis=1) + beyond * np.take_along_axis(below, at, axis=1)
    return np.where(beyond > 0, area, 0.0)


def half_width(trials: float, odds: float, bits: int) -> int:
    """Returns how far from its mode a binomial law keeps all but `2^-bits` on each side.

    Source: Bernstein's inequality; 3 more for the distance of mode and mean, and for rounding.
    """
    nats, share = bits * math.log(2), odds / (1 + odds)
    return math.ceil(nats / 3 + math.sqrt(nats * nats / 9 + 2 * nats * trials * share / (1 + odds))) + 3


def windows(trials: Floats, odds: float, bits: int) -> tuple[Floats, Floats]:
    """Returns `(start, law)`: for each number of trials a window of Bin(trials, odds / (1 + odds)), of sum 1.

    Entry j of a row is the probability of `start + j`; those outside 0 ... trials are 0.

    Error: each entry is the mode times at most w ratios of 12 roundings (10 of them those of odds), divided
    by a sum: 26 w + 4 in all.
    """
    half = half_width(float(np.max(trials)), odds, bits)
    mode = np.minimum(np.floor((trials + 1) * (odds / (1 + odds))), trials)[:, None]
    away = np.arange(half)
    up = np.maximum(trials[:, None] - mode - away, 0.0) / (mode + away + 1) * odds
    down = np.maximum(mode - away, 0.0) / np.maximum(trials[:, None] - mode + away + 1, 1.0) / odds
    law = np.concatenate(
        [np.cumprod(down, axis=1)[:, ::-1], np.ones_like(mode), np.cumprod(up, axis=1)], axis=1
    )
    return mode[:, 0] - half, law / np.sum(law, axis=1, keepdims=True)
