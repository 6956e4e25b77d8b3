"""The privacy card: it says what holds, about whom and by what, and refuses what must not leave."""

import json
from types import SimpleNamespace

import msgspec
import numpy as np
import pytest
import torch

import accounting
import labeldp
from distill.config_file import configuration
from distill.pool import Pool
from distill.privacy_card import privacy_card, privacy_statement
from labeldp import RandomizedResponse, SelectiveRandomizedResponse
from labeldp.learning.stages import Stage, privatize

NUM_ITEMS, NUM_CLASSES = 40, 4
CERTIFICATE = {
    "type": "TeacherCertificate",
    "adjacency": "add or remove one record",
    "epsilon": {"lower": 2.9, "upper": 3.0},
    "delta": 1e-6,
    "randomness": "system",
    "not_covered": "Gradients are floats.",
}


def statement(
    *,
    source=None,
    made_with_teacher=True,
    certificate=None,
    clean=False,
    seeded_teacher=False,
    **privacy,
):
    """The statement of a small release in the stages of the seed's scheme."""
    config = configuration({"privacy": {"stages": "seed", "source": source or "system", **privacy}})
    stages = [
        Stage(RandomizedResponse(config.privacy.epsilon, NUM_CLASSES), 0.5),
        Stage(SelectiveRandomizedResponse(config.privacy.epsilon, NUM_CLASSES), 0.5),
    ]
    released = privatize(
        np.arange(NUM_ITEMS) % NUM_CLASSES,
        stages,
        prior=lambda before, items: np.ones((len(items), NUM_CLASSES)),
        seed=0,
        source=labeldp.SeededSource(0) if source == "seeded" else None,
    )
    event = accounting.ApproximateDP(3.0, 1e-6)
    transcript = accounting.Transcript(
        [released.event],
        about="teacher",
        teacher=(accounting.Seeded(event) if seeded_teacher else event) if certificate else None,
        pool="made with the teacher" if made_with_teacher else "independent",
    )
    images = torch.zeros(NUM_ITEMS, 1, 2, 2, dtype=torch.uint8)
    sources = ("trajectory", "procedural")
    origin = np.full(NUM_ITEMS, 0 if made_with_teacher else 1)
    pool = Pool(
        images,
        origin=origin,
        sources=sources,
        made_with_teacher=made_with_teacher,
        bank=np.full(NUM_ITEMS, -1),
    )
    if clean:  # the word alone must do, whatever the transcript says
        config = msgspec.structs.replace(
            config, privacy=SimpleNamespace(**msgspec.to_builtins(config.privacy) | {"stages": "clean"})
        )
    return privacy_statement(config, transcript, released=released, pool=pool, certificate=certificate)


def test_the_statement_is_json_and_says_what_happened() -> None:
    privacy = statement(epsilon=2.0)
    assert json.loads(json.dumps(privacy)) == privacy
    assert (privacy["releasable"], privacy["not_for_release"]) == (True, None)
    assert privacy["answers"] == NUM_ITEMS
    assert [(each["stage"], each["name"], each["answers"]) for each in privacy["mechanisms"]] == [
        (1, "RandomizedResponse", 20),
        (2, "SelectiveRandomizedResponse", 20),
    ]
    assert privacy["mechanisms"][1]["parameters"] == {
        "epsilon": 2.0, "num_classes": NUM_CLASSES, "size": "accuracy", "outside": "uniform",
    }  # fmt: skip
    assert privacy["pool_sources"] == {"trajectory": NUM_ITEMS}
    assert privacy["software"] == f"labeldp {labeldp.__version__}"


def test_the_card_has_every_section_and_its_figures() -> None:
    card = privacy_card(statement())
    for part in (
        "## Guarantees", "**Epsilon 1 per answer**, delta 0", "**No guarantee per record.**", "at most 0.463",
        "## Mechanisms", "RandomizedResponse (epsilon = 1.0, num_classes = 4), 20 answers",
        "## What changes between neighbours", "## Composition", "40 answers, each used once",
        "## Randomness", "AES-256", "## Where the pool comes from", "40 trajectory images, made with the teacher",
        "## Teacher", "no certificate", "## What is not covered", "the pool itself", "near-duplicates", "the time",
        "several releases", "private/", "distill.load_student(DIRECTORY)", "numbered by images", f"labeldp {labeldp.__version__}",
    ):  # fmt: skip
        assert part in card, part
    assert "NOT FOR RELEASE" not in card


