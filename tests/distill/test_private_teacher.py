"""DP-SGD and the moment release: one record moves what is released by no more than the clip, and the noise is secret."""

import itertools
import math

import numpy as np
import pytest
import torch
from torch import nn

from distill import data, models, private_teacher
from distill.config import Data, PrivateTraining
from distill.moments import _vectors, grid_limit, on_grid, release_moments
from distill.private_teacher import add_noise, gaussian, poisson_sample, train_privately
from distill.progress import RunProgress
from labeldp import SeededSource, SystemSource

SHORT = PrivateTraining(steps=3, batch_size=16, sampling_probability=0.25)
CLIP = 6.0


class Silent:
    def advance(self, n: int = 1, **figures: float) -> None: ...


@pytest.fixture(scope="module")
def digits() -> data.Dataset:
    return data.load(Data())


def network(seed: int = 0) -> nn.Module:
    return models.build(
        "tanh-convnet", shape=(1, 8, 8), num_classes=10, generator=torch.Generator().manual_seed(seed)
    )


def trained(
    digits, source, *, n: int = 64, noise: float = 1.0, settings: PrivateTraining = SHORT
) -> torch.Tensor:
    """All weights after a short training, as one vector."""
    made = train_privately(
        network(),
        digits.train_images[:n],
        digits.train_labels[:n],
        settings=settings,
        noise_multiplier=noise,
        source=source,
        phase=Silent(),
    )
    return torch.cat([parameter.detach().flatten() for parameter in made.parameters()])


def one_step(digits, n: int, *, clip: float) -> torch.Tensor:
    """The sum of clipped gradients of the first n records, from a step on all of them without noise."""
    settings = PrivateTraining(
        steps=1, sampling_probability=1.0, batch_size=1, learning_rate=1.0, momentum=0.0, clip=clip
    )
    before = torch.cat([parameter.detach().flatten() for parameter in network().parameters()])
    return before - trained(digits, SeededSource(0), n=n, noise=0.0, settings=settings)


def largest_effect(digits, clip: float) -> float:
    """How far one record moves the sum, at most, over records added one after the other."""
    sums = [one_step(digits, n, clip=clip) for n in range(1, 6)]
    return max(float((after - before).norm()) for before, after in itertools.pairwise(sums))


def test_one_record_moves_the_sum_of_gradients_by_no_more_than_the_clip(digits) -> None:
    for clip in (0.01, 0.2):
        assert largest_effect(digits, clip) <= clip * (1 + 1e-4)
    # the twin: without a clip to speak of it moves it further
    assert largest_effect(digits, 1e9) > 0.3


def test_samples_are_poisson() -> None:
    """Sizes vary as those of independent records do; a fixed size would not."""
    source = SeededSource(0)
    chosen = [poisson_sample(200, 0.25, source) for _ in range(400)]
    sizes = np.array([len(one) for one in chosen])
    assert abs(sizes.mean() - 50) < 4 * math.sqrt(200 * 0.25 * 0.75 / 400)
    assert 0.7 < sizes.var() / (200 * 0.25 * 0.75) < 1.35
    shares = np.bincount(np.concatenate(chosen), minlength=200) / 400
    assert abs(shares - 0.25).max() < 5 * math.sqrt(0.25 * 0.75 / 400)
    fixed = np.full(400, 50)  # the twin
    assert not 0.7 < fixed.var() / (200 * 0.25 * 0.75) < 1.35


def test_a_probability_is_never_exceeded() -> None:
    class Words:
        def words(self, count, context=None):
            return np.array([0, 2**62 - 1, 2**62, 2**64 - 1], dtype=np.uint64)

    assert poisson_sample(4, 0.25, Words()).tolist() == [0, 1]
    assert poisson_sample(4, 1.0, Words()).tolist() == [0, 1, 2, 3]


def test_every_step_takes_a_sample_of_its_own(digits, monkeypatch) -> None:
    sizes = []

    def noted(n, probability, source):
        chosen = poisson_sample(n, probability, source)
        sizes.append(len(chosen))
        return chosen

    monkeypatch.setattr(private_teacher, "poisson_sample", noted)
    trained(
        digits, SeededSource(1), settings=PrivateTraining(steps=12, sampling_probability=0.25, batch_size=16)
    )
    assert len(sizes) == 12
    assert len(set(sizes)) > 3


def test_an_empty_sample_still_gets_noise(digits) -> None:
    settings = PrivateTraining(steps=2, sampling_probability=1e-12, batch_size=1)
    before = torch.cat([parameter.detach().flatten() for parameter in network().parameters()])
    after = trained(digits, SystemSource(), settings=settings)
    assert torch.isfinite(after).all()
    assert (after != before).float().mean() > 0.9


