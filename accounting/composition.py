"""The unit rules: what one item lost, and what one record lost that may have moved every answer.

This is the one place where nesting is interpreted, and `Composed.times` the one place where repetition is
applied.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction
from functools import reduce
from typing import Literal, TypeAlias, assert_never

from accounting.events import (
    ApproximateDP,
    Disjoint,
    Event,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PureDP,
    RandomizedResponse,
    Repeated,
    Seeded,
    Sequence,
    SubsetSelection,
)
from accounting.loss import PrivacyLoss
from accounting.numerics.noises import dominating as noises_dominating
from accounting.numerics.rounding import float_up
from accounting.numerics.subsampled import SubsampledUses
from accounting.numerics.three_point import Group, dominating

Split: TypeAlias = Literal["one part", "all parts"]
"""How much of a Disjoint one protected thing may have touched: one part (label, answer), or all (record)."""


@dataclass(frozen=True)
class Composed:
    """A privacy loss, and certificates added to it.

    Attributes:
        loss: of everything but certificates with a delta.
        epsilon, delta: sums over certificates, exact.
    """

    loss: PrivacyLoss = field(default_factory=PrivacyLoss)
    epsilon: Fraction = Fraction(0)
    delta: Fraction = Fraction(0)

    def then(self, other: Composed) -> Composed:
        """Returns both, on the same thing."""
        return Composed(self.loss.compose(other.loss), self.epsilon + other.epsilon, self.delta + other.delta)

    def times(self, count: int) -> Composed:
        """Returns `count` repetitions on the same thing."""
        return Composed(self.loss.self_compose(count), self.epsilon * count, self.delta * count)

    def either(self, other: Composed) -> Composed:
        """Returns what loses at least as much as either, also when earlier outputs chose between them.

        Uses are paired from the largest epsilon down, and each pair is replaced by one use that dominates
        both.
        """
        noises = noises_dominating(self.loss.noises, other.loss.noises)
        loss = PrivacyLoss(tuple(_pairwise(self.loss.groups, other.loss.groups)), noises)
        return Composed(loss, max(self.epsilon, other.epsilon), max(self.delta, other.delta))

    @property
    def covers_replacement(self) -> bool:
        """Whether it speaks of a replaced value too; subsampled noise speaks of one added or removed only."""
        return not any(isinstance(noise, SubsampledUses) for noise in self.loss.noises)

    def epsilon_at(self, delta: float) -> float:
        """Returns an epsilon that holds at `delta`; infinity where there is none, see `obstacle`.

        Error: on the upper side.
        """
        if self.delta > Fraction(delta):
            return math.inf
        left = -float_up(self.delta - Fraction(delta))
        known = float(self.loss.epsilon(left).upper)
        return known if math.isinf(known) else float_up(Fraction(known) + self.epsilon)

    def obstacle(self, delta: float) -> str:
        """Returns why no epsilon holds at `delta`, and what to change."""
        if self.delta > Fraction(delta):
            return (
                "the certificates it rests on have a delta of their own: "
                f"ask for delta >= {float_up(self.delta)!r}"
            )
        if self.delta == Fraction(delta) and self.loss.noises:
            return (
                "Gaussian noise promises no epsilon without a delta: "
                f"ask for delta > {float_up(self.delta)!r}"
            )
        return "the epsilons add up to more than a number can hold: use smaller ones, or fewer"


def compose(event: Event, *, disjoint: Split) -> Composed:
    """Returns what one protected thing lost in an event.

    Args:
        event: what happened.
        disjoint: "one part" for the units label and answer: sum over Sequence, maximum over Disjoint. "all
            parts" for the unit record: Disjoint counts as Sequence, each part as often as it has items.

    Privacy: an adaptive Disjoint is composed by the worst alphabets allowed, in every unit: each item counts as
    binary randomized response of its epsilon, those realised at alphabet 1 included. What came out is no basis for a
    guarantee that has to hold beforehand.
    """
    match event:
        case RandomizedResponse() | SubsetSelection() | PureDP():
            return Composed(event.privacy_loss())
        case Laplace() | Gaussian() | PoissonSubsampledGaussian():
            return Composed(event.privacy_loss())
        case ApproximateDP():
            return Composed(epsilon=Fraction(event.epsilon), delta=Fraction(event.delta))
        case Sequence():
            return reduce(
                Composed.then, (compose(part, disjoint=disjoint) for part in event.events), Composed()
            )
        case Repeated():
            return compose(event.event, disjoint=disjoint).times(event.count)
        case Seeded():
            return compose(event.event, disjoint=disjoint)
        case Disjoint():
            return _split(event, disjoint)
        case _:
            assert_never(event)


def is_seeded(event: Event) -> bool:
    """Says whether any noise in an event came from a reproducible source."""
    match event:
        case RandomizedResponse() | SubsetSelection() | PureDP() | ApproximateDP():
            return False
        case Laplace() | Gaussian() | PoissonSubsampledGaussian():
            return False
        case Seeded():
            return True
        case Sequence() | Disjoint():
            return any(is_seeded(part) for part in event.events)
        case Repeated():
            return is_seeded(event.event)
        case _:
            assert_never(event)


def _split(event: Disjoint, disjoint: Split) -> Composed:
    parts = event.events
    if event.adaptive:
        parts = tuple(_worst_alphabet(part) for part in parts)
    match disjoint:
        case "one part":
            return reduce(Composed.either, (compose(part, disjoint=disjoint) for part in parts), Composed())
        case "all parts":
            every = tuple(Repeated(part, count) for part, count in zip(parts, event.counts, strict=True))
            return compose(Sequence(every), disjoint=disjoint)
        case _:
            assert_never(disjoint)


def _worst_alphabet(event: Event) -> Event:
    """Returns the event with every alphabet, constants included, replaced by the one that loses most, 2."""
    match event:
        case RandomizedResponse() | SubsetSelection():
            return PureDP(event.epsilon)
        case PureDP() | ApproximateDP() | Laplace() | Gaussian() | PoissonSubsampledGaussian():
            return event
        case Sequence():
            return Sequence([_worst_alphabet(part) for part in event.events])
        case Disjoint():
            worst = [_worst_alphabet(part) for part in event.events]
            return Disjoint(worst, event.counts, adaptive=event.adaptive)
        case Repeated():
            return Repeated(_worst_alphabet(event.event), event.count)
        case Seeded():
            return Seeded(_worst_alphabet(event.event))
        case _:
            assert_never(event)


def _pairwise(first: tuple[Group, ...], second: tuple[Group, ...]) -> list[Group]:
    """Returns groups that dominate both compositions, use by use, the largest epsilons together."""
    left, right = sorted(first, reverse=True), sorted(second, reverse=True)
    both: list[Group] = []
    while left and right:
        count = min(left[0].count, right[0].count)
        worst = dominating(left[0], right[0])
        both.append(Group(worst.epsilon, worst.middle, count))
        left, right = _without(left, count), _without(right, count)
    return [*both, *left, *right]


def _without(groups: list[Group], count: int) -> list[Group]:
    """Returns the groups less `count` uses of the first, which has at least as many."""
    first, rest = groups[0], groups[1:]
    return rest if first.count == count else [Group(first.epsilon, first.middle, first.count - count), *rest]
