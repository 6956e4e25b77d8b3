"""The loop between a source of words and a mechanism: draw, choose, draw again what was rejected."""

from typing import Any

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism
from labeldp.mechanisms.thresholds import Words, word_bits
from labeldp.release.keyed import Context
from labeldp.release.randomness import Source

CHUNK_ROWS = 2**15
"""Rows answered at a time, few enough that what is made on the way stays in the processor's cache."""

CHUNK_BYTES = 16 * 2**20
"""And no more rows than take about as many bytes on the way."""


def sample(context: Context, source: Source, out: npt.NDArray[np.generic]) -> None:
    """Answers every item and writes the answers to `out`, (n,) or (n, K), a bounded number of rows at a time."""
    mechanism, plan = context.mechanism, context.plan
    row_bytes = 8 * (
        mechanism.num_words * (1 if word_bits(mechanism.epsilon) == 64 else 16)
        + 4 * (out.shape[1] if out.ndim == 2 else 1)
    )
    if plan.candidates is not None:
        row_bytes += 8 * mechanism.num_classes
    for chunk in plan.chunks(max(1, min(CHUNK_ROWS, CHUNK_BYTES // row_bytes))):
        out[chunk] = _sample_chunk(context[chunk], source)


def _sample_chunk(context: Context, source: Source) -> npt.NDArray[np.generic]:
    mechanism, plan, labels = context.mechanism, context.plan, context.labels.astype(np.int64, copy=False)
    bits = word_bits(mechanism.epsilon)
    values, rejected = mechanism.choose(_word_rows(context, source), labels, plan, bits)
    attempt = 1
    while rejected.any():
        again = np.flatnonzero(rejected)
        words = _word_rows(context.again(again, attempt), source)
        values[again], rejected[again] = mechanism.choose(words, labels[again], plan[again], bits)
        attempt += 1
    return values


def _word_rows(context: Context, source: Source) -> Words:
    mechanism, num_items = context.mechanism, context.plan.num_items
    limbs = word_bits(mechanism.epsilon) // 64
    count = num_items * mechanism.num_words * limbs
    words = checked_words(source, count, context)
    if limbs == 1:
        return words.reshape(num_items, mechanism.num_words)
    pairs = words.reshape(num_items, mechanism.num_words, 2).astype(object)
    return pairs[..., 0] * 2**64 + pairs[..., 1]


def checked_words(source: Source, count: int, context: Context | None) -> npt.NDArray[np.uint64]:
    """Words of the source, (count,).

    Raises:
        TypeError: it gives words of another type or number.
    """
    words = source.words(count, context)
    if words.dtype != np.uint64 or words.shape != (count,):
        raise TypeError(
            f"Expected a source of {count} words of type uint64, got {words.dtype} of shape {words.shape}; every word must be "
            f"uniform over all 64 bits."
        )
    return words


def answer_type(mechanism: Mechanism, labels: np.dtype[Any]) -> np.dtype[Any]:
    """Type of the answers: for classes the labels' own integer type where it holds every output, else the next wider."""
    if mechanism.answer_dtype != np.int64:
        return mechanism.answer_dtype
    largest = mechanism.num_outputs - 1
    integers = (labels, *(np.dtype(f"{labels.kind}{size}") for size in (1, 2, 4, 8)))
    fitting = [
        dtype for dtype in integers if np.iinfo(dtype).max >= largest and dtype.itemsize >= labels.itemsize
    ]
    return fitting[0].newbyteorder("=")
