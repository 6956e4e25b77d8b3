"""Releases of many labels whose every single answer may follow the law, broken by how rows or calls hang together.

Randomized response throughout, by plain floats: the faults are not in the law of an answer. The first line of each docstring says what is wrong.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt

Labels = npt.NDArray[np.int64]


class Draws:
    """Randomized response of labels (n,) with noise from a generator; the usual insecure idiom, at one epsilon."""

    def __init__(self, epsilon: float, num_classes: int) -> None:
        self.num_classes = num_classes
        self.keep = float(np.exp(epsilon) / (np.exp(epsilon) + num_classes - 1))

    def answer(self, labels: Labels, coin: npt.NDArray[np.float64], lie: npt.NDArray[np.float64]) -> Labels:
        """Answers by two uniform numbers in [0, 1) for each label."""
        other = np.floor(lie * (self.num_classes - 1)).astype(np.int64)
        return np.where(coin < self.keep, labels, other + (other >= labels))

    def __call__(self, labels: Labels, seed: Any = None) -> Labels:
        """Answers with noise of their own."""
        return self.answer(labels, *np.random.default_rng(seed).random((2, len(labels))))


# Seeds and noise that come back.


def fixed_seed(labels: Labels, respond: Draws) -> Labels:
    """Every call has the same seed."""
    return respond(labels, 20)


def seed_of_eight_bits(labels: Labels, respond: Draws) -> Labels:
    """The seed is one of 256."""
    return respond(labels, np.random.default_rng().integers(256))


def seed_of_sixteen_bits(labels: Labels, respond: Draws) -> Labels:
    """The seed is one of 65 536."""
    return respond(labels, np.random.default_rng().integers(2**16))


def seed_from_the_labels(labels: Labels, respond: Draws) -> Labels:
    """The seed is made from the labels."""
    return respond(labels, [int(labels.sum()), len(labels)])


def same_seed_each_batch(labels: Labels, respond: Draws) -> Labels:
    """Every batch of 256 starts with the call's seed again."""
    seed = np.random.default_rng().integers(2**62)
    return _in_batches(labels, 256, lambda batch: respond(batch, seed))


def same_seed_each_worker(labels: Labels, respond: Draws) -> Labels:
    """Eight workers are handed copies of one generator."""
    seed = np.random.default_rng().integers(2**62)
    return np.concatenate([respond(part, seed) for part in np.array_split(labels, 8)])


def buffer_used_again(labels: Labels, respond: Draws) -> Labels:
    """500 pairs of random numbers are drawn and used in turn."""
    buffer = np.random.default_rng().random((2, 500))
    return respond.answer(labels, *buffer[:, np.arange(len(labels)) % 500])


def row_number_in_a_byte(labels: Labels, respond: Draws) -> Labels:
    """Noise is a function of a fresh key and of the row number, which is kept in a byte."""
    table = np.random.default_rng().random((2, 256))
    return respond.answer(labels, *table[:, np.arange(len(labels)) % 256])


def row_number_in_two_bytes(labels: Labels, respond: Draws) -> Labels:
    """Noise is a function of a fresh key and of the row number, which is kept in two bytes."""
    table = np.random.default_rng().random((2, 2**16))
    return respond.answer(labels, *table[:, np.arange(len(labels)) % 2**16])


def pool_over_all_calls(labels: Labels, respond: Draws) -> Labels:
    """All calls draw in turn from one pool of 50 000 pairs of random numbers."""
    start = _POOL_AT.pop()
    _POOL_AT.append(start + len(labels))
    return respond.answer(labels, *_POOL[:, (start + np.arange(len(labels))) % _POOL.shape[1]])


def same_seed_each_class(labels: Labels, respond: Draws) -> Labels:
    """Classes are answered one after the other, each with the call's seed again."""
    seed, answers = np.random.default_rng().integers(2**62), np.empty(len(labels), dtype=np.int64)
    for label in np.unique(labels):
        answers[labels == label] = respond(labels[labels == label], seed)
    return answers


def cached_by_length(labels: Labels, respond: Draws) -> Labels:
    """Noise of the first call of each length is kept for later calls."""
    return respond.answer(
        labels, *_CACHE.setdefault(len(labels), np.random.default_rng().random((2, len(labels))))
    )


# Rows that share noise.


def one_coin_for_all(labels: Labels, respond: Draws) -> Labels:
    """One coin decides for all rows whether labels are kept."""
    rng = np.random.default_rng()
    return respond.answer(labels, np.full(len(labels), rng.random()), rng.random(len(labels)))


def one_lie_for_all(labels: Labels, respond: Draws) -> Labels:
    """All rows that lie tell the same lie."""
    rng = np.random.default_rng()
    return respond.answer(labels, rng.random(len(labels)), np.full(len(labels), rng.random()))


def one_answer_a_label(labels: Labels, respond: Draws) -> Labels:
    """Equal labels of one call get equal answers."""
    return respond(np.arange(respond.num_classes))[labels]


