"""Keyed noise: the same release again is the same, and any other release has noise of its own."""

import copy
import hashlib
import hmac
import json
import pickle
from dataclasses import asdict

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.ciphers.modes import CBC
from scipy import stats

import labeldp
from labeldp.release import sampling
from labeldp.release.keyed import SAMPLER, Context, item_blocks

KEY = bytes(range(32))
N = 4000
RNG = np.random.default_rng(0)
LABELS = RNG.integers(5, size=N)
PRIOR = RNG.dirichlet(np.full(5, 0.5), size=N)
ITEMS = RNG.permutation(10 * N)[:N] - 5 * N
TEXTS = [f"row {i}" for i in ITEMS]
MECHANISMS = [
    labeldp.RandomizedResponse(1.0, 5),
    labeldp.RandomizedResponse(45.0, 5),
    labeldp.SelectiveRandomizedResponse(1.0, 5),
    labeldp.SelectiveRandomizedResponse(1.0, 5, size="information", outside="other"),
    labeldp.SubsetSelection(0.3, 5),
    labeldp.UnaryEncoding(1.0, 5),
]
each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)


def released(mechanism, labels=LABELS, prior=PRIOR, items=ITEMS, key=KEY, epoch=""):
    source = labeldp.KeyedSource(key, epoch=epoch)
    return labeldp.privatize(mechanism, labels, prior=prior, source=source, items=items).values


@each_mechanism
@pytest.mark.parametrize("items", [ITEMS, TEXTS], ids=["integers", "texts"])
def test_a_rerun_in_any_order_and_any_parts_is_the_same_release(mechanism, items, monkeypatch) -> None:
    whole = released(mechanism, items=items)
    order = np.random.default_rng(1).permutation(N)
    names = np.asarray(items)
    monkeypatch.setattr(sampling, "CHUNK_BYTES", 50_000)
    parts = [released(mechanism, LABELS[rows], PRIOR[rows], names[rows]) for rows in np.array_split(order, 7)]
    np.testing.assert_array_equal(np.concatenate(parts), whole[order])


def agreement(one: np.ndarray, two: np.ndarray) -> float:
    """Share of items answered alike."""
    same = one == two
    return float(same.mean() if same.ndim == 1 else same.all(axis=1).mean())


def test_any_other_release_has_noise_of_its_own() -> None:
    """Labels all 0: answers agree as often as independent ones do, within five standard errors."""
    labels, one_row = np.zeros(N, dtype=int), np.array([0.5, 0.2, 0.1, 0.1, 0.1])
    mechanism = labeldp.SelectiveRandomizedResponse(1.0, 5, size=3)
    first = released(mechanism, labels, one_row)
    law = mechanism.channel(one_row)[0]
    others = {
        "another key": released(mechanism, labels, one_row, key=bytes(32)),
        "another epoch": released(mechanism, labels, one_row, epoch="2027"),
        "a part of the epoch": labeldp.privatize(
            mechanism, labels, prior=one_row, items=ITEMS, source=labeldp.KeyedSource(KEY).within("a column")
        ).values,
        "texts instead of integers": released(mechanism, labels, one_row, items=[str(i) for i in ITEMS]),
        "other items": released(mechanism, labels, one_row, items=ITEMS + 20 * N),
        "a nearly equal epsilon": released(
            labeldp.SelectiveRandomizedResponse(1.0 + 2**-52, 5, size=3), labels, one_row
        ),
        "another parameter": released(
            labeldp.SelectiveRandomizedResponse(1.0, 5, size=3, outside="other"), labels, one_row
        ),
    }
    for name, other in others.items():
        expected = float((law * law).sum()) if name != "another parameter" else None
        if expected is None:
            expected = float(
                (
                    law
                    * labeldp.SelectiveRandomizedResponse(1.0, 5, size=3, outside="other").channel(one_row)[
                        0
                    ][:5]
                ).sum()
            )
        error = np.sqrt(expected * (1 - expected) / N)
        assert abs(agreement(first, other) - expected) < 5 * error, name


class IgnoresTheLabel(labeldp.KeyedSource):
    """A coin from the item alone."""

    def words(self, count, context=None):
        assert isinstance(context, Context)
        blind = Context(
            context.mechanism, context.items, np.zeros_like(context.labels), context.plan, context.attempt
        )
        return super().words(count, blind)


