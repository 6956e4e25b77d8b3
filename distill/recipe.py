"""The recipe, from top to bottom: teacher, generator, pool, noisy labels, student, report."""

import os
from pathlib import Path
from time import perf_counter

import numpy as np
from torch import nn

from distill import data
from distill.config import Config
from distill.config_file import UsageError, to_toml
from distill.pool import Pool, build_pool
from distill.progress import RunProgress
from distill.report import Report, write_report
from distill.run_directory import prepared, write_private, write_release
from distill.student import final_student, label_scheme, resolved_device, student_prior, train_student
from distill.teacher import answers, train_teacher
from distill.train import one_hot, predict
from labeldp import SeededSource
from labeldp.learning.stages import StagedLabels, privatize


def run(config: Config, out: str | os.PathLike[str], *, replace: bool = False, quiet: bool = False) -> Report:
    """Distils a private teacher into a student that may be released, and reports on it.

    Args:
        config: everything that decides the run, apart from the noise on the labels.
        out: run directory; new or empty, unless `replace` says that an earlier run there may go.
        replace: whether an earlier run in `out` is deleted first.
        quiet: shows no progress.

    Returns:
        The report, which is also written to the run directory with everything else (docs/design).

    Raises:
        UsageError: a directory in use, data that are missing or damaged.

    Privacy:
        What lies in `release/` is a function of the pool, the noisy labels and the public configuration: each teacher answer enters it
        once, through the mechanism of its stage. Everything else in the run directory is for the data holder.
    """
    start = perf_counter()
    folder = prepared(Path(out), replace=replace)
    (folder / "config.toml").write_text(to_toml(config), encoding="utf-8")
    progress = RunProgress(folder / "metrics.jsonl", events=folder / "private" / "tensorboard", quiet=quiet)
    device = resolved_device(config.device)
    try:
        dataset = data.load(config.data)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error

    # private: everything up to the answers depends on the training data without protection
    teacher = train_teacher(dataset, config.teacher, seed=config.seed, device=device, progress=progress)
    pool = build_pool(
        teacher,
        config.pool,
        config.generator,
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        seed=config.seed,
        progress=progress,
    )
    secret = answers(teacher, pool.images)

    # the barrier: each answer is read once, by the mechanism of its stage
    released = noisy_answers(config, pool, secret, num_classes=dataset.num_classes, progress=progress)
    student = final_student(config, pool.images, released, progress=progress)
    privacy = write_release(folder / "release", config, pool, released, student, dataset)

    # diagnostics, for the data holder alone: a student of the answers themselves
    clean = train_student(
        config,
        pool.images,
        one_hot(secret, dataset.num_classes),
        name="clean-label student",
        progress=progress,
    )
    write_private(folder / "private", teacher=teacher, clean_student=clean, pool=pool, answers=secret)
    models: dict[str, nn.Module] = {"teacher": teacher, "clean_student": clean, "private_student": student}
    report = Report(
        config=config,
        predictions={name: predict(model, dataset.test_images) for name, model in models.items()},
        test_labels=dataset.test_labels,
        privacy=privacy,
        pool=pool,
        shown=predict(student, pool.images).argmax(axis=1),
        released=released,
        figures=progress.figures,
        seconds={**progress.seconds, "all": perf_counter() - start},
        folder=folder,
    )
    write_report(report)
    return report


def noisy_answers(
    config: Config, pool: Pool, secret: np.ndarray, *, num_classes: int, progress: RunProgress
) -> StagedLabels:
    """Releases one noisy label for each answer, stage after stage, the student of earlier stages being the prior.

    Privacy: epsilon-DP for each answer, given the pool. The prior of a stage is made from the pool and from earlier noisy labels.
    """
    scheme = label_scheme(config.privacy.stages, epsilon=config.privacy.epsilon, num_classes=num_classes)

    def prior(released: StagedLabels, items: np.ndarray) -> np.ndarray | None:
        return student_prior(config, scheme, pool.images, released, items, progress)

    source = SeededSource(config.seed) if config.privacy.source == "seeded" else None
    return privatize(secret, scheme.stages, prior=prior, seed=config.seed, source=source)
