"""What an event costs and what a budget has left, in numbers that a ledger can add without losing anything.

Epsilons are whole numbers of 1e-12 and deltas of 1e-18, rounded up. Two statements are kept about everything charged to one budget,
and the smaller one counts: the sum of epsilons; and, where the budget has a delta, the sum R of Rényi divergences at one order,
fixed with the budget, plus the cost c of turning it into an epsilon at half of delta (`accounting.filter`). The other half pays the
deltas that events carry themselves. Both statements hold at whatever moment the charges stop, also if each charge was chosen after
seeing everything released before: where a certificate (epsilon', delta') answers, its loss is at most epsilon' unless something of
probability delta' happens, and that adds epsilon' to both statements and delta' to the budget's other half.
"""

import math
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

import accounting
from accounting import arguments
from accounting.composition import Composed, compose, is_seeded
from accounting.events import Disjoint, Event, Repeated, Sequence
from accounting.filter import Filter, Odometer
from accounting.numerics.rounding import float_up

PICO = 10**12
ATTO = 10**18
LARGEST = 10**6
"""Epsilons above this, or none at all, are infinite here."""


@dataclass(frozen=True)
class Cost:
    """What one thing lost: of one event, or of all that were charged to it.

    Attributes:
        pico_epsilon: the epsilon at delta 0 of all but the certificates, and theirs; None where it is infinite.
        atto_delta: the deltas of certificates.
        renyi: the divergence at the budget's order and the epsilons of certificates; 0 where the budget has no delta.
    """

    pico_epsilon: int | None = 0
    atto_delta: int = 0
    renyi: float = 0.0

    def plus(self, other: "Cost") -> "Cost":
        """Both, on the same thing; rounded up."""
        pico = None
        if self.pico_epsilon is not None and other.pico_epsilon is not None:
            pico = self.pico_epsilon + other.pico_epsilon
        finite = pico is not None and pico <= LARGEST * PICO
        renyi = math.inf
        if math.isfinite(self.renyi) and math.isfinite(other.renyi):
            renyi = float_up(Fraction(self.renyi) + Fraction(other.renyi))
        return Cost(pico if finite else None, min(self.atto_delta + other.atto_delta, 2 * ATTO), renyi)


@dataclass(frozen=True)
class Budget:
    """A cap on what one protected thing may lose.

    Args:
        pico_epsilon, atto_delta: the cap.
        order: the Rényi order, fixed when the budget was first set; None where delta is 0.
    """

    pico_epsilon: int
    atto_delta: int
    order: float | None

    def spent(self, cost: Cost) -> int | None:
        """The epsilon, in 1e-12 and rounded up, that holds at the budget's delta; None where none does."""
        if cost.atto_delta > (self.atto_delta // 2 if self.order else self.atto_delta):
            return None
        roads = [] if cost.pico_epsilon is None else [cost.pico_epsilon]
        if self.order is not None and math.isfinite(cost.renyi):
            share = self.atto_delta / (2 * ATTO)
            odometer = Odometer(share, (self.order,), spent=(cost.renyi,), total=math.inf)
            if odometer.epsilon <= LARGEST:
                roads.append(math.ceil(Fraction(odometer.epsilon) * PICO))
        return min(roads, default=None)


def budget(epsilon: float, delta: float, order: float | None = None) -> Budget:
    """A budget from floats; an order of its own where it has a delta and none is given.

    Raises:
        TypeError, ValueError: not numbers, epsilon not in [0, 1e6] or delta not in [0, 1).
    """
    largest, share = arguments.budget("epsilon", epsilon), arguments.probability("delta", delta)
    if largest > LARGEST:
        raise ValueError(f"Expected epsilon of a budget to be at most {LARGEST}, got {largest!r}.")
    if 0 < share < 1e-15 or share == 1:
        raise ValueError(
            f"Expected delta of a budget to be 0 or in [1e-15, 1), got {share!r}; at 1 nothing is promised."
        )
    if share and order is None:
        (order,) = Filter(largest, share / 2).orders
    return Budget(
        math.floor(_decimal(largest) * PICO), math.floor(_decimal(share) * ATTO), order if share else None
    )


def stated(event: Event, unit: str) -> Event:
    """The event as one protected thing met it: how many items there were besides is nothing to a label or an answer.

    So a rerun on some of the items, or on more, states the same event.
    """
    if unit == "record":
        return event
    match event:
        case Disjoint():
            return Disjoint([stated(part, unit) for part in event.events], adaptive=event.adaptive)
        case Sequence():
            return Sequence([stated(part, unit) for part in event.events])
        case Repeated():
            return Repeated(stated(event.event, unit), event.count)
        case _:
            return event


@lru_cache(maxsize=4096)
def cost_of(event: Event, unit: str, order: float | None) -> Cost:
    """What one protected thing loses in an event, at most, whatever was released before.

    An epsilon is read as the decimal its float prints as, so that ten times 0.1 fit into 1, and rounded up to 1e-12: below the
    float's own value by half of its last digit at most, a part in 10^16.

    Args:
        event: what is going to happen.
        unit: label and answer meet one part of a Disjoint, a record meets all.
        order: the Rényi order of the budget, or None.

    Raises:
        ValueError: noise that can be reproduced from a seed; it is not for release.
    """
    if is_seeded(event):
        raise ValueError(
            "Expected noise that nobody can reproduce, got a Seeded event: it may not be released, and is not charged. "
            "Use SystemSource or KeyedSource."
        )
    composed = compose(event, disjoint="all parts" if unit == "record" else "one part")
    exact = sum((_decimal(group.epsilon) * group.count for group in composed.loss.groups), Fraction(0))
    noises = accounting.PrivacyLoss((), composed.loss.noises)
    noise = float(noises.epsilon(0.0).upper)
    renyi = 0.0 if order is None else _divergence(composed, order)
    pico = None
    if math.isfinite(noise):
        pico = math.ceil((exact + _decimal(noise) + _decimal(float_up(composed.epsilon))) * PICO)
    finite = pico is not None and pico <= LARGEST * PICO
    delta = min(2 * ATTO, math.ceil(_decimal(float_up(composed.delta)) * ATTO))
    return Cost(pico if finite else None, delta, renyi)


def _divergence(composed: Composed, order: float) -> float:
    """The Rényi divergence and the epsilons of certificates; infinite where floats cannot tell."""
    try:
        known = float(np.asarray(composed.loss.renyi(order).upper))
    except ValueError:
        return math.inf
    return float_up(Fraction(known) + composed.epsilon) + 0.0 if math.isfinite(known) else math.inf


def _decimal(value: float) -> Fraction:
    """The shortest decimal that is read as this float."""
    return Fraction(repr(value))
