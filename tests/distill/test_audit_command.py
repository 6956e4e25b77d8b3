"""`labeldp audit`: what it finds, what it refuses, and its exit status."""

import numpy as np
import pytest

import labeldp
from distill.cli import main


def run(capsys, *arguments: object) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as caught:
        main(["audit", *map(str, arguments)])
    captured = capsys.readouterr()
    return int(caught.value.code or 0), captured.out, captured.err


MODULE = """
import numpy as np
import labeldp

mechanism = labeldp.RandomizedResponse(1.0, 3)
rng = np.random.default_rng()

def honest(labels):
    keep = rng.random(len(labels)) < np.exp(1) / (np.exp(1) + 2)
    return np.where(keep, labels, (labels + rng.integers(1, 3, size=len(labels))) % 3)

def leaky(labels):
    return np.where(rng.random(len(labels)) < 0.9, labels, rng.integers(3, size=len(labels)))

def exact(label, source):
    return label if source.coin(1, 2) else source.below(3)
"""


@pytest.fixture
def module(tmp_path, monkeypatch):
    (tmp_path / "audited.py").write_text(MODULE)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))


@pytest.mark.usefixtures("module")
def test_what_keeps_its_claim_is_status_0_and_what_does_not_status_1(capsys) -> None:
    usual = ("--epsilon", 1, "--classes", 3, "--max-calls", 20_000)
    status, text, _ = run(capsys, "audited:mechanism")
    assert status == 0
    assert "never proves privacy" in text
    assert run(capsys, "audited:honest", *usual)[0] == 0
    status, text, _ = run(capsys, "audited:leaky", *usual)
    assert status == 1
    assert "refuted" in text
    assert run(capsys, "audited:exact", "--epsilon", 1.3, "--classes", 3)[0] == 1  # 2/3 to 1/6: ln 4
    assert run(capsys, "audited:exact", "--epsilon", 1.4, "--classes", 3)[0] == 0


def test_a_released_file_is_audited_by_its_canaries(tmp_path, capsys) -> None:
    labels = np.random.default_rng(0).integers(4, size=3000)
    labeldp.privatize(labeldp.RandomizedResponse(1.0, 4), labels).save(tmp_path / "noisy.npz")
    np.save(tmp_path / "truth.npy", labels)
    np.save(tmp_path / "canaries.npy", np.arange(2000))
    files = ("--truth", tmp_path / "truth.npy", "--canaries", tmp_path / "canaries.npy")
    assert run(capsys, tmp_path / "noisy.npz", *files)[0] == 0
    status, text, _ = run(capsys, tmp_path / "noisy.npz", *files, "--epsilon", 0.3)
    assert status == 1
    assert "refuted" in text


@pytest.mark.usefixtures("module")
@pytest.mark.parametrize(
    "arguments",
    [
        ("audited",),
        ("audited:nothing",),
        ("nowhere:nothing",),
        ("audited:honest",),
        ("audited:honest", "--epsilon", 1),
        ("audited:honest", "--epsilon", -1, "--classes", 3),
        ("audited:honest", "--epsilon", 1, "--classes", 3, "--truth", "truth.npy"),
        ("none.npz",),
        ("none.npz", "--truth", "a.npy", "--canaries", "b.npy"),
        (),
    ],
)
def test_wrong_usage_is_one_line(arguments, capsys) -> None:
    status, _, errors = run(capsys, *arguments)
    assert status in (1, 2)
    assert errors.startswith("labeldp: ")
    assert errors.count("\n") == 1
