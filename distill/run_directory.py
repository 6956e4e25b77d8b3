"""The directory of a run: what stays private, and the release that may be published."""

import json
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

import accounting
from distill import models
from distill.certificate import Certificate
from distill.claim import PRIVATE
from distill.config import Config
from distill.data import Dataset
from distill.durable import SHARED, write_text
from distill.pool import Pool, from_tensors, to_tensors
from distill.privacy_card import privacy_card, privacy_statement
from distill.release_list import other_releases, record_release, with_other_releases
from distill.student import resolved_device
from distill.teacher import HeldTeacher, same_network
from distill.tensor_files import read_tensors, write_tensors
from distill.train import predict
from labeldp.learning.stages import StagedLabels

STUDENT, TEACHER, CLEAN_STUDENT, POOL, ANSWERS = (
    f"{name}.safetensors" for name in ("student", "teacher", "clean_student", "pool", "answers")
)


def write_private(
    folder: Path,
    *,
    run: str,
    teacher: HeldTeacher,
    clean_student: nn.Module,
    pool: Pool,
    answers: np.ndarray,
) -> None:
    """Writes what must stay with the data holder, readable by its owner only; what another run gave is not written again.

    Teacher, pool and answers carry the name of the run: what is reused must have been made together.
    """
    write_tensors(folder / CLEAN_STUDENT, clean_student.state_dict())
    certificate = teacher.certificate and teacher.certificate.to_dict()
    for name, tensors, description in (
        (TEACHER, teacher.network.state_dict(), {"certificate": certificate}),
        (POOL, to_tensors(pool), {"made_with_teacher": pool.made_with_teacher}),
        (ANSWERS, {"answers": torch.from_numpy(answers)}, {}),
    ):
        if not (folder / name).exists():
            write_tensors(folder / name, tensors, {**description, "made_by": run})


def read_teacher(folder: Path, config: Config, dataset: Dataset) -> HeldTeacher:
    """The teacher in a private directory, with its certificate."""
    weights, description = read_tensors(folder / TEACHER)
    network = same_network(dataset, config)
    network.load_state_dict(weights)
    certificate = description["certificate"] and Certificate.from_dict(description["certificate"])
    return HeldTeacher(network.to(resolved_device(config.device)).eval(), certificate)


def read_pool(folder: Path) -> Pool:
    """The pool in a private directory."""
    tensors, description = read_tensors(folder / POOL)
    return from_tensors(tensors, description["made_with_teacher"])


def read_answers(folder: Path) -> np.ndarray:
    """The teacher's answers to the pool in a private directory."""
    return read_tensors(folder / ANSWERS)[0]["answers"].numpy()


def write_release(
    folder: Path,
    config: Config,
    pool: Pool,
    released: StagedLabels,
    student: nn.Module,
    dataset: Dataset,
    *,
    run: str,
    certificate: Certificate | None = None,
) -> dict[str, Any]:
    """Writes what may be published beside the noisy labels, which are there already, and returns the privacy statement.

    Everything in release/ is a function of the pool, the noisy labels and the public configuration; no true answer, and no accuracy
    measured on private data, comes near it. The student of clean answers is none of that: it stays private.
    """
    release = folder / "release"
    release.mkdir(exist_ok=True)
    description = {
        "model": config.student.model,
        "shape": list(dataset.shape),
        "num_classes": dataset.num_classes,
    }
    provenance = "made with the teacher" if pool.made_with_teacher else "independent"
    transcript = accounting.Transcript(
        [released.event],
        about="teacher",
        teacher=certificate.event if certificate else None,
        pool=provenance,
    )
    card = certificate.to_dict() if certificate else None
    record_release(folder / PRIVATE, run, transcript)
    privacy = with_other_releases(
        privacy_statement(config, transcript, released=released, pool=pool, certificate=card),
        transcript,
        other_releases(folder / PRIVATE, run),
    )
    if config.privacy.stages == "clean":
        write_tensors(folder / PRIVATE / STUDENT, student.state_dict(), description)
    else:
        write_tensors(release / STUDENT, student.state_dict(), description, mode=SHARED)
    if card:
        write_text(release / "teacher_certificate.json", _json(card), mode=SHARED)
    write_text(release / "transcript.json", _json(transcript.to_dict()), mode=SHARED)
    write_text(release / "privacy.json", _json(privacy), mode=SHARED)
    write_text(release / "PRIVACY.md", privacy_card(privacy), mode=SHARED)
    return privacy


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
        private = Path(run) / PRIVATE / STUDENT
        hint = f" That of this run learnt from clean answers and is {private}." if private.is_file() else ""
        raise FileNotFoundError(f"Expected a released student at {path}, found none.{hint}")
    weights, description = read_tensors(path)
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
