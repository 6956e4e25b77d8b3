"""The privacy card of a release: what is guaranteed, about whom, by what, and what is not; as JSON-able values and in Markdown.

Everything on it is a function of the public configuration, the pool's provenance and the noisy labels: it is published with them.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

import numpy as np

import accounting
from accounting.guarantee import CERTIFIED
from distill.config import Config
from distill.pool import Pool
from labeldp import __version__
from labeldp.learning.stages import StagedLabels

DELTA = 1e-5
SEEDED = "the noise can be reproduced from a seed"
CLEAN = "the answers were not randomized"
ONE_USE = "In this release every answer entered one mechanism, once."
STAGES = (
    "The stages share the pool out by a public random split, and what a later stage decides beforehand it learns from the noisy labels "
    "of earlier ones alone: epsilons of stages do not add up for one answer, the largest counts."
)
ALL_ANSWERS = "One training record may move every answer, so answers are composed for it, all of them."
TEACHER_ALONE = (
    "Pool, answers and student see the training records through the teacher alone: its own accesses to them are composed, and answers "
    "add nothing to those."
)
ADJACENCY = {
    "answer": "one answer is replaced by any other class; the pool, its order and all other answers stay",
    "record": "one training record is added or removed, and with it any number of answers may change",
}
POOL_AND_RECORDS = (
    "the pool itself: it was made with the teacher, so its images, and a student trained on them, may reveal training records "
    "or answers"
)
POOL_AND_ANSWERS = (
    "the pool itself, as far as answers go: it was made with the teacher, so its images may reveal some"
)
LOADING = (
    "`student = distill.load_student(DIRECTORY)`, the directory of this card, after `pip install 'labeldp[distill]'`; `student(images)` gives "
    "the probabilities of `student.classes` for images (n, `*student.shape`), floats in [0, 1] or bytes. The student needs no other file",
    "`labeldp.NoisyLabels.load(FILE)` reads noisy labels. They are numbered by images that stay with the data holder, so they serve to "
    "check the release, not to train on",
)
NOT_COVERED = (
    "near-duplicates: images of the pool that resemble each other ask nearly the same question, and a neighbourhood of images has "
    "no guarantee of its own; exact duplicates are asked once",
    "several releases: what runs with this teacher and pool release adds up, for each answer and for each record; counted are those that "
    "began before this was written, but neither later ones, nor runs of the same seed, nor those on copies of a run directory",
    "a disk that is set back to an earlier state while a run is unfinished: going on from there may answer items a second time",
    "the time that a run takes, its memory and files outside this directory",
    "private/, report.html, report.json and metrics.jsonl of the run, and what it printed: they hold un-noised functions of the answers and must not be published",
)


def privacy_statement(
    config: Config,
    transcript: accounting.Transcript,
    *,
    released: StagedLabels,
    pool: Pool,
    certificate: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Every guarantee that holds, with its unit, why the others do not, and what it all rests on; JSON-able.

    Args:
        config: of the run.
        transcript: what happened.
        released: the noisy labels, stage by stage.
        pool: what the teacher was asked; only its provenance and sizes are looked at.
        certificate: what the teacher says of itself, JSON types, if it carries a certificate.
    """
    answer = accounting.guarantee(transcript, unit="answer")
    delta = certificate.get("delta", DELTA) if certificate else DELTA
    record = accounting.guarantee(transcript, unit="record", delta=delta)
    composed = accounting.composed_if_independent(transcript, delta=delta)
    clean = config.privacy.stages == "clean"
    obstacle = _obstacle(transcript, answer, record, clean=clean)
    if clean:
        answer, composed = (_void(g, CLEAN, releasable=obstacle is None) for g in (answer, composed))
    if obstacle == CLEAN:
        record = _void(record, CLEAN, releasable=False)
    by_certificate = record.why == CERTIFIED  # or composing all answers led to a smaller epsilon
    num_classes = released.parts[0].mechanism.num_classes
    return {
        "releasable": obstacle is None,
        "not_for_release": obstacle,
        "guarantees": [answer.to_dict(), record.to_dict()],
        "explained": [answer.explain(num_classes=num_classes), record.explain()],
        "answers": len(released),
        "epsilon_per_answer": None if clean else config.privacy.epsilon,
        "stages": config.privacy.stages,
        "mechanisms": [_mechanism(number, part) for number, part in enumerate(released.parts, start=1)],
        "adjacency": ADJACENCY
        | ({"record": certificate["adjacency"]} if certificate and by_certificate else {}),
        "composition": {}
        if obstacle == CLEAN
        else _composition(by_certificate, len(released.parts), clean=clean),
        "randomness": config.privacy.source,
        "sources_of_randomness": _randomness(config, certificate),
        "pool": transcript.pool,
        "pool_sources": pool_sources(pool),
        "teacher": dict(certificate) if certificate else None,
        "plain_words": _words(
            None if clean else config.privacy.epsilon, len(released), record, composed, obstacle
        ),
        "composed_if_the_pool_were_independent": composed.to_dict(),
        "not_covered": _not_covered(transcript, certificate),
        "software": f"labeldp {__version__}",
    }


