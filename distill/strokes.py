"""Strokes made without any teacher or data: one or two thick smooth curves, light on dark, as a pen draws them.

The law of these images is a public guess about handwriting ("a few bends and corners, centred, the pen held steadily"),
fixed in this file; nothing in it depends on a record.
"""

import math

import torch
from torch import Tensor

_POINTS = 32  # on each stroke
_PIECES = 4  # of constant curvature at most
_SECOND = 0.4  # share of the images with a second stroke


def strokes(n: int, shape: tuple[int, int, int], *, generator: torch.Generator) -> Tensor:
    """Returns n random drawings (n, C, H, W), floats in [0, 1].

    A pen walks with constant speed; its heading turns by pieces of constant curvature, with corners between some. The
    drawing is put in the middle of the image, and inked where the line integral of a Gaussian along the path is large.
    """
    device = generator.device

    def between(low: float, high: float, *size: int) -> Tensor:
        return low + (high - low) * torch.rand((n, *size), generator=generator, device=device)

    path, length = _centred(*_paths(n, generator), between(0.6, 0.95, 1, 1))
    # a pen, seen through pixels that are not small beside it
    width = (between(0.055, 0.11, 1, 1).square() + (0.9 / max(shape[1:])) ** 2).sqrt()
    # The Gaussian of a point is a product over the axes, so summing over the points is one matrix product.
    across, down = (_profile(path[:, :, axis], shape[2 - axis], width, device) for axis in (0, 1))
    ink = torch.bmm((down * length[:, :, None]).transpose(1, 2), across) / width  # (n, H, W)
    image = torch.sigmoid(between(3, 8, 1, 1) * (ink - between(0.9, 1.4, 1, 1))) * between(0.7, 1.1, 1, 1)
    return image.clamp(0, 1)[:, None].expand(n, *shape)


def _paths(n: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Returns the points (n, 2 * points, 2) of two strokes and the length each stands for; often the second has none."""
    first, second = _walk(n, generator), _walk(n, generator)
    device = generator.device
    shift = torch.randn((n, 1, 2), generator=generator, device=device) * 0.25
    size = 0.3 + 0.5 * torch.rand((n, 1, 1), generator=generator, device=device)
    drawn = torch.rand((n, 1), generator=generator, device=device) < _SECOND
    length = torch.ones_like(first[:, :, 0]) / _POINTS
    return torch.cat([first, size * second + shift], dim=1), torch.cat(
        [length, length * size[:, 0] * drawn], dim=1
    )


def _walk(n: int, generator: torch.Generator) -> Tensor:
    """Returns paths of length 1 around their middle (n, points, 2)."""
    device = generator.device

    def draw(*size: int) -> Tensor:
        return torch.rand((n, *size), generator=generator, device=device)

    bend = torch.randn((n, _PIECES), generator=generator, device=device) * 5  # radians a unit of length
    corner = (draw(_PIECES) < 0.35) * (draw(_PIECES) - 0.5).sign() * (1 + 1.5 * draw(_PIECES))
    ends = draw(_PIECES - 1).sort(dim=1).values
    where = torch.linspace(0, 1, _POINTS, device=device)
    piece = (where[None, :, None] > ends[:, None, :]).sum(dim=2)  # (n, points)
    new = torch.nn.functional.pad(piece.diff(dim=1), (1, 0)) > 0
    turn = bend.gather(1, piece) / _POINTS + new * corner.gather(1, piece)
    heading = 2 * math.pi * draw(1) + turn.cumsum(dim=1)
    path = torch.stack([heading.cos(), heading.sin()], dim=2).cumsum(dim=1) / _POINTS
    return path - path.mean(dim=1, keepdim=True)


def _centred(path: Tensor, length: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Moves and stretches drawings, and the lengths of their parts, to the middle 0 and a longer side of 2 `half`."""
    idle = length[:, :, None] == 0
    low = path.masked_fill(idle, math.inf).amin(dim=1, keepdim=True)
    high = path.masked_fill(idle, -math.inf).amax(dim=1, keepdim=True)
    stretch = 2 * half / (high - low).amax(dim=2, keepdim=True).clamp_min(0.2)
    return (path - (low + high) / 2) * stretch, length * stretch[:, :, 0]


def _profile(positions: Tensor, size: int, width: Tensor, device: torch.device) -> Tensor:
    """Returns exp(-d^2 / 2 width^2) of the distance of each point to each pixel along one axis: (n, points, size)."""
    grid = torch.linspace(-1, 1, size, device=device)
    return torch.exp(-0.5 * ((grid - positions[:, :, None]) / width).square())
