"""The exact layer: callables are walked through every outcome, and channels are compared with claims and laws as fractions."""

import math
import random
from collections.abc import Callable
from fractions import Fraction
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labeldp
from labeldp.testing import (
    EnumeratingSource,
    NotEnumerable,
    SamplingSource,
    assert_channel,
    enumerate_channel,
    enumerate_outputs,
    exponential_below,
    largest_ratio,
    sources,
)
from labeldp.testing.sources import sampled, takes_source
from tests import oracles
from tests.strategies import Case, cases

E = exponential_below(1.0)


def randomized_response(label, source, num_classes=5, ratio=E):
    if source.coin(ratio, ratio + num_classes - 1):
        return label
    lie = source.below(num_classes - 1)
    return lie + (lie >= label)


def lie_may_be_the_truth(label, source, num_classes=5):
    return label if source.coin(E, E + num_classes - 1) else source.below(num_classes)


# Walking every outcome.


def test_a_callable_has_the_published_channel() -> None:
    channel = enumerate_channel(randomized_response, num_classes=5)
    assert channel == oracles.randomized_response(E, 5)
    assert largest_ratio(channel) == E


Program = Any  # an output, or ("coin", numerator, denominator, Program, Program), or ("below", (Program, ...)), or "reject"


def programs() -> st.SearchStrategy[Program]:
    leaves = st.one_of(st.integers(0, 3), st.just("reject"))

    def choices(inner: st.SearchStrategy[Program]) -> st.SearchStrategy[Program]:
        coins = st.tuples(st.just("coin"), st.integers(0, 4), st.integers(4, 9), inner, inner)
        return st.one_of(
            coins, st.tuples(st.just("below"), st.lists(inner, min_size=1, max_size=4).map(tuple))
        )

    return st.recursive(leaves, choices, max_leaves=25)


def run(program: Program, source: Any) -> int:
    while not isinstance(program, int):
        if program == "reject":
            source.reject()
        elif program[0] == "coin":
            program = program[3] if source.coin(program[1], program[2]) else program[4]
        else:
            program = program[1][source.below(len(program[1]))]
    return program


def law_of(program: Program) -> dict[Any, Fraction]:
    """The law of a program by the rule of total probability, rejections included."""
    if isinstance(program, int) or program == "reject":
        return {program: Fraction(1)}
    if program[0] == "coin":
        heads = Fraction(program[1], program[2])
        parts = [(heads, program[3]), (1 - heads, program[4])]
    else:
        parts = [(Fraction(1, len(program[1])), part) for part in program[1]]
    law: dict[Any, Fraction] = {}
    for weight, part in parts:
        for output, probability in law_of(part).items():
            law[output] = law.get(output, Fraction(0)) + weight * probability
    return {output: weight for output, weight in law.items() if weight}


@settings(deadline=None, max_examples=100)
@given(programs())
def test_every_program_has_the_law_of_its_choices(program: Program) -> None:
    law = law_of(program)
    rejected = law.pop("reject", Fraction(0))
    if not law:
        with pytest.raises(NotEnumerable, match="only rejections"):
            enumerate_outputs(lambda label, source: run(program, source), num_classes=1)
        return
    expected = {output: weight / (1 - rejected) for output, weight in law.items()}
    (found,) = enumerate_outputs(lambda label, source: run(program, source), num_classes=1)
    assert found == expected


def test_every_outcome_is_walked_once() -> None:
    source = EnumeratingSource()
    seen = []
    for _ in source.runs():
        first = source.below(3)
        second = source.coin(first, 2) if first < 3 else None
        seen.append((first, second, source.weight))
    assert seen == [
        (0, False, Fraction(1, 3)),
        (1, True, Fraction(1, 6)),
        (1, False, Fraction(1, 6)),
        (2, True, Fraction(1, 3)),
    ]


def test_drawing_again_by_reject_conditions_on_what_is_accepted() -> None:
    def among_two(label, source):
        answer = randomized_response(label, source)
        return answer if answer < 2 else source.reject()

    expected = oracles.selective(E, [True, True, False, False, False], "uniform")
    assert enumerate_channel(among_two, num_classes=5) == [row[:2] for row in expected]


def test_a_loop_without_an_end_is_refused_with_the_way_out() -> None:
    def among_two(label, source):
        while (answer := randomized_response(label, source)) >= 2:
            pass
        return answer

    with pytest.raises(NotEnumerable, match=r"no last round\. Call `source.reject\(\)`"):
        enumerate_channel(among_two, num_classes=5)