def pool_sources(pool: Pool) -> dict[str, int]:
    """How many images of the pool come from each source; sources without any are left out."""
    counts = np.bincount(pool.origin, minlength=len(pool.sources)).tolist()
    return {name: count for name, count in zip(pool.sources, counts, strict=True) if count}


def _obstacle(
    transcript: accounting.Transcript,
    answer: accounting.Guarantee,
    record: accounting.Guarantee,
    *,
    clean: bool,
) -> str | None:
    """Why nothing may leave, if so. Answers without noise may where the certificate of the teacher covers all that is made with it."""
    if clean and not (transcript.teacher is not None and record.holds):
        return CLEAN
    return None if answer.releasable else SEEDED


def _words(
    epsilon: float | None,
    num_answers: int,
    record: accounting.Guarantee,
    composed: accounting.Guarantee,
    obstacle: str | None,
) -> str:
    """What must always stand beside an epsilon per answer."""
    if obstacle is not None:
        return f"Nothing is promised to anybody, because {obstacle}. {num_answers:,} answers were used."
    if epsilon is None:
        return (
            f"{num_answers:,} answers of the teacher were used without noise: nothing is promised about a single answer. The teacher is "
            f"private itself, and for one training record there is its guarantee: {_at(record)}. Further students of this same teacher add "
            f"nothing to that; another teacher of the same records, such as that of a run with the same seed, adds its own epsilon."
        )
    if record.holds:
        about_records = f"For one training record there is a guarantee of its own: {_at(record)}."
    else:
        about_records = (
            f"This is not a guarantee about the people or records the teacher was trained on. If the pool had been made without the "
            f"teacher, composing all answers would give {_at(composed)} for one training record."
        )
    return (
        f"Epsilon {accounting.rounded_up(epsilon)} protects each single answer of the teacher; {num_answers:,} answers were released. "
        f"{about_records} Every further run with the same teacher and pool that is published, such as one with the same seed, adds its "
        f"own epsilon."
    )


def privacy_card(privacy: dict[str, Any]) -> str:
    """The statement as a page of Markdown; its first line says so when the release must not be published."""
    stamp = "" if privacy["releasable"] else f"**NOT FOR RELEASE: {privacy['not_for_release']}.**\n\n"
    sections = {
        "Guarantees": _guarantees(privacy),
        "Mechanisms": [_mechanism_line(each) for each in privacy["mechanisms"]],
        "What changes between neighbours": [
            f"**{unit}**: {text}." for unit, text in privacy["adjacency"].items()
        ],
        "Composition": [
            f"{privacy['answers']:,} answers, each used once in this release, by the label stages `{privacy['stages']}`.",
            *privacy["composition"].values(),
        ],
        "Randomness": [f"**{what}**: {text}." for what, text in privacy["sources_of_randomness"].items()],
        "Where the pool comes from": [_provenance(privacy)],
        "Teacher": _teacher(privacy["teacher"]),
        "What is not covered": [f"{text}." for text in privacy["not_covered"]],
    }
    if privacy["stages"] != "clean" or privacy["releasable"]:  # else the student stays private
        texts = LOADING if privacy["stages"] != "clean" else LOADING[:1]
        sections["How to load it"] = [f"{text}." for text in texts]
    body = "\n".join(
        f"## {title}\n\n" + "\n".join(f"- {line}" for line in lines) + "\n"
        for title, lines in sections.items()
    )
    return f"{stamp}# Privacy of this release\n\n{privacy['plain_words']}\n\n{body}\nMade with {privacy['software']}.\n"


