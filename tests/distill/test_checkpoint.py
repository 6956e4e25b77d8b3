"""Checkpoints and the files they are made of: whole or not at all, of one configuration, and never executed."""

import errno
import json
import math
import os
import resource
import stat
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import checkpoint, durable, models, private_teacher, recipe
from distill import train as train_module
from distill.checkpoint import SavedRun, Unsaved
from distill.claim import resumed, started
from distill.cli import main
from distill.config_file import configuration
from distill.randomness import stream
from distill.train import one_hot, train
from distill.usage import UsageError
from labeldp import NoisyLabels
from tests.distill.conftest import TINY
from tests.distill.test_resume import CONFIG, FORKS, SEEDED, command_line, finish, outcome, uninterrupted  # noqa: F401
from tests.distill.test_teacher import PRIVATE
from tests.distill.test_train import SETTINGS, Steps, toy

TINY_CONFIG = configuration(TINY)


class Interrupted(Exception):
    """Stands for whatever ends a process early."""


def stopped(*_, **__):
    raise Interrupted


@pytest.fixture
def phase(tmp_path):
    """The checkpoints of one phase; made anew, as after a kill."""
    return lambda config=TINY_CONFIG: SavedRun(tmp_path, config).phase("teacher")


def test_a_state_comes_back_as_it_was(phase) -> None:
    model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=9)
    model(torch.randn(4, 3)).sum().backward()
    optimizer.step()
    schedule.step()
    state = {
        "step": 1, "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(), "empty": torch.empty(0, 2),
        "draws": torch.Generator().get_state(), "list": [1, 2.5, None, True, ("a", {3: "b"})],
        "half": torch.ones(2, dtype=torch.bfloat16), "transposed": torch.arange(6).reshape(2, 3).T,
    }  # fmt: skip
    phase().finish(state)
    back = phase().state
    assert str(back) == str(state)
    assert back["optimizer"]["param_groups"][0]["betas"] == optimizer.param_groups[0]["betas"]
    for mean in ("exp_avg", "exp_avg_sq"):
        assert torch.equal(back["optimizer"]["state"][0][mean], optimizer.state_dict()["state"][0][mean])
    with pytest.raises(TypeError, match="Module|Linear"):
        phase().finish({"step": 1, "model": model[0]})


def test_an_offer_is_taken_up_when_it_is_time(phase, monkeypatch) -> None:
    asked = []
    early = phase()
    early.offer(lambda: asked.append(1))
    assert not asked
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    due = phase()
    due.offer(lambda: {"step": 7})
    assert phase().step == 7
    due.offer(lambda: asked.append(1))  # writing took time, so it is not time again at once
    assert not asked


def test_the_newest_is_kept_with_one_before(phase, tmp_path) -> None:
    for step in range(5):
        phase().finish({"step": step})
    assert len([*tmp_path.iterdir()]) == 2
    assert phase().step == 4
    for file in tmp_path.iterdir():
        assert stat.S_IMODE(file.stat().st_mode) == 0o600


