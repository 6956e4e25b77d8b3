"""What must hold before the first answer is drawn, so that no run gives labels away and then cannot end."""

from itertools import accumulate

from distill.config import Config
from distill.label_schemes import label_scheme
from distill.usage import UsageError
from labeldp.learning.stages import split

LEAST = 2
"""Images of a batch that a batch norm needs, in each process."""


def refuse_too_few(config: Config, *, num_classes: int, processes: int = 1) -> None:
    """Refuses a pool or a batch that leaves a student, or one of the processes that train it, without enough images.

    All of it follows from the configuration: the split of the pool is public.

    Raises:
        UsageError: too few images for a student, or in a batch.
    """
    scheme = label_scheme(config.privacy.stages, epsilon=config.privacy.epsilon, num_classes=num_classes)
    parts = [config.pool.size]
    if scheme.stages:
        parts = [len(part) for part in split(config.pool.size, scheme.stages, seed=config.seed)]
    students = [*accumulate(parts)]  # of the first stage, of the first two, and so on
    if scheme.learns_from == "last":
        students[-1] = parts[-1]
    least = LEAST * processes
    if min(students) < least:
        raise UsageError(
            f"Expected pool.size to leave each student of the stages {config.privacy.stages} at least {least} images, got "
            f"{config.pool.size}, of which one has {min(students)}; raise it."
        )
    sections = {
        "student": config.student,
        **({"teacher": config.teacher} if config.teacher.kind == "trained" else {}),
    }
    for section, settings in sections.items():
        if settings.batch_size < least:
            raise UsageError(
                f"Expected {section}.batch_size to be at least {least}, {LEAST} in each process, got {settings.batch_size}."
            )
