"""The configuration of a distillation run: one frozen section for each part, every value with a default.

The defaults are the digits demo. Reading files and overriding values belong to the caller.
"""

import math
from typing import Annotated, Literal, get_args

from msgspec import Meta, Struct, field

from labeldp.mechanisms.parameters import checked_epsilon

Positive = Annotated[int, Meta(ge=1)]
Model = Literal["mlp", "convnet", "convnet-small", "convnet-3", "tanh-convnet", "resnet-18", "resnet-34"]
TeacherKind = Literal["trained", "private", "file", "module"]
Stages = Literal["subset+srr", "seed", "rr", "subset", "partition", "clean"]


def _require(holds: bool, key: str, expected: str, got: object) -> None:
    """Raises one clear line when a value is out of range."""
    if not holds:
        raise ValueError(f"Expected {key} to be {expected}, got {got!r}.")


def _require_positive(section: str, **values: float) -> None:
    for key, value in values.items():
        _require(0 < value < math.inf, f"{section}.{key}", "positive and finite", value)


def _require_weight(section: str, **values: float) -> None:
    for key, value in values.items():
        _require(0 <= value < math.inf, f"{section}.{key}", "at least 0 and finite", value)


class Data(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Names the real data that the teacher is trained on and the student tested on.

    Args:
        name: "digits" (8 x 8, comes with scikit-learn), "fashion-mnist", "mnist" (28 x 28), "cifar-10" (3 x 32 x 32), or
            "folder", images of one's own.
        directory: where the files lie; empty means the usual places. Of "folder": the folder with train/CLASS/ and
            test/CLASS/, or with labels.csv.
        classes: of "folder", the public class names in order, with commas between them; empty takes the names of the
            directories in train/.
    """

    name: str = "digits"
    directory: str = ""
    classes: str = ""

    def __post_init__(self) -> None:
        from distill.data import IMAGES  # here: data sets are named where they are made

        known = [*IMAGES, "folder"]
        _require(self.name in known, "data.name", f"one of {', '.join(known)}", self.name)
        folder = self.name == "folder"
        _require(
            not folder or self.directory != "",
            "data.directory",
            "given with the data set folder",
            self.directory,
        )
        _require(
            folder or self.classes == "", "data.classes", "given with the data set folder alone", self.classes
        )


class PrivateTraining(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says how a teacher of kind "private" is trained by DP-SGD; every value is a constant fixed before the data are looked at.

    Args:
        epsilon: of one training record, DP-SGD and moment release together.
        delta: the delta at which epsilon holds.
        steps: noisy gradient steps.
        sampling_probability: of each record, in each step.
        batch_size: what a noisy sum of gradients is divided by; about the probability times the number of records.
        learning_rate: of stochastic gradient descent.
        momentum: of the same.
        averaging: decay of the running mean of weights that is returned; 0 returns the last weights.
        clip: largest norm of one record's gradient.
        moment_noise: noise multiplier of the moment release; 0 releases no moments.
        moment_clip: largest norm of one record's vector of moments.
    """

    epsilon: float = 3.0
    delta: float = 1e-5
    steps: Positive = 160
    sampling_probability: float = 0.19
    batch_size: Positive = 256
    learning_rate: float = 2.0
    momentum: float = 0.9
    averaging: float = 0.9
    clip: float = 0.1
    moment_noise: float = 8.0
    moment_clip: float = 6.0

    def __post_init__(self) -> None:
        _require_positive(
            "teacher.private",
            epsilon=self.epsilon,
            delta=self.delta,
            sampling_probability=self.sampling_probability,
            learning_rate=self.learning_rate,
            clip=self.clip,
            moment_clip=self.moment_clip,
        )
        _require(self.delta < 1, "teacher.private.delta", "below 1", self.delta)
        share = self.sampling_probability
        _require(share <= 1, "teacher.private.sampling_probability", "at most 1", share)
        for key, value in {"momentum": self.momentum, "averaging": self.averaging}.items():
            _require(0 <= value < 1, f"teacher.private.{key}", "in [0, 1)", value)
        _require_weight("teacher.private", moment_noise=self.moment_noise)


class Teacher(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says where the teacher comes from, and how it is trained on the real data.

    Args:
        kind: "trained" here without protection, "private" (here, by DP-SGD), "file" (weights in `path`) or "module" (your own code).
        model: the network, a name that `distill.models.build` knows; not of kind "module".
        epochs, batch_size, learning_rate, weight_decay, averaging: of kind "trained": passes over the training images, images a
            step, peak of the one-cycle schedule, decoupled weight decay of AdamW, decay of the running mean of weights that is
            returned (0 returns the last weights).
        path: of kind "file", a safetensors file.
        module: of kind "module", FILE.py:FUNCTION; the function takes nothing and returns a torch.nn.Module. The file is executed.
        certificate: a JSON file that says how private a teacher of kind "file" or "module" is; empty for none.
        private: of kind "private".
    """

    kind: TeacherKind = "trained"
    model: Model = "mlp"
    epochs: Positive = 40
    batch_size: Positive = 64
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    averaging: float = 0.0
    path: str = ""
    module: str = ""
    certificate: str = ""
    private: PrivateTraining = PrivateTraining()

    def __post_init__(self) -> None:
        _require(
            self.kind in get_args(TeacherKind), "teacher.kind", "trained, private, file or module", self.kind
        )
        _check_training("teacher", self)
        for key, kind in {"path": "file", "module": "module"}.items():
            text = getattr(self, key)
            wanted = (
                f"a file, as teacher.kind is {kind}"
                if self.kind == kind
                else f"empty unless teacher.kind is {kind}"
            )
            _require(bool(text) == (self.kind == kind), f"teacher.{key}", wanted, text)
        outside = self.kind in ("file", "module")
        _require(
            outside or not self.certificate,
            "teacher.certificate",
            "empty unless teacher.kind is file or module",
            self.certificate,
        )
        _require(
            self.kind != "private" or self.model == "tanh-convnet",
            "teacher.model",
            "tanh-convnet for a private teacher, because a batch norm mixes records",
            self.model,
        )


class Student(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says how every student (stage 1, final, clean-label) is trained on the pool; the fields are the teacher's."""

    model: Model = "mlp"
    epochs: Positive = 4
    batch_size: Positive = 256
    learning_rate: float = 2e-3
    weight_decay: float = 1e-2
    averaging: float = 0.0

    def __post_init__(self) -> None:
        _check_training("student", self)


def _check_training(section: str, values: Teacher | Student) -> None:
    known = get_args(Model)
    _require(values.model in known, f"{section}.model", f"one of {', '.join(known)}", values.model)
    _require_positive(
        section, epochs=values.epochs, batch_size=values.batch_size, learning_rate=values.learning_rate
    )
    _require_weight(section, weight_decay=values.weight_decay)
    _require(0 <= values.averaging < 1, f"{section}.averaging", "in [0, 1)", values.averaging)


class Generator(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says how the data-free generator is trained with the teacher as fixed discriminator.

    Args:
        latent: length of the random input.
        steps: gradient steps in all.
        restart: steps after which the generator starts again from new random weights.
        warmup: steps after a restart whose images are thrown away.
        batch_size: images a step.
        learning_rate: of Adam.
        pseudo_label: weight of the cross-entropy to the teacher's own answer.
        entropy: weight of class balance, the negative entropy of the mean prediction.
        batch_norm: weight of the distance to the teacher's batch-norm statistics, or to its released moments.
        parallel: generators trained at once, which keeps a GPU busy; each looks only at its own images.
    """

    latent: Positive = 100
    steps: Positive = 600
    restart: Positive = 60
    warmup: int = 15
    batch_size: Positive = 128
    learning_rate: float = 5e-3
    pseudo_label: float = 0.2
    entropy: float = 5.0
    batch_norm: float = 2.0
    parallel: Positive = 1

    def __post_init__(self) -> None:
        sizes = {
            "latent": self.latent,
            "steps": self.steps,
            "restart": self.restart,
            "parallel": self.parallel,
        }
        _require_positive("generator", **sizes, learning_rate=self.learning_rate)
        _require(self.batch_size >= 2, "generator.batch_size", "at least 2", self.batch_size)
        _require(
            0 <= self.warmup < self.restart, "generator.warmup", "at least 0 and below restart", self.warmup
        )
        weights = {"pseudo_label": self.pseudo_label, "entropy": self.entropy, "batch_norm": self.batch_norm}
        _require_weight("generator", **weights)

    @property
    def kept(self) -> int:
        """The number of images that survive the warm-ups."""
        whole, rest = divmod(self.steps, self.restart)
        return (whole * (self.restart - self.warmup) + max(0, rest - self.warmup)) * self.batch_size


class Pool(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says what the synthetic images are made of.

    The sources are mixed in proportion to their weights. The last three never see the teacher.

    Args:
        from_run: written `from`; directory of a finished run whose teacher and pool are taken as they are, with the sections data,
            teacher, generator and pool that made them. Empty makes new ones.
        size: images in all; each is asked once.
        trajectory: weight of the images that the generator made while it was trained.
        refined: weight of images of the last three sources (shapes, if they weigh nothing) improved by the teacher's gradient.
        procedural: weight of random smooth shapes with textures.
        strokes: weight of one or two thick smooth curves, for handwriting.
        noise: weight of smooth and white noise.
        pixel_noise: largest standard deviation of the pixel noise on a trajectory image; each image draws its own.
        mixed: share of the trajectory images that are a random linear mix of two.
        cut: share of the procedural images that are two images joined along a random smooth line.
        refinement_steps: gradient steps on a refined image.
        refinement_batch_norm: weight of the batch-norm distance in them, against 1 for the cross-entropy.
        refinement_smoothing: side of the window of pixels, odd, that their gradient is averaged over, twice; 1 for none.
    """

    from_run: str = field(default="", name="from")
    size: Positive = 80_000
    trajectory: float = 1.0
    refined: float = 0.0
    procedural: float = 0.0
    strokes: float = 0.0
    noise: float = 0.0
    pixel_noise: float = 0.3
    mixed: float = 0.3
    cut: float = 0.3
    refinement_steps: Positive = 8
    refinement_batch_norm: float = 5.0
    refinement_smoothing: Positive = 1

    def __post_init__(self) -> None:
        _require_positive("pool", size=self.size, refinement_steps=self.refinement_steps)
        others = {"pixel_noise": self.pixel_noise, "refinement_batch_norm": self.refinement_batch_norm}
        _require_weight("pool", **self.weights, **others)
        _require(
            sum(self.weights.values()) > 0,
            "pool",
            "made of at least one source of positive weight",
            self.weights,
        )
        _require(
            self.refinement_smoothing % 2 == 1, "pool.refinement_smoothing", "odd", self.refinement_smoothing
        )
        for key, value in {"mixed": self.mixed, "cut": self.cut}.items():
            _require(0 <= value <= 1, f"pool.{key}", "in [0, 1]", value)

    @property
    def weights(self) -> dict[str, float]:
        """The weight of each source, by name."""
        return {
            "trajectory": self.trajectory,
            "refined": self.refined,
            "procedural": self.procedural,
            "strokes": self.strokes,
            "noise": self.noise,
        }


class Privacy(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Says how the teacher's answers are protected.

    Args:
        epsilon: of each released answer.
        source: "system" for releases; "seeded" repeats a run and stamps its guarantee "not for release".
        stages: the named label stages, see `distill.label_schemes.label_scheme`.
    """

    epsilon: float = 1.0
    source: Literal["system", "seeded"] = "system"
    stages: Stages = "subset+srr"

    def __post_init__(self) -> None:
        checked_epsilon(self.epsilon)
        known = get_args(Stages)
        _require(self.stages in known, "privacy.stages", f"one of {', '.join(known)}", self.stages)
        _require(self.source in ("system", "seeded"), "privacy.source", "system or seeded", self.source)


class Config(Struct, kw_only=True, frozen=True, forbid_unknown_fields=True):
    """Holds everything that decides a run, apart from the noise on the labels.

    Args:
        seed: of every public draw (weights, order, generator, pool); never of the noise of a release.
        device: "auto", "cpu" or a torch device such as "cuda".
    """

    data: Data = Data()
    teacher: Teacher = Teacher()
    generator: Generator = Generator()
    pool: Pool = Pool()
    privacy: Privacy = Privacy()
    student: Student = Student()
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        _require(0 <= self.seed < 2**63, "seed", "at least 0 and below 2^63", self.seed)
        pool = self.pool
        share = pool.trajectory / sum(pool.weights.values())
        wanted = math.ceil(share * pool.size)
        if pool.pixel_noise == 0 and pool.mixed < 1 and (1 - pool.mixed) * wanted > self.generator.kept:
            raise ValueError(
                f"Expected the generator to keep the {wanted} trajectory images of the pool, got "
                f"{self.generator.kept}: raise generator.steps, or pool.pixel_noise above 0."
            )
