"""What learning by likelihood is worth on digits: test accuracy from noisy labels taken for true ones, and from LabelDPClassifier.

`python -m benchmarks.learning` prints the table and writes results/learning.json; some minutes on one core.
"""

import json
import time
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split

import labeldp

RESULTS = Path(__file__).parent / "results" / "learning.json"
EPSILONS = (0.5, 1.0, 2.0)
SEEDS = 5
MODELS = {
    "logistic regression": lambda _: LogisticRegression(max_iter=200),
    "random forest of 20": lambda seed: RandomForestClassifier(20, random_state=seed),
}


def scores(name: str, epsilon: float, seed: int) -> dict[str, float]:
    """Accuracy on 450 test items of one split; the first two learn from the same answers of randomized response."""
    images, labels = load_digits(return_X_y=True)
    x, x_test, y, y_test = train_test_split(
        images / 16, labels, test_size=450, random_state=seed, stratify=labels
    )
    model, classes = MODELS[name](seed), range(10)
    source = labeldp.SeededSource(seed)
    answers = labeldp.privatize(labeldp.RandomizedResponse(epsilon, 10), y, source=source)
    sets = labeldp.privatize(labeldp.SubsetSelection(epsilon, 10), y, source=source)
    learner = labeldp.LabelDPClassifier(model, classes=classes, random_state=seed)
    found = {
        "answers taken for labels": model.fit(x, answers.values).score(x_test, y_test),
        "LabelDPClassifier on the same answers": learner.fit(x, answers).score(x_test, y_test),
    }
    start = time.perf_counter()
    found["LabelDPClassifier, subset selection"] = learner.fit(x, sets).score(x_test, y_test)
    found["seconds"] = time.perf_counter() - start
    found["clean labels"] = model.fit(x, y).score(x_test, y_test)
    return found


def table(rows: list[dict]) -> str:
    """The table for the docs."""
    kinds = [kind for kind in rows[0]["runs"][0] if kind != "seconds"]
    lines = [
        f"| {' | '.join(['estimator', 'epsilon', *kinds])} |",
        f"|{' --- |' * (2 + len(kinds))}",
    ]
    for row in rows:
        means = [f"{100 * np.mean([run[kind] for run in row['runs']]):.1f}" for kind in kinds]
        lines.append(f"| {row['estimator']} | {row['epsilon']:g} | {' | '.join(means)} |")
    return "\n".join(lines)


def main() -> None:
    """Runs, prints and writes."""
    rows = []
    for name in MODELS:
        for epsilon in EPSILONS:
            runs = [scores(name, epsilon, seed) for seed in range(SEEDS)]
            rows.append({"estimator": name, "epsilon": epsilon, "runs": runs})
            print(table(rows), flush=True)
            RESULTS.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
