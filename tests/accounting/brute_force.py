"""The exact answer for small compositions: trinomials as fractions, exponentials with 60 digits.

A law is written with weights `1 : middle : e^-epsilon`. The e-th power of `a = e^-epsilon` is kept as an exponent, so
that a probability is an exact fraction per exponent until the last step.
"""

from __future__ import annotations

from itertools import product

import mpmath

from accounting.three_point import Group

mpmath.mp.dps = 60


def exact_middle(kind: str, epsilon: float, num_classes: int, subset_size: int = 1):
    """The ratio P[loss 0] / P[loss +epsilon], from the definition of the mechanism and not from the package."""
    large = mpmath.exp(mpmath.mpf(epsilon))
    if kind == "response":
        total = large + num_classes - 1
        return ((num_classes - 2) / total) / (large / total)
    inside = subset_size * large / (subset_size * large + num_classes - subset_size)
    first_only = inside * (num_classes - subset_size) / (num_classes - 1)
    both = inside * (subset_size - 1) / (num_classes - 1)
    neither = (1 - inside) * (num_classes - subset_size - 1) / (num_classes - 1)
    return (both + neither) / first_only


def power(law: dict, other: dict) -> dict:
    """The law of a sum of two independent losses, keyed by the multiplicity of each epsilon."""
    out: dict = {}
    for (left, p), (right, q) in product(law.items(), other.items()):
        key = tuple(a + b for a, b in zip(left, right, strict=True))
        out[key] = out.get(key, 0) + p * q
    return out


def law_of(groups: list[tuple[float, object, int]]) -> dict:
    """The law of a composition of groups (epsilon, middle, count), keyed by loss in 60 digits."""
    law = {tuple(0 for _ in groups): mpmath.mpf(1)}
    for place, (epsilon, middle, count) in enumerate(groups):
        down = mpmath.exp(-mpmath.mpf(epsilon))
        weights = {1: mpmath.mpf(1), 0: mpmath.mpf(middle), -1: down}
        total = sum(weights.values())
        one = {
            tuple(sign if at == place else 0 for at in range(len(groups))): weight / total
            for sign, weight in weights.items()
        }
        for _ in range(count):
            law = power(law, one)
    steps = [mpmath.mpf(epsilon) for epsilon, _, _ in groups]
    out: dict = {}
    for key, p in law.items():
        loss = sum((times * step for times, step in zip(key, steps, strict=True)), mpmath.mpf(0))
        out[loss] = out.get(loss, 0) + p
    return out


def exact_delta(law: dict, epsilon):
    """sum_o (P(o) - e^epsilon Q(o))_+ over the values of the loss."""
    return sum(
        (p * (1 - mpmath.exp(epsilon - loss)) for loss, p in law.items() if loss > epsilon), mpmath.mpf(0)
    )


def exact_epsilon(law: dict, delta):
    """The least epsilon >= 0 with delta(epsilon) <= delta, by bisection to 50 digits."""
    low, high = mpmath.mpf(0), max(max(law), mpmath.mpf(0))
    if exact_delta(law, low) <= delta:
        return low
    for _ in range(170):
        middle = (low + high) / 2
        low, high = (low, middle) if exact_delta(law, middle) <= delta else (middle, high)
    return high


def of(groups: tuple[Group, ...]) -> list[tuple[float, object, int]]:
    return [(group.epsilon, group.middle, group.count) for group in groups]
