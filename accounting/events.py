"""What happened, as data: events and the ways they nest. Nothing here says what may be promised."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import TypeAlias

from accounting import arguments
from accounting.loss import PrivacyLoss
from accounting.noise_events import Gaussian, Laplace, PoissonSubsampledGaussian
from accounting.numerics.three_point import Group


@dataclass(frozen=True)
class RandomizedResponse:
    """K-ary randomized response: the true class with probability E/(E+K-1), any other with 1/(E+K-1).

    E = e^epsilon. Neighbours differ in the value that is randomized. A selective mechanism is one with its
    output alphabet as K.

    Args:
        epsilon: >= 0.
        num_classes: K >= 1, the size of the output alphabet. 1 is a constant and loses nothing.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: loss `+epsilon` with probability E/(E+K-1), `-epsilon` with 1/(E+K-1), else 0; nothing for K = 1.
    """

    epsilon: float
    num_classes: int

    def __post_init__(self) -> None:
        _set(self, epsilon=arguments.budget("epsilon", self.epsilon))
        _set(self, num_classes=_alphabet(self.num_classes))

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the exact loss of one use."""
        if self.num_classes == 1:
            return PrivacyLoss()
        return PrivacyLoss((Group(self.epsilon, (self.num_classes - 2) * math.exp(-self.epsilon), 1),))


@dataclass(frozen=True)
class SubsetSelection:
    """Subset selection: a set of w of K classes, weighted E if it holds the true class and 1 if not.

    E = e^epsilon. Neighbours differ in the value that is randomized.

    Args:
        epsilon: >= 0.
        num_classes: K >= 2.
        subset_size: w, 1 <= w < K.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: between two classes the loss is `+epsilon` when the set holds the first only, with probability
    `q = wE/(wE+K-w) (K-w)/(K-1)`, `-epsilon` when it holds the second only, with q/E, else 0. Hence the
    weight of the loss 0 against that of `+epsilon` is `(w-1)/(K-w) + (K-w-1)/(wE)`, and w = 1 is randomized
    response.
    """

    epsilon: float
    num_classes: int
    subset_size: int

    def __post_init__(self) -> None:
        _set(self, epsilon=arguments.budget("epsilon", self.epsilon))
        _set(self, num_classes=_alphabet(self.num_classes, least=2))
        size = arguments.whole(
            "subset_size (below num_classes)", self.subset_size, largest=self.num_classes - 1
        )
        _set(self, subset_size=size)

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the exact loss of one use."""
        inside, outside = self.subset_size, self.num_classes - self.subset_size
        middle = (inside - 1) / outside + (outside - 1) * math.exp(-self.epsilon) / inside
        return PrivacyLoss((Group(self.epsilon, middle, 1),))


@dataclass(frozen=True)
class PureDP:
    """Any epsilon-DP mechanism, for the neighbours its own proof speaks of.

    Args:
        epsilon: >= 0.

    Raises:
        TypeError, ValueError: epsilon is not a number, or out of range.

    Privacy: loses at most what binary randomized response of this epsilon loses, alone and in composition.
    """

    epsilon: float

    def __post_init__(self) -> None:
        _set(self, epsilon=arguments.budget("epsilon", self.epsilon))

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the largest loss an epsilon-DP mechanism can have."""
        return PrivacyLoss((Group(self.epsilon, 0.0, 1),))


@dataclass(frozen=True)
class ApproximateDP:
    """A certificate: (epsilon, delta)-DP for the neighbours its own proof speaks of; both add up.

    Args:
        epsilon: >= 0.
        delta: in [0, 1].

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.
    """

    epsilon: float
    delta: float

    def __post_init__(self) -> None:
        _set(self, epsilon=arguments.budget("epsilon", self.epsilon))
        _set(self, delta=arguments.probability("delta", self.delta, side="up"))


@dataclass(frozen=True, init=False)
class Sequence:
    """Events that saw the same items, one after the other; a bare list or tuple of events means this.

    Args:
        events: any number of events; none means that nothing happened.
    """

    events: tuple[Event, ...]

    def __init__(self, events: Iterable[EventLike]) -> None:
        _set(self, events=_as_events(events))


