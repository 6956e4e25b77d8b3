"""Two discrete laws around a composition with rare large losses: one that loses at least as much, one at most.

A few steps of DP-SGD with a small sampling probability have losses on very unlike scales, for which no line of the
contour is short. Here laws are kept on some hundred rungs, close together where the mass is, and use after use is
added and put back on rungs. Of masses p at losses x in a rung `[a, b)`

    at most:   all of p goes to the loss `-log(sum p e^-x / sum p)` (who cannot tell outputs apart knows less),
    at least:  each goes to a and b so that p and `p e^-x` are kept (a spread of the likelihood ratio; Blackwell),

and both are wrong by the square of the rung only. Outputs y of one use are cut into cells in the same two ways.

Error: masses of cells by Gauss-Legendre quadrature (12 points on at most 1/20, relative error below 1e-14) and sums of
positive terms: 1e-11 for each use, in mass and in loss, far above n times the roundings that occur.

Source: connect-the-dots, Doroshenko, Ghazi, Kamath, Kumar, Manurangsi 2022, for the upper side.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from accounting.numerics import trinomial
from accounting.numerics.atoms import Atoms
from accounting.numerics.gaussian import GaussianUses
from accounting.numerics.laplace import LaplaceUses
from accounting.numerics.lattice import LARGEST_STEP, SMALLEST_STEP
from accounting.numerics.mixture import Mixture
from accounting.numerics.noises import Noise
from accounting.numerics.three_point import Group
from accounting.numerics.trinomial import SCALE_BITS, Floats

RUNGS, MOST_USES, MOST_PARTS = 800, 1 << 14, 16

NEAR_END, FAR_END, CELL = 10.0, 19.0, 0.025
"""Outputs of one use that are cut into cells, in standard deviations; losses beyond the far end are the large ones."""

NEAR_TAIL = 1e-23
"""More than the mass beyond the near end; beyond the far end lies less than TINY."""

FARTHEST = 100.0
"""Distance of the two densities; more would take too many cells."""

TINY = 1e-75
"""Tails of this mass are taken off at the top, and counted."""

ROUNDING = 1e-11

AT_ONCE = 1 << 18


@dataclass(frozen=True, eq=False)
class Law:
    """Masses at losses, ascending, and a mass of losses above all."""

    losses: Floats
    masses: Floats
    infinite: float = 0.0

    @property
    def shape(self) -> tuple[float, float]:
        """Median, and half the distance of the quantiles 0.16 and 0.84."""
        share = np.cumsum(self.masses) / np.sum(self.masses)
        low, middle, high = (float(x) for x in self.losses[np.searchsorted(share, [0.16, 0.5, 0.84])])
        return middle, (high - low) / 2


POINT = Law(np.zeros(1), np.ones(1))


@lru_cache(maxsize=4)
def ladder(groups: tuple[Group, ...], noises: tuple[Noise, ...], removal: bool) -> tuple[Atoms, Atoms] | None:
    """Returns a law that loses at most as much as a composition, and one that loses at least as much.

    None where there are too many parts or uses.
    """
    uses = [
        *(group.count for group in groups),
        *(1 if isinstance(noise, GaussianUses) else noise.count for noise in noises),
    ]
    if len(uses) > MOST_PARTS or max(uses) > MOST_USES:
        return None
    if any(isinstance(noise, LaplaceUses) or _distance(noise) > FARTHEST for noise in noises):
        return None
    if not all(SMALLEST_STEP <= group.epsilon <= LARGEST_STEP for group in groups):
        return None
    both: list[Atoms] = []
    for least in (False, True):
        law = POINT
        for group in groups:
            offset, masses = trinomial.both_halves(group.epsilon, group.middle, group.count)
            places = group.epsilon * (offset + np.arange(len(masses), dtype=np.float64))
            law = _sum(law, Law(places, masses * 2.0**-SCALE_BITS), least=least)
        for noise in noises:
            law = _sum(law, _uses(noise, removal, least=least), least=least)
        room = ROUNDING * sum(uses)
        masses = law.masses * 2.0**SCALE_BITS
        dropped = law.infinite * 2.0**SCALE_BITS
        both.append(Atoms(law.losses, masses, room, room * (1 + float(np.max(np.abs(law.losses)))), dropped))
    return both[0], both[1]


def _distance(noise: Noise) -> float:
    """Returns the distance of the densities of one use; all Gaussian uses of a kind are one."""
    together = noise.count if isinstance(noise, GaussianUses) else 1
    return math.sqrt(together) / noise.noise_multiplier


def _uses(noise: Noise, removal: bool, *, least: bool) -> Law:
    """Returns the law of all uses of one kind, by squaring."""
    assert not isinstance(noise, LaplaceUses)
    if isinstance(noise, GaussianUses):
        return _cells(Mixture(_distance(noise), 1.0), removal, least=least)
    once = Mixture(_distance(noise), noise.sampling_probability)
    power, total, count = _cells(once, removal, least=least), POINT, noise.count
    while count:
        if count & 1:
            total = _sum(total, power, least=least)
        count >>= 1
        if count:
            power = _sum(power, power, least=least)
    return total


def _cells(once: Mixture, removal: bool, *, least: bool) -> Law:
    """Returns the law of one use, cell by cell of its outputs."""
    left, right = (-NEAR_END, once.distance + FAR_END) if removal else (-FAR_END, once.distance + NEAR_END)
    edges = np.linspace(left, right, math.ceil((right - left) / CELL) + 1)
    nodes, weights = np.polynomial.legendre.leggauss(8)
    half = (edges[1] - edges[0]) / 2
    places = (edges[:-1] + edges[1:])[:, None] / 2 + half * nodes
    losses, _ = once.losses(places)
    at_edges, _ = once.losses(edges)
    density = np.exp(-places * places / 2 + (losses if removal else 0.0)) * (half / math.sqrt(2 * math.pi))
    masses = density * weights
    if not removal:
        losses, at_edges = -losses, -at_edges
    lows = np.minimum(at_edges[:-1], at_edges[1:])
    mass = np.sum(masses, axis=1)
    deficit = np.sum(masses * -np.expm1(lows[:, None] - losses), axis=1)
    order = slice(None) if removal else slice(None, None, -1)
    mass, deficit = np.append(mass[order], 0.0), np.append(deficit[order], 0.0)
    mass[0] += NEAR_TAIL if least else 0.0
    return _law(at_edges[order], mass, deficit, TINY, least=least)


def _sum(first: Law, second: Law, *, least: bool) -> Law:
    """Returns the law of the sum of two, back on rungs."""
    if len(first.losses) * len(second.losses) <= RUNGS and not first.infinite:
        losses = (first.losses[:, None] + second.losses).ravel()
        masses = (first.masses[:, None] * second.masses).ravel()
        order = np.argsort(losses, kind="stable")
        return Law(losses[order], masses[order], second.infinite)
    rungs = _rungs(first, second)
    mass, deficit = np.zeros(len(rungs)), np.zeros(len(rungs))
    blocks = 1 + len(first.losses) * len(second.losses) // AT_ONCE
    for part in np.array_split(np.arange(len(first.losses)), blocks):
        losses = (first.losses[part, None] + second.losses).ravel()
        masses = (first.masses[part, None] * second.masses).ravel()
        if least:
            losses = np.maximum(losses, rungs[0])
        else:  # less mass loses less; this far below, weights would overflow
            masses = np.where(rungs[0] - losses < 700, masses, 0.0)
            losses = np.maximum(losses, rungs[0] - 700)
        at = np.maximum(np.searchsorted(rungs, losses, side="right") - 1, 0)
        mass += np.bincount(at, masses, len(rungs))
        deficit += np.bincount(at, masses * -np.expm1(rungs[at] - losses), len(rungs))
    return _law(rungs, mass, deficit, first.infinite + second.infinite, least=least)


def _rungs(first: Law, second: Law) -> Floats:
    """Returns rungs at equal distances of asinh, about the median, in units of the inner spread."""
    (middle, spread), (more, wider) = first.shape, second.shape
    centre, unit = middle + more, math.hypot(spread, wider)
    low = max(float(first.losses[0] + second.losses[0]), centre - 12 * unit)
    high = float(first.losses[-1] + second.losses[-1])
    unit = max(unit, 1e-9 * (high - low), 1e-300)
    first_at, last_at = math.asinh((low - centre) / unit), math.asinh((high - centre) / unit)
    return centre + unit * np.sinh(np.linspace(first_at, last_at, RUNGS))


def _law(rungs: Floats, mass: Floats, deficit: Floats, lost: float, *, least: bool) -> Law:
    """Returns the law of rungs with masses, and with `deficit = sum p (1 - e^(rung - x))`."""
    losses, masses, beyond = rungs, mass.copy(), 0.0
    if least:
        height: Floats = -np.expm1(rungs[:-1] - rungs[1:])
        share = np.where(height > 0, deficit[:-1] / np.where(height > 0, height, 1.0), 0.0)
        moved = np.minimum(share, mass[:-1])
        masses[:-1] -= moved
        masses[1:] += moved
        beyond = float(deficit[-1])
    else:
        # no more than 0.999, below the truth, so that the logarithm is not of rounding errors
        share = np.where(mass > 0, deficit / np.where(mass > 0, mass, 1.0), 0.0)
        losses = rungs - np.log1p(-np.minimum(share, 0.999))
    above = np.cumsum(masses[::-1])[::-1]
    kept = (masses > 0) & (above > TINY)
    gone = float(np.sum(masses[~kept])) + beyond
    return Law(losses[kept], masses[kept], (lost + gone) if least else 0.0)
