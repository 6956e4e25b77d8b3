"""The release of noisy labels: the barrier, the sampling loop and the sources of randomness."""

from labeldp.release.advice import PrivacyWarning
from labeldp.release.barrier import privatize
from labeldp.release.histogram import HistogramRelease, laplace_histogram
from labeldp.release.keyed import KeyedSource
from labeldp.release.noisy_labels import NoisyLabels
from labeldp.release.randomness import SeededSource, Source, SystemSource

__all__ = [
    "HistogramRelease",
    "KeyedSource",
    "NoisyLabels",
    "PrivacyWarning",
    "SeededSource",
    "Source",
    "SystemSource",
    "laplace_histogram",
    "privatize",
]
