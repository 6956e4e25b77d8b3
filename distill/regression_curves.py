"""Privacy-utility curves of regressions: real-valued labels of people, to which a mechanism is applied once."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.linear_model import RidgeCV

import labeldp
from distill import data
from distill.curve_data import Origin, loaded_table
from distill.curves import CLEAN, Row, cells_of, made_elsewhere
from distill.usage import UsageError
from labeldp import LabelDPRegressor, Mechanism, RandomizedResponseOnBins, UnbiasedRandomizer

COUNTED = 0.1
"""Share of the items whose labels are counted for a prior, and not answered."""

Values = tuple[float, ...]
Make = Callable[[float, Values, Values], Mechanism]


@dataclass(frozen=True)
class Method:
    """How real-valued labels become noisy, and how a model learns from them.

    Attributes:
        make: epsilon, label values and their prior to a mechanism.
        likelihood: whether the model learns from the likelihood of answers (`LabelDPRegressor`), or takes them for labels.
        counted: whether the prior comes from a histogram of a tenth of the items, which are not answered then; else it is uniform.
    """

    make: Make
    likelihood: bool = False
    counted: bool = False


METHODS: dict[str, Method] = {
    "bins": Method(RandomizedResponseOnBins),
    "bins+likelihood": Method(RandomizedResponseOnBins, likelihood=True),
    "bins+histogram": Method(RandomizedResponseOnBins, counted=True),
    "bins+histogram+likelihood": Method(RandomizedResponseOnBins, likelihood=True, counted=True),
    "unbiased": Method(UnbiasedRandomizer),
    "unbiased+likelihood": Method(UnbiasedRandomizer, likelihood=True),
}
"""Methods by name: randomized response on bins (arXiv 2212.06074), whose answers are taken for labels or learnt from by their
likelihood, and whose bins come from a uniform prior or from a histogram; and unbiased answers (arXiv 2312.05659)."""


@dataclass(frozen=True)
class RegressionRecipe:
    """How every model of a sweep is trained, whatever the method: ridge regression, its penalty chosen on the noisy answers themselves.

    Attributes:
        bins: number of values on the grid that labels are rounded to.
        rounds: of `LabelDPRegressor`.
        penalties: of ridge regression, to choose from.
    """

    bins: int = 32
    rounds: int = 6
    penalties: tuple[float, ...] = (1.0, 10.0, 100.0, 1000.0)

    def grid(self, low: float, high: float) -> Values:
        """The label values."""
        return tuple(np.linspace(low, high, self.bins).tolist())

    def to_dict(self) -> Row:
        """All of it, as every line of results says it."""
        return {
            "score": "rmse",
            "model": "ridge",
            "bins": self.bins,
            "rounds": self.rounds,
            "penalties": list(self.penalties),
        }


@dataclass(frozen=True)
class RegressionSweep:
    """A grid of regressions on people's labels; the unit of its epsilons is `label`, and lower scores are better.

    Attributes:
        origin: where the data come from.
        methods: names, of METHODS or `module:name`; "clean" is the ceiling.
        epsilons: of one label.
        seeds: seeds 0, 1, ... of every public draw; methods share them, so that differences are paired.
        recipe: how models are trained.
    """

    origin: Origin
    methods: tuple[str, ...]
    epsilons: tuple[float, ...]
    seeds: int
    recipe: RegressionRecipe = RegressionRecipe()

    def cells(self) -> Iterator[Row]:
        """What identifies each run, seed after seed."""
        known_by = {"unit": "label", **self.origin.identity()}
        return cells_of(known_by, self.methods, self.epsilons, self.seeds, self.recipe.to_dict())

    def check(self) -> None:
        """Refuses what no run could do.

        Raises:
            UsageError: an unknown method, or data that are missing, damaged or of classes.
        """
        try:
            table = loaded_table(self.origin)
        except (ValueError, OSError) as error:
            raise UsageError(str(error)) from error
        if table.label_range is None:
            raise UsageError(
                f"Expected data with real-valued labels, got {self.origin.name!r}, which has classes."
            )
        grid = self.recipe.grid(*table.label_range)
        for name in self.methods:
            if name != CLEAN:
                made = method_of(name).make(max(self.epsilons), grid, (1.0,) * len(grid))
                if not isinstance(made, RandomizedResponseOnBins | UnbiasedRandomizer):
                    raise UsageError(
                        f"Expected {name} to make a RandomizedResponseOnBins or an UnbiasedRandomizer, got {type(made).__name__}."
                    )

    def run_cell(self, cell: Row) -> Row:
        """Runs one cell, and returns it with its error on the test items, the floor, and the time."""
        start, table = time.perf_counter(), loaded_table(self.origin)
        method = None if cell["method"] == CLEAN else method_of(cell["method"])
        model = learnt(table, method, cell["epsilon"], self.recipe, seed=cell["seed"])
        low, high = _range(table)
        predicted = np.clip(model.predict(table.test_features), low, high)
        error, variance = root_mean_square(predicted - table.test_labels)
        middle, _ = root_mean_square((low + high) / 2 - table.test_labels)
        return {
            **cell,
            "score": error,
            "item_variance": variance,
            "floor": middle,
            "test_items": len(predicted),
            "seconds": round(time.perf_counter() - start, 2),
        }


def root_mean_square(errors: np.ndarray) -> tuple[float, float]:
    """The root of the mean square, and its variance over the choice of the items, to first order."""
    squares = errors**2
    return float(np.sqrt(squares.mean())), float(squares.var(ddof=1) / (4 * squares.mean() * len(squares)))


def method_of(name: str) -> Method:
    """The method of that name; `module:name` is a function of epsilon, label values and prior that makes a mechanism, or is a method.

    Raises:
        UsageError: no such method.
    """
    if name in METHODS:
        return METHODS[name]
    made: Any = made_elsewhere(name, [*METHODS, CLEAN])
    return made if isinstance(made, Method) else Method(made, likelihood=True)


def learnt(
    table: data.Table,
    method: Method | None,
    epsilon: float,
    recipe: RegressionRecipe,
    *,
    seed: int,
    source: labeldp.release.Source | None = None,
) -> Any:
    """Releases the training labels once, and returns a regressor that learnt from what was released.

    Args:
        table: with real-valued labels; only its training part is looked at.
        method: None learns from the labels themselves, for the ceiling.
        epsilon: of one label; not used without a method.
        recipe: how the model is trained.
        seed: of folds and of the choice of what is counted.
        source: where the noise comes from; a fresh `SystemSource` by default.

    Privacy:
        epsilon-DP for each label: each is counted once or answered once, which a public random choice decides. With method None: none.
    """
    model = RidgeCV(alphas=recipe.penalties)
    bounds = _range(table)
    features, labels = table.train_features, np.clip(table.train_labels, *bounds)
    if method is None:
        return model.fit(features, labels)
    grid = recipe.grid(*bounds)
    prior = (1.0,) * recipe.bins
    if method.counted:
        counted = np.random.default_rng(seed).random(len(labels)) < COUNTED
        prior = _counted(labels[counted], epsilon, grid, source)
        features, labels = features[~counted], labels[~counted]
    noisy = labeldp.privatize(method.make(epsilon, grid, prior), labels, source=source)
    if not method.likelihood:
        return model.fit(features, np.asarray(noisy.values, dtype=np.float64))
    learner = LabelDPRegressor(
        model, bounds=bounds, bins=recipe.bins, rounds=recipe.rounds, random_state=seed
    )
    return learner.fit(features, noisy)


def _counted(
    labels: np.ndarray, epsilon: float, grid: Values, source: labeldp.release.Source | None
) -> tuple[float, ...]:
    """A prior of the grid's values, from a private histogram of some labels."""
    numbers = RandomizedResponseOnBins(epsilon, grid, (1.0,) * len(grid)).read(labels)
    return tuple(labeldp.laplace_histogram(numbers, len(grid), epsilon, source=source).prior().tolist())


def _range(table: data.Table) -> tuple[float, float]:
    assert table.label_range is not None
    return table.label_range
