"""Weights drawn from an explicit generator."""

import math
from typing import TypeVar

import torch
from torch import nn

from distill.models.feature_moments import FeatureMoments

_Model = TypeVar("_Model", bound=nn.Module)
_WEIGHTED = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d)
_NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d)


def initialize(model: _Model, generator: torch.Generator) -> _Model:
    """Draws every weight of the model again, by torch's default law but from the given generator.

    Torch draws the weights and biases of its linear and convolution layers uniformly within
    1 / sqrt(fan in); batch norms start at the identity.

    Raises:
        TypeError: if a layer with parameters is of a kind it does not know.
    """
    for layer in model.modules():
        if isinstance(layer, _WEIGHTED):
            bound = 1 / math.sqrt(layer.weight[0].numel())
            with torch.no_grad():
                for parameter in layer.parameters(recurse=False):
                    drawn = torch.empty(parameter.shape).uniform_(-bound, bound, generator=generator)
                    parameter.copy_(drawn)
        elif isinstance(layer, _NORMALIZING):
            layer.reset_parameters()
        elif isinstance(layer, FeatureMoments):
            layer.reset()
        elif next(layer.parameters(recurse=False), None) is not None:
            raise TypeError(f"Expected linear, convolution or batch-norm layers, got {type(layer).__name__}.")
    return model
