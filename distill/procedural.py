"""Shapes made without any teacher or data: a soft shape on a ground, with a texture inside.

The law of these images is a guess about the domain ("one object, centred, brighter than its ground"; in colour, a few
objects on a textured ground), fixed in this file. Its ranges were tuned by hand on Fashion-MNIST, a public data set: for
other data nothing in it depends on a record; for Fashion-MNIST itself that holds only as far as such a data set counts as
public.
"""

import torch
from torch import Tensor

from distill.smooth import Uniform, smooth_field, uniform

_LAYERS = 2  # objects on the ground of a colour image, the later ones in front


def shapes(n: int, shape: tuple[int, int, int], *, cut: float, generator: torch.Generator) -> Tensor:
    """Returns n random images (n, C, H, W), floats in [0, 1].

    Args:
        cut: share of the images that are two images joined along a random smooth line.
    """
    joined = torch.rand((n,), generator=generator, device=generator.device) < cut
    pairs = int(joined.sum())
    drawn = (_grey if shape[0] == 1 else _colour)(n + pairs, shape, generator)
    one, other = drawn[:n], drawn[n:]
    side = smooth_field(pairs, shape[1:], coarsest=2, finest=4, generator=generator) > 0
    one[joined] = torch.where(side, other, one[joined])
    return one


def _grey(n: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """One shape on a black ground; half of them made left-right symmetric by adding their mirror."""
    between = uniform(n, generator)
    inside = between(0.2, 1.1) + _texture(n, shape, between, generator)
    result = (_mask(n, shape, between, generator) * inside).clamp(0, 1)
    mirrored = (result + result.flip(-1)).clamp(0, 1)
    return torch.where(between(0, 1) < 0.5, mirrored, result)


def _colour(n: int, shape: tuple[int, int, int], generator: torch.Generator) -> Tensor:
    """Shapes in front of one another and of a textured ground, each of one tint."""
    between = uniform(n, generator)
    image = _tinted(n, shape, between, generator)
    for _ in range(_LAYERS):
        image = image.lerp(
            _tinted(n, shape, between, generator), _mask(n, shape, between, generator, spread=0.5)
        )
    return image.clamp(0, 1)


def _mask(
    n: int, shape: tuple[int, int, int], between: Uniform, generator: torch.Generator, *, spread: float = 0.2
) -> Tensor:
    """Returns soft shapes, 1 inside and 0 outside, half of them with a hole: (n, 1, H, W)."""
    size = shape[1:]
    slope = between(4, 20)
    bumps = smooth_field(n, size, coarsest=2, finest=7, generator=generator)
    outline = _superellipse(between, size, spread, generator.device)
    outline = outline + between(0.2, 1.2) * bumps
    hole = smooth_field(n, size, coarsest=2, finest=5, generator=generator) - between(0.5, 2.0)
    solid = torch.sigmoid(slope * outline)
    return torch.where(between(0, 1) < 0.5, solid * torch.sigmoid(-slope * hole), solid)


def _superellipse(between: Uniform, size: tuple[int, int], spread: float, device: torch.device) -> Tensor:
    """Returns 1 at random centres, 0 on the edge of random superellipses, negative outside: (n, 1, H, W)."""
    height, width = size
    across = torch.linspace(-1, 1, width, device=device).view(1, 1, 1, width)
    down = torch.linspace(-1, 1, height, device=device).view(1, 1, height, 1)
    exponent = between(1, 4)
    far = ((across - between(-spread, spread)) / between(0.25, 1.15)).abs() ** exponent
    far = far + ((down - between(-spread, spread)) / between(0.25, 1.15)).abs() ** exponent
    return 1 - far ** (1 / exponent)


def _texture(n: int, shape: tuple[int, int, int], between: Uniform, generator: torch.Generator) -> Tensor:
    """Returns a smooth field plus pixel noise around 0, for each channel: (n, C, H, W)."""
    channels, height, width = shape
    finest = max(2, min(height, width) // 2)
    fields = smooth_field(n * channels, (height, width), coarsest=2, finest=finest, generator=generator)
    noise = torch.randn((n, *shape), generator=generator, device=generator.device)
    return between(0, 0.4) * fields.view(n, *shape) + between(0, 0.15) * noise


def _tinted(n: int, shape: tuple[int, int, int], between: Uniform, generator: torch.Generator) -> Tensor:
    """Returns textures of a random colour: light and dark is common to the channels, with a little of their own."""
    common = _texture(n, (1, *shape[1:]), between, generator)
    own = _texture(n, shape, between, generator)
    tint = torch.randn((n, shape[0], 1, 1), generator=generator, device=generator.device)
    return between(0.1, 0.9) + between(0, 0.15) * tint + between(0, 0.8) * common + between(0, 0.25) * own
