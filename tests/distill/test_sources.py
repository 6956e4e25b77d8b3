"""Every source of the pool keeps one contract: shape, range, no repeats, repeatable, and who may look at the teacher."""

import time

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from distill import config, models
from distill.checkpoint import UNSAVED
from distill.generator import _live, _Stack, discriminator, trajectory
from distill.pool import Pool, build_pool
from distill.progress import RunProgress
from distill.randomness import stream
from distill.smooth import smooth_field
from distill.sources import INDEPENDENT, SOURCES, WITH_TEACHER
from distill.train import predict
from tests.distill.test_pool import QUIET, Untouchable
from tests.distill.test_train import no_global_draws

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 7)]
FEW = config.Generator(steps=12, restart=6, warmup=2, batch_size=16)
N = 60


def teacher(shape: tuple[int, int, int], classes: int = 4) -> nn.Module:
    return models.build("mlp", shape=shape, num_classes=classes, generator=stream(0, "teacher")).eval()


def made(
    name: str, shape: tuple[int, int, int], *, n: int = N, seed: int = 0, model=None, classes: int = 4
) -> Pool:
    weights = {source: float(source == name) for source in SOURCES}
    return build_pool(
        model or teacher(shape),
        config.Pool(size=n, **weights),
        FEW,
        shape=shape,
        num_classes=classes,
        seed=seed,
        progress=QUIET,
    )


def repeats(images: Tensor) -> int:
    return len(images) - len(torch.unique(images.flatten(1), dim=0))


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", SOURCES)
def test_a_source_makes_different_images_of_the_shape_and_repeats_by_seed(name: str, shape) -> None:
    with no_global_draws():
        pool, again, other = made(name, shape), made(name, shape), made(name, shape, seed=1)
    assert pool.images.shape == (N, *shape)
    assert pool.images.dtype == torch.uint8
    assert {pool.sources[origin] for origin in pool.origin} == {name}
    assert repeats(pool.images) == 0
    assert repeats(torch.cat([pool.images, again.images])) == N  # the twin: a repeat is counted
    assert torch.equal(pool.images, again.images)
    assert not torch.equal(pool.images, other.images)
    assert pool.images.float().std() > 10  # of 255: not all the same grey


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32)], ids=str)
@pytest.mark.parametrize("name", INDEPENDENT)
def test_independent_images_are_in_range_finite_and_their_own(name: str, shape) -> None:
    images = INDEPENDENT[name](200, shape, config.Pool(cut=0.5), stream(0, "x"))
    assert images.shape == (200, *shape)
    assert images.dtype == torch.float32
    assert images.isfinite().all()
    assert images.min() >= 0
    assert images.max() <= 1
    assert images.flatten(1).std(dim=0).min() > 0.001  # no pixel is always the same
    assert len(INDEPENDENT[name](0, shape, config.Pool(), stream(0, "x"))) == 0


@pytest.mark.parametrize("name", INDEPENDENT)
def test_a_pool_without_the_teacher_says_so_and_never_asks_it(name: str) -> None:
    pool = made(name, (1, 8, 8), model=Untouchable())
    assert not pool.made_with_teacher
    assert (pool.bank == -1).all()
    other = made(name, (1, 8, 8), model=teacher((1, 8, 8), classes=4))
    assert torch.equal(pool.images, other.images)


@pytest.mark.parametrize("name", WITH_TEACHER)
def test_a_pool_with_the_teacher_asks_it_and_says_so(name: str) -> None:
    """The twin of the above: the untouchable teacher does notice."""
    with pytest.raises(AssertionError, match="was asked"):
        made(name, (1, 8, 8), model=Untouchable())
    assert made(name, (1, 8, 8)).made_with_teacher


def test_one_pixel_of_the_teacher_taints_the_whole_pool() -> None:
    settings = config.Pool(size=50, trajectory=0, procedural=0.98, refined=0.02)
    pool = build_pool(
        teacher((1, 8, 8)), settings, FEW, shape=(1, 8, 8), num_classes=4, seed=0, progress=QUIET
    )
    assert (pool.origin == SOURCES.index("refined")).sum() == 1
    assert pool.made_with_teacher


def test_rows_of_one_bank_image_are_told() -> None:
    """With hardly any noise, the nearest bank image of each row says of which it is a variation."""
    model, size = teacher((1, 8, 8)), 300
    bank = trajectory(model, FEW, shape=(1, 8, 8), seed=0, progress=QUIET)
    settings = config.Pool(size=size, trajectory=2, strokes=1, mixed=0, pixel_noise=0.01)
    pool = build_pool(model, settings, FEW, shape=(1, 8, 8), num_classes=4, seed=0, progress=QUIET)
    varied = pool.origin == SOURCES.index("trajectory")
    images = pool.images[torch.from_numpy(varied)].flatten(1).float()
    nearest = torch.cdist(images, bank.flatten(1).float()).argmin(dim=1).numpy()
    np.testing.assert_array_equal(pool.bank[varied], nearest)
    assert (pool.bank[~varied] == -1).all()
    rows = np.bincount(nearest, minlength=len(bank))
    assert set(rows) == {1, 2}  # the walk passes every image before it passes one again
    walk = np.random.default_rng(0).integers(len(bank), size=len(nearest))  # the twin: a walk that does not
    assert set(np.bincount(walk, minlength=len(bank))) > {1, 2}


