"""All checks of the joint battery together: what a release does beyond the law of one answer."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy.typing as npt

from labeldp.testing import leaks, noise, rows, sizes
from labeldp.testing.leaks import assert_answers_possible as assert_answers_possible
from labeldp.testing.leaks import assert_candidates_ignore_labels as assert_candidates_ignore_labels
from labeldp.testing.leaks import assert_many_classes as assert_many_classes
from labeldp.testing.leaks import assert_nothing_shows_labels as assert_nothing_shows_labels
from labeldp.testing.leaks import label_timing as label_timing
from labeldp.testing.noise import assert_counts_vary as assert_counts_vary
from labeldp.testing.noise import assert_every_position_randomized as assert_every_position_randomized
from labeldp.testing.noise import assert_fresh as assert_fresh
from labeldp.testing.noise import assert_idempotent as assert_idempotent
from labeldp.testing.noise import assert_label_changes_noise as assert_label_changes_noise
from labeldp.testing.noise import assert_no_lag_correlation as assert_no_lag_correlation
from labeldp.testing.noise import assert_seeds_do_not_repeat as assert_seeds_do_not_repeat
from labeldp.testing.rows import assert_order_tells_nothing as assert_order_tells_nothing
from labeldp.testing.rows import assert_permutations_do_not_matter as assert_permutations_do_not_matter
from labeldp.testing.rows import assert_rows_aligned as assert_rows_aligned
from labeldp.testing.sizes import assert_long_calls_alike as assert_long_calls_alike
from labeldp.testing.sizes import assert_small_calls_alike as assert_small_calls_alike
from labeldp.testing.subjects import Anything, subject

CHECKS: dict[str, Callable[..., str | None]] = {
    "freshness": noise.assert_fresh,
    "short seeds": noise.assert_seeds_do_not_repeat,
    "every position": noise.assert_every_position_randomized,
    "lag correlation": noise.assert_no_lag_correlation,
    "long calls": sizes.assert_long_calls_alike,
    "number of lies": noise.assert_counts_vary,
    "row alignment": rows.assert_rows_aligned,
    "permutations": rows.assert_permutations_do_not_matter,
    "small calls": sizes.assert_small_calls_alike,
    "order": rows.assert_order_tells_nothing,
    "label changes": noise.assert_label_changes_noise,
    "support": leaks.assert_answers_possible,
    "candidates": leaks.assert_candidates_ignore_labels,
    "many classes": leaks.assert_many_classes,
    "repr, pickle, exceptions": leaks.assert_nothing_shows_labels,
}
"""Every check that can raise, by its name; statistical ones do so at a rate of 1e-6 each on sound releases."""


@dataclass(frozen=True)
class HygieneReport:
    """What the battery looked at. That all checks passed proves nothing private: it refutes the faults they look for.

    Attributes:
        passed: names of the checks that passed.
        skipped: names of those that could not look, each with the reason.
        advisory: what is worth a look and no verdict.
    """

    passed: tuple[str, ...]
    skipped: dict[str, str]
    advisory: tuple[str, ...]

    def __str__(self) -> str:
        lines = [f"passed: {', '.join(self.passed)}"]
        lines += [f"skipped: {name} ({why})" for name, why in self.skipped.items()]
        return "\n".join([*lines, *self.advisory])


def assert_release_hygiene(
    mechanism: Anything,
    *,
    num_classes: int,
    prior: npt.ArrayLike | None = None,
    keyed: bool | None = None,
) -> HygieneReport:
    """Runs the whole joint battery: freshness or idempotence, seeds, positions, lags, rows, order, texts, bytes, exceptions.

    Args:
        mechanism: a mechanism of `labeldp`, which is released by `labeldp.privatize`; a callable labels (n,) -> n answers, for any n,
            that answers every row by one law; or a callable (label, source) written on `source.coin` and `source.below`.
        num_classes: K; labels 0 .. K - 1 are tried and no others.
        prior: what a mechanism of `labeldp` is given, one row (K,) or several (m, K) that items take in turn. Statistical checks use the
            first row; by default the uniform prior, and rows of all shapes for checks without statistics.
        keyed: whether a callable repeats its answers on purpose; by default its attribute `keyed`, else no.

    Returns:
        What passed, what was skipped and why, and advice on timing. `repr`, pickle, exceptions and many classes are looked at for
        mechanisms of `labeldp` only.

    Raises:
        AssertionError: at least one check failed; all that did are in the message.
        TypeError, ValueError: no mechanism, or one with another number of classes.

    Privacy:
        None follows from passing: the law of one answer is not looked at. See `assert_channel` and `assert_label_dp`.
    """
    it = subject(mechanism, num_classes=num_classes, prior=prior, keyed=keyed)
    passed: list[str] = []
    skipped: dict[str, str] = {}
    failed: list[str] = []
    for name, check in CHECKS.items():
        shown = "idempotence" if it.keyed and name == "freshness" else name
        try:
            why = check(it, num_classes=num_classes, prior=prior)
        except AssertionError as error:
            failed.append(f"{shown}: {error}")
            continue
        if why is None:
            passed.append(shown)
        else:
            skipped[shown] = why
    if failed:
        raise AssertionError("\n".join([f"{len(failed)} of {len(CHECKS)} checks failed.", *failed]))
    return HygieneReport(tuple(passed), skipped, (leaks.label_timing(it, num_classes=num_classes),))
