"""The directory of a run: what stays private, and the release that may be published."""

import json
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
from distill.config import Config
from distill.config_file import UsageError
from distill.data import Dataset
from distill.pool import Pool
from distill.privacy_card import privacy_card, privacy_statement
from distill.train import predict
from labeldp.learning.stages import StagedLabels

STUDENT = "student.safetensors"


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
    folder.mkdir(mode=0o700, exist_ok=True)  # training has left its event files there
    save_file(teacher.state_dict(), folder / "teacher.safetensors")
    save_file(clean_student.state_dict(), folder / "clean_student.safetensors")
    save_file({"images": pool.images, "origin": torch.from_numpy(pool.origin)}, folder / "pool.safetensors")
    save_file({"answers": torch.from_numpy(answers)}, folder / "answers.safetensors")
    for file in folder.glob("*.safetensors"):
        file.chmod(0o600)


def write_release(
    folder: Path, config: Config, pool: Pool, released: StagedLabels, student: nn.Module, dataset: Dataset
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
    transcript = accounting.Transcript([released.event], about="teacher", pool=provenance)
    (folder / "transcript.json").write_text(_json(transcript.to_dict()), encoding="utf-8")
    privacy = privacy_statement(config, transcript, released=released, pool=pool)
    (folder / "privacy.json").write_text(_json(privacy), encoding="utf-8")
    (folder / "PRIVACY.md").write_text(privacy_card(privacy), encoding="utf-8")
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
