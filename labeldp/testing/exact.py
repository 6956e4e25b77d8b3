"""The exact layer of an audit: channels as fractions, compared with e^epsilon as a rational. No statistics."""

import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.mechanism import MAX_CHANNEL_OUTPUTS
from labeldp.mechanisms.prior import integer_weights, prior_rows
from labeldp.mechanisms.thresholds import exponential_below
from labeldp.testing.claims import AuditReport, Claim, Witness, log_ratio
from labeldp.testing.enumeration import Channel, enumerate_channel, enumerate_outputs
from labeldp.testing.sources import NotEnumerable, takes_source

WORK = 2**19
"""Answers to enumerate for one channel; wider rows count for more."""


def exact_report(
    mechanism: Mechanism | Callable[..., Any], claim: Claim, priors: npt.NDArray[np.float64] | None
) -> AuditReport | None:
    """What exact enumeration says; None where there is too much to enumerate, or for a mechanism that it does not refute.

    A callable's claim is read as a float is: ratios up to e^(the next float above epsilon) pass, since log(2.0) itself lies
    below ln 2. A mechanism of `labeldp`, whose thresholds come from the same rational, gets no such allowance at delta 0.
    """
    if not hasattr(mechanism, "choose"):
        function = cast(Callable[..., Any], mechanism)
        return _of_callable(function, claim) if takes_source(function) else None
    mechanism = cast(Mechanism, mechanism)
    if mechanism.num_outputs <= MAX_CHANNEL_OUTPUTS:
        for row in [None] if priors is None else priors:
            found = _enumerated(mechanism, row)
            if found is None:
                break
            channel, repeat = found
            report = _judged(channel, list(mechanism.outputs()), claim, repeat, strict=True)
            if report.witness is not None:
                return report
    return _at_full_width(mechanism, claim, priors)


