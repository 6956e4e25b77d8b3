"""The networks: teachers and students by name, and the image generator."""

from collections.abc import Callable

import torch
from torch import nn

from distill.models.classifiers import convnet, mlp, pooled_convnet, tanh_convnet
from distill.models.feature_moments import FeatureMoments
from distill.models.image_generator import image_generator
from distill.models.initialization import initialize
from distill.models.resnet import resnet

__all__ = ["FeatureMoments", "build", "build_generator", "initialize"]

Shape = tuple[int, int, int]
_CLASSIFIERS: dict[str, Callable[[Shape, int], nn.Module]] = {
    "mlp": mlp,
    "convnet": convnet,
    "convnet-small": lambda shape, num_classes: convnet(shape, num_classes, width=16),
    "convnet-3": pooled_convnet,
    "tanh-convnet": tanh_convnet,
    "resnet-18": lambda shape, num_classes: resnet(shape, num_classes, blocks=(2, 2, 2, 2)),
    "resnet-34": lambda shape, num_classes: resnet(shape, num_classes, blocks=(3, 4, 6, 3)),
}


def build(name: str, *, shape: Shape, num_classes: int, generator: torch.Generator) -> nn.Module:
    """Returns a classifier with fresh weights.

    Args:
        name: "mlp", "convnet", "convnet-small", "convnet-3", "tanh-convnet", "resnet-18" or "resnet-34".
        shape: (channels, height, width) of an image.
        num_classes: outputs of the last layer, which are logits.
        generator: where the weights are drawn from.

    Raises:
        ValueError: if no network has this name.
    """
    if name not in _CLASSIFIERS:
        raise ValueError(f"Expected a model among {', '.join(_CLASSIFIERS)}, got {name!r}.")
    # Built without storage, so that torch draws nothing from its global generator.
    with torch.device("meta"):
        model = _CLASSIFIERS[name](shape, num_classes)
    return initialize(model.to_empty(device="cpu"), generator)


def build_generator(latent: int, *, shape: Shape, generator: torch.Generator) -> nn.Module:
    """Returns an image generator with fresh weights: (n, latent) normal draws to (n, *shape) in (0, 1)."""
    with torch.device("meta"):
        model = image_generator(latent, shape)
    return initialize(model.to_empty(device="cpu"), generator)
