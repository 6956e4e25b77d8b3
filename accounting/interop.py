"""Events of dp_accounting and histories of Opacus: the same facts in other words, in both directions.

Neither package is needed to import this one. What has no counterpart is refused, with what to use instead.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from importlib import import_module
from itertools import groupby
from typing import Any, TypeAlias, assert_never

from accounting.events import (
    ApproximateDP,
    Disjoint,
    Event,
    EventLike,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PureDP,
    RandomizedResponse,
    Repeated,
    Seeded,
    Sequence,
    SubsetSelection,
    as_event,
)
from accounting.numerics.rounding import LIBRARY, relative

History: TypeAlias = list[tuple[float, float, int]]
"""Rows of `(noise multiplier, sample rate, steps)`, as in `accountant.history` of Opacus."""

LONGEST = 10**6
"""Repetitions are written out up to this number."""

GUARD = relative(16 + 2 * LIBRARY)


def to_dp_accounting(event: EventLike) -> Any:
    """Returns the event as a `DpEvent` of dp_accounting, which has to be installed.

    Items of a Disjoint are composed, as for the unit record; dp_accounting knows no others. Repetitions are
    written out unless they are of noise alone, because the PLD accountant of dp_accounting 0.6 reads the
    count of randomized response as 1; for the same reason, pass none to its `compose`.

    Args:
        event: what happened.

    Raises:
        ModuleNotFoundError: dp_accounting is not installed.
        ValueError: an event without counterpart, named with what to use instead.

    Privacy: randomized response is converted with at least its epsilon. It is about replacing a value
    (`NeighboringRelation.REPLACE_ONE`), Gaussian events are about adding or removing a record; dp_accounting
    doubles the sensitivity of a Gaussian where it is told REPLACE_ONE.
    """
    return _translated(as_event(event), import_module("dp_accounting"))


def from_dp_accounting(event: Any) -> Event:
    """Returns a `DpEvent` of dp_accounting as an event of accounting.

    Args:
        event: read by the names of its class and fields, so that dp_accounting need not be installed.

    Raises:
        ValueError: an event without counterpart.

    Privacy: randomized response is converted with at least its epsilon.
    """
    match type(event).__name__:
        case "NoOpDpEvent":
            return Sequence([])
        case "RandomizedResponseDpEvent":
            return _response(float(event.noise_parameter), int(event.num_buckets))
        case "GaussianDpEvent":
            return Gaussian(event.noise_multiplier)
        case "LaplaceDpEvent":
            return Laplace(event.noise_multiplier)
        case "PoissonSampledDpEvent" if type(event.event).__name__ == "GaussianDpEvent":
            return PoissonSubsampledGaussian(event.event.noise_multiplier, event.sampling_probability)
        case "SelfComposedDpEvent":
            return Repeated(from_dp_accounting(event.event), event.count) if event.count else Sequence([])
        case "ComposedDpEvent":
            return _joined([from_dp_accounting(part) for part in event.events])
        case name:
            raise ValueError(
                f"Expected an event with a counterpart here, got {name}; account for it with dp_accounting and state the "
                "result as ApproximateDP(epsilon, delta)."
            )


def to_opacus(event: EventLike) -> History:
    """Returns Gaussian events as a history that an accountant of Opacus can take over.

    Args:
        event: Gaussian events, subsampled or not, in any sequence and repetition.

    Raises:
        ValueError: another event.
    """
    return _rows(as_event(event), 1)


def from_opacus(history: Iterable[tuple[float, float, int]]) -> Event:
    """Returns the event that `accountant.history` of Opacus tells of: add or remove one record.

    Args:
        history: rows of `(noise multiplier, sample rate, steps)`.

    Raises:
        TypeError, ValueError: a value is of the wrong type or out of range.
    """
    events: list[Event] = []
    for noise, rate, steps in history:
        step = Gaussian(noise) if rate == 1 else PoissonSubsampledGaussian(noise, rate)
        events.append(Repeated(step, steps))
    return Sequence(events)


def _translated(event: Event, names: Any) -> Any:
    match event:
        case RandomizedResponse():
            return _noise(event.epsilon, event.num_classes, names)
        case PureDP():
            return _noise(event.epsilon, 2, names)
        case Gaussian():
            return names.GaussianDpEvent(event.noise_multiplier)
        case Laplace():
            return names.LaplaceDpEvent(event.noise_multiplier)
        case PoissonSubsampledGaussian():
            once = names.GaussianDpEvent(event.noise_multiplier)
            return names.PoissonSampledDpEvent(event.sampling_probability, once)
        case Sequence():
            return names.ComposedDpEvent([_translated(part, names) for part in event.events])
        case Repeated():
            return _repeated(event.event, event.count, names)
        case Disjoint() if not event.adaptive:
            pairs = zip(event.events, event.counts, strict=True)
            return names.ComposedDpEvent([_repeated(part, count, names) for part, count in pairs])
        case Disjoint():
            raise ValueError(_no("an adaptive Disjoint", "PureDP(epsilon) for each item: the worst alphabet"))
        case SubsetSelection():
            raise ValueError(_no("SubsetSelection", "PureDP(epsilon), which loses at least as much"))
        case ApproximateDP():
            raise ValueError(_no("ApproximateDP", "its epsilon and delta beside the result: both add"))
        case Seeded():
            raise ValueError(_no("Seeded", "fresh noise: it promises nothing"))
        case _:
            assert_never(event)


def _no(name: str, instead: str) -> str:
    return f"Expected an event that dp_accounting knows, got {name}; use {instead}."


def _repeated(event: Event, count: int, names: Any) -> Any:
    once = _translated(event, names)
    if isinstance(event, Gaussian | Laplace | PoissonSubsampledGaussian):
        return names.SelfComposedDpEvent(once, count)
    if count > LONGEST:
        raise ValueError(
            f"Expected at most {LONGEST} repetitions, got {count} of {event!r}: they are written out, because dp_accounting "
            "reads the count of randomized response as 1; compose it here."
        )
    return names.ComposedDpEvent([once] * count)


def _noise(epsilon: float, num_classes: int, names: Any) -> Any:
    """Returns randomized response by its share of uniform answers, `K / (E + K - 1)`, rounded down."""
    if num_classes == 1:
        return names.NoOpDpEvent()
    down = math.exp(-epsilon)
    share = num_classes * down / (1 + (num_classes - 1) * down) * (1 - GUARD)
    if share < 1e-300:
        raise ValueError(_no(f"randomized response of epsilon {epsilon!r}", "an epsilon of at most 600"))
    return names.RandomizedResponseDpEvent(share, num_classes)


def _response(share: float, num_classes: int) -> Event:
    """Returns the event of `E = 1 + K (1 - p) / p`, epsilon rounded up."""
    if num_classes > 1 and share == 0:
        raise ValueError(
            "Expected randomized response with noise, got noise_parameter 0: nothing is private."
        )
    epsilon = 0.0 if num_classes == 1 else math.log1p(num_classes * (1 - share) / share) * (1 + GUARD)
    return RandomizedResponse(epsilon, num_classes)


def _joined(parts: list[Event]) -> Event:
    """Returns a sequence in which equal neighbours are repetitions."""
    runs = [(event, len(list(run))) for event, run in groupby(parts)]
    events = [event if count == 1 else Repeated(event, count) for event, count in runs]
    return events[0] if len(events) == 1 else Sequence(events)


def _rows(event: Event, times: int) -> History:
    match event:
        case Gaussian():
            return [(event.noise_multiplier, 1.0, times)]
        case PoissonSubsampledGaussian():
            return [(event.noise_multiplier, event.sampling_probability, times)]
        case Sequence():
            return [row for part in event.events for row in _rows(part, times)]
        case Repeated():
            return _rows(event.event, times * event.count)
        case _:
            raise ValueError(
                f"Expected Gaussian events, which are all that Opacus accounts for, got {event!r}; compose the rest here."
            )
