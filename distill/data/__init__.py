"""Real data by name: images for distillation, tables for learning from people's labels.

To add a data set, write a file with an `Entry` and name it in `ENTRIES`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from distill.data import adult, cifar10, digits, folder, idx, open_bandit, regression
from distill.data.entry import Dataset, Entry, Table
from distill.data.places import read

if TYPE_CHECKING:
    from distill import config

__all__ = ["ENTRIES", "IMAGES", "TABLES", "Dataset", "Entry", "Table", "load", "load_table"]

IMAGES = {entry.name: entry for entry in (digits.DIGITS, idx.FASHION_MNIST, idx.MNIST, cifar10.CIFAR_10)}
TABLES = {
    entry.name: entry
    for entry in (adult.ADULT, adult.ADULT_HOURS, open_bandit.OPEN_BANDIT, regression.DIABETES)
}
ENTRIES = IMAGES | TABLES
"""Every published data set by name; a folder of the user's own images is not among them."""


def load(data: config.Data) -> Dataset:
    """Reads the images that the configuration names.

    Raises:
        FileNotFoundError: if its files are nowhere; the message says where they were looked for.
        ValueError: if a file is corrupt or not of the expected form; the message names it.
    """
    if data.name == "folder":
        classes = tuple(name.strip() for name in data.classes.split(",") if name)
        return folder.load(data.directory, classes, shape=data.declared_shape)
    entry = IMAGES[data.name]
    loaded = entry.load(read(entry, data.directory) if entry.files else {})
    assert isinstance(loaded, Dataset)
    return loaded


def load_table(name: str, directory: str = "") -> Table:
    """Reads a table by name: "adult", "adult-hours", "diabetes" or "open-bandit".

    Args:
        directory: where its files lie; empty means the usual places.

    Raises:
        FileNotFoundError: if its files are nowhere; the message says where they were looked for.
        ValueError: if there is no table of that name, or a file is corrupt; the message names it.
    """
    if name not in TABLES:
        raise ValueError(f"Expected a table among {', '.join(sorted(TABLES))}, got {name!r}.")
    entry = TABLES[name]
    loaded = entry.load(read(entry, directory) if entry.files else {})
    assert isinstance(loaded, Table)
    return loaded
