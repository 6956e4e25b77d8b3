"""Budgets for sequences in which every next event is chosen after seeing all earlier outputs.

Let `R_i` be the sum of the Rényi divergences, at the order `alpha_i`, of the events that happened, each as
it was when it was chosen. With `w_1 + ... + w_m = 1` (here 1/m each) put

    epsilon_T = min( sum of epsilons, min_i R_i + c_i ),
    c_i = log(1 - 1/alpha_i) - log(delta w_i alpha_i) / (alpha_i - 1).

Theorem. For every rule T that stops by what it saw, and every set A of transcripts,
`P(A) <= E_Q[e^(epsilon_T); A] + delta`. A filter stops before `epsilon_T` would pass a budget epsilon, so
what it lets through is (epsilon, delta)-DP.

Proof. Let L be the loss so far. `M_i = e^((alpha_i - 1)(L - R_i))` does not grow on average under P, whatever
the next event, so `E_P[M_i at T] <= 1` (optional stopping). Where order i attains the minimum, by
`(1 - e^-x)_+ <= kappa_i e^((alpha_i - 1) x)` with `kappa_i = (1 - 1/alpha_i)^(alpha_i - 1) / alpha_i`,

    (1 - e^(epsilon_T - L))_+ <= kappa_i e^(-(alpha_i - 1) c_i) M_i = delta w_i M_i <= delta sum_j w_j M_j,

and where the sum of epsilons does, the left side is 0. Averaging under P gives at most delta, and
`P(A) - E_Q[e^(epsilon_T); A] <= E_P (1 - e^(epsilon_T - L))_+`. ∎

Source: Feldman, Zrnic 2021 (Rényi filter); Lécuyer 2021 (several orders); the conversion is Canonne, Kamath,
Steinke 2020, proposition 12.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import lru_cache

import numpy as np

from accounting import arguments
from accounting.composition import compose, is_seeded
from accounting.events import (
    Disjoint,
    Event,
    EventLike,
    Repeated,
    Seeded,
    Sequence,
    as_event,
)
from accounting.numerics.rounding import float_up, relative


@dataclass(frozen=True)
class Odometer:
    """What a sequence has spent so far, at a delta fixed beforehand; a value, `after` returns the next one.

    Args:
        delta: in [0, 1]; at 0 only epsilons are added.
        orders: Rényi orders > 1, fixed before the first event. They decide tightness, never validity; each
            further one costs.
        spent: the divergences so far, one for each order; none at the start.
        total: the sum of epsilons so far.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: `epsilon` and `delta` hold at whatever moment the sequence is stopped, also if that moment and
    every event were chosen by earlier outputs; about one thing that may have moved every answer (the unit
    record, or a label used again and again).

    Error: epsilon is on the upper side.
    """

    delta: float
    orders: tuple[float, ...]
    spent: tuple[float, ...] = ()
    total: float = 0.0

    def __post_init__(self) -> None:
        orders = tuple(arguments.real("orders", order) for order in self.orders)
        if any(not 1 < order < math.inf for order in orders):
            raise ValueError(
                f"Expected orders > 1 and finite, got {orders}; the sum of epsilons is always kept."
            )
        spent = tuple(_spent("spent", value) for value in self.spent) or (0.0,) * len(orders)
        if len(spent) != len(orders):
            raise ValueError(f"Expected spent to have one value per order, {len(orders)}, got {len(spent)}.")
        object.__setattr__(self, "delta", arguments.probability("delta", self.delta))
        object.__setattr__(self, "orders", orders)
        object.__setattr__(self, "spent", spent)
        object.__setattr__(self, "total", _spent("total", self.total))

    def after(self, event: EventLike) -> Odometer:
        """Returns the odometer once one more event has happened.

        Args:
            event: as chosen, before its outputs are drawn; items of a Disjoint count as composed. Realised
                alphabets are welcome: each was fixed when its event was chosen.

        Raises:
            ValueError: an adaptive Disjoint (feed its stages one by one), reproducible noise, or a
                certificate with a delta of its own.
        """
        total, added = _divergences(as_event(event), self.orders)
        spent = tuple(_sum_up(old, new) for old, new in zip(self.spent, added, strict=True))
        return replace(self, spent=spent, total=_sum_up(self.total, total))

    @property
    def epsilon(self) -> float:
        """What holds if the sequence stops here."""
        costs = _costs(self.delta, self.orders)
        reached = [_sum_up(known, cost) for known, cost in zip(self.spent, costs, strict=True)]
        return min(self.total, max(0.0, min(reached, default=math.inf)))


@dataclass(frozen=True)
class Filter:
    """Lets events through as long as a budget fixed beforehand is kept; a value, `after` returns the next one.

    Args:
        epsilon, delta: the budget.
        orders: Rényi orders, fixed beforehand; by default one that suits many small events.
        spent: what has happened so far; nothing at the start.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: everything let through is (epsilon, delta)-DP, also if each event, and when to stop, was chosen
    by earlier outputs. It is the budget that holds, not what was spent of it.
    """

    epsilon: float
    delta: float
    orders: tuple[float, ...] = ()
    spent: Odometer | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "epsilon", arguments.budget("epsilon", self.epsilon))
        start = Odometer(self.delta, self.orders or _suited(self.epsilon, self.delta))
        spent = self.spent or start
        if (spent.delta, spent.orders) != (start.delta, start.orders):
            raise ValueError(
                "Expected spent to have the delta and the orders of its filter; start with spent=None."
            )
        for name, value in (("delta", start.delta), ("orders", start.orders), ("spent", spent)):
            object.__setattr__(self, name, value)

    @property
    def odometer(self) -> Odometer:
        """What has happened so far."""
        assert self.spent is not None
        return self.spent

    def admits(self, event: EventLike) -> bool:
        """Says whether one more event would still keep the budget. Raises as `Odometer.after`."""
        return self.odometer.after(event).epsilon <= self.epsilon

    def after(self, event: EventLike) -> Filter:
        """Returns the filter once an event that it admits has happened.

        Raises:
            ValueError: it does not admit the event; stop, or choose one that loses less.
        """
        spent = self.odometer.after(event)
        if spent.epsilon > self.epsilon:
            raise ValueError(
                f"Expected an event within the budget epsilon {self.epsilon!r}, got one that would make it "
                f"{spent.epsilon!r}; stop here, or ask for less (a smaller epsilon, fewer items, more candidates)."
            )
        return replace(self, spent=spent)


def _suited(epsilon: float, delta: float) -> tuple[float, ...]:
    """Returns the order at which divergences that grow in proportion to it, as small ones do, reach furthest."""
    if delta == 0:
        return ()
    grid = tuple(1 + math.exp(t) for t in np.linspace(-6, 14, 401).tolist())
    rooms = [
        (epsilon - cost) / order for cost, order in zip(_costs(delta, grid, share=1.0), grid, strict=True)
    ]
    return (grid[int(np.argmax(rooms))],)


def _costs(delta: float, orders: tuple[float, ...], *, share: float | None = None) -> list[float]:
    """Returns the c_i, rounded up."""
    if delta == 0:
        return [math.inf] * len(orders)
    weight = math.log(share or 1 / max(1, len(orders)))
    costs: list[float] = []
    for order in orders:
        terms = (math.log(delta), weight, math.log(order))
        gain = math.log1p(1 / (order - 1))
        size = gain + sum(map(abs, terms)) / (order - 1)
        costs.append(-gain - sum(terms) / (order - 1) + relative(64) * size)
    return costs


@lru_cache(maxsize=1024)
def _divergences(event: Event, orders: tuple[float, ...]) -> tuple[float, tuple[float, ...]]:
    """Returns the sum of epsilons of an event, and its divergence at each order, as upper bounds."""
    _refuse(event)
    composed = compose(event, disjoint="all parts")
    if composed.delta > 0:
        raise ValueError(
            "Expected events without a delta of their own, got a certificate with one; take its delta off "
            "the budget and feed PureDP only if its own proof gives that."
        )
    extra = float_up(composed.epsilon)
    total = _sum_up(float(composed.loss.epsilon(0.0).upper), extra)
    if not orders:
        return total, ()
    values = np.asarray(composed.loss.renyi(np.array(orders)).upper).tolist()
    return total, tuple(_sum_up(value, extra) for value in values)


def _refuse(event: Event) -> None:
    """Refuses what no filter can stand by."""
    if is_seeded(event):
        raise ValueError(
            "Expected noise that nobody can reproduce, got a Seeded event; it may not be released."
        )
    if _has_adaptive_parts(event):
        raise ValueError(
            "Expected alphabets fixed when the event was chosen, got an adaptive Disjoint; feed its stages one by one, "
            "each before it is drawn, as Disjoint(..., adaptive=False)."
        )


def _has_adaptive_parts(event: Event) -> bool:
    match event:
        case Disjoint():
            return event.adaptive or any(_has_adaptive_parts(part) for part in event.events)
        case Sequence():
            return any(_has_adaptive_parts(part) for part in event.events)
        case Repeated() | Seeded():
            return _has_adaptive_parts(event.event)
        case _:
            return False


def _sum_up(first: float, second: float) -> float:
    """Returns the smallest float that is at least the sum."""
    if math.isinf(first) or math.isinf(second):
        return math.inf
    return float_up(Fraction(first) + Fraction(second))


def _spent(name: str, value: object) -> float:
    number = arguments.real(name, value)
    if number < 0:
        raise ValueError(f"Expected {name} to be >= 0, got {number!r}.")
    return number
