"""What the scores of curves mean: their names, their units, and which way is better."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Score:
    """How a score is read.

    Attributes:
        name: as a table says it.
        unit: of the printed figures, after a space; empty for that of the labels.
        scale: what a score is multiplied by to be in that unit.
        higher_is_better: or lower, of errors.
        floor: what a model comes to that no label was shown to, in words.
    """

    name: str
    unit: str
    scale: float
    higher_is_better: bool
    floor: str

    def text(self, value: float) -> str:
        """A value in the unit, as it is printed: a decimal of percents, four digits of anything else."""
        return f"{value:.1f}" if self.unit == "%" else f"{value:#.4g}".rstrip(".")

    @property
    def with_unit(self) -> str:
        """Name and unit, and the direction where it is not the usual one."""
        unit = f" ({self.unit})" if self.unit else ""
        return f"{self.name}{unit}" if self.higher_is_better else f"{self.name}{unit}, lower is better"


SCORES = {
    "accuracy": Score("accuracy", "%", 100.0, True, "chance"),
    "auc": Score("area under the ROC curve", "%", 100.0, True, "chance"),
    "rmse": Score("root mean squared error", "", 1.0, False, "middle of the range"),
}
"""Scores by the names that recipes call them by."""
