"""The barrier: the one function that reads true labels and emits noisy ones."""

import numpy as np
import numpy.typing as npt

import accounting
from labeldp.mechanisms import Mechanism, Plan
from labeldp.mechanisms.mechanism import one_dimensional_length
from labeldp.release.advice import teach
from labeldp.release.keyed import Context, KeyedSource, item_blocks
from labeldp.release.noisy_labels import NoisyLabels, is_tensor, tensors
from labeldp.release.randomness import Source, SystemSource
from labeldp.release.sampling import answer_type, sample


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
        labels: (n,) integers in 0 .. num_classes - 1: a list, a Series, an array, also read-only or strided; n = 0 is fine. Or a torch
            tensor: then the prior is a tensor on the same device, and so are the answers, their candidates and likelihoods.
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
    num_items = one_dimensional_length(labels)
    names = None if items is None else item_blocks(items, num_items)
    source = SystemSource() if source is None else source
    if is_tensor(labels):
        path = tensors()
        if path.serves(mechanism):
            return path.privatize(mechanism, labels, prior=prior, source=source, items=names)
        host = privatize(
            mechanism, path.on_host(labels), prior=path.on_host(prior), source=source, items=items
        )
        return path.moved(host, labels.device)  # pyright: ignore
    plan = mechanism.plan(prior, num_items)
    refuse_keyed_partitions(mechanism, plan, source)
    event = mechanism.event(plan)
    teach(mechanism, event, source)
    checked = mechanism.read(labels)
    values = np.empty((num_items, *mechanism.answer_shape), answer_type(mechanism, checked.dtype))
    sample(Context(mechanism, names, checked, plan), source, values)
    return NoisyLabels(
        mechanism=mechanism,
        values=values,
        plan=plan,
        event=event if source.secure else accounting.Seeded(event),
    )


def refuse_keyed_partitions(mechanism: Mechanism, plan: Plan, source: Source | None) -> None:
    """Refuses plans that depend on the row for noise that depends on the item.

    Raises:
        TypeError: partitions, and a key.
    """
    if plan.blocks is not None and isinstance(source, KeyedSource):
        raise TypeError(
            f"Expected a mechanism whose plan goes with the item for a KeyedSource, got {type(mechanism).__name__}, whose partitions go with "
            f"the row: a rerun in another order would be another release. Use SelectiveRandomizedResponse, or SystemSource."
        )
