"""Open Bandit, the small sample: which recommended piece of clothing was clicked. Few were."""

import csv
from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from distill.data.entry import Entry, File, Files, Source, Table
from distill.data.table import features, numbers
from distill.data.unpack import from_zip

_POLICIES, _CAMPAIGNS = ("random", "bts"), ("all", "men", "women")
_USER = tuple(f"user_feature_{number}" for number in range(4))
_LOGS = {(policy, campaign): f"{policy}/{campaign}.csv" for policy in _POLICIES for campaign in _CAMPAIGNS}
_ITEMS = {key: name.replace(".csv", "_items.csv") for key, name in _LOGS.items()}


def _load(files: Files) -> Table:
    """Every fourth row of each log is for the test.

    The features are the user's, the position on the page, the affinity of user and item, the item's own number, the
    campaign and the policy that chose the item. The probability with which it was chosen is left out.
    """
    cells: dict[str, list[str]] = defaultdict(list)
    train: list[bool] = []
    for (policy, campaign), name in _LOGS.items():
        items = {row["item_id"]: row["item_feature_0"] for row in _rows(files[_ITEMS[policy, campaign]])}
        for number, row in enumerate(_rows(files[name])):
            item = row["item_id"]
            if item not in items:
                raise ValueError(
                    f"{files[name].path}: expected an item of {_ITEMS[policy, campaign]} in row {number + 1}."
                )
            row |= {"policy": policy, "campaign": campaign, "item": items[item]}
            row["affinity"] = row.get(f"user-item_affinity_{item}", "")
            for column in (*_USER, "position", "policy", "campaign", "affinity", "item", "click"):
                cells[column].append(row[column])
            train.append(number % 4 != 3)
    return _table(cells, np.array(train), where=f"{files[_LOGS['random', 'all']].path} and its siblings")


def _table(cells: dict[str, list[str]], train: np.ndarray, *, where: str) -> Table:
    clicks = np.array(cells["click"])
    if not np.isin(clicks, ("0", "1")).all():
        raise ValueError(f"{where}: expected 0 or 1 in the column click of every row, got something else.")
    labels = (clicks == "1").astype(np.int64)
    numeric = {name: numbers(cells[name], what=f"{where}, {name}") for name in ("affinity", "item")}
    categories = {name: cells[name] for name in ("policy", "campaign", "position", *_USER)}
    return Table.split(
        "open-bandit",
        features(numeric, categories, train=train),
        labels,
        train=train,
        licence=OPEN_BANDIT.licence,
        classes=("no click", "click"),
    )


def _rows(file: File) -> Iterator[dict[str, str]]:
    """Yields the rows of a CSV file with a header."""
    try:
        lines = csv.reader(file.content.decode("utf-8").splitlines(), strict=True)
        header = next(lines, [])
        needed = {"item_feature_0"} if "item_feature_0" in header else {*_USER, "position", "click"}
        if not {"item_id", *needed} <= set(header):
            raise ValueError(
                f"{file.path}: expected a header with the columns of Open Bandit; bring it anew."
            )
        for number, cells in enumerate(lines, start=1):
            if len(cells) != len(header):
                raise ValueError(
                    f"{file.path}: expected {len(header)} columns in row {number}, got {len(cells)}."
                )
            yield dict(zip(header, cells, strict=True))
    except (UnicodeDecodeError, csv.Error):
        raise ValueError(f"{file.path}: expected a CSV file; bring it anew.") from None


MEMBERS = {
    f"obp/dataset/obd/{policy}/{campaign}/{member}.csv": name
    for (policy, campaign) in _LOGS
    for member, name in (
        (campaign, _LOGS[policy, campaign]),
        ("item_context", _ITEMS[policy, campaign]),
    )
}

OPEN_BANDIT = Entry(
    name="open-bandit",
    about="60,000 recommendations, 2 classes: clicked, which is rare, or not",
    origin="Y. Saito, S. Aihara, M. Matsutani, Y. Narita: Open Bandit Dataset and Pipeline, 2020, arXiv 2008.07146",
    licence="CC BY 4.0 (ZOZO, Inc.)",
    load=_load,
    files={
        "random/all.csv": "7168295b6e0a9eabcf3392320a5dd434e542b68e705d5cd9491499af589812f1",
        "random/all_items.csv": "eba04cc23d5f130a93ff174c5392986882b94c3839433cb8143870eaa6221358",
        "random/men.csv": "ede6d08c6877f99cd3770f7d09e26c738e6aa6de4445ccccfb1356ba5d06b1eb",
        "random/men_items.csv": "6d855c2b7e917d0448d71bbe62c023147495882c0fdc8c41e86fef86abf9fe09",
        "random/women.csv": "e65f3bd3beb17664fa69cc129bf7bf852a775f8ffa630506e505fc905315bb34",
        "random/women_items.csv": "b1ca4905f97703d196004f2ad4552c1e90c2afad8b50688d333b0d2dc0b33147",
        "bts/all.csv": "0ad874e4dbf6902f0845dd478ad8dde5ef6903583d3ffaace78411bdad064106",
        "bts/all_items.csv": "5d4359ba1cfa3ae88f0f1bae66bd633859fe6323817183632ee57b83539d9153",
        "bts/men.csv": "db6d1f7ed2d591ba521533e45286d4c1fba7fe57a8ad2e80342210335f43c527",
        "bts/men_items.csv": "3b411ed6b0471316321a6b93f4f756bb25888eac6218cd71d0b603d41d85732d",
        "bts/women.csv": "e5d1b49a39b608585a2f3014a3f54970430cd37a495c1b73fceb85cdf428a5b8",
        "bts/women_items.csv": "a56295bad066a558eb783055afd9279f5f4e209a4776eafc22151c53f0ac89d4",
    },
    sources=(
        Source(
            ("pypi:obp==0.4.1",),
            size=1_338_290,
            unpack=from_zip(MEMBERS),
        ),
    ),
)
