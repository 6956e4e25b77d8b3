"""Teachers of one's own that torch allows and few have: the run ends, or is refused before an answer is released."""

import textwrap

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from distill import recipe, run_directory
from distill.config_file import configuration
from distill.noisy_answers import noisy_answers
from distill.recipe import resume, run
from distill.tensor_files import write_tensors
from distill.usage import UsageError

TINY = {
    "generator": {"steps": 4, "restart": 4, "warmup": 1, "batch_size": 16},
    "pool": {"size": 60, "procedural": 1.0},
    "student": {"epochs": 1, "batch_size": 30},
}
TEACHERS = {
    "without parameters": """
        class Teacher(nn.Module):
            def forward(self, x): return 9 * x.flatten(1)[:, :10]
    """,
    "with tied weights": """
        class Teacher(nn.Module):
            def __init__(self):
                super().__init__()
                self.a, self.b = nn.Linear(64, 64), nn.Linear(64, 64)
                self.b.weight = self.a.weight
            def forward(self, x): return self.b(torch.relu(self.a(x.flatten(1))))[:, :10]
    """,
    "with an expanded buffer": """
        class Teacher(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("w", torch.ones(1, 10).expand(64, 10))
            def forward(self, x): return x.flatten(1) @ self.w * torch.arange(10)
    """,
    "with state in no file": """
        class Teacher(nn.Module):
            def __init__(self):
                super().__init__()
                self.register_buffer("w", torch.randn(64, 10), persistent=False)
            def forward(self, x): return x.flatten(1) @ self.w
    """,
}


def configured(tmp_path, body: str, **changes):
    path = tmp_path / "my_teacher.py"
    text = (
        "import torch\nfrom torch import nn\n\n" + textwrap.dedent(body) + "\ndef build(): return Teacher()\n"
    )
    path.write_text(text)
    return configuration({**TINY, "teacher": {"kind": "module", "module": f"{path}:build"}, **changes})


def interrupted(config, folder, monkeypatch, at: str = "final_student") -> None:
    """A run that stops when all labels are out."""

    def stop(*arguments, **options):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(recipe, at, stop)
        run(config, folder, quiet=True)


@pytest.mark.parametrize("kind", TEACHERS)
def test_odd_teachers_are_distilled_and_resumed_and_asked_once(tmp_path, monkeypatch, kind: str) -> None:
    out = tmp_path / "run"
    interrupted(configured(tmp_path, TEACHERS[kind]), out, monkeypatch)
    first = load_file(out / "private" / "answers.safetensors")["answers"]
    used = []
    monkeypatch.setattr(recipe, "noisy_answers", lambda *a, **k: used.append(a[2]) or noisy_answers(*a, **k))
    report = resume(out, quiet=True)
    np.testing.assert_array_equal(used[0], first)
    assert load_file(out / "private" / "answers.safetensors")["answers"].equal(first)
    assert (out / "release" / "student.safetensors").exists()
    assert len(report.predictions["teacher"]) == 450


def test_answers_of_another_sitting_would_be_seen(tmp_path, monkeypatch) -> None:
    """The twin: forgotten, the answers of the last of these teachers are others."""
    out = tmp_path / "run"
    interrupted(configured(tmp_path, TEACHERS["with state in no file"]), out, monkeypatch)
    first = load_file(out / "private" / "answers.safetensors")["answers"]
    (out / "private" / "answers.safetensors").unlink()
    resume(out, quiet=True)
    assert not load_file(out / "private" / "answers.safetensors")["answers"].equal(first)


def test_what_cannot_be_written_stops_a_run_that_has_released_nothing(tmp_path, monkeypatch) -> None:
    def full(path, *arguments, **options):
        if path.name == "teacher.safetensors":
            raise OSError("No space left on device")
        write_tensors(path, *arguments, **options)

    monkeypatch.setattr(run_directory, "write_tensors", full)
    with pytest.raises(OSError, match="No space"):
        run(configured(tmp_path, TEACHERS["with tied weights"]), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run" / "release").exists()


def test_state_that_cannot_be_kept_is_refused(tmp_path) -> None:
    body = """
        class Teacher(nn.Module):
            def get_extra_state(self): return {"step": 3}
            def set_extra_state(self, state): ...
            def forward(self, x): return x.flatten(1)[:, :10]
    """
    with pytest.raises(UsageError, match="made of tensors"):
        run(configured(tmp_path, body), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_tensors_that_share_memory_are_written(tmp_path) -> None:
    weight = torch.arange(4.0)
    write_tensors(tmp_path / "x.safetensors", {"a": weight, "b": weight, "c": weight[:1].expand(3)})
    assert load_file(tmp_path / "x.safetensors")["b"].equal(weight)
