"""Audits of a mechanism: exact where its outcomes can be walked, sequential statistics where they cannot.

No audit proves privacy. A lower bound refutes claims below it, and says nothing in favour of those above.
"""

import secrets
import time
import warnings
from collections.abc import Callable, Sequence
from hashlib import sha256
from typing import Any, Literal, NamedTuple, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.parameters import checked_choice, checked_integer
from labeldp.release import PrivacyWarning, privatize
from labeldp.testing.answers import Counts, MissingAnswers, Reader
from labeldp.testing.claims import AuditReport, Claim, Witness
from labeldp.testing.evidence import Bets, best, log_capital, lower_bound
from labeldp.testing.exact import checked_priors, exact_report, needs_prior
from labeldp.testing.guessing import Memory, Rules, opened, trials
from labeldp.testing.sources import sampled, takes_source

FIRST_BATCH = 64
MOST_CELLS = 2**23
"""Labels in a batch, times classes: batches stop growing there."""

MAX_LABELS = 256
"""With more classes than this, labels are drawn from that many of them, chosen at random: fewer labels are told apart sooner."""


class Effort(NamedTuple):
    """How long to look: at most so many labels, and no new batch after so many seconds."""

    calls: int
    seconds: float


EFFORTS = {"ci": Effort(1_000_000, 1.8), "thorough": Effort(20_000_000, 60.0)}

Release = Callable[[Counts], tuple[Any, Counts | None]]
"""Labels (n,) -> their answers, and something public about each item or None."""


def audit(
    mechanism: Mechanism | Callable[..., Any],
    *,
    epsilon: float,
    num_classes: int,
    confidence: float = 0.99,
    max_calls: int = 1_000_000,
    delta: float = 0.0,
    prior: npt.ArrayLike | None = None,
    seed: int | None = None,
) -> AuditReport:
    """Tests the claim that one answer of a mechanism is (epsilon, delta)-label-DP, and stops as soon as it is refuted.

    What can be enumerated is looked at first, without statistics. Then labels are drawn uniformly, batch by batch (64 at first, an
    eighth more each time), and guessed from their answers by rules learnt from earlier batches: one guess of all K, each
    pair of labels, each (answer, pair) cell. The bets on those guesses hold at every time of stopping. With delta > 0 a guess is
    made only where the rules expect odds beyond e^epsilon or so: a sequential test of likelihood-ratio sets that were learnt before.

    Args:
        mechanism: a mechanism of `labeldp`; or a callable labels (n,) -> n answers, each of anything: classes, sets, rows of any
            length; or a callable (label, source) written on `source.coin(numerator, denominator)` and `source.below(k)`, which
            answers one label and is enumerated (only where `source` has no default). Callables see labels 0 .. num_classes - 1.
        epsilon: the claim, in 0 .. 600.
        num_classes: K >= 2.
        confidence: of the lower bound, and of a refutation.
        max_calls: number of labels after which to stop.
        delta: the claim, in [0, 1).
        prior: prior rows (K,) or (m, K) to try a selective mechanism with; by default rows with ties, zeros and near ties.
        seed: of the labels drawn, so that an audit can be repeated; by default a fresh one.

    Returns:
        The lower bound of epsilon, given delta. Exact audits that refute, and all those of a callable (label, source), have used no labels and have confidence 1.

    Raises:
        TypeError, ValueError: bad arguments, or a callable that does not return one answer for each label.

    Privacy:
        A bound above the true epsilon comes with probability at most 1 - confidence, whatever max_calls and whatever depends on
        what between rows; with delta > 0, rows must be answered independently. A lower bound never proves privacy.

    Source: J. Ville, 1939 (stopping at any time); T. Steinke et al., arXiv 2305.08846 (many labels in one run).
    """
    claim = Claim(epsilon, delta, num_classes, confidence)
    calls = checked_integer("max_calls", max_calls, least=1)
    return _audited(mechanism, claim, Effort(calls, float("inf")), prior, seed)


