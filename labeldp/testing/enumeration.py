"""Exact channels: the code that ships, run over everything it could draw. No randomness and no statistics are involved."""

import contextlib
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from fractions import Fraction
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from labeldp.mechanisms import Mechanism, Plan
from labeldp.mechanisms.parameters import checked_integer
from labeldp.mechanisms.thresholds import exponential_below
from labeldp.testing.sources import EnumeratingSource, Rejected, one_answer
from labeldp.testing.sources import NotEnumerable as NotEnumerable
from labeldp.testing.sources import sampled as sampled
from labeldp.testing.sources import takes_source as takes_source

MAX_DRAWS = 2**20

Channel: TypeAlias = list[list[Fraction]]
"""Q[y][o]: one row for each label, one column for each output."""

Law: TypeAlias = dict[Any, Fraction]
"""The outputs that are possible for one label, with their probabilities."""


def enumerate_channel(
    mechanism: Mechanism | Callable[..., Any],
    *,
    prior_row: npt.ArrayLike | None = None,
    bits: int | None = None,
    num_classes: int | None = None,
) -> Channel:
    """The channel of one item as exact fractions, from the code that runs.

    A mechanism's `choose` answers every label once with every possible row of words, at a small word width; the answers are counted, and
    words that it rejects are left out, as drawing again does. A callable is run once for every outcome of the choices it makes.

    Args:
        mechanism: a mechanism of `labeldp`, or one with the same methods; or a callable with parameters (label, source) that returns a
            hashable output and draws from `source.coin(numerator, denominator)` and `source.below(k)` only.
        prior_row: the item's prior (K,), where the mechanism needs one.
        bits: width of a word; by default 11, or as many as the epsilon needs and 2^20 draws for a label allow.
        num_classes: K, for a callable.

    Returns:
        K rows of m fractions, each row summing to exactly 1; columns as in `mechanism.channel`, or the outputs of a callable that are
        possible for some label, in the order of `enumerate_outputs`.

    Raises:
        ValueError: words so narrow that an outcome would get none, or so wide that there are too many draws; `NotEnumerable` where a
            callable has too many outcomes, runs without an end, or randomness of its own.
        TypeError: neither a mechanism nor a callable with a parameter `source`, or a callable without num_classes.
    """
    if not hasattr(mechanism, "choose"):
        laws = enumerate_outputs(cast(Callable[..., Any], mechanism), num_classes=num_classes)
        return [list(law.values()) for law in laws]
    mechanism = cast(Mechanism, mechanism)
    if bits is not None:
        return _channel(mechanism, mechanism.plan(prior_row, 1), bits)
    plan, widest = mechanism.plan(prior_row, 1), 20 // mechanism.num_words
    for width in (min(width, widest) for width in (11, 15)):
        with contextlib.suppress(ValueError):  # too narrow for this epsilon
            return _channel(mechanism, plan, width)
    return _channel(mechanism, plan, widest)


def enumerate_outputs(function: Callable[..., Any], *, num_classes: int | None) -> list[Law]:
    """For each label the outputs of a callable (label, source) with their exact probabilities.

    Returns:
        K mappings with the same keys in the same order: every output that is possible for some label, sorted where outputs can be
        compared, and by their text where they cannot. Arrays and lists become tuples, sets become frozensets.

    Raises:
        TypeError, ValueError: as for `enumerate_channel`.
    """
    if not callable(function) or not takes_source(function):
        raise TypeError(
            f"Expected a mechanism of labeldp or a callable with parameters (label, source), got {function!r}; what draws its own "
            f"randomness cannot be enumerated, only audited."
        )
    if num_classes is None:
        raise TypeError("Expected num_classes=... with a callable, got None.")
    answer = one_answer(function)
    laws = [_law(answer, label) for label in range(checked_integer("num_classes", num_classes, least=1))]
    outputs = _sorted({output for law in laws for output in law})
    return [{output: law.get(output, Fraction(0)) for output in outputs} for law in laws]


def largest_ratio(channel: Channel) -> Fraction | None:
    """The largest ratio of two entries of one column, exactly; None if it is infinite."""
    columns = [column for column in zip(*channel, strict=True) if any(column)]
    if any(0 in column for column in columns):
        return None
    return max(max(column) / min(column) for column in columns)


