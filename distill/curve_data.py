"""The data of curves: published sets by name, or the user's own folder of images or table; and what their runs are known again by."""

import hashlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from distill import config, data
from distill.data import own_table

FOLDER = "folder"


@dataclass(frozen=True)
class Origin:
    """Where data come from.

    Attributes:
        name: of a published data set; "folder"; or the path of a table, CSV or Parquet.
        directory: of a published set, where its files lie, empty for the usual places; the folder itself.
        classes: of the user's own data, the public names of the classes, in order.
        label: of a table, the column of labels.
        label_range: of a table with real-valued labels, the public smallest and largest one.
    """

    name: str
    directory: str = ""
    classes: tuple[str, ...] = ()
    label: str = ""
    label_range: tuple[float, float] | None = None

    @property
    def is_table_file(self) -> bool:
        """Whether it is a table of the user's own."""
        return Path(self.name).suffix.lower() in own_table.SUFFIXES

    @property
    def shown(self) -> str:
        """What figures and lines of results call it."""
        if self.is_table_file:
            return Path(self.name).name
        return Path(self.directory).expanduser().resolve().name if self.name == FOLDER else self.name

    def identity(self) -> dict[str, str]:
        """What a run is known again by: the name, and for the user's own files a digest of all features, never of a label.

        Whoever changes labels alone has to take another file of results.
        """
        own = self.is_table_file or self.directory
        return {"data": self.shown, **({"features": _digest(self)} if own else {})}


def loaded(origin: Origin) -> data.Dataset:
    """Reads images, or a table with classes; a row of a table is an image of height 1.

    Raises:
        FileNotFoundError, ValueError: as for `data.load` and `loaded_table`; a table of a regression.
    """
    if origin.name not in data.TABLES and not origin.is_table_file:
        return data.load(
            config.Data(name=origin.name, directory=origin.directory, classes=",".join(origin.classes))
        )
    table = loaded_table(origin)
    if table.num_classes is None:
        raise ValueError(f"Expected data with classes, got {origin.name!r}, whose labels are real numbers.")
    return data.Dataset(
        name=table.name,
        train_images=table.train_features[:, None, None, :],
        train_labels=table.train_labels,
        test_images=table.test_features[:, None, None, :],
        test_labels=table.test_labels,
        num_classes=table.num_classes,
        licence=table.licence,
        classes=table.classes,
    )


def loaded_table(origin: Origin) -> data.Table:
    """Reads a table, a published one or the user's.

    Raises:
        FileNotFoundError, ValueError: as for `data.load_table` and `data.own_table.load`.
    """
    if not origin.is_table_file:
        return data.load_table(origin.name, origin.directory)
    path = Path(origin.name).expanduser()
    return own_table.load(path, origin.label, classes=origin.classes, label_range=origin.label_range)


def _digest(origin: Origin) -> str:
    """Of features, split and class names: all of it public."""
    if origin.label_range is not None or origin.name in data.TABLES:
        table = loaded_table(origin)
        arrays = (table.train_features, table.test_features)
    else:
        images = loaded(origin)
        arrays = (images.train_images, images.test_images)
    digest = hashlib.sha256(repr((origin.classes, origin.label_range, [a.shape for a in arrays])).encode())
    for array in arrays:
        digest.update(np.ascontiguousarray(array).tobytes())
    return digest.hexdigest()[:16]
