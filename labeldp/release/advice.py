"""Warnings that teach: a release that is private as stated, and yet hardly what its owner wants."""

import warnings

import accounting
from labeldp.mechanisms import Mechanism
from labeldp.release.randomness import Source


class PrivacyWarning(UserWarning):
    """A release holds what it promises, but promises little, or tells little."""


def teach(mechanism: Mechanism, event: accounting.Event, source: Source) -> None:
    """Warns of seeded randomness, of an epsilon that hides nothing, and of answers that are constants. Sees no label."""
    if not source.secure:
        _warn(
            "This release is seeded: whoever knows or guesses the seed can undo its noise. Not for release."
        )
    if mechanism.epsilon > 10:
        _warn(
            f"At epsilon {mechanism.epsilon:g} an answer is the label itself nearly always: odds of e^epsilon to 1 hide "
            f"nothing. Expected at most 10."
        )
    constant, total = _constant_answers(event)
    if 2 * constant > total:
        _warn(
            f"{constant} of {total} items have one possible answer (k = 1): it is a constant, and whoever learns from it learns "
            f"the prior. A larger epsilon, a less certain prior or, where candidates are selected, size='information' tells more."
        )


def _constant_answers(event: accounting.Event) -> tuple[int, int]:
    """Number of items that were answered with a constant, and of all."""
    if not isinstance(event, accounting.Disjoint):
        return 0, 1
    answers = list(zip(event.events, event.counts, strict=True))
    constant = sum(
        count
        for answer, count in answers
        if isinstance(answer, accounting.RandomizedResponse) and answer.num_classes == 1
    )
    return constant, sum(count for _, count in answers)


def _warn(message: str) -> None:
    warnings.warn(message, PrivacyWarning, stacklevel=4)
