"""Broken answers to one label, written on `source.coin` and `source.below`, and equivalent ones that are not broken.

The first line of each docstring says what is wrong. The law that they mean to follow is selective randomized response on the candidates of a
`World`; where these are all classes, randomized response.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import Any

from labeldp.mechanisms.thresholds import exponential_below
from labeldp.testing.sources import Primitives


@dataclass(frozen=True)
class World:
    """What is public about an answer.

    Attributes:
        epsilon: what is claimed.
        num_classes: K.
        candidates: the classes that are answered.
        prior: a weight for each class, (K,).
    """

    epsilon: float
    num_classes: int
    candidates: tuple[int, ...]
    prior: tuple[int, ...]

    @property
    def ratio(self) -> Fraction:
        """e^epsilon, rounded down."""
        return exponential_below(self.epsilon)

    @property
    def size(self) -> int:
        """Number of candidates k."""
        return len(self.candidates)


def selective(label: int, source: Primitives, world: World) -> int:
    """The published law: the label with E / (E + k - 1), another candidate else; outsiders uniformly."""
    if label in world.candidates:
        return _kept_or_other(label, source, world.ratio, world.candidates)
    return _any(source, world.candidates)


# Broken: one label can be told from another beyond epsilon.


def denominator_too_large(label: int, source: Primitives, world: World) -> int:
    """Keeps with E / (E + k) instead of E / (E + k - 1)."""
    return _with_chance(label, source, world, world.ratio, world.ratio + world.size)


def denominator_too_small(label: int, source: Primitives, world: World) -> int:
    """Keeps with E / (E + k - 2) instead of E / (E + k - 1)."""
    return _with_chance(label, source, world, world.ratio, world.ratio + world.size - 2)


def kept_as_among_all_classes(label: int, source: Primitives, world: World) -> int:
    """Keeps with the probability for K classes, and lies among k candidates."""
    return _with_chance(label, source, world, world.ratio, world.ratio + world.num_classes - 1)


def lie_among_all_classes(label: int, source: Primitives, world: World) -> int:
    """A lie may be any class, candidate or not."""
    if label not in world.candidates:
        return _any(source, world.candidates)
    if source.coin(world.ratio, world.ratio + world.size - 1):
        return label
    return _other(label, source, range(world.num_classes))


def lie_may_be_the_truth(label: int, source: Primitives, world: World) -> int:
    """A lie is drawn among all candidates, the label included."""
    if label in world.candidates and source.coin(world.ratio, world.ratio + world.size - 1):
        return label
    return _any(source, world.candidates)


def outsider_takes_the_likeliest(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered with the likeliest candidate."""
    return selective(label, source, world) if label in world.candidates else world.candidates[0]