def assert_label_dp(
    mechanism: Mechanism | Callable[..., Any],
    *,
    epsilon: float,
    num_classes: int,
    delta: float = 0.0,
    alarm: float = 1e-6,
    effort: Literal["ci", "thorough"] = "ci",
    prior: npt.ArrayLike | None = None,
    seed: int | None = None,
) -> AuditReport:
    """Asserts that no audit refutes the claim that one answer is (epsilon, delta)-label-DP; see `audit`.

    Args:
        mechanism, epsilon, num_classes, delta, prior, seed: as for `audit`.
        alarm: probability of raising although the claim is true; exact checks never do.
        effort: "ci": at most 1e6 labels and about two seconds; "thorough": at most 2e7 labels and about a minute.

    Returns:
        What the audit found, for those who want to print it; passing proves nothing.

    Raises:
        AssertionError: the claim is refuted; with two labels, an answer, counts or exact fractions, and how to repeat it. Also where
            a callable does not return one answer for each label.
        TypeError, ValueError: bad arguments.
    """
    if not 0 < alarm < 1:
        raise ValueError(f"Expected alarm in (0, 1), got {alarm}.")
    claim = Claim(epsilon, delta, num_classes, 1 - alarm)
    checked_choice("effort", effort, tuple(EFFORTS))
    try:
        report = _audited(mechanism, claim, EFFORTS[effort], prior, seed)
    except MissingAnswers as error:
        raise AssertionError(str(error)) from None
    if report.witness is not None:
        raise AssertionError(f"Not {claim}.\n{report.witness}")
    return report


def _audited(
    mechanism: Mechanism | Callable[..., Any],
    claim: Claim,
    effort: Effort,
    prior: npt.ArrayLike | None,
    seed: int | None,
) -> AuditReport:
    """The exact layer, then the black box."""
    if seed is not None:
        seed = checked_integer("seed", seed, least=0, most=2**64 - 1)
    release, priors = _release(mechanism, claim, prior)
    exact = exact_report(mechanism, claim, priors)
    if exact is not None:
        return exact
    return _black_box(release, claim, effort, secrets.randbits(64) if seed is None else seed)


def _release(
    mechanism: Mechanism | Callable[..., Any], claim: Claim, prior: npt.ArrayLike | None
) -> tuple[Release, npt.NDArray[np.float64] | None]:
    """How labels are answered, and the prior rows that a selective mechanism is tried with."""
    if not hasattr(mechanism, "choose"):
        if not callable(mechanism):
            raise TypeError(f"Expected a mechanism of labeldp or a callable, got {type(mechanism).__name__}.")
        if prior is not None:
            raise TypeError(
                "Expected no prior with a callable, got one; bind it to the callable's own argument."
            )
        answers = sampled(mechanism) if takes_source(mechanism) else mechanism
        return lambda labels: (answers(labels), None), None
    mechanism = cast(Mechanism, mechanism)
    if mechanism.num_classes != claim.num_classes:
        raise ValueError(
            f"Expected num_classes={mechanism.num_classes}, as the mechanism has, got {claim.num_classes}."
        )
    grid = getattr(mechanism, "label_values", None)  # real-valued labels, one for each class number
    if not needs_prior(mechanism):
        return lambda labels: (_privatized(mechanism, labels, grid, None), None), None
    rows = checked_priors(prior, claim.num_classes)

    def release(labels: Counts) -> tuple[Any, Counts]:
        context = np.arange(len(labels)) % len(rows)
        return _privatized(mechanism, labels, grid, rows[context]), context

    return release, rows