def checked_priors(prior: npt.ArrayLike | None, num_classes: int) -> npt.NDArray[np.float64]:
    """Prior rows (m, K) to try a selective mechanism with; by default rows with ties, zeros and near ties."""
    if prior is not None:
        rows = np.atleast_2d(np.asarray(prior))
        integer_weights(prior_rows(rows, len(rows), num_classes))
        return rows.astype(np.float64)
    classes = np.arange(num_classes)
    rows = (
        np.where(classes % 3 == 2, 0.0, np.round(0.6**classes, 6)),
        np.ones(num_classes),
        classes < max(2, num_classes // 2),
        np.round(1 - 0.5 * classes / num_classes, 6),
        1 + (classes % 2) * 2.0**-50,
        classes == num_classes - 1,
    )
    return np.array(rows, dtype=np.float64)


def needs_prior(mechanism: Mechanism) -> bool:
    """Whether a mechanism plans nothing without a prior."""
    try:
        mechanism.plan(None, 1)
    except TypeError:
        return True
    return False


def _of_callable(function: Callable[..., Any], claim: Claim) -> AuditReport | None:
    try:
        laws = enumerate_outputs(function, num_classes=claim.num_classes)
    except NotEnumerable:
        return None
    repeat = f"labeldp.testing.enumerate_channel(mechanism, num_classes={claim.num_classes})"
    return _judged([list(law.values()) for law in laws], list(laws[0]), claim, repeat, strict=False)


def _enumerated(mechanism: Mechanism, row: npt.NDArray[np.float64] | None) -> tuple[Channel, str] | None:
    """The channel at the widest words up to 12 bits that the work allows, else at any that give every outcome a word; and the call."""
    labels = mechanism.num_classes
    wide = row is not None or mechanism.answer_shape != ()
    draws = WORK // (labels * (max(8, labels) // 8 if wide else 1))
    most = (draws.bit_length() - 1) // mechanism.num_words
    for bits in {min(12, most): None, most: None}:
        try:
            channel = enumerate_channel(mechanism, prior_row=row, bits=bits)
        except ValueError:  # words so narrow that an outcome would get none
            continue
        rows = "" if row is None else f", prior_row={row.tolist()}"
        return channel, f"labeldp.testing.enumerate_channel(mechanism{rows}, bits={bits})"
    return None


def _judged(channel: Channel, outputs: list[Any], claim: Claim, repeat: str, *, strict: bool) -> AuditReport:
    """Compares an exact channel with a claim."""
    if claim.delta:
        return _judged_with_delta(channel, outputs, claim, repeat)
    columns = list(zip(*channel, strict=True))
    worst = max(range(len(columns)), key=lambda o: _spread(columns[o]))
    high, low = max(columns[worst]), min(columns[worst])
    ratio = high / low if low else None
    limit = exponential_below(claim.epsilon if strict else math.nextafter(claim.epsilon, math.inf))
    labels = columns[worst].index(high), columns[worst].index(low)
    if ratio is None:
        return _refuted(
            math.inf,
            labels,
            outputs[worst],
            (high, low),
            "The ratio is infinite: no epsilon allows it.",
            repeat,
        )
    loss = log_ratio(ratio)
    if ratio <= limit:
        return AuditReport(loss, 1.0, 0, None, stopped_early=False)
    because = f"The ratio is e^{loss:.12g}, above e^{claim.epsilon:.12g}; exactly, not statistically."
    return _refuted(loss, labels, outputs[worst], (high, low), because, repeat)


def _spread(column: tuple[Fraction, ...]) -> Fraction | float:
    """The largest ratio in a column; infinite where one label excludes the answer, 0 where all do."""
    high, low = max(column), min(column)
    return high / low if low else math.inf if high else 0


def _judged_with_delta(channel: Channel, outputs: list[Any], claim: Claim, repeat: str) -> AuditReport:
    """The same for delta > 0: the largest P[S | a] - e^epsilon P[S | b] over pairs and sets of answers."""
    rows = np.array([[float(q) for q in row] for row in channel])

    def excess(epsilon: float) -> npt.NDArray[np.float64]:
        return np.stack([np.maximum(row - math.exp(epsilon) * rows, 0).sum(axis=1) for row in rows])

    impossible = np.stack([np.where(rows == 0, row, 0).sum(axis=1) for row in rows])
    one, other = map(int, np.unravel_index(excess(claim.epsilon).argmax(), impossible.shape))
    limit = exponential_below(math.nextafter(claim.epsilon, math.inf))
    parts = [a - limit * b for a, b in zip(channel[one], channel[other], strict=True)]
    total = sum((part for part in parts if part > 0), Fraction(0))
    low, high = 0.0, 600.0
    if impossible.max() > claim.delta:
        low = math.inf
    else:
        for _ in range(60):
            middle = (low + high) / 2
            low, high = (middle, high) if excess(middle).max() > claim.delta else (low, middle)
    if total <= Fraction(math.nextafter(claim.delta, math.inf)):
        return AuditReport(low, 1.0, 0, None, stopped_early=False)
    worst = parts.index(max(parts))
    number = sum(part > 0 for part in parts)
    because = (
        f"Over the {number} answers that are more than e^{claim.epsilon:g} times likelier for label {one}, P[. | label {one}] - "
        f"e^{claim.epsilon:g} P[. | label {other}] adds up to {float(total):.6g}, above delta = {claim.delta:g}; exactly, not statistically."
    )
    return _refuted(
        low, (one, other), outputs[worst], (channel[one][worst], channel[other][worst]), because, repeat
    )


def _refuted(
    loss: float,
    labels: tuple[int, int],
    output: Any,
    fractions: tuple[Fraction, Fraction],
    because: str,
    repeat: str,
) -> AuditReport:
    witness = Witness(labels, output, fractions, None, because, repeat)
    return AuditReport(loss, 1.0, 0, witness, stopped_early=True)


def _at_full_width(
    mechanism: Mechanism, claim: Claim, priors: npt.NDArray[np.float64] | None
) -> AuditReport | None:
    """The ratio that a mechanism counts for its own sampler at the width in use, where that refutes the claim."""
    if claim.delta:
        return None
    try:
        ratio = mechanism.realized_ratio()
    except ValueError:  # no ratio bounds it
        return None
    if ratio <= exponential_below(claim.epsilon):
        return None
    loss = log_ratio(ratio)
    because = f"The sampler that runs counts a ratio of {ratio} = e^{loss:.12g}, above e^{claim.epsilon:.12g}; exactly, not statistically."
    labels, output = _widest(mechanism, priors)
    witness = Witness(labels, output, None, None, because, "mechanism.realized_ratio()")
    return AuditReport(loss, 1.0, 0, witness, stopped_early=True)


def _widest(
    mechanism: Mechanism, priors: npt.NDArray[np.float64] | None
) -> tuple[tuple[int, int] | None, Any]:
    """Two labels and the answer that tells them apart best, by the law as floats; None where it cannot be listed."""
    if mechanism.num_outputs > MAX_CHANNEL_OUTPUTS:
        return None, None
    best, found = 0.0, (None, None)
    for row in [None] if priors is None else priors:
        channel = mechanism.channel(row)
        high, low = channel.max(axis=0), channel.min(axis=0)
        ratio = np.divide(high, low, out=np.zeros_like(high), where=low > 0)
        column = int(ratio.argmax())
        if ratio[column] > best:
            pair = int(channel[:, column].argmax()), int(channel[:, column].argmin())
            best, found = float(ratio[column]), (pair, mechanism.outputs()[column])
    return found
