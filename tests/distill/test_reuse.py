"""Another run's teacher and pool, label stages by name, and one answer for each image."""

import json
import shutil
import stat
from dataclasses import replace

import msgspec
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import accounting
import distill
from distill import label_schemes, noisy_answers
from distill.config_file import configuration, load_config
from distill.noisy_answers import noisy_answers as release
from distill.progress import RunProgress
from distill.recipe import run
from distill.usage import UsageError
from tests.distill.conftest import TINY

QUIET = RunProgress(quiet=True)
STAGES = ("subset+srr", "seed", "rr", "subset", "partition", "clean")


def reusing(folder, **privacy):
    return configuration({"pool": {"from": str(folder)}, "student": TINY["student"], "privacy": privacy})


@pytest.fixture(scope="module")
def base(tiny_run, tmp_path_factory):
    """The tiny run, with a list of releases of its own."""
    return shutil.copytree(tiny_run.folder, tmp_path_factory.mktemp("runs") / "base")


@pytest.fixture
def own_base(tiny_run, tmp_path):
    """The same for one test alone: whoever reuses a run stands in its list."""
    return shutil.copytree(tiny_run.folder, tmp_path / "own base")


@pytest.fixture(scope="module")
def second_run(base, tmp_path_factory):
    """A run on the tiny run's teacher and pool, at epsilon 2."""
    config = reusing(base, epsilon=2.0, stages="subset")
    return run(config, tmp_path_factory.mktemp("runs") / "second", quiet=True)


def test_teacher_and_pool_are_taken_over(tiny_run, second_run) -> None:
    for name in ("teacher", "pool", "answers"):
        first, second = (r.folder / "private" / f"{name}.safetensors" for r in (tiny_run, second_run))
        assert first.read_bytes() == second.read_bytes()
        assert stat.S_IMODE(second.stat().st_mode) == 0o600
    assert second_run.accuracy["teacher"] == tiny_run.accuracy["teacher"]
    assert set(second_run.seconds) == {"private student", "all"}
    assert (second_run.pool.bank >= 0).any()
    assert second_run.to_dict()["rows_per_bank_image"] == tiny_run.to_dict()["rows_per_bank_image"]


def test_the_student_of_clean_answers_is_taken_over_where_it_would_be_the_same(
    tiny_run, second_run, own_base, tmp_path
) -> None:
    name = "private/clean_student.safetensors"
    assert (second_run.folder / name).read_bytes() == (tiny_run.folder / name).read_bytes()
    assert second_run.accuracy["clean_student"] == tiny_run.accuracy["clean_student"]
    # the twin: another student, or another seed of its weights, is trained anew
    for change in ({"student": msgspec.structs.replace(second_run.config.student, epochs=1)}, {"seed": 1}):
        config = msgspec.structs.replace(reusing(own_base, stages="rr"), **change)
        other = run(config, tmp_path / "-".join(change), quiet=True)
        assert "clean-label student" in other.seconds
        assert (other.folder / name).read_bytes() != (tiny_run.folder / name).read_bytes()


def test_clean_answers_have_one_student(own_base, tmp_path) -> None:
    report = run(reusing(own_base, stages="clean"), tmp_path / "run", quiet=True)
    assert "clean-label student" not in report.seconds
    assert report.accuracy["clean_student"] == report.accuracy["private_student"]


def test_the_configuration_says_how_they_were_made(tiny_run, base, second_run) -> None:
    written = load_config(second_run.folder / "config.toml")
    assert written == second_run.config
    for section in ("data", "teacher", "generator"):
        assert getattr(written, section) == getattr(tiny_run.config, section)
    assert written.pool == msgspec.structs.replace(tiny_run.config.pool, from_run=str(base))
    assert written.privacy.epsilon == 2.0


def test_answers_about_the_same_pool_add_up(tiny_run, second_run, tmp_path) -> None:
    privacy = json.loads((second_run.folder / "release" / "privacy.json").read_text())
    alone, together = privacy["guarantees"][0], privacy["guarantees_with_earlier_releases"][0]
    assert (alone["epsilon"], together["epsilon"]) == (2.0, 3.0)
    assert "epsilon 3 about each answer" in privacy["plain_words"]
    assert "epsilon 3 about each answer" in (second_run.folder / "release" / "PRIVACY.md").read_text()
    third = run(reusing(second_run.folder, epsilon=0.5, stages="rr"), tmp_path / "third", quiet=True)
    assert third.privacy["guarantees_with_earlier_releases"][0]["epsilon"] == 3.5
    assert len(third.privacy["earlier_releases"]) == 2
    # the twin: a pool of the run's own has no earlier releases
    assert "earlier_releases" not in tiny_run.privacy
    assert "Fresh noise" not in tiny_run.privacy["composition"]["answer"]
    assert "add up with" not in tiny_run.privacy["plain_words"]