def test_too_many_outcomes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "MAX_RUNS", 1000)
    with pytest.raises(NotEnumerable, match="at most 1000 outcomes"):
        enumerate_channel(lambda label, source: source.below(1001), num_classes=2)
    assert len(enumerate_channel(lambda label, source: source.below(1000), num_classes=2)[0]) == 1000


def test_randomness_of_its_own_is_noticed() -> None:
    generator = random.Random(0)

    def half_hidden(label, source):
        return source.below(2 + generator.randrange(3))

    with pytest.raises(NotEnumerable, match="come from its source"):
        enumerate_channel(half_hidden, num_classes=4)


def test_state_between_calls_is_noticed() -> None:
    calls = []

    def counting(label, source):
        calls.append(label)
        return source.below(2) if len(calls) % 2 else source.below(2) + source.below(2)

    with pytest.raises(NotEnumerable, match="come from its source"):
        enumerate_channel(counting, num_classes=4)


@pytest.mark.parametrize(
    "call",
    [
        lambda source: source.coin(3, 2),
        lambda source: source.coin(-1, 2),
        lambda source: source.coin(0, 0),
        lambda source: source.coin(0.5, 1),
        lambda source: source.coin(True, 2),
        lambda source: source.below(0),
        lambda source: source.below(2.0),
    ],
)
@pytest.mark.parametrize("kind", [EnumeratingSource, SamplingSource])
def test_a_choice_that_is_none_is_refused(call: Callable, kind: type) -> None:
    with pytest.raises((TypeError, ValueError), match="Expected"):
        call(kind())


def test_outputs_may_be_anything() -> None:
    def strange(label, source):
        return [{label, 7}, [1, label], None, "text", np.array([True, False]), np.int64(label)][
            source.below(6)
        ]

    laws = enumerate_outputs(strange, num_classes=2)
    assert set(laws[0]) == {
        frozenset({0, 7}),
        frozenset({1, 7}),
        (1, 0),
        (1, 1),
        None,
        "text",
        (True, False),
        0,
        1,
    }
    assert list(laws[0]) == list(laws[1])
    assert laws[1][frozenset({1, 7})] == laws[0][None] == Fraction(1, 6)
    assert laws[1][0] == 0
    assert list(enumerate_outputs(lambda label, source: 9 - source.below(3), num_classes=1)[0]) == [7, 8, 9]


def test_parameters_are_found_by_name() -> None:
    by_name = [
        lambda source, label: randomized_response(label, source),
        lambda labels, source: np.array([randomized_response(int(y), source) for y in labels]),
        partial(randomized_response, num_classes=5),
    ]
    for function in by_name:
        assert takes_source(function)
        assert enumerate_channel(function, num_classes=5) == oracles.randomized_response(E, 5)
    for other in (lambda labels: labels, lambda labels, source=None: labels, labeldp.privatize, 3, min):
        assert not takes_source(other)


def test_what_cannot_be_enumerated_says_so() -> None:
    for call in (
        lambda: enumerate_channel(lambda labels: labels, num_classes=3),
        lambda: enumerate_channel(3, num_classes=3),
        lambda: enumerate_channel(randomized_response),
        lambda: enumerate_channel(lambda source: 0, num_classes=3),
        lambda: assert_channel(randomized_response, num_classes=5),
    ):
        with pytest.raises(TypeError, match="Expected"):
            call()


def test_what_is_sampled_is_what_is_enumerated(monkeypatch: pytest.MonkeyPatch) -> None:
    """Seeded here, so decided once: frequencies of the drawn release against the enumerated law, and a twin."""
    monkeypatch.setattr(sources.secrets, "randbelow", random.Random(1).randrange)

    def among_three(label, source):
        answer = randomized_response(label, source)
        return answer if answer < 3 else source.reject()

    law = enumerate_channel(among_three, num_classes=5)[1]
    counts = np.bincount(sampled(among_three)(np.ones(20_000, dtype=int)), minlength=3)
    spread = np.abs(counts - 20_000 * np.array(law, dtype=float)) / np.sqrt(20_000 / 4)
    assert spread.max() < 4
    wrong = np.array(enumerate_channel(among_three, num_classes=5)[0], dtype=float)
    assert (np.abs(counts - 20_000 * wrong) / np.sqrt(20_000 / 4)).max() > 10


# Mechanisms.


@settings(deadline=None, max_examples=10)
@given(cases())
def test_every_mechanism_passes_at_its_own_epsilon(case: Case) -> None:
    assert_channel(case.mechanism, prior_row=case.prior_row)