def noise_is_independent_of_the_label(source_type) -> bool:
    """Whether correcting every label from 0 to 1 draws fresh noise: kept before and kept after are independent events."""
    mechanism = labeldp.RandomizedResponse(1.0, 2)
    before, after = (
        labeldp.privatize(mechanism, np.full(N, y), source=source_type(KEY), items=ITEMS).values == y
        for y in (0, 1)
    )
    table = [
        [(before & after).sum(), (before & ~after).sum()],
        [(~before & after).sum(), (~before & ~after).sum()],
    ]
    return stats.fisher_exact(table).pvalue > 1e-6


def test_a_corrected_label_has_noise_of_its_own() -> None:
    assert noise_is_independent_of_the_label(labeldp.KeyedSource)
    assert not noise_is_independent_of_the_label(IgnoresTheLabel)  # the twin


def test_other_candidates_have_noise_of_their_own() -> None:
    """Two priors with the same number of candidates: ranks would agree if the set were not in the message."""
    labels = np.zeros(N, dtype=int)
    mechanism = labeldp.SelectiveRandomizedResponse(0.5, 5, size=2)
    one, two = (released(mechanism, labels, row) for row in ([1, 1, 0, 0, 0], [1, 0, 1, 0, 0]))
    kept = mechanism.channel([1, 1, 0, 0, 0])[0, 0]
    expected = kept**2 + (1 - kept) ** 2
    assert abs(((one == 0) == (two == 0)).mean() - expected) < 5 * np.sqrt(expected * (1 - expected) / N)


def reference_words(mechanism, item: int, label: int, candidates, attempt: int, count: int) -> list[int]:
    """An independent statement of the function: HMAC for the context, then the CBC-MAC of one item's message."""
    described = {
        "sampler": "labeldp keyed noise 1",
        "mechanism": type(mechanism).__name__,
        "parameters": asdict(mechanism),
        "items": "integer",
        "epoch": "",
        "planned": [candidates is not None, False],
    }
    subkey = hmac.new(KEY, json.dumps(described, sort_keys=True).encode(), "sha256").digest()
    message = (item % 2**64).to_bytes(8, "little") + int(item < 0).to_bytes(8, "little")
    if candidates is not None:
        packed = np.packbits(candidates).tobytes()
        message += packed + bytes(-len(packed) % 16)
    words: list[int] = []
    pair = 0
    while len(words) < count:
        last = label.to_bytes(8, "little") + pair.to_bytes(4, "little") + attempt.to_bytes(4, "little")
        mac = Cipher(AES(subkey), CBC(bytes(16))).encryptor().update(message + last)[-16:]
        words += [int.from_bytes(mac[:8], "little"), int.from_bytes(mac[8:], "little")]
        pair += 1
    return words[:count]


@each_mechanism
def test_words_are_those_of_the_published_function(mechanism) -> None:
    plan = mechanism.plan(PRIOR, N)
    rows = np.array([0, 5, 17])
    count = 3 * mechanism.num_words
    context = Context(mechanism, item_blocks(ITEMS, N)[rows], LABELS[rows], plan[rows], attempt=2)
    words = labeldp.KeyedSource(KEY).words(count, context)
    expected = [
        reference_words(
            mechanism,
            int(ITEMS[row]),
            int(LABELS[row]),
            None if plan.candidates is None else plan.candidates[row],
            2,
            mechanism.num_words,
        )
        for row in rows
    ]
    assert words.tolist() == [word for item in expected for word in item]


def test_messages_of_different_items_differ() -> None:
    numbers = [0, 1, -1, 2**63 - 1, -(2**63), 255, 256, -256]
    blocks = item_blocks(np.array(numbers), len(numbers)).blocks
    assert len({block.tobytes() for block in blocks}) == len(numbers)
    large = item_blocks(np.array([2**64 - 1, 2**63], dtype=np.uint64), 2).blocks
    assert not {block.tobytes() for block in large} & {block.tobytes() for block in blocks}
    for dtype in ("i1", "u1", "i4", ">i4", "i8", "u8"):  # one number is one name, whatever it is stored in
        same = item_blocks(np.array([7, 100], dtype=dtype), 2).blocks
        np.testing.assert_array_equal(same, item_blocks([7, 100], 2).blocks)


