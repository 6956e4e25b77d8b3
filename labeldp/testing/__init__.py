"""Tests of privacy that others can import for mechanisms of their own."""

from labeldp.testing.enumeration import enumerate_channel, largest_ratio

__all__ = ["enumerate_channel", "largest_ratio"]
