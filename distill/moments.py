"""The moment release: one Gaussian release of what the generator should match, for a teacher without batch norm.

Each record gives one vector: a constant that counts it, and the features and their squares of every layer that holds moments.
The vectors are clipped, laid on a grid and summed as integers, and integer noise is added: the release is exact, and what
follows from it is post-processing. The number of records is never used; the noisy count takes its place.
"""

import math

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.exact_gaussian import rounded_normals
from distill.models import FeatureMoments
from distill.train import Phase, device_of, pixels_of_records
from labeldp.release.randomness import Source

DEVIATION_BITS = 24
"""The noise has a standard deviation of 2^24 steps of the grid."""

COUNT = 1.0
"""The coordinate that counts a record."""


def release_moments(
    teacher: nn.Module,
    images: Tensor | np.ndarray,
    *,
    noise: float,
    clip: float,
    source: Source,
    phase: Phase,
) -> None:
    """Releases the moments of the teacher's features over its training images, into the buffers of the teacher.

    Args:
        teacher: holds FeatureMoments; itself private, or the release says nothing about a record.
        images: (n, C, H, W).
        noise: standard deviation of the noise against `clip`.
        clip: largest norm of one record's vector; a constant chosen without the data.
        source: of the noise.
        phase: advances by 100 in all: the number of records is shown nowhere.

    Privacy: `accounting.Gaussian(noise)`, add or remove one record, given the teacher. Exactly: a record's vector is computed
    from that record alone, has at most the norm `clip` as integers, and meets exact Gaussian noise.
    """
    layers = [layer for layer in teacher.modules() if isinstance(layer, FeatureMoments)]
    vectors = _vectors(teacher, layers, images, phase)
    limit = grid_limit(noise)
    total = on_grid(vectors, clip=clip, limit=limit).sum(axis=0)
    noisy = total + rounded_normals(total.size, deviation_bits=DEVIATION_BITS, source=source)
    means = _means(noisy.astype(np.float64) * (clip / limit))
    start = 0
    for layer in layers:
        for buffer in (layer.first, layer.second):
            buffer.copy_(torch.from_numpy(means[start : start + len(buffer)]))
            start += len(buffer)
        layer.released.fill_(1)


def grid_limit(noise: float) -> int:
    """The largest norm of a record's integers: at most 2^DEVIATION_BITS / noise."""
    return math.floor(2**DEVIATION_BITS / noise)


def on_grid(vectors: npt.NDArray[np.float64], *, clip: float, limit: int) -> npt.NDArray[np.int64]:
    """Returns the vectors, clipped to the norm `clip`, as integers (n, m) whose norm is at most `limit`.

    A vector is scaled as a whole, its count with it, so that a clipped record only weighs less; one that is not finite weighs
    nothing. Rounding goes towards zero, and the norm is checked in integers.
    """
    vectors = np.where(np.isfinite(vectors).all(axis=1, keepdims=True), vectors, 0.0)
    with np.errstate(over="ignore"):  # an infinite norm scales to 0
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled = vectors * np.minimum(1.0, clip / np.maximum(norms, 1e-300))
    integers = np.trunc(scaled * (limit / clip)).astype(np.int64)
    while (excess := _squares(integers) > limit**2).any():
        integers[excess] = integers[excess] * 4095 // 4096  # floats overshot in the last place
    return integers


def _squares(integers: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Squared norms; below 2^62, as no entry exceeds 2^24 by much and there are fewer than 2^13."""
    return np.square(integers).sum(axis=1)


def _means(noisy: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Noisy sums over the noisy count; a count below one is taken as one."""
    return noisy[1:] * COUNT / max(noisy[0], COUNT)


@torch.no_grad()
def _vectors(
    teacher: nn.Module, layers: list[FeatureMoments], images: Tensor | np.ndarray, phase: Phase
) -> npt.NDArray[np.float64]:
    """Returns (n, m) float64, one record at a time: in a batch, the last bits of one may depend on the others."""
    device = device_of(teacher)
    seen: list[Tensor] = []

    def note(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        assert isinstance(layer, FeatureMoments)
        seen.extend(features[0] for features in layer.moments(inputs[0]))

    hooks = [layer.register_forward_pre_hook(note) for layer in layers]
    rows: list[npt.NDArray[np.float64]] = []
    records = torch.as_tensor(images).split(1) if len(images) else ()
    try:
        for number, image in enumerate(records, start=1):
            seen.clear()
            teacher(pixels_of_records(image.to(device)))
            rows.append(np.concatenate([[COUNT], torch.cat(seen).double().cpu().numpy()]))
            phase.advance(100 * number // len(records) - 100 * (number - 1) // len(records))
    finally:
        for hook in hooks:
            hook.remove()
    size = 1 + sum(2 * len(layer.first) for layer in layers)
    return np.array(rows, dtype=np.float64).reshape(-1, size)
