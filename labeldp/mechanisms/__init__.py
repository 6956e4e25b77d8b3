"""The mechanisms: one law and one exact integer sampler each."""

from labeldp.mechanisms.bins import RandomizedResponseOnBins
from labeldp.mechanisms.mechanism import Mechanism, Plan
from labeldp.mechanisms.noisy_one_hot import NoisyOneHot
from labeldp.mechanisms.partitioned import PartitionedRandomizedResponse
from labeldp.mechanisms.randomized_response import RandomizedResponse
from labeldp.mechanisms.selective import SelectiveRandomizedResponse
from labeldp.mechanisms.subset_selection import SubsetSelection
from labeldp.mechanisms.unary_encoding import UnaryEncoding
from labeldp.mechanisms.unbiased import UnbiasedRandomizer

ALL = (
    RandomizedResponse,
    SelectiveRandomizedResponse,
    PartitionedRandomizedResponse,
    SubsetSelection,
    UnaryEncoding,
    NoisyOneHot,
    RandomizedResponseOnBins,
    UnbiasedRandomizer,
)

__all__ = [
    "ALL",
    "Mechanism",
    "NoisyOneHot",
    "PartitionedRandomizedResponse",
    "Plan",
    "RandomizedResponse",
    "RandomizedResponseOnBins",
    "SelectiveRandomizedResponse",
    "SubsetSelection",
    "UnaryEncoding",
    "UnbiasedRandomizer",
]
