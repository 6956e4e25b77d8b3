"""Compiled loops and numpy make the same candidates and the same answers, or fail in the same way."""

import subprocess
import sys
import time
from collections.abc import Callable
from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import labeldp
from labeldp.mechanisms import compiled, selection
from labeldp.mechanisms.mechanism import Plan
from labeldp.mechanisms.prior import integer_weights
from labeldp.mechanisms.thresholds import integers, thresholds, thresholds_by_alphabet
from tests.strategies import EPSILONS, prior_rows

kernels = pytest.importorskip("labeldp.mechanisms.kernels")
many = pytest.importorskip("labeldp.mechanisms.kernels_many_classes")
STEADY = settings(deadline=None, max_examples=60)
RULES = [("accuracy", "uniform"), ("information", "uniform"), ("information", "other"), (3, "uniform")]
each_rule = pytest.mark.parametrize(("size", "outside"), RULES, ids=str)


@pytest.fixture(autouse=True)
def _every_release_is_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LARGE", 0)


def on_both_paths(call: Callable[[], Any]) -> list[Any]:
    """What a call returns or raises, compiled and with numpy."""
    outcomes = []
    for allowed in (True, False):
        compiled.allowed = allowed
        try:
            outcomes.append(call())
        except ValueError as error:
            outcomes.append(str(error))
        finally:
            compiled.allowed = True
    return outcomes


def assert_same_candidates(mechanism: labeldp.SelectiveRandomizedResponse, prior: Any) -> None:
    with_loops, with_numpy = on_both_paths(lambda: mechanism.candidates(prior))
    np.testing.assert_array_equal(with_loops, with_numpy)


# Candidates.


