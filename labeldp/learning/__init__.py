"""Learning from noisy labels."""

from labeldp.learning import stages

__all__ = ["stages"]
