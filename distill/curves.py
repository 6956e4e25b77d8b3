"""Privacy-utility curves: a grid of methods, epsilons and seeds on real data, one JSON line for each run, resumed where it stopped."""

import fcntl
import importlib
import json
import math
import os
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Any, Literal, Protocol, TextIO

import msgspec
import torch
from msgspec.structs import replace
from scipy.stats import rankdata
from torch import nn

from distill import config, data
from distill.curve_data import Origin, loaded
from distill.curve_scores import SCORES
from distill.distortion import shifted
from distill.durable import OWNER_ONLY
from distill.label_learning import METHODS, Learner, Method, learn
from distill.progress import RunProgress
from distill.student import resolved_device
from distill.train import accuracy, predict
from distill.usage import UsageError
from labeldp import Mechanism
from labeldp.learning.stages import Stage

CLEAN = "clean"

Row = dict[str, Any]
Scores = dict[str, dict[float, list[float]]]


class Grid(Protocol):
    """A grid of runs."""

    def cells(self) -> Iterator[Row]:
        """What identifies each run."""
        ...

    def check(self) -> None:
        """Refuses what no run could do, before the first one."""
        ...

    def run_cell(self, cell: Row) -> Row:
        """Runs one, and returns it with its score."""
        ...


def cells_of(
    known_by: Row, methods: Sequence[str], epsilons: Sequence[float], seeds: int, recipe: Row
) -> Iterator[Row]:
    """What identifies each run of a grid, seed after seed; the ceiling has no epsilon.

    Args:
        known_by: unit and data, in the words of a line.
        methods, epsilons, seeds, recipe: of the sweep.
    """
    for seed in range(seeds):
        for method in methods:
            for epsilon in [None] if method == CLEAN else epsilons:
                yield {**known_by, "method": method, "epsilon": epsilon, "seed": seed, "recipe": recipe}


@dataclass(frozen=True)
class Recipe:
    """How every model of a sweep is trained, whatever the method.

    Attributes:
        student: network, batch size and the rest.
        epochs: passes over the labels to choose from, by held-out noisy labels.
        shift: images are moved by up to so many pixels while a model is trained.
        mirrored: whether half of them are mirrored too.
        score: what is drawn: "accuracy", or "auc", the area under the ROC curve of two classes, where one of them is rare.
    """

    student: config.Student
    epochs: tuple[int, ...]
    shift: int = 0
    mirrored: bool = False
    score: Literal["accuracy", "auc"] = "accuracy"

    def to_dict(self) -> Row:
        """All of it, as every line of results says it."""
        return {
            **msgspec.to_builtins(self.student),
            "epochs": list(self.epochs),
            "shift": self.shift,
            "mirrored": self.mirrored,
            "score": self.score,
        }

    def learner(self, *, seed: int, device: torch.device) -> Learner:
        """Who trains the models of one run."""
        return Learner(
            model=self.student.model,
            settings=tuple(replace(self.student, epochs=epochs) for epochs in self.epochs),
            distort=shifted(self.shift, mirrored=self.mirrored) if self.shift or self.mirrored else None,
            seed=seed,
            device=device,
            progress=RunProgress(quiet=True),
        )


_CONVNET = config.Student(model="convnet", batch_size=256)
_ROWS = config.Student(model="mlp", batch_size=256)
RECIPES: dict[str, Recipe] = {
    "digits": Recipe(config.Student(model="mlp", batch_size=64), epochs=(10, 30), shift=1),
    "mnist": Recipe(_CONVNET, epochs=(3, 12), shift=2),
    "fashion-mnist": Recipe(_CONVNET, epochs=(3, 18), shift=2, mirrored=True),
    "cifar-10": Recipe(
        config.Student(model="convnet-3", batch_size=256), epochs=(10, 30), shift=4, mirrored=True
    ),
    "adult": Recipe(_ROWS, epochs=(2, 6)),
    "open-bandit": Recipe(_ROWS, epochs=(2, 6), score="auc"),
}
"""A recipe for each data set of classes; tables are learnt as rows of one pixel each."""


@dataclass(frozen=True)
class Sweep:
    """A grid of runs on people's labels; the unit of its epsilons is `label`.

    Attributes:
        data: name of the real data, one of RECIPES, or of the user's own: "folder", or the path of a table.
        directory: where its files lie; empty means the usual places.
        classes, label: of the user's own data, see `Origin`.
        recipe: how models are trained.
        methods: names, of METHODS or `module:name`; "clean" is the ceiling.
        epsilons: of one label.
        seeds: seeds 0, 1, ... of every public draw; methods share them, so that differences are paired.
        device: where models are trained.
    """

    data: str
    recipe: Recipe
    methods: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: int
    directory: str = ""
    device: str = "auto"
    classes: tuple[str, ...] = ()
    label: str = ""

    @property
    def origin(self) -> Origin:
        """Where the data come from."""
        return Origin(self.data, self.directory, self.classes, self.label)

    def cells(self) -> Iterator[Row]:
        """What identifies each run, seed after seed."""
        known_by = {"unit": "label", **self.origin.identity()}
        return cells_of(known_by, self.methods, self.epsilons, self.seeds, self.recipe.to_dict())

    def check(self) -> None:
        """Refuses what no run could do.

        Raises:
            UsageError: an unknown method, or data that are missing or damaged.
        """
        try:
            dataset = loaded(self.origin)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        for name in self.methods:
            if name != CLEAN:
                method_of(name, max(self.epsilons), dataset.num_classes)

    def run_cell(self, cell: Row) -> Row:
        """Runs one cell, and returns it with its score on the test items, its validation score and its time."""
        torch.set_num_threads(1)  # one process for each core
        start, dataset, name = time.perf_counter(), loaded(self.origin), cell["method"]
        method = None if name == CLEAN else method_of(name, cell["epsilon"], dataset.num_classes)
        learner = self.recipe.learner(seed=cell["seed"], device=resolved_device(self.device))
        learnt = learn(dataset, method, learner)
        return {
            **cell,
            "score": _score(learnt.model, dataset, self.recipe.score),
            "validation": learnt.validation,
            "epochs": learnt.settings.epochs,
            "num_classes": dataset.num_classes,
            "test_items": len(dataset.test_labels),
            **({"positives": int((dataset.test_labels == 1).sum())} if self.recipe.score == "auc" else {}),
            "seconds": round(time.perf_counter() - start, 2),
        }


