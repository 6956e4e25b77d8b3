"""Analytic curves against the closed forms of randomized response."""

import math

import pytest

from distill.analytic_curves import MECHANISMS, PRIORS, Row, curves, table, write

EPSILONS = (0.5, 4.0)


@pytest.fixture(scope="module")
def rows() -> list[Row]:
    return curves(EPSILONS, 10)


def flat(rows: list[Row], mechanism: str, epsilon: float) -> Row:
    return next(
        r for r in rows if (r["prior"], r["mechanism"], r["epsilon"]) == ("nothing known", mechanism, epsilon)
    )


@pytest.mark.parametrize("epsilon", EPSILONS)
def test_randomized_response_has_a_closed_form(rows: list[Row], epsilon: float) -> None:
    stays, lies = math.exp(epsilon) / (math.exp(epsilon) + 9), 1 / (math.exp(epsilon) + 9)
    told = stays * math.log(10 * stays) + 9 * lies * math.log(10 * lies)
    row = flat(rows, "rr", epsilon)
    assert row["entropy"] == pytest.approx(math.log(10))
    assert row["right"] == pytest.approx(stays)
    assert row["information"] == pytest.approx(told / math.log(10))
    # the twin: another mechanism has other figures
    other = flat(rows, "unary", epsilon)
    assert other["right"] != pytest.approx(stays, rel=1e-3)


def test_nothing_beats_the_bound_on_right_guesses(rows: list[Row]) -> None:
    """For a flat prior no epsilon-DP answer lets anyone guess better than e^epsilon / (e^epsilon + K - 1)."""
    for name in MECHANISMS:
        for epsilon in EPSILONS:
            assert flat(rows, name, epsilon)["right"] <= math.exp(epsilon) / (math.exp(epsilon) + 9) + 1e-9


def test_more_epsilon_tells_more(rows: list[Row]) -> None:
    for row, more in zip(rows[::2], rows[1::2], strict=True):
        assert (row["epsilon"], more["epsilon"]) == EPSILONS
        assert 0 <= row["information"] < more["information"] <= 1
        assert row["right"] < more["right"] <= 1


def test_the_page(rows: list[Row], tmp_path) -> None:
    lines = write(rows, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {
        f"analytic.{end}" for end in ("json", "png", "svg", "md")
    }
    text = (tmp_path / "analytic.svg").read_text()
    assert all(known in text for known in PRIORS)
    assert lines[0] == table(rows)
    assert f"| rr | {flat(rows, 'rr', 0.5)['items']:,} |" in table(rows)
