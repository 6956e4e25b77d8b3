"""The bug catalogue: broken mechanisms with names, and equivalent ones, to score a test of privacy with."""

import functools
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from labeldp.testing.enumeration import enumerate_outputs
from labeldp.testing.mutants import joint, single
from labeldp.testing.mutants.joint import Draws
from labeldp.testing.mutants.single import World


@dataclass(frozen=True)
class Mutant:
    """A broken mechanism, or one that only looks broken.

    Attributes:
        name: what it is called.
        line: what is wrong with it, in one line.
        breaks: "epsilon" (two labels are told apart beyond the claim), "rows" (rows or calls hang together), "law" (no less private, and not
            the law that was meant) or "nothing" (an equivalent, which must survive).
        epsilon: the claim that it comes with.
        num_classes: K.
        release: labels (n,) -> n answers; keyed ones have an attribute `keyed`.
        exact: the same as a callable (label, source) for enumeration; None where rows hang together.
        published: the law that was meant, as such a callable; None where `exact` is.
    """

    name: str
    line: str
    breaks: Literal["epsilon", "rows", "law", "nothing"]
    epsilon: float
    num_classes: int
    release: Callable[..., Any]
    exact: Callable[..., Any] | None = None
    published: Callable[..., Any] | None = None

    def __repr__(self) -> str:
        return f"<Mutant {self.name}>"


@dataclass(frozen=True)
class Outcome:
    """What a test made of one mutant.

    Attributes:
        mutant: which one.
        verdict: "killed" (an AssertionError), "alive", or the name of another exception, which kills nothing.
    """

    mutant: Mutant
    verdict: str


@dataclass(frozen=True)
class Score:
    """What a test made of the catalogue; printed as a table.

    Attributes:
        outcomes: one for each mutant that was tried, in the order of the catalogue.
    """

    outcomes: tuple[Outcome, ...]

    @property
    def killed(self) -> tuple[str, ...]:
        """Names of broken mechanisms that the test caught."""
        return self._names("epsilon", "rows", "law", killed=True)

    @property
    def survivors(self) -> tuple[str, ...]:
        """Names of those that are less private than they say, and were not caught."""
        return self._names("epsilon", "rows", killed=False)

    @property
    def wasteful(self) -> tuple[str, ...]:
        """Names of those that are private, follow another law than was meant, and were not caught; a test of privacy need not."""
        return self._names("law", killed=False)

    @property
    def false_alarms(self) -> tuple[str, ...]:
        """Names of equivalents that the test did not let live."""
        return tuple(
            o.mutant.name for o in self.outcomes if o.mutant.breaks == "nothing" and o.verdict != "alive"
        )

    def _names(self, *breaks: str, killed: bool) -> tuple[str, ...]:
        chosen = [o for o in self.outcomes if o.mutant.breaks in breaks]
        return tuple(o.mutant.name for o in chosen if (o.verdict == "killed") == killed)

    def __str__(self) -> str:
        rows = [("mutant", "breaks", "verdict", "what is wrong")]
        rows += [(o.mutant.name, o.mutant.breaks, o.verdict, o.mutant.line) for o in self.outcomes]
        widths = [max(len(row[column]) for row in rows) for column in range(3)]
        lines = [
            "  ".join([*(cell.ljust(w) for cell, w in zip(row, widths, strict=False)), row[3]])
            for row in rows
        ]
        private = [o for o in self.outcomes if o.mutant.breaks in ("epsilon", "rows")]
        equivalents = sum(o.mutant.breaks == "nothing" for o in self.outcomes)
        lines.append(
            f"{len(private) - len(self.survivors)} of {len(private)} killed, {len(self.false_alarms)} of {equivalents} equivalents raised"
        )
        return "\n".join(lines)


def score(test_function: Callable[..., Any], *, exact: bool = False) -> Score:
    """Tries a test of privacy on the whole catalogue.

    Args:
        test_function: called as `test_function(mechanism, epsilon=..., num_classes=...)` with each mutant and each equivalent; it kills by
            an AssertionError. Other exceptions are recorded and kill nothing.
        exact: give it callables (label, source) that can be enumerated, and only those mutants that have one, instead of callables
            labels (n,) -> n answers.

    Returns:
        What became of each.
    """
    outcomes: list[Outcome] = []
    for mutant in (*MUTANTS, *WASTEFUL, *EQUIVALENTS):
        mechanism = mutant.exact if exact else mutant.release
        if mechanism is None:
            continue
        try:
            test_function(mechanism, epsilon=mutant.epsilon, num_classes=mutant.num_classes)
        except AssertionError:
            verdict = "killed"
        except Exception as error:  # a test that breaks has not caught anything
            verdict = type(error).__name__
        else:
            verdict = "alive"
        outcomes.append(Outcome(mutant, verdict))
    return Score(tuple(outcomes))


