"""Small data sets in the published file formats, for tests that need the format and not the data."""

import gzip
import struct
from pathlib import Path

import numpy as np

IDX_NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_NAMES = (*(f"data_batch_{number}.bin" for number in range(1, 6)), "test_batch.bin")


def idx(array: np.ndarray) -> bytes:
    return (
        struct.pack(f">HBB{array.ndim}I", 0, 8, array.ndim, *array.shape) + array.astype(np.uint8).tobytes()
    )


def write_idx(folder: Path, *, compressed: bool = False, train: int = 20, test: int = 10) -> None:
    rng = np.random.default_rng(0)
    for name, count in zip(IDX_NAMES, (train, train, test, test), strict=True):
        array = rng.integers(256, size=(count, 28, 28)) if "images" in name else rng.integers(10, size=count)
        content = idx(array)
        path = folder / (name + ".gz" if compressed else name)
        path.write_bytes(gzip.compress(content) if compressed else content)


def write_cifar(folder: Path) -> None:
    rng = np.random.default_rng(0)
    for name in CIFAR_NAMES:
        records = rng.integers(256, size=(10, 3073), dtype=np.uint8)
        records[:, 0] %= 10
        (folder / name).write_bytes(records.tobytes())


ADULT_ROW = "39, State-gov, 77516, Bachelors, 13, Never-married, Adm-clerical, Not-in-family, White, Male, {gain}, 0, {hours}, {country}, {income}"


def write_adult(folder: Path) -> None:
    rows = [
        ADULT_ROW.format(
            gain=7 * row,
            hours=20 + row,
            country=("Peru", "?")[row % 2],
            income=("<=50K", ">50K")[row % 3 == 0],
        )
        for row in range(12)
    ]
    (folder / "adult.data").write_text("\n".join(rows) + "\n\n")
    (folder / "adult.test").write_text("|1x3 Cross validator\n" + "".join(f"{row}.\n" for row in rows[:6]))


def write_open_bandit(folder: Path) -> None:
    users = ",".join(f"user_feature_{number}" for number in range(4))
    for policy in ("random", "bts"):
        (folder / policy).mkdir(parents=True, exist_ok=True)
        for campaign in ("all", "men", "women"):
            log = [
                f",timestamp,item_id,position,click,propensity_score,{users},user-item_affinity_0,user-item_affinity_1"
            ]
            log += [
                f"{n},2019-11-24,{n % 2},{n % 3 + 1},{int(n == 3 or n == 4)},0.5,a{n % 2},b,c,d,0.0,{n}.0"
                for n in range(8)
            ]
            items = [",item_id,item_feature_0,item_feature_1", "0,0,-0.5,x", "1,1,0.25,y"]
            (folder / policy / f"{campaign}.csv").write_text("\n".join(log))
            (folder / policy / f"{campaign}_items.csv").write_text("\n".join(items))


WRITERS = {
    "mnist": write_idx,
    "fashion-mnist": write_idx,
    "cifar-10": write_cifar,
    "adult": write_adult,
    "adult-hours": write_adult,
    "open-bandit": write_open_bandit,
}
