"""Random changes of images that leave their class as it is; images are public, so that they cost no privacy."""

import torch
from torch import Tensor

from distill.train import Distort


def shifted(pixels: int, *, mirrored: bool = False) -> Distort:
    """Moves each image by up to so many pixels in both directions, what comes in being 0; mirrors half of them, if asked."""

    def distort(images: Tensor, generator: torch.Generator) -> Tensor:
        n, channels, height, width = images.shape
        padded = torch.nn.functional.pad(images, (pixels,) * 4)

        def places(size: int) -> Tensor:
            return torch.arange(size) + torch.randint(2 * pixels + 1, (n, 1), generator=generator)

        rows, columns = places(height), places(width)
        if mirrored:
            flip = torch.rand((n, 1), generator=generator) < 0.5
            columns = torch.where(flip, columns.flip(1), columns)
        item = torch.arange(n)[:, None, None, None]
        channel = torch.arange(channels)[None, :, None, None]
        return padded[item, channel, rows[:, None, :, None], columns[:, None, None, :]]

    return distort
