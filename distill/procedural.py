"""Images made without any teacher or data: one soft shape on a dark ground, with a texture inside.

The law of these images is a guess about the domain ("one object, centred, brighter than its ground"), fixed in
this file. Its ranges were tuned by hand on Fashion-MNIST, a public data set: for other data nothing in it depends
on a record; for Fashion-MNIST itself that holds only as far as such a data set counts as public.
"""

import torch
from torch import Tensor
from torch.nn.functional import interpolate

_CHUNK = 1024


def images(n: int, shape: tuple[int, int, int], *, cut: float, generator: torch.Generator) -> Tensor:
    """Returns n random images (n, C, H, W), floats in [0, 1].

    Args:
        cut: share of the images that are two shapes joined along a random smooth line.
    """
    chunks = [
        _chunk(min(_CHUNK, n - start), shape, cut=cut, generator=generator) for start in range(0, n, _CHUNK)
    ]
    return torch.cat(chunks) if chunks else torch.empty((0, *shape))


def _chunk(n: int, shape: tuple[int, int, int], *, cut: float, generator: torch.Generator) -> Tensor:
    one = _shapes(n, shape, generator)
    joined = torch.rand((n, 1, 1, 1), generator=generator) < cut
    if not joined.any():
        return one
    side = smooth_field(n, shape[1:], coarsest=2, finest=4, generator=generator) > 0
    other = one.roll(1, dims=0)  # already independent of its neighbour: no need to draw more
    return torch.where(joined & side, other, one)


def _shapes(n: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    _, height, width = shape

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand((n, 1, 1, 1), generator=generator)

    def field(coarsest: int, finest: int) -> Tensor:
        return smooth_field(n, (height, width), coarsest=coarsest, finest=finest, generator=generator)

    slope = uniform(4, 20)
    outline = _superellipse(uniform, height, width) + uniform(0.2, 1.2) * field(2, 7)
    mask = torch.sigmoid(slope * outline)
    hole = torch.sigmoid(slope * (field(2, 5) - uniform(0.5, 2.0)))
    mask = torch.where(uniform(0, 1) < 0.5, mask * (1 - hole), mask)
    inside = _texture(n, shape, uniform, generator)
    result = (mask * inside).clamp(0, 1)
    return torch.where(uniform(0, 1) < 0.5, (result + result.flip(-1)).clamp(0, 1), result)


def _superellipse(uniform, height: int, width: int) -> Tensor:
    """Returns 1 at random centres, 0 on the edge of random superellipses, negative outside: (n, 1, H, W)."""
    across = torch.linspace(-1, 1, width).view(1, 1, 1, width)
    down = torch.linspace(-1, 1, height).view(1, 1, height, 1)
    exponent = uniform(1, 4)
    far = ((across - uniform(-0.2, 0.2)) / uniform(0.25, 1.15)).abs() ** exponent
    far = far + ((down - uniform(-0.2, 0.2)) / uniform(0.25, 1.15)).abs() ** exponent
    return 1 - far ** (1 / exponent)


def _texture(n: int, shape: tuple[int, int, int], uniform, generator: torch.Generator) -> Tensor:
    """Returns a level, plus a smooth field, plus pixel noise, for each channel: (n, C, H, W)."""
    channels, height, width = shape
    finest = max(2, min(height, width) // 2)
    fields = smooth_field(n * channels, (height, width), coarsest=2, finest=finest, generator=generator)
    noise = torch.randn((n, *shape), generator=generator)
    return uniform(0.2, 1.1) + uniform(0, 0.4) * fields.view(n, *shape) + uniform(0, 0.15) * noise


def smooth_field(
    n: int, size: tuple[int, int], *, coarsest: int, finest: int, generator: torch.Generator
) -> Tensor:
    """Returns n random smooth fields (n, 1, H, W): normal draws on a small grid, enlarged bicubically.

    Each field draws the side of its grid between `coarsest` and `finest`.
    """
    sides = torch.randint(coarsest, finest + 1, (n,), generator=generator)
    fields = torch.empty((n, 1, *size))
    for side in range(coarsest, finest + 1):
        chosen = (sides == side).nonzero().squeeze(1)
        if len(chosen):
            grid = torch.randn((len(chosen), 1, side, side), generator=generator)
            fields[chosen] = interpolate(grid, size=size, mode="bicubic", align_corners=True)
    return fields
