"""Tests of privacy that others can import for mechanisms of their own."""

import importlib
from typing import TYPE_CHECKING, Any

from labeldp.mechanisms.thresholds import exponential_below
from labeldp.testing.audit import assert_label_dp, audit
from labeldp.testing.claims import AuditReport, Witness
from labeldp.testing.enumeration import assert_channel, enumerate_channel, enumerate_outputs, largest_ratio
from labeldp.testing.hygiene import (
    HygieneReport,
    assert_answers_possible,
    assert_candidates_ignore_labels,
    assert_counts_vary,
    assert_every_position_randomized,
    assert_fresh,
    assert_idempotent,
    assert_label_changes_noise,
    assert_long_calls_alike,
    assert_many_classes,
    assert_no_lag_correlation,
    assert_nothing_shows_labels,
    assert_order_tells_nothing,
    assert_permutations_do_not_matter,
    assert_release_hygiene,
    assert_rows_aligned,
    assert_seeds_do_not_repeat,
    assert_small_calls_alike,
    label_timing,
)
from labeldp.testing.release_audit import LabelInferenceReport, audit_release, label_inference_report
from labeldp.testing.sources import EnumeratingSource, NotEnumerable, SamplingSource

if TYPE_CHECKING:
    from labeldp.testing import mutants as mutants
    from labeldp.testing import strategies as strategies

__all__ = [
    "AuditReport",
    "EnumeratingSource",
    "HygieneReport",
    "LabelInferenceReport",
    "NotEnumerable",
    "SamplingSource",
    "Witness",
    "assert_answers_possible",
    "assert_candidates_ignore_labels",
    "assert_channel",
    "assert_counts_vary",
    "assert_every_position_randomized",
    "assert_fresh",
    "assert_idempotent",
    "assert_label_changes_noise",
    "assert_label_dp",
    "assert_long_calls_alike",
    "assert_many_classes",
    "assert_no_lag_correlation",
    "assert_nothing_shows_labels",
    "assert_order_tells_nothing",
    "assert_permutations_do_not_matter",
    "assert_release_hygiene",
    "assert_rows_aligned",
    "assert_seeds_do_not_repeat",
    "assert_small_calls_alike",
    "audit",
    "audit_release",
    "enumerate_channel",
    "enumerate_outputs",
    "exponential_below",
    "label_inference_report",
    "label_timing",
    "largest_ratio",
    "mutants",
    "strategies",
]


def __getattr__(name: str) -> Any:
    """Imports the catalogue, and the strategies with hypothesis behind them, when they are first used."""
    if name in ("mutants", "strategies"):
        return importlib.import_module(f"labeldp.testing.{name}")
    raise AttributeError(f"module 'labeldp.testing' has no attribute {name!r}")
