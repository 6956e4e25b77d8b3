"""Filter and odometer: against the worst adaptive analyst, by dynamic programming over everything it may do."""

from __future__ import annotations

import math
from functools import cache

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from accounting import (
    ApproximateDP,
    Disjoint,
    Gaussian,
    Laplace,
    PoissonSubsampledGaussian,
    PrivacyLoss,
    PureDP,
    RandomizedResponse,
    Repeated,
    Seeded,
    Sequence,
    SubsetSelection,
)
from accounting.filter import Filter, Odometer

quick = settings(deadline=None, max_examples=60, derandomize=True)
TEN = RandomizedResponse(0.1, 10)


def composed(kinds, counts):
    loss = PrivacyLoss()
    for event, count in zip(kinds, counts, strict=True):
        loss = loss.compose(event.privacy_loss().self_compose(count)) if count else loss
    return loss


def together(kinds, counts):
    return Sequence([Repeated(event, count) for event, count in zip(kinds, counts, strict=True) if count])


def worst_delta(kinds, step: float, epsilon_after) -> float:
    """The largest `E_P (1 - e^(epsilon_T - L))_+` over everything an analyst may do who sees all outputs.

    At each point the analyst picks the next event among `kinds`, all with epsilons that are multiples of `step`, or stops.

    Args:
        epsilon_after: what is claimed once so many of each kind have happened; None where they may not.
    """
    laws = []
    for event in kinds:
        large, times = math.exp(event.epsilon), round(event.epsilon / step)
        total = large + event.num_classes - 1
        laws.append(((times, large / total), (-times, 1 / total), (0, (event.num_classes - 2) / total)))

    @cache
    def value(counts, at):
        claimed = epsilon_after(counts)
        best = max(0.0, -math.expm1(claimed - at * step))
        for kind, law in enumerate(laws):
            more = tuple(count + (kind == place) for place, count in enumerate(counts))
            if epsilon_after(more) is not None:
                best = max(best, sum(p * value(more, at + change) for change, p in law if p))
        return best

    return value((0,) * len(kinds), 0)


def by_filter(first: Filter, kinds):
    """What the filter claims: its budget, as long as it admits."""

    @cache
    def epsilon_after(counts):
        return first.epsilon if first.admits(together(kinds, counts)) else None

    return epsilon_after


def by_realised_curve(epsilon, delta, kinds):
    """A careless filter: goes on while the curve of what was realised keeps the budget."""

    @cache
    def epsilon_after(counts):
        return epsilon if composed(kinds, counts).epsilon(delta).upper <= epsilon else None

    return epsilon_after


def assert_keeps(delta: float, kinds, step: float, epsilon_after) -> None:
    assert worst_delta(kinds, step, epsilon_after) <= delta


ANALYSTS = [
    (2.0, 1e-3, 0.2, (RandomizedResponse(0.2, 2), RandomizedResponse(0.2, 10))),
    (3.0, 1e-3, 0.25, (RandomizedResponse(0.25, 2), RandomizedResponse(0.25, 10))),
    (2.0, 1e-2, 0.1, (RandomizedResponse(0.1, 2), RandomizedResponse(1.0, 2))),
    (3.0, 1e-3, 0.25, (RandomizedResponse(0.25, 2), RandomizedResponse(1.0, 5))),
]


@pytest.mark.parametrize(("epsilon", "delta", "step", "kinds"), ANALYSTS)
@pytest.mark.parametrize("orders", [(), (3.0, 8.0), (1.5,)])
def test_no_adaptive_analyst_passes_the_budget(epsilon, delta, step, kinds, orders):
    assert_keeps(delta, kinds, step, by_filter(Filter(epsilon, delta, orders), kinds))


@pytest.mark.parametrize(("epsilon", "delta", "step", "kinds"), ANALYSTS[:2])
def test_a_filter_on_the_curve_of_realised_sizes_is_caught(epsilon, delta, step, kinds):
    """The curve of a fixed plan says nothing about a plan that follows the outputs."""
    with pytest.raises(AssertionError):
        assert_keeps(delta, kinds, step, by_realised_curve(epsilon, delta, kinds))


def capped(claimed, most: int):
    return lambda counts: claimed(counts) if sum(counts) <= most else None


@pytest.mark.parametrize("orders", [(8.0,), (3.0, 8.0, 20.0), ()])
def test_an_odometer_holds_wherever_the_analyst_stops(orders):
    kinds = (RandomizedResponse(0.5, 2), RandomizedResponse(0.5, 8))

    @cache
    def claimed(counts):
        return Odometer(0.01, orders).after(together(kinds, counts)).epsilon

    assert_keeps(0.01, kinds, 0.5, capped(claimed, 20))


def test_an_odometer_that_reads_the_curve_is_caught():
    kinds = (RandomizedResponse(0.5, 2), RandomizedResponse(0.5, 8))

    @cache
    def claimed(counts):
        return composed(kinds, counts).epsilon(0.01).upper

    with pytest.raises(AssertionError):
        assert_keeps(0.01, kinds, 0.5, capped(claimed, 20))