def released(function: Callable[..., Any], num_classes: int) -> Callable[[npt.ArrayLike], Any]:
    """A callable (label, source) as labels (n,) -> n answers, each drawn on its own from the enumerated law, at column speed."""

    @functools.cache
    def law() -> tuple[list[Any], npt.NDArray[np.float64]]:
        laws = enumerate_outputs(function, num_classes=num_classes)
        return list(laws[0]), np.array([[float(p) for p in row.values()] for row in laws]).cumsum(axis=1)

    def release(labels: npt.ArrayLike) -> Any:
        outputs, cumulative = law()
        secret = np.asarray(labels, dtype=np.int64)
        uniform = np.random.default_rng().random(len(secret))
        chosen = np.empty(len(secret), dtype=np.int64)
        for label in np.unique(secret):
            rows, last = secret == label, int(np.flatnonzero(np.diff(cumulative[label], prepend=0.0))[-1])
            chosen[rows] = np.minimum(np.searchsorted(cumulative[label], uniform[rows], side="right"), last)
        if all(type(output) is int for output in outputs):
            return np.array(outputs)[chosen]
        return [outputs[index] for index in chosen]

    return release


def _line(function: Callable[..., Any]) -> str:
    return inspect.cleandoc(function.__doc__ or "").split("\n")[0].strip()


def _single(
    function: Callable[..., Any],
    breaks: Literal["epsilon", "law", "nothing"],
    *,
    epsilon: float = 1.0,
    num_classes: int = 5,
    size: int | None = 3,
    prior: tuple[int, ...] = (8, 6, 5, 3, 2),
) -> Mutant:
    """A mutant of one answer; the candidates are the first classes of the prior, or all."""
    candidates = tuple(range(num_classes if size is None else size))
    weights = prior if len(prior) == num_classes else (1,) * num_classes
    world = World(epsilon, num_classes, candidates, weights)
    exact = functools.partial(function, world=world)
    published = functools.partial(single.selective, world=world)
    release = released(exact, num_classes)
    return Mutant(function.__name__, _line(function), breaks, epsilon, num_classes, release, exact, published)


def _joint(
    function: Callable[..., Any], breaks: Literal["rows", "nothing"] = "rows", *, keyed: bool = False
) -> Mutant:
    """A mutant of many answers: randomized response at epsilon 1 with 10 classes."""
    respond = Draws(1.0, 10)

    def release(labels: npt.ArrayLike) -> Any:
        return function(np.asarray(labels, dtype=np.int64), respond)

    release.keyed = keyed  # pyright: ignore[reportFunctionMemberAccess]
    return Mutant(function.__name__, _line(function), breaks, 1.0, 10, release)