def outsider_kept(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered as it is."""
    return selective(label, source, world) if label in world.candidates else label


def outsider_among_all_classes(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered uniformly over all classes."""
    if label in world.candidates:
        return selective(label, source, world)
    return source.below(world.num_classes)


def outsiders_miss_the_last(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered with any candidate but the last."""
    if label in world.candidates:
        return selective(label, source, world)
    return _any(source, world.candidates[:-1])


def outsiders_follow_the_prior(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered with candidates by their prior."""
    if label in world.candidates:
        return selective(label, source, world)
    return _weighted(source, world.candidates, [world.prior[c] for c in world.candidates])


def outsiders_told_apart(label: int, source: Primitives, world: World) -> int:
    """A label that is no candidate is answered "other", always."""
    return selective(label, source, world) if label in world.candidates else world.num_classes


def membership_shown(label: int, source: Primitives, world: World) -> tuple[int, bool]:
    """The answer says whether the label was a candidate."""
    return selective(label, source, world), label in world.candidates


def label_forced_in(label: int, source: Primitives, world: World) -> int:
    """The label takes the place of the last candidate where it is none."""
    inside = label in world.candidates
    candidates = world.candidates if inside else (*world.candidates[:-1], label)
    return _kept_or_other(label, source, world.ratio, candidates)


def ties_broken_by_the_label(label: int, source: Primitives, world: World) -> int:
    """Of classes with equal prior the label becomes a candidate first."""
    order = sorted(range(world.num_classes), key=lambda c: (-world.prior[c], c != label, c))
    candidates = tuple(order[: world.size])
    if label in candidates:
        return _kept_or_other(label, source, world.ratio, candidates)
    return _any(source, candidates)


def size_by_the_label(label: int, source: Primitives, world: World) -> int:
    """Half as many candidates where the label is among the likelier half."""
    half = world.candidates[: max(2, world.size // 2)]
    return (
        _kept_or_other(label, source, world.ratio, half) if label in half else selective(label, source, world)
    )


def certain_and_right(label: int, source: Primitives, world: World) -> int:
    """No noise where the prior is certain and right."""
    likeliest = max(range(world.num_classes), key=world.prior.__getitem__)
    certain = 2 * world.prior[likeliest] > sum(world.prior)
    return label if certain and label == likeliest else selective(label, source, world)


def single_candidate_keeps(label: int, source: Primitives, world: World) -> int:
    """With one candidate the label itself is answered."""
    return label if world.size == 1 else selective(label, source, world)


def lies_follow_the_prior(label: int, source: Primitives, world: World) -> int:
    """A lie is drawn among the other candidates by their prior."""
    if label not in world.candidates:
        return _any(source, world.candidates)
    if source.coin(world.ratio, world.ratio + world.size - 1):
        return label
    others = [c for c in world.candidates if c != label]
    return _weighted(source, others, [world.prior[c] for c in others])


def one_uniform_for_coin_and_lie(label: int, source: Primitives, world: World) -> int:
    """The number that decides to lie also picks the lie."""
    if label not in world.candidates:
        return _any(source, world.candidates)
    number = Fraction(source.below(1000), 1000)
    if number < world.ratio / (world.ratio + world.size - 1):
        return label
    others = [c for c in world.candidates if c != label]
    return others[floor(number * len(others))]


def lie_by_modulo(label: int, source: Primitives, world: World) -> int:
    """A lie is picked by three bits modulo the number of lies."""
    if label not in world.candidates:
        return _any(source, world.candidates)
    if source.coin(world.ratio, world.ratio + world.size - 1):
        return label
    others = [c for c in world.candidates if c != label]
    return others[source.below(8) % len(others)]


def coin_flipped_again(label: int, source: Primitives, world: World) -> int:
    """After a lie the coin is flipped once more, and may keep the label."""
    if label in world.candidates and source.coin(world.ratio, world.ratio + world.size - 1):
        return label
    return selective(label, source, world)


def best_of_three(label: int, source: Primitives, world: World) -> int:
    """Three answers are drawn, and the one that most agree on is given."""
    answers = [selective(label, source, world) for _ in range(3)]
    return max(answers, key=answers.count)


def threshold_rounded_up(label: int, source: Primitives, world: World) -> int:
    """The probability of keeping is rounded up to 8 bits."""
    keep = ceil(256 * world.ratio / (world.ratio + world.size - 1))
    return _with_chance(label, source, world, keep, 256)


def twice_the_epsilon(label: int, source: Primitives, world: World) -> int:
    """e^(2 epsilon) stands for e^epsilon."""
    return _with_chance(label, source, world, world.ratio**2, world.ratio**2 + world.size - 1)


def five_percent_more(label: int, source: Primitives, world: World) -> int:
    """The epsilon in use is 5 % above the claim."""
    ratio = exponential_below(1.05 * world.epsilon)
    return _with_chance(label, source, world, ratio, ratio + world.size - 1)


def lies_suppressed(label: int, source: Primitives, world: World) -> int | None:
    """Where it would lie it answers nothing."""
    answer = selective(label, source, world)
    return answer if answer == label else None


def never_the_truth(label: int, source: Primitives, world: World) -> int:
    """The answer is always another class than the label."""
    return _other(label, source, range(world.num_classes))


def full_epsilon_a_bit(label: int, source: Primitives, world: World) -> tuple[bool, ...]:
    """Each bit of the one-hot vector spends the whole epsilon; two labels differ in two bits."""
    return _flipped(label, source, [world.ratio] * world.num_classes)


def last_bit_kept(label: int, source: Primitives, world: World) -> tuple[bool, ...]:
    """The last bit of the one-hot vector is not randomized."""
    half = exponential_below(world.epsilon / 2)
    flipped = _flipped(label, source, [half] * (world.num_classes - 1))
    return (*flipped, label == world.num_classes - 1)


def set_filled_from_all(label: int, source: Primitives, world: World) -> frozenset[int]:
    """A set of two that was to leave the label out may get it all the same."""
    if source.coin(2 * world.ratio, 2 * world.ratio + world.num_classes - 2):
        return frozenset({label, _other(label, source, range(world.num_classes))})
    first = source.below(world.num_classes)
    return frozenset({first, _other(first, source, range(world.num_classes))})


def sensitivity_of_one(label: int, source: Primitives, world: World) -> int:
    """Noise on the scale of neighbouring classes, though any two labels may be swapped."""
    weights = [world.ratio ** -abs(c - label) for c in range(world.num_classes)]
    return _weighted(source, range(world.num_classes), weights)


def wraps_beyond_a_byte(label: int, source: Primitives, world: World) -> int:
    """Lies step over the label as a signed byte, so that they never are 0 and may be the truth beyond class 127."""
    if source.coin(world.ratio, world.ratio + world.num_classes - 1):
        return label
    lie = source.below(world.num_classes - 1)
    return lie + (lie >= (label + 128) % 256 - 128)


# Wasteful: no less private, and not the law that was meant; only a comparison of laws sees them.


def two_to_the_epsilon(label: int, source: Primitives, world: World) -> int:
    """2^epsilon stands for e^epsilon."""
    ratio = Fraction(2) ** floor(world.epsilon)
    return _with_chance(label, source, world, ratio, ratio + world.size - 1)


def one_candidate_too_few(label: int, source: Primitives, world: World) -> int:
    """The least likely candidate is left out."""
    fewer = World(world.epsilon, world.num_classes, world.candidates[:-1], world.prior)
    return selective(label, source, fewer)


# Equivalent: the same law by another way, or a more private one.


def accept_reject(label: int, source: Primitives, world: World) -> int:
    """Randomized response on all classes, drawn again until a candidate comes."""
    answer = _kept_or_other(label, source, world.ratio, range(world.num_classes))
    return answer if answer in world.candidates else source.reject()


def uniform_first(label: int, source: Primitives, world: World) -> int:
    """A uniform candidate first, then the label in its place with (E - 1) / (E + k - 1)."""
    answer = _any(source, world.candidates)
    inside = label in world.candidates
    return label if inside and source.coin(world.ratio - 1, world.ratio + world.size - 1) else answer


def one_draw_from_a_table(label: int, source: Primitives, world: World) -> int:
    """One weighted draw over the candidates."""
    inside = label in world.candidates
    return _weighted(
        source, world.candidates, [world.ratio if inside and c == label else 1 for c in world.candidates]
    )


def bit_by_bit(label: int, source: Primitives, world: World) -> tuple[bool, ...]:
    """The one-hot vector with every bit flipped at half the epsilon."""
    return _flipped(label, source, [exponential_below(world.epsilon / 2)] * world.num_classes)


def other_randomized(label: int, source: Primitives, world: World) -> str:
    """ "Other" is one more possibility of randomized response; answers are texts."""
    truth = label if label in world.candidates else -1
    return f"class {_kept_or_other(truth, source, world.ratio, (*world.candidates, -1))}"


def threshold_rounded_down(label: int, source: Primitives, world: World) -> int:
    """The probability of keeping is rounded down to 8 bits."""
    keep = floor(256 * world.ratio / (world.ratio + world.size - 1))
    return _with_chance(label, source, world, keep, 256)


def set_of_two(label: int, source: Primitives, world: World) -> frozenset[int]:
    """A set of two classes, the label in it with 2 E / (2 E + K - 2)."""
    others = [c for c in range(world.num_classes) if c != label]
    first = others.pop(source.below(len(others)))
    inside = source.coin(2 * world.ratio, 2 * world.ratio + world.num_classes - 2)
    return frozenset({first, label if inside else _any(source, others)})


def _with_chance(
    label: int, source: Primitives, world: World, keep: int | Fraction, total: int | Fraction
) -> int:
    """A candidate kept with probability keep / total, else another candidate; outsiders uniformly."""
    if label not in world.candidates:
        return _any(source, world.candidates)
    return label if source.coin(keep, total) else _other(label, source, world.candidates)


def _kept_or_other(label: int, source: Primitives, ratio: Fraction, classes: Sequence[int]) -> int:
    return label if source.coin(ratio, ratio + len(classes) - 1) else _other(label, source, classes)


def _any(source: Primitives, classes: Sequence[int]) -> int:
    return classes[source.below(len(classes))]


def _other(label: int, source: Primitives, classes: Sequence[int]) -> int:
    return _any(source, [c for c in classes if c != label])


def _weighted(source: Primitives, classes: Sequence[int], weights: Sequence[Any]) -> int:
    left: Any = sum(weights)
    for c, weight in zip(classes[:-1], weights[:-1], strict=True):
        if source.coin(weight, left):
            return c
        left -= weight
    return classes[-1]


def _flipped(label: int, source: Primitives, ratios: Sequence[Fraction]) -> tuple[bool, ...]:
    """Bits of the one-hot vector, each kept with ratio : 1."""
    return tuple((c == label) == source.coin(ratio, ratio + 1) for c, ratio in enumerate(ratios))
