"""Runs that survive: killed at any moment and resumed, they end where an uninterrupted run ends; and no label is drawn twice."""

import json
import math
import multiprocessing
import os
import random
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.distill.conftest import TINY

ROOT = Path(__file__).parents[2]
CONFIG = str(ROOT / "configs" / "digits.toml")
SMALL = [f"--{section}.{key}={value}" for section, values in TINY.items() for key, value in values.items()]
SEEDED = [*SMALL, "--privacy.source=seeded"]
FORKS = multiprocessing.get_context("forkserver")  # processes of their own, which need not import torch again
FORKS.set_forkserver_preload(["distill.recipe", "distill.cli", "torch._dynamo", "sklearn.datasets"])


class Death:
    """A kill, unannounced, at the n-th file of that name that the process gives its final name: just before, or just after.

    Args:
        name: part of the file's path.
        count: how many such files of this process it takes.
        late: whether the file is there when the process dies.
    """

    def __init__(self, name: str, count: int = 1, *, late: bool = False) -> None:
        self.name, self.left, self.late = name, count, late

    def __call__(self, event: str, details: tuple[object, ...]) -> None:
        if event == "os.rename" and self.name in str(details[1]):
            self.left -= 1
            if self.left == 0 and self.late:
                return  # dies at its next contact with the outside world
        if self.left == 0 and event != "os.kill":
            os.kill(os.getpid(), signal.SIGKILL)


def command_line(arguments: list[str], every_seconds: float, errors: str, death: Death | None) -> None:
    """The command line in a process of its own, keeping a checkpoint so often."""
    from distill import checkpoint
    from distill.cli import main

    checkpoint.EVERY_SECONDS, checkpoint.LARGEST_SHARE = every_seconds, math.inf
    sys.stdout = sys.stderr = Path(errors).open("w", buffering=1)  # noqa: SIM115
    if death is not None:
        sys.addaudithook(death)
    main(arguments)


def begin(arguments: list[str], scratch: Path, *, every_seconds: float = 0.0, death: Death | None = None):
    process = FORKS.Process(
        target=command_line, args=(arguments, every_seconds, str(scratch / "errors"), death)
    )
    process.start()
    return process


def finish(arguments: list[str], scratch: Path) -> tuple[int, str]:
    """Runs the command line to its end; its status and what it printed."""
    process = begin(arguments, scratch, every_seconds=1e9)
    process.join(120)
    return process.exitcode, (scratch / "errors").read_text()


def kill(arguments: list[str], scratch: Path, death: Death) -> bool:
    """Runs the command line until it is killed; False if it was not."""
    process = begin(arguments, scratch, death=death)
    process.join(120)
    return process.exitcode == -signal.SIGKILL


def outcome(folder: Path) -> dict[str, object]:
    """Everything that must not depend on an interruption: weights, labels, pool, answers, accuracies, training figures."""
    from distill.tensor_files import read_tensors
    from labeldp import NoisyLabels

    content: dict[str, object] = {}
    for path in folder.rglob("*.safetensors"):
        tensors, told = read_tensors(path)
        told.pop("made_by", None)  # the name of the run, which is no other's
        values = {name: (str(tensor.dtype), tensor.numpy().tobytes()) for name, tensor in tensors.items()}
        content[str(path.relative_to(folder))] = (values, told)
    for path in (folder / "release").glob("*.npz"):
        noisy = NoisyLabels.load(path)
        content[path.name] = (noisy.values.tobytes(), repr(noisy.event))
    content["accuracy"] = json.loads((folder / "report.json").read_text())["accuracy"]
    rows = map(json.loads, (folder / "metrics.jsonl").read_text().splitlines())
    content["figures"] = [row for row in rows if "seconds" not in row]
    for name in ("config.toml", "release/privacy.json", "release/transcript.json", "release/PRIVACY.md"):
        content[name] = (folder / name).read_text()
    return content


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory) -> Path:
    """A seeded run that nothing disturbed; with no step-level checkpoints, so that these too must change nothing."""
    folder = tmp_path_factory.mktemp("uninterrupted")
    process = begin(["distill", CONFIG, "--out", str(folder / "run"), *SEEDED], folder, every_seconds=1e9)
    process.join(120)
    assert process.exitcode == 0
    return folder / "run"


MOMENTS = {
    "before the first checkpoint": Death("teacher."),
    "while the teacher trains": Death("teacher.", 30),
    "in the middle of its next epoch": Death("teacher.", 10, late=True),
    "while the generator trains": Death("generator.", 26),
    "when the pool is made": Death("pool.", 2, late=True),
    "when the labels of stage 1 are drawn, but not yet written": Death("noisy_labels_1"),
    "while the student of stage 1 trains": Death("student-1.", 3),
    "when those of stage 2 are written, but not yet out": Death("private/noisy_labels_2", late=True),
    "when all labels are out": Death("release/noisy_labels_2", late=True),
    "while the student trains": Death("private-student.", 4),
    "when it is trained": Death("/student.safetensors", late=True),
    "at the end": Death("report.json"),
}