def mirrored_pairs(labels: Labels, respond: Draws) -> Labels:
    """Every second coin is one minus the coin before."""
    coin, lie = np.random.default_rng().random((2, len(labels)))
    coin[1::2] = 1 - coin[: 2 * (len(labels) // 2) : 2]
    return respond.answer(labels, coin, lie)


def used_backwards(labels: Labels, respond: Draws) -> Labels:
    """The second half uses the noise of the first, from its end."""
    noise = np.random.default_rng().random((2, (len(labels) + 1) // 2))
    return respond.answer(labels, *np.concatenate([noise, noise[:, ::-1]], axis=1)[:, : len(labels)])


def coins_that_stick(labels: Labels, respond: Draws) -> Labels:
    """A coin is the one before, half of the time."""
    coin, lie, stick = np.random.default_rng().random((3, len(labels)))
    source = np.maximum.accumulate(np.where(stick < 0.5, 0, np.arange(len(labels))))
    return respond.answer(labels, coin[source], lie)


def lies_by_quota(labels: Labels, respond: Draws) -> Labels:
    """The number of kept labels is fixed; only which ones is random."""
    coin, lie = np.random.default_rng().random((2, len(labels)))
    rank = np.argsort(np.argsort(coin))
    return respond.answer(labels, (rank + 0.5) / max(1, len(labels)), lie)


# Rows without noise, or with less.


def last_item_kept(labels: Labels, respond: Draws) -> Labels:
    """The last item is not randomized."""
    return np.concatenate([respond(labels[:-1]), labels[-1:]])


def first_item_kept(labels: Labels, respond: Draws) -> Labels:
    """The first item is not randomized."""
    return np.concatenate([labels[:1], respond(labels[1:])])


def incomplete_batch_kept(labels: Labels, respond: Draws) -> Labels:
    """Items after the last full batch of 64 are not randomized."""
    full = len(labels) // 64 * 64
    return np.concatenate([respond(labels[:full]), labels[full:]])


def tail_kept(labels: Labels, respond: Draws) -> Labels:
    """Items from the 1500th on are not randomized."""
    return np.concatenate([respond(labels[:1500]), labels[1500:]])


def every_second_kept(labels: Labels, respond: Draws) -> Labels:
    """Every second item is not randomized."""
    return np.where(np.arange(len(labels)) % 2, labels, respond(labels))


def chunk_starts_kept(labels: Labels, respond: Draws) -> Labels:
    """The first item of every chunk of 4096, but for the first chunk, is not randomized."""
    answers = respond(labels)
    answers[4096::4096] = labels[4096::4096]
    return answers


def kept_beyond_two_bytes(labels: Labels, respond: Draws) -> Labels:
    """Items from the 65 536th on are not randomized."""
    return np.concatenate([respond(labels[: 2**16]), labels[2**16 :]])


def alone_with_less_noise(labels: Labels, respond: Draws) -> Labels:
    """A call of one item is answered at three times the epsilon."""
    return (respond if len(labels) > 1 else Draws(3.0, respond.num_classes))(labels)


def less_noise_in_small_calls(labels: Labels, respond: Draws) -> Labels:
    """A call of up to 16 items is answered at twice the epsilon."""
    return (respond if len(labels) > 16 else Draws(2.0, respond.num_classes))(labels)


def two_labels_kept(labels: Labels, respond: Draws) -> Labels:
    """Where exactly two labels occur in a call, nothing is randomized."""
    return labels if len(np.unique(labels)) == 2 else respond(labels)


def constant_column_kept(labels: Labels, respond: Draws) -> Labels:
    """Where all labels of a call are equal, nothing is randomized."""
    return labels if len(np.unique(labels)) == 1 else respond(labels)


def rare_label_kept(labels: Labels, respond: Draws) -> Labels:
    """A label that occurs once among many is not randomized."""
    once = np.bincount(labels, minlength=respond.num_classes)[labels] == 1
    return np.where(once & (len(labels) > 1), labels, respond(labels))


def last_row_never_written(labels: Labels, respond: Draws) -> Labels:
    """The last answer is whatever was in memory: 0."""
    return np.concatenate([respond(labels[:-1]), np.zeros(min(1, len(labels)), dtype=np.int64)])


def last_answer_twice(labels: Labels, respond: Draws) -> Labels:
    """The last row gets the answer of the row before."""
    rows = np.minimum(np.arange(len(labels)), max(0, len(labels) - 2))
    return respond(labels)[rows]


# Answers in the wrong place, or about other rows.


def rows_shifted(labels: Labels, respond: Draws) -> Labels:
    """Every answer is in the row after its own."""
    return np.roll(respond(labels), 1)


def neighbour_decides(labels: Labels, respond: Draws) -> Labels:
    """Whether a label is a candidate is looked up in the row before."""
    inside = np.roll(labels, 1) < respond.num_classes // 2
    anything = np.random.default_rng().integers(respond.num_classes, size=len(labels))
    return np.where(inside, respond(labels), anything)


def sorted_answers(labels: Labels, respond: Draws) -> Labels:
    """Answers are sorted."""
    return np.sort(respond(labels))


def grouped_by_label(labels: Labels, respond: Draws) -> Labels:
    """Items are grouped by label before they are answered, and stay so."""
    return respond(labels[np.argsort(labels, kind="stable")])


def kept_first(labels: Labels, respond: Draws) -> Labels:
    """Answers that are true come first."""
    answers = respond(labels)
    return answers[np.argsort(answers != labels, kind="stable")]


def type_by_the_largest(labels: Labels, respond: Draws) -> npt.NDArray[Any]:
    """Answers have a narrower type where no label is large."""
    return respond(labels).astype(np.int8 if labels.max(initial=0) < 5 else np.int16)


def lies_dropped(labels: Labels, respond: Draws) -> Labels:
    """Items that would lie are left out."""
    answers = respond(labels)
    return answers[answers == labels]


def lies_from_the_last_call(labels: Labels, respond: Draws) -> Labels:
    """Where it would lie it answers the label that the row had in the call before."""
    before = np.resize(_LAST.pop(), len(labels))
    _LAST.append(labels.copy() if len(labels) else np.arange(respond.num_classes))
    return np.where(np.random.default_rng().random(len(labels)) < respond.keep, labels, before)


def lie_of_another_row(labels: Labels, respond: Draws) -> Labels:
    """Where it would lie it answers the label of another row."""
    rng = np.random.default_rng()
    return np.where(rng.random(len(labels)) < respond.keep, labels, rng.permutation(labels))


def domain_from_labels(labels: Labels, respond: Draws) -> Labels:
    """Lies are classes that occur among the labels of the call."""
    seen = np.unique(labels)
    inner = Draws(np.log(respond.keep / (1 - respond.keep) * (respond.num_classes - 1)), len(seen))
    return seen[inner(np.searchsorted(seen, labels))]


# Keyed noise: equal calls give equal answers, on purpose.


def keyed_by_row_alone(labels: Labels, respond: Draws) -> Labels:
    """Noise is a function of the key and the row; a corrected label has the same noise."""
    return respond.answer(labels, *_keyed(np.arange(len(labels))))


def keyed_by_label_alone(labels: Labels, respond: Draws) -> Labels:
    """Noise is a function of the key and the label; equal labels get equal answers."""
    return respond.answer(labels, *_keyed(labels))


def keyed_and_yet_fresh(labels: Labels, respond: Draws) -> Labels:
    """Said to repeat itself, and does not: a rerun is a second release."""
    return respond(labels)


def keyed_last_item_kept(labels: Labels, respond: Draws) -> Labels:
    """Keyed by row and label, but the last item is not randomized."""
    answers = keyed_by_row_and_label(labels, respond)
    return np.concatenate([answers[:-1], labels[-1:]])


# Equivalent: nothing is wrong.


def own_seed_each_batch(labels: Labels, respond: Draws) -> Labels:
    """Every batch of 256 has a fresh seed of its own."""
    return _in_batches(labels, 256, respond)


def answered_in_random_order(labels: Labels, respond: Draws) -> Labels:
    """Items are shuffled, answered, and put back."""
    order = np.random.default_rng().permutation(len(labels))
    answers = np.empty(len(labels), dtype=np.int64)
    answers[order] = respond(labels[order])
    return answers


def answers_as_texts(labels: Labels, respond: Draws) -> list[str]:
    """Answers are texts."""
    return [f"class {answer}" for answer in respond(labels).tolist()]


def answers_as_sets(labels: Labels, respond: Draws) -> list[frozenset[int]]:
    """Answers are sets of one class."""
    return [frozenset({answer}) for answer in respond(labels).tolist()]


def keyed_by_row_and_label(labels: Labels, respond: Draws) -> Labels:
    """Noise is a function of a secret key, the row and the label."""
    return respond.answer(labels, *_keyed(np.arange(len(labels)) * respond.num_classes + labels))


_CACHE: dict[int, Any] = {}
_POOL = np.random.default_rng(5).random((2, 50_000))
_POOL_AT = [0]
_LAST: list[Labels] = [np.arange(10)]


def _in_batches(labels: Labels, size: int, answer: Callable[[Labels], Labels]) -> Labels:
    parts = [answer(labels[start : start + size]) for start in range(0, len(labels), size)]
    return np.concatenate([labels[:0], *parts])


def _keyed(numbers: npt.NDArray[np.int64]) -> npt.NDArray[np.float64]:
    """Two numbers in [0, 1) for each integer, the same in every call."""
    size = int(numbers.max(initial=0)) + 1
    return np.array([np.random.default_rng(key).random(size)[numbers] for key in (77, 78)])