def test_noise_is_secret_unless_seeded(digits) -> None:
    assert not torch.equal(trained(digits, SystemSource()), trained(digits, SystemSource()))
    assert torch.equal(trained(digits, SeededSource(5)), trained(digits, SeededSource(5)))
    # torch's own generator plays no part
    torch.manual_seed(1)
    first = trained(digits, SystemSource())
    torch.manual_seed(1)
    assert not torch.equal(first, trained(digits, SystemSource()))


def test_noise_has_the_deviation_it_should(digits) -> None:
    made = network()
    for parameter in made.parameters():
        parameter.grad = torch.zeros_like(parameter)
    add_noise(made, 0.3, 4, SeededSource(2))
    drawn = torch.cat([parameter.grad.flatten() for parameter in made.parameters()])
    assert abs(float(drawn.std()) - 0.3 / 4) < 0.075 * 4 / math.sqrt(2 * len(drawn))
    numbers = gaussian(100_000, SeededSource(2))
    assert abs((numbers**4).mean() - 3) < 0.15
    assert abs(numbers.mean()) < 0.02


def integers(digits, n: int, *, limit: int) -> np.ndarray:
    made = network()
    layers = [layer for layer in made.modules() if isinstance(layer, models.FeatureMoments)]
    return on_grid(_vectors(made, layers, digits.train_images[:n], Silent()), clip=CLIP, limit=limit)


def test_one_record_moves_the_sum_of_moments_by_no_more_than_the_limit(digits) -> None:
    """In integers, and exactly: the sums with and without each of the records."""
    limit = grid_limit(5.0)
    rows = integers(digits, 30, limit=limit)
    for left_out in range(30):
        others = np.delete(rows, left_out, axis=0)
        difference = rows.sum(axis=0) - others.sum(axis=0)
        assert int(difference @ difference) <= limit**2
    # and no record looks at another
    np.testing.assert_array_equal(integers(digits, 12, limit=limit), rows[:12])


def test_records_of_every_size_are_clipped() -> None:
    rng = np.random.default_rng(0)
    limit = grid_limit(5.0)
    vectors = rng.normal(size=(300, 193)) * 10.0 ** rng.uniform(-6, 6, size=(300, 1))
    squares = np.square(on_grid(vectors, clip=CLIP, limit=limit)).sum(axis=1)
    assert squares.max() <= limit**2
    assert squares.max() > 0.999 * limit**2
    # the twin: not clipped, these would pass the limit
    assert np.square(np.trunc(vectors * (limit / CLIP))).sum(axis=1).max() > limit**2
    assert (on_grid(np.zeros((1, 193)), clip=CLIP, limit=limit) == 0).all()


def test_released_moments_are_near_the_true_ones_and_noisy(digits) -> None:
    def released(noise: float) -> tuple[np.ndarray, np.ndarray]:
        made = network().eval()
        source = SeededSource(0)
        release_moments(
            made, digits.train_images[:600], noise=noise, clip=20.0, source=source, phase=Silent()
        )
        layer = next(layer for layer in made.modules() if isinstance(layer, models.FeatureMoments))
        true, squares = layer.moments(torch.as_tensor(digits.train_images[:600]))
        found = torch.cat([layer.first - true.mean(0), layer.second - squares.mean(0)])
        assert layer.released.item() == 1
        return found.numpy(), torch.cat([layer.first, layer.second]).numpy()

    fine, values = released(1e-3)
    assert abs(fine).max() < 1e-3 < abs(values).max()
    coarse, _ = released(5.0)
    assert 0.5 < coarse.std() / (5.0 * 20.0 / 600) < 2


def test_a_private_teacher_trains_on_real_digits(digits) -> None:
    settings = PrivateTraining()
    made = train_privately(
        network(),
        digits.train_images,
        digits.train_labels,
        settings=PrivateTraining(steps=60),
        noise_multiplier=2.0,
        source=SeededSource(0),
        phase=Silent(),
    )
    from distill.train import accuracy

    assert settings.steps > 60
    assert accuracy(made, digits.train_images, digits.train_labels) > 0.6
    assert not [name for name in vars(next(made.parameters())) if "grad_sample" in name]


def test_progress_is_shown(digits) -> None:
    progress = RunProgress(quiet=True)
    with progress.phase("teacher", total=2) as phase:
        train_privately(
            network(),
            digits.train_images[:32],
            digits.train_labels[:32],
            settings=PrivateTraining(steps=2, sampling_probability=0.5, batch_size=16),
            noise_multiplier=1.0,
            source=SeededSource(0),
            phase=phase,
        )
    assert [row["phase"] for row in progress.figures if "loss" in row] == ["teacher"]
