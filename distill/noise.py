"""Noise made without any teacher or data: smooth and white."""

import torch
from torch import Tensor

from distill.smooth import smooth_field, uniform


def noise(n: int, shape: tuple[int, int, int], *, generator: torch.Generator) -> Tensor:
    """Returns n images (n, C, H, W) in [0, 1]: half of them smooth, half white, of a random level and contrast."""
    between = uniform(n, generator)
    channels, *size = shape
    finest = max(2, min(size) // 2)
    fields = smooth_field(n * channels, (size[0], size[1]), coarsest=2, finest=finest, generator=generator)
    white = torch.randn((n, *shape), generator=generator, device=generator.device)
    chosen = torch.where(between(0, 1) < 0.5, fields.view(n, *shape), white)
    return (between(0.2, 0.8) + between(0.05, 0.4) * chosen).clamp(0, 1)