MUTANTS: tuple[Mutant, ...] = (
    _single(single.denominator_too_large, "epsilon", epsilon=0.25, size=2),
    _single(single.denominator_too_small, "epsilon"),
    _single(single.kept_as_among_all_classes, "epsilon", epsilon=0.5, num_classes=10, size=2),
    _single(single.lie_among_all_classes, "epsilon"),
    _single(single.lie_may_be_the_truth, "epsilon", size=None),
    _single(single.outsider_takes_the_likeliest, "epsilon"),
    _single(single.outsider_kept, "epsilon"),
    _single(single.outsider_among_all_classes, "epsilon"),
    _single(single.outsiders_miss_the_last, "epsilon"),
    _single(single.outsiders_follow_the_prior, "epsilon", prior=(50, 2, 1, 1, 1)),
    _single(single.outsiders_told_apart, "epsilon"),
    _single(single.membership_shown, "epsilon"),
    _single(single.label_forced_in, "epsilon"),
    _single(single.ties_broken_by_the_label, "epsilon", size=2, prior=(5, 3, 3, 3, 1)),
    _single(single.size_by_the_label, "epsilon", size=4),
    _single(single.certain_and_right, "epsilon", prior=(30, 4, 3, 2, 1)),
    _single(single.single_candidate_keeps, "epsilon", size=1),
    _single(single.lies_follow_the_prior, "epsilon", prior=(50, 20, 1, 1, 1)),
    _single(single.one_uniform_for_coin_and_lie, "epsilon", size=None),
    _single(single.lie_by_modulo, "epsilon", size=4),
    _single(single.coin_flipped_again, "epsilon"),
    _single(single.best_of_three, "epsilon"),
    _single(single.threshold_rounded_up, "epsilon", epsilon=0.5, num_classes=100, size=None),
    _single(single.twice_the_epsilon, "epsilon"),
    _single(single.five_percent_more, "epsilon", num_classes=4, size=None),
    _single(single.lies_suppressed, "epsilon", size=None),
    _single(single.never_the_truth, "epsilon"),
    _single(single.full_epsilon_a_bit, "epsilon", num_classes=3, size=None),
    _single(single.last_bit_kept, "epsilon", num_classes=3, size=None),
    _single(single.set_filled_from_all, "epsilon"),
    _single(single.sensitivity_of_one, "epsilon", num_classes=4, size=None),
    _single(single.wraps_beyond_a_byte, "epsilon", epsilon=0.25, num_classes=200, size=None),
    _joint(joint.fixed_seed),
    _joint(joint.seed_of_eight_bits),
    _joint(joint.seed_of_sixteen_bits),
    _joint(joint.seed_from_the_labels),
    _joint(joint.same_seed_each_batch),
    _joint(joint.same_seed_each_worker),
    _joint(joint.buffer_used_again),
    _joint(joint.row_number_in_a_byte),
    _joint(joint.row_number_in_two_bytes),
    _joint(joint.pool_over_all_calls),
    _joint(joint.same_seed_each_class),
    _joint(joint.cached_by_length),
    _joint(joint.one_coin_for_all),
    _joint(joint.one_lie_for_all),
    _joint(joint.one_answer_a_label),
    _joint(joint.mirrored_pairs),
    _joint(joint.used_backwards),
    _joint(joint.coins_that_stick),
    _joint(joint.lies_by_quota),
    _joint(joint.last_item_kept),
    _joint(joint.first_item_kept),
    _joint(joint.incomplete_batch_kept),
    _joint(joint.tail_kept),
    _joint(joint.every_second_kept),
    _joint(joint.chunk_starts_kept),
    _joint(joint.kept_beyond_two_bytes),
    _joint(joint.alone_with_less_noise),
    _joint(joint.less_noise_in_small_calls),
    _joint(joint.two_labels_kept),
    _joint(joint.constant_column_kept),
    _joint(joint.rare_label_kept),
    _joint(joint.last_row_never_written),
    _joint(joint.last_answer_twice),
    _joint(joint.rows_shifted),
    _joint(joint.neighbour_decides),
    _joint(joint.sorted_answers),
    _joint(joint.grouped_by_label),
    _joint(joint.kept_first),
    _joint(joint.type_by_the_largest),
    _joint(joint.lies_dropped),
    _joint(joint.lies_from_the_last_call),
    _joint(joint.lie_of_another_row),
    _joint(joint.domain_from_labels),
    _joint(joint.keyed_by_row_alone, keyed=True),
    _joint(joint.keyed_by_label_alone, keyed=True),
    _joint(joint.keyed_and_yet_fresh, keyed=True),
    _joint(joint.keyed_last_item_kept, keyed=True),
)
"""Broken mechanisms: each can be told from a private one."""

WASTEFUL: tuple[Mutant, ...] = (
    _single(single.two_to_the_epsilon, "law"),
    _single(single.one_candidate_too_few, "law"),
)
"""Mechanisms that are private and follow another law than was meant; `assert_channel` with the published law sees them."""

EQUIVALENTS: tuple[Mutant, ...] = (
    _single(single.accept_reject, "nothing"),
    _single(single.uniform_first, "nothing"),
    _single(single.one_draw_from_a_table, "nothing"),
    _single(single.bit_by_bit, "nothing", num_classes=3, size=None),
    _single(single.other_randomized, "nothing"),
    _single(single.threshold_rounded_down, "nothing", size=None),
    _single(single.set_of_two, "nothing"),
    _joint(joint.own_seed_each_batch, "nothing"),
    _joint(joint.answered_in_random_order, "nothing"),
    _joint(joint.answers_as_texts, "nothing"),
    _joint(joint.answers_as_sets, "nothing"),
    _joint(joint.keyed_by_row_and_label, "nothing", keyed=True),
)
"""Mechanisms that only look broken, and must survive every test."""
