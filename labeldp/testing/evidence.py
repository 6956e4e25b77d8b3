"""Sequential evidence against a claim of label DP: bets whose capital does not grow, on average, while the claim holds.

The labels are drawn uniformly by the auditor before each call. Given all answers and the other labels, the odds that a label is one
of m guessed classes against the other K - m are then at most m E : K - m, with E = e^epsilon, whatever the dependence between rows.
A bet on that pays a likelihood ratio at this boundary, averaged over larger epsilons; bets are combined by fixed weights, so the
capital exceeds 1 / alarm with probability at most alarm, at any time of stopping (Ville's inequality).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.floating[Any]]
Counts = npt.NDArray[np.int64]

ALTERNATIVES: Floats = 0.004 * 1.6 ** np.arange(17)
"""How far above the claim the epsilons lie that are betted on."""

MAX_EPSILON = 600.0
"""Beyond, e^epsilon is no float."""


@dataclass(frozen=True, eq=False)
class Bets:
    """A family of H bets, each on one stream of trials that is split into G kinds by their odds.

    Attributes:
        name: what is betted on.
        odds: odds of a win at epsilon 0, for each kind, (G,); under the claim they are at most e^epsilon times that.
        log_weight: logarithm of the capital staked on each bet, (H,).
        wins: trials won, (H, G).
        losses: trials lost, (H, G).
        idle: trials without a guess, (H, G); they cost nothing while delta is 0.
    """

    name: str
    odds: Floats
    log_weight: Floats
    wins: Counts
    losses: Counts
    idle: Counts

    @staticmethod
    def opened(name: str, odds: npt.ArrayLike, weights: npt.ArrayLike) -> "Bets":
        """Bets before their first trial."""
        kinds, weight = np.atleast_1d(np.asarray(odds, np.float64)), np.atleast_1d(np.asarray(weights))
        zeros = np.zeros((len(weight), len(kinds)), dtype=np.int64)
        return Bets(name, kinds, np.log(weight), zeros, zeros, zeros)

    def after(self, trials: tuple[Any, Any, Any]) -> "Bets":
        """The same bets after more trials: wins, losses and idle ones, each (H, G)."""
        wins, losses, idle = trials
        return replace(self, wins=self.wins + wins, losses=self.losses + losses, idle=self.idle + idle)

    def log_capital(self, epsilon: float, delta: float) -> Floats:
        """Logarithm of what each bet is worth against (epsilon, delta), its weight included; (H,)."""
        win, loss, idle = payoffs(self.odds, epsilon, delta)
        growth = self.wins @ win + self.losses @ loss + self.idle @ idle
        return self.log_weight + _log_sum(growth) - np.log(len(ALTERNATIVES))


def payoffs(odds: Floats, epsilon: float, delta: float) -> tuple[Floats, Floats, Floats]:
    """Logarithms of the factors of a trial won, lost and idle; (G, A), one column for each alternative.

    With rho = odds * E, the value Z = 1[won] - rho 1[lost] - delta of a trial has a mean of at most 0 under the claim, and a
    factor is 1 + s Z. The stake s is the one that makes it the likelihood ratio of epsilon + d against epsilon when delta is 0;
    it is at most 1 / (rho + delta), so no factor is negative.
    """
    rho = odds[:, None] * np.exp(epsilon)
    risked = rho * np.expm1(ALTERNATIVES) / (1 + rho * np.exp(ALTERNATIVES))  # what a loss takes
    stake = risked / (rho + delta)
    return np.log1p(stake * (1 - delta)), np.log1p(-risked), np.log1p(-stake * delta)


def log_capital(families: Sequence[Bets], epsilon: float, delta: float = 0.0) -> float:
    """Logarithm of the whole capital against the claim (epsilon, delta)."""
    return float(_log_sum(np.concatenate([bets.log_capital(epsilon, delta) for bets in families])))


def best(families: Sequence[Bets], epsilon: float, delta: float) -> tuple[str, int, int]:
    """The bet that gained most: what it is on, trials won and lost."""
    bets = max(families, key=lambda bets: bets.log_capital(epsilon, delta).max())
    number = int(bets.log_capital(epsilon, delta).argmax())
    return bets.name, int(bets.wins[number].sum()), int(bets.losses[number].sum())


def lower_bound(families: Sequence[Bets], *, claim: float, delta: float, confidence: float) -> float:
    """The epsilon below which every claim is refuted by the bets, valid whenever they were stopped; 0 if none is.

    A fixed grid of claims is tried upwards until one stands: a bound above the truth refutes the first grid point from the truth on. With
    delta = 0 the capital falls with epsilon (its terms are exponentials of f(epsilon + d) - f(epsilon), f concave), so the grid
    is bisected; otherwise it is walked.

    Error: too low by at most 1/1024 of the claim, where the claim stands; by a fifth of what lies above it, where it is refuted.
    """
    above = claim + 1e-6 * 1.2 ** np.arange(100)
    grid = np.concatenate([claim * np.arange(1024) / 1024, [claim], above])
    grid = np.unique(grid[grid <= MAX_EPSILON])
    threshold = -np.log1p(-confidence)

    def refuted(index: int) -> bool:
        return log_capital(families, float(grid[index]), delta) >= threshold

    first = 0
    if delta == 0:
        last = len(grid)
        while first < last:
            middle = (first + last) // 2
            first, last = (middle + 1, last) if refuted(middle) else (first, middle)
    else:
        while first < len(grid) and refuted(first):
            first += 1
    return float(np.nextafter(grid[first - 1], np.inf)) if first else 0.0


def _log_sum(values: Floats) -> Floats:
    """log of the sum of exponentials over the last axis."""
    largest = values.max(axis=-1, keepdims=True)
    return np.log(np.exp(values - largest).sum(axis=-1)) + largest[..., 0]