def assert_channel(
    mechanism: Mechanism | Callable[..., Any],
    expected: Sequence[Any] | Callable[[Fraction], Sequence[Any]] | None = None,
    *,
    epsilon: float | None = None,
    prior_row: npt.ArrayLike | None = None,
    bits: int | None = None,
    num_classes: int | None = None,
) -> None:
    """Proves that one answer is epsilon-DP, or that its law is the one expected, by enumerating the code that runs.

    Ratios are compared with a rational lower bound of e^epsilon. For a mechanism of `labeldp` the ratio at the word width in use,
    `realized_ratio()`, is compared as well. A callable's claim is read as a float is, up to the next float above: `math.log(2)` itself
    lies below ln 2.

    Args:
        mechanism, prior_row, bits, num_classes: as for `enumerate_channel`.
        expected: K rows of fractions as `enumerate_channel` gives them, or K mappings from outputs to fractions; or a function that makes
            them from the largest ratio of the channel, for laws written with e^epsilon, for which a sampler has a rational.
        epsilon: what is claimed; by default what the mechanism says of itself. Without both, only `expected` is compared.

    Raises:
        AssertionError: a ratio above e^epsilon, or another law; with labels, output and exact fractions.
        TypeError, ValueError: nothing to compare with, or as for `enumerate_channel`.
    """
    claim = getattr(mechanism, "epsilon", None) if epsilon is None else epsilon
    if claim is None and expected is None:
        raise TypeError("Expected epsilon=... or an expected law to compare the channel with, got neither.")
    if hasattr(mechanism, "choose"):
        mechanism = cast(Mechanism, mechanism)
        outputs = [answer_key(output) for output in mechanism.outputs()]
        channel = enumerate_channel(mechanism, prior_row=prior_row, bits=bits)
    else:
        laws = enumerate_outputs(cast(Callable[..., Any], mechanism), num_classes=num_classes)
        outputs, channel = list(laws[0]), [list(law.values()) for law in laws]
    if claim is not None:
        allowed = _checked_claim(claim)
        ours = hasattr(mechanism, "realized_ratio")
        read = allowed if ours else math.nextafter(allowed, math.inf)
        _assert_ratios(channel, outputs, allowed, exponential_below(read))
        if ours:
            _assert_realized(cast(Mechanism, mechanism), allowed)
    if callable(expected):
        ratio = largest_ratio(channel)
        assert ratio is not None, (
            "An output is possible for one label and impossible for another: no ratio stands for e^epsilon."
        )
        expected = expected(ratio)
    if expected is not None:
        _assert_law(channel, outputs, expected)


def _checked_claim(epsilon: object) -> float:
    """A claim may be larger than any mechanism of ours: it is only compared."""
    if isinstance(epsilon, bool) or not isinstance(epsilon, int | float) or not 0 <= epsilon < math.inf:
        raise ValueError(f"Expected epsilon to be a finite number >= 0, got {epsilon!r}.")
    return float(epsilon)


def _assert_ratios(channel: Channel, outputs: list[Any], epsilon: float, limit: Fraction) -> None:
    """Raises with the pair and output that are furthest apart, if their ratio is above the limit."""
    worst, where = Fraction(1), None
    for index, column in enumerate(zip(*channel, strict=True)):
        high, low = max(column), min(column)
        if high and (not low or high / low > worst):
            where = index, column.index(high), column.index(low)
            if not low:
                break
            worst = high / low
    if where is None:
        return
    column, high, low = where
    likely, unlikely = channel[high][column], channel[low][column]
    if unlikely and likely <= limit * unlikely:
        return
    output = outputs[column]
    raise AssertionError(
        f"Labels {high} and {low} are told apart beyond epsilon = {epsilon} by the output {output!r}:\n"
        f"    P[{output!r} | label {high}] = {likely}\n"
        f"    P[{output!r} | label {low}] = {unlikely}\n"
        f"    {_excess(likely, unlikely, epsilon)}\n"
        f"Exact, not statistical: enumerate_channel shows the same fractions again."
    )


def _excess(likely: Fraction, unlikely: Fraction, epsilon: float) -> str:
    if not unlikely:
        return "the ratio is infinite: no epsilon allows it."
    ratio = likely / unlikely
    text = f"the ratio is {ratio} = e^{_log(ratio):.12g}, above e^{epsilon:.12g}"
    excess = ratio / exponential_below(epsilon) - 1
    if excess < Fraction(1, 10**9):
        text += f" by a factor of 1 + {float(excess):.3g}: round ratios down, as labeldp.testing.exponential_below does"
    return f"{text}."


def _assert_realized(mechanism: Mechanism, epsilon: float) -> None:
    ratio = mechanism.realized_ratio()
    assert ratio <= exponential_below(epsilon), (
        f"The sampler that runs has the ratio {ratio} = e^{_log(ratio):.12g}, above e^{epsilon:.12g}; see {mechanism!r}.realized_ratio()."
    )


