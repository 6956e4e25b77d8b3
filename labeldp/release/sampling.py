"""The loop between a source of words and a mechanism: draw, choose, draw again what was rejected."""

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism, Plan
from labeldp.mechanisms.thresholds import Words, word_bits
from labeldp.release.randomness import Source

CHUNK_BYTES = 16 * 2**20


def sample(
    mechanism: Mechanism,
    labels: npt.NDArray[np.integer],
    plan: Plan,
    source: Source,
    out: npt.NDArray[np.generic],
) -> None:
    """Answers every item and writes the answers to `out`, (n,) or (n, K), a bounded number of rows at a time."""
    row_bytes = 8 * (
        mechanism.num_words * (1 if word_bits(mechanism.epsilon) == 64 else 16)
        + 4 * (out.shape[1] if out.ndim == 2 else 1)
    )
    if plan.candidates is not None:
        row_bytes += 16 * mechanism.num_classes
    for chunk in plan.chunks(max(1, CHUNK_BYTES // row_bytes)):
        out[chunk] = _sample_chunk(mechanism, labels[chunk].astype(np.int64), plan[chunk], source)


def _sample_chunk(
    mechanism: Mechanism, labels: npt.NDArray[np.int64], plan: Plan, source: Source
) -> npt.NDArray[np.generic]:
    bits = word_bits(mechanism.epsilon)
    values, rejected = mechanism.choose(_word_rows(mechanism, source, plan.num_items), labels, plan, bits)
    while rejected.any():
        again = np.flatnonzero(rejected)
        words = _word_rows(mechanism, source, len(again))
        values[again], rejected[again] = mechanism.choose(words, labels[again], plan[again], bits)
    return values


def _word_rows(mechanism: Mechanism, source: Source, num_items: int) -> Words:
    limbs = word_bits(mechanism.epsilon) // 64
    count = num_items * mechanism.num_words * limbs
    words = source.words(count)
    if words.dtype != np.uint64 or words.shape != (count,):
        raise TypeError(
            f"Expected a source of {count} words of type uint64, got {words.dtype} of shape {words.shape}; every word must be "
            f"uniform over all 64 bits."
        )
    if limbs == 1:
        return words.reshape(num_items, mechanism.num_words)
    pairs = words.reshape(num_items, mechanism.num_words, 2).astype(object)
    return pairs[..., 0] * 2**64 + pairs[..., 1]