def test_a_run_killed_again_and_again_ends_like_one_that_was_left_alone(uninterrupted, tmp_path) -> None:
    """One run, killed at each of these moments and resumed each time."""
    out = tmp_path / "run"
    arguments = ["distill", CONFIG, "--out", str(out), *SEEDED]
    for moment, death in MOMENTS.items():
        assert kill(arguments, tmp_path, death), (moment, (tmp_path / "errors").read_text())
        arguments = ["distill", "--resume", str(out)]
    status, text = finish(arguments, tmp_path)
    assert status == 0, text
    assert outcome(out) == outcome(uninterrupted)
    assert not (out / "private" / "checkpoints").exists()
    assert not list(out.rglob("*.partial"))


def test_another_seed_would_be_seen(uninterrupted, tmp_path) -> None:
    """The twin: what is compared does tell runs apart."""
    out = tmp_path / "run"
    status, _ = finish(["distill", CONFIG, "--out", str(out), *SEEDED, "--seed", "1"], tmp_path)
    assert status == 0
    other, ours = outcome(out), outcome(uninterrupted)
    same = {name for name in ours if other[name] == ours[name]}
    assert same <= {"release/privacy.json", "release/transcript.json", "release/PRIVACY.md"}


@pytest.mark.slow
@pytest.mark.parametrize("moment", range(20))
def test_a_kill_at_any_moment_changes_nothing(moment: int, uninterrupted, tmp_path) -> None:
    out = tmp_path / "run"
    delays = random.Random(moment)
    arguments = ["distill", CONFIG, "--out", str(out), *SEEDED]
    for _ in range(4):
        process = begin(arguments, tmp_path, every_seconds=delays.choice([0.0, 0.1, 1e9]))
        process.join(delays.uniform(0.0, 2.0))
        process.kill()
        process.join()
        if (out / "config.toml").exists():
            arguments = ["distill", "--resume", str(out)]
    assert finish(arguments, tmp_path)[0] == 0
    assert outcome(out) == outcome(uninterrupted)


def test_labels_on_the_disk_are_never_drawn_again(tmp_path) -> None:
    """With secure noise a second draw would differ; a reader of release/ may have seen the first."""
    out = tmp_path / "run"
    arguments = ["distill", CONFIG, "--out", str(out), *SMALL]
    labels = [out / "release" / f"noisy_labels_{stage}.npz" for stage in (1, 2)]
    before = {}
    for path in labels:
        assert kill(arguments, tmp_path, Death(f"release/{path.name}", late=True))
        before[path] = path.read_bytes()
        path.rename(tmp_path / path.name)  # published
        arguments = ["distill", "--resume", str(out)]
    assert not (out / "release" / "student.safetensors").exists()
    assert finish(arguments, tmp_path)[0] == 0
    for path in labels:
        assert path.read_bytes() == before[path]


def test_labels_that_nobody_has_seen_may_be_drawn_again(tmp_path) -> None:
    """The twin: secure noise does differ from draw to draw, so the test above would notice."""
    out = tmp_path / "run"
    path, memory = (out / part / "noisy_labels_1.npz" for part in ("release", "private"))
    death = Death(f"release/{path.name}", late=True)
    assert kill(["distill", CONFIG, "--out", str(out), *SMALL], tmp_path, death)
    first = path.read_bytes()
    path.unlink()
    memory.unlink()
    assert kill(["distill", "--resume", str(out)], tmp_path, death)
    assert path.read_bytes() != first


def test_the_real_command_survives_a_kill_and_keeps_its_files_private(uninterrupted, tmp_path) -> None:
    """As a user types it, with torch imported after the configuration is there, and a wide umask."""
    out = tmp_path / "run"
    code = "import os, sys; os.umask(0); from distill.cli import main; main(sys.argv[1:])"
    command = [sys.executable, "-c", code, "distill"]
    process = subprocess.Popen(
        [*command, CONFIG, "--out", str(out), *SEEDED], cwd=ROOT, stderr=subprocess.DEVNULL
    )
    while not (out / "config.toml").exists():
        time.sleep(0.001)
    loaded = Path(f"/proc/{process.pid}/maps").read_text()
    assert "libtorch" not in loaded
    process.kill()
    process.wait()
    assert stat.S_IMODE((out / "private").stat().st_mode) == 0o700
    subprocess.run([*command, "--resume", str(out)], cwd=ROOT, check=True, capture_output=True)
    assert outcome(out) == outcome(uninterrupted)
    for path in (out / "private").rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    assert stat.S_IMODE((out / "release" / "student.safetensors").stat().st_mode) == 0o666
    again = subprocess.run([*command, "--resume", str(out)], cwd=ROOT, capture_output=True, text=True)
    assert again.returncode == 0
    assert "is finished" in again.stdout
