"""The bug catalogue: each broken mechanism is killed by a named check, each equivalent one lives, and tests can be scored with both.

Checks of joint faults draw fresh noise: a mutant escapes, or an equivalent is blamed, at a rate below 1e-5.
"""

import functools
import re
from fractions import Fraction
from pathlib import Path

import pytest

from labeldp.testing import (
    assert_channel,
    assert_label_dp,
    assert_release_hygiene,
    enumerate_outputs,
    largest_ratio,
    mutants,
)
from labeldp.testing.mutants import EQUIVALENTS, MUTANTS, WASTEFUL, Mutant, Score, score
from labeldp.testing.mutants.single import selective

SINGLE = [mutant for mutant in MUTANTS if mutant.breaks == "epsilon"]
JOINT = [mutant for mutant in MUTANTS if mutant.breaks == "rows"]


def each(catalogue):
    return pytest.mark.parametrize("mutant", catalogue, ids=lambda mutant: mutant.name)


HYGIENE = {
    "fixed_seed": "freshness",
    "seed_of_eight_bits": "short seeds",
    "seed_of_sixteen_bits": "short seeds",
    "seed_from_the_labels": "freshness",
    "same_seed_each_batch": "lag correlation",
    "same_seed_each_worker": "lag correlation",
    "buffer_used_again": "lag correlation",
    "row_number_in_a_byte": "lag correlation",
    "row_number_in_two_bytes": "long calls",
    "pool_over_all_calls": "long calls",
    "same_seed_each_class": "lag correlation",
    "cached_by_length": "freshness",
    "one_coin_for_all": "number of lies",
    "one_lie_for_all": "lag correlation",
    "one_answer_a_label": "lag correlation",
    "mirrored_pairs": "lag correlation",
    "used_backwards": "lag correlation",
    "coins_that_stick": "lag correlation",
    "lies_by_quota": "number of lies",
    "last_item_kept": "every position",
    "first_item_kept": "every position",
    "incomplete_batch_kept": "every position",
    "tail_kept": "order",
    "every_second_kept": "every position",
    "chunk_starts_kept": "long calls",
    "kept_beyond_two_bytes": "long calls",
    "alone_with_less_noise": "small calls",
    "less_noise_in_small_calls": "small calls",
    "two_labels_kept": "small calls",
    "constant_column_kept": "permutations",
    "rare_label_kept": "small calls",
    "last_row_never_written": "every position",
    "last_answer_twice": "every position",
    "rows_shifted": "row alignment",
    "neighbour_decides": "row alignment",
    "sorted_answers": "order",
    "grouped_by_label": "order",
    "kept_first": "row alignment",
    "type_by_the_largest": "permutations",
    "lies_dropped": "Expected one answer for each label",
    "lies_from_the_last_call": "row alignment",
    "lie_of_another_row": "permutations",
    "domain_from_labels": "permutations",
    "keyed_by_row_alone": "label changes",
    "keyed_by_label_alone": "idempotence",
    "keyed_and_yet_fresh": "idempotence",
    "keyed_last_item_kept": "every position",
}
"""The check that each joint mutant is made for; others may catch it too."""


@each(SINGLE)
def test_a_broken_law_is_killed_by_enumeration(mutant: Mutant) -> None:
    with pytest.raises(AssertionError, match="told apart beyond epsilon"):
        assert_channel(mutant.exact, epsilon=mutant.epsilon, num_classes=mutant.num_classes)


@each(SINGLE)
def test_a_broken_law_is_killed_from_outside(mutant: Mutant) -> None:
    claim = {"epsilon": mutant.epsilon, "num_classes": mutant.num_classes}
    with pytest.raises(AssertionError):
        assert_label_dp(mutant.release, **claim, effort="thorough", seed=1)  # stops when it knows


@each(JOINT)
def test_a_joint_fault_is_killed_by_its_check(mutant: Mutant) -> None:
    with pytest.raises(AssertionError, match=HYGIENE[mutant.name]):
        assert_release_hygiene(mutant.release, num_classes=mutant.num_classes)


@each(WASTEFUL)
def test_a_wasteful_law_is_private_and_killed_by_comparison_with_the_law_meant(mutant: Mutant) -> None:
    assert_channel(mutant.exact, epsilon=mutant.epsilon, num_classes=mutant.num_classes)
    expected = enumerate_outputs(mutant.published, num_classes=mutant.num_classes)
    with pytest.raises(AssertionError, match="not answered by the law expected"):
        assert_channel(mutant.exact, expected, num_classes=mutant.num_classes)


@each(EQUIVALENTS)
def test_an_equivalent_lives(mutant: Mutant) -> None:
    if mutant.exact is not None:
        assert_channel(mutant.exact, epsilon=mutant.epsilon, num_classes=mutant.num_classes)
    assert_release_hygiene(mutant.release, num_classes=mutant.num_classes)