def _privatized(
    mechanism: Mechanism, labels: Counts, grid: Sequence[float] | None, prior: npt.NDArray[np.float64] | None
) -> npt.NDArray[Any]:
    """What `labeldp.privatize` answers, without its advice; a block of a partition as the set of its classes."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PrivacyWarning)
        given = labels if grid is None else np.array(grid)[labels]
        noisy = privatize(mechanism, given, prior=prior)
    if noisy.plan.blocks is not None:
        return noisy.plan.blocks == noisy.values[:, None]
    return noisy.values


def _black_box(release: Release, claim: Claim, effort: Effort, seed: int) -> AuditReport:
    """Draws labels, has them answered, bets, and stops when the capital refutes the claim or the effort is spent."""
    random = _generator(seed)
    classes = np.arange(claim.num_classes)
    if claim.num_classes > MAX_LABELS:
        classes = np.sort(random.choice(claim.num_classes, MAX_LABELS, replace=False))
    reader, memory = Reader(claim.num_classes, classes), Memory(len(classes), share=0.25)
    rules, families = Rules.untried(memory, claim.epsilon), opened(len(classes), claim.delta)
    bets, capital, calls, size = families, 0.0, 0, FIRST_BATCH
    largest = max(FIRST_BATCH, MOST_CELLS // claim.num_classes)
    enough, start = -np.log1p(-claim.confidence), time.perf_counter()
    while calls < effort.calls and capital < enough and time.perf_counter() - start < effort.seconds:
        labels = random.integers(len(classes), size=min(size, effort.calls - calls))
        batch = reader.read(*_answered(release, classes, labels))
        happened = trials(rules.scores(batch), batch.counts, epsilon=claim.epsilon, delta=claim.delta)
        families = [bets.after(trial) for bets, trial in zip(families, happened, strict=True)]
        bets = families if claim.delta else [*families, *memory.cells()]
        capital = log_capital(bets, claim.epsilon, claim.delta)
        calls, size = calls + len(labels), min(size + size // 8, largest)
    bound = lower_bound(bets, claim=claim.epsilon, delta=claim.delta, confidence=claim.confidence)
    witness = _witness(bets, memory, classes, claim, calls, seed) if capital >= enough else None
    return AuditReport(bound, claim.confidence, calls, witness, witness is not None and calls < effort.calls)


def _answered(release: Release, classes: Counts, labels: Counts) -> tuple[Any, Counts, Counts | None]:
    """Answers to a fresh copy of the labels: whatever the callable does to it, the secret stays as it was drawn."""
    outputs, context = release(classes[labels])
    return outputs, labels, context


def _generator(seed: int) -> np.random.Generator:
    """Labels' own generator: no mechanism that is seeded with the same number draws the same words."""
    digest = sha256(b"labels of a labeldp audit %d" % seed).digest()
    return np.random.default_rng(int.from_bytes(digest))


def _witness(
    bets: Sequence[Bets], memory: Memory, classes: Counts, claim: Claim, calls: int, seed: int
) -> Witness:
    """The answer, or part of one, that tells two labels apart most clearly, and the bet that gained most."""
    slot, one, other = memory.clearest(claim.epsilon, claim.delta)
    came = memory.counts[slot]
    part, output = memory.examples[slot]
    name, won, lost = best(bets, claim.epsilon, claim.delta)
    capital = log_capital(bets, claim.epsilon, claim.delta)
    because = (
        f"{f'All answers with the same {part} are counted. ' if part else ''}After {calls:,} labels, {name} had been right {won:,} "
        f"times and wrong {lost:,}; in all, the bets against {claim} paid {np.exp(min(capital, 700)):.3g} for 1. While the claim holds, "
        f"they ever pay {1 / (1 - claim.confidence):.3g} with probability {1 - claim.confidence:.3g} at most."
    )
    arguments = (
        f"epsilon={claim.epsilon!r}, num_classes={claim.num_classes}, delta={claim.delta!r}, seed={seed}"
    )
    return Witness(
        labels=(int(classes[one]), int(classes[other])),
        output=output,
        fractions=None,
        counts=(
            (int(came[one]), int(memory.labels[one])),
            (int(came[other]), int(memory.labels[other])),
        ),
        because=because,
        repeat=f"labeldp.testing.audit(mechanism, {arguments}) draws the same labels",
    )
