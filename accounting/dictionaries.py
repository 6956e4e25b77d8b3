"""Events as plain dictionaries, which JSON keeps without loss: a `type` tag and the fields, strictly read."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias, assert_never, cast

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

Plain: TypeAlias = dict[str, Any]

FIELDS = {
    "RandomizedResponse": ("epsilon", "num_classes"),
    "SubsetSelection": ("epsilon", "num_classes", "subset_size"),
    "PureDP": ("epsilon",),
    "ApproximateDP": ("epsilon", "delta"),
    "Laplace": ("noise_multiplier",),
    "Gaussian": ("noise_multiplier",),
    "PoissonSubsampledGaussian": ("noise_multiplier", "sampling_probability"),
    "Sequence": ("events",),
    "Disjoint": ("events", "counts", "adaptive"),
    "Repeated": ("event", "count"),
    "Seeded": ("event",),
}


DEEPEST = 64
"""Events inside one another that are read."""


def event_to_dict(event: Event) -> Plain:
    """Returns a dictionary of JSON types from which `event_from_dict` makes an equal event."""
    tag = type(event).__name__
    match event:
        case RandomizedResponse() | SubsetSelection() | PureDP() | ApproximateDP():
            return {"type": tag, **vars(event)}
        case Laplace() | Gaussian() | PoissonSubsampledGaussian():
            return {"type": tag, **vars(event)}
        case Sequence():
            return {"type": tag, "events": [event_to_dict(part) for part in event.events]}
        case Disjoint():
            parts = [event_to_dict(part) for part in event.events]
            return {"type": tag, "events": parts, "counts": list(event.counts), "adaptive": event.adaptive}
        case Repeated():
            return {"type": tag, "event": event_to_dict(event.event), "count": event.count}
        case Seeded():
            return {"type": tag, "event": event_to_dict(event.event)}
        case _:
            assert_never(event)


def event_from_dict(data: object) -> Event:
    """Returns the event a dictionary describes.

    Args:
        data: what `event_to_dict` returned, also after a round trip through JSON.

    Raises:
        TypeError: something is not of the type it has to be.
        ValueError: an unknown tag, a missing or unknown key, a value out of range, or nested too deeply.
    """
    return _read(data, DEEPEST)


def _read(data: object, depth: int) -> Event:
    """Returns the event, in which at most `depth` events may lie inside one another."""
    if depth == 0:
        raise ValueError(
            f"Expected events nested at most {DEEPEST} deep, got more; put lists of lists into one list."
        )
    tag = read_tag(data, tuple(FIELDS))
    fields = read_fields(data, tag, FIELDS[tag])
    match tag:
        case "RandomizedResponse":
            return RandomizedResponse(**fields)
        case "SubsetSelection":
            return SubsetSelection(**fields)
        case "PureDP":
            return PureDP(**fields)
        case "ApproximateDP":
            return ApproximateDP(**fields)
        case "Laplace":
            return Laplace(**fields)
        case "Gaussian":
            return Gaussian(**fields)
        case "PoissonSubsampledGaussian":
            return PoissonSubsampledGaussian(**fields)
        case "Sequence":
            return Sequence(_events(fields["events"], depth))
        case "Disjoint":
            counts = _listed("counts", fields["counts"])
            return Disjoint(_events(fields["events"], depth), counts, adaptive=fields["adaptive"])
        case "Repeated":
            return Repeated(_read(fields["event"], depth - 1), fields["count"])
        case _:
            return Seeded(_read(fields["event"], depth - 1))


def read_tag(data: object, tags: tuple[str, ...]) -> str:
    """Returns the `type` tag of a dictionary, one of `tags`.

    Raises:
        TypeError: `data` is no dictionary.
        ValueError: there is no such tag.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"Expected a dictionary with a type tag, got {data!r}.")
    tag = cast("Mapping[object, object]", data).get("type")
    if not isinstance(tag, str) or tag not in tags:
        raise ValueError(f"Expected type to be one of {', '.join(tags)}, got {tag!r}.")
    return tag


def read_fields(data: object, tag: str, names: tuple[str, ...]) -> Plain:
    """Returns the fields of a tagged dictionary, when they are exactly `names`.

    Raises:
        ValueError: a key is missing or unknown.
    """
    fields = {str(key): value for key, value in cast("Mapping[object, Any]", data).items() if key != "type"}
    if set(fields) != set(names):
        raise ValueError(
            f"Expected {tag} to have the keys {', '.join(names)}, got {', '.join(sorted(fields))}."
        )
    return fields


def _listed(name: str, value: object) -> list[Any]:
    if not isinstance(value, list):
        raise TypeError(f"Expected {name} to be a list, got {value!r}.")
    return cast("list[Any]", value)


def _events(value: object, depth: int) -> list[Event]:
    return [_read(part, depth - 1) for part in _listed("events", value)]
