"""Several processes that train one model: `torchrun --nproc-per-node 4 --no-python labeldp distill ...`, one for each GPU.

The first process runs the recipe; the others wait until it trains something and then take their share of each batch. So one
process alone asks the teacher, draws the noise on its answers and writes files: if each ran the recipe, each would answer
the same queries with noise of its own, and every answer would pay its epsilon as many times.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn

from distill.checkpoint import State, Unsaved

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Silence:
    """A phase that nobody watches."""

    def advance(self, n: int = 1, **figures: float) -> None:
        """Shows nothing."""


def led_by_the_first(
    helped: Callable[..., Any],
) -> Callable[[Callable[_Arguments, _Result]], Callable[_Arguments, _Result]]:
    """Makes a recipe that runs in the first process alone, while the others help with each call of `helped`.

    Without torchrun nothing changes. The others leave by SystemExit(0) when the recipe ends.
    """

    def decorated(recipe: Callable[_Arguments, _Result]) -> Callable[_Arguments, _Result]:
        @wraps(recipe)
        def led(*args: _Arguments.args, **kwargs: _Arguments.kwargs) -> _Result:
            if int(os.environ.get("WORLD_SIZE", "1")) == 1:
                return recipe(*args, **kwargs)
            help_unless_first(helped)
            _join()
            try:
                return recipe(*args, **kwargs)
            finally:
                _sent(None)
                dist.destroy_process_group()

        return led

    return decorated


def help_unless_first(helped: Callable[..., Any]) -> None:
    """Returns at once in the first process, or the only one; any other helps until the recipe ends, and leaves by SystemExit(0).

    Called before a run directory is claimed, of which there is one.
    """
    if int(os.environ.get("RANK", "0")) == 0:
        return
    device = _join()
    while (job := _sent(None)) is not None:
        _help(helped, job, device)
    dist.destroy_process_group()
    raise SystemExit(0)


def ask_for_help(
    model: nn.Module,
    images: Tensor,
    likelihood: Tensor,
    settings: Any,
    generator: torch.Generator,
    state: State | None,
) -> None:
    """Sends the others what they need to train along; does nothing in one process, or in one of the others.

    They go on from the first one's checkpoint, if there is one; what their own batch norms saw before is lost then.
    """
    if dist.is_initialized() and dist.get_rank() == 0:
        _sent((model, images, likelihood, settings, generator.get_state(), state))


def several() -> bool:
    """Whether other processes train along."""
    return dist.is_initialized()


def processes() -> int:
    """How many processes train along, this one included."""
    return dist.get_world_size() if dist.is_initialized() else 1


def share(batch: Tensor) -> Tensor:
    """This process's part of a batch, which all processes drew alike; parts differ by one item at most."""
    return batch[dist.get_rank() :: dist.get_world_size()] if dist.is_initialized() else batch


def add_up_gradients(model: nn.Module) -> None:
    """Sums the gradients of all processes, in one message."""
    if not dist.is_initialized():
        return
    gradients = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    message = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(message)
    parts = message.split([gradient.numel() for gradient in gradients])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))


def average_statistics(model: nn.Module) -> None:
    """Averages what batch norms saw in the shares of all processes."""
    if dist.is_initialized():
        for buffer in model.buffers():
            if buffer.is_floating_point():
                dist.all_reduce(buffer)
                buffer /= dist.get_world_size()


def _join() -> torch.device:
    """Joins the processes that torchrun started; returns the device of this one."""
    if not torch.cuda.is_available():
        dist.init_process_group("gloo")
        return torch.device("cpu")
    torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    dist.init_process_group("cpu:gloo,cuda:nccl")
    return torch.device("cuda", torch.cuda.current_device())


def _sent(job: Any) -> Any:
    """Returns what the first process gave to this function; between processes of one run, on one machine."""
    box = [job]
    dist.broadcast_object_list(box, device=torch.device("cpu"))
    return box[0]


def _help(helped: Callable[..., Any], job: Any, device: torch.device) -> None:
    model, images, likelihood, settings, draws, state = job
    generator = torch.Generator()
    generator.set_state(draws)
    helped(
        model.to(device),
        images,
        likelihood,
        settings=settings,
        generator=generator,
        phase=Silence(),
        checkpoint=Unsaved(state),
    )
