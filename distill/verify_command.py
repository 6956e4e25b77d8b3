"""`labeldp verify`: checks a release against its manifest, the ledger, and, for the data holder, the true labels."""

import json
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter


def verify(
    output: Annotated[Path, Parameter(help="The file or folder that labeldp privatize wrote.")],
    *,
    manifest: Annotated[
        Path | None, Parameter(help="Its manifest; by default the one beside it, or in the folder.")
    ] = None,
    truth: Annotated[
        Path | None,
        Parameter(help="The table with true labels, for the data holder: looks for copies, tests the noise."),
    ] = None,
    ledger: Annotated[Path | None, Parameter(help="The ledger that it was charged to.")] = None,
    as_json: Annotated[bool, Parameter(name="--json", negative=(), help="Prints JSON.")] = False,
) -> int:
    """Checks a released table; status 1 where something is wrong.

    Without --truth only what is public is looked at: files, columns, metadata, answers, event. With it, whether any column left tells
    the true labels, and whether the noise follows its law: sound noise fails with a probability of 1e-6 at most.
    """
    from labeldp.tables import Ledger, Manifest, manifest_path
    from labeldp.tables.verification import verify as verified

    with ExitStack() as stack:
        opened = stack.enter_context(Ledger(ledger, read_only=True)) if ledger else None
        told = Manifest.load(manifest or manifest_path(output))
        result = verified(output, told, truth=truth, ledger=opened)
    if as_json:
        print(json.dumps(asdict(result), indent=2))
    else:
        print("\n".join([f"checked: {name}" for name in result.checked]))
        print("\n".join(result.problems) or "Nothing is wrong, as far as was looked.")
    return 1 if result.problems else 0
