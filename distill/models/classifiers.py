"""Teachers and students: they return logits, and hold no dropout; batch norms, but for the one that may be trained privately."""

import math

from torch import Tensor, nn

from distill.models.feature_moments import FeatureMoments, pixel_moments


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


def pooled_convnet(shape: tuple[int, int, int], num_classes: int, *, width: int = 32) -> nn.Module:
    """Returns three convolutions of `width`, 2 `width` and 4 `width` channels, each halved by its maxima, then 4 `width` - classes.

    Maxima come before batch norm and ReLU, which leaves those a quarter of the work.
    """
    channels, height, wide = shape
    eighth = math.ceil(height / 8) * math.ceil(wide / 8)
    return nn.Sequential(
        *_halved(channels, width),  # (n, width, H/2, W/2)
        *_halved(width, 2 * width),  # (n, 2 width, H/4, W/4)
        *_halved(2 * width, 4 * width),  # (n, 4 width, H/8, W/8)
        nn.Flatten(),
        nn.Linear(4 * width * eighth, 4 * width),
        nn.BatchNorm1d(4 * width),
        nn.ReLU(),
        nn.Linear(4 * width, num_classes),
    )


def _halved(channels: int, width: int) -> list[nn.Module]:
    return [
        nn.Conv2d(channels, width, 3, padding=1),
        nn.MaxPool2d(2, ceil_mode=True),  # an odd side is rounded up, as strides do
        nn.BatchNorm2d(width),
        nn.ReLU(),
    ]


class Centred(nn.Module):
    """Moves pixels from [0, 1] to [-1, 1], by constants that no data were asked for."""

    def forward(self, images: Tensor) -> Tensor:
        return 2 * images - 1


def tanh_convnet(shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Returns two convolutions of 16 and 32 channels, then classes, with tanh and no batch norm.

    A batch norm mixes records, so that none has a gradient of its own to clip; and bounded features have bounded moments,
    which are released after each layer. Images of a side of 16 or more are halved first. Under the noise of DP-SGD few layers
    learn more than many.

    Source: tanh instead of ReLU for DP-SGD: N. Papernot et al., arXiv 2007.14191.
    """
    channels, height, width = shape
    stride = 2 if min(height, width) >= 16 else 1
    sides = [(side + stride - 1) // stride // 2 for side in (height, width)]
    return nn.Sequential(
        pixel_moments(shape),
        Centred(),
        nn.Conv2d(
            channels, 16, 2 * stride + 1, stride=stride, padding=stride
        ),  # (n, 16, H, W), or half the sides
        nn.Tanh(),
        FeatureMoments(16),
        nn.AvgPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.Tanh(),
        FeatureMoments(32),
        nn.Flatten(),
        nn.Linear(32 * math.prod(sides), num_classes),
    )
