"""Records made of any 32 bits: what one of them moves stays within the clip, and nothing becomes infinite."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from distill import data, models, private_teacher
from distill.config import Data, PrivateTraining
from distill.moments import grid_limit, on_grid, release_moments
from distill.private_teacher import train_privately
from distill.train import pixels, pixels_of_records
from labeldp import SeededSource

CLIP = 6.0
BITS = st.one_of(
    st.integers(0, 2**32 - 1), st.sampled_from([0x7FC00000, 0x7F800000, 0xFF800000, 0x7F7FFFFF, 1])
)
ODD = [float("nan"), float("inf"), -float("inf"), 3e38, -3e38, 1e25]


class Counted:
    """A phase that adds up how far it came."""

    def __init__(self) -> None:
        self.done = 0

    def advance(self, n: int = 1, **figures: float) -> None:
        self.done += n


def network() -> torch.nn.Module:
    return models.build(
        "tanh-convnet", shape=(1, 8, 8), num_classes=10, generator=torch.Generator().manual_seed(0)
    )


@given(arrays.arrays(np.uint32, (3, 5), elements=BITS))
@settings(deadline=None)
def test_integers_of_any_vector_keep_the_limit(bits: np.ndarray) -> None:
    limit = grid_limit(5.0)
    vectors = bits.view(np.float32).astype(np.float64)
    integers = on_grid(vectors, clip=CLIP, limit=limit)
    assert np.square(integers).sum(axis=1).max() <= limit**2
    for row, vector in zip(integers, vectors, strict=True):  # and each by itself
        np.testing.assert_array_equal(on_grid(vector[None], clip=CLIP, limit=limit)[0], row)


def test_numbers_beyond_float32_keep_the_limit() -> None:
    vectors = np.array([[1.0, 1e300, -1e300], [np.nan, 1.0, 1.0], [np.inf, 1.0, 1.0]])
    assert (on_grid(vectors, clip=CLIP, limit=1000) == 0).all()
    with np.errstate(all="ignore"):  # the twin: clipped without a look, what is no number becomes a large one
        assert abs(np.trunc(vectors[1:] * 1000).astype(np.int64).astype(float)).max() > 1000


@given(arrays.arrays(np.uint32, (2, 1, 2, 2), elements=BITS))
@settings(deadline=None)
def test_pixels_of_any_bits_are_brought_into_range_one_record_by_itself(bits: np.ndarray) -> None:
    images = bits.view(np.float32)
    cleaned = pixels_of_records(images)
    assert bool(((cleaned >= 0) & (cleaned <= 1)).all())
    assert torch.equal(pixels_of_records(images[:1]), cleaned[:1])
    fine = torch.rand(2, 1, 2, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(pixels_of_records(fine), pixels(fine))


@pytest.mark.parametrize("odd", ODD)
def test_moments_of_odd_records_are_finite(odd: float) -> None:
    images = data.load(Data()).train_images[:6].copy()
    images[0, 0, 0, 0] = odd
    made, phase = network().eval(), Counted()
    release_moments(made, images, noise=8.0, clip=CLIP, source=SeededSource(0), phase=phase)
    assert all(bool(buffer.isfinite().all()) for buffer in made.buffers())
    assert phase.done == 100  # also for six records: how many there are is shown nowhere


def step(images: np.ndarray) -> torch.Tensor:
    """The sum of clipped gradients of one noiseless step on all records."""
    made = network()
    before = torch.cat([parameter.detach().flatten() for parameter in made.parameters()])
    train_privately(
        made,
        images,
        np.zeros(len(images), dtype=int),
        settings=PrivateTraining(
            steps=1, sampling_probability=1.0, batch_size=1, learning_rate=1.0, momentum=0.0, averaging=0.0
        ),
        noise_multiplier=0.0,
        source=SeededSource(0),
        phase=Counted(),
    )
    return before - torch.cat([parameter.detach().flatten() for parameter in made.parameters()])


def odd_steps() -> list[float]:
    """How far each odd record moves the sum."""
    images = data.load(Data()).train_images[:3].copy()
    alone, lengths = step(images[1:]), []
    for odd in ODD:
        images[0] = odd
        lengths.append(float((step(images) - alone).norm()))
    return lengths


def test_a_record_of_odd_pixels_moves_the_sum_by_no_more_than_the_clip() -> None:
    assert max(odd_steps()) <= PrivateTraining().clip * (1 + 1e-4)


def test_gradients_that_are_not_finite_are_dropped_with_their_record(monkeypatch) -> None:
    """Also where they come from elsewhere than the pixels; and the twin, without either defence, is seen."""
    monkeypatch.setattr(private_teacher, "pixels_of_records", pixels)
    assert max(odd_steps()) <= PrivateTraining().clip * (1 + 1e-4)
    monkeypatch.setattr(private_teacher, "drop_infinite", lambda network: None)
    assert not max(odd_steps()) <= PrivateTraining().clip * (1 + 1e-4)
