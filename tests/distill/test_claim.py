"""The directory of a run: one process at a time, one run and not its copies, and nothing is deleted that is read."""

import fcntl
import json
import shutil
from pathlib import Path

import pytest

from distill import claim
from distill.claim import resumed, started
from distill.config_file import configuration
from distill.recipe import run
from distill.usage import UsageError
from tests.distill.conftest import TINY

CONFIG = configuration(TINY)


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


def interrupted(folder: Path) -> Path:
    """A run that was ended before it did anything."""
    with pytest.raises(Interrupted), started(folder, CONFIG):
        raise Interrupted
    return folder


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def reading(tiny_run, base: Path, key: str):
    """A configuration that reads something in a directory by that key."""
    if key == "pool.from":
        return configuration({"pool": {"from": str(base)}})
    if key == "data.directory":
        return configuration({"data": {"name": "mnist", "directory": str(base / "data")}})
    kind = "module" if key == "teacher.module" else "file"
    teacher = {"kind": kind, {"module": "module", "file": "path"}[kind]: "elsewhere.py:build"}
    where = str(base / "private" / "teacher.py")
    teacher[key.removeprefix("teacher.")] = f"{where}:build" if kind == "module" else where
    return configuration({"teacher": teacher})


KEYS = ["pool.from", "teacher.path", "teacher.module", "teacher.certificate", "data.directory"]
NAMES = {
    "itself": lambda base: base,
    "by another name": lambda base: base.parent / "link" / base.name,
    "around it": lambda base: base.parent,
    "below it": lambda base: base / "next",
}


@pytest.fixture
def base(tiny_run, tmp_path) -> Path:
    """A finished run, in a directory that is one itself, with a second name."""
    place = tmp_path / "outer" / "base"
    shutil.copytree(tiny_run.folder, place)
    (place.parent / "config.toml").write_text("")
    (place.parent / "link").symlink_to(place.parent)
    return place


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("key", KEYS)
def test_a_run_does_not_replace_what_it_reads(key: str, name: str, base, tiny_run) -> None:
    config, out = reading(tiny_run, base, key), NAMES[name](base)
    before = content(base.parent)
    if name == "below it" and key != "pool.from":  # a new directory there takes nothing away
        claim._refuse_what_is_read(out, config)
    else:
        with pytest.raises(UsageError, match=rf"apart from what it reads, got .* beside {key} ="):
            run(config, out, replace=True, quiet=True)
    assert content(base.parent) == before
    claim._refuse_what_is_read(base.parent.parent / "other", config)  # the twin


def test_an_earlier_run_is_replaced_where_nothing_is_read_from_it(base) -> None:
    """The twin: it goes, and whole."""
    with pytest.raises(Interrupted), started(base, CONFIG, replace=True):
        assert not (base / "release").exists()
        raise Interrupted
    assert [*base.parent.glob(".*.replaced")] == []


def test_nobody_goes_on_with_a_run_while_it_is_replaced(tmp_path, monkeypatch) -> None:
    out = interrupted(tmp_path / "run")
    real, tried = shutil.rmtree, []

    def slow(path: Path, **options: bool) -> None:
        """Another process looks for the run at the moment of deletion, by its name and by the lock it had opened."""
        if Path(path).exists() and Path(path).name != "checkpoints":
            with pytest.raises(UsageError, match=r"found no config\.toml"), resumed(out):
                pass
            lock = path / "private" / "checkpoints" / "lock"
            with lock.open("a") as opened, pytest.raises(BlockingIOError):
                fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
            tried.append(path)
        real(path, **options)

    monkeypatch.setattr(claim.shutil, "rmtree", slow)
    with pytest.raises(Interrupted), started(out, CONFIG, replace=True):
        raise Interrupted
    assert len(tried) == 1
    with resumed(out):  # the twin
        pass


def test_a_run_at_work_is_not_replaced(tmp_path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted), started(out, CONFIG):
        before = content(out)
        with pytest.raises(UsageError, match="another process"), started(out, CONFIG, replace=True):
            pass
        assert content(out) == before
        raise Interrupted


def test_a_lock_that_was_removed_is_no_lock(tmp_path, monkeypatch) -> None:
    """A process that waits on a file without a name must not believe that the run is its own."""
    out = interrupted(tmp_path / "run")
    real = fcntl.flock

    def late(lock, how: int) -> None:
        real(lock, how)
        (out / "private" / "checkpoints" / "lock").unlink()

    with monkeypatch.context() as patch:
        patch.setattr(claim.fcntl, "flock", late)
        with pytest.raises(UsageError, match="another process"), resumed(out):
            pass


@pytest.mark.parametrize("how", ["copied", "restored"])
def test_a_copy_of_an_unfinished_run_is_refused(how: str, tmp_path) -> None:
    out, copy = interrupted(tmp_path / "run"), tmp_path / "copy"
    if how == "copied":
        shutil.copytree(out, copy)
    else:  # from a backup, to the same place
        shutil.copytree(out, tmp_path / "backup")
        shutil.rmtree(out)
        (tmp_path / "backup").rename(copy)
    with pytest.raises(UsageError, match="got a copy of it") as caught, resumed(copy):
        pass
    identity = copy / "private" / "run.json"
    assert f"delete {identity}" in str(caught.value)
    identity.unlink()  # the way out
    with resumed(copy) as second:
        name = second.name
    if how != "restored":
        with resumed(out) as first:
            assert first.name != name


def test_a_run_that_was_renamed_goes_on(tmp_path) -> None:
    """The twin; also from another directory, and again and again."""
    out = interrupted(tmp_path / "run")
    name = json.loads((out / "private" / "run.json").read_text())["name"]
    (tmp_path / "elsewhere").mkdir()
    moved = out.rename(tmp_path / "elsewhere" / "renamed")
    for _ in range(2):
        with resumed(moved) as again:
            assert again.name == name
