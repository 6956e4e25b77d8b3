"""The mechanisms: one law and one exact integer sampler each."""

from labeldp.mechanisms.mechanism import Mechanism, Plan
from labeldp.mechanisms.randomized_response import RandomizedResponse
from labeldp.mechanisms.selective import SelectiveRandomizedResponse
from labeldp.mechanisms.subset_selection import SubsetSelection
from labeldp.mechanisms.unary_encoding import UnaryEncoding

ALL = (RandomizedResponse, SelectiveRandomizedResponse, SubsetSelection, UnaryEncoding)

__all__ = [
    "ALL",
    "Mechanism",
    "Plan",
    "RandomizedResponse",
    "SelectiveRandomizedResponse",
    "SubsetSelection",
    "UnaryEncoding",
]
