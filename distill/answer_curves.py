"""Privacy-utility curves of distillation: label stages against the epsilon of one answer, with one teacher and one pool for each seed."""

import fcntl
import hashlib
import json
import shutil
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from msgspec.structs import replace

from distill import data, recipe
from distill.config import Config
from distill.curves import CLEAN, Row, cells_of
from distill.run_directory import POOL
from distill.usage import UsageError


@dataclass(frozen=True)
class AnswerSweep:
    """A grid of distillations; the unit of its epsilons is `answer`.

    Attributes:
        config: everything but the seed and the privacy of a run.
        methods: names of label stages; "clean" is the ceiling.
        epsilons: of one answer.
        seeds: seeds 0, 1, ... of every public draw; all runs of a seed ask the same teacher about the same pool.
        folder: where the teachers and pools are kept, private.
    """

    config: Config
    methods: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: int
    folder: Path

    def cells(self) -> Iterator[Row]:
        """What identifies each run, seed after seed; the ceiling first, with which a teacher and a pool are made."""
        told = {**msgspec.to_builtins(self.config), "score": "accuracy"}
        del told["seed"], told["privacy"]["stages"], told["privacy"]["epsilon"]
        methods = (CLEAN, *(name for name in self.methods if name != CLEAN))
        known_by = {"unit": "answer", "data": self.config.data.name}
        return cells_of(known_by, methods, self.epsilons, self.seeds, told)

    def check(self) -> None:
        """Refuses what no run could do.

        Raises:
            UsageError: unknown label stages; data that are missing or damaged.
        """
        try:
            data.load(self.config.data)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        for name in self.methods:
            if name != CLEAN:
                self._config(name, max(self.epsilons), seed=0)

    def run_cell(self, cell: Row) -> Row:
        """Runs one cell, and returns it with the accuracy on the test images and its time."""
        torch.set_num_threads(1)  # one process for each core
        start, seed = time.perf_counter(), cell["seed"]
        base = finished_run(
            self._config(CLEAN, self.config.privacy.epsilon, seed=seed), self.folder, f"seed-{seed}"
        )
        ceiling = json.loads((base / "report.json").read_text(encoding="utf-8"))
        score = ceiling["accuracy"]["clean_student"]
        if cell["method"] != CLEAN:
            config = self._config(cell["method"], cell["epsilon"], seed=seed)
            pool = replace(config.pool, from_run=str(base))
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                report = recipe.run(replace(config, pool=pool), Path(folder) / "run", quiet=True)
            score = report.accuracy["private_student"]
        return {
            **cell,
            "score": score,
            "teacher": ceiling["accuracy"]["teacher"],
            "num_classes": len(ceiling["confusion"]["private_student"]),
            "test_items": ceiling["num_test_images"],
            "pool_digest": _digest((base / "private" / POOL).read_bytes()),
            "seconds": round(time.perf_counter() - start, 2),
        }

    def _config(self, stages: str, epsilon: float, *, seed: int) -> Config:
        try:
            privacy = replace(self.config.privacy, stages=stages, epsilon=epsilon)
        except ValueError as error:
            raise UsageError(str(error)) from None
        return replace(self.config, privacy=privacy, seed=seed)


def finished_run(config: Config, folder: Path, name: str) -> Path:
    """A run whose teacher and pool serve several cells; made if it is not there, by one process.

    Args:
        config: of the run. Another one is another run, never taken for this one.
        folder: keeps such runs; private.
        name: of the run in it, before the digest of its configuration.
    """
    run = folder / f"{name}-{_digest(msgspec.json.encode(config))}"
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{run.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (run / "report.json").is_file():
            shutil.rmtree(run, ignore_errors=True)
            recipe.run(config, run, quiet=True)
    return run


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]
