"""The command line: each verb translates its arguments into one call, and exceptions into one line and an exit status.

Exit status 0: done; 1: failed; 2: bad usage; 130: interrupted. Nothing heavy is imported before a verb runs.
"""

import os
import re
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

from cyclopts import App, CycloptsError, Parameter

from distill.account_command import account
from distill.audit_command import audit
from distill.curve_command import curve
from distill.data_command import data
from distill.key_command import key
from distill.ledger_command import ledger
from distill.privatize_command import privatize
from distill.report_command import report
from distill.verify_command import verify
from labeldp import __version__

if TYPE_CHECKING:
    from distill.claim import Claim
    from distill.config import Config

app = App(
    name="labeldp",
    help="Label differential privacy: mechanisms, accounting, and distillation of private teachers.",
    version=__version__,
    help_format="plaintext",
    result_action="return_value",
    suppress_keyboard_interrupt=False,  # it is said below
)

app.command(account)
app.command(audit)
app.command(data)
app.command(curve)
app.command(key)
app.command(ledger)
app.command(privatize)
app.command(report)
app.command(verify)

INTERRUPTED = 130  # what a shell reports of a program that ends by Ctrl-C
INSTALL = "Expected the packages for {what}, missing {name}; bring them with: pip install 'labeldp[{extra}]'"
EXTRAS = {"pyarrow": ("tables", "arrow"), "narwhals": ("tables", "arrow"), "pyspark": ("Spark", "spark")}
_DOTTED = re.compile(r"--([a-z_]+(?:\.[a-z_]+)+)(?:=(.*))?", re.DOTALL)

Out = Annotated[Path | None, Parameter(help="Run directory; new or empty.")]
Seed = Annotated[
    int | None, Parameter(help="Seed of every public draw; the noise on the labels never depends on it.")
]
Device = Annotated[str | None, Parameter(help="auto, cpu or a torch device such as cuda.")]
Values = Annotated[
    tuple[str, ...],
    Parameter(
        name="--set",
        negative=(),
        show_default=False,
        help="Overrides a key of the configuration, KEY=VALUE; --section.key VALUE is the same, e.g. --privacy.epsilon 2.",
    ),
]


@app.command
def demo(*, seed: Seed = None, device: Device = None, values: Values = ()) -> None:
    """Runs the main job on scikit-learn's handwritten digits, into runs/demo (an earlier demo there is replaced)."""
    from distill.config_file import configuration

    config = configuration({}, _overrides(values, seed=seed, device=device))
    _distil(config, Path("runs/demo"), replace=True)


@app.command
def distill(
    config: Annotated[Path | None, Parameter(help="TOML file, for example configs/digits.toml.")] = None,
    *,
    resume: Annotated[
        Path | None,
        Parameter(help="Goes on with the interrupted run in this directory; CONFIG may be left out."),
    ] = None,
    out: Out = None,
    seed: Seed = None,
    device: Device = None,
    values: Values = (),
) -> None:
    """Distils a private teacher as a configuration file says: teacher, generator, pool, noisy labels, student, report.

    By default the run goes to runs/NAME, NAME being the file's. Every key stands, with a comment, in configs/digits.toml.
    """
    from distill.config_file import load_config
    from distill.usage import UsageError

    overrides = _overrides(values, seed=seed, device=device)
    if resume is not None:
        if out is not None:
            raise UsageError("Expected --resume RUN or --out, not both: a run goes on where it is.")
        _resume(
            resume, load_config(config or resume / "config.toml", overrides) if config or overrides else None
        )
    elif config is None:
        raise UsageError("Expected a configuration file, for example configs/digits.toml, or --resume RUN.")
    else:
        _distil(load_config(config, overrides), out or Path("runs") / config.stem, replace=False)


def _distil(config: "Config", out: Path, *, replace: bool) -> None:
    """Begins a run; its configuration is on the disk before torch is imported."""
    from distill.claim import started

    _help_unless_first()
    with started(out, config, replace=replace) as claim:
        _finish(claim)


def _resume(folder: Path, config: "Config | None") -> None:
    from distill.claim import resumed

    _help_unless_first()
    with resumed(folder, config) as claim:
        if claim.finished:
            print(
                f"The run in {folder} is finished, nothing is left to do; its report: {folder / 'report.html'}"
            )
        else:
            _finish(claim)


def _help_unless_first() -> None:
    """Under torchrun one process runs the recipe; the others help it to train, and come back no more."""
    if os.environ.get("RANK", "0") != "0":
        from distill.ranks import help_unless_first
        from distill.train import train

        help_unless_first(train)


def _finish(claim: "Claim") -> None:
    from distill import recipe, report

    try:
        lines = report.summary(recipe.distilled(claim))
    except KeyboardInterrupt:
        _fail(f"Interrupted; go on with: labeldp distill --resume {claim.folder}", status=INTERRUPTED)
    for line in lines:
        print(line)


def _overrides(values: Sequence[str], **options: object) -> dict[str, str]:
    """KEY=VALUE texts, and the options that were given, as a mapping."""
    from distill.usage import UsageError

    overrides: dict[str, str] = {}
    for text in values:
        key, equals, value = text.partition("=")
        if not equals:
            raise UsageError(f"Expected --set KEY=VALUE, got {text!r}.")
        _override(overrides, key, value)
    for key, value in options.items():
        if value is not None:
            _override(overrides, key, str(value))
    return overrides


def _override(overrides: dict[str, str], key: str, value: str) -> None:
    from distill.usage import UsageError

    if overrides.setdefault(key, value) != value:
        raise UsageError(f"Expected one value of {key}, got {overrides[key]} and {value}.")


def dotted_options(arguments: Sequence[str]) -> list[str]:
    """Rewrites `--section.key VALUE` and `--section.key=VALUE` into `--set section.key=VALUE`."""
    rewritten: list[str] = []
    pending = iter(arguments)
    for argument in pending:
        match = _DOTTED.fullmatch(argument)
        if match is None:
            rewritten.append(argument)
            continue
        value = match[2] if match[2] is not None else next(pending, None)
        if value is None:
            _fail(f"Expected a value after --{match[1]}.", status=2)
        rewritten += ["--set", f"{match[1]}={value}"]
    return rewritten


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs the command line and exits."""
    tokens = dotted_options(sys.argv[1:] if arguments is None else arguments)
    with _warnings_in_one_line():
        sys.exit(_status(lambda: app(tokens, exit_on_error=False, print_error=False)))


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """Shows what users are warned of as errors are shown: whoever gives a command looks for no line of our source."""
    usual = warnings.formatwarning

    def formatted(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if issubclass(category, UserWarning):
            return f"labeldp: warning: {' '.join(str(message).split())}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = formatted
    try:
        yield
    finally:
        warnings.formatwarning = usual


def _status(command: Callable[[], object]) -> int:
    """Runs a command; whatever goes wrong is one line on standard error."""
    try:
        status = command()
        return status if isinstance(status, int) else 0
    except CycloptsError as error:
        _fail(str(error), status=2)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] in ("labeldp", "distill", "accounting"):
            raise
        what, extra = EXTRAS.get(error.name.split(".")[0], ("training", "distill"))
        _fail(INSTALL.format(what=what, name=error.name, extra=extra), status=2)
    except KeyboardInterrupt:
        _fail("Interrupted.", status=INTERRUPTED)
    except (ValueError, OSError) as error:
        from distill.usage import UsageError

        _fail(str(error), status=2 if isinstance(error, UsageError) else 1)


def _fail(message: str, *, status: int) -> NoReturn:
    print(f"labeldp: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
