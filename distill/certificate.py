"""A teacher's certificate: what may be said about one training record, and how it was found."""

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import msgspec
import numpy as np

import accounting
from accounting.composition import compose
from accounting.interop import to_opacus
from distill.config import PrivateTraining
from distill.usage import UsageError

ADJACENCY = "add or remove one record"
_TOLERANCE = 1e-4
"""Relative, for an epsilon that was rounded when it was written."""
NOT_COVERED = (
    "Gradients, clipping and their noise are computed in floating point (Opacus clips, Gaussian noise is drawn by Box and Muller's "
    "method from an AES keystream keyed by the operating system): the account is of real arithmetic."
)


Text = Annotated[str, msgspec.Meta(max_length=1000)]
Epsilon = Annotated[float, msgspec.Meta(ge=0)]
Delta = Annotated[float, msgspec.Meta(ge=0, lt=1)]


class _Epsilons(msgspec.Struct, forbid_unknown_fields=True):
    lower: Epsilon
    upper: Epsilon


class _Opacus(msgspec.Struct, forbid_unknown_fields=True):
    rdp: Epsilon | None = None
    prv: Epsilon | None = None


class _File(msgspec.Struct, forbid_unknown_fields=True):
    """All that a certificate may say: the whole of it is published with a release, so what is not named here has no place in it."""

    type: Text = ""
    adjacency: Text = "as its author states"
    event: dict[str, Any] | None = None
    epsilon: Epsilon | _Epsilons | None = None
    delta: Delta | msgspec.UnsetType = msgspec.UNSET
    author: Text | None = None
    accountant: Text | None = None
    opacus: _Opacus | None = None
    steps: int | None = None
    sampling_probability: float | None = None
    sampling: Text | None = None
    noise_multiplier: float | None = None
    clip: float | None = None
    moment_noise_multiplier: float | None = None
    moment_clip: float | None = None
    randomness: Text = ""
    not_covered: Text = ""


@dataclass(frozen=True)
class Certificate:
    """What a teacher may claim about its training records.

    Attributes:
        event: every access to the training data.
        adjacency: what neighbouring sets of records are.
        facts: how it was found, for a reader; JSON types.
    """

    event: accounting.Event
    adjacency: str = ADJACENCY
    facts: dict[str, Any] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """JSON types, from which `from_dict` makes an equal certificate."""
        return {
            "type": "TeacherCertificate",
            "adjacency": self.adjacency,
            "event": accounting.event_to_dict(self.event),
            **self.facts,
        }

    @staticmethod
    def from_dict(data: dict[str, Any]) -> "Certificate":
        """Reads what `to_dict` wrote, or a plain {"epsilon": 3.0, "delta": 1e-5} of somebody else's teacher.

        Raises:
            TypeError, ValueError: it is neither, or says what no certificate may say.
        """
        file = msgspec.convert(data, _File, strict=True)
        facts = {key: value for key, value in data.items() if key not in ("type", "adjacency", "event")}
        if file.event is not None:
            event = accounting.event_from_dict(data["event"])
        elif isinstance(file.epsilon, float) and file.delta is not msgspec.UNSET:
            event = accounting.ApproximateDP(file.epsilon, file.delta)
        else:
            raise ValueError("Expected an event, or epsilon and delta.")
        accounting.Transcript([], about="teacher", teacher=event)  # refuses what is about labels or answers
        return Certificate(event, file.adjacency, facts)


def read_certificate(path: str) -> Certificate:
    """The certificate in a JSON file.

    Raises:
        UsageError: no such file, or something else is in it.
    """
    try:
        data = json.loads(Path(path).read_text(encoding="utf-8"), parse_constant=_no_number)
        if not isinstance(data, dict):
            raise ValueError(f"Expected a JSON object, got {type(data).__name__}.")
        certificate = Certificate.from_dict(data)
        _refuse_contradictions(certificate)
        return certificate
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(
            f"Expected in teacher.certificate a JSON file such as release/teacher_certificate.json of a run, or "
            f'{{"epsilon": 3.0, "delta": 1e-5}}; {path}: {error}'
        ) from error


