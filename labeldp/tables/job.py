"""What is to be done to a table: which columns mean what, and which mechanism answers. Public, and the same on every engine."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeAlias

from labeldp.mechanisms import ALL, Mechanism, PartitionedRandomizedResponse

Class: TypeAlias = str | int | float | bool

OTHER = "not a candidate"
"""How the answer outside="other" stands in a column of texts."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table that a release looks at.

    Args:
        label: true labels; the column is not in the result.
        classes: the K public values that labels may have, in a fixed order; they never come from the table. None for a mechanism on a
            grid of real values, which has its own.
        item: names of the rows, integers or texts, each of them once; needed with a key.
        prior: K columns of class probabilities, in the order of the classes.
        person: whom a row is about, where a person may have several rows.
        unknown: the class of labels that are none of the classes; by default they are refused.
        missing: the class of labels that are null; by default they are refused.

    Raises:
        TypeError, ValueError: not column names, classes that are no distinct plain values, or the label's column in a public role.
    """

    label: str
    classes: tuple[Class, ...] | None = None
    item: str | None = None
    prior: tuple[str, ...] = ()
    person: str | None = None
    unknown: Class | None = None
    missing: Class | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "prior", tuple(self.prior))
        if self.classes is not None:
            object.__setattr__(self, "classes", _checked_classes(self.classes))
        named = [
            name for name in (self.item, self.person) if name is not None
        ]  # one that is empty is no column left out
        for name in (self.label, *self.prior, *named):
            if not isinstance(name, str) or not name:  # pyright: ignore[reportUnnecessaryIsInstance]
                raise TypeError(
                    f"Expected names of columns to be texts, got {type(name).__name__ if name else 'an empty one'}."
                )
        if self.label in self.public:
            raise ValueError(
                f"Expected prior, item and person columns that are public, got the column of true labels, {self.label}, among them: it "
                f"would decide what is released."
            )
        for role, value in (("unknown", self.unknown), ("missing", self.missing)):
            if value is not None and value not in (self.classes or ()):
                raise ValueError(f"Expected {role} to be one of the classes, got {value!r}; add it to them.")

    @property
    def public(self) -> tuple[str, ...]:
        """The columns that are read before any label is, each of them once."""
        names = (*([self.item] if self.item else ()), *self.prior, *([self.person] if self.person else ()))
        return tuple(dict.fromkeys(names))

    @property
    def noisy(self) -> str:
        """The column of noisy labels."""
        return f"{self.label}_noisy"

    @property
    def candidates(self) -> str:
        """The column of candidates, where a mechanism has any: for each row a list of classes."""
        return f"{self.label}_candidates"

    @property
    def blocks(self) -> str:
        """The column of partitions, where a mechanism makes any: for each row the block of every class."""
        return f"{self.label}_blocks"


@dataclass(frozen=True)
class Job:
    """A mechanism and the columns it works on; picklable, and a dictionary of JSON types.

    Raises:
        TypeError, ValueError: no mechanism of labeldp, or classes that are not as many as its own.
    """

    mechanism: Mechanism
    columns: Columns

    def __post_init__(self) -> None:
        mechanism, columns = self.mechanism, self.columns
        if type(mechanism) not in ALL:
            raise TypeError(
                f"Expected a mechanism of labeldp, got {type(mechanism).__name__}; a manifest names it."
            )
        if self.on_grid != (columns.classes is None):
            what = "no classes, for a mechanism on a grid of its own" if self.on_grid else "classes=[...]"
            raise ValueError(f"Expected {what}, with {type(mechanism).__name__}.")
        if columns.classes is not None:
            if len(columns.classes) != mechanism.num_classes:
                raise ValueError(
                    f"Expected {mechanism.num_classes} classes, as many as the mechanism has, got {len(columns.classes)}."
                )
            if OTHER in columns.classes:
                raise ValueError(
                    f"Expected class names other than {OTHER!r}, which is the name of that answer."
                )
        if columns.prior and len(columns.prior) != mechanism.num_classes:
            raise ValueError(
                f"Expected {mechanism.num_classes} prior columns, one for each class, got {len(columns.prior)}."
            )

    @property
    def on_grid(self) -> bool:
        """Whether labels are real values on the mechanism's own grid."""
        return hasattr(self.mechanism, "label_values")

    @property
    def answers_blocks(self) -> bool:
        """Whether an answer is the number of a block of classes."""
        return isinstance(self.mechanism, PartitionedRandomizedResponse)

    def to_dict(self) -> dict[str, Any]:
        """The job as JSON types."""
        mechanism: Any = self.mechanism
        return {
            "mechanism": {"name": type(mechanism).__name__, **asdict(mechanism)},
            "columns": asdict(self.columns),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Self:
        """The job that `to_dict` told of.

        Raises:
            ValueError, TypeError, KeyError: it tells of none.
        """
        parameters = dict(data["mechanism"])
        kinds: dict[str, Any] = {kind.__name__: kind for kind in ALL}
        name = parameters.pop("name")
        if name not in kinds:
            raise ValueError(f"Expected a mechanism of labeldp, got {name!r}.")
        return cls(kinds[name](**parameters), Columns(**data["columns"]))


def part_of_epoch(
    label: str,
    classes: Sequence[Any],
    item: str | None,
    unknown: Class | None = None,
    missing: Class | None = None,
) -> str:
    """Names the part of an epoch that a column of labels is, read in one way: its classes in their order, the column that names its rows,
    and what its other labels count as.

    Whatever is read in another way has noise of its own, and is charged: it may be another label, or the same one under another name.
    """
    return json.dumps([label, [*classes], item, unknown, missing], default=str)


def _checked_classes(classes: Sequence[Any]) -> tuple[Class, ...]:
    if isinstance(classes, str) or not hasattr(classes, "__iter__"):
        raise TypeError(
            f"Expected classes as a list of values in a fixed order, got {type(classes).__name__}."
        )
    values = [value.item() if hasattr(value, "item") else value for value in classes]
    if not all(isinstance(value, str | int | float) for value in values):
        raise TypeError(
            "Expected classes that are texts, integers, floats or booleans, got others; dates as texts, 2026-01-31."
        )
    kinds = {type(value) if isinstance(value, str | bool) else float for value in values}
    if len(kinds) > 1:
        raise TypeError(
            "Expected classes that are all texts, all numbers or all booleans, got several kinds."
        )
    if len(values) < 2 or len(set(values)) < len(values) or any(value != value for value in values):
        raise ValueError(
            f"Expected at least two classes, distinct and no NaN, got {len(set(values))} distinct among {len(values)}."
        )
    return tuple(values)
