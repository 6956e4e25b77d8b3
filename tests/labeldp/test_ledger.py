"""The ledger: charged before released, once for one release, never past the cap, and nothing forgotten."""

import copy
import json
import math
import os
import pickle
import threading
from contextlib import nullcontext
from fractions import Fraction
from pathlib import Path
from time import sleep

import numpy as np
import pytest

import accounting
import labeldp
from accounting.filter import Filter
from labeldp.tables import BudgetSpent, Ledger, charge
from labeldp.tables import ledger as ledger_module
from labeldp.tables.budget import Cost, budget, cost_of, stated
from labeldp.tables.ledger import event_of

TENTH = accounting.RandomizedResponse(0.1, 10)


# What a charge costs


def test_ten_tenths_fit_into_one_and_no_eleventh(ledger) -> None:
    for i in range(1, 11):
        receipt = ledger.charge("clicks", TENTH, unit="label", release=f"{i}")
        assert (receipt.spent, receipt.left, receipt.replayed) == (i / 10, (10 - i) / 10, False)
    for epsilon in (0.1, 1e-300):
        with pytest.raises(BudgetSpent, match=r"of which 1\.0 is spent"):
            ledger.charge("clicks", accounting.PureDP(epsilon), unit="label")
    assert len(list(ledger.entries())) == 12
    assert ledger.verify(receipt.head) == ()


def test_epsilons_round_up_and_caps_down() -> None:
    assert cost_of(accounting.PureDP(1e-300), "label", None).pico_epsilon == 1
    assert cost_of(accounting.PureDP(0.1), "label", None).pico_epsilon == 10**11
    assert cost_of(accounting.PureDP(1 / 3), "label", None).pico_epsilon == 333333333334
    assert budget(1 / 3, 0.0).pico_epsilon == 333333333333
    assert cost_of(accounting.PureDP(0.0), "label", None).pico_epsilon == 0
    assert cost_of(accounting.Laplace(3.0), "label", None).pico_epsilon == 333333333334
    for epsilon in (
        0.1,
        0.7,
        1.1,
        2.3,
        17.9,
        1e-7,
        123456.789,
    ):  # the sum as counted against the sum of the floats, exactly
        pico = cost_of(accounting.Repeated(accounting.PureDP(epsilon), 1000), "record", None).pico_epsilon
        assert pico is None or Fraction(pico, 10**12) * (1 + Fraction(1, 2**53)) >= 1000 * Fraction(epsilon)


def test_units_meet_parts_of_a_release_by_their_own_rule(ledger) -> None:
    """A label meets one item of a thousand, a record all of them; nothing is carried from one unit to another."""
    thousand = accounting.Disjoint([TENTH], [1000])
    assert ledger.charge("clicks", thousand, unit="label").spent == 0.1
    ledger.set_cap("clicks", 1000.0, unit="record")
    assert ledger.charge("clicks", thousand, unit="record").spent == 100.0
    ledger.set_cap("clicks", 1.0, unit="answer")
    assert ledger.charge("clicks", [thousand, thousand], unit="answer").spent == 0.2
    assert {b.unit: b.spent for b in ledger.balances()} == {"label": 0.1, "record": 100.0, "answer": 0.2}


def test_composition_is_used_where_it_is_tighter(path) -> None:
    """As many charges as the filter of accounting lets through at half of delta, far more than adding would."""
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.5, unit="label", delta=1e-4)
        reference, count = Filter(1.5, 1e-4 / 2), 0
        while reference.admits(TENTH):
            reference, count = reference.after(TENTH), count + 1
        for _ in range(count):
            receipt = ledger.charge("clicks", accounting.Disjoint([TENTH], [7]), unit="label")
            assert receipt.spent <= 1.5
        with pytest.raises(BudgetSpent):
            ledger.charge("clicks", TENTH, unit="label")
        assert count > 2 * 15
        exact = accounting.RandomizedResponse(0.1, 10).privacy_loss().self_compose(count)
        assert exact.delta(1.5).upper <= 1e-4
        assert ledger.verify() == ()


