"""A teacher that is itself private: DP-SGD, and one release of moments for the generator.

Gradients of single records and their clipping are Opacus's. Its random numbers are not: torch's generator on the CPU has a
seed of 32 bits, whatever it is given, and is no secret. Which records a step takes and the noise on their sum come from the
sources of labeldp.
"""

import copy
from fractions import Fraction

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from distill.config import PrivateTraining
from distill.train import Phase, device_of, follow, pixels_of_records
from labeldp.release.randomness import Source

_REPORT_EVERY = 20


def train_privately(
    network: nn.Module,
    images: Tensor | np.ndarray,
    labels: Tensor | np.ndarray,
    *,
    settings: PrivateTraining,
    noise_multiplier: float,
    source: Source,
    phase: Phase,
) -> nn.Module:
    """Trains a network in place by DP-SGD and returns it, in eval mode: the last weights, chosen by nothing.

    Args:
        network: returns logits (n, K); without layers that mix records.
        images: (n, C, H, W).
        labels: (n,).
        settings: constants fixed without the data.
        noise_multiplier: standard deviation of the noise on a sum of gradients, against `settings.clip`.
        source: of samples and noise.
        phase: advances by one a step.

    Privacy: `accounting.Repeated(accounting.PoissonSubsampledGaussian(noise_multiplier, sampling_probability), steps)`, add or
    remove one record, in real arithmetic; the floats of gradients and noise are not covered.
    """
    from opacus import (
        GradSampleModule,
    )  # here: it takes seconds to import, and only a private teacher needs it
    from opacus.optimizers import DPOptimizer

    device = device_of(network)
    images, labels = torch.as_tensor(images).to(device), torch.as_tensor(labels).long().to(device)
    average = copy.deepcopy(network)
    watched = GradSampleModule(network, loss_reduction="sum")
    descent = torch.optim.SGD(network.parameters(), lr=settings.learning_rate, momentum=settings.momentum)
    # Opacus clips and sums; its own noise is switched off, and ours is added in the hook, before the weights move.
    optimizer = DPOptimizer(
        descent,
        noise_multiplier=0.0,
        max_grad_norm=settings.clip,
        expected_batch_size=settings.batch_size,
        loss_reduction="sum",
    )
    deviation = noise_multiplier * settings.clip
    optimizer.attach_step_hook(lambda _: add_noise(network, deviation, settings.batch_size, source))
    watched.train()
    for step in range(settings.steps):
        chosen = poisson_sample(len(images), settings.sampling_probability, source).to(device)
        batch = pixels_of_records(images[chosen]).requires_grad_(True)  # or torch warns about Opacus's hooks
        optimizer.zero_grad()
        loss = nn.functional.cross_entropy(watched(batch), labels[chosen], reduction="sum")
        loss.backward()
        drop_infinite(network)
        optimizer.step()
        if settings.averaging:
            follow(average, network, settings.averaging)
        report = step % _REPORT_EVERY == 0
        phase.advance(1, **({"loss": float(loss.detach()) / settings.batch_size} if report else {}))
    watched.to_standard_module()
    if settings.averaging:
        network.load_state_dict(average.state_dict())
    return network.eval()


def poisson_sample(n: int, probability: float, source: Source) -> Tensor:
    """Returns the numbers of the records that a step takes: each is in it with the probability, independently of the others.

    Privacy: exactly, and never with more than the probability: a word of 64 bits is compared with a threshold rounded down.
    """
    threshold = int(Fraction(probability) * 2**64)
    words = source.words(n)
    chosen = words < np.uint64(threshold) if threshold < 2**64 else np.ones(n, dtype=bool)
    return torch.from_numpy(np.flatnonzero(chosen))


def drop_infinite(network: nn.Module) -> None:
    """Sets the gradients of a record to zero where one of them is not finite: no clip would bring it back within its norm."""
    gradients: list[Tensor] = [vars(parameter)["grad_sample"] for parameter in network.parameters()]
    finite = torch.stack([each.flatten(1).isfinite().all(dim=1) for each in gradients]).all(dim=0)  # (n,)
    for each in gradients:
        each[~finite] = 0


def add_noise(network: nn.Module, deviation: float, batch_size: int, source: Source) -> None:
    """Adds Gaussian noise to the sums of clipped gradients, and divides them by the batch size, a public constant."""
    for parameter in network.parameters():
        assert parameter.grad is not None
        noise = deviation * gaussian(parameter.numel(), source)
        parameter.grad += torch.from_numpy(noise).to(parameter).view_as(parameter)
        parameter.grad /= batch_size


def gaussian(count: int, source: Source) -> npt.NDArray[np.float64]:
    """Returns independent normal numbers (count,), each a sum of four drawn by Box and Muller's method, halved.

    Sums of several keep the gaps between floats from giving away what the noise hides; that is a defence, no proof.

    Source: N. Holohan and S. Braghin, arXiv 2107.10138, section 5.1.
    """
    uniform = (source.words(4 * count) >> np.uint64(11)).reshape(4, count) * 2.0**-53
    radius = np.sqrt(-2 * np.log1p(-uniform[:2]))
    angle = 2 * np.pi * uniform[2:]
    return (radius * np.cos(angle) + radius * np.sin(angle)).sum(axis=0) / 2