@pytest.mark.parametrize("broken", ["nothing there", "unfinished", "no private directory"])
def test_only_a_finished_run_is_reused(broken: str, tiny_run, tmp_path) -> None:
    source = tmp_path / "source"
    if broken != "nothing there":
        (source / "private").mkdir(parents=True)
        (source / ("config.toml" if broken == "unfinished" else "report.json")).write_text("")
    with pytest.raises(UsageError, match="pool.from"):
        run(reusing(source), tmp_path / "run", quiet=True)
    assert not (tmp_path / "run").exists()


def test_a_key_that_the_other_run_contradicts_is_refused(tiny_run, tmp_path) -> None:
    config = configuration({**TINY, "pool": {"from": str(tiny_run.folder), "size": 900}})
    with pytest.raises(UsageError, match="pool.size"):
        run(config, tmp_path / "run", quiet=True)


def released(tiny_run, stages: str, *, pool=None, secret=None):
    config = configuration({**TINY, "privacy": {"stages": stages}})
    answers = load_file(tiny_run.folder / "private" / "answers.safetensors")["answers"].numpy()
    return release(
        config, pool or tiny_run.pool, answers if secret is None else secret, num_classes=10, progress=QUIET
    )


@pytest.mark.parametrize("stages", STAGES)
def test_every_item_is_answered_once(stages: str, tiny_run) -> None:
    labels = released(tiny_run, stages)
    np.testing.assert_array_equal(np.sort(labels.numbers), np.arange(800))
    assert labels.likelihood().shape == (800, 10)
    transcript = accounting.Transcript([labels.event], about="teacher", pool="made with the teacher")
    answer = accounting.guarantee(transcript, unit="answer")
    assert (answer.holds, answer.releasable) == ((False, False) if stages == "clean" else (True, True))
    if stages != "clean":
        assert answer.epsilon == 1.0


def test_each_scheme_is_what_its_name_says() -> None:
    names = {
        stages: [type(stage.mechanism).__name__ for stage in scheme.stages]
        for stages in STAGES
        for scheme in [label_schemes.label_scheme(stages, epsilon=1.0, num_classes=10)]
    }
    assert names == {
        "subset+srr": ["SubsetSelection", "SelectiveRandomizedResponse"],
        "seed": ["RandomizedResponse", "SelectiveRandomizedResponse"],
        "rr": ["RandomizedResponse"],
        "subset": ["SubsetSelection"],
        "partition": ["SubsetSelection", "PartitionedRandomizedResponse"],
        "clean": [],
    }


def test_equal_images_share_one_answer(tiny_run, monkeypatch) -> None:
    doubled = replace(
        tiny_run.pool, images=torch.cat([tiny_run.pool.images[:100]] * 2 + [tiny_run.pool.images[99:150]])
    )
    secret = np.zeros(len(doubled.images), dtype=np.int64)
    labels = released(tiny_run, "rr", pool=doubled, secret=secret)
    assert len(labels) == 150
    images = doubled.images[labels.numbers].flatten(1)
    assert len(torch.unique(images, dim=0)) == 150
    assert accounting.composed_if_independent(
        accounting.Transcript([labels.event], about="teacher", pool="independent")
    ).epsilon == pytest.approx(150, rel=1e-6)
    # the twin: without looking for equal images, they are answered again and again
    monkeypatch.setattr(noisy_answers, "distinct_items", lambda images: np.arange(len(images)))
    assert len(released(tiny_run, "rr", pool=doubled, secret=secret)) == 251


def test_clean_answers_release_nothing(own_base, tmp_path) -> None:
    report = run(reusing(own_base, stages="clean"), tmp_path / "run", quiet=True)
    release = report.folder / "release"
    assert {path.name for path in release.iterdir()} == {"transcript.json", "privacy.json", "PRIVACY.md"}
    privacy = json.loads((release / "privacy.json").read_text())
    assert not privacy["releasable"]
    assert not any(guarantee["holds"] or guarantee["releasable"] for guarantee in privacy["guarantees"])
    assert (release / "PRIVACY.md").read_text().startswith("**NOT FOR RELEASE")
    with pytest.raises(FileNotFoundError, match="learnt from clean answers"):
        distill.load_student(report.folder)
    transcript = accounting.Transcript.from_dict(json.loads((release / "transcript.json").read_text()))
    assert not accounting.guarantee(transcript, unit="answer").releasable
    assert report.accuracy["private_student"] > 0.5
    assert set(report.seconds) == {"student of clean answers", "all"}
    assert "Nothing is promised" in (report.folder / "report.html").read_text()
    # a run that builds on it says that there is nothing to add up
    later = run(reusing(report.folder, stages="rr"), tmp_path / "later", quiet=True)
    assert (
        "no guarantee (some labels or answers were not randomized at all: not for release)"
        in later.privacy["plain_words"]
    )
    assert "seeded randomness" not in later.privacy["plain_words"]
    assert later.privacy["releasable"]