def test_mixed_charges_keep_the_budget_exactly(path) -> None:
    """Gaussian noise, randomized response and certificates together, against the exact curve at the cap."""
    events = [
        accounting.Gaussian(6.0),
        TENTH,
        accounting.ApproximateDP(0.05, 1e-6),
        accounting.PureDP(0.2),
    ] * 5
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 2.0, unit="label", delta=1e-4)
        loss, epsilon, delta = accounting.PrivacyLoss(), 0.0, 0.0
        for event in events:
            try:
                ledger.charge("clicks", event, unit="label")
            except BudgetSpent:
                continue
            if isinstance(event, accounting.ApproximateDP):
                epsilon, delta = epsilon + event.epsilon, delta + event.delta
            else:
                loss = loss.compose(event.privacy_loss())
        assert len(loss.noises) == 1
        assert delta > 0
        assert float(loss.delta(2.0 - epsilon).upper) + delta <= 1e-4


def test_certificates_may_use_half_of_delta(path) -> None:
    one = accounting.ApproximateDP(0.01, 1e-6)
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 10.0, unit="label", delta=1e-5)
        for _ in range(5):
            ledger.charge("clicks", one, unit="label")
        with pytest.raises(BudgetSpent, match="Half of the cap's delta"):
            ledger.charge("clicks", one, unit="label")
        ledger.set_cap("pure", 10.0, unit="label")
        for event in (one, accounting.Gaussian(100.0)):
            with pytest.raises(BudgetSpent):
                ledger.charge("pure", event, unit="label")


def test_parts_share_nothing_but_what_was_charged_to_all(ledger) -> None:
    def spend(part: str, epsilon: float) -> float:
        return ledger.charge("clicks", accounting.PureDP(epsilon), unit="label", part=part).spent

    assert spend("monday", 0.4) == 0.4
    assert spend("tuesday", 0.6) == 0.6
    assert spend("", 0.3) == 0.9  # of tuesday, which lost most
    assert spend("monday", 0.3) == 1.0
    for part in ("tuesday", "monday", ""):
        with pytest.raises(BudgetSpent):
            spend(part, 0.2)
    assert spend("wednesday", 0.7) == 1.0
    (balance,) = ledger.balances()
    assert balance.parts == ("monday", "tuesday", "wednesday")
    assert (balance.spent, balance.left) == (1.0, 0.0)
    assert ledger.verify() == ()


def test_more_than_a_budget_can_count_is_refused(path) -> None:
    """An infinite sum, and a divergence beyond every cap."""
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1e6, unit="record", delta=1e-5)
        for event in (
            accounting.Disjoint([accounting.PureDP(1e5)], [100]),
            accounting.Disjoint([accounting.PureDP(1e308)], [10]),
            accounting.ApproximateDP(1e308, 0.0),
        ):
            with pytest.raises(BudgetSpent, match="costs inf alone"):
                ledger.charge("clicks", event, unit="record")
        ledger.charge("clicks", accounting.PureDP(6e5), unit="record")
        with pytest.raises(BudgetSpent):
            ledger.charge("clicks", accounting.PureDP(6e5), unit="record")
        assert ledger.verify() == ()


def test_items_are_not_told_of_what_one_label_met() -> None:
    few, many = (
        accounting.Repeated([accounting.Disjoint([TENTH], [n], adaptive=True), TENTH], 2) for n in (2, 9)
    )
    assert (
        stated(few, "label")
        == stated(many, "label")
        == accounting.Repeated([accounting.Disjoint([TENTH], adaptive=True), TENTH], 2)
    )
    assert stated(few, "record") == few
    assert cost_of(few, "label", None) == cost_of(many, "answer", None) == Cost(4 * 10**11)


def test_reproducible_noise_is_not_charged(ledger) -> None:
    with pytest.raises(ValueError, match="Seeded"):
        ledger.charge("clicks", accounting.Seeded(TENTH), unit="label")
    with pytest.raises(ValueError, match="not for release"):
        charge(
            ledger,
            "clicks",
            labeldp.RandomizedResponse(0.1, 3),
            [1],
            source=labeldp.SeededSource(0),
            unit="label",
        )


# Caps


