"""Teachers from elsewhere, and the private teacher through the whole recipe."""

import json
import sys
import textwrap
import warnings

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import accounting
from distill import data, models
from distill.config_file import configuration
from distill.generator import discriminator
from distill.loaded_teacher import checked, from_file, from_module
from distill.progress import RunProgress
from distill.recipe import run
from distill.teacher import HeldTeacher, obtain_teacher
from distill.usage import UsageError
from tests.distill.conftest import TINY
from tests.test_architecture import loaded_by

DIGITS = {"shape": (1, 8, 8), "num_classes": 10}
PRIVATE = {
    **TINY,
    "teacher": {
        "kind": "private",
        "model": "tanh-convnet",
        "private": {"steps": 8, "moment_noise": 5.0, "epsilon": 3.0},
    },
}


@pytest.fixture(scope="module")
def private_run(tmp_path_factory):
    return run(configuration(PRIVATE), tmp_path_factory.mktemp("private") / "run", quiet=True)


def test_the_record_guarantee_of_a_private_teacher_holds(private_run) -> None:
    release = private_run.folder / "release"
    answer, record = json.loads((release / "privacy.json").read_text())["guarantees"]
    assert (answer["unit"], answer["holds"], answer["epsilon"]) == ("answer", True, 1.0)
    assert (record["unit"], record["holds"], record["delta"]) == ("record", True, 1e-5)
    assert 2.99 < record["epsilon"] <= 3.0
    assert "certificate" in record["why"]
    transcript = accounting.Transcript.from_dict(json.loads((release / "transcript.json").read_text()))
    certificate = json.loads((release / "teacher_certificate.json").read_text())
    assert accounting.event_to_dict(transcript.teacher) == certificate["event"]
    assert accounting.guarantee(transcript, unit="record", delta=1e-5).to_dict() == record
    assert certificate["epsilon"]["upper"] == pytest.approx(record["epsilon"])
    assert certificate["opacus"]["prv"] == pytest.approx(3.0, abs=0.03)
    words = (release / "PRIVACY.md").read_text()
    assert "For one training record there is a guarantee of its own" in words
    assert "This is not a guarantee about" not in words


def test_without_a_certificate_no_record_is_promised(tiny_run) -> None:
    assert not tiny_run.guarantees[1]["holds"]
    assert not (tiny_run.folder / "release" / "teacher_certificate.json").exists()
    assert (
        "For one training record there is a guarantee of its own"
        not in (tiny_run.folder / "release" / "PRIVACY.md").read_text()
    )


def obtained(source: str) -> HeldTeacher:
    config = configuration({**PRIVATE, "privacy": {"source": source}})
    return obtain_teacher(data.load(config.data), config, progress=RunProgress(quiet=True))


@pytest.fixture(scope="module")
def twice() -> dict[str, tuple[HeldTeacher, HeldTeacher]]:
    return {source: (obtained(source), obtained(source)) for source in ("system", "seeded")}


def same(first: HeldTeacher, second: HeldTeacher, name: str) -> bool:
    return torch.equal(first.network.state_dict()[name], second.network.state_dict()[name])


def test_a_secret_private_teacher_does_not_follow_the_seed_and_a_seeded_one_does(twice) -> None:
    for name in ("2.weight", "0.first"):  # weights are DP-SGD's, the first moments the release's
        assert not same(*twice["system"], name)
        assert same(*twice["seeded"], name)


def test_a_seeded_private_teacher_is_stamped(twice) -> None:
    answer = accounting.RandomizedResponse(1.0, 10)
    for source, holds in {"seeded": False, "system": True}.items():
        event = twice[source][0].certificate.event
        transcript = accounting.Transcript([answer], about="teacher", teacher=event)
        for unit in ("answer", "record"):
            guarantee = accounting.guarantee(transcript, unit=unit, delta=1e-5)
            assert (guarantee.holds, guarantee.releasable) == (holds, holds)


