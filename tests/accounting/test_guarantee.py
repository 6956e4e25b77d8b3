"""What may be promised: units, adaptive sizes, certificates, provenance, seeded noise."""

from __future__ import annotations

import json
import math

import mpmath
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import (
    ApproximateDP,
    Disjoint,
    Gaussian,
    Guarantee,
    PoissonSubsampledGaussian,
    PureDP,
    RandomizedResponse,
    Repeated,
    Seeded,
    Sequence,
    SubsetSelection,
    Transcript,
    composed_if_independent,
    guarantee,
)
from accounting.composition import Composed, compose, is_seeded
from tests.accounting.checks import assert_never_claims

quick = settings(deadline=None, max_examples=40, derandomize=True)
TEN, TWO, ONE = (RandomizedResponse(1.0, k) for k in (10, 2, 1))
RELEASE = Disjoint([TEN], [1000])


def about_people(events):
    return Transcript(events, about="people")


def about_teacher(events, **more):
    return Transcript(events, about="teacher", **more)


def record_epsilon(events, *, delta, account=composed_if_independent):
    return account(about_teacher(events, pool="independent"), delta=delta).epsilon


# One item.


@pytest.mark.parametrize(
    ("events", "epsilon"),
    [
        (RELEASE, 1.0),
        ([RELEASE, RELEASE], 2.0),
        (Repeated(RELEASE, 3), 3.0),
        (Disjoint([TEN, PureDP(0.25)]), 1.0),
        (Disjoint([[PureDP(0.25), PureDP(0.5)], PureDP(0.5)]), 0.75),
        (Disjoint([PureDP(0.25), Repeated(PureDP(0.25), 3), PureDP(0.5)]), 1.0),
        (Disjoint([ONE], [5], adaptive=True), 1.0),
        ([Disjoint([ONE, TEN], adaptive=True), SubsetSelection(0.5, 10, 3)], 1.5),
        ([], 0.0),
        (Disjoint([]), 0.0),
    ],
)
def test_one_item_pays_the_sum_over_uses_and_the_maximum_over_parts(events, epsilon):
    for transcript, unit in ((about_people(events), "label"), (about_teacher(events), "answer")):
        stated = guarantee(transcript, unit=unit)
        assert (stated.unit, stated.holds, stated.epsilon, stated.delta) == (unit, True, epsilon, 0.0)
        assert stated.releasable


@quick
@given(st.sampled_from([0.0, 1e-9, 1e-3, 0.2]), st.lists(st.integers(2, 30), min_size=1, max_size=4))
def test_the_smallest_alphabet_pays_for_one_item(delta, alphabets):
    parts = [RandomizedResponse(1.0, k) for k in alphabets]
    stated = guarantee(about_people(Disjoint(parts)), unit="label", delta=delta)
    assert stated.epsilon == max(part.privacy_loss().epsilon(delta).upper for part in parts)


@quick
@given(st.floats(0.01, 3), st.floats(0.01, 3), st.integers(2, 9), st.integers(2, 9), st.floats(1e-6, 0.3))
def test_parts_of_different_epsilon_are_dominated(first, second, few, many, delta):
    """Whichever parts an item was in, in two stages, its own composition loses no more than what is stated."""
    parts = [RandomizedResponse(first, few), RandomizedResponse(second, many)]
    stated = guarantee(about_people([Disjoint(parts), Disjoint(parts)]), unit="label", delta=delta).epsilon
    for left in parts:
        for right in parts:
            path = left.privacy_loss().compose(right.privacy_loss())
            assert path.epsilon(delta).lower <= stated


def test_adaptive_sizes_count_as_two_for_one_item():
    delta = 0.1
    adaptive = guarantee(about_people(Disjoint([TEN, ONE], adaptive=True)), unit="label", delta=delta)
    fixed = guarantee(about_people(Disjoint([TEN, ONE])), unit="label", delta=delta)
    assert adaptive.epsilon == TWO.privacy_loss().epsilon(delta).upper > fixed.epsilon


# Records.


def test_record_composes_every_answer():
    assert record_epsilon(RELEASE, delta=1e-5) == pytest.approx(219.2071, abs=5e-5)
    assert record_epsilon(Repeated(TEN, 1000), delta=1e-5) == record_epsilon(RELEASE, delta=1e-5)
    assert record_epsilon(Disjoint([TEN] * 1000), delta=1e-5) == record_epsilon(RELEASE, delta=1e-5)
    assert record_epsilon([RELEASE, RELEASE], delta=0.0) == 2000.0


def test_an_accountant_that_ignores_counts_is_caught():
    def careless(transcript, *, delta):
        event = transcript.events
        return composed_if_independent(about_teacher(list(event.events), pool="independent"), delta=delta)

    with pytest.raises(AssertionError):
        assert record_epsilon(RELEASE, delta=1e-5, account=careless) == pytest.approx(219.2071, abs=5e-5)


