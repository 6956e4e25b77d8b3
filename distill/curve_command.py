"""`labeldp curve`: privacy-utility curves in one command: runs, a figure, a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from distill.answer_curves import AnswerSweep
    from distill.record_curves import RecordSweep

EPSILONS = "0.25,0.5,1,2,4,8"
EPSILONS_OF_RECORDS = "1,2,3,8"
STAGES = ("rr", "subset", "seed", "subset+srr")
QUICK = ("rr", "lp-2st", "alibi", "subset", "srr", "clean")


def curve(
    *,
    data: Annotated[str, Parameter(help="Data set, as in [data] of a configuration.")] = "digits",
    directory: Annotated[str, Parameter(help="Where its files lie; by default the usual places.")] = "",
    mechanisms: Annotated[
        str,
        Parameter(
            name=["--mechanisms", "--mechanism"],
            help="Names with commas between them: rr, rr+likelihood, lp-2st, alibi, unary, subset, partition, srr, clean, "
            "or module:name, a function of epsilon and K.",
        ),
    ] = "",
    epsilons: Annotated[
        str | None,
        Parameter(
            help=f"Of one label, answer or record, with commas between them; by default {EPSILONS}, of records {EPSILONS_OF_RECORDS}."
        ),
    ] = None,
    seeds: Annotated[int, Parameter(help="Seeds of public draws: 0, 1, ...; methods share them.")] = 3,
    epochs: Annotated[
        str | None,
        Parameter(help="Passes over the labels, chosen by held-out noisy labels where commas give several."),
    ] = None,
    jobs: Annotated[int, Parameter(help="Processes at once.")] = 1,
    device: Annotated[str, Parameter(help="auto, cpu or a torch device such as cuda.")] = "auto",
    out: Annotated[
        Path | None, Parameter(help="Directory for the results; by default runs/curve-DATA.")
    ] = None,
    answers: Annotated[
        Path | None,
        Parameter(
            help="Configuration of a distillation: curves of answers of a teacher instead of people's labels; --mechanisms are then label "
            "stages: subset+srr, seed, rr, subset, partition."
        ),
    ] = None,
    records: Annotated[
        Path | None,
        Parameter(
            help="Configuration of a distillation whose teacher is private: curves of training records; --mechanisms are then teacher, student, "
            "student of noisy answers."
        ),
    ] = None,
    analytic: Annotated[
        bool, Parameter(negative=(), help="What mechanisms tell by their laws alone: no data, no training.")
    ] = False,
    classes: Annotated[int, Parameter(help="Of --analytic: how many classes there are.")] = 10,
    quick: Annotated[
        bool, Parameter(negative=(), help="A small grid on digits, less than a minute.")
    ] = False,
) -> None:
    """Draws accuracy against epsilon: of people's labels, to which the mechanism is applied once, of a teacher's answers, or of its records.

    Each run is one line of OUT/runs.jsonl; what is there already is not run again. Every run releases all labels once more: on
    labels that are private, the epsilons of all runs add up.
    """
    if analytic:
        from distill import analytic_curves

        rows = analytic_curves.curves(_numbers("epsilons", epsilons or EPSILONS), classes)
        for line in analytic_curves.write(rows, out or Path("runs/curve-analytic")):
            print(line)
        return
    from distill import curves
    from distill.curve_report import write

    if quick:
        data, epsilons, seeds = "digits", "0.5,1,2,4", 2
    if answers is not None and records is not None:
        raise UsageError("Expected --answers or --records, not both: units never share a figure.")
    configured = answers or records
    folder = out or Path("runs") / f"curve-{configured.stem if configured else data}"
    asked = _numbers("epsilons", epsilons or (EPSILONS_OF_RECORDS if records else EPSILONS))
    if records is not None:
        sweep: curves.Grid = _of_records(records, mechanisms, asked, seeds, folder)
    elif answers is not None:
        sweep = _of_answers(answers, mechanisms, asked, seeds, folder)
    else:
        if data not in curves.RECIPES:
            raise UsageError(f"Expected --data among {', '.join(curves.RECIPES)}, got {data!r}.")
        recipe = curves.RECIPES[data]
        if epochs is not None:
            recipe = dataclasses.replace(recipe, epochs=tuple(map(int, _numbers("epochs", epochs))))
        methods = _names(mechanisms or ",".join(QUICK))
        sweep = curves.Sweep(data, recipe, methods, asked, seeds, directory=directory, device=device)
    rows = curves.run(sweep, folder / "runs.jsonl", jobs=jobs)
    for line in write(rows, folder):
        print(line)


def _of_answers(
    path: Path, mechanisms: str, epsilons: tuple[float, ...], seeds: int, folder: Path
) -> AnswerSweep:
    from distill.answer_curves import AnswerSweep
    from distill.config_file import load_config

    methods = _names(mechanisms or ",".join(STAGES))
    return AnswerSweep(load_config(path), methods, epsilons, seeds, folder / "private")


def _of_records(
    path: Path, methods: str, epsilons: tuple[float, ...], seeds: int, folder: Path
) -> RecordSweep:
    from distill.config_file import load_config
    from distill.record_curves import METHODS, RecordSweep

    return RecordSweep(
        load_config(path), _names(methods or ",".join(METHODS)), epsilons, seeds, folder / "private"
    )


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers with commas between them for --{option}, got {text!r}.") from None