def test_the_law_is_kept() -> None:
    mechanism = labeldp.RandomizedResponse(1.0, 5)
    for label in range(5):
        counts = np.bincount(released(mechanism, np.full(N, label), None), minlength=5)
        assert stats.chisquare(counts, N * mechanism.channel()[label]).pvalue > 1e-4


BAD_ITEMS = {
    "none": None,
    "too few": [1, 2],
    "repeated": [1, 2, 1],
    "repeated texts": ["a", "b", "a"],
    "floats": [1.0, 2.0, 3.0],
    "missing text": ["a", None, "c"],
    "mixed": np.array([1, "b", 3], dtype=object),
    "bools": [True, False, True],
    "two-dimensional": [[1], [2], [3]],
    "scalar": 7,
    "bytes": [b"a", b"b", b"c"],
    "a missing one among texts": ["a", float("nan"), "c"],
    "dates": np.array(["2020-01-01"] * 3, dtype="datetime64[D]"),
}


@pytest.mark.parametrize("name", BAD_ITEMS)
def test_bad_items_are_refused_before_a_label_is_read(name: str) -> None:
    class Trap:
        shape = (3,)

        def __array__(self, *_, **__):
            raise AssertionError("the labels were read")

        def __len__(self):
            return 3

    with pytest.raises((TypeError, ValueError), match="Expected"):
        labeldp.privatize(
            labeldp.RandomizedResponse(1.0, 3), Trap(), source=labeldp.KeyedSource(KEY), items=BAD_ITEMS[name]
        )


@pytest.mark.parametrize("key", [None, "k" * 32, b"", bytes(16), bytes(31), bytes(33), 5, [0] * 32])
def test_bad_keys_are_refused(key) -> None:
    with pytest.raises((TypeError, ValueError), match="32 bytes"):
        labeldp.KeyedSource(key)
    for epoch in (3, None, "\ud83d\ude00", "\U0001f600"):
        with pytest.raises((TypeError, ValueError), match="epoch"):
            labeldp.KeyedSource(KEY, epoch=epoch)


def test_another_law_under_a_known_name_is_refused() -> None:
    class RandomizedResponse(labeldp.RandomizedResponse):
        """Its noise would be that of the mechanism it is named after."""

    with pytest.raises(TypeError, match="mechanism of labeldp"):
        released(RandomizedResponse(1.0, 5))


def test_texts_that_end_in_a_null_are_names_of_their_own() -> None:
    assert len({block.tobytes() for block in item_blocks(["a", "a\0", "a\0\0"], 3).blocks}) == 3


def test_stages_refuse_one_name_in_two_of_them() -> None:
    from labeldp.learning.stages import Stage

    plan = [Stage(labeldp.RandomizedResponse(1.0, 5), 0.5), Stage(labeldp.RandomizedResponse(2.0, 5), 0.5)]
    with pytest.raises(ValueError, match="named once"):
        labeldp.stages.privatize(
            [0, 1, 2, 3], plan, prior=lambda *_: None, seed=0, items=["a", "b", "c", "a"]
        )


def test_the_key_is_not_shown_and_not_copied() -> None:
    source = labeldp.KeyedSource(b"very secret key of thirty-two by")
    assert "secret" not in repr(source)
    for operation in (pickle.dumps, copy.copy, copy.deepcopy):
        with pytest.raises(TypeError, match="secret key"):
            operation(source)


def test_other_sources_accept_items_and_check_them() -> None:
    mechanism = labeldp.RandomizedResponse(1.0, 3)
    assert len(labeldp.privatize(mechanism, [0, 1], items=["a", "b"])) == 2
    with pytest.raises(ValueError, match="named once"):
        labeldp.privatize(mechanism, [0, 1], items=["a", "a"])
    empty = labeldp.privatize(mechanism, [], items=[], source=labeldp.KeyedSource(KEY))
    assert len(empty) == 0


def test_a_keyed_release_may_be_released() -> None:
    noisy = labeldp.privatize(
        labeldp.RandomizedResponse(1.0, 3), [0, 1], source=labeldp.KeyedSource(KEY), items=[1, 2]
    )
    assert noisy.guarantee(unit="label").releasable


def test_stages_rerun_alike() -> None:
    from labeldp.learning.stages import Stage

    plan = [Stage(labeldp.RandomizedResponse(1.0, 5), 0.5), Stage(labeldp.RandomizedResponse(2.0, 5), 0.5)]
    one, two = (
        labeldp.stages.privatize(
            LABELS, plan, prior=lambda *_: None, seed=0, source=labeldp.KeyedSource(KEY), items=ITEMS
        )
        for _ in range(2)
    )
    for a, b in zip(one.parts, two.parts, strict=True):
        np.testing.assert_array_equal(a.values, b.values)