def _assert_law(channel: Channel, outputs: list[Any], expected: Sequence[Any]) -> None:
    """Raises at the first entry that differs from the law expected."""
    if len(expected) != len(channel):
        raise ValueError(f"Expected one row for each of {len(channel)} labels, got {len(expected)}.")
    for label, (row, wanted) in enumerate(zip(channel, expected, strict=True)):
        actual = dict(zip(outputs, row, strict=True))
        law = _wanted(wanted, outputs)
        for output in [*outputs, *(output for output in law if output not in actual)]:
            got, want = actual.get(output, Fraction(0)), law.get(output, Fraction(0))
            assert got == want, (
                f"Label {label} is not answered by the law expected:\n"
                f"    P[{output!r} | label {label}] = {got}, about {float(got):.6g}\n"
                f"    expected               {want}, about {float(want):.6g}\n"
                f"Exact, not statistical: enumerate_channel shows the same fractions again."
            )


def _wanted(row: Any, outputs: list[Any]) -> dict[Any, Fraction]:
    """One row of an expected law as a mapping from outputs to fractions."""
    if isinstance(row, Mapping):
        entries = [(answer_key(output), value) for output, value in cast(Mapping[Any, Any], row).items()]
    elif len(row) == len(outputs):
        entries = list(zip(outputs, row, strict=True))
    else:
        raise ValueError(f"Expected rows of {len(outputs)} entries, one for each output, got {len(row)}.")
    if any(isinstance(value, float) for _, value in entries):
        raise TypeError("Expected a law of exact fractions, got a float; use fractions.Fraction.")
    return {output: Fraction(value) for output, value in entries}


def _log(ratio: Fraction) -> float:
    return math.log(ratio.numerator) - math.log(ratio.denominator)


def _law(answer: Callable[[int, Any], Any], label: int) -> Law:
    """The exact law of a callable's answer to one label; what it rejects is left out and the rest scaled to 1."""
    source = EnumeratingSource()
    law: Law = {}
    for _ in source.runs():
        try:
            output = answer_key(answer(label, source))
        except Rejected:
            continue
        law[output] = law.get(output, 0) + source.weight
    total = sum(law.values(), Fraction(0))
    if not total:
        raise NotEnumerable(f"Expected an output for label {label}, got only rejections.")
    return law if total == 1 else {output: weight / total for output, weight in law.items()}


def answer_key(output: Any) -> Any:
    """An output as something hashable that shows its value."""
    match output:
        case np.ndarray() | np.generic():
            return answer_key(output.tolist())
        case list() | tuple():
            return tuple(answer_key(part) for part in cast(Sequence[Any], output))
        case set():
            return frozenset(cast(set[Any], output))
        case _:
            return output


def _sorted(outputs: Collection[Any]) -> list[Any]:
    try:
        if not any(isinstance(output, frozenset) for output in outputs):
            return sorted(outputs)
    except TypeError:
        pass
    return sorted(outputs, key=_text)


def _text(output: Any) -> str:
    """The text of an output; that of a set does not depend on the order of its members."""
    return repr(_sorted(cast(frozenset[Any], output)) if isinstance(output, frozenset) else output)


def _every_row(width: int, num_words: int) -> npt.NDArray[np.uint64]:
    """All rows of num_words words of the given width; (2^(width * num_words), num_words)."""
    number = np.arange(2 ** (width * num_words), dtype=np.uint64)[:, None]
    shift = np.arange(num_words, dtype=np.uint64) * np.uint64(width)
    return (number >> shift) & np.uint64(2**width - 1)


def _channel(mechanism: Mechanism, plan: Plan, width: int) -> Channel:
    """The channel of the one item of the plan, from all words of the given width."""
    draws = 2 ** (width * mechanism.num_words)
    if width < 1 or draws > MAX_DRAWS:
        raise ValueError(
            f"Expected at most 2^20 draws, got {mechanism.num_words} words of {width} bits; "
            f"use narrower words, or a smaller mechanism of the same kind."
        )
    words, plans = _every_row(width, mechanism.num_words), plan[np.zeros(draws, dtype=np.intp)]
    column = {code: index for index, code in enumerate(_codes(mechanism.outputs()).tolist())}
    channel: Channel = []
    for label in range(mechanism.num_classes):
        values, rejected = mechanism.choose(words, np.repeat(np.int64(label), draws), plans, width)
        codes, counts = np.unique(_codes(values)[~rejected], return_counts=True)
        row, total = [Fraction(0)] * len(column), int(counts.sum())
        for code, count in zip(codes.tolist(), counts.tolist(), strict=True):
            assert code in column, (
                f"Label {label} is answered with something that is not among {mechanism!r}.outputs()."
            )
            row[column[code]] = Fraction(count, total)
        channel.append(row)
    return channel


def _codes(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """One sortable code for each answer, equal exactly where answers are; (n,)."""
    if values.ndim == 1:
        return values
    if values.dtype == np.bool_ and values.shape[1] < 64:
        return (values.astype(np.int64) << np.arange(int(values.shape[1]))).sum(axis=1)
    rows = np.ascontiguousarray(values)
    return rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