@pytest.mark.slow
@each(EQUIVALENTS)
def test_an_equivalent_lives_under_an_audit(mutant: Mutant) -> None:
    assert_label_dp(mutant.release, epsilon=mutant.epsilon, num_classes=mutant.num_classes)


@pytest.mark.parametrize("name", ["accept_reject", "uniform_first", "one_draw_from_a_table"])
def test_three_ways_to_one_law(name: str) -> None:
    mutant = next(mutant for mutant in EQUIVALENTS if mutant.name == name)
    laws = enumerate_outputs(mutant.published, num_classes=5)
    assert_channel(mutant.exact, laws, num_classes=5)
    ratio = largest_ratio([list(law.values()) for law in laws])
    assert ratio == max(laws[0].values()) / Fraction(min(laws[0].values()))


# The catalogue itself.


def test_names_are_unique_and_say_what_is_wrong() -> None:
    everything = [*MUTANTS, *WASTEFUL, *EQUIVALENTS]
    assert len({mutant.name for mutant in everything}) == len(everything)
    for mutant in everything:
        assert len(mutant.line) > 10
        assert mutant.line.endswith(".")
        assert repr(mutant) == f"<Mutant {mutant.name}>"
    assert {mutant.name for mutant in JOINT} == set(HYGIENE)
    assert len(SINGLE) >= 30
    assert len(JOINT) >= 30


def test_every_function_of_the_catalogue_is_in_it() -> None:
    names = {mutant.name for mutant in (*MUTANTS, *WASTEFUL, *EQUIVALENTS)}
    for module in (mutants.single, mutants.joint):
        functions = {
            name
            for name, value in vars(module).items()
            if getattr(value, "__module__", "") == module.__name__
            and not name.startswith("_")
            and not isinstance(value, type)
        }
        assert functions - names <= {selective.__name__}


def test_the_page_lists_the_whole_catalogue() -> None:
    page = (Path(__file__).parents[2] / "docs" / "testing.md").read_text()
    listed = re.findall(r"^\| `(\w+)` \| (.*) \|$", page, re.MULTILINE)
    everything = (*MUTANTS, *WASTEFUL, *EQUIVALENTS)
    assert listed == [(mutant.name, mutant.line) for mutant in everything]


@each([mutant for mutant in SINGLE if mutant.num_classes < 20])
def test_the_release_has_the_enumerated_law(mutant: Mutant) -> None:
    """Impossible outputs never come, and every likely one does."""
    laws = enumerate_outputs(mutant.exact, num_classes=mutant.num_classes)
    for label, law in enumerate(laws):
        answers = list(mutant.release([label] * 2000))
        assert {output for output, weight in law.items() if weight > Fraction(1, 50)} <= set(answers)
        assert all(law[answer] > 0 for answer in answers)


# Scoring.


def exact_test(mechanism, *, epsilon, num_classes):
    assert_channel(mechanism, epsilon=epsilon, num_classes=num_classes)


@functools.cache
def exact_score() -> Score:
    return score(exact_test, exact=True)


def test_the_exact_layer_scores_full_marks() -> None:
    result = exact_score()
    assert result.survivors == ()
    assert result.false_alarms == ()
    assert result.wasteful == tuple(mutant.name for mutant in WASTEFUL)
    assert set(result.killed) == {mutant.name for mutant in SINGLE}
    assert str(result).endswith(f"{len(SINGLE)} of {len(SINGLE)} killed, 0 of 7 equivalents raised")


def test_a_test_that_sees_nothing_kills_nothing() -> None:
    result = score(lambda mechanism, *, epsilon, num_classes: None)
    assert result.killed == ()
    assert len(result.survivors) == len(MUTANTS)
    assert result.false_alarms == ()


def test_a_test_that_always_fails_is_seen_through() -> None:
    def always(mechanism, *, epsilon, num_classes):
        raise AssertionError

    result = score(always)
    assert result.survivors == ()
    assert len(result.false_alarms) == len(EQUIVALENTS)


def test_a_test_that_breaks_has_killed_nothing() -> None:
    def breaks(mechanism, *, epsilon, num_classes):
        raise KeyError("no such thing")

    result = score(breaks)
    assert result.killed == ()
    assert {outcome.verdict for outcome in result.outcomes} == {"KeyError"}
    assert "KeyError" in str(result)


def test_the_table_is_aligned() -> None:
    lines = str(exact_score()).splitlines()
    columns = [lines[0].index(word) for word in ("breaks", "verdict", "what")]
    for line in lines[1:-1]:
        assert all(line[column - 1] == " " and line[column] != " " for column in columns)


@pytest.mark.slow
def test_our_own_tests_together_score_full_marks() -> None:
    def both(mechanism, *, epsilon, num_classes):
        assert_release_hygiene(mechanism, num_classes=num_classes)
        assert_label_dp(mechanism, epsilon=epsilon, num_classes=num_classes)

    result = score(both)
    assert result.survivors == ()
    assert result.false_alarms == ()
