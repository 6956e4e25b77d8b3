"""The release of noisy labels: the barrier, the sampling loop and the sources of randomness."""

from labeldp.release.barrier import privatize
from labeldp.release.noisy_labels import NoisyLabels
from labeldp.release.randomness import SeededSource, Source, SystemSource

__all__ = ["NoisyLabels", "SeededSource", "Source", "SystemSource", "privatize"]
