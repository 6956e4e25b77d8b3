"""Privacy-utility curves of a private teacher and its students against the epsilon of one training record."""

import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import msgspec
import torch
from msgspec.structs import replace

from distill import data, recipe
from distill.answer_curves import finished_run
from distill.certificate import calibrated
from distill.checkpoint import UNSAVED
from distill.config import Config
from distill.curves import CLEAN, Row, cells_of
from distill.progress import RunProgress
from distill.report import read_report
from distill.student import resolved_device
from distill.teacher import train_teacher
from distill.train import accuracy
from distill.usage import UsageError

TEACHER, STUDENT, NOISY = "teacher", "student", "student of noisy answers"
METHODS = (TEACHER, STUDENT, NOISY)


@dataclass(frozen=True)
class RecordSweep:
    """A grid of private teachers; the unit of its epsilons is `record`, at the delta of the configuration.

    Methods are the teacher itself, a data-free student of its answers as they are, and one of noisy answers, by the label stages and
    the epsilon of the configuration: that epsilon is of one answer, and adds nothing for a record. The ceiling, "clean", is a teacher
    of the same network that is trained without protection.

    Attributes:
        config: everything but the seed and the epsilon of a record; its teacher is private.
        methods: of METHODS; the ceiling always comes with them.
        epsilons: of one training record, DP-SGD and moment release together.
        seeds: seeds 0, 1, ... of every public draw; noise is secret and never the same.
        folder: where teachers and pools are kept, private.
    """

    config: Config
    methods: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: int
    folder: Path

    def cells(self) -> Iterator[Row]:
        """What identifies each run, seed after seed."""
        told = {**msgspec.to_builtins(self.config), "score": "accuracy"}
        del told["seed"], told["teacher"]["private"]["epsilon"]
        methods = (CLEAN, *(name for name in self.methods if name != CLEAN))
        known_by = {"unit": "record", "data": self.config.data.name}
        return cells_of(known_by, methods, self.epsilons, self.seeds, told)

    def check(self) -> None:
        """Refuses what no run could do.

        Raises:
            UsageError: a teacher without protection, noise from a seed, another run's pool, an epsilon below what the moment release
                spends, an unknown method, or data that are missing or damaged.
        """
        kind, source, from_run = (
            self.config.teacher.kind,
            self.config.privacy.source,
            self.config.pool.from_run,
        )
        if (kind, source, from_run) != ("private", "system", ""):
            raise UsageError(
                "Expected a configuration whose teacher is trained here by DP-SGD with secret noise (teacher.kind = private, privacy.source "
                f"= system, no pool.from), such as configs/digits-private-teacher.toml, got {kind}, {source}, {from_run!r}."
            )
        for name in self.methods:
            if name not in (*METHODS, CLEAN):
                raise UsageError(f"Expected methods among {', '.join(METHODS)}, got {name!r}.")
        for epsilon in self.epsilons:
            try:
                calibrated(self._config(epsilon, seed=0).teacher.private)
            except ValueError as error:
                raise UsageError(f"epsilon {epsilon:g}: {error}") from None
        try:
            data.load(self.config.data)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error

    def run_cell(self, cell: Row) -> Row:
        """Runs one cell, and returns it with the accuracy on the test images and its time."""
        torch.set_num_threads(1)  # one process for each core
        start, method = time.perf_counter(), cell["method"]
        score = self._ceiling(cell["seed"]) if method == CLEAN else self._score(cell)
        dataset = data.load(self.config.data)
        return {
            **cell,
            "score": score,
            "delta": self.config.teacher.private.delta,
            "num_classes": dataset.num_classes,
            "test_items": len(dataset.test_labels),
            "seconds": round(time.perf_counter() - start, 2),
        }

    def _config(self, epsilon: float, *, seed: int) -> Config:
        """The run in which a teacher of that epsilon and its student of answers without noise are made."""
        private = replace(self.config.teacher.private, epsilon=epsilon)
        teacher = replace(self.config.teacher, private=private)
        return replace(
            self.config, teacher=teacher, privacy=replace(self.config.privacy, stages=CLEAN), seed=seed
        )

    def _score(self, cell: Row) -> float:
        """The accuracy of a method, whose record of privacy has to be what the line says.

        Privacy: student and noisy answers see the records through the teacher alone, whose certificate covers them.
        """
        config = self._config(cell["epsilon"], seed=cell["seed"])
        base = finished_run(config, self.folder, f"seed-{cell['seed']}-epsilon-{cell['epsilon']:g}")
        report = read_report(base)
        if cell["method"] == NOISY:
            config = replace(
                config, privacy=self.config.privacy, pool=replace(config.pool, from_run=str(base))
            )
            with tempfile.TemporaryDirectory(dir=self.folder) as folder:
                report = recipe.run(config, Path(folder) / "run", quiet=True).to_dict()
        (record,) = (one for one in report["guarantees"] if one["unit"] == "record")
        assert record["holds"]
        assert record["epsilon"] <= cell["epsilon"]
        return report["accuracy"]["teacher" if cell["method"] == TEACHER else "private_student"]

    def _ceiling(self, seed: int) -> float:
        dataset = data.load(self.config.data)
        teacher = train_teacher(
            dataset,
            self.config.teacher,
            seed=seed,
            progress=RunProgress(quiet=True),
            device=resolved_device(self.config.device),
            saved=UNSAVED,
        )
        return accuracy(teacher, dataset.test_images, dataset.test_labels)
