"""What a private teacher may claim: against independent accountants, and for DP-SGD and moments together."""

import json
import math

import pytest

import accounting
from distill.certificate import (
    Certificate,
    calibrated,
    certified,
    opacus_epsilons,
    private_event,
    read_certificate,
)
from distill.config import PrivateTraining
from distill.usage import UsageError


def epsilon(event: accounting.Event, delta: float = 1e-5) -> float:
    transcript = accounting.Transcript([], about="teacher", teacher=event)
    return accounting.guarantee(transcript, unit="record", delta=delta).epsilon


@pytest.mark.parametrize("total", [1.0, 3.0, 8.0])
@pytest.mark.parametrize("moment_noise", [0.0, 5.0])
def test_dp_sgd_and_moments_together_never_pass_the_total(total: float, moment_noise: float) -> None:
    settings = PrivateTraining(epsilon=total, moment_noise=moment_noise)
    noise = calibrated(settings)
    spent = epsilon(private_event(settings, noise))
    assert total * (1 - 1e-5) < spent <= total
    assert epsilon(private_event(settings, noise * 0.99)) > total


def test_a_forgotten_moment_release_would_be_seen() -> None:
    """The twin: calibrated without it, the total is passed by far more than the tolerance above."""
    settings = PrivateTraining(epsilon=3.0, moment_noise=5.0)
    alone = calibrated(PrivateTraining(epsilon=3.0, moment_noise=0.0))
    assert epsilon(private_event(settings, alone)) > 3.1
    assert epsilon(private_event(PrivateTraining(moment_noise=0.0), calibrated(settings))) < 2.95


@pytest.mark.parametrize("moment_noise", [0.0, 5.0])
def test_our_bracket_agrees_with_opacus(moment_noise: float) -> None:
    """Its numerical accountant states an upper bound within 0.01; its Rényi accountant is a looser one."""
    settings = PrivateTraining(moment_noise=moment_noise)
    noise = calibrated(settings)
    facts = certified(settings, noise, secure=True).facts
    lower, upper = facts["epsilon"]["lower"], facts["epsilon"]["upper"]
    assert lower <= upper <= lower * (1 + 1e-6)
    assert upper - 1e-3 < facts["opacus"]["prv"] < upper + 0.021
    assert facts["opacus"]["rdp"] > upper
    # the twin: a different number of steps does not agree
    other = opacus_epsilons(private_event(PrivateTraining(steps=200, moment_noise=moment_noise), noise), 1e-5)
    assert other["prv"] > upper + 0.1


def test_a_moment_release_that_spends_everything_is_refused() -> None:
    with pytest.raises(UsageError, match=r"teacher\.private\.epsilon"):
        calibrated(PrivateTraining(epsilon=0.5, moment_noise=1.0))


def test_a_certificate_survives_its_file(tmp_path) -> None:
    settings = PrivateTraining()
    made = certified(settings, calibrated(settings), secure=True)
    path = tmp_path / "teacher_certificate.json"
    path.write_text(json.dumps(made.to_dict()))
    assert read_certificate(str(path)) == made
    assert made.adjacency == "add or remove one record"
    assert made.facts["sampling"] == "Poisson"
    assert "floating point" in made.facts["not_covered"]


def test_a_seeded_teacher_certifies_nothing() -> None:
    made = certified(PrivateTraining(), 4.0, secure=False)
    assert math.isinf(epsilon(made.event))
    assert not math.isinf(epsilon(certified(PrivateTraining(), 4.0, secure=True).event))


def test_somebody_elses_numbers_are_a_certificate(tmp_path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text('{"epsilon": 3.0, "delta": 1e-6, "author": "somebody"}')
    made = read_certificate(str(path))
    assert made.event == accounting.ApproximateDP(3.0, 1e-6)
    assert made.facts["author"] == "somebody"
    assert epsilon(made.event) == 3.0
    assert Certificate.from_dict(made.to_dict()).event == made.event


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[]", "JSON object"),
        ("{", "Expecting"),
        ('{"epsilon": 3.0}', "epsilon and delta"),
        ('{"event": {"type": "RandomizedResponse", "epsilon": 1.0, "num_classes": 10}}', "training records"),
        ('{"event": {"type": "Nothing"}}', "Nothing"),
        ('{"epsilon": 0.0, "delta": 1.0}', "delta"),
        ('{"epsilon": 3.0, "delta": null}', "delta"),
        ('{"epsilon": 3.0, "delta": "1e-5"}', "delta"),
        ('{"event": {"type": "PureDP", "epsilon": 3.0}, "delta": null}', "delta"),
        ('{"epsilon": NaN, "delta": 0.0}', "finite"),
        ('{"event": {"type": "PureDP", "epsilon": 3.0}, "clip": Infinity}', "finite"),
        ('{"event": {"type": "PureDP", "epsilon": 30.0}, "epsilon": 0.1, "delta": 1e-5}', "30, got 0.1"),
        ('{"event": {"type": "Gaussian", "noise_multiplier": 1.0}, "epsilon": 1.0, "delta": 1e-5}', "got 1"),
        ('{"epsilon": 3.0, "delta": 1e-5, "labels_of_class_0": 12}', "labels_of_class_0"),
        ('{"epsilon": 3.0, "delta": 1e-5, "opacus": {"prv": 3.0, "labels": 12.0}}', "labels"),
        ('{"epsilon": 3.0, "delta": 1e-5, "steps": [12, 99]}', "steps"),
    ],
)
def test_what_is_no_certificate_is_refused(tmp_path, text: str, message: str) -> None:
    path = tmp_path / "certificate.json"
    path.write_text(text)
    with pytest.raises(UsageError, match=message):
        read_certificate(str(path))
    with pytest.raises(UsageError, match=r"teacher\.certificate"):
        read_certificate(str(tmp_path / "absent.json"))


@pytest.mark.parametrize(
    "text",
    [
        '{"event": {"type": "PureDP", "epsilon": 30.0}, "epsilon": 30.0, "delta": 1e-5}',
        '{"event": {"type": "Gaussian", "noise_multiplier": 1.0}, "epsilon": 4.38, "delta": 1e-5}',
        '{"event": {"type": "Gaussian", "noise_multiplier": 1.0}, "epsilon": {"lower": 1.0, "upper": 6.0}, "delta": 1e-5}',
        '{"epsilon": 3.0, "delta": 1e-5, "steps": 12, "opacus": {"prv": 3.0}, "clip": 1, "moment_clip": null}',
    ],
)
def test_what_is_one_is_taken(tmp_path, text: str) -> None:
    """The twin: numbers that agree with the event, or say less, and facts with a place of their own."""
    path = tmp_path / "certificate.json"
    path.write_text(text)
    facts = read_certificate(str(path)).facts
    assert facts == {key: value for key, value in json.loads(text).items() if key != "event"}