def most(admits) -> int:
    """The largest count that is admitted."""
    low, high = 0, 1
    while admits(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if admits(middle) else (low, middle)
    return low


@pytest.mark.parametrize(
    ("epsilon", "event"),
    [(1.0, RandomizedResponse(0.01, 10)), (8.0, TEN), (50.0, RandomizedResponse(1.0, 10))],
)
def test_tighter_than_adding_epsilons_and_near_to_a_fixed_plan(epsilon, event):
    first = Filter(epsilon, 1e-5)
    admitted = most(lambda count: first.admits(Repeated(event, count)))
    loss = event.privacy_loss()
    fixed = most(lambda count: loss.self_compose(count).epsilon(1e-5).upper <= epsilon)
    worst = most(
        lambda count: PureDP(event.epsilon).privacy_loss().self_compose(count).epsilon(1e-5).upper <= epsilon
    )
    assert 0.84 * fixed < admitted <= fixed
    assert admitted > 2 * max(worst, math.floor(epsilon / event.epsilon)) or epsilon == 50.0
    assert admitted > 2 * math.floor(epsilon / event.epsilon)


def test_noise_is_let_through_near_to_a_fixed_plan():
    """Gaussian events have no epsilon to add; their divergences are exact."""
    step = Gaussian(50.0)
    first = Filter(1.0, 1e-5)
    admitted = most(lambda count: first.admits(Repeated(step, count)))
    fixed = most(lambda count: step.privacy_loss().self_compose(count).epsilon(1e-5).upper <= 1.0)
    assert 0.84 * fixed < admitted <= fixed
    assert not Filter(1.0, 0.0).admits(step)
    mixed = first.after([step, PoissonSubsampledGaussian(2.0, 0.001), Laplace(30.0), TEN])
    assert mixed.odometer.epsilon <= 1.0 < mixed.odometer.total == math.inf


def test_never_worse_than_adding_epsilons():
    one = Filter(1.0, 1e-5)
    for _ in range(4):
        one = one.after(PureDP(0.25))
    assert one.odometer.epsilon == 1.0
    assert not one.admits(PureDP(1e-6))


def test_without_delta_epsilons_are_added():
    one = Filter(1.0, 0.0).after(Repeated(PureDP(0.25), 3))
    assert one.orders == ()
    assert one.admits(RandomizedResponse(0.25, 100))
    assert not one.admits(PureDP(0.2500001))
    assert Filter(1.0, 0.0, (2.0,)).after(PureDP(1.0)).odometer.epsilon == 1.0


@quick
@given(
    st.lists(st.tuples(st.floats(1e-3, 2), st.integers(1, 40)), min_size=1, max_size=6), st.floats(1e-9, 0.5)
)
def test_the_order_of_events_does_not_matter(parts, delta):
    events = [RandomizedResponse(epsilon, size) for epsilon, size in parts]
    start = Odometer(delta, (2.0, 9.0))
    forth = back = start
    for first, last in zip(events, reversed(events), strict=True):
        forth, back = forth.after(first), back.after(last)
    assert forth.epsilon == pytest.approx(back.epsilon, rel=1e-9)
    assert forth.epsilon == pytest.approx(start.after(Disjoint(events)).epsilon, rel=1e-9)
    assert start.epsilon <= start.after(events[0]).epsilon <= forth.epsilon * (1 + 1e-12)


def test_values_do_not_change():
    one = Filter(1.0, 1e-5)
    assert one.admits(TEN)
    two = one.after(TEN)
    assert one == Filter(1.0, 1e-5) != two
    assert two.spent.total == 0.1
    assert Filter(1.0, 1e-5, two.orders, two.spent) == two


def assert_stops(one: Filter, event) -> None:
    assert not one.admits(event)
    with pytest.raises(ValueError, match="within the budget"):
        one.after(event)


def test_an_event_that_would_pass_the_budget_is_not_let_through():
    assert_stops(Filter(1.0, 1e-5), Repeated(TEN, 10**4))
    with pytest.raises(AssertionError):
        assert_stops(Filter(1.0, 1e-5), TEN)


def test_realised_alphabets_are_fed_one_by_one():
    """Constants cost nothing, and large alphabets less: what the accountant of transcripts may not use."""
    one = Filter(3.0, 1e-5)
    sizes = [1, 10, 10, 3, 1, 10] * 20
    for size in sizes:
        one = one.after(RandomizedResponse(0.1, size))
    batches = Filter(3.0, 1e-5).after(Disjoint([RandomizedResponse(0.1, s) for s in sizes]))
    assert batches.odometer.epsilon == pytest.approx(one.odometer.epsilon, rel=1e-9)
    assert_stops(Filter(3.0, 1e-5), Repeated(PureDP(0.1), len(sizes)))


@pytest.mark.parametrize(
    "event",
    [
        Disjoint([TEN], [5], adaptive=True),
        [TEN, Disjoint([Disjoint([TEN], adaptive=True)])],
        Repeated(Disjoint([TEN], adaptive=True), 2),
        Seeded(TEN),
        ApproximateDP(0.1, 1e-9),
    ],
)
def test_what_a_filter_cannot_stand_by_is_refused(event):
    with pytest.raises(ValueError, match="Expected"):
        Filter(1.0, 1e-5).admits(event)


def test_certificates_without_delta_are_added():
    one = Filter(1.0, 1e-5).after([ApproximateDP(0.5, 0.0), SubsetSelection(0.1, 10, 3)])
    assert one.odometer.total == pytest.approx(0.6)


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: Filter(-1.0, 1e-5), ValueError),
        (lambda: Filter(math.inf, 1e-5), ValueError),
        (lambda: Filter(1.0, 2.0), ValueError),
        (lambda: Filter(1.0, 1e-5, (1.0,)), ValueError),
        (lambda: Filter(1.0, 1e-5, (2.0,), Odometer(1e-6, (2.0,))), ValueError),
        (lambda: Odometer(1e-5, (math.inf,)), ValueError),
        (lambda: Odometer(1e-5, (2.0,), (1.0, 2.0)), ValueError),
        (lambda: Odometer(1e-5, (2.0,), (-1.0,)), ValueError),
        (lambda: Odometer("1e-5", (2.0,)), TypeError),
        (lambda: Filter(1.0, 1e-5).admits("event"), TypeError),
    ],
)
def test_bad_arguments_say_what_was_expected(make, error):
    with pytest.raises(error, match="Expected"):
        make()