def assert_realised_sizes_do_not_matter(account):
    """Three outcomes of one adaptive release of 1000 items: what is stated is the same, and the worst."""
    outcomes = ([TWO, ONE, TEN], [10, 900, 90]), ([ONE], [1000]), ([TWO], [1000])
    stated = {
        record_epsilon(Disjoint(events, counts, adaptive=True), delta=1e-5, account=account)
        for events, counts in outcomes
    }
    assert stated == {PureDP(1.0).privacy_loss().self_compose(1000).epsilon(1e-5).upper}


def test_realised_sizes_never_used_for_adaptive_records():
    assert_realised_sizes_do_not_matter(composed_if_independent)


def test_an_accountant_that_uses_realised_sizes_is_caught():
    def careless(transcript, *, delta):
        event = transcript.events
        fixed = Disjoint(event.events, event.counts)
        return composed_if_independent(about_teacher(fixed, pool="independent"), delta=delta)

    with pytest.raises(AssertionError):
        assert_realised_sizes_do_not_matter(careless)


def test_realised_sizes_understate_an_adaptive_release():
    """Two answers; the second has alphabet 1 or 2 by the first output. The true delta passes the realised one.

    Alphabet 2 follows output 1. At epsilon = 1 the second use spends where the loss already is +1; an accountant of
    realised sizes sees one or two uses, and reports delta(1) = 0 where one use was made.
    """
    large = mpmath.e
    up = large / (1 + large)
    adaptive = up * up * (1 - mpmath.exp(1 - 2))  # losses: +2 w.p. up^2, 0 w.p. up (1-up), -1 w.p. 1-up
    realised = TWO.privacy_loss().delta(1.0).upper
    assert realised == 0 < adaptive
    worst = compose(Disjoint([TWO, ONE], adaptive=True), disjoint="all parts").loss.delta(1.0)
    assert worst.upper >= adaptive


@pytest.mark.parametrize(
    "inner",
    [
        SubsetSelection(1.0, 10, 3),
        PureDP(1.0),
        Sequence([TEN]),
        Disjoint([TEN]),
        Disjoint([ONE], adaptive=True),
        Repeated(TEN, 1),
    ],
)
def test_every_alphabet_inside_an_adaptive_release_is_the_worst(inner):
    release = Disjoint([inner], [7], adaptive=True)
    assert compose(release, disjoint="all parts").loss == TWO.privacy_loss().self_compose(7)


def test_a_certificate_inside_an_adaptive_release_is_kept():
    composed = compose(Disjoint([ApproximateDP(1.0, 0.25)], [2], adaptive=True), disjoint="all parts")
    assert composed == Composed(epsilon=2, delta=0.5)
    assert compose(
        Disjoint([ApproximateDP(1.0, 0.25), ApproximateDP(2.0, 0.125)]), disjoint="one part"
    ) == Composed(epsilon=2, delta=0.25)


def test_without_certificate_or_independence_no_record():
    stated = guarantee(about_teacher(RELEASE), unit="record", delta=1e-5)
    assert_never_claims(stated)
    assert stated.releasable
    assert "certificate" in stated.why


def test_people_have_no_record_guarantee():
    stated = guarantee(about_people(RELEASE), unit="record", delta=1e-5)
    assert_never_claims(stated)
    assert "features and membership" in stated.why


def test_a_statement_that_holds_is_not_refused():
    with pytest.raises(AssertionError):
        assert_never_claims(guarantee(about_people(RELEASE), unit="label"))


def test_record_by_the_certificate_of_the_teacher():
    """Any number of answers; certificates add with every other access, and need their delta."""
    teacher = [ApproximateDP(2.0, 2.0**-20), ApproximateDP(0.5, 2.0**-20), PureDP(0.25)]
    transcript = about_teacher(Disjoint([TEN], [10**9]), teacher=teacher)
    stated = guarantee(transcript, unit="record", delta=2.0**-19)
    assert (stated.holds, stated.epsilon, stated.delta) == (True, 2.75, 2.0**-19)
    assert "certificate" in stated.why
    assert 2.5 < guarantee(transcript, unit="record", delta=0.01).epsilon < 2.75
    assert guarantee(transcript, unit="record", delta=0.5).epsilon == 2.5


def test_a_delta_below_the_certificate_says_which_to_ask_for():
    transcript = about_teacher(RELEASE, teacher=ApproximateDP(2.0, 1e-5))
    for delta in (0.0, 1e-6, math.nextafter(1e-5, 0)):
        stated = guarantee(transcript, unit="record", delta=delta)
        assert_never_claims(stated)
        assert "ask for delta >= 1e-05" in stated.why
    assert guarantee(transcript, unit="record", delta=1e-5).epsilon == 2.0