def method_of(name: str, epsilon: float, num_classes: int) -> Method:
    """The method of that name; `module:name` is a function of epsilon and K that makes a mechanism, or a method.

    Raises:
        UsageError: no such method.
    """
    if name in METHODS:
        return METHODS[name](epsilon, num_classes)
    made: Mechanism | Method = made_elsewhere(name, [*METHODS, CLEAN])(epsilon, num_classes)
    return made if isinstance(made, Method) else Method((Stage(made, 1.0),))


def made_elsewhere(name: str, known: list[str]) -> Any:
    """What stands at `module:name`.

    Raises:
        UsageError: nothing, or a name that is neither known nor has a colon.
    """
    module, colon, attribute = name.partition(":")
    if not colon:
        raise UsageError(f"Expected a method among {', '.join(known)} or module:name, got {name!r}.")
    try:
        return getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        raise UsageError(f"Expected a function at {name}: {error}") from None


def _score(model: nn.Module, dataset: data.Dataset, score: str) -> float:
    if score == "accuracy":
        return accuracy(model, dataset.test_images, dataset.test_labels)
    right = predict(model, dataset.test_images)[:, 1]
    positive = dataset.test_labels == 1
    ranks = rankdata(right)[positive].sum()  # Mann and Whitney: ties count half
    n = int(positive.sum())
    return float((ranks - n * (n + 1) / 2) / (n * (len(right) - n)))


def run(sweep: Grid, file: Path, *, jobs: int = 1, quiet: bool = False) -> list[Row]:
    """Runs what the file of JSON lines does not hold yet, writing each run when it is done; returns all of the sweep's runs.

    Args:
        sweep: the grid.
        file: JSON lines; created if missing, for its owner only. A line that was cut off by a kill is left out and run again.
        jobs: processes at once.
        quiet: shows no progress.

    Raises:
        UsageError: an unknown method, data that are missing or damaged, or another process that writes to the file: before the first
            run.
    """
    sweep.check()
    cells = list(sweep.cells())  # once: of one's own data it reads all features
    file.parent.mkdir(parents=True, exist_ok=True)
    progress = RunProgress(quiet=quiet)
    with _held(file) as lines:
        known = {_key(row): row for row in read_rows(file)}
        missing = [cell for cell in cells if _key(cell) not in known]
        if file.stat().st_size and not file.read_bytes().endswith(b"\n"):
            lines.write("\n")
        with progress.phase("runs", total=len(missing)) as phase:
            for row in _results(sweep, missing, jobs):
                lines.write(json.dumps(row) + "\n")
                lines.flush()
                known[_key(row)] = row
                phase.advance(1)
    return [known[_key(cell)] for cell in cells]


@contextmanager
def _held(file: Path) -> Iterator[TextIO]:
    """The file of runs, to be added to by this process alone: two would release the same labels twice. It is its owner's: it holds scores."""
    with os.fdopen(os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT, OWNER_ONLY), "a") as lines:
        try:
            fcntl.flock(lines, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                f"Expected nobody else to write to {file}, another process does; wait for it, or give another --out."
            ) from None
        yield lines


def read_rows(file: Path) -> list[Row]:
    """The runs in a file of JSON lines; lines that a kill cut off are left out."""
    rows: list[Row] = []
    for line in file.read_text(encoding="utf-8").splitlines() if file.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def _results(sweep: Grid, cells: list[Row], jobs: int) -> Iterator[Row]:
    if jobs == 1 or len(cells) < 2:
        yield from (sweep.run_cell(cell) for cell in cells)
        return
    with ProcessPoolExecutor(jobs, mp_context=get_context("spawn")) as pool:
        futures: list[Future[Row]] = [pool.submit(sweep.run_cell, cell) for cell in cells]
        try:
            for future in as_completed(futures):
                yield future.result()
        finally:
            pool.shutdown(cancel_futures=True)


def _key(row: Row) -> str:
    known_by = ("unit", "data", "features", "method", "epsilon", "seed", "recipe")
    return json.dumps([row.get(name) for name in known_by])


def scores(rows: list[Row]) -> Scores:
    """Scores in their unit, seed after seed, by method and epsilon; the ceiling stands at infinity."""
    scale = SCORES[rows[0]["recipe"]["score"]].scale if rows else 1.0
    found: Scores = defaultdict(lambda: defaultdict(list))
    for row in sorted(rows, key=lambda row: row["seed"]):
        epsilon = math.inf if row["epsilon"] is None else row["epsilon"]
        found[row["method"]][epsilon].append(scale * row["score"])
    return {method: dict(sorted(by.items())) for method, by in found.items()}
