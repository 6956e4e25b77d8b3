"""Teachers from elsewhere: weights in a safetensors file, or a module that the user's own code returns."""

import importlib.util
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from distill import models
from distill.randomness import stream
from distill.train import device_of, predict_batch
from distill.usage import UsageError

_SHOWN = 4
_PROBES = 8
_TOLERANCE = 1e-3


def from_file(path: str, model: str, *, shape: tuple[int, int, int], num_classes: int) -> nn.Module:
    """Returns the named network with the weights of a safetensors file, in eval mode.

    Raises:
        UsageError: no such file, or its tensors are not those of the network; the message names them.
    """
    network = models.build(model, shape=shape, num_classes=num_classes, generator=torch.Generator())
    try:
        weights = load_file(path)
    except (OSError, SafetensorError) as error:
        raise UsageError(f"Expected a safetensors file in teacher.path, got {path}: {error}") from error
    if problem := _difference(network.state_dict(), weights):
        raise UsageError(
            f"{path} does not hold the weights of {model} for images {shape} and {num_classes} classes: {problem}. "
            "Name the network they were trained with in teacher.model, or build it yourself: teacher.kind = 'module'."
        )
    network.load_state_dict(weights)
    return network.eval()


def _difference(expected: dict[str, Tensor], got: dict[str, Tensor]) -> str:
    """What keeps tensors from being loaded, in words; empty if nothing does."""
    sizes = [
        f"{name} is {tuple(got[name].shape)} instead of {tuple(expected[name].shape)}"
        for name in expected
        if name in got and got[name].shape != expected[name].shape
    ]
    groups = {
        "missing": [name for name in expected if name not in got],
        "not known": [name for name in got if name not in expected],
        "of another shape": sizes,
    }
    return "; ".join(f"{what}: {_few(names)}" for what, names in groups.items() if names)


def _few(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def from_module(text: str) -> nn.Module:
    """Runs FUNCTION of FILE.py, given as FILE.py:FUNCTION, and returns the module it builds, in eval mode.

    Raises:
        UsageError: no such file or function, or what it returns is no torch.nn.Module.
    """
    file, colon, name = text.rpartition(":")
    if not colon or not Path(file).is_file():
        raise UsageError(
            f"Expected teacher.module to be FILE.py:FUNCTION with an existing file, got {text!r}."
        )
    specification = importlib.util.spec_from_file_location("labeldp_user_teacher", file)
    if specification is None or specification.loader is None:
        raise UsageError(f"Expected teacher.module to name a Python file (.py), got {file!r}.")
    module = importlib.util.module_from_spec(specification)
    try:
        specification.loader.exec_module(module)
        build = getattr(module, name, None)
        if not callable(build):
            raise UsageError(f"Expected a function {name} in {file}, found {type(build).__name__}.")
        network = build()
    except UsageError:
        raise
    except Exception as error:  # whatever the user's code does
        raise UsageError(f"Expected {text} to build a teacher; it fails with {error!r}") from error
    if not isinstance(network, nn.Module):
        raise UsageError(f"Expected {text} to return a torch.nn.Module, got {type(network).__name__}.")
    return network.eval()


@torch.no_grad()
def checked(teacher: nn.Module, *, shape: tuple[int, int, int], num_classes: int, seed: int) -> nn.Module:
    """Returns the teacher if it answers as one must: logits (n, K), each row a function of its own image alone.

    Asked about images of public noise: a whole batch, as large as those of the pool, twice, and a few of it one by one.

    Raises:
        UsageError: its answers have another shape, are not finite, change from one call to the next, or depend on the other
            images of the batch, which would void the guarantee about one answer.
    """
    if odd := [name for name, value in teacher.state_dict().items() if not isinstance(value, Tensor)]:
        raise UsageError(
            f"Expected a teacher whose state is made of tensors, which can be kept, got {_few(odd)}."
        )
    device = device_of(teacher)
    size = predict_batch(device)
    images = torch.rand((size, *shape), generator=stream(seed, "teacher probes")).to(device)
    try:
        together = teacher(images)
    except Exception as error:
        raise UsageError(
            f"Expected a teacher of images {(size, *shape)}, floats in [0, 1]; it fails with {error}"
        ) from error
    if not isinstance(together, Tensor) or together.shape != (size, num_classes):
        got = tuple(together.shape) if isinstance(together, Tensor) else type(together).__name__
        raise UsageError(f"Expected the teacher to return logits {(size, num_classes)}, got {got}.")
    if not bool(together.isfinite().all()):
        raise UsageError("Expected finite logits from the teacher, got others; images are floats in [0, 1].")
    if not _close(teacher(images), together):
        raise UsageError(
            "Expected the same answer to the same image, got two: switch off dropout and other noise."
        )
    try:
        apart = _close(torch.cat([teacher(image) for image in images[:_PROBES].split(1)]), together[:_PROBES])
    except Exception:  # a statistic of the batch, which one image does not have
        apart = False
    if not apart:
        raise UsageError(
            "Expected an answer to depend on its own image alone, but it depends on the others of the batch: "
            "normalise with running statistics, as batch norm does in eval mode."
        )
    if bool((together >= 0).all()) and _close(together.sum(dim=1), torch.ones_like(together[:, 0])):
        warnings.warn(
            "The teacher returns what look like probabilities, and logits were expected: answers are the same, the images that are made "
            "with it are worse. Leave out its softmax.",
            stacklevel=2,
        )
    return teacher


def _close(first: Tensor, second: Tensor) -> bool:
    scale = float(second.abs().max().clamp(min=1))
    return float((first - second).abs().max()) <= _TOLERANCE * scale
