"""The ledger against a model of a few lines, in whole tenths of epsilon: any order of charges, replays, caps, handles and reopening."""

import shutil
import tempfile
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import ANY

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

import accounting
from labeldp.tables import BudgetSpent, Ledger
from labeldp.tables import ledger as ledger_module

FAST = Path("/dev/shm")
BUDGETS = st.tuples(st.sampled_from(["clicks", "views"]), st.sampled_from(["label", "record"]))
TENTHS = st.sampled_from([0, 1, 2, 7])
PARTS = st.sampled_from(["", "", "", "monday", "tuesday"])
RELEASES = st.sampled_from([None, "r", "r", "s"])


def event(tenths: int, items: int) -> accounting.Event:
    return accounting.Disjoint([accounting.RandomizedResponse(tenths / 10, 4)], [items])


class Machine(RuleBasedStateMachine):
    """Two handles on one ledger, and what they should say."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = Path(tempfile.mkdtemp(dir=FAST if FAST.is_dir() else None))
        self.handles = [self.opened(), self.opened()]
        self.caps: dict = {}
        self.lost: dict = {}  # by budget and part
        self.released: dict = {}
        self.heads: list[str] = []

    def opened(self) -> Ledger:
        return Ledger(self.folder / "ledger.sqlite")

    def spent(self, line: tuple[str, str], lost: dict) -> int:
        """What the part that lost most has lost; everything charged to all parts counts for each."""
        whole = lost.get((line, ""), 0)
        return whole + max([v for (l2, part), v in lost.items() if l2 == line and part], default=0)

    @rule(line=BUDGETS, tenths=st.integers(0, 30), handle=st.integers(0, 1))
    def cap(self, line, tenths, handle) -> None:
        self.heads.append(self.handles[handle].set_cap(line[0], tenths / 10, unit=line[1]))
        self.caps[line] = tenths

    @rule(
        line=BUDGETS,
        tenths=TENTHS,
        part=PARTS,
        release=RELEASES,
        items=st.integers(1, 2),
        handle=st.integers(0, 1),
    )
    def charge(self, line, tenths, part, release, items, handle) -> None:
        dataset, unit = line
        due = tenths * (items if unit == "record" else 1)
        told = (line, part, tenths, items if unit == "record" else 1)

        def charged() -> object:
            return self.handles[handle].charge(
                dataset, event(tenths, items), unit=unit, release=release, part=part
            )

        name = (unit, part, release)
        if release is not None and name in self.released:
            if self.released[name] == told:
                assert charged().replayed
            else:
                with pytest.raises(ValueError, match="another epoch"):
                    charged()
            return
        if line not in self.caps:
            with pytest.raises(ValueError, match="Expected a cap"):
                charged()
            return
        after = self.lost | {(line, part): self.lost.get((line, part), 0) + due}
        # a part that others lost more than is charged within its own books
        touched = {key: v for key, v in after.items() if not part or key[0] != line or key[1] in ("", part)}
        if self.spent(line, touched) > self.caps[line]:
            with pytest.raises(BudgetSpent):
                charged()
            return
        receipt = charged()
        assert receipt.spent == self.spent(line, touched) / 10
        assert not receipt.replayed
        self.lost = after
        self.heads.append(receipt.head)
        if release is not None:
            self.released[name] = told

    @rule(handle=st.integers(0, 1))
    def reopen(self, handle) -> None:
        self.handles[handle].close()
        self.handles[handle] = self.opened()

    @precondition(lambda self: self.heads)
    @rule(data=st.data(), handle=st.integers(0, 1))
    def every_head_given_out_is_in_the_chain(self, data, handle) -> None:
        assert self.handles[handle].verify(data.draw(st.sampled_from(self.heads))) == ()

    @invariant()
    def balances_agree(self) -> None:
        for handle in self.handles:
            known = {(b.dataset, b.unit): (b.epsilon, b.spent) for b in handle.balances()}
            assert known == {
                line: (cap / 10, self.spent(line, self.lost) / 10) for line, cap in self.caps.items()
            }

    def teardown(self) -> None:
        assert self.handles[0].verify() == ()
        for handle in self.handles:
            handle.close()
        shutil.rmtree(self.folder)


SETTINGS = settings(
    max_examples=40, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLedgerAgainstItsModel = Machine.TestCase
TestLedgerAgainstItsModel.settings = SETTINGS


def forgets_what_was_charged_to_all(monkeypatch) -> None:
    looked = ledger_module.Ledger._totals
    monkeypatch.setattr(
        ledger_module.Ledger,
        "_totals",
        lambda *given: {part: cost for part, cost in looked(*given).items() if part},
    )


def takes_any_release_for_a_replay(monkeypatch) -> None:
    looked = ledger_module.Ledger._charged

    def known(*given):
        row = looked(*given)
        return row and (*row[:4], ANY, ANY, ANY, ANY)

    monkeypatch.setattr(ledger_module.Ledger, "_charged", known)


def ignores_the_cap(monkeypatch) -> None:
    budget_of = ledger_module.ledger_check.budget_of
    check = SimpleNamespace(**vars(ledger_module.ledger_check))
    check.budget_of = lambda row: budget_of(row | {"pico_epsilon": 10**18})
    monkeypatch.setattr(ledger_module, "ledger_check", check)


def charges_every_replay(monkeypatch) -> None:
    monkeypatch.setattr(ledger_module.Ledger, "_charged", lambda *_: None)


@pytest.mark.parametrize(
    "broken",
    [
        forgets_what_was_charged_to_all,
        takes_any_release_for_a_replay,
        ignores_the_cap,
        charges_every_replay,
    ],
)
def test_broken_ledgers_disagree_with_the_model(broken, monkeypatch) -> None:
    broken(monkeypatch)
    quick = settings(SETTINGS, phases=[Phase.generate], derandomize=True)
    with pytest.raises((AssertionError, ValueError, pytest.fail.Exception)):
        run_state_machine_as_test(Machine, settings=quick)
