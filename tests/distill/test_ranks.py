"""Two processes train as one, and only the first runs the recipe."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from distill.ranks import Silence, led_by_the_first
from distill.train import one_hot, train
from tests.distill.test_train import SETTINGS, toy

SCRIPT = """
import json, sys
from types import SimpleNamespace
import torch
from torch import nn
from distill import ranks
from distill.train import one_hot, train
from tests.distill import test_ranks as here

if sys.argv[2] == "broken":
    ranks.add_up_gradients = lambda model: None
print(json.dumps({"ran": here.recipe(sys.argv[1])}), flush=True)
"""


def model(normalized: bool) -> nn.Module:
    torch_free = torch.Generator().manual_seed(5)
    made = nn.Sequential(
        nn.Flatten(),
        nn.Linear(64, 16),
        *([nn.BatchNorm1d(16)] if normalized else []),
        nn.ReLU(),
        nn.Linear(16, 3),
    )
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.copy_(torch.rand(parameter.shape, generator=torch_free) - 0.5)
    return made


def fitted() -> list[dict[str, Tensor]]:
    images, labels = toy()
    return [
        train(
            model(normalized),
            images,
            one_hot(labels, 3),
            settings=SETTINGS,
            generator=torch.Generator().manual_seed(1),
            phase=Silence(),
        ).state_dict()
        for normalized in (False, True)
    ]


@led_by_the_first(helped=train)
def recipe(out: str) -> int:
    torch.save(fitted(), out)
    return 1


def in_two_processes(tmp_path: Path, how: str) -> tuple[list[dict[str, Tensor]], int]:
    script, out = tmp_path / "script.py", tmp_path / "fitted.pt"
    script.write_text(SCRIPT)
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    root = Path(__file__).parent.parent.parent
    done = subprocess.run(
        [*command, str(script), str(out), how],
        capture_output=True,
        text=True,
        cwd=root,
        env={"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1", "PATH": ""},
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = [json.loads(line)["ran"] for line in done.stdout.splitlines() if line.startswith("{")]
    return torch.load(out, weights_only=True), sum(said)


def distance(first: dict[str, Tensor], second: dict[str, Tensor]) -> float:
    return max(float((first[name].float() - second[name].float()).abs().max()) for name in first)


@pytest.mark.slow
def test_two_processes_train_as_one_and_run_the_recipe_once(tmp_path) -> None:
    plain, normalized = fitted()
    (two, two_normalized), times = in_two_processes(tmp_path, "whole")
    assert times == 1
    assert distance(plain, two) < 1e-4  # rounding alone
    assert distance(normalized, two_normalized) < 0.2  # statistics of half batches of 16
    (broken, _), _ = in_two_processes(tmp_path, "broken")
    assert distance(plain, broken) > 1e-2  # the twin: gradients that are not added up


def test_without_torchrun_nothing_changes(tmp_path) -> None:
    assert recipe(str(tmp_path / "out.pt")) == 1
    assert (tmp_path / "out.pt").exists()
