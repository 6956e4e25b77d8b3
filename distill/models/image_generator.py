"""The network that turns random vectors into images."""

from torch import nn

_CHANNELS = 32


def image_generator(latent: int, shape: tuple[int, int, int]) -> nn.Module:
    """Returns linear - transposed convolutions - convolution - sigmoid, sized by the image.

    The sides are halved as often as they stay whole and at least 4: 8 x 8 starts from 4 x 4, 28 x 28 from 7 x 7.
    There is no batch norm on the output: it would pin the brightness of every batch, and cost most of the student.
    """
    channels, height, width = shape
    doublings = 0
    while height % 2 == 0 and width % 2 == 0 and min(height, width) >= 8:
        height, width, doublings = height // 2, width // 2, doublings + 1
    layers: list[nn.Module] = [
        nn.Linear(latent, _CHANNELS * height * width),
        nn.Unflatten(1, (_CHANNELS, height, width)),
        nn.BatchNorm2d(_CHANNELS),
    ]
    inner = _CHANNELS
    for _ in range(doublings):
        outer = max(inner // 2, 8)
        layers += [
            nn.ConvTranspose2d(inner, outer, 4, stride=2, padding=1),  # doubles both sides
            nn.BatchNorm2d(outer),
            nn.LeakyReLU(0.2),
        ]
        inner = outer
    return nn.Sequential(*layers, nn.Conv2d(inner, channels, 3, padding=1), nn.Sigmoid())