def hostile_rows(num_classes: int, num_items: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Priors with ties, zeros, near ties, tiny and huge entries, and smooth ones; float64."""
    shape = (num_items, num_classes)
    rows = [rng.dirichlet(np.full(num_classes, a), size=num_items) for a in (0.05, 0.5, 100.0)]
    rows.append(rng.choice([0, 0.1, 0.1 + 1e-17, 0.5, 1, 1e-300, 1e300, 2.0**-60], size=shape))
    rows.append(rng.choice([0.0, -0.0, 1e-320, 5e-324], size=shape))
    rows.append(rng.integers(3, size=shape) * 0.25)
    rows += [np.ones(shape), np.geomspace(1, 1e-15, num_classes) * np.ones(shape)]
    for block in rows:
        block[:, 0] += np.where(block.any(axis=1), 0, 1e-3)
    return rows


@each_rule
@pytest.mark.parametrize("num_classes", [3, 10, 16, 17, 33, 130])
def test_candidates_are_the_same_on_hostile_priors(num_classes: int, size, outside) -> None:
    rng = np.random.default_rng(num_classes)
    for epsilon in (0.0, 5e-324, 1e-5, 0.3, 1.0, 4.0, 40.0, 80.0):
        mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=outside)
        for rows in hostile_rows(num_classes, 30, rng):
            assert_same_candidates(mechanism, rows)
            with np.errstate(over="ignore"):
                single = rows.astype(np.float32)
            if np.isfinite(single).all() and (single > 0).any(axis=1).all():
                assert_same_candidates(mechanism, single)


@STEADY
@given(st.data(), st.sampled_from([2, 5, 16, 17, 33]), EPSILONS, st.sampled_from(RULES))
def test_candidates_are_the_same(data, num_classes: int, epsilon: float, rule) -> None:
    rows = np.array([data.draw(prior_rows(num_classes)) for _ in range(3)])
    size = rule[0] if isinstance(rule[0], str) else min(rule[0], num_classes)
    mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=rule[1])
    assert_same_candidates(mechanism, rows)


LAYOUTS = {
    "Fortran": np.asfortranarray,
    "strided": lambda rows: np.repeat(rows, 2, axis=0)[::2],
    "classes reversed": lambda rows: rows[:, ::-1],
    "broadcast": lambda rows: np.broadcast_to(rows[0], rows.shape),
    "broadcast classes": lambda rows: np.broadcast_to(rows[:, :1], rows.shape),
    "one row": lambda rows: rows[0],
    "big endian": lambda rows: rows.astype(">f4"),
    "half": lambda rows: rows.astype(np.float16),
    "integers": lambda rows: (rows * 1000).astype(np.int32) + 1,
    "list": lambda rows: rows.tolist(),
    "none": lambda rows: rows[:0],
}


@each_rule
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("num_classes", [9, 33])
def test_any_layout_of_a_prior_will_do(layout: str, num_classes: int, size, outside) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(num_classes), size=300)
    rows.flags.writeable = False
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, num_classes, size=size, outside=outside)
    assert_same_candidates(mechanism, LAYOUTS[layout](rows))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("num_classes", [9, 33])
@pytest.mark.parametrize("bad", [np.nan, -np.nan, np.inf, -np.inf, -1.0, -1e-45, "zero", "negative zero"])
def test_a_bad_row_is_refused_with_the_same_words(bad, num_classes: int, dtype) -> None:
    rows = np.random.default_rng(0).dirichlet(np.ones(num_classes), size=300).astype(dtype)
    if isinstance(bad, str):
        rows[[217, 250]] = 0.0 if bad == "zero" else -0.0
    else:
        rows[[217, 250], [num_classes - 1, 0]] = np.copysign(dtype(bad), bad)
    for size in ("accuracy", "information", 3):
        mechanism = labeldp.SelectiveRandomizedResponse(1.0, num_classes, size=size)
        with_loops, with_numpy = on_both_paths(lambda m=mechanism: m.candidates(rows))
        assert with_loops == with_numpy
        assert "2 of 300 rows are not, the first is row 217" in with_loops


def test_the_rest_of_a_block_of_rows_is_not_forgotten() -> None:
    for n in (1, 2, 127, 128, 129, 255):
        for num_classes in (5, 33, 1500):
            rows = np.random.default_rng(n).dirichlet(np.ones(num_classes), size=n)
            for size, outside in RULES:
                mechanism = labeldp.SelectiveRandomizedResponse(1.0, num_classes, size=size, outside=outside)
                assert_same_candidates(mechanism, rows)


# The search for the most informative size leaves nothing out.


def test_logarithms_are_right_and_the_same_compiled() -> None:
    x = np.concatenate([np.geomspace(1e-300, 1e300, 2001), 1 + np.linspace(-0.3, 0.5, 2001)])
    ours = selection.natural_log(x)
    exact = np.array([float(mpmath.log(mpmath.mpf(float(v)))) for v in x])
    assert (np.abs(ours - exact) <= 1e-15 * (1 + np.abs(exact))).all()
    assert [many.natural_log(float(v)) for v in x] == ours.tolist()
    assert [many.heat_units(float(v), 3.0) for v in x[:100]] == selection.heat_units(x[:100], 3.0).tolist()


def information_of_every_size(ordered: np.ndarray, epsilon: float, *, other: bool) -> np.ndarray:
    """In nats, computed in the plainest way; column k - 1."""
    num_classes, p = ordered.shape[1], ordered / ordered.sum(axis=1, keepdims=True)
    columns = []
    for k in range(1, num_classes + 1):
        mechanism = labeldp.SelectiveRandomizedResponse(
            epsilon, num_classes, size=k, outside="other" if other else "uniform"
        )
        channel = mechanism.channel(np.arange(num_classes, 0.0, -1))
        output = p @ channel
        with np.errstate(divide="ignore", invalid="ignore"):
            joint = p[:, :, None] * channel * np.log(channel / output[:, None, :])
        columns.append(np.nansum(joint, axis=(1, 2)))
    return np.stack(columns, axis=1)


@pytest.mark.parametrize("other", [False, True], ids=["uniform", "other"])
@pytest.mark.parametrize("epsilon", [2.0**-12, 0.1, 1.0, 3.0, 8.0, 40.0])
def test_the_most_informative_size_is_found_among_many(epsilon: float, other: bool) -> None:
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.dirichlet(np.full(24, a), size=40) for a in (0.05, 0.3, 1.0, 30.0)])
    rows = np.concatenate([rows, rows * (rows > np.median(rows, axis=1, keepdims=True))])
    ordered = -np.sort(-integer_weights(rows), axis=1)
    information = information_of_every_size(ordered, epsilon, other=other)
    mechanism = labeldp.SelectiveRandomizedResponse(
        epsilon, 24, size="information", outside="other" if other else "uniform"
    )
    size = mechanism.candidates(rows).sum(axis=1)
    reached = information[np.arange(len(rows)), size - 1]
    allowed = (np.arange(1, 25) >= 2) & (ordered > 0)
    best = np.where(allowed, information, -np.inf).max(axis=1)
    assert (reached >= best - 1e-12 - 1e-13 * epsilon).all()


@pytest.mark.parametrize("other", [False, True], ids=["uniform", "other"])
@pytest.mark.parametrize("epsilon", [0.01, 0.5, 2.0, 6.0, 30.0])
def test_no_size_has_more_information_than_its_bounds(epsilon: float, other: bool) -> None:
    rng = np.random.default_rng(1)
    ordered = -np.sort(
        -np.concatenate([rng.dirichlet(np.full(24, a), size=30) for a in (0.1, 1, 20)]), axis=1
    )
    information = information_of_every_size(ordered, epsilon, other=other)
    table = selection.information_table(epsilon, 24, other)
    mass, slack = np.minimum(ordered.cumsum(axis=1), 1), table.slack + 1e-13 * epsilon
    if not other:
        columns = (column[1:-1] for column in (table.most, table.bend, table.steep, table.inverse))
        bound = selection.information_bound(ordered[:, :1], mass, (ordered**2).cumsum(axis=1), *columns)
        assert (information <= bound + slack).all()
    for k in range(1, 23 if other else 24):
        beyond = information[:, k : 23 if other else 24].max(axis=1)
        assert (beyond <= table.most_beyond[k + 1] + slack).all()
        for line in range(2):
            bound = [
                many.information_beyond(
                    mass[i, k - 1],
                    ordered[i, k - 1],
                    k,
                    (table.base[line, k + 1], table.slope[line, k + 1], table.turn[line, k + 1]),
                    table.slope_times_size[line],
                )
                for i in range(len(ordered))
            ]
            assert (beyond <= np.array(bound) + slack).all()


def test_with_other_all_classes_are_answered_like_all_but_one() -> None:
    """Why the bounds with "other" leave out size K."""
    rows = np.random.default_rng(0).dirichlet(np.ones(20), size=5)
    information = information_of_every_size(-np.sort(-rows, axis=1), 1.0, other=True)
    np.testing.assert_allclose(information[:, -1], information[:, -2], rtol=1e-10)


# Answers.


def assert_same_answers(mechanism: labeldp.SelectiveRandomizedResponse, words, labels, plan: Plan, bits: int):
    with_loops, with_numpy = on_both_paths(lambda: mechanism.choose(words, labels, plan, bits))
    if isinstance(with_numpy, str):
        assert with_loops == with_numpy  # both find the words too narrow
        return
    for one, other in zip(with_loops, with_numpy, strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


@STEADY
@given(st.data(), st.integers(2, 5), EPSILONS, st.integers(8, 12), st.sampled_from(["uniform", "other"]))
def test_answers_to_all_narrow_words_are_the_same(data, num_classes, epsilon, bits, outside) -> None:
    row = data.draw(prior_rows(num_classes))
    size = data.draw(st.one_of(st.sampled_from(["accuracy", "information"]), st.integers(1, num_classes)))
    mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=outside)
    plan = mechanism.plan(row, 1)[np.zeros(2**bits, dtype=np.intp)]
    words = np.arange(2**bits, dtype=np.uint64)[:, None]
    for label in range(num_classes):
        assert_same_answers(mechanism, words, np.full(2**bits, label), plan, bits)


@pytest.mark.parametrize("outside", ["uniform", "other"])
@pytest.mark.parametrize("epsilon", [0.0, 5e-324, 0.7, 6.0, 40.0])
def test_answers_to_wide_words_are_the_same(epsilon: float, outside) -> None:
    """At random words and at both sides of every boundary between answers."""
    rng = np.random.default_rng(0)
    for num_classes, size in ((2, 1), (7, 1), (7, 4), (7, 7), (40, 30)):
        mechanism = labeldp.SelectiveRandomizedResponse(epsilon, num_classes, size=size, outside=outside)
        alphabet = min(size + (outside == "other"), num_classes)
        top, step = thresholds(epsilon, 1, alphabet - 1, 64)
        stretch = mechanism.accepted(size, 64) // size
        edges = [
            0,
            2**64,
            *(top + i * step for i in range(alphabet + 1)),
            *(i * stretch for i in range(size + 1)),
        ]
        edges = [w for edge in edges for w in (edge - 1, edge, edge + 1) if 0 <= w < 2**64]
        words = np.concatenate([integers(edges, 64), rng.integers(2**64, size=500, dtype=np.uint64)])
        plan = mechanism.plan(rng.random((len(words), num_classes)), len(words))
        for label in range(num_classes):
            assert_same_answers(mechanism, words[:, None], np.full(len(words), label), plan, 64)


@each_rule
@pytest.mark.parametrize("num_classes", [4, 300])
def test_releases_are_the_same(num_classes: int, size, outside) -> None:
    rng = np.random.default_rng(0)
    prior, labels = rng.dirichlet(np.full(num_classes, 0.5), size=2000), rng.integers(num_classes, size=2000)
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, num_classes, size=size, outside=outside)
    kinds = (labels, labels.astype(np.uint16), np.repeat(labels, 3)[::3], labels.astype(">i4"))
    for kind in kinds:
        releases = on_both_paths(
            lambda kind=kind: labeldp.privatize(mechanism, kind, prior=prior, source=labeldp.SeededSource(3))
        )
        np.testing.assert_array_equal(releases[0].values, releases[1].values)
        assert releases[0].event == releases[1].event


def test_words_of_128_bits_are_left_to_numpy() -> None:
    mechanism = labeldp.SelectiveRandomizedResponse(60.0, 5, size=2)
    labels, prior = np.arange(5), np.ones(5)
    releases = on_both_paths(
        lambda: labeldp.privatize(mechanism, labels, prior=prior, source=labeldp.SeededSource(3))
    )
    np.testing.assert_array_equal(releases[0].values, releases[1].values)


def sign_statistic(answer: Callable[[np.ndarray], object], labels: list[int], n: int, pairs: int) -> float:
    """How often n times the second label take longer than the first, in pairs of random order, in standard deviations."""
    rng, longer, own = np.random.default_rng(0), 0.0, np.empty(n, dtype=np.int64)
    for _ in range(pairs):
        nanoseconds = [0, 0]
        for which in rng.permutation(2).tolist():
            own.fill(labels[which])
            start = time.perf_counter_ns()
            answer(own)
            nanoseconds[which] = time.perf_counter_ns() - start
        longer += np.sign(nanoseconds[1] - nanoseconds[0]) / 2
    return longer / np.sqrt(pairs / 4)


@pytest.mark.slow
@pytest.mark.parametrize("outside", ["uniform", "other"])
@pytest.mark.parametrize("num_classes", [10, 300])
def test_time_does_not_tell_a_candidate_from_others(num_classes: int, outside) -> None:
    """False alarms: 6e-7 each, whatever else the machine does, since the order is random."""
    n = 60_000 // num_classes
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, num_classes, size=4, outside=outside)
    plan = mechanism.plan(np.arange(num_classes, 0.0, -1), n)
    words = labeldp.SeededSource(0).words(n)[:, None]
    ranks, rejected, size = np.empty(n, np.int64), np.empty(n, np.bool_), plan.alphabets()
    table = thresholds_by_alphabet(size + (outside == "other"), 1.0, 64)
    stretch = np.full(5, 2**62 - 1, np.uint64)

    def answer(own: np.ndarray) -> None:
        kernels.randomized_ranks(
            np.array(words[:, 0]),
            own,
            plan.candidates,
            size,
            table,
            stretch,
            outside == "other",
            ranks,
            rejected,
        )

    answer(np.zeros(n, dtype=np.int64))
    assert abs(sign_statistic(answer, [0, num_classes - 1], n, 10_000)) < 5


@pytest.mark.slow
def test_a_skipped_division_would_be_seen() -> None:
    """The twin."""

    def skips(own: np.ndarray) -> None:
        words[own > 4] // np.uint64(12345)

    words = labeldp.SeededSource(0).words(2000)
    assert abs(sign_statistic(skips, [0, 9], 2000, 2000)) > 20


# When loops are compiled.


def test_small_releases_are_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "LARGE", 100)
    assert compiled.loops(99) is None
    assert compiled.loops(100) is kernels
    assert compiled.loops_in_use() is kernels
    monkeypatch.setattr(compiled, "allowed", False)
    assert compiled.loops(100) is compiled.loops_in_use() is None


def test_without_numba_large_releases_are_left_to_numpy() -> None:
    program = (
        "import sys; sys.modules['numba'] = None\n"
        "import numpy as np, labeldp\n"
        "from labeldp.mechanisms import compiled\n"
        "compiled.LARGE = 0\n"
        "mechanism = labeldp.SelectiveRandomizedResponse(1.0, 3)\n"
        "print(len(labeldp.privatize(mechanism, [0, 1], prior=np.ones(3))), compiled.loops(0), compiled.loops_in_use())"
    )
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.split() == ["2", "None", "None"]
