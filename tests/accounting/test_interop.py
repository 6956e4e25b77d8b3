"""Other packages' words for events: there and back without losing epsilon or count, with and without the packages."""

from __future__ import annotations

import sys
from dataclasses import fields, make_dataclass
from importlib.util import find_spec
from types import ModuleType

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
)
from accounting.composition import compose
from accounting.interop import from_dp_accounting, from_opacus, to_dp_accounting, to_opacus

quick = settings(deadline=None, max_examples=60, derandomize=True)

FIELDS = {
    "NoOpDpEvent": (),
    "NonPrivateDpEvent": (),
    "RandomizedResponseDpEvent": ("noise_parameter", "num_buckets"),
    "GaussianDpEvent": ("noise_multiplier",),
    "LaplaceDpEvent": ("noise_multiplier",),
    "SelfComposedDpEvent": ("event", "count"),
    "ComposedDpEvent": ("events",),
    "PoissonSampledDpEvent": ("sampling_probability", "event"),
    "ZCDpEvent": ("rho", "xi"),
}
"""The events of dp_accounting 0.6.0 that matter here."""


def stand_in() -> ModuleType:
    """A module with the same classes and fields."""
    module = ModuleType("dp_accounting")
    for name, names in FIELDS.items():
        setattr(module, name, make_dataclass(name, names, frozen=True))
    return module


STAND_IN = stand_in()


@pytest.fixture(params=["stand-in", *(["installed"] if find_spec("dp_accounting") else [])])
def peer(request, monkeypatch):
    """The package where it is installed, and always one with the same words."""
    if request.param == "installed":
        import dp_accounting

        return dp_accounting
    monkeypatch.setitem(sys.modules, "dp_accounting", STAND_IN)
    return STAND_IN


def test_the_stand_in_has_the_words_of_the_package(peer) -> None:
    for name, names in FIELDS.items():
        kind = getattr(peer, name)
        found = [field.name for field in fields(kind)] if hasattr(kind, "__dataclass_fields__") else [
            field.name for field in kind.__attrs_attrs__
        ]  # fmt: skip
        assert tuple(found) == names


EVENTS = [
    RandomizedResponse(1.0, 10),
    RandomizedResponse(1e-6, 3),
    RandomizedResponse(600.0, 2),
    RandomizedResponse(3.0, 1),
    PureDP(0.5),
    Gaussian(2.0),
    Laplace(3.0),
    PoissonSubsampledGaussian(1.0, 0.01),
    Repeated(RandomizedResponse(0.5, 4), 1000),
    Repeated(PoissonSubsampledGaussian(1.0, 0.01), 1000),
    Sequence([RandomizedResponse(0.5, 4), Gaussian(3.0), Repeated(RandomizedResponse(0.5, 4), 2)]),
    Disjoint([RandomizedResponse(0.5, 4), RandomizedResponse(0.5, 5)], [3, 70]),
    Repeated(Disjoint([Repeated(PureDP(0.25), 3)], [5]), 2),
    Sequence([]),
]


def leaves(event, times=1):
    """Every leaf with how often it is composed."""
    match event:
        case Sequence():
            return [leaf for part in event.events for leaf in leaves(part, times)]
        case Repeated():
            return leaves(event.event, times * event.count)
        case Disjoint():
            return [
                leaf
                for part, count in zip(event.events, event.counts, strict=True)
                for leaf in leaves(part, times * count)
            ]
        case PureDP():
            return [(RandomizedResponse(event.epsilon, 2), times)]
        case _:
            return [] if event == RandomizedResponse(3.0, 1) else [(event, times)]


def assert_same_facts(first, second) -> None:
    """The same leaves, as often; randomized response with at least its epsilon, and hardly more."""
    totals: list[dict] = [{}, {}]
    for total, event in zip(totals, (first, second), strict=True):
        for leaf, times in leaves(event):
            key = (
                (type(leaf).__name__, *list(vars(leaf).values())[1:])
                if isinstance(leaf, RandomizedResponse)
                else leaf
            )
            total.setdefault(key, []).append((times, getattr(leaf, "epsilon", 0.0)))
    assert totals[0].keys() == totals[1].keys()
    for key, before in totals[0].items():
        after = totals[1][key]
        assert sum(times for times, _ in before) == sum(times for times, _ in after)
        for low, high in zip(sorted({e for _, e in before}), sorted({e for _, e in after}), strict=True):
            assert low <= high <= low * (1 + 1e-9) + 1e-14


@pytest.mark.parametrize("event", EVENTS, ids=repr)
def test_there_and_back_keeps_every_epsilon_and_count(peer, event) -> None:
    assert_same_facts(event, from_dp_accounting(to_dp_accounting(event)))


def test_losing_a_count_is_caught(peer) -> None:
    event = Repeated(RandomizedResponse(0.5, 4), 1000)
    with pytest.raises(AssertionError):
        assert_same_facts(event, RandomizedResponse(0.5, 4))
    with pytest.raises(AssertionError):
        assert_same_facts(event, Repeated(RandomizedResponse(0.4999999, 4), 1000))


