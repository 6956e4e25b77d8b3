"""A transcript: what happened, whom it is about, and where the items came from."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, TypeAlias, assert_never, cast

from accounting import arguments
from accounting.dictionaries import Plain, event_from_dict, event_to_dict, read_fields, read_tag
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

About: TypeAlias = Literal["people", "teacher"]
Pool: TypeAlias = Literal["made with the teacher", "independent"]

Certificate: TypeAlias = PureDP | ApproximateDP | Laplace | Gaussian | PoissonSubsampledGaussian

ABOUT = ("people", "teacher")
POOLS = ("made with the teacher", "independent")


@dataclass(frozen=True, init=False)
class Transcript:
    """Everything that was released, as one value from which a guarantee follows.

    Attributes:
        events: what was done to the labels; a bare list means Sequence.
        about: "people" (labels of persons, features public) or "teacher" (answers of a teacher on synthetic
            items).
        teacher: the teacher's own certificate and every other access to its training data, as an event about
            training records; None when it has no certificate.
        pool: "made with the teacher" (a generator saw it) or "independent" of the teacher's training data.

    Raises:
        TypeError: events or teacher are no events.
        ValueError: about or pool is no such word, or a transcript about people names a teacher or its pool.
    """

    events: Event
    about: About
    teacher: Event | None
    pool: Pool

    def __init__(
        self,
        events: EventLike,
        *,
        about: About,
        teacher: EventLike | None = None,
        pool: Pool = "made with the teacher",
    ) -> None:
        object.__setattr__(self, "events", as_event(events))
        object.__setattr__(self, "about", arguments.one_of("about", about, ABOUT))
        object.__setattr__(self, "teacher", None if teacher is None else _certificate(as_event(teacher)))
        object.__setattr__(self, "pool", arguments.one_of("pool", pool, POOLS))
        if about == "people" and (teacher is not None or pool != POOLS[0]):
            raise ValueError(
                "Expected neither teacher nor pool in a transcript about people: "
                'their labels come from no teacher; leave both out, or say about="teacher".'
            )

    def to_dict(self) -> Plain:
        """Returns a dictionary of JSON types from which `from_dict` makes an equal transcript."""
        return {
            "type": "Transcript",
            "events": event_to_dict(self.events),
            "about": self.about,
            "teacher": None if self.teacher is None else event_to_dict(self.teacher),
            "pool": self.pool,
        }

    @staticmethod
    def from_dict(data: object) -> Transcript:
        """Returns the transcript a dictionary describes; Raises as `event_from_dict`."""
        fields = read_fields(data, read_tag(data, ("Transcript",)), ("events", "about", "teacher", "pool"))
        teacher = None if fields["teacher"] is None else event_from_dict(fields["teacher"])
        about, pool = cast("About", fields["about"]), cast("Pool", fields["pool"])
        return Transcript(event_from_dict(fields["events"]), about=about, teacher=teacher, pool=pool)


def certificates(event: Event) -> list[Certificate]:
    """Returns the statements about training records that an event is made of.

    Raises:
        ValueError: a part speaks of labels or answers, not of records.
    """
    match event:
        case PureDP() | ApproximateDP() | Laplace() | Gaussian() | PoissonSubsampledGaussian():
            return [event]
        case RandomizedResponse() | SubsetSelection():
            raise ValueError(
                f"Expected teacher to be made of certificates about training records (PureDP, ApproximateDP, Laplace, Gaussian, PoissonSubsampledGaussian), got {event!r}, "
                f"which speaks of one label or answer."
            )
        case Sequence() | Disjoint():
            return [leaf for part in event.events for leaf in certificates(part)]
        case Repeated() | Seeded():
            return certificates(event.event)
        case _:
            assert_never(event)


def accesses(teacher: Event) -> int:
    """Returns how many accesses to the training data a certificate lists; one step of noise repeated is one."""
    match teacher:
        case Sequence():
            return sum(accesses(part) for part in teacher.events)
        case Disjoint():
            parts = zip(teacher.events, teacher.counts, strict=True)
            return sum(count * accesses(part) for part, count in parts)
        case Repeated(event=Laplace() | Gaussian() | PoissonSubsampledGaussian()):
            return 1
        case Repeated():
            return teacher.count * accesses(teacher.event)
        case Seeded():
            return accesses(teacher.event)
        case _:
            return 1


def _certificate(event: Event) -> Event:
    """Returns the event when it certifies anything at all."""
    if not certificates(event):
        raise ValueError(
            "Expected teacher to be a certificate, got an event in which nothing happened; use teacher=None."
        )
    return event
