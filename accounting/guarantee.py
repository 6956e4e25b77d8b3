"""What may be promised: a guarantee always says about whom, and under which conditions."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, assert_never

import numpy as np
from numpy.typing import ArrayLike

from accounting import arguments, risk
from accounting.composition import Composed, compose, is_seeded
from accounting.risk import percent_up, rounded_up
from accounting.transcript import Transcript, accesses

Unit: TypeAlias = Literal["label", "answer", "record"]

UNITS: dict[Unit, str] = {
    "label": "one person's label",
    "answer": "one teacher answer on one synthetic item",
    "record": "one training record of the teacher",
}
"""Each unit in words: the one thing that may change."""

TOLD_APART: dict[Unit, str] = {
    "label": "two labels of a person",
    "answer": "two answers on an item",
    "record": "two sets of training records that differ in one",
}

LARGEST_PRIOR = 2**24
"""Classes of the largest uniform prior."""

SEEDED = "seeded randomness: not for release"
NOT_RANDOMIZED = "some labels or answers were not randomized at all: not for release"
LABEL = (
    "provided that each person's label entered only the uses counted here "
    "and that whatever was decided beforehand (priors, candidates, bins) did not come from these labels; "
    "features and membership are treated as public and are not protected"
)
ANSWER = (
    "provided that each answer entered only the uses counted here "
    "and that whatever was decided beforehand (priors, candidates) did not come from these answers; "
    "the pool is treated as public; "
    "this is not a guarantee about training records"
)
PERSON = (
    "features and membership are public here and only labels were randomized, "
    "so nothing is promised about a person's whole record"
)
NO_ROAD = (
    "the teacher carries no certificate and the pool was made with it, "
    "so the pool itself may reveal training records, however small the epsilon per answer"
)
CERTIFIED = (
    "the teacher carries its own certificate for training records, composed here with every other access "
    "to the data, for neighbours as that says (its noise: one record added or removed); pool, answers and student see the data only through the teacher"
)
INDEPENDENT = (
    "the items were made independently of the training data, and all answers are composed, because one "
    "record may move every one of them; nothing else that depends on the data may be released"
)
SAMPLED = (
    "subsampled noise is accounted for a record that is added or removed, and here a label or answer is replaced; "
    "count it as Gaussian, whose sensitivity may be that of replacing one"
)
SUPPOSED = (
    "what composing all answers would give if the pool had been made without the teacher; "
    "it was not, so this holds for nobody"
)


@dataclass(frozen=True)
class Guarantee:
    """One statement of differential privacy, or the reason why there is none.

    Attributes:
        unit: "label", "answer" or "record": the one thing that may change between neighbours.
        holds: whether it may be claimed.
        epsilon: never below the truth; infinity where nothing is promised.
        delta: the delta asked for.
        why: one sentence, without a full stop: what it rests on, or what is missing.
        releasable: whether what was made may leave; False when its noise can be reproduced from a seed.
    """

    unit: Unit
    holds: bool
    epsilon: float
    delta: float
    why: str
    releasable: bool = True

    def to_dict(self) -> dict[str, Any]:
        """Returns the fields as JSON types; an infinite epsilon becomes None."""
        return {**vars(self), "epsilon": None if math.isinf(self.epsilon) else self.epsilon}

    def explain(self, *, prior: ArrayLike | None = None, num_classes: int | None = None) -> str:
        """Returns the sentences for a report: the unit in words, and where it holds what an attacker gains at most.

        Args:
            prior: (K,) public class probabilities; adds how well a label or answer can be guessed.
            num_classes: K; adds the same for the uniform prior, and says so.

        Raises:
            ValueError: both are given, or the unit is record, which has no class to guess.
        """
        about = f"Per {self.unit} ({UNITS[self.unit]})"
        epsilon, delta = rounded_up(self.epsilon), rounded_up(self.delta)
        guess = self._guess(prior, num_classes)
        if self.holds:
            statement = f"{about}: ({epsilon}, {delta})-differentially private: {self.why}."
            return f"{statement} {self._attack()}{guess}"
        if math.isinf(self.epsilon):
            return f"{about}: no guarantee: {self.why}."
        return f"{about}: no guarantee; epsilon {epsilon} at delta {delta} is {self.why}."

    def _attack(self) -> str:
        gain = rounded_up(risk.advantage(self.epsilon, self.delta), digits=3)
        few, more = (
            percent_up(risk.true_positive_rate(self.epsilon, self.delta, false_positive_rate=rate))
            for rate in (0.001, 0.01)
        )
        return (
            f"Whoever tries to tell {TOLD_APART[self.unit]} apart has an advantage (true less false positive rate) of at "
            f"most {gain}, and a true positive rate of at most {few} at a false positive rate of 0.1 %, {more} at 1 %."
        )

    def _guess(self, prior: ArrayLike | None, num_classes: int | None) -> str:
        if prior is None and num_classes is None:
            return ""
        if self.unit == "record" or (prior is not None and num_classes is not None):
            raise ValueError(
                f"Expected prior or num_classes, not both, and for the unit label or answer, got unit {self.unit!r}; "
                "a record has no class to guess: leave both out."
            )
        if prior is None:
            prior = np.ones(arguments.whole("num_classes", num_classes, largest=LARGEST_PRIOR))
            known = f"Who knows only that it is one of {num_classes} classes (uniform prior)"
        else:
            known = "Who knows the prior"
        success = percent_up(risk.label_inference_success(self.epsilon, prior, delta=self.delta))
        return f" {known} guesses it right with a probability of at most {success}."


def guarantee(transcript: Transcript, *, unit: Unit, delta: float = 0.0) -> Guarantee:
    """Returns what may be promised about one unit.

    Units are never added, compared or minimised with one another.

    Args:
        transcript: what happened.
        unit: "label" (about people), "answer" (about a teacher) or "record".
        delta: in [0, 1]; 0 asks for pure differential privacy.

    Returns:
        A Guarantee; where the unit has none, a value that does not hold, with epsilon infinity and the
        reason.

    Raises:
        TypeError: delta is not a number.
        ValueError: no such unit, a delta out of range, or a unit that does not apply to what the transcript
        is about.

    Privacy: label and answer sum over uses of one item and take the maximum over items. Record needs the
    teacher's own certificate, or items independent of the data and the composition of all answers.
    """
    arguments.one_of("unit", unit, tuple(UNITS))
    share = arguments.probability("delta", delta)
    _refuse_foreign(transcript, unit)
    if why := _not_for_release(transcript):
        return Guarantee(unit, False, math.inf, share, why, releasable=False)
    match unit:
        case "label":
            return _one_item(transcript, unit, share, LABEL)
        case "answer":
            return _one_item(transcript, unit, share, ANSWER)
        case "record":
            return _record(transcript, share)
        case _:
            assert_never(unit)


def composed_if_independent(transcript: Transcript, *, delta: float = 0.0) -> Guarantee:
    """Returns what composing all answers gives about a record, if the pool was made without the teacher.

    It stands beside every epsilon per answer, so that nobody takes that for a guarantee about records.

    Args:
        transcript: what happened, about a teacher.
        delta: in [0, 1].

    Returns:
        A Guarantee with unit `record`. It holds if the pool is independent; if not, epsilon is still the
        composed value, `holds` is False and `why` says that it is only supposed.

    Raises:
        TypeError: delta is not a number.
        ValueError: delta is out of range, or the transcript is about people.
    """
    share = arguments.probability("delta", delta)
    _refuse_foreign(transcript, "answer")
    if why := _not_for_release(transcript):
        return Guarantee("record", False, math.inf, share, why, releasable=False)
    composed = compose(transcript.events, disjoint="all parts")
    epsilon = _epsilon_where_replaced(composed, share)
    if math.isinf(epsilon):
        return Guarantee("record", False, epsilon, share, _obstacle(composed, share))
    if transcript.pool == "independent":
        return Guarantee("record", True, epsilon, share, INDEPENDENT)
    return Guarantee("record", False, epsilon, share, SUPPOSED)


def _refuse_foreign(transcript: Transcript, unit: Unit) -> None:
    """Refuses the unit that belongs to the other kind of transcript."""
    applies = {"people": "label", "teacher": "answer"}[transcript.about]
    if unit != "record" and unit != applies:
        raise ValueError(
            f'Expected unit "{applies}" or "record" for a transcript about {transcript.about}, got "{unit}": '
            f"there it would speak of {UNITS[unit]}."
        )


def _not_for_release(transcript: Transcript) -> str | None:
    """Why what was made must stay: noise that can be reproduced, or none at all, which is the case where delta 1 is all that is stated."""
    if is_seeded(transcript.events):
        hides_nothing = compose(transcript.events, disjoint="one part").delta >= 1
        return NOT_RANDOMIZED if hides_nothing else SEEDED
    return SEEDED if transcript.teacher is not None and is_seeded(transcript.teacher) else None


def _one_item(transcript: Transcript, unit: Unit, delta: float, why: str) -> Guarantee:
    composed = compose(transcript.events, disjoint="one part")
    epsilon = _epsilon_where_replaced(composed, delta)
    if math.isinf(epsilon):
        return Guarantee(unit, False, epsilon, delta, _obstacle(composed, delta))
    return Guarantee(unit, True, epsilon, delta, why)


def _epsilon_where_replaced(composed: Composed, delta: float) -> float:
    """Returns an epsilon that holds where a label or answer is replaced by another, infinity where none does."""
    return composed.epsilon_at(delta) if composed.covers_replacement else math.inf


def _obstacle(composed: Composed, delta: float) -> str:
    return composed.obstacle(delta) if composed.covers_replacement else SAMPLED


def _record(transcript: Transcript, delta: float) -> Guarantee:
    """Takes the better of two roads to a record: the teacher's certificate, or composing all answers."""
    if transcript.about == "people":
        return Guarantee("record", False, math.inf, delta, PERSON)
    roads: list[Guarantee] = []
    if transcript.teacher is not None:
        composed = compose(transcript.teacher, disjoint="all parts")
        epsilon = composed.epsilon_at(delta)
        holds = not math.isinf(epsilon)
        why = CERTIFIED if holds else composed.obstacle(delta)
        roads.append(Guarantee("record", holds, epsilon, delta, why))
    # Composition of the answers covers no other access to the data, and a certificate of several lists some.
    if transcript.pool == "independent" and (transcript.teacher is None or accesses(transcript.teacher) == 1):
        roads.append(composed_if_independent(transcript, delta=delta))
    if not roads:
        return Guarantee("record", False, math.inf, delta, NO_ROAD)
    return min(roads, key=lambda road: (not road.holds, road.epsilon))
