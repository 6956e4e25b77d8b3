"""Uses of noise mechanisms, counted together, and which dominate which."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from typing import TypeAlias, TypeVar

from accounting.numerics.gaussian import GaussianUses
from accounting.numerics.laplace import LaplaceUses
from accounting.numerics.subsampled import SubsampledUses

Noise: TypeAlias = GaussianUses | LaplaceUses | SubsampledUses
Counted = TypeVar("Counted", LaplaceUses, SubsampledUses)


def merged(noises: tuple[Noise, ...]) -> tuple[Noise, ...]:
    """Returns the uses sorted, equal ones counted together."""
    counts: dict[Noise, int] = {}
    for noise in noises:
        once: Noise = replace(noise, count=1)
        counts[once] = counts.get(once, 0) + noise.count
    return tuple(replace(once, count=counts[once]) for once in sorted(counts, key=_order))


def dominating(first: tuple[Noise, ...], second: tuple[Noise, ...]) -> tuple[Noise, ...]:
    """Returns uses that lose at least as much as either composition, kind by kind.

    Gaussian: the larger sum of `1 / noise^2`, which decides the whole curve. Laplace: less noise dominates,
    because a Laplace variable of a larger scale is one of a smaller scale and independent noise. Subsampled:
    less noise (again, add noise to the output) and a larger sampling probability (forget the record's sample
    with some probability) dominate; uses are paired in order, and those left over stay.
    """
    gaussians = [tuple(n for n in side if isinstance(n, GaussianUses)) for side in (first, second)]
    laplaces = [[n for n in side if isinstance(n, LaplaceUses)] for side in (first, second)]
    sampled = [[n for n in side if isinstance(n, SubsampledUses)] for side in (first, second)]
    return merged(
        (
            *max(gaussians, key=_information),
            *_paired(laplaces[0], laplaces[1], _less_noise),
            *_paired(sampled[0], sampled[1], _less_noise_more_often),
        )
    )


def _order(noise: Noise) -> tuple[str, tuple[float, ...]]:
    return type(noise).__name__, tuple(vars(noise).values())


def _information(uses: tuple[GaussianUses, ...]) -> Fraction:
    return sum((use.count / Fraction(use.noise_multiplier) ** 2 for use in uses), Fraction(0))


def _less_noise(first: LaplaceUses, second: LaplaceUses) -> LaplaceUses:
    return LaplaceUses(min(first.noise_multiplier, second.noise_multiplier), 1)


def _less_noise_more_often(first: SubsampledUses, second: SubsampledUses) -> SubsampledUses:
    noise = min(first.noise_multiplier, second.noise_multiplier)
    return SubsampledUses(noise, max(first.sampling_probability, second.sampling_probability), 1)


def _paired(
    first: list[Counted], second: list[Counted], worst: Callable[[Counted, Counted], Counted]
) -> list[Counted]:
    """Returns the worst of each pair, the least noise first, and what has no partner."""
    left, right = sorted(first), sorted(second)
    both: list[Counted] = []
    while left and right:
        count = min(left[0].count, right[0].count)
        both.append(replace(worst(left[0], right[0]), count=count))
        left, right = _without(left, count), _without(right, count)
    return [*both, *left, *right]


def _without(uses: list[Counted], count: int) -> list[Counted]:
    first, rest = uses[0], uses[1:]
    return rest if first.count == count else [replace(first, count=first.count - count), *rest]
