"""What a batch of generated images should have in common with the real data: statistics that the teacher holds.

Either the running ones of its batch norms, or moments that were released for a teacher without.
"""

from torch import Tensor, nn

from distill.models import FeatureMoments

_NORMALIZING = (nn.BatchNorm1d, nn.BatchNorm2d)


def holders(teacher: nn.Module) -> list[nn.Module]:
    """Returns the layers that hold statistics of the real data."""
    return [layer for layer in teacher.modules() if _holds(layer)]


def _holds(layer: nn.Module) -> bool:
    if isinstance(layer, _NORMALIZING):
        return layer.running_mean is not None and layer.running_var is not None
    return isinstance(layer, FeatureMoments) and bool(layer.released)


def distance(layer: nn.Module, values: Tensor) -> Tensor:
    """Returns how far a batch (n, channels, ...) is from what a layer holds: two norms of differences, added."""
    if isinstance(layer, FeatureMoments):
        first, second = (features.mean(dim=0) for features in layer.moments(values))
        return (first - layer.first).norm() + (second - layer.second).norm()
    assert isinstance(layer, _NORMALIZING)
    assert layer.running_mean is not None
    assert layer.running_var is not None
    others = [0, *range(2, values.ndim)]
    mean = values.mean(others, keepdim=True)
    variance = (values - mean).square().mean(others)  # several times faster than torch.var_mean
    return (mean.flatten() - layer.running_mean).norm() + (variance - layer.running_var).norm()
