"""`labeldp curve`: privacy-utility curves in one command: runs, a figure, a table."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from distill.answer_curves import AnswerSweep

STAGES = ("rr", "subset", "seed", "subset+srr")
IDLE = {
    "answers": ("data", "directory", "epochs", "device"),
    "quick": ("data", "epsilons", "seeds"),
    "analytic": ("data", "directory", "mechanisms", "seeds", "epochs", "jobs", "device", "answers", "quick"),
}
"""Options that have no meaning beside another: the configuration, or the name, settles them."""
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
    epsilons: Annotated[str, Parameter(help="Of one label, with commas between them.")] = "0.25,0.5,1,2,4,8",
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
    analytic: Annotated[
        bool, Parameter(negative=(), help="What mechanisms tell by their laws alone: no data, no training.")
    ] = False,
    classes: Annotated[int, Parameter(help="Of --analytic: how many classes there are.")] = 10,
    quick: Annotated[
        bool, Parameter(negative=(), help="A small grid on digits; less than a minute on two free cores.")
    ] = False,
) -> None:
    """Draws accuracy against epsilon: of people's labels, to which the mechanism is applied once, or of a teacher's answers.

    Each run is one line of OUT/runs.jsonl; what is there already is not run again. Every run releases all labels once more: on
    labels that are private, the epsilons of all runs add up.
    """
    _refuse_idle(locals())
    if analytic:
        from distill import analytic_curves

        rows = analytic_curves.curves(_numbers("epsilons", epsilons), classes)
        for line in analytic_curves.write(rows, out or Path("runs/curve-analytic")):
            print(line)
        return
    from distill import curves
    from distill.curve_report import write

    if quick:
        data, epsilons, seeds = "digits", "0.5,1,2,4", 2
    folder = out or Path("runs") / f"curve-{answers.stem if answers else data}"
    asked = _numbers("epsilons", epsilons)
    if answers is not None:
        sweep: curves.Grid = _of_answers(answers, mechanisms, asked, seeds, folder)
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


def _refuse_idle(options: Mapping[str, object]) -> None:
    defaults = {name: option.default for name, option in inspect.signature(curve).parameters.items()}
    for kind, names in IDLE.items():
        idle = [f"--{name}" for name in names if options[name] != defaults[name]]
        if options[kind] != defaults[kind] and idle:
            raise UsageError(f"Expected --{kind} without {', '.join(idle)}, which would change nothing.")


def _of_answers(
    path: Path, mechanisms: str, epsilons: tuple[float, ...], seeds: int, folder: Path
) -> AnswerSweep:
    from distill.answer_curves import AnswerSweep
    from distill.config_file import load_config

    methods = _names(mechanisms or ",".join(STAGES))
    return AnswerSweep(load_config(path), methods, epsilons, seeds, folder / "private")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(","))


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers with commas between them for --{option}, got {text!r}.") from None
