"""Releases about one teacher's answers add up, whoever made them and in whatever order; and one run's files stay together."""

import errno
import fcntl
import json
import shutil
from pathlib import Path

import pytest

import accounting
from distill import noisy_answers, release_list, reuse
from distill.config_file import configuration
from distill.recipe import resume, run
from distill.release_list import RELEASES, append_release, other_releases, planned, record_release
from distill.tensor_files import read_tensors, write_tensors
from distill.usage import UsageError
from tests.distill.conftest import TINY
from tests.distill.test_reuse import reusing

PARTS = ("teacher", "pool", "answers")


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


def stopped(*_, **__):
    raise Interrupted


@pytest.fixture
def base(tiny_run, tmp_path) -> Path:
    """The tiny run, with a list of releases of its own."""
    return shutil.copytree(tiny_run.folder, tmp_path / "base")


def interrupted(config, out: Path, monkeypatch) -> Path:
    """A run that was ended when it was about to draw for the first time."""
    with monkeypatch.context() as patch:
        patch.setattr(noisy_answers.labeldp, "privatize", stopped)
        with pytest.raises(Interrupted):
            run(config, out, quiet=True)
    return out


def known(folder: Path, name: str = "another") -> list[float]:
    """Epsilons of the releases that stand in a run's list."""
    releases = other_releases(folder / "private", name)
    return [accounting.guarantee(release, unit="answer").epsilon for release in releases]


def test_runs_on_one_pool_know_each_other_from_before_their_first_draw(base, tmp_path, monkeypatch) -> None:
    """Brothers, a nephew, and the base itself gone: each list is the list of all."""
    first = interrupted(reusing(base, epsilon=2.0), tmp_path / "first", monkeypatch)
    assert known(base) == [1.0, 2.0]
    second = run(reusing(base, epsilon=0.5, stages="rr"), tmp_path / "second", quiet=True)
    assert second.privacy["guarantees_with_earlier_releases"][0]["epsilon"] == 3.5
    card = (second.folder / "release" / "PRIVACY.md").read_text()
    for part in (
        "each used once in this release", "In this release every answer entered one mechanism, once.",
        "Fresh noise was drawn on the same answers in 2 earlier runs", "epsilon 3.5 about each answer",
    ):  # fmt: skip
        assert part in card, part
    shutil.rmtree(base)
    interrupted(reusing(second.folder, epsilon=4.0), tmp_path / "nephew", monkeypatch)
    assert known(first) == known(second.folder) == [1.0, 2.0, 0.5, 4.0]
    resume_until_the_draw(first, monkeypatch)  # going on is no further release
    assert known(first) == [1.0, 2.0, 0.5, 4.0]