def test_refined_images_start_from_the_independent_sources_of_the_pool() -> None:
    """Strokes refined by no step at all stay strokes: dark nearly everywhere, as shapes are not."""

    def brightness(**weights: float) -> float:
        settings = config.Pool(
            size=200, trajectory=0, refined=1, refinement_steps=1, refinement_batch_norm=0, **weights
        )
        pool = build_pool(
            teacher((1, 28, 28)), settings, FEW, shape=(1, 28, 28), num_classes=4, seed=0, progress=QUIET
        )
        chosen = torch.from_numpy(pool.origin == SOURCES.index("refined"))
        return float((pool.images[chosen] > 128).float().mean())

    assert brightness(strokes=0.5) < 0.18 < brightness(procedural=0.5)
    assert brightness(strokes=0.5) < brightness(strokes=0.25, procedural=0.25) < brightness()


def entropy(answers: np.ndarray, classes: int) -> float:
    shares = np.bincount(answers, minlength=classes) / len(answers)
    return float(-(shares * np.log(shares, where=shares > 0, out=np.zeros(classes))).sum())


@pytest.fixture(scope="module")
def digits_teacher() -> nn.Module:
    from distill import data
    from distill.teacher import train_teacher

    dataset = data.load(config.Data())
    return train_teacher(dataset, config.Teacher(epochs=8), seed=0, progress=QUIET)


def shares_of(model: nn.Module, **generator: float) -> float:
    settings = config.Generator(steps=120, restart=60, warmup=20, batch_size=64, **generator)
    bank = trajectory(model, settings, shape=(1, 8, 8), seed=0, progress=QUIET)
    return entropy(predict(model, bank).argmax(axis=1), 10)


def test_the_generator_shows_all_classes(digits_teacher) -> None:
    """Without the balance term the same check sees the collapse."""
    assert shares_of(digits_teacher) > 0.9 * np.log(10)
    assert shares_of(digits_teacher, entropy=0.0, pseudo_label=5.0, batch_norm=0.0) < 0.7 * np.log(10)


@pytest.mark.parametrize(("name", "least"), [("refined", 0.8), ("procedural", 0.3), ("strokes", 0.3)])
def test_no_source_shows_one_class_only(digits_teacher, name: str, least: float) -> None:
    """Refined images are balanced by the classes drawn for them; the independent ones know of no class."""
    pool = made(name, (1, 8, 8), n=400, model=digits_teacher, classes=10)
    assert entropy(predict(digits_teacher, pool.images).argmax(axis=1), 10) > least * np.log(10)


def test_generators_side_by_side_are_generators_one_after_the_other() -> None:
    """The first of a stack sees other latent vectors, but the same law: sizes agree, and one alone is the same bits."""
    model = teacher((1, 8, 8))
    alone = trajectory(model, FEW, shape=(1, 8, 8), seed=0, progress=QUIET)
    settings = config.Generator(steps=15, restart=6, warmup=2, batch_size=16, parallel=3)
    progress = RunProgress(quiet=True)
    together = trajectory(model, settings, shape=(1, 8, 8), seed=0, progress=progress)
    assert len(together) == settings.kept == (2 * 4 + 1) * 16
    assert alone.float().mean().item() == pytest.approx(together.float().mean().item(), rel=0.1)
    assert repeats(together) == 0


def test_a_stack_of_generators_learns_as_each_alone() -> None:
    """With the weights and latent vectors of both, a stack makes what each makes alone."""
    model, size = teacher((1, 8, 8)), (1, 8, 8)
    settings = config.Generator(steps=3, restart=3, warmup=0, batch_size=8)
    drawn = torch.randn(3, 2, 8, 100, generator=stream(0, "z"))

    def live(chosen: list[int]) -> Tensor:
        streams = {"weights": stream(0, "w"), "latents": stream(0, "z")}
        stack = _Stack(2, settings, size, streams["weights"], torch.device("cpu"))
        for tensors in (stack.parameters, stack.buffers):
            for name in tensors:
                tensors[name].data = tensors[name].data[chosen]
        stack.count = len(chosen)
        steps, kept = iter(drawn), []  # each generator gets the same vectors, whoever lives beside it
        with discriminator(model) as look, pytest.MonkeyPatch.context() as patch:
            patch.setattr(torch, "randn", lambda *_, **__: next(steps)[chosen])
            with QUIET.phase("x", 6) as phase:
                _live(stack, 3, look, settings, streams, phase, kept, UNSAVED, 0)
        return torch.stack(kept).view(3, len(chosen), 8, *size)

    both, first, second = live([0, 1]), live([0]), live([1])
    assert (both[:, 0].float() - first[:, 0].float()).abs().max() <= 1
    assert (both[:, 1].float() - second[:, 0].float()).abs().max() <= 1
    assert (first.float() - second.float()).abs().max() > 1


def test_a_smooth_field_is_smooth() -> None:
    field = smooth_field(50, (28, 28), coarsest=2, finest=4, generator=stream(0, "x"))
    rough = torch.randn(50, 1, 28, 28, generator=stream(0, "x"))
    step = [values.diff(dim=-1).square().mean() / values.square().mean() for values in (field, rough)]
    assert step[0] < 0.1 < step[1]


def test_ten_thousand_images_take_seconds() -> None:
    """A smoke test: CPU time of this process, with a wide margin."""
    for name in INDEPENDENT:
        start = time.process_time()
        made(name, (1, 28, 28), n=5000)
        assert time.process_time() - start < 5
