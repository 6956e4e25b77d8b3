"""The best unbiased randomizer of a real-valued label, a linear program.

Write a = 1 / E. A channel loses at most epsilon exactly when each output o has a level M_o with a M_o <= Q(o | y) <= M_o for all
labels y; so Q(o | y) = a M_o + (1 - a) U_(o, y) with 0 <= U_(o, y) <= M_o, which needs no pair of labels. Least variance under a
prior is then a linear program. Its equations are written for the first label, and for the others as differences to it, divided
by 1 - a: they keep their digits at small and at large epsilons.

Outputs that are too close to the labels fit no unbiased randomizer. For the ends y < Y of the grid and the highest output Z,

    Z - Y = sum_o Q(o | Y) (Z - o) >= a sum_o Q(o | y) (Z - o) = a (Z - y),

that is Z >= Y + (Y - y) / (E - 1), and likewise at the lowest. Binary response on these two ends is unbiased, so no more is needed.
"""

import functools
import math
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.thresholds import exponential_below, word_bits
from labeldp.mechanisms.unbiased_words import TOLERATED_BIAS, Solution, too_small, words_for

Floats = npt.NDArray[np.float64]

LARGEST_PROGRAM = 2**16
"""Cells K m beyond which the program takes minutes."""

NEGLIGIBLE = 1e-9
"""Levels below are a solver's zeros."""


def default_outputs(epsilon: float, label_values: tuple[float, ...]) -> tuple[float, ...]:
    """Outputs from which the program may choose, 2 K + 101 at most.

    The labels, the answers of debiased randomized response, and even steps: 65 everywhere, and 17 at each end, between the answers
    of debiased binary response, R / (E - 1) beyond the labels, and half the labels' range R further out. No best answer among
    wider outputs was found to lie beyond. The two ends are a little further still, which leaves the words some room.

    Raises:
        ValueError: epsilon is too small for the outputs to be finite.
    """
    least, most, span = label_values[0], label_values[-1], label_values[-1] - label_values[0]
    extra = 1 / math.expm1(epsilon) if epsilon > 2.0**-100 else math.inf
    near, far = span * extra, span * (extra + 0.5)
    end = span * (extra * 17 / 16 + 0.5)
    if not math.isfinite(max(most + end, end - least)):
        raise ValueError(too_small(epsilon))
    inner = np.concatenate(
        [
            np.array(label_values),
            _debiased(epsilon, label_values),
            np.linspace(least - far, most + far, 65),
            np.linspace(least - far, least - near, 17),
            np.linspace(most + near, most + far, 17),
        ]
    )
    inside = inner[(inner > least - end) & (inner < most + end)]
    return tuple((np.unique(np.concatenate([[least - end, most + end], inside])) + 0.0).tolist())


@functools.lru_cache(maxsize=64)
def solved(
    epsilon: float,
    label_values: tuple[float, ...],
    prior: tuple[float, ...],
    output_values: tuple[float, ...],
) -> Solution:
    """The outputs that the best unbiased randomizer uses, and its words at the width in use.

    Raises:
        ValueError: no unbiased randomizer answers inside these outputs, or the program is too large.
    """
    if len(label_values) * len(output_values) > LARGEST_PROGRAM:
        raise ValueError(
            f"Expected at most {LARGEST_PROGRAM} pairs of a label value and an output value, got {len(label_values)} times "
            f"{len(output_values)}; use a coarser grid."
        )
    require_fitting_outputs(epsilon, label_values, output_values)
    candidates = [_program(epsilon, label_values, prior, output_values)]
    answers = _debiased(epsilon, label_values)
    if np.isin(answers, output_values).all():
        candidates.append(_response_on(np.searchsorted(output_values, answers), len(output_values)))
    fits = [words_for(epsilon, label_values, *_used(output_values, *candidate)) for candidate in candidates]
    return min(fits, key=lambda fit: _variance(label_values, prior, fit))


def require_fitting_outputs(
    epsilon: float, label_values: tuple[float, ...], output_values: tuple[float, ...]
) -> None:
    """Refuses outputs that no unbiased randomizer of this epsilon has, and those too far apart for the words in use.

    Raises:
        ValueError: the lowest or the highest is too close to the labels, or half a word of their range is no small bias.
    """
    ratio = exponential_below(epsilon)
    least, most = Fraction(label_values[0]), Fraction(label_values[-1])
    low, high = Fraction(output_values[0]), Fraction(output_values[-1])
    if ratio == 1 or high - low > TOLERATED_BIAS * (most - least) * 2 ** word_bits(epsilon):
        raise ValueError(too_small(epsilon))
    beyond = (most - least) / (ratio - 1)
    if not (low < least - beyond and high > most + beyond):
        raise ValueError(
            f"Expected output_values from below {float(least - beyond)!r} to above {float(most + beyond)!r}, got "
            f"{output_values[0]!r} to {output_values[-1]!r}: no unbiased randomizer of epsilon {epsilon} answers in less."
        )


