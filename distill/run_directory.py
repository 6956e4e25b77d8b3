"""The directory of a run: what stays private, and the release that may be published."""

import json
from collections.abc import Callable
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
from distill.label_schemes import event_of
from distill.pool import Pool, from_tensors, to_tensors
from distill.privacy_card import privacy_card, privacy_statement
from distill.release_list import other_releases, record_release, with_other_releases
from distill.student import resolved_device
from distill.teacher import HeldTeacher, same_network
from distill.tensor_files import read_description, read_tensors, write_tensors
from distill.train import predict
from labeldp.learning.stages import StagedLabels

STUDENT, TEACHER, CLEAN_STUDENT, POOL, ANSWERS = (
    f"{name}.safetensors" for name in ("student", "teacher", "clean_student", "pool", "answers")
)


def write_private(
    folder: Path, *, run: str, teacher: HeldTeacher, pool: Pool, answers: Callable[[], np.ndarray]
) -> None:
    """Writes what must stay with the data holder, readable by its owner only; the answers last, and once.

    Teacher, pool and answers carry the name of the run: what is reused must have been made together.
    Before the first of them is released: what cannot be written then stops a run that has given away nothing. And a teacher that is
    asked again may answer otherwise (other hardware, state that is in no file): an answer that was drawn upon stays what it was.
    """
    if (folder / ANSWERS).exists():
        return
    certificate = teacher.certificate and teacher.certificate.to_dict()
    for name, tensors, description in (
        (TEACHER, teacher.network.state_dict(), {"certificate": certificate}),
        (POOL, to_tensors(pool), {"made_with_teacher": pool.made_with_teacher}),
        (ANSWERS, {"answers": torch.from_numpy(answers())}, {}),
    ):
        write_tensors(folder / name, tensors, {**description, "made_by": run})


def write_clean_student(folder: Path, student: nn.Module) -> None:
    """Writes the student of the answers themselves, readable by its owner only; what another run gave is not written again.

    It carries the name that the answers carry.
    """
    if not (folder / CLEAN_STUDENT).exists():
        maker = read_description(folder / ANSWERS)["made_by"]
        write_tensors(folder / CLEAN_STUDENT, student.state_dict(), {"made_by": maker})


def read_teacher(folder: Path, config: Config, dataset: Dataset) -> HeldTeacher:
    """The teacher in a private directory, with its certificate."""
    weights, description = read_tensors(folder / TEACHER)
    network = same_network(dataset, config)
    network.load_state_dict(weights, assign=True)  # an expanded buffer cannot be written to
    certificate = description["certificate"] and Certificate.from_dict(description["certificate"])
    return HeldTeacher(network.to(resolved_device(config.device)).eval(), certificate)


def read_clean_student(folder: Path, config: Config, dataset: Dataset) -> nn.Module | None:
    """The student of the answers themselves that another run has trained already, if there is one."""
    if not (folder / CLEAN_STUDENT).is_file():
        return None
    weights, _ = read_tensors(folder / CLEAN_STUDENT)
    model = models.build(
        config.student.model,
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        generator=torch.Generator(),
    )
    model.load_state_dict(weights)
    return model.to(resolved_device(config.device)).eval()


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
    measured on private data, comes near it. The student of clean answers is none of that: it stays private, unless the teacher's own
    certificate covers all that is made with the teacher.
    """
    release = folder / "release"
    release.mkdir(exist_ok=True)
    description = {
        "model": config.student.model,
        "shape": list(dataset.shape),
        "num_classes": dataset.num_classes,
        "classes": list(dataset.classes),
    }
    provenance = "made with the teacher" if pool.made_with_teacher else "independent"
    transcript = accounting.Transcript(
        [event_of(released, stages=config.privacy.stages, certified=certificate is not None)],
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
    if config.privacy.stages == "clean" and not privacy["releasable"]:
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
    """A released student: images (n, C, H, W), floats in [0, 1] or bytes, to class probabilities (n, K).

    Attributes:
        classes: the public names of the K columns, in order; empty where none were stated.
        shape: (C, H, W) of the images it takes.
    """

    model: nn.Module
    classes: tuple[str, ...]
    shape: tuple[int, int, int]

    def __call__(self, images: np.ndarray | torch.Tensor) -> np.ndarray:
        return predict(self.model, images)


def load_student(run: str | PathLike[str]) -> Student:
    """Loads the released student, from a run directory or from a copy of its release/, which is all that a recipient has.

    Raises:
        FileNotFoundError: the directory holds no released student.
    """
    path = Path(run) / "release" / STUDENT
    if not path.is_file() and (Path(run) / STUDENT).is_file():
        path = Path(run) / STUDENT
    if not path.is_file():
        private = Path(run) / PRIVATE / STUDENT
        hint = f" That of this run learnt from clean answers and is {private}." if private.is_file() else ""
        raise FileNotFoundError(
            f"Expected a run, or a copy of its release/, with the released student {STUDENT} in {run}, found none.{hint}"
        )
    weights, description = read_tensors(path)
    shape = tuple(description["shape"])
    model = models.build(
        description["model"],
        shape=shape,
        num_classes=description["num_classes"],
        generator=torch.Generator(),
    )
    model.load_state_dict(weights)
    return Student(model.eval(), tuple(description.get("classes", ())), shape)


def _json(value: dict[str, Any]) -> str:
    return json.dumps(value, indent=2) + "\n"
