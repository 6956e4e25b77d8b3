"""The exact answer for small compositions: trinomials as fractions, exponentials with 60 digits.

A law is written with weights `1 : middle : e^-epsilon`. The e-th power of `a = e^-epsilon` is kept as an exponent, so
that a probability is an exact fraction per exponent until the last step.
"""

from __future__ import annotations

from itertools import product

import mpmath

from accounting.numerics.three_point import Group

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


def tail(x):
    """The upper tail of the standard normal law."""
    return mpmath.erfc(x / mpmath.sqrt(2)) / 2


def gaussian_delta(mu, epsilon):
    """Delta of two unit normals a distance mu apart; Balle and Wang 2018."""
    mu, epsilon = mpmath.mpf(mu), mpmath.mpf(epsilon)
    return tail(epsilon / mu - mu / 2) - mpmath.exp(epsilon) * tail(epsilon / mu + mu / 2)


def subsampled_delta(noise: float, share: float, epsilon, *, removal: bool):
    """Delta of one step: the two densities are compared where their ratio passes e^epsilon."""
    m, q, large = 1 / mpmath.mpf(noise), mpmath.mpf(share), mpmath.exp(mpmath.mpf(epsilon))
    level = large if removal else 1 / large
    if level <= 1 - q:
        return 1 - large if removal else mpmath.mpf(0)
    at = (mpmath.log((level - 1 + q) / q) + m * m / 2) / m
    if removal:
        return (1 - q) * tail(at) + q * tail(at - m) - large * tail(at)
    return tail(-at) - large * ((1 - q) * tail(-at) + q * tail(m - at))


def subsampled_twice_delta(noise: float, share: float, epsilon, *, removal: bool):
    """Delta of two steps: that of one, averaged over the loss of the other."""
    m, q = 1 / mpmath.mpf(noise), mpmath.mpf(share)

    def average(y):
        loss = mpmath.log(1 - q + q * mpmath.exp(m * y - m * m / 2))
        weight = mpmath.npdf(y) * (mpmath.exp(loss) if removal else 1)
        rest = mpmath.mpf(epsilon) - (loss if removal else -loss)
        return weight * subsampled_delta(noise, share, rest, removal=removal)

    return mpmath.quad(average, [-14, -9, -6, -3, 0, 3, 6, 9, 14, 16 + m])


def laplace_delta(noise: float, epsilon):
    """Delta of one use of Laplace noise, `1 - e^((epsilon - 1/noise) / 2)` for epsilon in [-1/noise, 1/noise]."""
    epsilon, largest = mpmath.mpf(epsilon), 1 / mpmath.mpf(noise)
    if epsilon < -largest:
        return -mpmath.expm1(epsilon)
    return max(mpmath.mpf(0), -mpmath.expm1((epsilon - largest) / 2))


def laplace_twice_delta(noise: float, epsilon):
    """Delta of two uses: that of one, averaged over the loss of the other, which has two atoms and a density."""
    epsilon, r = mpmath.mpf(epsilon), 1 / mpmath.mpf(noise)

    def average(loss):
        return mpmath.exp((loss - r) / 2) / 4 * laplace_delta(noise, epsilon - loss)

    bends = {-r, r, min(r, max(-r, epsilon - r)), min(r, max(-r, epsilon + r))}
    atoms = laplace_delta(noise, epsilon - r) / 2 + mpmath.exp(-r) / 2 * laplace_delta(noise, epsilon + r)
    return atoms + mpmath.quad(average, sorted(bends))