DAMAGES = {
    "cut off": lambda content: content[: len(content) // 2],
    "emptied": lambda content: b"",
    "one bit": lambda content: content[:-1] + bytes([content[-1] ^ 1]),
    "another file": lambda content: b"\x80\x04pickle" * 50,
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_checkpoint_falls_back_to_the_one_before(damage: str, phase, tmp_path) -> None:
    for step in (1, 2):
        phase().finish({"step": step, "weights": torch.arange(100.0)})
    old, new = sorted(tmp_path.iterdir())
    new.write_bytes(DAMAGES[damage](new.read_bytes()))
    with pytest.warns(UserWarning, match=new.name):
        assert phase().step == 1
    old.write_bytes(DAMAGES[damage](old.read_bytes()))
    with pytest.raises(UsageError, match="delete it") as caught:
        phase()
    assert str(old) in str(caught.value)
    old.unlink()
    new.unlink()
    assert phase().state is None


def test_an_undamaged_checkpoint_is_silent(phase) -> None:
    """The twin."""
    for step in (1, 2):
        phase().finish({"step": step, "weights": torch.arange(100.0)})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert phase().step == 2


def test_a_changed_configuration_is_refused_by_its_keys(phase, tmp_path) -> None:
    phase().finish({"step": 1})
    other = configuration({**TINY, "teacher": {"epochs": 5}, "seed": 3})
    with pytest.raises(UsageError, match="teacher.epochs.*4.*5") as caught:
        phase(other)
    assert "seed" in str(caught.value)
    assert "student" not in str(caught.value)
    with pytest.raises(Interrupted), started(tmp_path / "run", TINY_CONFIG):
        stopped()
    with pytest.raises(UsageError, match="teacher.epochs"), resumed(tmp_path / "run", other):
        pass
    with resumed(tmp_path / "run", TINY_CONFIG) as claim:
        assert claim.config == TINY_CONFIG


@pytest.mark.parametrize("broken_write", [0, 1])
def test_a_full_disk_loses_nothing_older(broken_write: int, tmp_path, monkeypatch) -> None:
    path = tmp_path / "file"
    durable.write_bytes(path, b"old")
    writes = []

    def write(handle: int, content: memoryview) -> int:
        if len(writes) == broken_write:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        writes.append(1)
        return real(handle, content[:2])

    real = os.write
    monkeypatch.setattr(os, "write", write)
    with pytest.raises(OSError, match="No space left on device: could not write .*file.*--resume") as caught:
        durable.write_bytes(path, b"new content")
    assert caught.value.errno == errno.ENOSPC
    assert path.read_bytes() == b"old"
    assert [*tmp_path.iterdir()] == [path]
    monkeypatch.setattr(os, "write", lambda handle, content: real(handle, content[:2]))
    durable.write_bytes(path, b"new content")  # the twin: with space it is replaced
    assert path.read_bytes() == b"new content"


def limited(arguments: list[str], errors: str, size: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    command_line(arguments, 0.0, errors, None)


def test_a_run_that_meets_a_full_disk_goes_on_when_there_is_space(uninterrupted, tmp_path) -> None:  # noqa: F811
    """No file may grow beyond what the teacher needs: the pool's is the first that does."""
    out = tmp_path / "run"
    process = FORKS.Process(
        target=limited,
        args=(["distill", CONFIG, "--out", str(out), *SEEDED], str(tmp_path / "errors"), 900_000),
    )
    process.start()
    process.join(120)
    assert process.exitcode == 1
    error = (tmp_path / "errors").read_text().splitlines()[-1]
    assert error.startswith("labeldp: File too large: could not write ")
    assert not [*out.rglob("*.partial")]
    kept = [path.name for path in (out / "private" / "checkpoints").iterdir()]
    assert any(name.startswith("teacher.") for name in kept)
    assert finish(["distill", "--resume", str(out)], tmp_path)[0] == 0
    assert outcome(out) == outcome(uninterrupted)


def test_one_process_at_a_time(tmp_path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted), started(out, TINY_CONFIG):
        with pytest.raises(UsageError, match="another process"), resumed(out):
            pass
        stopped()
    with resumed(out) as claim:  # the twin: nobody is at work any more
        assert not claim.finished


def test_a_directory_in_use_names_the_way_on(tmp_path) -> None:
    out = tmp_path / "run"
    with pytest.raises(Interrupted), started(out, TINY_CONFIG):
        stopped()
    with pytest.raises(UsageError, match="--resume"), started(out, TINY_CONFIG):
        pass
    with pytest.raises(UsageError, match="found no config.toml"), resumed(tmp_path / "nothing"):
        pass


def test_a_request_that_cannot_be_met_leaves_nothing_behind(tmp_path) -> None:
    config = configuration({"data": {"name": "mnist", "directory": str(tmp_path / "nowhere")}})
    with pytest.raises(UsageError, match="nowhere"):
        recipe.run(config, tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_finished_run_is_not_resumed(tiny_run) -> None:
    before = {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*") if path.is_file()}
    with pytest.raises(UsageError, match="finished"):
        recipe.resume(tiny_run.folder)
    assert before == {path: path.stat().st_mtime_ns for path in tiny_run.folder.rglob("*") if path.is_file()}


def test_damaged_labels_are_not_drawn_again(tmp_path, monkeypatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "final_student", stopped)
        with pytest.raises(Interrupted):
            recipe.run(TINY_CONFIG, tmp_path / "run", quiet=True)
    labels = tmp_path / "run" / "release" / "noisy_labels_1.npz"
    whole = labels.read_bytes()
    labels.write_bytes(whole[:1000])
    with pytest.raises(UsageError, match="not drawn again"):
        recipe.resume(tmp_path / "run", quiet=True)
    assert labels.read_bytes() == whole[:1000]
    labels.write_bytes(whole)
    about = tmp_path / "run" / "private" / "labelled.json"
    told = about.read_text()
    about.write_text(json.dumps({**json.loads(told), "digest": "0"}))
    with pytest.raises(UsageError, match="Expected the pool that the noisy labels"):
        recipe.resume(tmp_path / "run", quiet=True)
    about.write_text(told)
    report = recipe.resume(tmp_path / "run", quiet=True)
    assert labels.read_bytes() == whole
    np.testing.assert_array_equal(report.released.parts[0].values, NoisyLabels.load(labels).values)
    assert json.loads((tmp_path / "run" / "report.json").read_text())["accuracy"] == report.accuracy


def test_a_private_teacher_is_trained_once_and_its_certificate_goes_with_it(tmp_path, monkeypatch) -> None:
    """Trained again with fresh noise it would be another teacher, and the certificate of one would cover two."""
    out = tmp_path / "run"
    with monkeypatch.context() as patch:
        patch.setattr(recipe, "final_student", stopped)
        with pytest.raises(Interrupted):
            recipe.run(configuration(PRIVATE), out, quiet=True)
    config = configuration(PRIVATE)
    before = SavedRun(out / "private" / "checkpoints", config).phase("teacher").state
    with monkeypatch.context() as patch:
        patch.setattr(private_teacher, "train_privately", stopped)
        report = recipe.resume(out, quiet=True)
        reusing = configuration({"pool": {"from": str(out)}, "student": TINY["student"]})
        reused = recipe.run(reusing, tmp_path / "reused", quiet=True)
    for folder in (out, tmp_path / "reused"):
        after = load_file(folder / "private" / "teacher.safetensors")
        assert all(torch.equal(after[name], value) for name, value in before["model"].items())
    record = report.guarantees[1]
    assert (record["holds"], record["epsilon"] <= 3.0) == (True, True)
    assert reused.guarantees[1] == record
    assert reused.privacy["guarantees_with_earlier_releases"][1] == record  # post-processing, however often
    # the twin: without what was kept it is trained again
    monkeypatch.setattr(private_teacher, "train_privately", stopped)
    with pytest.raises(Interrupted):
        recipe.run(config, tmp_path / "again", quiet=True)


@pytest.mark.parametrize("averaging", [0.0, 0.9])
@pytest.mark.parametrize("stop", [0, 1, 5, 6, 7, 11])
def test_training_goes_on_from_any_step_also_where_others_draw_from_its_generator(
    stop: int, averaging: float, phase, monkeypatch
) -> None:
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", math.inf)
    images, labels = toy()
    settings = SimpleNamespace(**{**vars(SETTINGS), "averaging": averaging})

    def trained(kept, left: int = 100) -> dict[str, torch.Tensor]:
        def distort(batch: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
            nonlocal left
            left -= 1
            if left < 0:
                raise Interrupted
            return batch + 0.1 * torch.randn(batch.shape, generator=generator)

        model = models.build("mlp", shape=(1, 8, 8), num_classes=3, generator=stream(0, "weights"))
        return train(
            model, images, one_hot(labels, 3), settings=settings, generator=stream(0, "order"), phase=Steps(),
            distort=distort, checkpoint=kept,
        ).state_dict()  # fmt: skip

    whole = trained(Unsaved())
    with pytest.raises(Interrupted):
        trained(phase(), left=stop)
    state = phase().state
    assert state["step"] == stop
    # the twin: the same state, but a generator that forgot how far it was
    forgetful = {**state, "epoch": {**state["epoch"], "now": stream(0, "other").get_state()}}
    other = trained(Unsaved(forgetful))
    assert not all(torch.equal(whole[name], other[name]) for name in whole)
    resumed_one = trained(phase())
    assert all(torch.equal(whole[name], resumed_one[name]) for name in whole)


RESUMING = {
    "another epsilon": (
        ["--resume", "RUN", "--privacy.epsilon", "2"],
        "privacy.epsilon (1.0 there, 2.0 now)",
    ),
    "another file": ([CONFIG, "--resume", "RUN"], "teacher.epochs (4 there, 40 now)"),
    "another place": (["--resume", "RUN", "--out", "elsewhere"], "--out"),
    "no run": (["--resume", "elsewhere"], "config.toml"),
    "nothing": ([], "--resume RUN"),
}


@pytest.mark.parametrize("name", RESUMING)
def test_a_wrong_resume_is_one_line_and_status_2(name: str, tmp_path, capsys) -> None:
    with pytest.raises(Interrupted), started(tmp_path / "run", TINY_CONFIG):
        stopped()
    options, words = RESUMING[name]
    options = [{"RUN": str(tmp_path / "run"), "elsewhere": str(tmp_path / "none")}.get(o, o) for o in options]
    with pytest.raises(SystemExit) as caught:
        main(["distill", *options])
    errors = capsys.readouterr().err
    assert (caught.value.code, errors.count("\n")) == (2, 1)
    assert words in errors


def test_resuming_with_the_same_configuration_said_again_is_no_change(tiny_run, capsys) -> None:
    """The twin, on a finished run: status 0, and it says so."""
    for options in (["--seed", "0"], [str(tiny_run.folder / "config.toml")], []):
        with pytest.raises(SystemExit) as caught:
            main(["distill", "--resume", str(tiny_run.folder), *options])
        assert caught.value.code == 0
        assert "is finished" in capsys.readouterr().out


@pytest.mark.parametrize("broken", [False, True])
def test_restored_moments_lie_as_the_parameters_do(broken: bool, phase, monkeypatch) -> None:
    """On a GPU convolutions are laid out by channels, which a file does not keep."""
    monkeypatch.setattr(train_module, "_layout", lambda device: torch.channels_last)
    if broken:  # the twin
        monkeypatch.setattr(train_module, "_lay_out_like_parameters", lambda optimizer: None)
    monkeypatch.setattr(checkpoint, "EVERY_SECONDS", 0.0)
    monkeypatch.setattr(checkpoint, "LARGEST_SHARE", math.inf)
    images, labels = toy()
    strides: list[bool] = []

    def trained(kept, stop: int = 100) -> None:
        class Stopping(Steps):
            def advance(self, n: int = 1, **figures: float) -> None:
                super().advance(n, **figures)
                strides.append(all(
                    moment.stride() == parameter.stride()
                    for parameter, state in optimizers[-1].state.items()
                    for moment in (state["exp_avg"], state["exp_avg_sq"])
                ))  # fmt: skip
                if self.count == stop:
                    raise Interrupted

        model = models.build("convnet", shape=(1, 8, 8), num_classes=3, generator=stream(0, "weights"))
        train(
            model, images, one_hot(labels, 3), settings=SETTINGS, generator=stream(0, "order"), phase=Stopping(),
            checkpoint=kept,
        )  # fmt: skip

    optimizers = []
    real = train_module._optimizer

    def noted(*given):
        made = real(*given)
        optimizers.append(made[0])
        return made

    monkeypatch.setattr(train_module, "_optimizer", noted)
    with pytest.raises(Interrupted):
        trained(phase(), stop=5)
    trained(phase())
    assert all(strides) is not broken
