"""Random smooth fields and ranges: what the sources without a teacher are made of."""

from typing import Protocol

import torch
from torch import Tensor
from torch.nn.functional import interpolate


class Uniform(Protocol):
    """Draws one number for each image, (n, 1, 1, 1), uniform between the two."""

    def __call__(self, low: float, high: float) -> Tensor: ...


def uniform(n: int, generator: torch.Generator) -> Uniform:
    """Returns a function that draws n numbers between its two arguments, one for each image."""

    def draw(low: float, high: float) -> Tensor:
        drawn = torch.rand((n, 1, 1, 1), generator=generator, device=generator.device)
        return low + (high - low) * drawn

    return draw


def smooth_field(
    n: int, size: tuple[int, int], *, coarsest: int, finest: int, generator: torch.Generator
) -> Tensor:
    """Returns n random smooth fields (n, 1, H, W): normal draws on a small grid, enlarged bicubically.

    Each field draws the side of its grid between `coarsest` and `finest`.
    """
    device = generator.device
    sides = torch.randint(coarsest, finest + 1, (n,), generator=generator, device=device)
    counts = torch.bincount(sides - coarsest, minlength=finest - coarsest + 1).tolist()
    parts = [
        interpolate(
            torch.randn((count, 1, side, side), generator=generator, device=device),
            size=size,
            mode="bicubic",
            align_corners=True,
        )
        for side, count in enumerate(counts, start=coarsest)
        if count
    ]
    fields = torch.empty(
        (n, 1, *size), device=device
    )  # enlarged one side after the other, then put in their places
    if parts:
        fields[sides.argsort(stable=True)] = torch.cat(parts)
    return fields