def _void(guarantee: accounting.Guarantee, why: str, *, releasable: bool) -> accounting.Guarantee:
    return accounting.Guarantee(guarantee.unit, False, math.inf, guarantee.delta, why, releasable=releasable)


def _at(guarantee: accounting.Guarantee) -> str:
    epsilon = "infinity" if math.isinf(guarantee.epsilon) else accounting.rounded_up(guarantee.epsilon)
    return f"epsilon {epsilon} at delta {accounting.rounded_up(guarantee.delta)}"


def _mechanism(number: int, part: Any) -> dict[str, Any]:
    parameters = {name: value for name, value in asdict(part.mechanism).items() if value is not None}
    return {
        "stage": number,
        "name": type(part.mechanism).__name__,
        "answers": len(part),
        "parameters": parameters,
    }


def _mechanism_line(each: dict[str, Any]) -> str:
    parameters = ", ".join(f"{name} = {value}" for name, value in each["parameters"].items())
    return f"stage {each['stage']}: {each['name']} ({parameters}), {each['answers']:,} answers"


def _composition(by_certificate: bool, num_stages: int, *, clean: bool) -> dict[str, str]:
    if clean:
        return {"record": TEACHER_ALONE}
    return {
        "answer": ONE_USE if num_stages == 1 else f"{ONE_USE} {STAGES}",
        "record": TEACHER_ALONE if by_certificate else ALL_ANSWERS,
    }


def _randomness(config: Config, certificate: Mapping[str, Any] | None) -> dict[str, str]:
    kind = "none" if config.privacy.stages == "clean" else config.privacy.source
    labels = {
        "none": "none",
        "system": "AES-256 in counter mode under a fresh key of the operating system, kept nowhere",
        "seeded": f"reproducible from the seed {config.seed}; for experiments only",
    }
    sources = {
        "noise on the labels": labels[kind],
        "split, pool, weights and order of training": f"public: the seed {config.seed}",
    }
    if certificate:
        stated = str(certificate.get("randomness", "as its author states"))
        sources["training of the teacher"] = {
            "system": "samples and noise from a key of the operating system; arithmetic in floating point",
            "seeded": "reproducible from a seed; for experiments only",
        }.get(stated, stated)
    return sources


def _not_covered(transcript: accounting.Transcript, certificate: Mapping[str, Any] | None) -> list[str]:
    texts: list[str] = [*NOT_COVERED]
    if transcript.pool != "independent":
        texts.insert(0, POOL_AND_RECORDS if transcript.teacher is None else POOL_AND_ANSWERS)
    if certificate and "not_covered" in certificate:
        texts.append(f"in the teacher's certificate: {certificate['not_covered'].rstrip('.')}")
    return texts


def _guarantees(privacy: dict[str, Any]) -> list[str]:
    return [
        (
            f"**Epsilon {accounting.rounded_up(g['epsilon'])} per {g['unit']}**, delta {accounting.rounded_up(g['delta'])}. "
            if g["holds"]
            else f"**No guarantee per {g['unit']}.** "
        )
        + explained
        for g, explained in zip(privacy["guarantees"], privacy["explained"], strict=True)
    ]


def _provenance(privacy: dict[str, Any]) -> str:
    sources = ", ".join(f"{count:,} {name}" for name, count in privacy["pool_sources"].items())
    made = (
        "made without the teacher and its data"
        if privacy["pool"] == "independent"
        else "made with the teacher"
    )
    return f"{sources} images, {made}."


def _teacher(certificate: dict[str, Any] | None) -> list[str]:
    if certificate is None:
        return ["no certificate: nothing is claimed about the training of the teacher."]
    facts = {key: value for key, value in certificate.items() if key not in ("type", "event", "not_covered")}
    return [
        f"{key.replace('_', ' ')}: {in_words(value).rstrip('.')}."
        for key, value in facts.items()
        if value is not None
    ]


def in_words(fact: Any) -> str:
    """A fact of a certificate as text; a mapping becomes a list of names with values."""
    if isinstance(fact, Mapping):
        return ", ".join(f"{name} {value}" for name, value in fact.items())
    return str(fact)
