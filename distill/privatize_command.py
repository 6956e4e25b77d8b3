"""`labeldp privatize`: replaces the true labels of a file by noisy ones."""

from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

from cyclopts import Parameter

if TYPE_CHECKING:
    import labeldp
    from labeldp.tables.files import Progress


def privatize(
    table: Annotated[Path, Parameter(help="A Parquet or CSV file, or a folder of them.")],
    out: Annotated[
        Path | None,
        Parameter(help="The file or folder to write; by default TABLE with .noisy before its suffix."),
    ] = None,
    *,
    label: Annotated[str, Parameter(help="Column of the true labels; it is left out of the result.")],
    classes: Annotated[str, Parameter(help="The public class names, with commas between them: a,b,c.")],
    epsilon: Annotated[float, Parameter(help="Privacy parameter of one label.")],
    mechanism: Annotated[
        Literal["rr", "subset", "unary", "srr"],
        Parameter(
            help="Randomized response, subset selection, unary encoding, or selective (needs a prior)."
        ),
    ] = "rr",
    prior_columns: Annotated[
        str | None, Parameter(help="Columns of class probabilities, in the order of the classes.")
    ] = None,
    size: Annotated[
        str | None,
        Parameter(help="Of srr: accuracy, information (the default), or a number of candidates."),
    ] = None,
    outside: Annotated[str | None, Parameter(help="Of srr: uniform, or other (the default).")] = None,
    item: Annotated[str | None, Parameter(help="Column that names the rows; needed with --key-file.")] = None,
    person: Annotated[
        str | None, Parameter(help="Column that says whom a row is about, where a person has several rows.")
    ] = None,
    unknown: Annotated[str | None, Parameter(help="Class of labels that are none of the classes.")] = None,
    missing: Annotated[str | None, Parameter(help="Class of labels that are null.")] = None,
    key_file: Annotated[
        Path | None,
        Parameter(help="File of a secret key (labeldp key new FILE): a rerun gives the same noisy labels."),
    ] = None,
    epoch: Annotated[
        str, Parameter(help="With a key: public name of the table and the version of its labels.")
    ] = "",
    ledger: Annotated[
        Path | None, Parameter(help="The ledger that is charged before a label is read (labeldp ledger cap).")
    ] = None,
    data: Annotated[
        str | None, Parameter(name=["--data", "--dataset"], help="Name of the data set in the ledger.")
    ] = None,
) -> None:
    """Replaces the true labels of a table by noisy ones, LABEL_noisy; every other column is copied as it is.

    Parquet, folders, and everything with --ledger, --person, --unknown or --missing is streamed, and its manifest written beside the
    output (OUT.manifest.json, or _manifest.json in a folder). Other CSV files need no package but labeldp; their release goes beside
    them, with .npz. A job that was killed is started again with the same arguments; with --key-file it goes on and costs nothing.
    """
    from distill.usage import UsageError

    if mechanism == "srr" and not prior_columns:
        raise UsageError("Expected --prior-columns with --mechanism srr: it chooses candidates from them.")
    if mechanism != "srr" and (prior_columns or size or outside):
        raise UsageError(
            f"Expected --prior-columns, --size and --outside with --mechanism srr alone, got {mechanism}."
        )
    if key_file is not None and item is None:
        raise UsageError("Expected --item with --key-file: keyed noise follows the rows by their names.")
    if (ledger is None) != (data is None):
        raise UsageError("Expected --ledger and --data together: a ledger keeps a budget for each data set.")
    names = [name.strip() for name in classes.split(",")]
    prior = [name.strip() for name in prior_columns.split(",")] if prior_columns else []
    made = _mechanism(mechanism, epsilon, len(names), size, outside)
    target = out or (
        table.with_suffix(f".noisy{table.suffix}") if table.suffix else table.with_name(f"{table.name}.noisy")
    )
    light = not table.is_dir() and table.suffix.lower() not in (".parquet", ".pq")
    with _told_kindly():
        if light and all(asked is None for asked in (ledger, person, unknown, missing)):
            _csv(table, target, made, label, names, prior, item, key_file, epoch)
            return
        from labeldp.tables.job import Columns, Job

        columns = Columns(label, tuple(names), item, tuple(prior), person, unknown, missing)
        _stream(table, target, Job(made, columns), key_file, epoch, ledger, data)