def test_released_moments_pull_on_the_generator(private_run) -> None:
    teacher = models.build("tanh-convnet", **DIGITS, generator=torch.Generator())
    images = torch.rand((16, 1, 8, 8), generator=torch.Generator().manual_seed(0))
    with discriminator(teacher) as look:
        assert look(images)[1] == 0  # nothing was released
    teacher.load_state_dict(load_file(private_run.folder / "private" / "teacher.safetensors"))
    dataset_like = private_run.pool.images[:256].float() / 255
    with discriminator(teacher) as look:
        far = look(torch.ones_like(images))[1]
        near = look(dataset_like)[1]
    assert 0 < near < far


def saved(tmp_path, **changes: torch.Tensor | None) -> str:
    weights = {**models.build("mlp", **DIGITS, generator=torch.Generator()).state_dict(), **changes}
    path = tmp_path / "teacher.safetensors"
    save_file({name: value for name, value in weights.items() if value is not None}, path)
    return str(path)


def test_weights_are_loaded(tmp_path) -> None:
    loaded = from_file(saved(tmp_path), "mlp", **DIGITS)
    expected = models.build("mlp", **DIGITS, generator=torch.Generator())
    assert all(torch.equal(a, b) for a, b in zip(loaded.parameters(), expected.parameters(), strict=True))
    assert not loaded.training


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"1.weight": None, "4.bias": None}, r"missing: 1\.weight, 4\.bias"),
        ({"extra": torch.zeros(1)}, "not known: extra"),
        ({"7.bias": torch.zeros(12)}, r"of another shape: 7\.bias is \(12,\) instead of \(10,\)"),
    ],
)
def test_other_weights_are_refused(tmp_path, changes: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        from_file(saved(tmp_path, **changes), "mlp", **DIGITS)


def test_files_that_are_none_are_refused(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"teacher\.path"):
        from_file(str(tmp_path / "absent.safetensors"), "mlp", **DIGITS)
    (tmp_path / "broken.safetensors").write_bytes(b"not weights at all")
    with pytest.raises(UsageError, match=r"teacher\.path"):
        from_file(str(tmp_path / "broken.safetensors"), "mlp", **DIGITS)


def module(tmp_path, body: str) -> str:
    path = tmp_path / "my_teacher.py"
    path.write_text("import torch\nfrom torch import nn\n\n" + textwrap.dedent(body))
    return f"{path}:build"


LINEAR = "def build():\n    return nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10))\n"


def test_a_module_of_ones_own_is_loaded(tmp_path) -> None:
    loaded = from_module(module(tmp_path, LINEAR))
    assert checked(loaded, **DIGITS, seed=0) is loaded
    assert not loaded.training


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def other(): ...", "Expected a function build"),
        ("def build(): return 3", "torch.nn.Module, got int"),
        ("import no_such_package", "no_such_package"),
        ("def build(): raise OSError('no weights')", "it fails with OSError"),
        ("def build(): return nn.Linear(64, 10)", "it fails with"),
        (
            "def build(): return nn.Sequential(nn.Flatten(), nn.Linear(64, 7))",
            r"logits \(256, 10\), got \(256, 7\)",
        ),
        (
            "class T(nn.Module):\n    def forward(self, x): return x.flatten(1)[:, :10] - x.mean()\ndef build(): return T()",
            "depends on the others of the batch",
        ),
        (
            "class T(nn.Module):\n    def forward(self, x): return torch.rand(len(x), 10)\ndef build(): return T()",
            "the same answer to the same image",
        ),
        (
            "class T(nn.Module):\n    def forward(self, x): return x.flatten(1)[:, :10] / 0\ndef build(): return T()",
            "finite logits",
        ),
        (  # only in a batch as large as those of the pool
            "class T(nn.Module):\n    def forward(self, x):\n        z = x.flatten(1)[:, :10]\n"
            "        return z if len(x) <= 8 else z + z.mean(0).roll(1)\ndef build(): return T()",
            "depends on the others of the batch",
        ),
    ],
)
def test_modules_that_cannot_teach_are_refused(tmp_path, body: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        checked(from_module(module(tmp_path, body)), **DIGITS, seed=0)


@pytest.mark.parametrize("text", ["build", "absent.py:build", "teacher.txt:build"])
def test_modules_that_are_none_are_refused(tmp_path, text: str, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "teacher.txt").write_text("def build(): ...")
    with pytest.raises(UsageError, match=r"teacher\.module"):
        from_module(text)


def test_a_teacher_from_elsewhere_comes_with_and_without_a_certificate(tmp_path) -> None:
    (tmp_path / "certificate.json").write_text('{"epsilon": 2.5, "delta": 1e-6}')
    teachers = [
        {"kind": "module", "module": module(tmp_path, LINEAR)},
        {"kind": "file", "path": saved(tmp_path), "certificate": str(tmp_path / "certificate.json")},
    ]
    config = [configuration({"teacher": one}) for one in teachers]
    dataset = data.load(config[0].data)
    without, with_one = (obtain_teacher(dataset, one, progress=RunProgress(quiet=True)) for one in config)
    assert without.certificate is None
    assert with_one.certificate.event == accounting.ApproximateDP(2.5, 1e-6)


def test_batch_norm_in_training_mode_would_be_seen() -> None:
    class Mixing(nn.Module):
        def forward(self, images):
            values = images.flatten(1)[:, :10]
            return nn.functional.batch_norm(values, None, None, training=True) if len(values) > 1 else values

    with pytest.raises(UsageError, match="others of the batch"):
        checked(Mixing(), **DIGITS, seed=0)


@pytest.mark.parametrize(
    ("teacher", "message"),
    [
        ({"kind": "file"}, r"teacher\.path"),
        ({"path": "x.safetensors"}, r"teacher\.path to be empty"),
        ({"kind": "module"}, r"teacher\.module"),
        ({"certificate": "x.json"}, r"teacher\.certificate"),
        ({"kind": "private"}, "batch norm mixes records"),
        ({"kind": "private", "model": "tanh-convnet", "private": {"delta": 1.0}}, r"teacher\.private\.delta"),
        ({"private": {"sampling_probability": 1.5}}, "at most 1"),
        ({"private": {"momentum": 1.0}}, r"\[0, 1\)"),
        ({"private": {"clip": 0.0}}, "positive"),
        ({"kind": "borrowed"}, "trained"),
    ],
)
def test_settings_that_do_not_fit_are_refused(teacher: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        configuration({"teacher": teacher})


def test_nested_settings_can_be_overridden() -> None:
    from distill.cli import dotted_options

    rewritten = dotted_options(["--teacher.private.epsilon", "8", "--teacher.kind=trained"])
    assert rewritten == ["--set", "teacher.private.epsilon=8", "--set", "teacher.kind=trained"]
    config = configuration({}, {"teacher.private.epsilon": "8"})
    assert config.teacher.private.epsilon == 8.0


def test_opacus_is_loaded_for_a_private_teacher_alone(private_run) -> None:
    """It takes seconds; a run with any other teacher imports the same modules."""
    assert "opacus" not in loaded_by("import distill.recipe, distill.moments, distill.private_teacher")
    assert private_run.config.teacher.kind == "private"
    assert "opacus" in sys.modules


def test_a_batch_norm_without_running_statistics_is_said_to_mix_images() -> None:
    network = torch.nn.Sequential(
        torch.nn.Flatten(), torch.nn.BatchNorm1d(64, track_running_stats=False), torch.nn.Linear(64, 10)
    )
    with pytest.raises(UsageError, match="depends on the others of the batch"):
        checked(network.eval(), **DIGITS, seed=0)
    network[1] = torch.nn.BatchNorm1d(64)  # the twin
    assert checked(network.eval(), **DIGITS, seed=0) is network


def test_a_teacher_that_returns_probabilities_is_warned_of() -> None:
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10), torch.nn.Softmax(dim=1))
    with pytest.warns(UserWarning, match="look like probabilities"):
        checked(network.eval(), **DIGITS, seed=0)
    with warnings.catch_warnings():  # the twin: logits
        warnings.simplefilter("error")
        checked(network[:2].eval(), **DIGITS, seed=0)
