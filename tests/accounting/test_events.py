"""Events and transcripts as data: canonical, strictly checked, and the same after JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import (
    ApproximateDP,
    Disjoint,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PureDP,
    RandomizedResponse,
    Repeated,
    Seeded,
    Sequence,
    SubsetSelection,
    Transcript,
    event_from_dict,
    event_to_dict,
)

quick = settings(deadline=None, max_examples=60, derandomize=True)
budgets = st.floats(0, 1e300)
leaves = st.one_of(
    st.builds(RandomizedResponse, budgets, st.integers(1, 2**53)),
    st.integers(2, 99).flatmap(
        lambda k: st.builds(SubsetSelection, budgets, st.just(k), st.integers(1, k - 1))
    ),
    st.builds(PureDP, budgets),
    st.builds(ApproximateDP, budgets, st.floats(0, 1)),
    st.builds(Laplace, st.floats(1e-300, 1e300)),
    st.builds(Gaussian, st.floats(1e-300, 1e300)),
    st.builds(PoissonSubsampledGaussian, st.floats(1e-300, 1e300), st.floats(0, 1)),
)


def nest(inner):
    lists = st.lists(inner, max_size=3)
    return st.one_of(
        st.builds(Sequence, lists),
        st.builds(Disjoint, lists, adaptive=st.booleans()),
        lists.flatmap(
            lambda events: st.builds(
                Disjoint, st.just(events), st.tuples(*[st.integers(1, 10**9) for _ in events])
            )
        ),
        st.builds(Repeated, inner, st.integers(1, 10**12)),
        st.builds(Seeded, inner),
    )


events = st.recursive(leaves, nest, max_leaves=8)


def through_json(value):
    return json.loads(json.dumps(value, allow_nan=False))


def assert_survives(event, *, reader=event_from_dict):
    assert reader(through_json(event_to_dict(event))) == event


@quick
@given(events)
def test_events_survive_json(event):
    assert_survives(event)
    assert hash(event_from_dict(event_to_dict(event))) == hash(event)


def test_a_reader_that_loses_counts_is_caught():
    def careless(data):
        return Disjoint([event_from_dict(part) for part in data["events"]])

    event = Disjoint([PureDP(0.1)], [3])
    assert_survives(event)
    with pytest.raises(AssertionError):
        assert_survives(event, reader=careless)


certificates = st.one_of(
    st.builds(PureDP, st.floats(0, 10)),
    st.builds(
        lambda e, n: Sequence([Seeded(PureDP(e)), Repeated(ApproximateDP(e, 1e-5), n)]),
        st.floats(0, 10),
        st.integers(1, 9),
    ),
)


@quick
@given(events, st.one_of(st.none(), certificates), st.sampled_from(["made with the teacher", "independent"]))
def test_transcripts_survive_json(event, teacher, pool):
    transcript = Transcript(event, about="teacher", teacher=teacher, pool=pool)
    assert Transcript.from_dict(through_json(transcript.to_dict())) == transcript


@quick
@given(st.lists(events, max_size=5), st.randoms(use_true_random=False))
def test_disjoint_does_not_depend_on_the_order(parts, random):
    shuffled = list(parts)
    random.shuffle(shuffled)
    assert Disjoint(shuffled) == Disjoint(parts)
    assert event_to_dict(Disjoint(shuffled)) == event_to_dict(Disjoint(parts))


def test_disjoint_counts_equal_events_together():
    ten, two = RandomizedResponse(1, 10), RandomizedResponse(1, 2)
    release = Disjoint([ten, two, ten], counts=[5, 1, np.int64(2)])
    assert (release.events, release.counts) == ((two, ten), (1, 7))
    assert release == Disjoint([two, ten], [1, 7])
    assert release != Disjoint([two, ten], [1, 7], adaptive=True)


def test_numbers_become_plain_numbers():
    event = SubsetSelection(np.float32(0.5), np.int32(10), np.uint8(3))
    assert event == SubsetSelection(0.5, 10, 3)
    assert [type(value) for value in vars(event).values()] == [float, int, int]
    assert math.copysign(1, PureDP(-0.0).epsilon) == 1
    assert type(PureDP(1).epsilon) is float


def test_a_bare_list_means_sequence():
    one = PureDP(1.0)
    assert Repeated([one, [one]], 2).event == Sequence([one, Sequence([one])])
    assert Transcript((one, one), about="people").events == Sequence([one, one])
    assert Seeded([one]).event == Disjoint([[one]]).events[0] == Sequence([one])


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: RandomizedResponse(-1.0, 10), ValueError),
        (lambda: RandomizedResponse(math.nan, 10), ValueError),
        (lambda: RandomizedResponse(math.inf, 10), ValueError),
        (lambda: RandomizedResponse("1", 10), TypeError),
        (lambda: RandomizedResponse(True, 10), TypeError),
        (lambda: RandomizedResponse(1.0, 0), ValueError),
        (lambda: RandomizedResponse(1.0, 2.0), TypeError),
        (lambda: RandomizedResponse(1.0, True), TypeError),
        (lambda: RandomizedResponse(1.0, 2**53 + 1), ValueError),
        (lambda: SubsetSelection(1.0, 1, 1), ValueError),
        (lambda: SubsetSelection(1.0, 5, 5), ValueError),
        (lambda: SubsetSelection(1.0, 5, 0), ValueError),
        (lambda: PureDP(None), TypeError),
        (lambda: PureDP(1j), TypeError),
        (lambda: ApproximateDP(1.0, 1.1), ValueError),
        (lambda: ApproximateDP(1.0, -0.1), ValueError),
        (lambda: Sequence(PureDP(1.0)), TypeError),
        (lambda: Sequence([1.0]), TypeError),
        (lambda: Disjoint([PureDP(1.0)], [0]), ValueError),
        (lambda: Disjoint([PureDP(1.0)], [1.0]), TypeError),
        (lambda: Disjoint([PureDP(1.0)], [1, 1]), ValueError),
        (lambda: Disjoint([PureDP(1.0)], adaptive=1), TypeError),
        (lambda: Disjoint(["x"]), TypeError),
        (lambda: Repeated(PureDP(1.0), 0), ValueError),
        (lambda: Repeated(PureDP(1.0), True), TypeError),
        (lambda: Repeated(None, 1), TypeError),
        (lambda: Seeded(3), TypeError),
        (lambda: Transcript(PureDP(1.0), about="items"), ValueError),
        (lambda: Transcript(PureDP(1.0), about="teacher", pool="public"), ValueError),
        (lambda: Transcript(PureDP(1.0), about="people", teacher=PureDP(1.0)), ValueError),
        (lambda: Transcript(PureDP(1.0), about="people", pool="independent"), ValueError),
        (lambda: Transcript("events", about="people"), TypeError),
    ],
)
def test_bad_arguments_say_what_was_expected(make, error):
    with pytest.raises(error, match="Expected"):
        make()


PURE = {"type": "PureDP", "epsilon": 1.0}


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ([PURE], TypeError),
        (None, TypeError),
        ({}, ValueError),
        ({"type": "Laplace", "epsilon": 1.0}, ValueError),
        ({"type": "Gaussian", "noise_multiplier": 0.0}, ValueError),
        ({"type": "Gaussian", "noise_multiplier": 10**400}, ValueError),
        ({"type": "PoissonSubsampledGaussian", "noise_multiplier": 1.0}, ValueError),
        (
            {"type": "PoissonSubsampledGaussian", "noise_multiplier": 1.0, "sampling_probability": 2},
            ValueError,
        ),
        ({"type": ["PureDP"], "epsilon": 1.0}, ValueError),
        ({"type": "PureDP"}, ValueError),
        ({"type": "PureDP", "epsilon": 1.0, "count": 1000}, ValueError),
        ({"type": "PureDP", "epsilon": "1.0"}, TypeError),
        ({"type": "PureDP", "epsilon": True}, TypeError),
        ({"type": "RandomizedResponse", "epsilon": 1.0, "num_classes": 2.0}, TypeError),
        ({"type": "Sequence", "events": PURE}, TypeError),
        ({"type": "Sequence", "events": [[PURE]]}, TypeError),
        ({"type": "Disjoint", "events": [PURE], "counts": 1, "adaptive": False}, TypeError),
        ({"type": "Disjoint", "events": [PURE], "counts": [1], "adaptive": None}, TypeError),
        ({"type": "Disjoint", "events": [PURE], "counts": [1, 2], "adaptive": False}, ValueError),
        ({"type": "Repeated", "event": PURE, "count": 1.5}, TypeError),
        ({"type": "Seeded", "event": 1}, TypeError),
    ],
)
def test_bad_dictionaries_say_what_was_expected(data, error):
    with pytest.raises(error, match="Expected"):
        event_from_dict(data)
    with pytest.raises((TypeError, ValueError), match="Expected"):
        Transcript.from_dict(data)


def test_events_cannot_be_changed():
    with pytest.raises(AttributeError):
        PureDP(1.0).epsilon = 0.1
    with pytest.raises(AttributeError):
        Sequence([]).events = (PureDP(1.0),)