def test_certificates_of_answers_need_their_delta_too():
    events = Repeated(ApproximateDP(0.5, 0.125), 2)
    for transcript, unit in (
        (about_people(events), "label"),
        (about_teacher(events), "answer"),
        (about_teacher(events, pool="independent"), "record"),
    ):
        stated = guarantee(transcript, unit=unit, delta=0.125)
        assert_never_claims(stated)
        assert "ask for delta >= 0.25" in stated.why
        assert guarantee(transcript, unit=unit, delta=0.25).epsilon == 1.0


def test_an_epsilon_beyond_all_numbers_is_never_claimed():
    events = Repeated(PureDP(1e308), 100)
    for transcript, unit in ((about_people(events), "label"), (about_teacher(TEN, teacher=events), "record")):
        for delta in (0.0, 1e-5):
            stated = guarantee(transcript, unit=unit, delta=delta)
            assert_never_claims(stated)
            assert "use smaller ones" in stated.why


@pytest.mark.parametrize(("certificate", "epsilon"), [(3.0, 3.0), (3000.0, 1000.0)])
def test_the_better_of_two_roads_to_a_record(certificate, epsilon):
    transcript = about_teacher(RELEASE, teacher=PureDP(certificate), pool="independent")
    assert guarantee(transcript, unit="record").epsilon == epsilon


def test_a_road_that_holds_wins_over_one_that_does_not():
    transcript = about_teacher(RELEASE, teacher=ApproximateDP(0.1, 0.5), pool="independent")
    stated = guarantee(transcript, unit="record")
    assert (stated.holds, stated.epsilon) == (True, 1000.0)


def test_composition_is_only_supposed_for_a_pool_made_with_the_teacher():
    stated = composed_if_independent(about_teacher(RELEASE), delta=1e-5)
    assert not stated.holds
    assert stated.epsilon == record_epsilon(RELEASE, delta=1e-5)
    assert "if the pool had been made without the teacher" in stated.why
    assert "no guarantee; epsilon 219.208 at delta 1e-05 " in stated.explain()


# Units and seeds.


def test_units_are_never_mixed():
    with pytest.raises(ValueError, match='Expected unit "answer" or "record"'):
        guarantee(about_teacher(RELEASE), unit="label")
    with pytest.raises(ValueError, match='Expected unit "label" or "record"'):
        guarantee(about_people(RELEASE), unit="answer")
    with pytest.raises(ValueError, match='Expected unit "label" or "record"'):
        composed_if_independent(about_people(RELEASE))
    certified = about_teacher(Repeated(RELEASE, 5), teacher=PureDP(0.5))
    assert guarantee(certified, unit="answer").epsilon == 5.0
    assert guarantee(certified, unit="record").epsilon == 0.5


@pytest.mark.parametrize("nest", [list, tuple, Sequence, Disjoint])
def test_seeded_never_holds(nest):
    hidden = nest([TEN, Repeated(Seeded(PureDP(0.1)), 2)])
    certified = nest([PureDP(1.0), Repeated(Seeded(PureDP(0.1)), 2)])
    transcripts = [
        (about_people(hidden), "label"),
        (about_people(hidden), "record"),
        (about_teacher(hidden), "answer"),
        (about_teacher(hidden, pool="independent"), "record"),
        (about_teacher(TEN, teacher=certified), "answer"),
        (about_teacher(TEN, teacher=certified), "record"),
    ]
    stated = [guarantee(transcript, unit=unit, delta=0.5) for transcript, unit in transcripts]
    stated.append(composed_if_independent(about_teacher(hidden, pool="independent"), delta=0.5))
    for one in stated:
        assert_never_claims(one)
        assert not one.releasable
        assert one.why == "seeded randomness: not for release"
    # delta 1 says that nothing is hidden, and that is another reason
    bare = Seeded(ApproximateDP(epsilon=0.0, delta=1.0))
    for one in (
        guarantee(about_teacher([TEN, bare]), unit="answer"),
        guarantee(about_teacher([TEN, bare], pool="independent"), unit="record", delta=0.5),
        composed_if_independent(about_teacher(Disjoint([TEN, bare]))),
    ):
        assert_never_claims(one)
        assert not one.releasable
        assert one.why == "some labels or answers were not randomized at all: not for release"
    assert not is_seeded(Sequence([TEN, Repeated(ApproximateDP(1.0, 0.0), 2)]))


@pytest.mark.parametrize(
    "teacher", [[], (), Sequence([]), Disjoint([]), TEN, ONE, [PureDP(1.0), TEN], Repeated(TEN, 2)], ids=str
)
def test_only_statements_about_records_certify_a_teacher(teacher):
    with pytest.raises(ValueError, match="teacher"):
        about_teacher(RELEASE, teacher=teacher)
    assert guarantee(about_teacher(RELEASE, teacher=[PureDP(1.0)]), unit="record").epsilon == 1.0


