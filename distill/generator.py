"""Images out of a teacher, without data: a generator trained with the teacher as fixed discriminator.

A generator that has converged shows few kinds of image. So it starts again often, and what is kept is its
trajectory: every batch it makes on the way, once past a short warm-up.
The class the teacher sees in an image steers the gradient and is then forgotten: it is nearly the secret answer.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap

from distill import config, models, statistics
from distill.checkpoint import UNSAVED, Checkpoint, Saved, State
from distill.randomness import stream
from distill.train import REPORT_EVERY, Phase, Progress, device_of, half_precision, pixels

_REFINE_BATCH = 256
_MOMENTUM = 0.8
_STEP = 0.05
_SMALL = 1e-12


@contextmanager
def discriminator(teacher: nn.Module) -> Iterator[Callable[[Tensor], tuple[Tensor, Tensor]]]:
    """Lends the teacher as a fixed discriminator: images to (logits, distance).

    The distance is that of the batch's statistics from those the teacher holds of its data, summed over its layers; it is 0
    for a teacher that has neither batch norms nor released moments.
    On leaving, hooks, gradients and mode are as they were.
    """
    terms: list[Tensor] = []

    def measure(layer: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        terms.append(statistics.distance(layer, inputs[0]))

    def look(images: Tensor) -> tuple[Tensor, Tensor]:
        terms.clear()
        logits = teacher(images)
        return logits, torch.stack(terms).sum() if terms else logits.new_zeros(())

    hooks = [layer.register_forward_pre_hook(measure) for layer in statistics.holders(teacher)]
    trained = [parameter for parameter in teacher.parameters() if parameter.requires_grad]
    was_training = teacher.training
    try:
        teacher.eval().requires_grad_(False)
        yield look
    finally:
        for hook in hooks:
            hook.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
        teacher.train(was_training)


def trajectory(
    teacher: nn.Module,
    settings: config.Generator,
    *,
    shape: tuple[int, int, int],
    seed: int,
    progress: Progress,
    saved: Saved = UNSAVED,
) -> Tensor:
    """Returns the images (n, C, H, W), as bytes, that generators made on their way; n is `settings.kept`.

    Privacy: none. The images depend on all that the teacher was trained on.
    """
    checkpoint = saved.phase("generator")
    state = checkpoint.state
    kept: list[Tensor] = [] if state is None else state["kept"]
    if checkpoint.step == settings.steps:
        return _joined(kept, shape)
    device = device_of(teacher)
    streams = {
        "weights": stream(seed, "generator weights"),
        "latents": stream(seed, "generator latents", device),
    }
    shown = progress.phase("generator", settings.steps, start=checkpoint.step, spent=checkpoint.spent)
    done = 0  # steps of the lives before
    with shown as phase, discriminator(teacher) as look:
        for count, steps in _lives(settings):
            if done + count * steps > checkpoint.step:
                stack = _Stack(count, settings, shape, streams["weights"], device)
                if state is not None and done <= checkpoint.step:
                    stack.put_back(state["stack"])
                    for name, source in streams.items():
                        source.set_state(state["streams"][name])
                _live(stack, steps, look, settings, streams, phase, kept, checkpoint, done)
            done += count * steps
    checkpoint.finish({"step": settings.steps, "kept": kept})
    return _joined(kept, shape)


def _joined(kept: list[Tensor], shape: tuple[int, int, int]) -> Tensor:
    return torch.cat(kept).cpu() if kept else torch.empty((0, *shape), dtype=torch.uint8)


def _lives(settings: config.Generator) -> list[tuple[int, int]]:
    """How many generators live at once, and for how many steps; the last ones may be fewer, or live shorter."""
    whole, rest = divmod(settings.steps, settings.restart)
    groups = [settings.parallel] * (whole // settings.parallel)
    groups += [whole % settings.parallel] if whole % settings.parallel else []
    return [(count, settings.restart) for count in groups] + ([(1, rest)] if rest else [])


class _Stack:
    """Generators that are trained side by side, as one stack of weights."""

    def __init__(
        self,
        count: int,
        settings: config.Generator,
        shape: tuple[int, int, int],
        weights: torch.Generator,
        device: torch.device,
    ) -> None:
        networks = [
            models.build_generator(settings.latent, shape=shape, generator=weights).to(device)
            for _ in range(count)
        ]
        self.count, self.age, self.network = count, 0, networks[0]
        self.parameters, self.buffers = stack_module_state(networks)
        self.optimizer = torch.optim.Adam(
            list(self.parameters.values()), lr=settings.learning_rate, betas=(0.5, 0.999), fused=True
        )

    def state(self) -> State:
        return {
            "age": self.age,
            "tensors": {**self.parameters, **self.buffers},
            "optimizer": self.optimizer.state_dict(),
        }

    @torch.no_grad()
    def put_back(self, state: State) -> None:
        self.age = state["age"]
        for name, tensor in {**self.parameters, **self.buffers}.items():
            tensor.copy_(state["tensors"][name])
        self.optimizer.load_state_dict(state["optimizer"])


def _live(
    stack: _Stack,
    steps: int,
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    settings: config.Generator,
    streams: Mapping[str, torch.Generator],
    phase: Phase,
    kept: list[Tensor],
    checkpoint: Checkpoint,
    done: int,
) -> None:
    """Trains a stack of generators to its end, and keeps what they make after the warm-up."""
    latents = streams["latents"]

    def loss_and_images(
        parameters: dict[str, Tensor], buffers: dict[str, Tensor], latent: Tensor
    ) -> tuple[Tensor, Tensor]:
        with half_precision(latent.device):
            images = functional_call(stack.network, (parameters, buffers), (latent,)).float()
        return _generator_loss(*look(images), settings), images.detach()

    def state() -> State:
        draws = {name: source.get_state() for name, source in streams.items()}
        step = done + stack.count * stack.age
        return {"step": step, "kept": kept, "streams": draws, "stack": stack.state()}

    while stack.age < steps:
        checkpoint.offer(state)
        size = (stack.count, settings.batch_size, settings.latent)
        latent = torch.randn(size, generator=latents, device=latents.device)
        losses, images = vmap(loss_and_images)(stack.parameters, stack.buffers, latent)
        stack.optimizer.zero_grad()
        losses.sum().backward()
        stack.optimizer.step()
        if stack.age >= settings.warmup:
            kept.append(as_bytes(images).flatten(0, 1))
        # Reading the loss waits for the device, so it is read seldom.
        report = stack.age % REPORT_EVERY == 0
        phase.advance(stack.count, **({"loss": float(losses.detach().mean())} if report else {}))
        stack.age += 1


def _generator_loss(logits: Tensor, distance: Tensor, settings: config.Generator) -> Tensor:
    """Asks for images the teacher is sure of, of all classes alike, with the activations it is used to."""
    certainty = nn.functional.cross_entropy(logits, logits.argmax(dim=1))
    mean = torch.softmax(logits, dim=1).mean(dim=0)
    imbalance = (mean * (mean + _SMALL).log()).sum()
    return settings.pseudo_label * certainty + settings.entropy * imbalance + settings.batch_norm * distance


def refine(
    teacher: nn.Module,
    images: Tensor,
    *,
    num_classes: int,
    steps: int,
    batch_norm: float,
    smoothing: int = 1,
    generator: torch.Generator,
) -> Tensor:
    """Moves images, as bytes, along the teacher's gradient towards classes drawn at random; returns bytes.

    Each step has a fixed length for each image, so that images the teacher is sure of still move. The raw gradient is speckled,
    and speckles convince a teacher without looking like anything: averaged over a window, it moves outlines and shades instead.

    Privacy: none; and the classes drawn are forgotten, being close to the answers.
    """
    device = device_of(teacher)
    images = images.to(device)
    classes = torch.randint(num_classes, (len(images),), generator=generator).to(device)
    with discriminator(teacher) as look:
        batches = [
            _refine_batch(look, pixels(batch), goals, steps, batch_norm, smoothing)
            for batch, goals in zip(images.split(_REFINE_BATCH), classes.split(_REFINE_BATCH), strict=True)
        ]
    return torch.cat(batches).cpu() if batches else images.cpu()


def _refine_batch(
    look: Callable[[Tensor], tuple[Tensor, Tensor]],
    images: Tensor,
    goals: Tensor,
    steps: int,
    batch_norm: float,
    smoothing: int,
) -> Tensor:
    velocity, power = torch.zeros_like(images), None
    for step in range(steps):
        images = images.detach().requires_grad_(True)
        logits, distance = look(images)
        loss = nn.functional.cross_entropy(logits, goals) + batch_norm * distance
        (gradient,) = torch.autograd.grad(loss, images)
        for _ in range(2 if smoothing > 1 else 0):
            gradient = nn.functional.avg_pool2d(gradient, smoothing, 1, smoothing // 2)
        square = gradient.square().mean(dim=(1, 2, 3), keepdim=True)
        power = square if power is None else power.lerp(square, 0.1)
        velocity = _MOMENTUM * velocity + (1 - _MOMENTUM) * gradient / (power + _SMALL**2).sqrt()
        length = _STEP * (1 - 0.7 * step / max(1, steps - 1))
        images = (images.detach() - length * velocity).clamp(0, 1)
    return as_bytes(images.detach())


def as_bytes(images: Tensor) -> Tensor:
    """Rounds images in [0, 1] to 256 levels: a quarter of the memory, and as fine as real image files are."""
    return (images.clamp(0, 1) * 255).round().to(torch.uint8)