def test_less_than_the_epsilon_in_use_is_refuted() -> None:
    for mechanism in (labeldp.RandomizedResponse(1.0, 4), labeldp.SubsetSelection(1.0, 4)):
        with pytest.raises(AssertionError, match=r"told apart beyond epsilon = 0\.9"):
            assert_channel(mechanism, epsilon=0.9)


def test_words_widen_with_epsilon() -> None:
    for epsilon in (1.0, 7.9, 9.0, 10.5):
        ratio = largest_ratio(enumerate_channel(labeldp.RandomizedResponse(epsilon, 10)))
        assert ratio is not None
        assert ratio <= exponential_below(epsilon)
        assert ratio > 1
    with pytest.raises(ValueError, match="wider words"):
        enumerate_channel(labeldp.RandomizedResponse(20.0, 10))


def test_a_realized_ratio_above_epsilon_is_refuted() -> None:
    class Boasting(labeldp.RandomizedResponse):
        def realized_ratio(self):
            return exponential_below(self.epsilon) * (1 + Fraction(1, 10**30))

    with pytest.raises(AssertionError, match="sampler that runs"):
        assert_channel(Boasting(1.0, 4))


def test_an_answer_that_is_no_output_is_named() -> None:
    class Stray(labeldp.RandomizedResponse):
        def choose(self, words, labels, plan, bits):
            values, rejected = super().choose(words, labels, plan, bits)
            return values - 1, rejected

    with pytest.raises(AssertionError, match="not among"):
        assert_channel(Stray(1.0, 4))


# Claims.


def test_a_failure_names_labels_output_and_fractions() -> None:
    with pytest.raises(AssertionError) as caught:
        assert_channel(lie_may_be_the_truth, epsilon=1.0, num_classes=5)
    row = enumerate_channel(lie_may_be_the_truth, num_classes=5)[0]
    text = str(caught.value)
    assert "Labels 0 and 1 are told apart beyond epsilon = 1.0 by the output 0" in text
    assert f"P[0 | label 0] = {row[0]}\n" in text
    assert f"P[0 | label 1] = {row[1]}\n" in text
    assert f"the ratio is {row[0] / row[1]} = e^" in text
    assert "not statistical" in text


def test_an_impossible_output_is_an_infinite_ratio() -> None:
    with pytest.raises(AssertionError, match="infinite: no epsilon allows it"):
        assert_channel(lambda label, source: label, epsilon=600.0, num_classes=2)


@pytest.mark.parametrize("ratio", [2, 3, 10])
def test_a_claim_is_read_as_a_float_is(ratio: int) -> None:
    """log(2) as a float lies below ln 2: a coin of exactly 2 : 1 passes, one part in 10^15 more does not."""
    exact = partial(randomized_response, num_classes=3, ratio=Fraction(ratio))
    assert_channel(exact, epsilon=math.log(ratio), num_classes=3)
    more = partial(randomized_response, num_classes=3, ratio=ratio * (1 + Fraction(1, 10**15)))
    with pytest.raises(AssertionError, match="round ratios down"):
        assert_channel(more, epsilon=math.log(ratio), num_classes=3)


@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), float("inf"), True, "1"])
def test_a_claim_that_is_none_is_refused(epsilon: Any) -> None:
    with pytest.raises(ValueError, match="Expected epsilon"):
        assert_channel(randomized_response, epsilon=epsilon, num_classes=5)


# Laws.


def test_the_expected_law_may_be_rows_mappings_or_a_function_of_the_ratio() -> None:
    rows = oracles.randomized_response(E, 5)
    assert_channel(randomized_response, rows, num_classes=5)
    assert_channel(randomized_response, [dict(enumerate(row)) for row in rows], num_classes=5)
    assert_channel(
        labeldp.RandomizedResponse(1.0, 5), lambda ratio: oracles.randomized_response(ratio, 5), epsilon=1.0
    )


def test_another_law_is_refuted_though_it_is_private() -> None:
    half = partial(randomized_response, ratio=exponential_below(0.5))
    assert_channel(half, epsilon=1.0, num_classes=5)
    for expected in (oracles.randomized_response(E, 5), [{0: Fraction(1)}] * 5, [{"no": Fraction(1)}] * 5):
        with pytest.raises(AssertionError, match="Label 0 is not answered by the law expected"):
            assert_channel(half, expected, num_classes=5)


def test_a_law_of_the_wrong_shape_or_kind_is_refused() -> None:
    rows = oracles.randomized_response(E, 5)
    for expected in (rows[:4], [row[:4] for row in rows], np.array(rows, dtype=float).tolist()):
        with pytest.raises((TypeError, ValueError), match="Expected"):
            assert_channel(randomized_response, expected, num_classes=5)
