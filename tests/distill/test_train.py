"""The one trainer and its loss."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from distill import models
from distill.randomness import stream
from distill.train import accuracy, negative_log_likelihood, one_hot, predict, total_steps, train

SHAPE = (1, 8, 8)
SETTINGS = SimpleNamespace(epochs=2, batch_size=32, learning_rate=1e-2, weight_decay=0.0, averaging=0.0)


class Steps:
    """Counts steps."""

    def __init__(self) -> None:
        self.count, self.losses = 0, []

    def advance(self, n: int = 1, **figures: float) -> None:
        self.count += n
        self.losses += [figures["loss"]] if "loss" in figures else []


@contextmanager
def no_global_draws():
    """Fails if the global generators of torch or numpy are drawn from: no global seeds, anywhere."""
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    yield
    assert torch.equal(torch_state, torch.get_rng_state())
    assert (numpy_state == np.random.get_state()[1]).all()


def toy(n: int = 200):
    generator = torch.Generator().manual_seed(0)
    images = torch.rand(n, *SHAPE, generator=generator)
    labels = (images.mean(dim=(1, 2, 3)) * 1000).long() % 3
    return images, labels


def trained(likelihood, images, *, seed=0, settings=SETTINGS, steps=None):
    model = models.build("mlp", shape=SHAPE, num_classes=3, generator=stream(seed, "weights"))
    return train(
        model, images, likelihood, settings=settings, generator=stream(seed, "order"), phase=steps or Steps()
    )


def test_one_hot_likelihood_is_cross_entropy() -> None:
    logits = torch.randn(50, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    labels = torch.arange(50) % 4
    loss = negative_log_likelihood(logits, one_hot(labels, 4).double().log())
    torch.testing.assert_close(loss, nn.functional.cross_entropy(logits, labels))


def test_loss_is_the_likelihood_of_what_was_released() -> None:
    generator = torch.Generator().manual_seed(1)
    logits = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    likelihood = torch.rand(50, 4, generator=generator, dtype=torch.float64)
    expected = -(likelihood * torch.softmax(logits, dim=1)).sum(dim=1).log().mean()
    torch.testing.assert_close(negative_log_likelihood(logits, likelihood.log()), expected)


def test_an_answer_that_says_nothing_has_no_gradient() -> None:
    logits = torch.randn(
        5, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True
    )
    negative_log_likelihood(logits, torch.full((5, 4), 0.3).double().log()).backward()
    assert logits.grad is not None
    torch.testing.assert_close(logits.grad, torch.zeros_like(logits), atol=1e-12, rtol=0)
    informative = torch.tensor([[0.9, 0.1, 0.1, 0.1]]).double().log().expand(5, 4)
    logits.grad = None
    negative_log_likelihood(logits, informative).backward()
    assert logits.grad.abs().max() > 1e-3


def test_extreme_logits_and_impossible_classes_stay_finite() -> None:
    logits = torch.tensor([[1e4, -1e4, 0.0]], requires_grad=True)
    loss = negative_log_likelihood(logits, torch.tensor([[0.0, 1.0, 0.0]]).log())
    loss.backward()
    assert torch.isfinite(loss)
    assert logits.grad is not None
    assert torch.isfinite(logits.grad).all()


@pytest.mark.parametrize("averaging", [0.0, 0.9])
def test_training_repeats_to_the_last_bit(averaging: float) -> None:
    settings = SimpleNamespace(**{**vars(SETTINGS), "averaging": averaging})
    images, labels = toy()
    with no_global_draws():
        first, second = (
            trained(one_hot(labels, 3), images, settings=settings).state_dict() for _ in range(2)
        )
    assert all(torch.equal(first[name], second[name]) for name in first)
    other = trained(one_hot(labels, 3), images, settings=settings, seed=1).state_dict()
    assert not all(torch.equal(first[name], other[name]) for name in first)


def test_a_global_draw_would_be_seen() -> None:
    with pytest.raises(AssertionError), no_global_draws():
        torch.rand(1)


def test_the_scale_of_a_likelihood_row_does_not_matter() -> None:
    images, labels = toy()
    rows = one_hot(labels, 3) + 0.25
    scale = 2.0 ** (torch.arange(200)[:, None] % 5 - 60)
    first, second = trained(rows, images).state_dict(), trained(rows * scale, images).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_every_step_is_reported_and_the_loss_falls() -> None:
    images, labels = toy()
    settings = SimpleNamespace(**{**vars(SETTINGS), "epochs": 30})
    steps = Steps()
    model = trained(one_hot(labels, 3), images, settings=settings, steps=steps)
    assert steps.count == total_steps(200, settings) == 180
    assert steps.losses[-1] < steps.losses[0] / 2
    assert accuracy(model, images, labels) > 0.9
    assert not model.training


def test_one_prediction_does_not_depend_on_the_others() -> None:
    """The guarantee about one answer needs this; a model left in training mode is put into eval mode for it."""
    images, labels = toy()
    model = trained(one_hot(labels, 3), images).train()
    together = predict(model, images)
    alone = np.concatenate([predict(model, images[i : i + 1]) for i in range(20)])
    np.testing.assert_allclose(together[:20], alone, rtol=1e-4, atol=1e-6)
    assert model.training
    with torch.no_grad():  # the twin: in training mode the batch matters
        mixed = torch.softmax(model(images[:20]), dim=1).numpy()
    assert np.abs(mixed - together[:20]).max() > 1e-3


def test_bytes_and_floats_are_the_same_images() -> None:
    images, labels = toy()
    model = trained(one_hot(labels, 3), images)
    coarse = (images * 255).round().to(torch.uint8)
    np.testing.assert_array_equal(predict(model, coarse), predict(model, coarse.float() / 255))


@pytest.mark.parametrize(
    "likelihood",
    [
        torch.ones(3, 3),
        torch.ones(200),
        torch.zeros(200, 3),
        torch.full((200, 3), float("nan")),
        -torch.ones(200, 3),
        torch.full((200, 3), float("inf")),
    ],
    ids=["rows", "one-dimensional", "zero", "nan", "negative", "infinite"],
)
def test_bad_likelihoods_are_refused(likelihood) -> None:
    images, _ = toy()
    with pytest.raises(ValueError, match="likelihood"):
        trained(likelihood, images)


@pytest.mark.parametrize("name", ["mlp", "convnet", "convnet-small", "convnet-3", "resnet-18"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 7)])
def test_models_fit_any_image(name: str, shape) -> None:
    with no_global_draws():
        model = models.build(name, shape=shape, num_classes=7, generator=stream(0, "x"))
    assert model(torch.zeros(4, *shape)).shape == (4, 7)
    again = models.build(name, shape=shape, num_classes=7, generator=stream(0, "x"))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))


def test_weights_follow_the_law_of_torch() -> None:
    """The same spread as a layer that torch initialises itself."""
    ours = models.build("convnet", shape=(1, 28, 28), num_classes=10, generator=stream(0, "x"))
    for layer in ours.modules():
        if isinstance(layer, nn.Linear | nn.Conv2d):
            bound = layer.weight[0].numel() ** -0.5
            assert layer.weight.abs().max() <= bound
            if layer.weight.numel() > 5000:
                assert layer.weight.std().item() == pytest.approx(bound / 3**0.5, rel=0.03)


def test_an_unknown_model_is_refused() -> None:
    with pytest.raises(ValueError, match="mlp"):
        models.build("no such", shape=SHAPE, num_classes=3, generator=stream(0, "x"))
    with pytest.raises(TypeError, match="LayerNorm"):
        models.initialize(nn.LayerNorm(3), stream(0, "x"))
