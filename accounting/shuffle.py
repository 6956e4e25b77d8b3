"""Randomized response whose reports are shuffled: how much less a histogram loses than the reports one by one.

With `E = e^epsilon0`, K classes and `p = 1/(E+K-1)`, a report is uniform with probability `K p` (the privacy
blanket) and the truth with the rest. Whoever sees the histogram sees less than whoever also learns which of
the other n - 1 reports are truths, and these then count for nothing. Let `lambda = e^epsilon`, let `B` of the
others be blanket reports and let `h` be the histogram of these and the victim's. Its probability under
victim a, less lambda times that under b, is

    p (B! / (h_1! ... h_K!)) K^-B ((1 - lambda)(B + 1) + (E - 1)(h_a - lambda h_b)),

and averaging its positive part over `B ~ Bin(n-1, K p)` gives, the binomial coefficients absorbing `B + 1`,

    delta(epsilon) = E[S_+] / n,     S = (E - lambda) h_a + (1 - lambda E) h_b + (1 - lambda) h_0,

where each of n reports falls to a or b with probability p each, to the other classes (h_0) with (K-2) p, and
else counts nothing. That is the upper bound, for every data set. When all other reports hold one class c the
histogram hides exactly which of the reports at c are truths, so that `S` is averaged over that: a data set
of its own, exactly accounted, and the lower bound (c is a third class, or a).

Source: Balle, Bell, Gascón, Nissim 2019, lemma 5.3, with the blanket count revealed. Counting the two
victim symbols only (the clone formula) is no upper bound for K >= 3.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from accounting import arguments
from accounting.calibrate import crossing
from accounting.loss import Bounds
from accounting.numerics.report_sum import ReportSum
from accounting.numerics.rounding import relative

LARGEST_EPSILON = 80.0
"""Of one report: beyond, one in e^80 is noise and there is nothing to hide in."""

LARGEST_REPORTS = 2**30
"""Reports that are composed."""

SMALLEST = 1e-200
"""Positive epsilons below are moved to the safe side: one that is asked to 0 or this, that of a report up to this."""

BITS = (64, 192, 512)
"""Windows of binomial laws drop at most `2^-bits` on each side."""


@dataclass(frozen=True)
class ShuffledUnlinkedReports:
    """The histogram of n reports by K-ary randomized response, one from each person, linked to nothing.

    Args:
        epsilon_per_report: of one report, epsilon0, in [0, 80].
        num_classes: K >= 2, the same for all reports, and every class is a candidate in each.
        num_reports: n, 1 to 2^30. More reports lose less: for more, ask for 2^30 and take the upper side.

    Raises:
        TypeError, ValueError: an argument is of the wrong type or out of range.

    Privacy: neighbours differ in the class that one person holds. It holds for whoever sees the histogram, or
    the reports in random order, and nothing that tells which report is whose. It does not apply to noisy
    labels of training rows (the row links them), to answers on candidate sets, subsets or partitions of their
    own, nor to reports of several epsilons; no event stands for it, so no transcript can claim it.
    """

    epsilon_per_report: float
    num_classes: int
    num_reports: int

    def __post_init__(self) -> None:
        budget = arguments.budget("epsilon_per_report", self.epsilon_per_report)
        if budget > LARGEST_EPSILON:
            raise ValueError(
                f"Expected epsilon_per_report <= {LARGEST_EPSILON}, got {budget!r}; that report hides in no crowd: "
                "count it by its own epsilon."
            )
        classes = arguments.whole(
            "num_classes", self.num_classes, least=2, largest=arguments.LARGEST_ALPHABET
        )
        reports = arguments.whole("num_reports", self.num_reports)
        if reports > LARGEST_REPORTS:
            raise ValueError(
                f"Expected num_reports <= {LARGEST_REPORTS}, got {reports}; more reports lose less, so the upper side "
                f"at {LARGEST_REPORTS} holds."
            )
        for name, value in (
            ("epsilon_per_report", budget),
            ("num_classes", classes),
            ("num_reports", reports),
        ):
            object.__setattr__(self, name, value)

    def delta(self, epsilon: float) -> Bounds:
        """Returns a bracket of the least delta for which (epsilon, delta) holds over all data sets.

        Args:
            epsilon: >= 0.

        Error: upper is the blanket's, lower that of the worse of two data sets; rounding, and what the
        windows drop, are inside.
        """
        asked = arguments.real("epsilon", epsilon)
        if asked < 0:
            raise ValueError(f"Expected epsilon >= 0, got {asked!r}.")
        lower, upper = 0.0, 1.0
        for bits in BITS:
            lower, upper = self._delta_lower(asked, bits), self._delta_upper(asked, bits)
            if math.ldexp(1.0, 34 - bits) <= upper:
                break
        return Bounds(lower, upper)

    def epsilon(self, delta: float) -> Bounds:
        """Returns a bracket of the least `epsilon >= 0` for which (epsilon, delta) holds over all data sets.

        Args:
            delta: in [0, 1]; at 0 nothing is gained, and below about 1e-100 the upper side is that of one
                report.

        Error: each side is an epsilon at which the curve of that side was evaluated, within 1e-7 of where it
        meets delta.
        """
        share = arguments.probability("delta", delta)
        top = self.epsilon_per_report
        if share == 0 or top == 0:
            return Bounds(top, top)
        bits = min((bits for bits in BITS if 2.0**-bits <= 2.0**-34 * share), default=BITS[-1])
        goal = _depth(share)
        upper = crossing(lambda x: goal - _depth(self._delta_upper(x, bits)), 0.0, top)[1]
        near = upper * (1 - 2.0**-5)
        start = near if self._delta_lower(near, bits) > share else 0.0
        lower = crossing(lambda x: goal - _depth(self._delta_lower(x, bits)), start, upper)[0]
        return Bounds(lower, upper)

    def _delta_upper(self, epsilon: float, bits: int) -> float:
        if epsilon >= self.epsilon_per_report:
            return 0.0
        if self.epsilon_per_report < SMALLEST:
            return self.epsilon_per_report
        blanket = self._blanket(0.0 if epsilon < SMALLEST else epsilon)
        value, dropped = blanket.mean(self.num_reports, bits=bits, side=1)
        return min(1.0, (value + dropped) * (1 + relative(8)))

    def _delta_lower(self, epsilon: float, bits: int) -> float:
        if epsilon >= self.epsilon_per_report or self.epsilon_per_report < SMALLEST:
            return 0.0
        sums = self._all_others_alike(max(epsilon, SMALLEST))
        return max(0.0, *(one.mean(self.num_reports, bits=bits, side=-1)[0] for one in sums))

    def _blanket(self, epsilon: float) -> ReportSum:
        own, rest = self.epsilon_per_report, self.num_classes - 2.0
        excess, step = math.expm1(own), math.expm1(epsilon)
        gain, cost = math.exp(epsilon) * math.expm1(own - epsilon), math.expm1(own + epsilon)
        return ReportSum(own, 2 / (excess + rest), True, gain, cost, 0.0, step, step, rest / excess)

    def _all_others_alike(self, epsilon: float) -> list[ReportSum]:
        """Returns the exact sums of the data sets whose other reports all hold a, or all a third class."""
        own, rest = self.epsilon_per_report, self.num_classes - 2.0
        down, step, base = math.exp(-own), math.expm1(epsilon), -math.expm1(epsilon - own)
        gain, cost = math.exp(epsilon) * math.expm1(own - epsilon), math.expm1(own + epsilon)
        at_a = ReportSum(
            own, 1 / (math.exp(own) + rest), False, 0.0, cost, base, step + base, step, rest * down
        )
        if self.num_classes == 2:
            return [at_a]
        odds, others = 2 / (math.exp(own) + rest - 1), (rest - 1) * down
        slope = -step * math.expm1(-own)
        return [at_a, ReportSum(own, odds, True, gain, cost, -step * down, slope, step, others)]


def _depth(delta: float) -> float:
    """Returns `sqrt(-log delta)`, which grows about linearly with epsilon, so that a secant finds the crossing."""
    return math.sqrt(-math.log(delta)) if delta > 0 else math.inf
