"""Which sweep of people's labels a command line asks for: the data decide whether it is one of classes or of real-valued labels."""

from dataclasses import replace
from typing import get_args

from msgspec import structs

from distill import config, data
from distill.curve_data import FOLDER, Origin, loaded
from distill.curves import CLEAN, RECIPES, Grid, Recipe, Sweep
from distill.data import own_table
from distill.usage import UsageError

QUICK = ("rr", "lp-2st", "alibi", "subset", "srr", CLEAN)
REAL_VALUED = ("diabetes", "adult-hours")


def sweep_of(
    origin: Origin,
    *,
    methods: tuple[str, ...],
    epsilons: tuple[float, ...],
    seeds: int,
    epochs: tuple[int, ...],
    model: str,
    device: str,
) -> Grid:
    """Returns the sweep.

    Args:
        origin: where the data come from.
        methods: names; empty for the usual ones.
        epsilons, seeds, device: of the sweep.
        epochs, model: instead of what the recipe for the data says; empty to leave it so.

    Raises:
        UsageError: options that do not go together, data that are unknown, missing or damaged.
    """
    _check(origin)
    if origin.name in REAL_VALUED or origin.label_range is not None:
        if epochs or model:
            raise UsageError(
                "Expected no --epochs and no --model for real-valued labels: ridge regression learns them."
            )
        from distill.regression_curves import METHODS, RegressionSweep  # here: they bring scikit-learn

        return RegressionSweep(origin, methods or (*METHODS, CLEAN), epsilons, seeds)
    recipe = RECIPES.get(origin.name) or recipe_for(_read(origin))
    if epochs:
        recipe = replace(recipe, epochs=epochs)
    if model:
        try:
            recipe = replace(recipe, student=structs.replace(recipe.student, model=model))
        except ValueError:
            known = ", ".join(get_args(config.Model))
            raise UsageError(f"Expected --model to be one of {known}, got {model!r}.") from None
    return Sweep(
        origin.name,
        recipe,
        methods or QUICK,
        epsilons,
        seeds,
        directory=origin.directory,
        device=device,
        classes=origin.classes,
        label=origin.label,
    )


def _check(origin: Origin) -> None:
    """Refuses options that do not go together."""
    published = (*RECIPES, *REAL_VALUED)
    own = origin.is_table_file or origin.name == FOLDER
    if not own and origin.name not in published:
        raise UsageError(
            f"Expected --data among {', '.join(published)}, {FOLDER}, or a file {' or '.join(own_table.SUFFIXES)} of your own, got "
            f"{origin.name!r}."
        )
    if origin.classes and not own:
        raise UsageError(f"Expected --classes with data of your own alone, got it with {origin.name}.")
    if (origin.label or origin.label_range is not None) and not origin.is_table_file:
        raise UsageError(
            f"Expected --label and --range with a table of your own alone, got them with {origin.name}."
        )
    if origin.name == FOLDER and not origin.directory:
        raise UsageError(
            "Expected --directory DIR with --data folder: a folder with train/CLASS/ and test/CLASS/."
        )
    if origin.is_table_file:
        _check_table(origin)


def _check_table(origin: Origin) -> None:
    if origin.directory:
        raise UsageError("Expected no --directory with a table of your own: --data is its path.")
    if not origin.label:
        raise UsageError("Expected --label COLUMN with a table of your own: the column of labels.")
    if bool(origin.classes) == (origin.label_range is not None):
        raise UsageError(
            "Expected --classes A,B,... or --range LOW,HIGH with a table of your own, one of them: what labels may be is never taken from "
            "them."
        )


def _read(origin: Origin) -> data.Dataset:
    try:
        return loaded(origin)
    except (ValueError, OSError) as error:
        raise UsageError(
            str(error).replace("--data.", "--")
        ) from error  # options of this command have no section


def recipe_for(dataset: data.Dataset) -> Recipe:
    """A recipe for data that none was made for, by shape and number of the items, which are public.

    Tables and small grey images are for `mlp`, coloured ones of 24 pixels or more for `convnet-3`, others for `convnet`. Images are
    shifted, and not mirrored: what is written, for example, would change.
    """
    channels, height, width = dataset.shape
    model: config.Model
    if height == 1 or (channels == 1 and height * width <= 256):
        model, shift = "mlp", 0 if height == 1 else 1
    elif channels == 3 and min(height, width) >= 24:
        model, shift = "convnet-3", min(height, width) // 8
    else:
        model, shift = "convnet", 2
    few = len(dataset.train_labels) < 10_000
    student = config.Student(model=model, batch_size=64 if few else 256)
    return Recipe(student, epochs=(10, 30) if few else (3, 12), shift=shift)