def resume_until_the_draw(folder: Path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(noisy_answers.labeldp, "privatize", stopped)
        with pytest.raises(Interrupted):
            resume(folder, quiet=True)


def test_a_list_of_ones_own_knows_nothing_of_brothers(base, tmp_path, monkeypatch) -> None:
    """The twin: with a copy of the list the sum comes out too small, and the check above would see it."""
    real = Path.hardlink_to

    def unlinked(target: Path, source: Path) -> None:
        if source.name == RELEASES:
            raise OSError(errno.EXDEV, "another disk")
        real(target, source)

    monkeypatch.setattr(Path, "hardlink_to", unlinked)
    first = interrupted(reusing(base, epsilon=2.0), tmp_path / "first", monkeypatch)
    interrupted(reusing(base, epsilon=0.5), tmp_path / "second", monkeypatch)
    assert known(base) == [1.0, 2.0, 0.5]  # whoever starts from the base still sees all
    assert known(first) == [1.0, 2.0]


@pytest.mark.parametrize("stages", ["rr", "subset+srr", "partition", "clean"])
@pytest.mark.parametrize("source", ["system", "seeded"])
def test_what_is_planned_is_never_below_what_happens(stages: str, source: str, tiny_run) -> None:
    config = configuration({**TINY, "privacy": {"stages": stages, "source": source, "epsilon": 0.5}})
    plan = planned(config)
    answer = accounting.guarantee(plan, unit="answer")
    assert answer.holds is (stages != "clean" and source == "system")
    if answer.holds:
        assert answer.epsilon == 0.5
        worst = accounting.composed_if_independent(plan, delta=1e-5).epsilon
        own = tiny_run.privacy["composed_if_the_pool_were_independent"]["epsilon"]  # at epsilon 1
        half = accounting.Transcript([accounting.Repeated(accounting.PureDP(0.5), 800)], about="teacher")
        assert worst >= accounting.composed_if_independent(half, delta=1e-5).epsilon
        assert worst < own  # the twin: it is not just large


def test_what_happened_takes_the_place_of_the_plan_and_a_torn_line_of_nothing(tmp_path) -> None:
    plan = planned(configuration({"privacy": {"epsilon": 2.0}}))
    done = planned(configuration({"privacy": {"epsilon": 1.5}}))
    record_release(tmp_path, "a", done)
    append_release(tmp_path, "b", plan)
    append_release(tmp_path, "b", plan)
    with (tmp_path / RELEASES).open("a") as file:
        file.write('{"run": "c", "trans')  # killed before it drew anything
    assert other_releases(tmp_path, "a") == [plan]
    append_release(tmp_path, "b", done)
    append_release(tmp_path, "d", plan)
    assert other_releases(tmp_path, "a") == [done, plan]
    assert other_releases(tmp_path, "b") == [done, plan]
    assert len((tmp_path / RELEASES).read_text().splitlines()) == 5
    (tmp_path / RELEASES).write_text("nothing\n")  # the twin: a whole line of something else is no list
    with pytest.raises(ValueError):
        record_release(tmp_path, "e", plan)
        release_list.made_by(tmp_path)


def test_a_base_that_cannot_be_written_to_is_refused(base, tmp_path, monkeypatch) -> None:
    real = fcntl.flock

    def read_only(file, how: int) -> None:
        if getattr(file, "name", "") == str(base / "private" / RELEASES):
            raise OSError(errno.EROFS, "Read-only file system")
        real(file, how)

    monkeypatch.setattr(release_list.fcntl, "flock", read_only)
    with pytest.raises(UsageError, match="Read-only file system. Make it writable"):
        run(reusing(base), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()
    assert known(base) == [1.0]


def replace_base(base: Path, files: tuple[str, ...]) -> None:
    """Puts files of another run in the place of those."""
    for name in files:
        path = base / "private" / f"{name}.safetensors"
        tensors, description = read_tensors(path)
        write_tensors(path, tensors, {**description, "made_by": "another run"})


@pytest.mark.parametrize("files", [PARTS[:1], PARTS[1:], PARTS])
def test_files_of_two_runs_are_not_mixed(files: tuple[str, ...], base, tmp_path) -> None:
    """Or the certificate of one teacher would stand beside the answers of another."""
    replace_base(base, files)
    with pytest.raises(UsageError, match="same finished run from beginning to end"):
        run(reusing(base), tmp_path / "run", quiet=True)


def test_a_base_that_is_replaced_between_two_files_is_noticed(base, tmp_path, monkeypatch) -> None:
    """Killed after the first file, and gone on with after the base was replaced by a run of the same configuration."""
    real, count = reuse._take, []

    def take(source: Path, target: Path) -> None:
        count.append(source)
        if len(count) == 2:
            raise Interrupted
        real(source, target)

    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "_take", take)
        with pytest.raises(Interrupted):
            run(reusing(base), out, quiet=True)
    whole = shutil.copytree(base, tmp_path / "whole")
    replace_base(base, PARTS)
    listed = base / "private" / RELEASES
    listed.write_text(listed.read_text().replace(release_list.made_by(base / "private"), "another run"))
    with pytest.raises(UsageError, match="same finished run from beginning to end"):
        resume(out, quiet=True)
    # the twin: the same base goes on
    shutil.rmtree(base)
    whole.rename(base)
    for path in (out / "private").glob("[pa]*.safetensors"):
        path.unlink()
    (out / "private" / RELEASES).unlink()
    resume_until_the_draw(out, monkeypatch)


@pytest.mark.parametrize("change", ["settings", "gone"])
def test_a_base_that_is_another_by_now_is_refused(change: str, base, tmp_path, monkeypatch) -> None:
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(reuse, "append_release", stopped)
        with pytest.raises(Interrupted):
            run(reusing(base), out, quiet=True)
    if change == "gone":
        shutil.rmtree(base)
    else:
        told = (base / "config.toml").read_text()
        (base / "config.toml").write_text(told.replace("epochs = 4", "epochs = 5", 1))
    with pytest.raises(UsageError, match=r"pool\.from"):
        resume(out, quiet=True)


def test_the_release_itself_is_on_the_list_before_the_card_is_written(base, tmp_path, monkeypatch) -> None:
    """What was planned is then replaced by what happened, which may be less."""
    report = run(reusing(base, epsilon=2.0, stages="rr"), tmp_path / "run", quiet=True)
    entries = [json.loads(line) for line in (base / "private" / RELEASES).read_text().splitlines()[1:]]
    own = json.loads((report.folder / "release" / "transcript.json").read_text())
    assert [entry["transcript"] == own for entry in entries] == [False, False, True]
