"""Accounting of label differential privacy: what happened, how much it lost, and what may be promised."""

from accounting.dictionaries import event_from_dict, event_to_dict
from accounting.events import (
    ApproximateDP,
    Disjoint,
    Event,
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
from accounting.guarantee import Guarantee, Unit, composed_if_independent, guarantee
from accounting.loss import Bounds, PrivacyLoss
from accounting.risk import rounded_up
from accounting.transcript import Transcript

__all__ = [
    "ApproximateDP",
    "Bounds",
    "Disjoint",
    "Event",
    "Gaussian",
    "Guarantee",
    "Laplace",
    "PoissonSubsampledGaussian",
    "PrivacyLoss",
    "PureDP",
    "RandomizedResponse",
    "Repeated",
    "Seeded",
    "Sequence",
    "SubsetSelection",
    "Transcript",
    "Unit",
    "composed_if_independent",
    "event_from_dict",
    "event_to_dict",
    "guarantee",
    "rounded_up",
]
