"""The files of a sweep beside its runs: figure, table, and the sentences that belong to them."""

import math
import statistics
from pathlib import Path

import numpy as np
from scipy import stats

from distill import curve_figures
from distill.curve_figures import WHAT
from distill.curves import CLEAN, Row, scores

CONFIDENCE = 0.95


def write(rows: list[Row], folder: Path) -> list[str]:
    """Writes curve.png, curve.svg and curve.md; returns the lines a person reads."""
    drawn, (png, svg) = curve_figures.draw(rows), (folder / "curve.png", folder / "curve.svg")
    for path in (png, svg):
        curve_figures.save(drawn, path)
    table, said = table_of(rows), comparisons(rows)
    notes = [
        f"{len(rows)} runs. Scores are of the last model, on test items that decided nothing.",
        _cost(rows),
        *(["What seeds and test items support at 95 %, all comparisons together:", *said] if said else []),
    ]
    page = folder / "curve.md"
    page.write_text(
        "\n\n".join([table, *notes, f"![score against epsilon]({svg.name})"]) + "\n", encoding="utf-8"
    )
    return [table, "", *notes, "", f"figure: {png}, {svg}; table: {page}; runs: {folder / 'runs.jsonl'}"]


def _cost(rows: list[Row]) -> str:
    """What all runs of a sweep would cost together, if their data were private."""
    spent = sum(row["epsilon"] for row in rows if row["epsilon"] is not None)
    ceiling = ", and the ceiling everything" if any(row["method"] == CLEAN for row in rows) else ""
    if rows[0]["unit"] == "label":
        return (
            f"Every run released the training labels once more: on private labels these runs together would cost epsilon {spent:g} for "
            f"each label{ceiling}."
        )
    seeds = len({row["seed"] for row in rows})
    return (
        f"All runs of a seed ask the same teacher about the same pool: published together they would cost epsilon {spent / seeds:g} for each "
        f"answer{ceiling}. None of this is a guarantee about training records."
    )


def table_of(rows: list[Row]) -> str:
    """Mean and range over seeds as Markdown, a method a line."""
    (unit,) = {row["unit"] for row in rows}
    found = scores(rows)
    every = sorted({epsilon for by in found.values() for epsilon in by if epsilon < math.inf})
    lines = [
        f"| {rows[0]['recipe']['score']} (%), epsilon for {WHAT[unit]} | {' | '.join(f'{epsilon:g}' for epsilon in every)} |",
        "| --- |" + " --- |" * len(every),
    ]
    for method, by in found.items():
        if method == CLEAN:
            cells = [_spread(by[math.inf])] + [""] * (len(every) - 1)
            lines.append(f"| true labels, no privacy | {' | '.join(cells)} |")
        else:
            lines.append(f"| {method} | {' | '.join(_spread(by.get(epsilon, [])) for epsilon in every)} |")
    return "\n".join(lines)


def _spread(values: list[float]) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return f"{values[0]:.1f}"
    return f"{statistics.mean(values):.1f} ({min(values):.1f} to {max(values):.1f})"


def comparisons(rows: list[Row]) -> list[str]:
    """Sentences "A beats B", only where an interval of the paired differences says so.

    The variance is that over seeds, by Student's law, and that of the test items, which all seeds share and which is bounded whatever
    the two methods have in common: one may be right where the other is wrong. 95 % for all sentences together (Bonferroni). At least
    3 seeds.
    """
    found = {method: by for method, by in scores(rows).items() if method != CLEAN}
    pairs = [
        (epsilon, a, b)
        for a in found
        for b in found
        if a < b
        for epsilon in found[a]
        if len(found[a][epsilon]) == len(found[b].get(epsilon, ())) >= 3
    ]
    said: list[str] = []
    for epsilon, a, b in sorted(pairs):
        if np.mean(found[a][epsilon]) < np.mean(found[b][epsilon]):
            a, b = b, a
        gains = np.subtract(found[a][epsilon], found[b][epsilon])
        quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / len(pairs), len(gains) - 1))
        items = _item_deviation(rows, a, epsilon) + _item_deviation(rows, b, epsilon)
        margin = quantile * math.sqrt(float(gains.var(ddof=1)) / len(gains) + items**2)
        if gains.mean() > margin:
            low, high = gains.mean() - margin, gains.mean() + margin
            said.append(
                f"epsilon {epsilon:g}: {a} beats {b} by {gains.mean():.1f} points ({low:.1f} to {high:.1f})"
            )
    return said


def _item_deviation(rows: list[Row], method: str, epsilon: float) -> float:
    """The standard deviation of a mean score over the choice of the test items, in points: at most so much, infinity if nothing is known.

    A share p of n items has p (1 - p) / n. The area under a ROC curve has at most that of its rarer class, whatever the scores look like
    (Birnbaum and Klose, Bounds for the variance of the Mann-Whitney statistic, Ann. Math. Stat. 28, 1957).
    """
    of = [row for row in rows if (row["method"], row["epsilon"]) == (method, epsilon)]
    num_items = of[0]["test_items"]
    if of[0]["recipe"]["score"] == "auc":
        if "positives" not in of[0]:
            return math.inf
        num_items = min(of[0]["positives"], num_items - of[0]["positives"])
    share = statistics.mean(row["score"] for row in of)
    return 100 * math.sqrt(share * (1 - share) / num_items)
