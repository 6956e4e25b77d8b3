"""`labeldp curve`: privacy-utility curves in one command: runs, a figure, a table."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from distill.answer_curves import AnswerSweep

STAGES = ("rr", "subset", "seed", "subset+srr")


def curve(
    *,
    data: Annotated[
        str,
        Parameter(
            help="Data set, see `labeldp data`; or your own: folder, with --directory, or the path of a table (CSV or Parquet), with --label."
        ),
    ] = "digits",
    directory: Annotated[
        str, Parameter(help="Where its files lie, by default the usual places; your own folder of images.")
    ] = "",
    classes: Annotated[
        str,
        Parameter(
            help="Of your own data, the public names of the classes with commas between them; of --analytic, how many classes there are."
        ),
    ] = "",
    label: Annotated[str, Parameter(help="Of your own table, the column of labels.")] = "",
    label_range: Annotated[
        str,
        Parameter(name="--range", help="Of your own table with real-valued labels, the public LOW,HIGH."),
    ] = "",
    mechanisms: Annotated[
        str,
        Parameter(
            name=["--mechanisms", "--mechanism"],
            help="Names with commas between them: rr, rr+likelihood, lp-2st, alibi, unary, subset, partition, srr, clean; "
            "for real-valued labels bins, bins+likelihood, bins+histogram, bins+histogram+likelihood, unbiased, unbiased+likelihood, clean; "
            "or module:name, a function of epsilon and K, or of epsilon, label values and their prior.",
        ),
    ] = "",
    epsilons: Annotated[str, Parameter(help="Of one label, with commas between them.")] = "0.25,0.5,1,2,4,8",
    seeds: Annotated[int, Parameter(help="Seeds of public draws: 0, 1, ...; methods share them.")] = 3,
    epochs: Annotated[
        str | None,
        Parameter(help="Passes over the labels, chosen by held-out noisy labels where commas give several."),
    ] = None,
    model: Annotated[
        str, Parameter(help="Network, such as mlp, convnet or convnet-3; by default one that suits the data.")
    ] = "",
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
    quick: Annotated[
        bool, Parameter(negative=(), help="A small grid on digits, less than a minute.")
    ] = False,
) -> None:
    """Draws accuracy, or error, against epsilon: of people's labels, to which the mechanism is applied once, or of a teacher's answers.

    Each run is one line of OUT/runs.jsonl; what is there already is not run again. Every run releases all labels once more: on
    labels that are private, the epsilons of all runs add up.
    """
    if analytic:
        from distill import analytic_curves

        rows = analytic_curves.curves(_numbers("epsilons", epsilons), _count(classes or "10"))
        for line in analytic_curves.write(rows, out or Path("runs/curve-analytic")):
            print(line)
        return
    from distill import curves
    from distill.curve_choice import sweep_of
    from distill.curve_data import Origin
    from distill.curve_report import write

    if quick:
        data, epsilons, seeds = "digits", "0.5,1,2,4", 2
    asked, methods = _numbers("epsilons", epsilons), _names(mechanisms)
    origin = Origin(data, directory, _names(classes), label, _bounds(label_range))
    folder = out or Path("runs") / f"curve-{answers.stem if answers else Path(origin.shown).stem}"
    if answers is not None:
        sweep: curves.Grid = _of_answers(answers, methods, asked, seeds, folder)
    else:
        sweep = sweep_of(
            origin,
            methods=methods,
            epsilons=asked,
            seeds=seeds,
            epochs=() if epochs is None else tuple(map(int, _numbers("epochs", epochs))),
            model=model,
            device=device,
        )
    rows = curves.run(sweep, folder / "runs.jsonl", jobs=jobs)
    for line in write(rows, folder):
        print(line)


def _of_answers(
    path: Path, methods: tuple[str, ...], epsilons: tuple[float, ...], seeds: int, folder: Path
) -> AnswerSweep:
    from distill.answer_curves import AnswerSweep
    from distill.config_file import load_config

    return AnswerSweep(load_config(path), methods or STAGES, epsilons, seeds, folder / "private")


def _names(text: str) -> tuple[str, ...]:
    return tuple(name.strip() for name in text.split(",")) if text else ()


def _bounds(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    values = _numbers("range", text)
    if len(values) != 2 or not all(map(math.isfinite, values)):
        raise UsageError(f"Expected --range LOW,HIGH, two different finite numbers, got {text!r}.")
    return values[0], values[1]


def _count(text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise UsageError(f"Expected a number of classes for --analytic --classes, got {text!r}.") from None


def _numbers(option: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(sorted({float(part) for part in text.split(",")}))
    except ValueError:
        raise UsageError(f"Expected numbers with commas between them for --{option}, got {text!r}.") from None
