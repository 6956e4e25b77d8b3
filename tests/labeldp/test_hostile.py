"""Hostile input at every entry point: a typed error that shows no label, or the right answer; never a silent clip."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import labeldp
from labeldp import estimate

SECRET = 3217
K = 5
PRIOR = np.array([0.4, 0.3, 0.2, 0.1, 0.0])
VALUES = (0.0, 1.0, 2.0, 3.0, 4.0)
MECHANISMS = [
    labeldp.RandomizedResponse(1.0, K),
    labeldp.SelectiveRandomizedResponse(1.0, K),
    labeldp.SelectiveRandomizedResponse(1.0, K, size="information", outside="other"),
    labeldp.SubsetSelection(1.0, K),
    labeldp.PartitionedRandomizedResponse(1.0, K),
    labeldp.UnaryEncoding(1.0, K),
    labeldp.NoisyOneHot(1.0, K, grid_points=3),
    labeldp.RandomizedResponseOnBins(1.0, VALUES, tuple(PRIOR)),
]
CLASSES = MECHANISMS[:-1]
INTEGERS = ["i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", ">i2", ">u4", ">i8", "<u8"]
CONTENTS: dict[str, list[Any]] = {
    "too large": [0, 1, 5],
    "negative": [0, -1, 2],
    "secret": [0, 1, SECRET],
    "largest": [0, 2**62, 1],
    "nan": [0.0, np.nan, 1.0],
    "infinite": [0.0, np.inf, 1.0],
    "minus infinity": [0.0, -np.inf, 1.0],
    "fractions": [0.5, 1.5, 2.5],
    "secret fraction": [0.0, SECRET + 0.5, 1.0],
}


def layouts(array: np.ndarray) -> dict[str, np.ndarray]:
    """One content in several memory layouts."""
    doubled = np.repeat(array, 2)
    frozen = array.copy()
    frozen.flags.writeable = False
    shifted = np.frombuffer(b"\0" + array.tobytes(), dtype=np.uint8)[1:].view(array.dtype)
    return {
        "plain": array,
        "strided": doubled[::2],
        "reversed": array[::-1][::-1],
        "read-only": frozen,
        "unaligned": shifted,
        "column": np.asfortranarray(np.stack([array, array], axis=1))[:, 0],
    }


def good_labels() -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for dtype in INTEGERS:
        kinds |= {f"{dtype} {name}": a for name, a in layouts(np.array([4, 0, 2], dtype=dtype)).items()}
    return kinds | {
        "list": [4, 0, 2],
        "tuple": (4, 0, 2),
        "numpy scalars": [np.int8(4), np.uint8(0), np.int64(2)],
    }


def bad_labels() -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    for dtype in INTEGERS:
        for name in ("too large", "negative", "secret", "largest"):
            info = np.iinfo(dtype)
            if all(info.min <= v <= info.max for v in CONTENTS[name]):
                array = np.array(CONTENTS[name], dtype=dtype)
                kinds |= {
                    f"{dtype} {name} {layout}": a for layout, a in layouts(array).items() if layout != "plain"
                }
    for dtype in ("f2", "f4", "f8", ">f8", "c8"):
        for name in ("nan", "infinite", "minus infinity", "fractions", "secret fraction"):
            kinds[f"{dtype} {name}"] = np.array(CONTENTS[name], dtype=dtype)
    for name, content in CONTENTS.items():
        kinds[f"objects {name}"] = np.array(content, dtype=object)
    return kinds | {
        "texts": np.array(["0", str(SECRET)]),
        "bytes": np.array([b"0", b"1"]),
        "dates": np.array(["2020-01-01"], dtype="M8[D]"),
        "durations": np.array([1], dtype="m8[s]"),
        "void": np.zeros(2, dtype="V4"),
        "records": np.array([(1, 2)], dtype=[("a", int), ("b", int)]),
        "masked": np.ma.masked_array([0, 1], mask=[True, False]),
        "matrix": np.zeros((2, 2), dtype=int),
        "row": np.zeros((1, 3), dtype=int),
        "column": np.zeros((3, 1), dtype=int),
        "cube": np.zeros((1, 1, 1), dtype=int),
        "scalar": 2,
        "array scalar": np.int64(2),
        "none": None,
        "nones": [None, None],
        "ragged": [[0], [1, 2]],
        "nested": [[0, 1]],
        "dictionary": {0: 1},
        "set": {0, 1},
        "generator": (i for i in range(3)),
        "text": "0123",
        "byte string": b"012",
        "bools": [True, False],
        "bool array": np.array([True]),
        "huge integer": [2**70],
        "mixed": [0, "a"],
        "object": object(),
        "function": len,
        "type": int,
    }


GOOD, BAD = good_labels(), bad_labels()


def refused(call: Callable[[], object]) -> str:
    with pytest.raises((TypeError, ValueError)) as caught:
        call()
    message = str(caught.value)
    assert message.startswith("Expected"), message
    assert str(SECRET) not in message
    return message


def test_there_are_a_hundred_kinds() -> None:
    assert len(BAD) >= 100
    assert len(bad_priors()) >= 100


@pytest.mark.parametrize("mechanism", MECHANISMS, ids=lambda m: repr(m)[:60])
def test_every_layout_of_good_labels_gives_one_answer(mechanism) -> None:
    expected = labeldp.privatize(mechanism, [4, 0, 2], prior=PRIOR, source=labeldp.SeededSource(0)).values
    for name, labels in GOOD.items():
        noisy = labeldp.privatize(mechanism, labels, prior=PRIOR, source=labeldp.SeededSource(0))
        np.testing.assert_array_equal(noisy.values, expected, err_msg=name)
        np.testing.assert_array_equal(
            mechanism.response(labels, PRIOR), mechanism.response([4, 0, 2], PRIOR), err_msg=name
        )


@pytest.mark.parametrize("mechanism", CLASSES, ids=repr)
def test_bad_labels_are_refused_by_every_mechanism(mechanism) -> None:
    for labels in BAD.values():
        refused(lambda labels=labels: labeldp.privatize(mechanism, labels, prior=PRIOR))
        refused(lambda labels=labels: mechanism.response(labels, PRIOR))


def test_bad_real_labels_are_refused() -> None:
    """Where numbers are expected, floats within the range are right; everything else is refused."""
    mechanism = MECHANISMS[-1]
    right = 0
    for name, labels in BAD.items():
        array = np.asarray(labels) if name not in ("ragged",) else None
        fine = (
            array is not None
            and array.ndim == 1
            and array.dtype.kind in "iuf"
            and not isinstance(labels, np.ma.MaskedArray)
            and bool(np.isfinite(array.astype(float)).all() and (array >= 0).all() and (array <= 4).all())
        )
        if fine:
            assert len(labeldp.privatize(mechanism, labels)) == len(array)
            right += 1
        else:
            refused(lambda labels=labels: labeldp.privatize(mechanism, labels))
    assert 1 <= right <= 10


def test_bad_labels_are_refused_where_they_are_counted_and_staged() -> None:
    stages = [labeldp.stages.Stage(MECHANISMS[0], 1.0)]
    for labels in BAD.values():
        refused(lambda labels=labels: labeldp.laplace_histogram(labels, K, 1.0))
        refused(lambda labels=labels: labeldp.stages.privatize(labels, stages, prior=lambda *_: None, seed=0))


def bad_priors() -> dict[str, Any]:
    kinds: dict[str, Any] = {}
    bad_rows = {
        "nan": [0.1, np.nan, 0.1, 0.1, 0.1],
        "infinite": [0.1, np.inf, 0.1, 0.1, 0.1],
        "negative": [0.5, 0.6, -0.1, 0, 0],
        "all negative": [-1.0] * 5,
        "zero": [0.0] * 5,
        "negative zero": [-0.0] * 5,
        "minus infinity": [1.0, -np.inf, 1.0, 1.0, 1.0],
        "two nan": [np.nan, np.nan, 1.0, 1.0, 1.0],
    }
    for dtype in ("f2", "f4", "f8", ">f8", "longdouble"):
        for name, row in bad_rows.items():
            one = np.array(row, dtype=dtype)
            last = np.ones((3, K), dtype=dtype)
            last[2] = one
            kinds |= {
                f"{dtype} {name} row": one,
                f"{dtype} {name} last": last,
                f"{dtype} {name} F": np.asfortranarray(last),
            }
    for shape in ((0,), (4,), (6,), (3, 4), (3, 6), (2, 5), (4, 5), (5, 3), (3, 5, 1), (1, 3, 5), (1, 5), ()):
        kinds[f"shape {shape}"] = np.ones(shape)
    return kinds | {
        "none": None,
        "texts": ["a"] * K,
        "complex": np.ones(K) * 1j,
        "bools": np.ones(K, dtype=bool),
        "objects": np.array([1, 2, 3, 4, None], dtype=object),
        "masked": np.ma.masked_array(np.ones(K), mask=[0, 1, 0, 0, 0]),
        "dates": np.array(["2020-01-01"] * K, dtype="M8[D]"),
        "dictionary": {"p": 1.0},
        "text": "uniform",
        "ragged": [[1.0], [1.0, 2.0]],
    }


SELECTIVE = [m for m in CLASSES if "Selective" in repr(m) or "Partitioned" in repr(m)]


@pytest.mark.parametrize("mechanism", SELECTIVE, ids=repr)
def test_bad_priors_are_refused_everywhere(mechanism) -> None:
    noisy = labeldp.privatize(MECHANISMS[0], [0, 1, 2])
    for name, prior in bad_priors().items():
        assert "prior" in refused(lambda prior=prior: labeldp.privatize(mechanism, [0, 1, 2], prior=prior)), (
            name
        )
        refused(lambda prior=prior: mechanism.plan(prior, 3))
        refused(lambda prior=prior: noisy.posterior(prior))


@pytest.mark.parametrize("scale", [1e-300, 1e-30, 1.0, 7, 1e30, 1e300])
@pytest.mark.parametrize("dtype", ["f4", "f8", ">f8", "longdouble", "i8", "u1"])
def test_good_priors_of_any_type_and_scale_give_one_set(scale: float, dtype: str) -> None:
    row = np.array([4, 3, 2, 1, 0])
    with np.errstate(over="ignore", under="ignore"):
        scaled = (row * scale).astype(dtype) if np.dtype(dtype).kind == "f" else row.astype(dtype)
    if not (np.isfinite(scaled).all() and scaled[3] > 0 and scaled[0] / scaled[3] == 4):
        return  # this type has no room for that scale
    for mechanism in MECHANISMS[1:3]:
        np.testing.assert_array_equal(mechanism.candidates(scaled), mechanism.candidates(row))


BAD_NUMBERS = [
    None,
    "1",
    True,
    1j,
    [1.0],
    np.array([1.0]),
    float("nan"),
    float("inf"),
    -1.0,
    -1e-9,
    81.0,
    1e308,
    10**400,
    object(),
]


@pytest.mark.parametrize("kind", [type(m) for m in CLASSES], ids=lambda t: t.__name__)
def test_bad_parameters_are_refused_by_every_mechanism(kind) -> None:
    for epsilon in BAD_NUMBERS:
        refused(lambda epsilon=epsilon: kind(epsilon, K))
    for num_classes in [None, "5", True, 5.0, 1, 0, -5, 2**24 + 1, [5], float("nan")]:
        refused(lambda num_classes=num_classes: kind(1.0, num_classes))


def test_bad_arguments_of_estimates_are_refused() -> None:
    noisy = labeldp.privatize(MECHANISMS[0], [0, 1, 2])
    for confidence in [None, "0.9", True, 0, 1, -0.5, 1.5, float("nan"), [0.9]]:
        refused(lambda confidence=confidence: estimate.counts(noisy, confidence=confidence))
        refused(
            lambda confidence=confidence: estimate.required_sample_size(
                MECHANISMS[0], margin=0.1, confidence=confidence
            )
        )
    for margin in [None, "0.1", True, 0, 1, -0.1, float("nan")]:
        refused(lambda margin=margin: estimate.required_sample_size(MECHANISMS[0], margin=margin))
    for groups in [None, [0, 1], [0, 1, -1], [0.0, 1.0, 2.0], ["a", "b", "c"], [[0, 1, 2]], {0: 1}]:
        refused(lambda groups=groups: estimate.confusion(noisy, groups))
    for values in [[1.0], [1, 2, 3, 4, np.nan], ["a"] * K, [[1.0] * K], [1, 2, 3, 4, np.inf]]:
        refused(lambda values=values: estimate.means(noisy, values))
