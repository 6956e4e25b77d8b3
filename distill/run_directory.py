"""The directory of a run: what stays private, and the release that may be published."""

import json
import math
import shutil
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import nn

import accounting
from distill import models
from distill.certificate import Certificate
from distill.config import Config
from distill.config_file import UsageError
from distill.data import Dataset
from distill.pool import Pool
from distill.train import predict
from labeldp.learning.stages import StagedLabels

STUDENT = "student.safetensors"
DELTA = 1e-5


def prepared(folder: Path, *, replace: bool) -> Path:
    """An empty run directory. What is not a run is never deleted.

    Raises:
        UsageError: the directory is in use and may not be replaced, or is no run.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        if not replace:
            raise UsageError(
                f"Expected a new or empty directory for the run, got {folder}; choose another with --out."
            )
        if not (folder / "config.toml").is_file():
            raise UsageError(
                f"Expected an earlier run or nothing in {folder}, got something else; move it away."
            )
        shutil.rmtree(folder)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def write_private(
    folder: Path, *, teacher: nn.Module, clean_student: nn.Module, pool: Pool, answers: np.ndarray
) -> None:
    """Writes what must stay with the data holder, readable by its owner only."""
    folder.mkdir(mode=0o700)
    save_file(teacher.state_dict(), folder / "teacher.safetensors")
    save_file(clean_student.state_dict(), folder / "clean_student.safetensors")
    save_file({"images": pool.images, "origin": torch.from_numpy(pool.origin)}, folder / "pool.safetensors")
    save_file({"answers": torch.from_numpy(answers)}, folder / "answers.safetensors")
    for file in folder.iterdir():
        file.chmod(0o600)


def write_release(
    folder: Path,
    config: Config,
    pool: Pool,
    released: StagedLabels,
    student: nn.Module,
    dataset: Dataset,
    *,
    certificate: Certificate | None = None,
) -> dict[str, Any]:
    """Writes what may be published, and returns its privacy statement.

    Everything here is a function of the pool, the noisy labels and the public configuration; no true answer, and no accuracy
    measured on private data, comes near it.
    """
    folder.mkdir()
    description = {
        "model": config.student.model,
        "shape": list(dataset.shape),
        "num_classes": dataset.num_classes,
    }
    save_file(student.state_dict(), folder / STUDENT, metadata={"labeldp": json.dumps(description)})
    for number, noisy in enumerate(released.parts, start=1):
        noisy.save(folder / f"noisy_labels_{number}.npz")
    provenance = "made with the teacher" if pool.made_with_teacher else "independent"
    transcript = accounting.Transcript(
        [released.event],
        about="teacher",
        teacher=certificate.event if certificate else None,
        pool=provenance,
    )
    (folder / "transcript.json").write_text(_json(transcript.to_dict()), encoding="utf-8")
    privacy = privacy_statement(config, transcript, num_answers=len(released))
    if certificate:
        privacy["teacher"] = certificate.to_dict()
        (folder / "teacher_certificate.json").write_text(_json(certificate.to_dict()), encoding="utf-8")
    (folder / "privacy.json").write_text(_json(privacy), encoding="utf-8")
    (folder / "PRIVACY.md").write_text(privacy_card(privacy), encoding="utf-8")
    return privacy


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
        "plain_words": plain_words(
            config.privacy.epsilon,
            num_answers,
            composed,
            record if record.holds and transcript.teacher is not None else None,
        ),
        "composed_if_the_pool_were_independent": composed.to_dict(),
    }


def plain_words(
    epsilon: float,
    num_answers: int,
    composed: accounting.Guarantee,
    certified: accounting.Guarantee | None = None,
) -> str:
    """What must always stand beside an epsilon per answer; `certified` is the guarantee of a teacher that is private itself."""
    if certified:
        return (
            f"Epsilon {accounting.rounded_up(epsilon)} protects each single answer of the teacher; {num_answers:,} answers were released. "
            f"Something else protects each training record: the teacher's own certificate, epsilon {accounting.rounded_up(certified.epsilon)} "
            f"at delta {accounting.rounded_up(certified.delta)}, however many of its answers are released. The two are not added: they are "
            f"about different things. Every further run with the same teacher and pool that is published adds its own epsilon per answer."
        )
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


@dataclass(frozen=True)
class Student:
    """A released student: images (n, C, H, W), floats in [0, 1] or bytes, to class probabilities (n, K)."""

    model: nn.Module

    def __call__(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        return predict(self.model, images)


def load_student(run: str | PathLike[str]) -> Student:
    """Loads the released student of a run directory.

    Raises:
        FileNotFoundError: the directory holds no released student.
    """
    path = Path(run) / "release" / STUDENT
    if not path.is_file():
        raise FileNotFoundError(f"Expected a released student at {path}, found none.")
    with safe_open(path, framework="pt") as file:
        description = json.loads(file.metadata()["labeldp"])
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    model = models.build(
        description["model"],
        shape=tuple(description["shape"]),
        num_classes=description["num_classes"],
        generator=torch.Generator(),
    )
    model.load_state_dict(weights)
    return Student(model.eval())


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