@pytest.mark.parametrize(
    ("settings", "why"),
    [({"source": "seeded"}, "reproduced from a seed"), ({"clean": True}, "not randomized")],
)
def test_what_is_seeded_or_clean_is_refused(settings, why: str) -> None:
    privacy = statement(**settings)
    assert privacy["releasable"] is False
    assert why in privacy["not_for_release"]
    assert all(not g["holds"] and g["epsilon"] is None and not g["releasable"] for g in privacy["guarantees"])
    card = privacy_card(privacy)
    assert card.splitlines()[0].startswith("**NOT FOR RELEASE: ")
    assert "Nothing is promised to anybody" in card
    assert "Epsilon 1 per answer" not in card
    assert "AES" not in card
    assert ("load_student" in card) is ("source" in settings)  # there is no student of clean answers to load
    assert statement()["releasable"] is True  # the twin


def test_a_certificate_gives_a_record_its_own_guarantee_and_stands_on_the_card() -> None:
    privacy = statement(certificate=CERTIFICATE)
    record = privacy["guarantees"][1]
    assert (record["unit"], record["holds"], record["epsilon"], record["delta"]) == (
        "record",
        True,
        3.0,
        1e-6,
    )
    assert "guarantee of its own: epsilon 3 at delta 1e-06" in privacy["plain_words"]
    assert "not a guarantee about the people" not in privacy["plain_words"]
    assert privacy["adjacency"]["record"] == "add or remove one record"
    card = privacy_card(privacy)
    for part in ("epsilon: lower 2.9, upper 3.0", "in the teacher's certificate: Gradients are floats."):
        assert part in card
    # records are covered through the teacher; answers that the pool may show are not
    assert "the pool itself, as far as answers go" in card
    assert "may reveal training records" not in card
    assert "see the training records through the teacher alone" in card
    # the twin
    assert "may reveal training records" in privacy_card(statement())
    assert "through the teacher alone" not in privacy_card(statement())


def test_the_card_explains_the_road_that_was_taken() -> None:
    """A certificate of epsilon 3 beside a pool made without the teacher: the smaller of two figures, with its own reason."""
    composed, certified = (
        statement(certificate=CERTIFICATE, made_with_teacher=False, epsilon=epsilon)
        for epsilon in (0.01, 2.0)
    )
    assert composed["guarantees"][1]["epsilon"] < certified["guarantees"][1]["epsilon"] == 3.0
    for privacy, text, other in (
        (composed, "answers are composed for it, all of them", "answers add nothing"),
        (certified, "answers add nothing", "answers are composed for it, all of them"),
    ):
        card = privacy_card(privacy)
        assert text in card
        assert other not in card
    assert "any number of answers may change" in composed["adjacency"]["record"]
    assert certified["adjacency"]["record"] == CERTIFICATE["adjacency"]


def test_answers_without_noise_are_covered_by_a_certificate_as_far_as_records_go() -> None:
    privacy = statement(certificate=CERTIFICATE, clean=True)
    answer, record = privacy["guarantees"]
    assert (answer["holds"], record["holds"], record["epsilon"]) == (False, True, 3.0)
    assert privacy["releasable"]
    assert privacy["composition"].keys() == {"record"}
    card = privacy_card(privacy)
    assert "Epsilon 1 " not in card
    assert "**No guarantee per answer.**" in card
    assert "used without noise: nothing is promised about a single answer" in card
    # the twin: a teacher whose own noise is from a seed covers nothing
    seeded = statement(certificate=CERTIFICATE, clean=True, seeded_teacher=True)
    assert not seeded["releasable"]
    assert not any(g["holds"] or g["releasable"] for g in seeded["guarantees"])
    assert privacy_card(seeded).startswith("**NOT FOR RELEASE: the answers were not randomized")


def test_a_pool_made_without_the_teacher_is_covered() -> None:
    privacy = statement(made_with_teacher=False)
    assert privacy["guarantees"][1]["holds"]
    assert not any("the pool itself" in text for text in privacy["not_covered"])
    assert "If the pool had been made without the teacher" not in privacy["plain_words"]
    assert "40 procedural images, made without the teacher and its data" in privacy_card(privacy)


def test_no_figure_on_the_card_is_below_the_one_that_holds() -> None:
    card = privacy_card(statement(epsilon=1.0000049))
    assert "Epsilon 1.00001 per answer" in card
    assert "epsilon 1 " not in card.lower()
    assert "Epsilon 1 " in privacy_card(statement(epsilon=1.0))  # the twin
