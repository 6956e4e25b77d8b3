# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# pyright: reportUnknownParameterType=false, reportUnknownLambdaType=false, reportMissingTypeStubs=false
"""What a release will be, found out from public columns alone: its event, its name, and whether every item is there once."""

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

import accounting
from labeldp.mechanisms import Plan
from labeldp.release import KeyedSource, Source
from labeldp.release.barrier import refuse_keyed_partitions
from labeldp.release.keyed import Items
from labeldp.tables.arrow_job import names_of, plan_of, source_for
from labeldp.tables.job import Job
from labeldp.tables.ledger import Ledger, Receipt


@dataclass(frozen=True)
class Survey:
    """What is public about a release of some rows. Picklable; surveys of parts are put together by `whole`.

    Attributes:
        rows: how many.
        event: what their labels will go through, once.
        plans: the digests of who has which candidates, and of the items where persons have several, added up modulo 2^128; 0 without
            a key.
        items, plan: of no rows, to tell their kinds.
        rows_of_one_person: the most rows that one person has; 1 where the job names no column of persons.
    """

    rows: int
    event: accounting.Disjoint
    plans: int
    items: Items | None
    plan: Plan
    rows_of_one_person: int = 1

    def charged_event(self, source: Source) -> accounting.Event:
        """What the labels of one person go through in it."""
        event: accounting.Event = self.event
        if self.rows_of_one_person > 1:
            event = accounting.Repeated(event, self.rows_of_one_person)
        return event if source.secure else accounting.Seeded(event)

    def release(self, job: Job, source: Source) -> str | None:
        """The public name of the release, equal for its reruns; None for noise that is fresh each time."""
        if not isinstance(source, KeyedSource):
            return None
        assert self.items is not None
        digest = source.release_digest(job.mechanism, self.items, self.plan, self.plans)
        if self.rows_of_one_person > 1:  # one more row of a person is one more answer about it
            told = json.dumps([digest, "rows of one person", self.rows_of_one_person])
            digest = hashlib.sha256(told.encode()).hexdigest()
        return digest

    def charge(
        self, ledger: Ledger | None, dataset: str | None, job: Job, source: Source, *, part: str = ""
    ) -> Receipt | None:
        """Charges the release; its labels may be read once this has returned.

        Args:
            source: as `source_for` gives it.

        Raises:
            BudgetSpent: it would pass the cap.
            ValueError: a ledger without the name of a data set, or the other way round.
        """
        if (ledger is None) != (dataset is None):
            raise ValueError("Expected a ledger and the name of a data set in it together, got one of them.")
        if ledger is None or dataset is None:
            return None
        about = f"{type(job.mechanism).__name__}, epsilon {job.mechanism.epsilon!r}, {self.rows} rows"
        return ledger.charge(
            dataset,
            self.charged_event(source),
            unit="label",
            release=self.release(job, source),
            part=part,
            about=about,
        )


def survey_of(batch: pa.RecordBatch, job: Job, source: Source) -> Survey:
    """The survey of one batch; repeated items and persons are not looked for.

    Args:
        batch: the job's public columns.
        source: as `source_for` gives it.

    Raises:
        TypeError, ValueError: names or priors that are missing or none; partitions with a key; a key without items.
    """
    items = names_of(batch, job.columns.item) if job.columns.item else None
    if isinstance(source, KeyedSource) and items is None:
        raise TypeError(
            "Expected item=COLUMN with a KeyedSource: a column that names every row in every rerun."
        )
    plan = plan_of(batch, job)
    refuse_keyed_partitions(job.mechanism, plan, source)
    plans = 0
    if isinstance(source, KeyedSource):
        assert items is not None
        # a person's other rows, released under the same name, are more answers about it: then items are part of the name
        plans = source.plan_digest(job.mechanism, items, plan, listed=job.columns.person is not None)
    event = job.mechanism.event(plan)
    assert isinstance(event, accounting.Disjoint)
    return Survey(batch.num_rows, event, plans, None if items is None else items[:0], plan[:0])


def whole(parts: Iterable[Survey]) -> Survey:
    """The survey of all parts together."""
    counts: Counter[accounting.Event] = Counter()
    rows, plans, adaptive = 0, 0, False
    first: Survey | None = None
    for part in parts:
        first = first or part
        counts.update(dict(zip(part.event.events, part.event.counts, strict=True)))
        rows, plans, adaptive = rows + part.rows, plans + part.plans, adaptive or part.event.adaptive
    if first is None:
        raise ValueError("Expected at least one part, got none.")
    event = accounting.Disjoint(counts.keys(), counts.values(), adaptive=adaptive)
    return replace(first, rows=rows, event=event, plans=plans % 2**128)


