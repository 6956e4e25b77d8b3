"""Sources of the two primitives that a callable may be written on: one walks every outcome, one draws."""

import inspect
import operator
import secrets
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, NoReturn, Protocol, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms.parameters import checked_integer

MAX_RUNS = 2**18
MAX_CHOICES = 320


class NotEnumerable(ValueError):
    """A callable whose outcomes cannot all be walked: too many of them, runs without an end, or randomness of its own."""


class Rejected(Exception):
    """Raised by `source.reject()`: this draw is left out and the callable starts over."""


class Primitives(Protocol):
    """What a callable that is to be enumerated draws from."""

    def coin(self, numerator: int | Fraction, denominator: int | Fraction) -> bool:
        """True with probability numerator / denominator."""
        ...

    def below(self, k: int) -> int:
        """A uniform integer in 0 .. k - 1."""
        ...

    def reject(self) -> NoReturn:
        """Leaves this draw out and starts over, as a loop that draws again until it is content does."""
        ...


class EnumeratingSource:
    """Walks every outcome of code that is written on `coin`, `below` and `reject`, each with its exact probability.

    Every run follows the last one up to its last choice that had an option left, and takes that option. In `for _ in source.runs()` call
    the code once in each turn, and read `source.weight` after it.
    """

    def __init__(self) -> None:
        self._path: list[_Turn] = []
        self._position = 0

    @property
    def weight(self) -> Fraction:
        """Probability of the run that has just ended."""
        return Fraction(*self._path[-1].after()) if self._path else Fraction(1)

    def coin(self, numerator: int | Fraction, denominator: int | Fraction) -> bool:
        """True with probability numerator / denominator."""
        chance = _probability(numerator, denominator)
        heads, total = chance.numerator, chance.denominator
        if heads in (0, total):
            return heads == total
        return self._option((heads, total - heads)) == 0

    def below(self, k: int) -> int:
        """A uniform integer in 0 .. k - 1."""
        count = checked_integer("k", k, least=1)
        return 0 if count == 1 else self._option(count)

    def reject(self) -> NoReturn:
        """Leaves this outcome out; the others share its probability in proportion."""
        raise Rejected

    def runs(self) -> Iterator[None]:
        """One turn for every outcome.

        Raises:
            NotEnumerable: too many outcomes, or a run that asked for something else than the one it repeats.
        """
        self._path = []
        for _ in range(MAX_RUNS):
            self._position = 0
            yield
            if self._position != len(self._path):
                raise NotEnumerable(_OWN_RANDOMNESS)
            while self._path and self._path[-1].is_last():
                self._path.pop()
            if not self._path:
                return
            self._path[-1].option += 1
        raise NotEnumerable(
            f"Expected at most {MAX_RUNS} outcomes for a label, got more; draw from fewer, put `source.reject()` where a loop "
            f"draws again, or audit samples instead."
        )

    def _option(self, weights: int | tuple[int, int]) -> int:
        if self._position == MAX_CHOICES:
            raise NotEnumerable(
                f"Expected at most {MAX_CHOICES} choices in one run, got more: a loop that draws again until it is content has no last "
                f"round. Call `source.reject()` where it would draw again, or audit samples instead."
            )
        if self._position == len(self._path):
            self._path.append(_Turn(weights, self._path[-1].after() if self._path else (1, 1)))
        turn = self._path[self._position]
        if turn.weights != weights:
            raise NotEnumerable(_OWN_RANDOMNESS)
        self._position += 1
        return turn.option


@dataclass
class _Turn:
    """A choice on the way: the weights of its two options, or how many equal ones; the probability before it; the option taken."""

    weights: int | tuple[int, int]
    before: tuple[int, int]
    option: int = 0

    def after(self) -> tuple[int, int]:
        """Numerator and denominator of the probability after it."""
        match self.weights:
            case int():
                return self.before[0], self.before[1] * self.weights
            case _:
                return self.before[0] * self.weights[self.option], self.before[1] * sum(self.weights)

    def is_last(self) -> bool:
        """Whether no option is left."""
        return self.option == (self.weights - 1 if isinstance(self.weights, int) else 1)


_OWN_RANDOMNESS = (
    "Expected all choices of a callable to come from its source, got a run that did not repeat the one before; "
    "draw with source.coin and source.below only, and keep nothing between calls."
)


class SamplingSource:
    """Draws `coin` and `below` from the operating system: runs what an `EnumeratingSource` walks."""

    def coin(self, numerator: int | Fraction, denominator: int | Fraction) -> bool:
        """True with probability numerator / denominator, exactly."""
        chance = _probability(numerator, denominator)
        return secrets.randbelow(chance.denominator) < chance.numerator

    def below(self, k: int) -> int:
        """A uniform integer in 0 .. k - 1."""
        if type(k) is not int or k < 1:
            k = checked_integer("k", k, least=1)
        return secrets.randbelow(k)

    def reject(self) -> NoReturn:
        """Starts over."""
        raise Rejected


def takes_source(function: object) -> bool:
    """Whether a callable has a parameter `source` that it cannot do without, and is therefore written on the two primitives."""
    try:
        parameters = inspect.signature(cast(Callable[..., object], function)).parameters
    except (TypeError, ValueError):
        return False
    return "source" in parameters and parameters["source"].default is inspect.Parameter.empty


def sampled(function: Callable[..., Any]) -> Callable[[npt.ArrayLike], list[Any]]:
    """The release that a callable (label, source) makes: labels (n,) -> outputs (n,), each drawn on its own."""
    answer, source = one_answer(function), SamplingSource()

    def release(labels: npt.ArrayLike) -> list[Any]:
        return [_until_accepted(answer, label, source) for label in np.asarray(labels).tolist()]

    return release


def one_answer(function: Callable[..., Any]) -> Callable[[int, Primitives], Any]:
    """A callable with a parameter `source` as one of (label, source); a parameter `labels` is given an array of one label."""
    names = [name for name in inspect.signature(function).parameters if name != "source"]
    if names[:1] == ["labels"]:
        return lambda label, source: function(labels=np.array([label]), source=source)[0]
    if not names:
        raise TypeError("Expected a callable with parameters (label, source), got one without a label.")
    return lambda label, source: function(**{names[0]: label, "source": source})


def _until_accepted(answer: Callable[[int, Primitives], Any], label: int, source: Primitives) -> Any:
    while True:
        try:
            return answer(label, source)
        except Rejected:
            continue


def _probability(numerator: object, denominator: object) -> Fraction:
    whole = all(
        isinstance(value, Fraction) or hasattr(value, "__index__") for value in (numerator, denominator)
    )
    if not whole or isinstance(numerator, bool):
        raise TypeError(
            "Expected the probability of a coin as two integers or fractions, got something else; floats are rounded."
        )
    top, bottom = (
        value if isinstance(value, Fraction) else operator.index(cast(Any, value))
        for value in (numerator, denominator)
    )
    if bottom <= 0 or not 0 <= top <= bottom:
        raise ValueError(f"Expected a coin with 0 <= numerator <= denominator, got {top} of {bottom}.")
    return Fraction(top, bottom)
