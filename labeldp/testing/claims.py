"""A claim of label DP, what an audit found about it, and what refutes it."""

import math
import numbers
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, cast

import numpy as np

from labeldp.mechanisms.parameters import checked_num_classes
from labeldp.testing.evidence import MAX_EPSILON


@dataclass(frozen=True)
class Claim:
    """That one answer is (epsilon, delta)-DP in its label, and how sure a refutation has to be."""

    epsilon: float
    delta: float
    num_classes: int
    confidence: float

    def __post_init__(self) -> None:
        object.__setattr__(self, "num_classes", checked_num_classes(self.num_classes))
        for name, most in (("epsilon", MAX_EPSILON), ("delta", 1.0), ("confidence", 1.0)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, numbers.Real):
                raise TypeError(f"Expected {name} to be a real number, got {type(value).__name__}.")
            number = float(value)
            inside = 0 <= number <= most if name == "epsilon" else 0 <= number < most
            if not inside or (name == "confidence" and number == 0):
                interval = {"epsilon": f"[0, {MAX_EPSILON:g}]", "delta": "[0, 1)", "confidence": "(0, 1)"}[
                    name
                ]
                raise ValueError(f"Expected {name} in {interval}, got {value}.")
            object.__setattr__(self, name, number)

    def __str__(self) -> str:
        pair = f"({self.epsilon:g}, {self.delta:g})" if self.delta else f"{self.epsilon:g}"
        return f"{pair}-label-DP on {self.num_classes} classes"


@dataclass(frozen=True)
class Witness:
    """What refutes a claim: an answer that tells two labels apart.

    Attributes:
        labels: the label that the answer speaks for, and one that it speaks against; None where they cannot be named.
        output: the answer; for selective mechanisms, the number of the prior row and the answer.
        fractions: its exact probabilities for the two labels; None where it was observed.
        counts: for each of the two labels, how often the answer came and how often the label was drawn; None where it is exact.
        because: why that refutes the claim.
        repeat: the call that shows it again.
    """

    labels: tuple[int, int] | None
    output: Any
    fractions: tuple[Fraction, Fraction] | None
    counts: tuple[tuple[int, int], tuple[int, int]] | None
    because: str
    repeat: str

    def __str__(self) -> str:
        lines = [self.because, f"To repeat: {self.repeat}"]
        if self.labels is None:
            return "\n".join(lines)
        answer = shown(self.output)
        listed = ":" if self.fractions or self.counts else "."
        found = [
            f"Labels {self.labels[0]} and {self.labels[1]} are told apart by the answer {answer}{listed}"
        ]
        for label, fraction in zip(self.labels, self.fractions or (), strict=False):
            found.append(f"    P[{answer} | label {label}] = {fraction}, about {float(fraction):.6g}")
        for label, (came, drawn) in zip(self.labels, self.counts or (), strict=False):
            found.append(f"    label {label} was answered so {came:,} of {drawn:,} times")
        return "\n".join(found + lines)


@dataclass(frozen=True)
class AuditReport:
    """What an audit found. A lower bound refutes smaller claims; it proves nothing private.

    Attributes:
        lower_bound: epsilon is at least this, given the delta of the claim.
        confidence: probability with which the bound is right; 1 where it is exact.
        calls: number of labels that were answered.
        witness: what refutes the claim; None while nothing does.
        stopped_early: whether the audit stopped before it had used all labels allowed, because the claim was refuted.
    """

    lower_bound: float
    confidence: float
    calls: int
    witness: Witness | None
    stopped_early: bool

    def __str__(self) -> str:
        how = (
            "by exact enumeration"
            if self.confidence == 1
            else f"at confidence {self.confidence:.8g}, from {self.calls:,} labels"
        )
        verdict = "The claim stands" if self.witness is None else f"The claim is refuted.\n{self.witness}"
        return (
            f"epsilon is at least {self.lower_bound:.6g} {how}. {verdict}"
            f"{'.' if self.witness is None else ''}\nA lower bound never proves privacy; it only refutes claims below it."
        )


def shown(output: Any) -> str:
    """An answer as text; sets of classes by their members."""
    if isinstance(output, tuple):
        return f"({', '.join(map(shown, cast(tuple[Any, ...], output)))})"
    if isinstance(output, np.ndarray | np.generic):
        array = np.asarray(cast(Any, output))
        if array.dtype == np.bool_ and array.ndim == 1:
            return f"{{{', '.join(map(str, np.flatnonzero(array)))}}}"
        output = array.tolist()
    text = repr(output)
    return text if len(text) <= 200 else f"{text[:200]}..."


def log_ratio(ratio: Fraction) -> float:
    """The natural logarithm of a fraction, also of one that is no float."""
    return math.log(ratio.numerator) - math.log(ratio.denominator)