@contextmanager
def _told_kindly() -> Generator[None]:
    """Columns of a type that does not fit are an error of the table, in one line as all others."""
    from distill.usage import UsageError

    try:
        yield
    except TypeError as error:
        if not str(error).startswith("Expected "):
            raise
        raise UsageError(str(error)) from None


def _mechanism(
    name: str, epsilon: float, num_classes: int, size: str | None, outside: str | None
) -> "labeldp.Mechanism":
    import labeldp

    match name:
        case "subset":
            return labeldp.SubsetSelection(epsilon, num_classes)
        case "unary":
            return labeldp.UnaryEncoding(epsilon, num_classes)
        case "srr":
            chosen: Any = int(size) if size and size.isdecimal() else size or "information"
            rest: Any = outside or "other"
            return labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=chosen, outside=rest)
        case _:
            return labeldp.RandomizedResponse(epsilon, num_classes)


def _source(key_file: Path | None, epoch: str) -> "labeldp.KeyedSource | None":
    import labeldp
    from labeldp.tables import read_key

    return labeldp.KeyedSource(read_key(key_file), epoch=epoch) if key_file else None


def _csv(
    table: Path,
    target: Path,
    mechanism: "labeldp.Mechanism",
    label: str,
    classes: list[str],
    prior: list[str],
    item: str | None,
    key_file: Path | None,
    epoch: str,
) -> None:
    """The way that needs no package but labeldp."""
    import accounting
    from labeldp.tables import privatize_csv

    noisy = privatize_csv(
        table,
        target,
        mechanism,
        label=label,
        classes=classes,
        prior_columns=prior or None,
        item=item,
        source=_source(key_file, epoch),
    )
    guarantee = noisy.guarantee(unit="label")
    print(
        f"{len(noisy)} noisy labels of {label}: {target} (with their likelihoods: {target.with_suffix('.npz')})"
    )
    print(
        f"Epsilon {accounting.rounded_up(guarantee.epsilon)} for the label of each row; the other columns are public."
    )


def _stream(
    table: Path,
    target: Path,
    job: Any,
    key_file: Path | None,
    epoch: str,
    ledger: Path | None,
    data: str | None,
) -> None:
    import accounting
    from labeldp.tables import Ledger, manifest_path, privatize_file

    with ExitStack() as stack:
        opened = stack.enter_context(Ledger(ledger)) if ledger else None
        manifest = privatize_file(
            table,
            target,
            job,
            source=_source(key_file, epoch),
            ledger=opened,
            dataset=data,
            progress=stack.enter_context(_progress()),
        )
    guarantee, columns = manifest.guarantee(), job.columns
    print(
        f"{manifest.rows} noisy labels of {columns.label}: {target} (with their manifest: {manifest_path(target)})"
    )
    whose = "for the label of each row"
    if columns.person:
        whose = (
            f"for all labels of one {columns.person!r} together, {manifest.rows_of_one_person} rows at most"
        )
    print(f"Epsilon {accounting.rounded_up(guarantee.epsilon)} {whose}; the other columns are public.")
    if manifest.charge:
        print(f"Charged to {data}: entry {manifest.charge['entry']}, head {manifest.charge['head']}.")


@contextmanager
def _progress() -> Generator["Progress"]:
    """Shows one phase after the other; where their rows are not known before, nothing."""
    from distill.progress import RunProgress, ShownPhase

    shown = RunProgress()
    with ExitStack() as stack:
        phases: dict[str, tuple[ShownPhase, int]] = {}

        def progress(what: str, done: int, total: int) -> None:
            if not total:
                return
            if what not in phases:
                stack.close()  # the phase before
                phases[what] = stack.enter_context(shown.phase(what, total)), 0
            phase, before = phases[what]
            phase.advance(done - before)
            phases[what] = phase, done

        yield progress
