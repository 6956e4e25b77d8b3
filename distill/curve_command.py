"""`labeldp curve`: privacy-utility curves in one command: runs, a figure, a table."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from distill.usage import UsageError

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
    ] = ",".join(QUICK),
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
    analytic: Annotated[
        bool, Parameter(negative=(), help="What mechanisms tell by their laws alone: no data, no training.")
    ] = False,
    classes: Annotated[int, Parameter(help="Of --analytic: how many classes there are.")] = 10,
    quick: Annotated[
        bool, Parameter(negative=(), help="A small grid on digits, less than a minute.")
    ] = False,
) -> None:
    """Draws accuracy against epsilon when the mechanism is applied once to people's own labels.

    Each run is one line of OUT/runs.jsonl; what is there already is not run again. Every run releases all labels once more: on
    labels that are private, the epsilons of all runs add up.
    """
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
    if data not in curves.RECIPES:
        raise UsageError(f"Expected --data among {', '.join(curves.RECIPES)}, got {data!r}.")
    recipe = curves.RECIPES[data]
    if epochs is not None:
        recipe = dataclasses.replace(recipe, epochs=tuple(map(int, _numbers("epochs", epochs))))
    sweep = curves.Sweep(
        data=data,
        directory=directory,
        recipe=recipe,
        methods=tuple(name.strip() for name in mechanisms.split(",")),
        epsilons=_numbers("epsilons", epsilons),
        seeds=seeds,
        device=device,
    )
    folder = out or Path("runs") / f"curve-{data}"
    rows = curves.run(sweep, folder / "runs.jsonl", jobs=jobs)
    for line in write(rows, folder):
        print(line)


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers with commas between them for --{option}, got {text!r}.") from None
