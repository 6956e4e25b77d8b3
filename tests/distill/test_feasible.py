"""What cannot end is refused before an answer is drawn; what goes wrong afterwards does not stop a run."""

import numpy as np
import pytest
import torch

from distill import report_figures
from distill.config_file import configuration
from distill.feasible import refuse_too_few
from distill.label_schemes import label_scheme
from distill.progress import RunProgress
from distill.recipe import run
from distill.student import student_prior
from distill.usage import UsageError
from labeldp.learning.stages import Stage, privatize

STAGES = ("subset+srr", "seed", "rr", "subset", "partition", "clean")
POOL = {"trajectory": 0.0, "procedural": 1.0}
QUICK = {"teacher": {"epochs": 1}, "student": {"epochs": 1}}


def refused(stages: str, size: int, *, batch_size: int = 256, processes: int = 1) -> bool:
    config = configuration(
        {
            "pool": {"size": size, **POOL},
            "student": {"batch_size": batch_size},
            "privacy": {"stages": stages},
        }
    )
    try:
        refuse_too_few(config, num_classes=10, processes=processes)
    except UsageError:
        return True
    return False


@pytest.mark.parametrize("stages", STAGES)
def test_the_smallest_pool_that_is_let_through_ends(tmp_path, stages: str) -> None:
    size = next(size for size in range(1, 10) if not refused(stages, size))
    config = configuration({**QUICK, "pool": {"size": size, **POOL}, "privacy": {"stages": stages}})
    run(config, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "report.json").exists()


def test_a_smaller_one_is_refused_with_nothing_released(tmp_path, monkeypatch) -> None:
    config = configuration({**QUICK, "pool": {"size": 3, **POOL}, "privacy": {"stages": "seed"}})
    with pytest.raises(UsageError, match=r"pool\.size"):
        run(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    monkeypatch.setattr(
        "distill.recipe.refuse_too_few", lambda *a, **k: None
    )  # the twin: else it would be late
    with pytest.raises(ValueError, match="2 images|more than 1 value"):
        run(config, tmp_path / "run", quiet=True)
    assert (tmp_path / "run" / "release" / "noisy_labels_1.npz").exists()


def test_every_process_needs_a_share_of_a_batch() -> None:
    assert refused("rr", 100, batch_size=1)
    assert refused("rr", 100, batch_size=3, processes=2)
    assert refused("rr", 3, processes=2)
    assert not refused("rr", 100, batch_size=4, processes=2)
    with pytest.raises(UsageError, match=r"teacher\.batch_size"):
        refuse_too_few(configuration({"teacher": {"batch_size": 1}}), num_classes=10)


def test_a_student_that_diverged_gives_a_uniform_prior() -> None:
    images = torch.rand(20, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    priors = []
    for rate in (1e30, 1e-3):
        config = configuration({"student": {"epochs": 3, "batch_size": 5, "learning_rate": rate}})
        scheme = label_scheme("rr", epsilon=1.0, num_classes=10)
        released = privatize(
            np.arange(20) % 10, [Stage(scheme.stages[0].mechanism, 1.0)], prior=lambda *a: None, seed=0
        )
        given = (config, scheme, images, released, np.arange(20), RunProgress(quiet=True))
        if rate > 1:
            with pytest.warns(UserWarning, match="diverged"):
                priors.append(student_prior(*given))
        else:
            priors.append(student_prior(*given))
    assert (priors[0] == np.float32(0.1)).all()
    assert not (priors[1] == np.float32(0.1)).any()


def test_of_many_classes_those_with_images_are_shown() -> None:
    image = np.zeros((2, 1, 4, 4), dtype=np.uint8)
    stacks = [np.empty(0)] * 990 + [image] * 10
    names = [f"class {c}" for c in range(1000)]
    drawn = report_figures.pool_samples(stacks, names)
    assert "<svg" in drawn
    assert drawn != report_figures.pool_samples(stacks, names[::-1])
    two = [np.empty(0), image]
    assert report_figures.pool_samples(two, names) != report_figures.pool_samples([image, image], names)
