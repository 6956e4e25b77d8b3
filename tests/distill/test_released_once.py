"""No answer is drawn twice: whatever is interrupted, moved away or lost, the noisy labels are those of the first draw, or none."""

import itertools
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from safetensors.torch import load_file

from distill import noisy_answers
from distill.checkpoint import UNSAVED, SavedRun
from distill.config_file import configuration
from distill.noisy_answers import kept_labels_file, noisy_labels_file
from distill.noisy_answers import noisy_answers as release
from distill.progress import RunProgress
from distill.student import final_student
from distill.usage import UsageError
from tests.distill.conftest import TINY

CONFIG = configuration(TINY)
QUIET = RunProgress(quiet=True)
POINTS = [(file, stage, late) for stage in (1, 2) for file in ("kept", "public") for late in (False, True)]


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


@pytest.fixture
def begin(tiny_run, tmp_path):
    """Answers the tiny run's pool into a run directory, as often as it is called."""
    (tmp_path / "private").mkdir()
    secret = load_file(tiny_run.folder / "private" / "answers.safetensors")["answers"].numpy()

    def begun(config=CONFIG, saved=None):
        kept = saved or SavedRun(tmp_path / "private", config)
        given = {"num_classes": 10, "progress": QUIET, "saved": kept, "folder": tmp_path}
        return release(config, tiny_run.pool, secret, **given)

    return begun


def interrupt(monkeypatch, path: Path, *, late: bool) -> None:
    """Ends the process when that file gets its name: just before, or just after."""
    real = Path.replace

    def replaced(draft: Path, target: Path) -> Path:
        if Path(target) != path:
            return real(draft, target)
        if late:
            real(draft, target)
        raise Interrupted

    monkeypatch.setattr(Path, "replace", replaced)


def public_files(folder: Path) -> dict[int, bytes]:
    return {
        stage: noisy_labels_file(folder, stage).read_bytes()
        for stage in (1, 2)
        if noisy_labels_file(folder, stage).exists()
    }


def redrawn(begin, folder: Path) -> int:
    """How many subsets of the public files, moved away, make a resumed run publish something else in their place."""
    seen, differ = public_files(folder), 0
    subsets = [chosen for size in range(len(seen) + 1) for chosen in itertools.combinations(seen, size)]
    for moved in reversed(subsets):
        for stage in moved:
            noisy_labels_file(folder, stage).unlink()
        begin()
        now = public_files(folder)
        differ += any(now[stage] != content for stage, content in seen.items())
        seen = now
    return differ


@pytest.mark.parametrize(("file", "stage", "late"), POINTS)
def test_what_is_moved_out_of_the_release_comes_back_as_it_was(
    file: str, stage: int, late: bool, begin, tmp_path, monkeypatch
) -> None:
    path = (kept_labels_file if file == "kept" else noisy_labels_file)(tmp_path, stage)
    with monkeypatch.context() as patch:
        interrupt(patch, path, late=late)
        with pytest.raises(Interrupted):
            begin()
    assert redrawn(begin, tmp_path) == 0


def test_a_run_without_a_memory_of_its_own_draws_again(begin, tmp_path, monkeypatch) -> None:
    """The twin: with the public file as the only memory, and students who learn from anything, the same check finds other labels."""
    monkeypatch.setattr(noisy_answers, "kept_labels_file", noisy_labels_file)
    (tmp_path / "release").mkdir()
    with monkeypatch.context() as patch:
        interrupt(patch, noisy_labels_file(tmp_path, 2), late=True)
        with pytest.raises(Interrupted):
            begin(saved=UNSAVED)
    assert redrawn(partial(begin, saved=UNSAVED), tmp_path) > 0


def test_the_whole_release_may_be_moved(begin, tmp_path) -> None:
    begin()
    before = public_files(tmp_path)
    (tmp_path / "release").rename(tmp_path / "published")
    begin()
    assert public_files(tmp_path) == before
    assert len(before) == 2


def test_labels_that_are_not_those_released_are_refused(begin, tmp_path) -> None:
    begin()
    public, kept = noisy_labels_file(tmp_path, 1), kept_labels_file(tmp_path, 1)
    whole = public.read_bytes()
    public.write_bytes(noisy_labels_file(tmp_path, 2).read_bytes())  # labels, but others
    with pytest.raises(UsageError, match="not drawn again; move that file away"):
        begin()
    public.unlink()
    begin()
    assert public.read_bytes() == whole  # the twin: as the message says
    kept.unlink()
    with pytest.raises(UsageError, match="start a new run"):
        begin()
    assert public.read_bytes() == whole


@pytest.mark.parametrize("key", ["seed", "privacy.epsilon", "student.epochs"])
def test_a_configuration_edited_after_the_first_label_is_refused(
    key: str, begin, tmp_path, monkeypatch
) -> None:
    """With another seed, items of stage 1 would be answered again in stage 2."""
    with monkeypatch.context() as patch:
        interrupt(patch, noisy_labels_file(tmp_path, 1), late=True)
        with pytest.raises(Interrupted):
            begin()
    edits = {"seed": "1", "privacy.epsilon": "2", "student.epochs": "3"}
    edited = configuration({**TINY}, {key: edits[key]})
    with pytest.raises(UsageError, match=key):
        begin(edited)
    assert len(begin()) == 800  # the twin


def test_another_split_of_the_same_pool_is_refused(begin, tmp_path, monkeypatch) -> None:
    begin()
    real = noisy_answers.split
    monkeypatch.setattr(noisy_answers, "split", lambda n, stages, *, seed: real(n, stages, seed=seed + 1))
    with pytest.raises(UsageError, match="start a new run"):
        begin()


def test_a_student_of_other_labels_is_not_gone_on_with(begin, tiny_run, tmp_path) -> None:
    """The prior of stage 2 would be made from labels that are not those of stage 1, and cost what they cost."""
    first = begin()
    saved = SavedRun(tmp_path / "private", CONFIG)
    final_student(CONFIG, tiny_run.pool.images, first, progress=QUIET, saved=saved)
    for path in [*tmp_path.rglob("*.npz")]:
        path.unlink()
    with pytest.raises(UsageError, match="'student 1'.* learnt from others"):
        begin()
    for path in (tmp_path / "private").glob("student-1.*"):
        path.unlink()
    second = begin()
    assert not np.array_equal(second.parts[0].values, first.parts[0].values)
    with pytest.raises(UsageError, match="'private student'.* learnt from others"):
        final_student(CONFIG, tiny_run.pool.images, second, progress=QUIET, saved=saved)
    final_student(CONFIG, tiny_run.pool.images, first, progress=QUIET, saved=saved)  # the twin
