"""The loss of one use of a finite mechanism: three values, and which loss dominates which."""

from __future__ import annotations

import math
from dataclasses import dataclass

from accounting.numerics.rounding import relative

SMALLEST_COMPARED = 1e-290
"""Below this epsilon products underflow, and the worst loss is taken instead of a computed one."""


@dataclass(frozen=True, order=True)
class Group:
    """Equal three-point losses: `+epsilon`, `0`, `-epsilon` with probabilities as `1 : middle : e^-epsilon`.

    Every mechanism that is pure epsilon-DP has a loss dominated by `middle = 0`, binary randomized response.

    Attributes:
        epsilon: > 0.
        middle: weight of the zero loss against that of `+epsilon`, >= 0; less is a larger loss.
        count: number of uses, >= 1.
    """

    epsilon: float
    middle: float
    count: int

    @property
    def plus(self) -> float:
        """Probability of the loss `+epsilon` in one use."""
        return 1.0 / (1.0 + self.middle + math.exp(-self.epsilon))


def dominating(first: Group, second: Group) -> Group:
    """Returns a three-point loss (count 1) that loses at least as much as either, at every epsilon.

    One use has `delta(epsilon) = plus (1 - e^(epsilon - group epsilon))_+`, a line in `e^epsilon` that ends
    at the group's epsilon. With the larger epsilon kept, a line lies above the other if it does so at epsilon
    = 0; a curve above another means that one pair of laws is a processing of the other (Blackwell), so
    composition keeps the order.

    Error: the weight on `+epsilon` is rounded up, at most to that of binary randomized response.

    Source: theory of dominating pairs, Zhu, Dong, Wang 2022 (composition keeps domination).
    """
    larger, smaller = max(first, second), min(first, second)
    if larger.epsilon == smaller.epsilon:
        return Group(larger.epsilon, min(first.middle, second.middle), 1)
    if smaller.epsilon < SMALLEST_COMPARED:
        return Group(larger.epsilon, 0.0, 1)
    wanted = -smaller.plus * math.expm1(-smaller.epsilon) / -math.expm1(-larger.epsilon) * (1 + relative(32))
    if wanted <= larger.plus * (1 - relative(32)):
        return Group(larger.epsilon, larger.middle, 1)
    middle = 1 / wanted * (1 - relative(16)) - 1 - math.exp(-larger.epsilon) * (1 + relative(8))
    return Group(larger.epsilon, min(larger.middle, max(0.0, middle)), 1)
