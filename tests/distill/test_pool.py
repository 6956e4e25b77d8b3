"""Generator and pool: what looks at the teacher, what does not, and that nothing is left behind."""

import numpy as np
import pytest
import torch
from torch import nn

from distill import config, models
from distill.generator import discriminator, refine, trajectory
from distill.pool import build_pool
from distill.progress import RunProgress
from distill.randomness import stream
from tests.distill.test_train import no_global_draws

SHAPE = (1, 8, 8)
QUIET = RunProgress(quiet=True)
FEW = config.Generator(steps=12, restart=6, warmup=2, batch_size=16)


def teacher(name: str = "mlp") -> nn.Module:
    return models.build(name, shape=SHAPE, num_classes=4, generator=stream(0, "teacher")).train()


def pool(settings: config.Pool, model: nn.Module | None = None, seed: int = 0):
    return build_pool(
        model or teacher(), settings, FEW, shape=SHAPE, num_classes=4, seed=seed, progress=QUIET
    )


class Untouchable(nn.Module):
    """A teacher that must not be asked."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, images):
        raise AssertionError("the teacher was asked")


def test_the_teacher_comes_back_as_it_was() -> None:
    model = teacher()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(RuntimeError, match="stop"), discriminator(model) as look:
        logits, distance = look(torch.rand(8, *SHAPE))
        assert logits.shape == (8, 4)
        assert distance > 0
        assert not any(parameter.requires_grad for parameter in model.parameters())
        raise RuntimeError("stop")
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert model.training
    assert not any(layer._forward_pre_hooks for layer in model.modules())


def test_the_batch_norm_distance_is_zero_on_its_own_statistics() -> None:
    layer = nn.BatchNorm1d(3)
    values = torch.randn(1000, 3, generator=torch.Generator().manual_seed(0))
    layer.running_mean, layer.running_var = values.mean(dim=0), values.var(dim=0, correction=0)
    with discriminator(nn.Sequential(layer)) as look:
        assert look(values)[1] < 1e-5
        assert look(values + 1)[1] > 1
    with discriminator(nn.Sequential(nn.Linear(3, 3))) as look:
        assert look(values)[1] == 0


def test_trajectory_keeps_what_it_says_and_repeats() -> None:
    with no_global_draws():
        first, second = (trajectory(teacher(), FEW, shape=SHAPE, seed=0, progress=QUIET) for _ in range(2))
    assert first.shape == (FEW.kept, *SHAPE) == (2 * 4 * 16, *SHAPE)
    assert first.dtype == torch.uint8
    assert torch.equal(first, second)
    assert not torch.equal(first, trajectory(teacher(), FEW, shape=SHAPE, seed=1, progress=QUIET))


def test_refining_makes_the_teacher_surer_of_what_was_drawn() -> None:
    model = teacher().eval()
    start = (torch.rand(64, *SHAPE, generator=torch.Generator().manual_seed(0)) * 255).to(torch.uint8)
    refined = refine(model, start, num_classes=4, steps=8, batch_norm=0.0, generator=stream(0, "goals"))
    goals = torch.randint(4, (64,), generator=stream(0, "goals"))
    with torch.no_grad():
        losses = [
            nn.functional.cross_entropy(model(images.float() / 255), goals) for images in (start, refined)
        ]
    assert losses[1] < losses[0]


@pytest.mark.parametrize(
    ("weights", "with_teacher"),
    [
        ({"trajectory": 1}, True),
        ({"trajectory": 0, "procedural": 1}, False),
        ({"trajectory": 0, "refined": 1}, True),
        ({"trajectory": 1, "procedural": 2, "refined": 1}, True),
    ],
)
def test_pools_have_the_size_and_the_mixture_asked_for(weights, with_teacher: bool) -> None:
    settings = config.Pool(size=120, **weights)
    with no_global_draws():
        made = pool(settings, None if with_teacher else Untouchable())
    assert made.images.shape == (120, *SHAPE)
    assert made.images.dtype == torch.uint8
    assert made.made_with_teacher is with_teacher
    total = sum(weights.values())
    counts = dict(zip(made.sources, np.bincount(made.origin, minlength=5), strict=True))
    assert all(abs(counts[name] - 120 * weight / total) <= 1 for name, weight in weights.items())
    assert len(torch.unique(made.images.flatten(1), dim=0)) == 120
    assert torch.equal(made.images, pool(settings, None if with_teacher else Untouchable()).images)


def test_the_untouchable_teacher_would_be_noticed() -> None:
    """The twin: a pool made with the teacher does ask it."""
    with pytest.raises(AssertionError, match="was asked"):
        pool(config.Pool(size=20, trajectory=0, refined=1), Untouchable())


def test_a_source_that_runs_dry_says_so() -> None:
    with pytest.raises(ValueError, match="different images"):
        pool(config.Pool(size=1000, pixel_noise=0, mixed=0))


def test_procedural_images_fill_the_range() -> None:
    images = pool(config.Pool(size=500, trajectory=0, procedural=1)).images.float() / 255
    assert 0.1 < images.mean() < 0.6
    assert 0.2 < images.std() < 0.5
