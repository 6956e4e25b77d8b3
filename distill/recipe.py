"""The recipe, from top to bottom: teacher, generator, pool, noisy labels, student, report.

Each long phase keeps checkpoints (`saved`); a recipe that starts again on the same directory finds what is done and goes on from there.
"""

import os
from pathlib import Path
from time import perf_counter

from torch import nn

from distill import data
from distill.checkpoint import Saved, SavedRun
from distill.claim import CHECKPOINTS, PRIVATE, Claim, resumed, started
from distill.config import Config
from distill.feasible import refuse_too_few
from distill.noisy_answers import noisy_answers
from distill.pool import Pool, build_pool
from distill.progress import RunProgress
from distill.ranks import help_unless_first, led_by_the_first, processes
from distill.report import Report, write_report
from distill.reuse import take_over
from distill.run_directory import (
    read_answers,
    read_clean_student,
    read_pool,
    read_teacher,
    write_clean_student,
    write_private,
    write_release,
)
from distill.student import final_student, resolved_device, train_student
from distill.teacher import HeldTeacher, answers, obtain_teacher
from distill.train import one_hot, predict, train
from distill.usage import UsageError


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
    help_unless_first(train)
    with started(Path(out), config, replace=replace) as claim:
        return distilled(claim, quiet=quiet)


def resume(out: str | os.PathLike[str], *, quiet: bool = False) -> Report:
    """Goes on with a run that was interrupted, at whatever moment.

    With seeded noise the result is that of an uninterrupted run on the same machine, bit for bit. Noisy labels that are on the disk
    are never drawn again, whatever the noise.

    Raises:
        UsageError: no run in `out`, a finished one, one at which another process is at work, or damaged checkpoints.
    """
    help_unless_first(train)
    with resumed(Path(out)) as claim:
        if claim.finished:
            raise UsageError(f"Expected an interrupted run in {out}, got a finished one.")
        return distilled(claim, quiet=quiet)


@led_by_the_first(helped=train)
def distilled(claim: Claim, *, quiet: bool = False) -> Report:
    """Does what is left to do in a run directory that `claim` holds."""
    start = perf_counter()
    folder, config = claim.folder, claim.config
    private = folder / PRIVATE
    progress = RunProgress(
        folder / "metrics.jsonl", events=private / "tensorboard", quiet=quiet, resumed=True
    )
    saved = SavedRun(folder / CHECKPOINTS, config)
    try:
        dataset = data.load(config.data)
    except (ValueError, OSError) as error:
        raise UsageError(str(error)) from error

    refuse_too_few(config, num_classes=dataset.num_classes, processes=processes())

    # private: everything up to the answers depends on the training data, without other protection than the teacher's own
    if config.pool.from_run:
        take_over(config, private, claim.name)
        teacher = read_teacher(private, config, dataset)
    else:
        teacher, made = teacher_and_pool(config, dataset, progress=progress, saved=saved)
        write_private(
            private,
            run=claim.name,
            teacher=teacher,
            pool=made,
            answers=lambda: answers(teacher.network, made.images),
        )
    pool, secret = read_pool(private), read_answers(private)

    # the barrier: each answer is read once, by the mechanism of its stage
    released = noisy_answers(
        config,
        pool,
        secret,
        num_classes=dataset.num_classes,
        progress=progress,
        saved=saved,
        folder=folder,
    )
    student = final_student(config, pool.images, released, progress=progress, saved=saved)
    privacy = write_release(
        folder, config, pool, released, student, dataset, run=claim.name, certificate=teacher.certificate
    )

    # diagnostics, for the data holder alone: a student of the answers themselves
    clean = student if config.privacy.stages == "clean" else read_clean_student(private, config, dataset)
    clean = clean or train_student(
        config,
        pool.images,
        one_hot(secret, dataset.num_classes),
        name="clean-label student",
        progress=progress,
        saved=saved,
    )
    write_clean_student(private, clean)
    models: dict[str, nn.Module] = {
        "teacher": teacher.network,
        "clean_student": clean,
        "private_student": student,
    }
    report = Report(
        config=config,
        predictions={name: predict(model, dataset.test_images) for name, model in models.items()},
        test_labels=dataset.test_labels,
        privacy=privacy,
        pool=pool,
        shown=predict(student, pool.images).argmax(axis=1),
        released=released,
        figures=progress.figures,
        seconds={**progress.seconds, "all": perf_counter() - start + saved.seconds_before},
        folder=folder,
        classes=dataset.classes,
    )
    write_report(report)
    return report


def teacher_and_pool(
    config: Config, dataset: data.Dataset, *, progress: RunProgress, saved: Saved
) -> tuple[HeldTeacher, Pool]:
    """Trains or loads the teacher, and makes the pool with it."""
    device = resolved_device(config.device)
    teacher = obtain_teacher(dataset, config, device=device, progress=progress, saved=saved)
    return teacher, build_pool(
        teacher.network,
        config.pool,
        config.generator,
        shape=dataset.shape,
        num_classes=dataset.num_classes,
        seed=config.seed,
        progress=progress,
        saved=saved,
    )
