"""`labeldp account`: what was spent and what may be said about whom, from flags or from a transcript file."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from accounting import Event, Guarantee, Transcript, Unit

DELTA = 1e-5
"""The delta of the unit record where none is given; labels and answers are stated without one."""

CONFIDENCE = 0.95

NOTHING = (
    "Expected a transcript file, --epsilon or --noise-multiplier, got none; "
    "for example: labeldp account --epsilon 1 --classes 10 --answers 1000"
)


def account(
    transcript: Annotated[
        Path | None,
        Parameter(
            help="What was released: a run such as runs/demo, its release/ or transcript.json, or noisy labels (.npz); or flags."
        ),
    ] = None,
    *,
    epsilon: Annotated[float | None, Parameter(help="Of one answer by randomized response.")] = None,
    classes: Annotated[int, Parameter(help="Its output alphabet.")] = 2,
    answers: Annotated[int, Parameter(help="Items that were answered once each.")] = 1,
    uses: Annotated[int, Parameter(help="How often each item was answered with fresh noise.")] = 1,
    noise_multiplier: Annotated[
        float | None, Parameter(help="Of the teacher's own training by noisy gradients (DP-SGD).")
    ] = None,
    sampling_probability: Annotated[
        float, Parameter(help="Of one record in one of its steps, Poisson sampling.")
    ] = 1.0,
    steps: Annotated[int, Parameter(help="Its steps.")] = 1,
    delta: Annotated[
        float | None, Parameter(help="Of every statement; by default 0, and 1e-5 for records.")
    ] = None,
    unit: Annotated[
        Literal["label", "answer", "record"] | None,
        Parameter(help="The one thing that may change; by default every unit that applies."),
    ] = None,
    pool: Annotated[
        Literal["independent", "teacher"],
        Parameter(help="Whether the items were made independently of the training data."),
    ] = "teacher",
    margin: Annotated[
        float | None,
        Parameter(help="Half the width of a 95 % interval of a class share; says how many items it needs."),
    ] = None,
    as_json: Annotated[
        bool, Parameter(name="--json", negative=(), help="Prints JSON instead of a table.")
    ] = False,
) -> None:
    """Says what was spent: epsilon by unit, with what an attacker gains at most.

    From flags it also shows what one answer of that epsilon means. A unit that cannot be promised says why.
    """
    flags = Flags(epsilon, classes, answers, uses, noise_multiplier, sampling_probability, steps, unit, pool)
    if (transcript is None) == (epsilon is None and noise_multiplier is None):
        raise UsageError(NOTHING if transcript is None else "Expected a transcript file or flags, got both.")
    try:
        happened = flags.transcript() if transcript is None else read(transcript)
        result = statement(happened, unit=unit, delta=delta)
        if epsilon is not None:
            result["one_answer"] = one_answer(epsilon, classes, margin)
        elif margin is not None:
            raise ValueError("Expected --margin with --epsilon: it speaks of one mechanism.")
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    print(json.dumps(result, indent=2) if as_json else "\n".join(lines(result)))


@dataclass(frozen=True)
class Flags:
    """What was said on the command line about what happened."""

    epsilon: float | None
    classes: int
    answers: int
    uses: int
    noise_multiplier: float | None
    sampling_probability: float
    steps: int
    unit: Unit | None
    pool: str

    def transcript(self) -> Transcript:
        """What they say, as a transcript; noisy training certifies the teacher."""
        import accounting

        events: list[accounting.Event] = []
        if self.epsilon is not None:
            answer = accounting.Repeated(accounting.RandomizedResponse(self.epsilon, self.classes), self.uses)
            events.append(accounting.Disjoint([answer], [self.answers]))
        about_teacher = self.unit in ("answer", "record") or self.pool == "independent"
        if self.noise_multiplier is None and not about_teacher:
            return accounting.Transcript(accounting.Sequence(events), about="people")
        pool = "independent" if self.pool == "independent" else "made with the teacher"
        return accounting.Transcript(
            accounting.Sequence(events), about="teacher", teacher=self._teacher(), pool=pool
        )

    def _teacher(self) -> Event | None:
        import accounting

        if self.noise_multiplier is None:
            return None
        step = accounting.PoissonSubsampledGaussian(self.noise_multiplier, self.sampling_probability)
        return accounting.Repeated(step, self.steps)


def read(path: Path) -> Transcript:
    """The transcript in a file or of a run, or that of one release of people's labels (.npz).

    Raises:
        UsageError: there is no such file, or it holds something else.
    """
    import accounting

    if path.is_dir():
        path = next(
            (place for part in ("release", ".") if (place := path / part / "transcript.json").is_file()), path
        )
    try:
        if path.suffix == ".npz":
            from labeldp import NoisyLabels

            return accounting.Transcript([NoisyLabels.load(path).event], about="people")
        return accounting.Transcript.from_dict(json.loads(path.read_text(encoding="utf-8")))
    except FileNotFoundError:
        raise UsageError(f"Expected a transcript file, found none at {path}.") from None
    except IsADirectoryError:
        raise UsageError(
            f"Expected a transcript file or the directory of a run, found no release/transcript.json in {path}."
        ) from None
    except (OSError, TypeError, ValueError) as error:
        raise UsageError(
            f"Expected a transcript (release/transcript.json of a run) at {path}: {error}"
        ) from None


def statement(transcript: Transcript, *, unit: Unit | None, delta: float | None) -> dict[str, Any]:
    """Every unit that applies, or the one asked for, as JSON types."""
    import accounting

    applies: tuple[Unit, ...] = ("label", "record") if transcript.about == "people" else ("answer", "record")
    if transcript.events == accounting.Sequence([]):
        applies = ("record",)
    stated: list[Guarantee] = []
    for one in applies if unit is None else (unit,):
        share = delta if delta is not None else DELTA if one == "record" else 0.0
        stated.append(accounting.guarantee(transcript, unit=one, delta=share))
    result: dict[str, Any] = {
        "transcript": transcript.to_dict(),
        "guarantees": [{**one.to_dict(), "explanation": one.explain()} for one in stated],
    }
    if transcript.about == "teacher" and not stated[-1].holds and stated[-1].unit == "record":
        supposed = accounting.composed_if_independent(transcript, delta=stated[-1].delta)
        result["composed_if_the_pool_were_independent"] = {
            **supposed.to_dict(),
            "explanation": supposed.explain(),
        }
    return result


def one_answer(epsilon: float, classes: int, margin: float | None) -> dict[str, Any]:
    """What randomized response of that epsilon means for one answer."""
    import math

    import accounting
    from accounting import risk

    others = (classes - 1) * math.exp(-epsilon)
    loss = accounting.RandomizedResponse(epsilon, classes).privacy_loss()
    view: dict[str, Any] = {
        "epsilon": epsilon,
        "num_classes": classes,
        "keep_probability": 1 / (1 + others),
        "flip_probability": others / (1 + others),
        "advantage": loss.delta(0.0).upper,
        "label_inference_success_uniform_prior": risk.label_inference_success(epsilon, [1.0] * classes),
    }
    if margin is not None:
        import labeldp

        mechanism = labeldp.RandomizedResponse(epsilon, classes)
        items = labeldp.required_sample_size(mechanism, margin=margin, confidence=CONFIDENCE)
        view |= {"margin": margin, "confidence": CONFIDENCE, "items_needed": items}
    return view


def lines(result: dict[str, Any]) -> list[str]:
    """The table, the sentences, and the view of one answer."""
    from accounting import rounded_up

    table = [("unit", "holds", "epsilon", "delta")]
    for one in result["guarantees"]:
        value = "-" if one["epsilon"] is None or not one["holds"] else rounded_up(one["epsilon"])
        table.append((one["unit"], "yes" if one["holds"] else "no", value, rounded_up(one["delta"])))
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    text = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in table
    ]
    sentences = [one["explanation"] for one in result["guarantees"]]
    if supposed := result.get("composed_if_the_pool_were_independent"):
        sentences.append(supposed["explanation"])
    for sentence in sentences:
        text += ["", *wrap(sentence, 100)]
    return text + (["", *_view(result["one_answer"])] if "one_answer" in result else [])


def _view(one: dict[str, Any]) -> list[str]:
    from accounting import rounded_up

    rows = [
        ("epsilon", rounded_up(one["epsilon"])),
        ("true class kept", f"{one['keep_probability']:.6g}"),
        ("flipped to another", f"{one['flip_probability']:.6g}"),
        ("advantage in telling two classes apart", rounded_up(one["advantage"])),
        ("guessed right, at most (uniform prior)", rounded_up(one["label_inference_success_uniform_prior"])),
    ]
    if "items_needed" in one:
        rows.append((f"items for a margin of {one['margin']:g} (95 %)", f"{one['items_needed']:,}"))
    width = max(len(name) for name, _ in rows)
    return [
        f"One answer, {one['num_classes']} classes:",
        *(f"  {name.ljust(width)}  {value}" for name, value in rows),
    ]
