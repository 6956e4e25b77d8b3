"""Teachers and students: they return logits, and hold batch norms but no dropout."""

import math

from torch import nn


def mlp(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Returns pixels - 256 - 128 - classes, with batch norm."""
    return nn.Sequential(
        nn.Flatten(),  # (n, pixels)
        nn.Linear(math.prod(shape), 256),
        nn.BatchNorm1d(256),
        nn.ReLU(),
        nn.Linear(256, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, num_classes),
    )


def convnet(shape: tuple[int, int, int], num_classes: int, *, width: int = 32) -> nn.Module:
    """Returns two strided convolutions of `width` and twice `width` channels, then 4 `width` - classes."""
    channels, height, wide = shape
    quarter = math.ceil(math.ceil(height / 2) / 2) * math.ceil(math.ceil(wide / 2) / 2)
    return nn.Sequential(
        nn.Conv2d(channels, width, 5, stride=2, padding=2),  # (n, width, H/2, W/2)
        nn.BatchNorm2d(width),
        nn.ReLU(),
        nn.Conv2d(width, 2 * width, 3, stride=2, padding=1),  # (n, 2 width, H/4, W/4)
        nn.BatchNorm2d(2 * width),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(2 * width * quarter, 4 * width),
        nn.BatchNorm1d(4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, num_classes),
    )