def test_nothing_is_charged_without_a_cap(path) -> None:
    with Ledger(path) as ledger:
        with pytest.raises(ValueError, match=r"labeldp ledger cap .* --data clicks --unit label"):
            ledger.charge("clicks", TENTH, unit="label")
        ledger.set_cap("clicks", 1.0, unit="answer")
        with pytest.raises(ValueError, match="Expected a cap"):
            ledger.charge("clicks", TENTH, unit="label")
        assert [row["kind"] for row in ledger.entries()] == ["start", "cap"]


def test_a_cap_is_raised_and_lowered_in_sight(ledger) -> None:
    ledger.charge("clicks", accounting.PureDP(0.8), unit="label", release="first")
    ledger.set_cap("clicks", 0.5, unit="label")
    with pytest.raises(BudgetSpent):
        ledger.charge("clicks", accounting.PureDP(0.0), unit="label")
    assert ledger.charge("clicks", accounting.PureDP(0.8), unit="label", release="first").replayed
    (balance,) = ledger.balances()
    assert (balance.epsilon, balance.spent, balance.left) == (0.5, 0.8, 0.0)
    ledger.set_cap("clicks", 2.0, unit="label")
    assert ledger.charge("clicks", accounting.PureDP(0.8), unit="label").left == 0.4
    caps = [row["pico_epsilon"] / 1e12 for row in ledger.entries() if row["kind"] == "cap"]
    assert caps == [1.0, 0.5, 2.0]
    assert ledger.verify() == ()


def test_delta_and_order_are_those_of_the_first_cap(path) -> None:
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label", delta=1e-5)
        for delta in (0.0, 1e-6, 2e-5):
            with pytest.raises(ValueError, match="fixed by the first cap"):
                ledger.set_cap("clicks", 2.0, unit="label", delta=delta)
        ledger.set_cap("clicks", 9.0, unit="label", delta=1e-5)
        orders = {json.loads(row["content"])["order"] for row in ledger.entries() if row["kind"] == "cap"}
        assert len(orders) == 1


