"""labeldp: label differential privacy. Mechanisms with exact samplers, the release of noisy labels, and tests of privacy."""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from labeldp import learning as learning
    from labeldp import testing as testing
    from labeldp.learning import estimate as estimate
    from labeldp.learning import stages as stages
    from labeldp.learning.sample_size import required_sample_size as required_sample_size
    from labeldp.learning.sklearn import LabelDPClassifier as LabelDPClassifier
    from labeldp.learning.sklearn_regressor import LabelDPRegressor as LabelDPRegressor
    from labeldp.mechanisms import Mechanism as Mechanism
    from labeldp.mechanisms import NoisyOneHot as NoisyOneHot
    from labeldp.mechanisms import PartitionedRandomizedResponse as PartitionedRandomizedResponse
    from labeldp.mechanisms import RandomizedResponse as RandomizedResponse
    from labeldp.mechanisms import RandomizedResponseOnBins as RandomizedResponseOnBins
    from labeldp.mechanisms import SelectiveRandomizedResponse as SelectiveRandomizedResponse
    from labeldp.mechanisms import SubsetSelection as SubsetSelection
    from labeldp.mechanisms import UnaryEncoding as UnaryEncoding
    from labeldp.mechanisms import UnbiasedRandomizer as UnbiasedRandomizer
    from labeldp.release import KeyedSource as KeyedSource
    from labeldp.release import NoisyLabels as NoisyLabels
    from labeldp.release import PrivacyWarning as PrivacyWarning
    from labeldp.release import SeededSource as SeededSource
    from labeldp.release import SystemSource as SystemSource
    from labeldp.release import laplace_histogram as laplace_histogram
    from labeldp.release import privatize as privatize
    from labeldp.release.encode import encode as encode

__version__ = "0.1.0"

_HOME = {
    "LabelDPClassifier": "labeldp.learning.sklearn",
    "LabelDPRegressor": "labeldp.learning.sklearn_regressor",
    "Mechanism": "labeldp.mechanisms",
    "NoisyOneHot": "labeldp.mechanisms",
    "PartitionedRandomizedResponse": "labeldp.mechanisms",
    "RandomizedResponse": "labeldp.mechanisms",
    "RandomizedResponseOnBins": "labeldp.mechanisms",
    "SelectiveRandomizedResponse": "labeldp.mechanisms",
    "SubsetSelection": "labeldp.mechanisms",
    "UnaryEncoding": "labeldp.mechanisms",
    "UnbiasedRandomizer": "labeldp.mechanisms",
    "KeyedSource": "labeldp.release",
    "NoisyLabels": "labeldp.release",
    "PrivacyWarning": "labeldp.release",
    "SeededSource": "labeldp.release",
    "SystemSource": "labeldp.release",
    "encode": "labeldp.release.encode",
    "laplace_histogram": "labeldp.release",
    "privatize": "labeldp.release",
    "estimate": "labeldp.learning",
    "required_sample_size": "labeldp.learning.sample_size",
    "stages": "labeldp.learning",
}
_ROOMS = ("learning", "testing")

__all__ = [*_HOME, *_ROOMS]  # pyright: ignore[reportUnsupportedDunderAll]


def __getattr__(name: str) -> Any:
    """Imports a public name when it is first used, so that `import labeldp` costs next to nothing."""
    if name in _ROOMS:
        return importlib.import_module(f"labeldp.{name}")
    if name not in _HOME:
        raise AttributeError(f"module 'labeldp' has no attribute {name!r}")
    value = getattr(importlib.import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
