"""`labeldp report`: the page of one run again, or one page about several."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from distill.usage import UsageError


def report(
    runs: Annotated[tuple[Path, ...], Parameter(negative=(), help="Directories of runs.")],
    *,
    out: Annotated[
        Path | None,
        Parameter(
            help="The page to write; by default RUN/report.html, and for several compare.html beside the runs, in the directory they share."
        ),
    ] = None,
) -> None:
    """Writes the page of a finished run again, or compares several runs in one page; nothing is trained.

    Both are for the data holder, and say so.
    """
    if not runs:
        raise UsageError(
            "Expected at least one directory of a run, got none; for example labeldp report runs/demo."
        )
    lines = _one(runs[0], out) if len(runs) == 1 else _several(list(runs), out)
    print("\n".join(lines))


def _one(folder: Path, out: Path | None) -> list[str]:
    from distill.compare import read_runs
    from distill.report import read_images, summary_lines, write_private_text
    from distill.report_page import page

    (run,) = read_runs([folder])
    if run.values is None:
        raise UsageError(
            f"Expected a finished run, {folder} has no report.json yet; finish it with labeldp distill --resume {folder}."
        )
    target = out or folder / "report.html"
    write_private_text(target, page(run.values, read_images(folder, run.values)))
    return summary_lines(run.values, folder, page=target)


def _several(folders: list[Path], out: Path | None) -> list[str]:
    from distill.compare import comparison_lines, comparison_page, read_runs
    from distill.report import write_private_text

    runs = read_runs(folders)
    if out is None:
        parents = [str(folder.resolve().parent) for folder in folders]
        out = Path(os.path.commonpath(parents)) / "compare.html"
    write_private_text(out, comparison_page(runs))
    return [*comparison_lines(runs), "", f"comparison: {out} (for the data holder)"]
