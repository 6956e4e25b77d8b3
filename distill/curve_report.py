"""The files of a sweep beside its runs: figure, table, and the sentences that belong to them."""

import json
import math
import statistics
from collections import defaultdict
from pathlib import Path

import numpy as np
from scipy import stats

from accounting import rounded_up
from distill import curve_figures
from distill.curve_figures import CEILING, floor_of, unit_of
from distill.curve_scores import SCORES, Score
from distill.curves import CLEAN, Row, read_rows, scores
from distill.durable import OWNER_ONLY

CONFIDENCE = 0.95


NOTICE = (
    "*For the data holder: scores are measured on true labels, and the ceiling learnt from what the others see through noise. No guarantee "
    "covers this page, its figure and its runs; publish them only where the data are public.*"
)


def write(rows: list[Row], folder: Path) -> list[str]:
    """Writes curve.png, curve.svg and curve.md, for their owner only; returns the lines a person reads.

    Args:
        rows: runs of one sweep, in what is said of scores.
        folder: where its runs.jsonl lies: all lines of it about the same data and unit count in what is said of the cost.
    """
    drawn, (png, svg) = curve_figures.draw(rows), (folder / "curve.png", folder / "curve.svg")
    page, runs = folder / "curve.md", folder / "runs.jsonl"
    for path in (page, png, svg):
        path.touch(mode=OWNER_ONLY)
        path.chmod(OWNER_ONLY)
    for path in (png, svg):
        curve_figures.save(drawn, path)
    about = (rows[0]["unit"], rows[0]["data"])
    every = [row for row in read_rows(runs) if (row["unit"], row["data"]) == about] or rows
    table, said = table_of(rows), comparisons(rows)
    notes = [
        f"{len(rows)} runs. Scores are of the last model, on test items that decided nothing.",
        _cost(every),
        *(["What seeds and test items support at 95 %, all comparisons together:", *said] if said else []),
    ]
    page.write_text(
        "\n\n".join([NOTICE, table, *notes, f"![score against epsilon]({svg.name})"]) + "\n", encoding="utf-8"
    )
    return [table, "", *notes, "", f"figure: {png}, {svg}; table: {page}; runs: {runs}"]


def _cost(rows: list[Row]) -> str:
    """What all these runs would cost together, if their data were private."""
    spent = math.fsum(row["epsilon"] or 0 for row in rows)
    ceiling = ", and the ceiling everything" if any(row["method"] == CLEAN for row in rows) else ""
    if rows[0]["unit"] == "label":
        return (
            f"Every run released the training labels once more: on private labels these runs together would cost epsilon {rounded_up(spent)} for "
            f"each label{ceiling}."
        )
    if rows[0]["unit"] == "record":
        teachers = {
            (row["epsilon"], row["delta"], row["seed"], json.dumps(row["recipe"]))
            for row in rows
            if row["epsilon"] is not None
        }
        spent, delta = math.fsum(one[0] for one in teachers), math.fsum(one[1] for one in teachers)
        return (
            f"Each epsilon and seed has a teacher of its own, and its students add nothing for a record: all {len(teachers)} teachers published "
            f"together would cost at most epsilon {rounded_up(spent)} at delta {rounded_up(delta)} for each record{ceiling}."
        )
    by_seed, seeds_of = defaultdict[int, float](float), defaultdict[str | None, set[int]](set)
    for row in rows:
        by_seed[row["seed"]] += row["epsilon"] or 0
        seeds_of[row.get("pool_digest")].add(row["seed"])  # of a line that does not say, any
    apart = all(len(seeds) == 1 for seeds in seeds_of.values())
    others = {row["recipe"].get("pool", {}).get("from") for row in rows} - {None, ""}
    before = f", beside what {' and '.join(sorted(others))} released of them" if others else ""
    return (
        f"All runs{' of a seed' if apart else ''} ask the same teacher about the same pool: published together they would cost epsilon "
        f"{rounded_up(max(by_seed.values()) if apart else spent)} for each answer{before}{ceiling}. None of this is a guarantee about training "
        f"records."
    )


def table_of(rows: list[Row]) -> str:
    """Mean and range over seeds as Markdown, a method a line."""
    (unit,) = {row["unit"] for row in rows}
    found, score = scores(rows), SCORES[rows[0]["recipe"]["score"]]
    every = sorted({epsilon for by in found.values() for epsilon in by if epsilon < math.inf})
    lines = [
        f"| {score.with_unit}, epsilon for {unit_of(rows)} | {' | '.join(f'{epsilon:g}' for epsilon in every)} |",
        "| --- |" + " --- |" * len(every),
    ]
    rest = [""] * (len(every) - 1)
    for method, by in found.items():
        if method == CLEAN:
            cells = [_spread(by[math.inf], score), *rest]
            lines.append(f"| {CEILING[unit]}, no privacy | {' | '.join(cells)} |")
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

    The variance is that over seeds, estimated, and that of the test items, which all seeds share and which is bounded whatever the two
    methods have in common: one may be right where the other is wrong. 95 % for all sentences together (Bonferroni). At least 3 seeds.
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
        items = _item_deviation(rows, a, epsilon) + _item_deviation(rows, b, epsilon)
        margin = _margin(gains, items, 1 - (1 - CONFIDENCE) / 2 / len(pairs))
        if gains.mean() > margin:
            gain, low, high = map(score.text, (gains.mean(), gains.mean() - margin, gains.mean() + margin))
            said.append(f"epsilon {epsilon:g}: {a} beats {b} by {gain}{points} ({low} to {high})")
    return said


def _margin(gains: np.ndarray, items: float, quantile: float) -> float:
    """Half the width of an interval for the mean gain: Student's law with the degrees of freedom of a sum of two variances, of which the
    one over seeds is estimated (Welch and Satterthwaite)."""
    seeds = float(gains.var(ddof=1)) / len(gains)
    total = seeds + items**2
    if not 0 < total < math.inf:
        return total
    freedom = (len(gains) - 1) * (total / seeds) ** 2 if seeds else math.inf
    return float(stats.t.ppf(quantile, freedom)) * math.sqrt(total)


def _item_deviation(rows: list[Row], method: str, epsilon: float) -> float:
    """The standard deviation of a mean score over the choice of the test items, in its unit: at most so much, infinity if nothing is known.

    A run may state the variance itself. A share p of n items has p (1 - p) / n. The area under a ROC curve has at most that of its rarer class, whatever the scores look like
    (Birnbaum and Klose, Bounds for the variance of the Mann-Whitney statistic, Ann. Math. Stat. 28, 1957).
    """
    of = [row for row in rows if (row["method"], row["epsilon"]) == (method, epsilon)]
    if "item_variance" in of[0]:
        return math.sqrt(statistics.mean(row["item_variance"] for row in of))
    num_items = of[0]["test_items"]
    if of[0]["recipe"]["score"] == "auc":
        if "positives" not in of[0]:
            return math.inf
        num_items = min(of[0]["positives"], num_items - of[0]["positives"])
    share = statistics.mean(row["score"] for row in of)
    return 100 * math.sqrt(share * (1 - share) / num_items)
