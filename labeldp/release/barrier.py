"""The barrier: the one function that reads true labels and emits noisy ones."""

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.mechanism import one_dimensional_length
from labeldp.release.advice import teach
from labeldp.release.keyed import Context, KeyedSource, item_blocks
from labeldp.release.noisy_labels import NoisyLabels
from labeldp.release.randomness import Source, SystemSource
from labeldp.release.sampling import sample


def privatize(
    mechanism: Mechanism,
    labels: npt.ArrayLike,
    *,
    prior: npt.ArrayLike | None = None,
    source: Source | None = None,
    items: npt.ArrayLike | None = None,
) -> NoisyLabels:
    """Releases one noisy label for each true label.

    Everything public (candidates, sizes) is decided before a label is read; then the labels are checked once against the
    public domain; nothing after that can fail because of a label.

    Args:
        mechanism: any mechanism of `labeldp`.
        labels: (n,) integers in 0 .. num_classes - 1: a list, a Series, an array, also read-only or strided; n = 0 is fine.
        prior: (n, K) class probabilities of each item, or one row (K,) for all; rows need not sum to 1. It must not depend on the
            labels that are released here. Needed by selective mechanisms.
        source: where randomness comes from; a fresh `SystemSource` by default.
        items: (n,) public integers or texts, one name for each item and no name twice. Needed with a `KeyedSource`, whose noise follows the
            item through reruns; others do not look at them.

    Returns:
        The noisy labels, with their likelihoods and their accounting event. Order and number of items are kept.

    Raises:
        TypeError, ValueError: bad parameters, prior or labels. No message holds a label.

    Privacy:
        epsilon-DP for each label (the label of one item may change; features, number and order are the same), given a prior
        that does not depend on it. A label given to a second call pays again.
    """
    if not hasattr(mechanism, "choose"):
        raise TypeError(f"Expected a mechanism of labeldp, got {type(mechanism).__name__}.")
    if source is not None and not (hasattr(source, "words") and hasattr(source, "secure")):
        raise TypeError(f"Expected a source such as labeldp.SystemSource(), got {type(source).__name__}.")
    if items is None and isinstance(source, KeyedSource):
        raise TypeError(
            "Expected items=... with a KeyedSource: a number or a text for each label that names its item in every rerun."
        )
    plan = mechanism.plan(prior, one_dimensional_length(labels))
    names = None if items is None else item_blocks(items, plan.num_items)
    source = SystemSource() if source is None else source
    event = mechanism.event(plan)
    teach(mechanism, event, source)
    checked = mechanism.read(labels)
    values = np.empty(*_shape_and_type(mechanism, checked))
    sample(Context(mechanism, names, checked, plan), source, values)
    return NoisyLabels(
        mechanism=mechanism,
        values=values,
        plan=plan,
        event=event if source.secure else accounting.Seeded(event),
    )


def _shape_and_type(
    mechanism: Mechanism, labels: npt.NDArray[np.integer]
) -> tuple[tuple[int, ...], np.dtype[np.generic]]:
    """Shape and type of the answers: the labels' own integer type where it holds every output, else the next wider."""
    if mechanism.answer_dtype != np.int64:
        return (len(labels), *mechanism.answer_shape), mechanism.answer_dtype
    largest = mechanism.num_outputs - 1
    integers = (labels.dtype, *map(np.dtype, (f"{labels.dtype.kind}{size}" for size in (1, 2, 4, 8))))
    fitting = [
        dtype
        for dtype in integers
        if np.iinfo(dtype).max >= largest and dtype.itemsize >= labels.dtype.itemsize
    ]
    return (len(labels),), fitting[0].newbyteorder("=")