@dataclass(frozen=True, init=False)
class Disjoint:
    """Items split publicly between events; each item saw exactly one of them.

    Equal events are merged, and all are sorted: equal contents make equal values.

    Args:
        events: one event for each part of the items; none means that there was no item.
        counts: how many items had each event; 1 each by default.
        adaptive: whether alphabets may depend on outputs released earlier in the same transcript. Then the
            sizes that came out are no basis for composing items with one another (unit `record`).

    Raises:
        TypeError, ValueError: a count is not an integer >= 1, or counts and events differ in number.
    """

    events: tuple[Event, ...]
    counts: tuple[int, ...]
    adaptive: bool

    def __init__(
        self, events: Iterable[EventLike], counts: Iterable[int] | None = None, *, adaptive: bool = False
    ) -> None:
        parts = _as_events(events)
        numbers = (
            (1,) * len(parts)
            if counts is None
            else tuple(arguments.whole("counts", count) for count in counts)
        )
        if len(numbers) != len(parts):
            raise ValueError(f"Expected one count per event, {len(parts)} in all, got {len(numbers)}.")
        if not isinstance(adaptive, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise TypeError(f"Expected adaptive to be True or False, got {adaptive!r}.")
        merged: dict[Event, int] = {}
        for event, number in zip(parts, numbers, strict=True):
            merged[event] = merged.get(event, 0) + number
        ordered = sorted(merged.items(), key=_order)
        _set(self, events=tuple(event for event, _ in ordered), counts=tuple(count for _, count in ordered))
        _set(self, adaptive=adaptive)


@dataclass(frozen=True, init=False)
class Repeated:
    """One event that saw the same items `count` times, with fresh randomness each time.

    Args:
        event: what was repeated.
        count: >= 1.

    Raises:
        TypeError, ValueError: count is not an integer >= 1.
    """

    event: Event
    count: int

    def __init__(self, event: EventLike, count: int) -> None:
        _set(self, event=as_event(event), count=arguments.whole("count", count))


@dataclass(frozen=True, init=False)
class Seeded:
    """An event whose noise can be reproduced by whoever knows the seed: not for release, no guarantee holds.

    Args:
        event: what happened.
    """

    event: Event

    def __init__(self, event: EventLike) -> None:
        _set(self, event=as_event(event))


Event: TypeAlias = (
    RandomizedResponse
    | SubsetSelection
    | PureDP
    | ApproximateDP
    | Laplace
    | Gaussian
    | PoissonSubsampledGaussian
    | Sequence
    | Disjoint
    | Repeated
    | Seeded
)
EventLike: TypeAlias = "Event | list[EventLike] | tuple[EventLike, ...]"


def as_event(value: EventLike) -> Event:
    """Returns `value` as an event; a list or tuple of events becomes a Sequence.

    Raises:
        TypeError: `value` is neither.
    """
    if isinstance(value, list | tuple):
        return Sequence(value)
    if not isinstance(value, Event):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise TypeError(f"Expected an event of accounting, or a list of them, got {value!r}.")
    return value


def _as_events(values: Iterable[EventLike]) -> tuple[Event, ...]:
    if isinstance(values, Event):
        raise TypeError(f"Expected several events, got one: {values!r}; put it in a list.")
    return tuple(as_event(value) for value in values)


def _alphabet(value: object, *, least: int = 1) -> int:
    return arguments.whole("num_classes", value, least=least, largest=arguments.LARGEST_ALPHABET)


def _order(item: tuple[Event, int]) -> tuple[str, tuple[float, ...], str]:
    """Sorts by kind, then by numbers, then by text."""
    event = item[0]
    numbers = tuple(value for value in vars(event).values() if isinstance(value, int | float))
    return type(event).__name__, numbers, repr(event)


def _set(event: object, /, **values: object) -> None:
    """Stores normalised values in a frozen dataclass while it is being made."""
    for name, value in values.items():
        object.__setattr__(event, name, value)
