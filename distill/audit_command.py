"""`labeldp audit`: tests a claim of label DP about a mechanism, or about a released file with canaries."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from distill.usage import UsageError

if TYPE_CHECKING:
    from labeldp.testing import AuditReport


def audit(
    subject: Annotated[
        str,
        Parameter(
            help="MODULE:NAME of a mechanism or of a callable labels -> answers, or a file of noisy labels (.npz)."
        ),
    ],
    *,
    epsilon: Annotated[
        float | None, Parameter(help="The claim; by default what a mechanism or a file says of itself.")
    ] = None,
    classes: Annotated[int | None, Parameter(help="Number of classes, for a callable.")] = None,
    delta: Annotated[float, Parameter(help="Of the claim.")] = 0.0,
    confidence: Annotated[float, Parameter(help="Of the lower bound.")] = 0.99,
    max_calls: Annotated[int, Parameter(help="Labels after which to stop.")] = 1_000_000,
    truth: Annotated[Path | None, Parameter(help="True labels of the file's items (.npy).")] = None,
    canaries: Annotated[
        Path | None,
        Parameter(
            help="Items whose labels the auditor drew at random before the release: numbers or a mask (.npy)."
        ),
    ] = None,
) -> int:
    """Looks for evidence against a claim of label DP; status 1 where it is refuted. It never proves privacy.

    A mechanism that can be enumerated is, exactly; any other is asked for answers to labels drawn at random. A released file is
    audited in one run by its canaries.
    """
    try:
        if subject.endswith(".npz"):
            report = _of_release(Path(subject), truth, canaries, epsilon, confidence)
        else:
            if truth or canaries:
                raise UsageError("Expected --truth and --canaries with a file of noisy labels alone.")
            report = _of_mechanism(_loaded(subject), epsilon, classes, delta, confidence, max_calls)
    except (TypeError, ValueError) as error:
        raise UsageError(str(error)) from None
    print(report)
    return 0 if report.witness is None else 1


def _of_mechanism(
    mechanism: Any,
    epsilon: float | None,
    classes: int | None,
    delta: float,
    confidence: float,
    max_calls: int,
) -> AuditReport:
    from labeldp import testing

    claimed = getattr(mechanism, "epsilon", None) if epsilon is None else epsilon
    num_classes = getattr(mechanism, "num_classes", None) if classes is None else classes
    if claimed is None or num_classes is None:
        raise UsageError("Expected --epsilon and --classes for a callable, which does not say them itself.")
    return testing.audit(
        mechanism,
        epsilon=claimed,
        num_classes=num_classes,
        delta=delta,
        confidence=confidence,
        max_calls=max_calls,
    )


def _of_release(
    path: Path, truth: Path | None, canaries: Path | None, epsilon: float | None, confidence: float
) -> AuditReport:
    import numpy as np

    from labeldp import NoisyLabels, testing

    if truth is None or canaries is None:
        raise UsageError("Expected --truth and --canaries with a file of noisy labels.")
    labels, chosen = (np.load(file, allow_pickle=False) for file in (truth, canaries))
    noisy = NoisyLabels.load(path)
    return testing.audit_release(labels, noisy, chosen, epsilon=epsilon, confidence=confidence)


def _loaded(name: str) -> Callable[..., Any]:
    """What MODULE:NAME names; modules in the working directory are found too."""
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UsageError(f"Expected MODULE:NAME or a file that ends in .npz, got {name!r}.")
    if str(Path.cwd()) not in sys.path:
        sys.path.insert(0, str(Path.cwd()))
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(
            f"Expected MODULE:NAME of something that can be imported, got {name!r}: {error}."
        ) from None