def test_composing_answers_does_not_cover_other_accesses_to_the_data():
    answers = Disjoint([RandomizedResponse(0.01, 10)], [10])
    alone = about_teacher(answers, teacher=PureDP(8.0), pool="independent")
    assert guarantee(alone, unit="record").epsilon < 0.11
    more = about_teacher(answers, teacher=[PureDP(8.0), PureDP(5.0)], pool="independent")
    assert guarantee(more, unit="record").epsilon == 13.0


@pytest.mark.parametrize(
    "twice", [Disjoint([PureDP(5.0), PureDP(5.0)]), Repeated(PureDP(5.0), 2), Repeated([Gaussian(0.5)], 2)]
)
def test_equal_accesses_to_the_data_are_several_too(twice):
    answers = Disjoint([RandomizedResponse(0.01, 10)], [10])
    several = guarantee(about_teacher(answers, teacher=twice, pool="independent"), unit="record", delta=1e-5)
    alone = guarantee(about_teacher(answers, teacher=twice), unit="record", delta=1e-5)
    assert several.epsilon == alone.epsilon > 9
    training = Repeated(PoissonSubsampledGaussian(0.5, 0.5), 100)
    once = about_teacher(answers, teacher=training, pool="independent")
    assert guarantee(once, unit="record", delta=1e-5).epsilon < 0.11


@pytest.mark.parametrize(
    "nest", [lambda event: event, lambda event: Disjoint([PureDP(1.0), [event]], [2, 3])]
)
def test_subsampled_noise_says_nothing_where_a_label_or_answer_is_replaced(nest):
    """Its curve is about a record that is added or removed; the one for replacing is larger."""
    event = nest(PoissonSubsampledGaussian(1.0, 0.01))
    people, teacher = Transcript(event, about="people"), about_teacher(event, pool="independent")
    for transcript, unit in ((people, "label"), (teacher, "answer"), (teacher, "record")):
        stated = guarantee(transcript, unit=unit, delta=1e-5)
        assert (stated.holds, stated.epsilon) == (False, math.inf)
        assert "count it as Gaussian" in stated.explain()
        plain = Transcript(nest(Gaussian(1.0)), about=transcript.about, pool=transcript.pool)
        assert guarantee(plain, unit=unit, delta=1e-5).holds
    certified = about_teacher(RELEASE, teacher=PoissonSubsampledGaussian(1.0, 0.01))
    assert guarantee(certified, unit="record", delta=1e-5).holds


def test_seeded_events_are_composed_like_their_own():
    inside = Disjoint([Seeded(TEN)], adaptive=True)
    assert compose(inside, disjoint="all parts").loss == TWO.privacy_loss()


def test_explanations_name_their_unit_in_words():
    words = {
        "label": (about_people(RELEASE), "one person's label"),
        "answer": (about_teacher(RELEASE), "one teacher answer on one synthetic item"),
        "record": (about_teacher(RELEASE, teacher=PureDP(1.0)), "one training record of the teacher"),
    }
    for unit, (transcript, said) in words.items():
        sentence = guarantee(transcript, unit=unit).explain()
        assert said in sentence
        assert "(1, 0)-differentially private" in sentence
        assert sentence.endswith(".")
    assert "not a guarantee about training records" in guarantee(words["answer"][0], unit="answer").why


@quick
@given(st.floats(0, 1e9), st.floats(0, 1))
def test_printed_numbers_are_never_below_the_stated_ones(epsilon, delta):
    sentence = Guarantee("label", True, epsilon, delta, "why").explain()
    printed = sentence.split(": (")[1].split(")")[0].split(", ")
    for number, stated in zip(printed, (epsilon, delta), strict=True):
        assert stated <= float(number) <= stated * (1 + 1.1e-5) + 5e-324


def test_statements_are_json():
    stated = guarantee(about_teacher(RELEASE), unit="record", delta=1e-5)
    plain = json.loads(json.dumps(stated.to_dict(), allow_nan=False))
    assert list(plain) == ["unit", "holds", "epsilon", "delta", "why", "releasable"]
    assert (plain["epsilon"], plain["delta"]) == (None, 1e-5)
    assert guarantee(about_teacher(RELEASE), unit="answer").to_dict()["epsilon"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"unit": "person"}, ValueError),
        ({"unit": None}, ValueError),
        ({"unit": "label", "delta": -0.1}, ValueError),
        ({"unit": "label", "delta": math.nan}, ValueError),
        ({"unit": "label", "delta": "0"}, TypeError),
    ],
)
def test_bad_arguments_say_what_was_expected(arguments, error):
    with pytest.raises(error, match="Expected"):
        guarantee(about_people(RELEASE), **arguments)