Batches = Callable[[], Iterator[pa.RecordBatch]]


def survey(batches: Batches, job: Job, label_type: pa.DataType, source: Source) -> Survey:
    """Surveys a table in one reading of its public columns; in two, where items are integers that do not increase.

    Args:
        batches: begins to read the table's public columns, from the start; at least one batch, also of an empty table.
        label_type: the type of the column of labels, whose values are not needed.
        source: the caller's.

    Raises:
        ValueError: an item is there twice.
        TypeError, ValueError: as `survey_of`.
    """
    inside = source_for(job, label_type, source)
    item, person = job.columns.item, job.columns.person
    increasing, persons = Increasing(), Names()

    def part(batch: pa.RecordBatch) -> Survey:
        if item:
            increasing.add(batch.column(item))
        if person:
            persons.add(names_of(batch, person))
        return survey_of(batch, job, inside)

    result = whole(part(batch) for batch in batches())
    if item and not increasing.so_far:
        names = Names()
        for batch in batches():
            names.add(names_of(batch, item))
        if names.most() > 1:
            raise ValueError(
                f"Expected every item to be named once in column {item}, got one of them twice or more; two labels of one item need "
                f"two names, and are two answers about it."
            )
    most = max(1, persons.most()) if person else 1
    return replace(result, rows_of_one_person=most)


class Increasing:
    """Whether a column, given part by part, holds integers that strictly increase; then none is there twice, and none is kept."""

    def __init__(self) -> None:
        self.so_far = True
        self._last: Any = None

    def add(self, column: pa.Array) -> None:
        """Looks at the next part."""
        if not self.so_far or not len(column):
            return
        if not pa.types.is_integer(column.type) or column.null_count:
            self.so_far = False
            return
        numbers = column.to_numpy(zero_copy_only=False)
        after = self._last is None or numbers[0] > self._last
        self.so_far = bool(after and (numbers[1:] > numbers[:-1]).all())
        self._last = numbers[-1]


class Names:
    """Names, given part by part, and how often the most frequent one is there; 8 bytes for each integer, 16 for a text."""

    def __init__(self) -> None:
        self._parts: list[npt.NDArray[np.uint64]] = []

    def add(self, names: Items) -> None:
        """Keeps the next part."""
        pairs = names.blocks.view("<u8")
        short = names.kind == "integer" and not pairs[:, 1].any()
        self._parts.append(np.ascontiguousarray(pairs[:, 0]) if short else pairs)

    def most(self) -> int:
        """How often the most frequent name was given; 0 where none was. The names are gone afterwards."""
        if any(part.ndim == 2 for part in self._parts):
            return self._most_of_pairs()
        numbers = _joined(self._parts)
        numbers.sort()
        return _longest_run(numbers[1:] == numbers[:-1]) if len(numbers) else 0

    def _most_of_pairs(self) -> int:
        pairs = [part if part.ndim == 2 else np.stack([part, part * 0], axis=1) for part in self._parts]
        first, second = _joined([pair[:, 0] for pair in pairs]), _joined([pair[:, 1] for pair in pairs])
        self._parts.clear()
        order = np.sort(first)
        twice = np.unique(order[1:][order[1:] == order[:-1]])
        if not len(twice):
            return min(1, len(order))
        rows = np.isin(first, twice)  # only these may be there twice, by both halves
        first, second = first[rows], second[rows]
        ordered = np.lexsort((second, first))
        first, second = first[ordered], second[ordered]
        return _longest_run((first[1:] == first[:-1]) & (second[1:] == second[:-1]))


def _joined(parts: list[npt.NDArray[np.uint64]]) -> npt.NDArray[np.uint64]:
    """All parts in one array; each is let go once it is copied, so that the whole is not there twice."""
    numbers = np.empty(sum(map(len, parts)), dtype=np.uint64)
    end = len(numbers)
    while parts:
        part = parts.pop()
        numbers[end - len(part) : end] = part
        end -= len(part)
    return numbers


def _longest_run(repeats: npt.NDArray[np.bool_]) -> int:
    """The length of the longest run of equal neighbours."""
    if not repeats.any():
        return 1
    breaks = np.flatnonzero(np.concatenate([[True], ~repeats, [True]]))
    return int(np.diff(breaks).max())
