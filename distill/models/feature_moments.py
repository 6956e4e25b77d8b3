"""A place in a network where moments of its features may be released."""

import math

import torch
from torch import Tensor, nn


class FeatureMoments(nn.Module):
    """Passes values on unchanged, and holds what was released about them: the means of features and of their squares.

    A teacher without batch norm keeps no statistics of its data; these take their place. They are buffers, so they are
    saved with the weights.

    Args:
        features: m, how many there are.
        pooled: the side to which images are averaged, each pixel of each channel being one feature; None takes one
            feature a channel, averaged over all positions.
    """

    first: Tensor
    second: Tensor
    released: Tensor

    def __init__(self, features: int, *, pooled: tuple[int, int] | None = None) -> None:
        super().__init__()
        self.pooled = pooled
        self.register_buffer("first", torch.zeros(features))
        self.register_buffer("second", torch.zeros(features))
        self.register_buffer("released", torch.zeros((), dtype=torch.uint8))

    def reset(self) -> None:
        """Forgets what was released."""
        for buffer in self.buffers():
            buffer.zero_()

    def forward(self, values: Tensor) -> Tensor:
        return values

    def moments(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features and their squares, each (n, m), for values (n, channels, ...): those of a row depend on it alone."""
        if self.pooled is not None:
            values = nn.functional.adaptive_avg_pool2d(values, self.pooled).flatten(1)  # (n, m)
        values = values.reshape(len(values), len(self.first), -1)  # (n, m, positions)
        return values.mean(2), values.square().mean(2)


def pooled_side(side: int, most: int = 4) -> int:
    """The largest number of equal parts, at most four, of a side of an image."""
    return next(parts for parts in range(min(most, side), 0, -1) if side % parts == 0)


def pixel_moments(shape: tuple[int, int, int]) -> FeatureMoments:
    """The moments of the image itself, averaged to at most 4 x 4 pixels."""
    channels, *sides = shape
    pooled = pooled_side(sides[0]), pooled_side(sides[1])
    return FeatureMoments(channels * math.prod(pooled), pooled=pooled)