def _program(
    epsilon: float,
    label_values: tuple[float, ...],
    prior: tuple[float, ...],
    output_values: tuple[float, ...],
) -> tuple[Floats, Floats]:
    """Levels M (m,) and shares U (K, m) of least variance."""
    outputs, labels = np.array(output_values), np.array(label_values)
    width = outputs[-1] - outputs[0]
    points = (outputs - outputs[0]) / width - 0.5
    targets = (labels - outputs[0]) / width - 0.5
    weights = np.array(prior) / max(prior)
    losses = (weights / weights.sum())[:, None] * (points - targets[:, None]) ** 2
    program = _matrices(epsilon, losses, points, targets[0], (labels[1:] - labels[0]) / width)
    found = next(filter(None, (_solved_to(tolerance, program) for tolerance in (1e-9, 1e-8, 1e-7))), None)
    if found is None:
        raise ValueError(
            f"Expected a linear program that HiGHS solves, got none for epsilon {epsilon}; use a coarser grid."
        )
    levels = np.maximum(found[0][: len(points)], 0)
    return levels, np.clip(found[0][len(points) :].reshape(losses.shape), 0, levels)


def _matrices(
    epsilon: float, losses: Floats, points: Floats, first_target: float, distances: Floats
) -> dict[str, Any]:
    """The program for variables M, U row by row; losses (K, m), labels as the first and the distances to it of the others."""
    from scipy import sparse as scipy_sparse  # pyright: ignore[reportMissingTypeStubs]

    sparse: Any = scipy_sparse
    lie, kept = math.exp(-epsilon), -math.expm1(-epsilon)
    num_labels, num_outputs = losses.shape
    moments = np.stack([np.ones(num_outputs), points])
    differences = sparse.hstack([-np.ones((num_labels - 1, 1)), sparse.identity(num_labels - 1)])
    first = [lie * moments, kept * moments, sparse.csr_matrix((2, (num_labels - 1) * num_outputs))]
    others = [sparse.csr_matrix((2 * num_labels - 2, num_outputs)), sparse.kron(differences, moments)]
    levels = sparse.vstack([sparse.identity(num_outputs)] * num_labels)
    steps = np.stack([np.zeros(num_labels - 1), distances / kept], axis=1)
    return {
        "c": np.concatenate([lie * losses.sum(axis=0), kept * losses.ravel()]) / max(lie, 1e-6),
        "A_eq": sparse.vstack([sparse.hstack(first), sparse.hstack(others)]).tocsr(),
        "b_eq": np.concatenate([[1, first_target], steps.ravel()]),
        "A_ub": sparse.hstack([-levels, sparse.identity(losses.size)]).tocsr(),
        "b_ub": np.zeros(losses.size),
    }


def _solved_to(tolerance: float, program: dict[str, Any]) -> tuple[Floats] | None:
    """The variables, if the solver meets its own tolerance."""
    from scipy import optimize as scipy_optimize  # pyright: ignore[reportMissingTypeStubs]

    optimize: Any = scipy_optimize
    options = {"primal_feasibility_tolerance": tolerance, "dual_feasibility_tolerance": tolerance}
    result = optimize.linprog(**program, method="highs", options=options)
    return (result.x,) if result.status == 0 else None


def _used(
    output_values: tuple[float, ...], levels: Floats, shares: Floats
) -> tuple[tuple[float, ...], Floats, Floats]:
    """Outputs that the solution uses, and both ends."""
    used = levels > NEGLIGIBLE
    used[[0, -1]] = True
    return tuple(np.array(output_values)[used].tolist()), levels[used], shares[:, used]


def _response_on(
    columns: npt.NDArray[np.intp], num_outputs: int
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Levels and shares of randomized response that answers with one output for each label.

    It is the best channel at large epsilons, where the program's numbers are too far apart for a solver.
    """
    shares = np.zeros((len(columns), num_outputs))
    shares[np.arange(len(columns)), columns] = 1
    return shares.max(axis=0), shares


def _debiased(epsilon: float, label_values: tuple[float, ...]) -> npt.NDArray[np.float64]:
    """What randomized response on the labels must answer instead of each to be unbiased: ((E + K - 1) y - sum of all) / (E - 1)."""
    labels = np.array(label_values)
    with np.errstate(over="ignore", invalid="ignore"):
        return labels + (labels - labels.mean()) * (len(labels) / math.expm1(epsilon))


def _variance(label_values: tuple[float, ...], prior: tuple[float, ...], solution: Solution) -> float:
    """Mean over the prior, up to its scale, of the squared distance of answer and label."""
    outputs, counts = solution
    total = sum(counts[0])
    rows = np.array([[count / total for count in row] for row in counts])
    distances = np.array(outputs) - np.array(label_values)[:, None]
    return float(np.array(prior) / max(prior) @ (rows * distances**2).sum(axis=1))
