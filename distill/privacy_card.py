"""The privacy statement of a release, as JSON-able values and as a card in Markdown."""

import math
from typing import Any

import accounting
from distill.config import Config

DELTA = 1e-5


def privacy_statement(
    config: Config, transcript: accounting.Transcript, *, num_answers: int
) -> dict[str, Any]:
    """Every guarantee that holds, with its unit, and why the others do not; JSON-able."""
    answer = accounting.guarantee(transcript, unit="answer")
    record = accounting.guarantee(transcript, unit="record", delta=DELTA)
    composed = accounting.composed_if_independent(transcript, delta=DELTA)
    return {
        "releasable": answer.releasable,
        "guarantees": [answer.to_dict(), record.to_dict()],
        "answers": num_answers,
        "epsilon_per_answer": config.privacy.epsilon,
        "stages": config.privacy.stages,
        "randomness": config.privacy.source,
        "pool": transcript.pool,
        "plain_words": plain_words(config.privacy.epsilon, num_answers, composed),
        "composed_if_the_pool_were_independent": composed.to_dict(),
    }


def plain_words(epsilon: float, num_answers: int, composed: accounting.Guarantee) -> str:
    """What must always stand beside an epsilon per answer."""
    composition = (
        "The noise can be reproduced from a seed, so nothing is promised at all."
        if math.isinf(composed.epsilon)
        else f"If the pool had been made without the teacher, composing all answers would give epsilon {accounting.rounded_up(composed.epsilon)} "
        f"at delta {accounting.rounded_up(composed.delta)} for one training record."
    )
    return (
        f"Epsilon {accounting.rounded_up(epsilon)} protects each single answer of the teacher; {num_answers:,} answers were released. This is not a "
        f"guarantee about the people or records the teacher was trained on. {composition} "
        f"Every further run with the same teacher and pool that is published, such as one with the same seed, adds its own epsilon."
    )


def privacy_card(privacy: dict[str, Any]) -> str:
    """The statement as a page of Markdown."""
    stamp = "" if privacy["releasable"] else "**NOT FOR RELEASE: seeded randomness.**\n\n"
    lines = [
        f"- **{g['unit']}**: "
        + (
            f"epsilon {accounting.rounded_up(g['epsilon'])}, delta {accounting.rounded_up(g['delta'])}. "
            if g["holds"]
            else "no guarantee. "
        )
        + g["why"]
        for g in privacy["guarantees"]
    ]
    return (
        f"# Privacy of this release\n\n{stamp}{privacy['plain_words']}\n\n" + "\n".join(lines) + "\n\n"
        f"Answers: {privacy['answers']}. Label stages: {privacy['stages']}. Randomness: {privacy['randomness']}. "
        f"Pool: {privacy['pool']}.\n"
    )