@quick
@given(st.floats(1e-9, 500), st.integers(2, 10**6))
def test_randomized_response_never_loses_epsilon(epsilon, num_classes) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(sys.modules, "dp_accounting", STAND_IN)
        back = from_dp_accounting(to_dp_accounting(RandomizedResponse(epsilon, num_classes)))
    assert epsilon <= back.epsilon <= epsilon * (1 + 1e-12) + 1e-13 * num_classes


def test_repetition_is_written_out_for_a_peer_that_loses_counts(peer) -> None:
    """dp_accounting 0.6 composes RandomizedResponseDpEvent once, whatever the count around it."""

    def counted(event) -> int:
        name = type(event).__name__
        if name == "ComposedDpEvent":
            return sum(counted(part) for part in event.events)
        return counted(event.event) if name == "SelfComposedDpEvent" else 1

    assert counted(to_dp_accounting(Repeated(RandomizedResponse(0.5, 4), 30))) == 30
    assert counted(to_dp_accounting(Disjoint([RandomizedResponse(0.5, 4)], [30]))) == 30
    assert counted(peer.SelfComposedDpEvent(peer.RandomizedResponseDpEvent(0.5, 4), 30)) == 1


def test_dp_accounting_repetitions_are_read(peer) -> None:
    event = peer.SelfComposedDpEvent(peer.ComposedDpEvent([peer.GaussianDpEvent(2.0)] * 3), 5)
    assert leaves(from_dp_accounting(event)) == [(Gaussian(2.0), 15)]
    assert from_dp_accounting(peer.SelfComposedDpEvent(peer.GaussianDpEvent(2.0), 0)) == Sequence([])
    assert from_dp_accounting(peer.RandomizedResponseDpEvent(1.0, 5)) == RandomizedResponse(0.0, 5)


@pytest.mark.parametrize(
    "event",
    [
        SubsetSelection(1.0, 10, 3),
        ApproximateDP(1.0, 1e-5),
        Seeded(PureDP(1.0)),
        Disjoint([PureDP(1.0)], adaptive=True),
        RandomizedResponse(1000.0, 3),
        Repeated(PureDP(1.0), 10**7),
    ],
    ids=repr,
)
def test_what_has_no_counterpart_there_is_refused(peer, event) -> None:
    with pytest.raises(ValueError, match="Expected"):
        to_dp_accounting(event)


def test_what_has_no_counterpart_here_is_refused(peer) -> None:
    gaussian = peer.GaussianDpEvent(1.0)
    for event in (
        peer.NonPrivateDpEvent(),
        peer.ZCDpEvent(1.0, 0.0),
        peer.PoissonSampledDpEvent(0.1, peer.LaplaceDpEvent(1.0)),
        peer.PoissonSampledDpEvent(0.1, peer.SelfComposedDpEvent(gaussian, 2)),
        peer.RandomizedResponseDpEvent(0.0, 3),
    ):
        with pytest.raises(ValueError, match="Expected"):
            from_dp_accounting(event)


def test_without_the_package_the_error_names_it(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    with pytest.raises(ModuleNotFoundError, match="dp_accounting"):
        to_dp_accounting(PureDP(1.0))


HISTORY = [(1.0, 0.01, 1000), (2.0, 1.0, 5), (1.5, 0.5, 1)]


def test_histories_of_opacus_come_and_go() -> None:
    event = from_opacus(HISTORY)
    assert event == Sequence(
        [
            Repeated(PoissonSubsampledGaussian(1.0, 0.01), 1000),
            Repeated(Gaussian(2.0), 5),
            Repeated(PoissonSubsampledGaussian(1.5, 0.5), 1),
        ]
    )
    assert to_opacus(event) == HISTORY
    assert to_opacus(Repeated([Gaussian(2.0), Repeated(PoissonSubsampledGaussian(1.0, 0.1), 3)], 2)) == [
        (2.0, 1.0, 2),
        (1.0, 0.1, 6),
    ]
    assert to_opacus(from_opacus([])) == []


def test_a_history_is_composed_like_its_steps() -> None:
    loss = compose(from_opacus([(1.0, 0.01, 500), (1.0, 0.01, 500)]), disjoint="all parts").loss
    again = PoissonSubsampledGaussian(1.0, 0.01).privacy_loss().self_compose(1000)
    assert loss.epsilon(1e-5).upper == pytest.approx(again.epsilon(1e-5).upper, rel=1e-9)
    less = PoissonSubsampledGaussian(1.0, 0.01).privacy_loss().self_compose(500)
    assert loss.epsilon(1e-5).upper > less.epsilon(1e-5).upper * 1.1


@pytest.mark.parametrize(
    "event", [PureDP(1.0), Laplace(1.0), Disjoint([Gaussian(1.0)]), Seeded(Gaussian(1.0))]
)
def test_what_opacus_does_not_know_is_refused(event) -> None:
    with pytest.raises(ValueError, match="Expected Gaussian events"):
        to_opacus(event)


@pytest.mark.parametrize("row", [(0.0, 0.1, 1), (1.0, 1.5, 1), (1.0, 0.1, 0), ("1", 0.1, 1)])
def test_bad_rows_say_what_was_expected(row) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        from_opacus([row])