def _no_number(text: str) -> float:
    raise ValueError(f"Expected finite numbers, got {text}.")


def _refuse_contradictions(certificate: Certificate) -> None:
    """Computes epsilon from the event, which decides, and refuses a file that states a smaller one beside it."""
    stated, delta = certificate.facts.get("epsilon"), certificate.facts.get("delta", 0.0)
    if stated is None:
        return
    event = certificate.event.event if isinstance(certificate.event, accounting.Seeded) else certificate.event
    transcript = accounting.Transcript([], about="teacher", teacher=event)
    computed = accounting.guarantee(transcript, unit="record", delta=delta).epsilon
    upper = stated["upper"] if isinstance(stated, dict) else stated
    if not computed * (1 - _TOLERANCE) <= upper:
        raise ValueError(
            f"Expected the stated epsilon to be that of the event at delta {delta}, {accounting.rounded_up(computed)}, got {upper}."
        )


def private_event(settings: PrivateTraining, noise_multiplier: float) -> accounting.Event:
    """What a private teacher does to its records: noisy steps, and the moment release."""
    step = accounting.PoissonSubsampledGaussian(noise_multiplier, settings.sampling_probability)
    return accounting.Sequence([accounting.Repeated(step, settings.steps), *moment_events(settings)])


def moment_events(settings: PrivateTraining) -> list[accounting.Gaussian]:
    """The moment release, if there is one."""
    return [accounting.Gaussian(settings.moment_noise)] if settings.moment_noise else []


def calibrated(settings: PrivateTraining) -> float:
    """The noise multiplier of DP-SGD with which it and the moment release together keep the configured epsilon.

    Raises:
        UsageError: the moment release alone spends it.
    """
    from accounting.calibrate import noise_multiplier

    try:
        return noise_multiplier(
            settings.epsilon,
            settings.delta,
            count=settings.steps,
            sampling_probability=settings.sampling_probability,
            beside=[*moment_events(settings)],
        )
    except ValueError as error:
        raise UsageError(
            f"Expected teacher.private.epsilon to leave something for DP-SGD beside the moment release: raise it, or "
            f"teacher.private.moment_noise. {error}"
        ) from error


def certified(settings: PrivateTraining, noise_multiplier: float, *, secure: bool) -> Certificate:
    """The certificate of a private teacher, our own bracket beside what Opacus computes for the same events."""
    event = private_event(settings, noise_multiplier)
    bounds = compose(event, disjoint="all parts").loss.epsilon(settings.delta)
    facts = {
        "epsilon": {"lower": bounds.lower, "upper": bounds.upper},
        "delta": settings.delta,
        "accountant": "labeldp accounting: a bracket of the exact composition, DP-SGD and moment release together",
        "opacus": opacus_epsilons(event, settings.delta),
        "steps": settings.steps,
        "sampling_probability": settings.sampling_probability,
        "sampling": "Poisson",
        "noise_multiplier": noise_multiplier,
        "clip": settings.clip,
        "moment_noise_multiplier": settings.moment_noise or None,
        "moment_clip": settings.moment_clip if settings.moment_noise else None,
        "randomness": "system" if secure else "seeded",
        "not_covered": NOT_COVERED,
    }
    return Certificate(event if secure else accounting.Seeded(event), facts=facts)


def opacus_epsilons(event: accounting.Event, delta: float) -> dict[str, float]:
    """What Opacus's accountants say of the same events: Rényi orders, and its numerical composition."""
    from opacus.accountants import PRVAccountant, RDPAccountant

    values: dict[str, float] = {}
    for name, accountant in {"rdp": RDPAccountant(), "prv": PRVAccountant()}.items():
        accountant.history = to_opacus(event)
        with np.errstate(
            all="ignore"
        ):  # a step on all records has a logarithm of 0, which it then leaves out
            values[name] = float(accountant.get_epsilon(delta=delta))
    return values
