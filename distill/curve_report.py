"""The files of a sweep beside its runs: figure, table, and the sentences that belong to them."""

import math
import statistics
from pathlib import Path

import numpy as np
from scipy import stats

from distill import curve_figures
from distill.curve_figures import WHAT, floor_of
from distill.curve_scores import SCORES, Score
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
    found, score = scores(rows), SCORES[rows[0]["recipe"]["score"]]
    every = sorted({epsilon for by in found.values() for epsilon in by if epsilon < math.inf})
    lines = [
        f"| {score.with_unit}, epsilon for {WHAT[unit]} | {' | '.join(f'{epsilon:g}' for epsilon in every)} |",
        "| --- |" + " --- |" * len(every),
    ]
    rest = [""] * (len(every) - 1)
    for method, by in found.items():
        if method == CLEAN:
            cells = [_spread(by[math.inf], score), *rest]
            lines.append(f"| true labels, no privacy | {' | '.join(cells)} |")
        else:
            cells = [_spread(by.get(epsilon, []), score) for epsilon in every]
            lines.append(f"| {method} | {' | '.join(cells)} |")
    if "floor" in rows[0]:
        lines.append(f"| {score.floor}, no labels | {' | '.join([score.text(floor_of(rows)), *rest])} |")
    return "\n".join(lines)


def _spread(values: list[float], score: Score) -> str:
    if not values:
        return ""
    if len(values) == 1:
        return score.text(values[0])
    low, mean, high = map(score.text, (min(values), statistics.mean(values), max(values)))
    return f"{mean} ({low} to {high})"


def comparisons(rows: list[Row]) -> list[str]:
    """Sentences "A beats B", only where an interval of the paired differences says so: by a higher accuracy, or a lower error.

    The variance is that over seeds, by Student's law, and that of the test items, which all seeds share and which is bounded as if
    the two methods erred independently; 95 % for all sentences together (Bonferroni). At least 3 seeds.
    """
    found = {method: by for method, by in scores(rows).items() if method != CLEAN}
    if not found:
        return []
    score = SCORES[rows[0]["recipe"]["score"]]
    sign, points = (1 if score.higher_is_better else -1), " points" if score.unit == "%" else ""
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
        gains = sign * np.subtract(found[a][epsilon], found[b][epsilon])
        if gains.mean() < 0:
            a, b, gains = b, a, -gains
        quantile = float(stats.t.ppf(1 - (1 - CONFIDENCE) / 2 / len(pairs), len(gains) - 1))
        items = _item_variance(rows, a, epsilon) + _item_variance(rows, b, epsilon)
        margin = quantile * math.sqrt(float(gains.var(ddof=1)) / len(gains) + items)
        if gains.mean() > margin:
            gain, low, high = map(score.text, (gains.mean(), gains.mean() - margin, gains.mean() + margin))
            said.append(f"epsilon {epsilon:g}: {a} beats {b} by {gain}{points} ({low} to {high})")
    return said


def _item_variance(rows: list[Row], method: str, epsilon: float) -> float:
    """Of a mean score, what comes from the choice of the test items: stated by a run, or that of a share of them."""
    of = [row for row in rows if (row["method"], row["epsilon"]) == (method, epsilon)]
    if "item_variance" in of[0]:
        return statistics.mean(row["item_variance"] for row in of)
    share = 100 * statistics.mean(row["score"] for row in of)
    return share * (100 - share) / of[0]["test_items"]
