"""Which classes an answer supports: the statistic that unbiased estimates are made of."""

from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


class IndicatorMoments(NamedTuple):
    """Moments of the indicators of one answer, one indicator for each class; no class is treated differently from another.

    Attributes:
        gap: mean of the label's own indicator less the mean of another's, free of cancellation; 0 where answers say nothing.
        other_mean: mean of an indicator that is not the label's.
        own_variance: variance of the label's indicator.
        other_variance: variance of an indicator that is not the label's.
        own_covariance: covariance of the label's indicator and another.
        other_covariance: covariance of two indicators, neither of them the label's.
    """

    gap: float
    other_mean: float
    own_variance: float
    other_variance: float
    own_covariance: float = 0.0
    other_covariance: float = 0.0

    @property
    def own_mean(self) -> float:
        """Mean of the label's own indicator."""
        return self.other_mean + self.gap


@runtime_checkable
class Indicating(Protocol):
    """A mechanism whose answers support classes: (indicators - other_mean) / gap is an unbiased one-hot vector of each label."""

    def indicators(self, values: npt.NDArray[Any]) -> npt.NDArray[np.float64]:
        """How much each answer supports each class; (n, K)."""
        ...

    def indicator_moments(self) -> tuple[float, ...]:
        """The fields of `IndicatorMoments`, in that order; covariances that are left out are 0."""
        ...
