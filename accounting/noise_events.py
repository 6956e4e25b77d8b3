"""Events of noise added to queries: Laplace, Gaussian, and the steps of DP-SGD."""

from __future__ import annotations

from dataclasses import dataclass

from accounting import arguments
from accounting.loss import PrivacyLoss
from accounting.numerics.gaussian import GaussianUses
from accounting.numerics.laplace import LaplaceUses
from accounting.numerics.subsampled import SubsampledUses


@dataclass(frozen=True)
class Laplace:
    """A query answered with Laplace noise.

    Neighbours differ by adding or removing one record, the worse direction; both are alike. Where the
    sensitivity is that of replacing a record, they differ by that.

    Args:
        noise_multiplier: scale of the noise against the sensitivity of the query in the 1-norm; finite, > 0.

    Raises:
        TypeError, ValueError: the argument is not a number, or out of range.

    Privacy: pure, of epsilon `1 / noise_multiplier`; composed it loses less than any mechanism of that epsilon may.
    """

    noise_multiplier: float

    def __post_init__(self) -> None:
        _set(self, "noise_multiplier", arguments.noise("noise_multiplier", self.noise_multiplier))

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the exact loss of one use."""
        return PrivacyLoss((), (LaplaceUses(self.noise_multiplier, 1),))


@dataclass(frozen=True)
class Gaussian:
    """A query answered with Gaussian noise.

    Neighbours differ by adding or removing one record, the worse direction; both are alike. Where the
    sensitivity is that of replacing a record, they differ by that.

    Args:
        noise_multiplier: standard deviation against the sensitivity of the query in the 2-norm; finite, > 0.

    Raises:
        TypeError, ValueError: the argument is not a number, or out of range.

    Privacy: no epsilon holds at delta 0.
    """

    noise_multiplier: float

    def __post_init__(self) -> None:
        _set(self, "noise_multiplier", arguments.noise("noise_multiplier", self.noise_multiplier))

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the exact loss of one use."""
        return PrivacyLoss((), (GaussianUses(self.noise_multiplier, 1),))


@dataclass(frozen=True)
class PoissonSubsampledGaussian:
    """A step of DP-SGD: a sum over a Poisson sample of the records, with Gaussian noise.

    Neighbours differ by adding or removing one record, never by replacing one, and the worse direction of the
    whole composition counts. The sample is secret.

    Args:
        noise_multiplier: standard deviation against the largest norm of one record's part; finite, > 0.
        sampling_probability: with which each record is in the sample, independently of the others; in [0, 1].

    Raises:
        TypeError, ValueError: an argument is not a number, or out of range.

    Privacy: no epsilon holds at delta 0, unless nothing is sampled. Samples of fixed size, or shuffled epochs,
    are not Poisson samples: nothing is said of them.
    """

    noise_multiplier: float
    sampling_probability: float

    def __post_init__(self) -> None:
        _set(self, "noise_multiplier", arguments.noise("noise_multiplier", self.noise_multiplier))
        share = arguments.probability("sampling_probability", self.sampling_probability, side="up")
        _set(self, "sampling_probability", share)

    def privacy_loss(self) -> PrivacyLoss:
        """Returns the exact loss of one use."""
        if self.sampling_probability == 0:
            return PrivacyLoss()
        if self.sampling_probability == 1:
            return PrivacyLoss((), (GaussianUses(self.noise_multiplier, 1),))
        return PrivacyLoss((), (SubsampledUses(self.noise_multiplier, self.sampling_probability, 1),))


def _set(event: object, name: str, value: float) -> None:
    """Stores a normalised value in a frozen dataclass while it is being made."""
    object.__setattr__(event, name, value)