BAD = {
    "a data set of two spellings": lambda it: it.charge("clicks ", TENTH, unit="label"),
    "no name": lambda it: it.charge("", TENTH, unit="label"),
    "letters beyond ASCII": lambda it: it.charge("données", TENTH, unit="label"),
    "a line break": lambda it: it.charge("cli\ncks", TENTH, unit="label"),
    "a long name": lambda it: it.charge("c" * 201, TENTH, unit="label"),
    "a name that is no text": lambda it: it.charge(7, TENTH, unit="label"),
    "no event": lambda it: it.charge("clicks", 0.1, unit="label"),
    "no unit": lambda it: it.charge("clicks", TENTH, unit="person"),
    "an empty release": lambda it: it.charge("clicks", TENTH, unit="label", release=""),
    "a release in bytes": lambda it: it.charge("clicks", TENTH, unit="label", release=b"ab"),
    "an infinite cap": lambda it: it.set_cap("clicks", math.inf, unit="label"),
    "a negative cap": lambda it: it.set_cap("clicks", -1.0, unit="label"),
    "a huge cap": lambda it: it.set_cap("clicks", 1e7, unit="label"),
    "a cap in words": lambda it: it.set_cap("clicks", "1", unit="label"),
    "delta 1": lambda it: it.set_cap("other", 1.0, unit="label", delta=1.0),
    "delta below what is counted": lambda it: it.set_cap("other", 1.0, unit="label", delta=1e-17),
    "a cap of no unit": lambda it: it.set_cap("clicks", 1.0, unit="rows"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_arguments_are_refused_and_leave_no_entry(ledger, name) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        BAD[name](ledger)
    assert len(list(ledger.entries())) == 2


# Replays


def test_one_release_is_charged_once(ledger) -> None:
    first = ledger.charge("clicks", TENTH, unit="label", release="r", part="a")
    again = ledger.charge("clicks", TENTH, unit="label", release="r", part="a")
    assert not first.replayed
    assert again == type(first)(first.entry, first.head, first.spent, first.left, replayed=True)
    for _ in range(3):
        fresh = ledger.charge("clicks", TENTH, unit="label")
        assert not fresh.replayed
    assert len(list(ledger.entries())) == 6


def test_a_release_that_another_process_has_just_charged_is_a_replay(ledger, monkeypatch) -> None:
    """It was not there at the first look, and is at the second, within the turn to write."""
    first = ledger.charge("clicks", TENTH, unit="label", release="r")
    looks, looked = iter([True, False]), Ledger._charged
    monkeypatch.setattr(Ledger, "_charged", lambda self, key: None if next(looks) else looked(self, key))
    again = ledger.charge("clicks", TENTH, unit="label", release="r")
    assert (again.entry, again.replayed) == (first.entry, True)


def test_a_rerun_on_more_or_fewer_items_is_the_same_release_for_each_label(ledger) -> None:
    """And another one for a record, which all items may touch."""
    few, many = (accounting.Disjoint([TENTH], [n]) for n in (3, 30))
    ledger.charge("clicks", few, unit="label", release="r")
    assert ledger.charge("clicks", many, unit="label", release="r").replayed
    ledger.set_cap("clicks", 100.0, unit="record")
    ledger.charge("clicks", few, unit="record", release="s")
    with pytest.raises(ValueError, match="another epoch"):
        ledger.charge("clicks", many, unit="record", release="s")


def test_one_name_for_two_releases_is_an_error(ledger) -> None:
    ledger.set_cap("clicks", 1.0, unit="answer")
    ledger.set_cap("views", 1.0, unit="label")
    ledger.charge("clicks", TENTH, unit="label", release="r", part="a")
    given = {"dataset": "clicks", "event": TENTH, "unit": "label", "release": "r", "part": "a"}
    for other in (
        {"dataset": "views"},
        {"event": accounting.RandomizedResponse(0.2, 10)},
        {"event": accounting.RandomizedResponse(0.1, 11)},
    ):
        with pytest.raises(ValueError, match="another epoch"):
            ledger.charge(**given | other)
    assert ledger.charge(**given).replayed
    for other in ({"unit": "answer"}, {"part": "b"}, {"part": ""}):  # each has its own books
        assert not ledger.charge(**given | other).replayed
        assert ledger.charge(**given | other).replayed
    assert len(list(ledger.entries())) == 8


def test_names_of_parts_and_releases_do_not_run_into_one_another(ledger) -> None:
    for part, release in (("a b", "c"), ("a", "b c"), ("", "a b c"), ("1", "1"), ("", "1 1 1")):
        assert not ledger.charge("clicks", TENTH, unit="label", part=part, release=release).replayed


# Several handles, threads, forks


def spend_in_threads(path: Path) -> tuple[float, tuple[str, ...]]:
    """Four threads with a handle each spend tenths as long as they are let; what was spent, and what is wrong."""
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label")

        def spend() -> None:
            with Ledger(path) as own:
                for _ in range(10):
                    try:
                        own.charge("clicks", TENTH, unit="label")
                    except (BudgetSpent, ValueError):
                        continue

        threads = [threading.Thread(target=spend) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        charges = [row for row in ledger.entries() if row["kind"] == "charge"]
        return sum(row["pico_epsilon"] for row in charges) / 1e12, ledger.verify()


def test_threads_do_not_pass_the_cap(path) -> None:
    assert spend_in_threads(path) == (1.0, ())


def test_without_the_turn_to_write_they_would(path, monkeypatch) -> None:
    """The twin: no transaction around looking and writing. `verify` sees it, too."""
    looked = ledger_module.Ledger._totals

    def slow(self, *arguments):
        totals = looked(self, *arguments)
        sleep(0.002)
        return totals

    monkeypatch.setattr(ledger_module.Ledger, "_totals", slow)
    assert spend_in_threads(path) == (1.0, ())
    monkeypatch.setattr(ledger_module, "writing", lambda connection: nullcontext())
    spent, problems = spend_in_threads(path.with_name("other.sqlite"))
    assert spent > 1.0
    assert any("add up" in problem for problem in problems)


def test_one_handle_serves_several_threads(ledger) -> None:
    def spend() -> None:
        for i in range(5):
            ledger.charge("clicks", TENTH, unit="label", release=f"{i}")

    threads = [threading.Thread(target=spend) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    (balance,) = ledger.balances()
    assert (balance.spent, balance.charges) == (0.5, 5)


def test_a_handle_says_where_it_writes(ledger, path) -> None:
    assert repr(ledger) == f"Ledger('{path}')"


def test_a_handle_is_not_carried_across_a_fork_copied_or_pickled(ledger, monkeypatch) -> None:
    for operation in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="open another one"):
            operation(ledger)
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(ValueError, match="before a fork"):
        ledger.charge("clicks", TENTH, unit="label")


# The order: charged, then released


class Crash(Exception):
    pass


def crashes(step: int, path: Path, *, charge_first: bool = True) -> tuple[int, int]:
    """Runs charge and release and stops before a step; returns charges in the reopened ledger, and releases."""
    released: list[int] = []
    with Ledger(path) as ledger:
        ledger.set_cap("clicks", 1.0, unit="label")

        def charged() -> None:
            ledger.charge("clicks", TENTH, unit="label", release="r")

        steps = [charged, lambda: released.append(1)]
        try:
            for number, work in enumerate(steps if charge_first else reversed(steps)):
                if number == step:
                    raise Crash
                work()
        except Crash:
            pass
    with Ledger(path) as ledger:
        return sum(row["kind"] == "charge" for row in ledger.entries()), len(released)


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_crash_never_leaves_a_release_without_its_charge(path, step) -> None:
    charges, released = crashes(step, path)
    assert released <= charges


def test_the_other_order_would(path) -> None:
    charges, released = crashes(1, path, charge_first=False)
    assert released > charges


def test_a_keyed_release_costs_once_and_fresh_noise_each_time(ledger) -> None:
    mechanism, items, labels = labeldp.RandomizedResponse(0.25, 5), [3, 1, 2], [0, 4, 2]
    source = labeldp.KeyedSource(bytes(range(32)), epoch="2026")

    def run(order) -> np.ndarray:
        names = np.array(items)[order]
        receipt = charge(ledger, "clicks", mechanism, names, source=source, unit="label")
        assert receipt.spent == 0.25
        return labeldp.privatize(mechanism, np.array(labels)[order], source=source, items=names).values

    np.testing.assert_array_equal(run([0, 1, 2])[[2, 0, 1]], run([2, 0, 1]))
    for spent in (0.5, 0.75):
        assert charge(ledger, "clicks", mechanism, items, unit="label").spent == spent
    rows = [row for row in ledger.entries() if row["kind"] == "charge"]
    assert rows[0]["about"] == "RandomizedResponse, epsilon 0.25, 3 items"
    assert event_of(rows[0]) == accounting.Disjoint([accounting.RandomizedResponse(0.25, 5)])


def test_a_record_pays_for_other_items_of_one_number(ledger) -> None:
    """A label has one answer however many items there are; a record may have moved all answers."""
    mechanism, source = labeldp.RandomizedResponse(0.1, 5), labeldp.KeyedSource(bytes(range(32)))

    def charged(unit: str, items: list[int]) -> tuple[float, bool]:
        receipt = charge(ledger, "clicks", mechanism, items, source=source, unit=unit)
        return receipt.spent, receipt.replayed

    ledger.set_cap("clicks", 1.0, unit="record")
    assert charged("record", [1, 2]) == (0.2, False)
    assert charged("record", [2, 1]) == (0.2, True)
    assert charged("record", [3, 4]) == (0.4, False)
    assert charged("record", [1, 2, 3]) == (0.7, False)
    assert charged("label", [1, 2]) == (0.1, False)
    assert charged("label", [3, 4, 5]) == (0.1, True)


def test_plans_by_row_are_refused_with_a_key(ledger) -> None:
    mechanism = labeldp.PartitionedRandomizedResponse(0.5, 4)
    with pytest.raises(TypeError, match="plan goes with the item"):
        charge(
            ledger,
            "clicks",
            mechanism,
            [1, 2],
            prior=np.full(4, 0.25),
            source=labeldp.KeyedSource(bytes(32)),
            unit="label",
        )
    assert not charge(ledger, "clicks", mechanism, [1, 2], prior=np.full(4, 0.25), unit="label").replayed