# The name of a release, for a ledger


def digest(mechanism, prior=PRIOR, items=ITEMS, key=KEY, epoch="", plans=None) -> str:
    names = item_blocks(items, len(items))
    plan = mechanism.plan(prior, len(items))
    return labeldp.KeyedSource(key, epoch=epoch).release_digest(mechanism, names, plan, plans)


def test_the_name_of_a_release_changes_with_all_that_its_noise_depends_on() -> None:
    srr = labeldp.SelectiveRandomizedResponse
    base = srr(1.0, 5, size=2)
    swapped = PRIOR.copy()
    swapped[0] = 1 - (PRIOR[0] >= np.sort(PRIOR[0])[-2])  # what was no candidate is one
    names = {
        "the release": digest(base),
        "another key": digest(base, key=bytes(32)),
        "another epoch": digest(base, epoch="2027"),
        "a nearly equal epsilon": digest(srr(1.0 + 2**-52, 5, size=2)),
        "another size": digest(srr(1.0, 5, size=3)),
        "another mechanism": digest(labeldp.RandomizedResponse(1.0, 5)),
        "texts": digest(base, items=TEXTS),
        "other candidates of one item": digest(base, prior=swapped),
        "candidates of other items": digest(base, prior=PRIOR[::-1]),
        "other items": digest(base, items=ITEMS + 20 * N),
        "fewer items": digest(base, prior=PRIOR[1:], items=ITEMS[1:]),
    }
    assert len(set(names.values())) == len(names)
    assert all(len(name) == 64 for name in names.values())


@each_mechanism
def test_the_name_of_a_release_is_that_of_its_rerun_in_any_order_and_any_parts(mechanism) -> None:
    source, order = labeldp.KeyedSource(KEY), np.random.default_rng(3).permutation(N)
    assert digest(mechanism, PRIOR[order], ITEMS[order]) == digest(mechanism)
    total = 0
    for rows in np.array_split(order, 7):
        part = mechanism.plan(PRIOR[rows], len(rows))
        total += source.plan_digest(mechanism, item_blocks(ITEMS[rows], len(rows)), part)
    assert digest(mechanism, plans=total) == digest(mechanism)


def test_without_candidates_the_items_are_no_part_of_the_name() -> None:
    """A label has the same answer in all of them: more items or fewer cost it nothing."""
    mechanism = labeldp.RandomizedResponse(1.0, 5)
    assert digest(mechanism, None, ITEMS[:5]) == digest(mechanism, None, ITEMS + 20 * N)


def test_digests_of_plans_add_up_as_numbers() -> None:
    """Against a sum over single items, which carries where 32 bits overflow."""
    mechanism, source = labeldp.SelectiveRandomizedResponse(1.0, 5, size=2), labeldp.KeyedSource(KEY)
    plan, items = mechanism.plan(PRIOR, N), item_blocks(ITEMS, N)
    single = [source.plan_digest(mechanism, items[i : i + 1], plan[i : i + 1]) for i in range(300)]
    assert sum(single) % 2**128 == source.plan_digest(mechanism, items[:300], plan[:300])
    assert len(set(single)) == 300
    assert 2**127 < max(single) < 2**128


PUBLISHED = [
    "c33a190a2d35c48c",
    "364b350a6920c33d",
    "166ffda1ac8f493c",
    "ffdf6c1219a575da",
    "555e45dae76afac0",
    "7ced0b2743aefabe",
]


@pytest.mark.parametrize(("mechanism", "expected"), list(zip(MECHANISMS, PUBLISHED, strict=True)), ids=str)
def test_answers_are_those_that_were_published(mechanism, expected) -> None:
    """Whoever changes what a mechanism answers to given words changes SAMPLER too, and then these digests."""
    numbers = np.arange(500)
    prior = (numbers[:, None] * 7 + np.arange(5) ** 2 * 3) % 11
    values = released(mechanism, numbers % 5, prior, numbers)
    found = hashlib.sha256(np.ascontiguousarray(values).astype("<i8").tobytes()).hexdigest()[:16]
    assert (SAMPLER, found) == ("labeldp keyed noise 1", expected)
