"""Charging a release by what is public about it, before its labels are read."""

import json

import numpy.typing as npt

from accounting import Unit
from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.mechanism import one_dimensional_length
from labeldp.release import KeyedSource, Source
from labeldp.release.keyed import item_blocks
from labeldp.tables.ledger import Ledger, Receipt


def charge(
    ledger: Ledger,
    dataset: str,
    mechanism: Mechanism,
    items: npt.ArrayLike,
    *,
    source: Source | None = None,
    unit: Unit,
    prior: npt.ArrayLike | None = None,
    part: str = "",
) -> Receipt:
    """Charges `labeldp.privatize(mechanism, labels, prior=prior, items=items, source=source)`; call that after it, with the same arguments.

    A `KeyedSource` whose release was charged before costs nothing: its answers are the same. Any other source is charged each time.

    Args:
        ledger: where.
        dataset: the public name of the data set.
        mechanism, items, source, prior: as for `labeldp.privatize`.
        unit: "label" for people's labels, "answer" or "record" for a teacher's answers.
        part: see `Ledger.charge`.

    Raises:
        BudgetSpent: it would pass the cap.
        TypeError, ValueError: bad arguments, seeded noise, or no cap.
        OSError: the ledger could not be written.

    Privacy: no label is among the arguments. A crash after the charge leaves something charged that was not released, never the
        other way round.
    """
    if source is not None and not source.secure:
        raise ValueError(
            "Expected noise that nobody can reproduce, got a source that is not for release; there is nothing to charge. Use "
            "SystemSource or KeyedSource."
        )
    num_items = one_dimensional_length(items)
    plan = mechanism.plan(prior, num_items)
    release = None
    if isinstance(source, KeyedSource):
        if plan.blocks is not None:
            raise TypeError(
                f"Expected a mechanism whose plan goes with the item for a KeyedSource, got {type(mechanism).__name__}."
            )
        names = item_blocks(items, num_items)
        plans = source.plan_digest(mechanism, names, plan, listed=unit == "record")
        release = source.release_digest(mechanism, names, plan, plans)
    about = json.dumps(f"{type(mechanism).__name__}, epsilon {mechanism.epsilon!r}, {num_items} items")[1:-1]
    return ledger.charge(dataset, mechanism.event(plan), unit=unit, release=release, part=part, about=about)
