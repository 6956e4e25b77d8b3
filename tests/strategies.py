"""Instances that the laws are tried on: every mechanism, small enough to enumerate, under every kind of prior."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

import labeldp
from labeldp.mechanisms import Mechanism

EPSILONS = st.one_of(
    st.sampled_from([0.0, 5e-324, 1e-9, 0.1, 0.5, 1.0, np.log(2.0), np.log(3.0), 2.0]),
    st.floats(0, 2.5),
)
FULL_RANGE_EPSILONS = st.one_of(EPSILONS, st.floats(0, 80), st.sampled_from([20.0, 36.9, 40.0, 40.1, 80.0]))


@st.composite
def prior_rows(draw: st.DrawFn, num_classes: int) -> np.ndarray:
    """Rows with ties, zeros, near ties, tiny and huge entries; never all zero."""
    entry = st.one_of(
        st.sampled_from([0.0, 0.1, 0.1 + 1e-17, 0.5, 1.0, 1e-300, 1e300, 2.0**-60]), st.floats(0, 1, width=32)
    )
    row = np.array(draw(st.lists(entry, min_size=num_classes, max_size=num_classes)))
    if not row.any():
        row[draw(st.integers(0, num_classes - 1))] = draw(st.sampled_from([1.0, 1e-320, 1e308]))
    return row


@dataclass(frozen=True)
class Case:
    """A mechanism with the prior of one item."""

    mechanism: Mechanism
    prior_row: np.ndarray


@st.composite
def cases(draw: st.DrawFn, epsilons: st.SearchStrategy[float] = EPSILONS) -> Case:
    """Any mechanism on 2 to 5 classes with any prior: to add a mechanism to every law, add a line."""
    epsilon, num_classes = draw(epsilons), draw(st.integers(2, 5))
    size = draw(st.one_of(st.sampled_from(["accuracy", "information"]), st.integers(1, num_classes)))
    kinds = (
        lambda: labeldp.RandomizedResponse(epsilon, num_classes),
        lambda: labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside="uniform"),
        lambda: labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside="other"),
        lambda: labeldp.SubsetSelection(epsilon, num_classes),
        lambda: labeldp.PartitionedRandomizedResponse(epsilon, num_classes, seed=draw(st.integers(0, 9))),
        lambda: labeldp.PartitionedRandomizedResponse(
            epsilon, num_classes, draw(st.integers(2, num_classes))
        ),
        lambda: labeldp.NoisyOneHot(epsilon, min(num_classes, 3), grid_points=draw(st.integers(3, 9))),
        lambda: labeldp.RandomizedResponseOnBins(
            epsilon,
            range(num_classes),
            draw(prior_rows(num_classes)),
            draw(st.sampled_from(["squared", "absolute"])),
        ),
        lambda: labeldp.UnbiasedRandomizer(
            max(epsilon, 0.1), range(num_classes), draw(prior_rows(num_classes))
        ),
        lambda: labeldp.UnaryEncoding(epsilon, min(num_classes, 3)),
        lambda: labeldp.UnaryEncoding(epsilon, min(num_classes, 3), variant="optimized"),
        lambda: labeldp.SubsetSelection(  # five bits a word hold no larger ratio
            min(epsilon, 2.0), num_classes, subset_size=draw(st.integers(1, min(3, num_classes - 1)))
        ),
    )
    mechanism = draw(st.sampled_from(kinds))()
    return Case(mechanism, draw(prior_rows(mechanism.num_classes)))
