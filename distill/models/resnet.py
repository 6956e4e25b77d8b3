"""Residual networks (He et al., arXiv 1512.03385) as used for small images: no pooling and no stride at the entrance."""

from torch import Tensor, nn
from torch.nn.functional import relu

_WIDTH = 64


def resnet(shape: tuple[int, int, int], num_classes: int, *, blocks: tuple[int, ...]) -> nn.Module:
    """Returns a 3 x 3 convolution, residual blocks in stages that halve the image and double the width, and a linear layer.

    Args:
        blocks: how many blocks each stage has; (2, 2, 2, 2) is ResNet-18, (3, 4, 6, 3) ResNet-34.
    """
    layers: list[nn.Module] = [
        nn.Conv2d(shape[0], _WIDTH, 3, padding=1, bias=False),
        nn.BatchNorm2d(_WIDTH),
        nn.ReLU(),
    ]
    inner = _WIDTH
    for stage, count in enumerate(blocks):
        outer = _WIDTH * 2**stage
        for number in range(count):
            layers.append(Residual(inner, outer, stride=2 if stage and not number else 1))
            inner = outer
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(inner, num_classes))


class Residual(nn.Module):
    """Two convolutions beside a shortcut, which is a convolution where the shape changes."""

    def __init__(self, inner: int, outer: int, *, stride: int) -> None:
        super().__init__()
        self.path = nn.Sequential(
            nn.Conv2d(inner, outer, 3, stride=stride, padding=1, bias=False),
            nn.BatchNorm2d(outer),
            nn.ReLU(),
            nn.Conv2d(outer, outer, 3, padding=1, bias=False),
            nn.BatchNorm2d(outer),
        )
        changed = stride > 1 or inner != outer
        self.shortcut = (
            nn.Sequential(nn.Conv2d(inner, outer, 1, stride=stride, bias=False), nn.BatchNorm2d(outer))
            if changed
            else nn.Identity()
        )

    def forward(self, images: Tensor) -> Tensor:
        """(n, inner, H, W) to (n, outer, H / stride, W / stride)."""
        return relu(self.path(images) + self.shortcut(images))
