"""Checks of a release: what is sound passes, and each of many faults is named."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import accounting
import labeldp
from labeldp.tables import Columns, Job, Ledger, Manifest, law_check, privatize, privatize_file
from labeldp.tables.copies import in_stretches, tells
from labeldp.tables.law_check import law_problem
from labeldp.tables.verification import verify

N, K = 4000, 4
CLASSES = ("flu", "cold", "measles", "none")
RNG = np.random.default_rng(0)
NUMBERS = RNG.choice(K, size=N, p=[0.6, 0.2, 0.15, 0.05])
PRIOR = RNG.dirichlet(np.full(K, 0.7), size=N)
PRIORS = tuple(f"p{c}" for c in range(K))
TABLE = pa.table(
    {
        "id": RNG.permutation(N),
        "y": pa.array(np.array(CLASSES)[NUMBERS]),
        **{name: PRIOR[:, c] for c, name in enumerate(PRIORS)},
        "age": RNG.integers(20, 80, size=N),
        "x": RNG.random(N),
        "note": [f"flu or cold or measles or none, row {i}" for i in range(N)],
        "tags": [["a"] * (i % 3) for i in range(N)],
        "nothing": pa.nulls(N),
    }
)
MECHANISMS = [
    labeldp.RandomizedResponse(1.0, K),
    labeldp.SelectiveRandomizedResponse(1.0, K),
    labeldp.SelectiveRandomizedResponse(1.0, K, size=2, outside="other"),
    labeldp.SubsetSelection(0.5, K),
    labeldp.UnaryEncoding(1.0, K),
    labeldp.NoisyOneHot(1.0, K),
    labeldp.PartitionedRandomizedResponse(1.0, K),
]


def job_of(mechanism) -> Job:
    keyed = not isinstance(mechanism, labeldp.PartitionedRandomizedResponse)
    return Job(mechanism, Columns("y", CLASSES, "id" if keyed else None, PRIORS))


@pytest.fixture(params=MECHANISMS, ids=repr)
def mechanism(request):
    return request.param


def made(at, job, table=TABLE, **options) -> Manifest:
    pq.write_table(table, at / "in.parquet")
    return privatize_file(at / "in.parquet", at / "out.parquet", job, **options)


def test_a_sound_release_passes(mechanism, tmp_path) -> None:
    manifest = made(tmp_path, job_of(mechanism))
    result = verify(tmp_path / "out.parquet", manifest, truth=tmp_path / "in.parquet")
    assert result.problems == ()
    assert len(result.checked) == 5


def test_the_order_of_rows_does_not_matter_where_they_have_names(tmp_path) -> None:
    manifest = made(tmp_path, job_of(MECHANISMS[0]))
    pq.write_table(TABLE.sort_by("id"), tmp_path / "in.parquet")
    assert verify(tmp_path / "out.parquet", manifest, truth=tmp_path / "in.parquet").problems == ()
    pq.write_table(TABLE.slice(1), tmp_path / "in.parquet")
    (problem,) = verify(tmp_path / "out.parquet", manifest, truth=tmp_path / "in.parquet").problems
    assert "other rows" in problem


COPIES = {
    "renamed": TABLE["y"],
    "numbered": pa.array(NUMBERS * 17 + 3),
    "hashed": pa.array([hash(("salt", int(y))) for y in NUMBERS]),
    "floats": pa.array(NUMBERS / 7),
    "categories": TABLE["y"].dictionary_encode(),
    "booleans of a group": pa.array(NUMBERS == 0),
    "in a text": pa.array([f"{i}: {CLASSES[y]}" for i, y in enumerate(NUMBERS)]),
    "in a list": pa.array([[CLASSES[y]] for y in NUMBERS]),
    "in a struct": pa.array([{"label": CLASSES[y]} for y in NUMBERS]),
    "numbers near it": pa.array(NUMBERS + RNG.random(N) / 2),
    "ranks within it": pa.array(np.argsort(np.argsort(NUMBERS + RNG.random(N) / 2))),
    "finer than the label": pa.array([f"{CLASSES[y][::-1]}{i % 5}" for i, y in enumerate(NUMBERS)]),
}
NOT_FOUND = ("booleans of a group",)


@pytest.mark.parametrize("name", COPIES)
def test_a_copy_under_another_name_is_named(name: str, tmp_path) -> None:
    manifest = made(tmp_path, job_of(MECHANISMS[0]), TABLE.append_column("other", COPIES[name]))
    problems = verify(tmp_path / "out.parquet", manifest, truth=tmp_path / "in.parquet").problems
    if name in NOT_FOUND:  # tells some labels, not all: said not to be seen
        assert problems == ()
    else:
        assert [problem.split(" tells")[0] for problem in problems] == ["column other"]


def test_the_order_of_rows_is_named(tmp_path) -> None:
    """A table sorted by its labels: whoever sees the noisy ones in that order sees where one class ends."""
    manifest = made(tmp_path, job_of(MECHANISMS[0]), TABLE.sort_by("y"))
    (problem,) = verify(tmp_path / "out.parquet", manifest, truth=tmp_path / "in.parquet").problems
    assert problem.startswith("the order of rows tells")


def test_columns_that_know_nothing_are_hardly_ever_called_out() -> None:
    """At a rate of 1e-6: 2,000 of them, many with few rows and lopsided labels, where chance does most."""
    draw = np.random.default_rng(1)
    for _ in range(2000):
        n, values = int(draw.integers(1, 60)), int(draw.integers(1, 30))
        labels = draw.choice(3, size=n, p=[0.9, 0.08, 0.02])
        assert tells(pa.array(draw.integers(values, size=n)), labels, ["a", "b", "c"]) is None
    for _ in range(200):
        n, rare = int(draw.integers(50, 3000)), float(draw.choice([0.001, 0.01, 0.1, 0.5]))
        labels = (draw.random(n) < rare).astype(np.int64)
        assert not in_stretches(labels)
        assert tells(pa.array(draw.random(n)), labels, ["a", "b"]) is None


def forged(at, change) -> None:
    """Writes another output in the place of the one that was made, with a manifest that says so."""
    table = change(pq.read_table(at / "out.parquet"))
    pq.write_table(table, at / "out.parquet")


FAULTS = {
    "no noise": lambda t: t.set_column(t.num_columns - 1, "y_noisy", TABLE["y"]),
    "other epsilon": lambda t: t.set_column(
        t.num_columns - 1, "y_noisy", pa.array(np.array(CLASSES)[answered(labeldp.RandomizedResponse(1.6, K))])
    ),
    "one lie more likely": lambda t: t.set_column(
        t.num_columns - 1, "y_noisy", pa.array([("cold" if v == "none" and i % 3 else v) for i, v in enumerate(t["y_noisy"].to_pylist())])
    ),
    "always one answer": lambda t: t.set_column(t.num_columns - 1, "y_noisy", pa.array(["flu"] * N)),
}  # fmt: skip


def answered(mechanism) -> np.ndarray:
    return labeldp.privatize(mechanism, NUMBERS).values


def with_digest(manifest: Manifest, path) -> Manifest:
    import hashlib

    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return replace(manifest, files=(replace(manifest.files[0], sha256=digest),))


@pytest.mark.parametrize("name", FAULTS)
def test_noise_that_is_not_of_its_law_is_named(name: str, tmp_path) -> None:
    manifest = made(tmp_path, job_of(MECHANISMS[0]))
    forged(tmp_path, FAULTS[name])
    out = tmp_path / "out.parquet"
    assert "SHA-256" in verify(out, manifest).problems[0]
    result = verify(out, with_digest(manifest, out), truth=tmp_path / "in.parquet")
    assert ["law" in problem for problem in result.problems] == [True]


def test_another_epsilon_is_seen_for_every_mechanism(mechanism) -> None:
    """The law of epsilon 1 on answers of twice the epsilon, and none at all."""
    more = replace(mechanism, epsilon=2 * mechanism.epsilon)
    if isinstance(mechanism, labeldp.SelectiveRandomizedResponse):
        mechanism, more = replace(mechanism, size=2), replace(more, size=2)
    if isinstance(mechanism, labeldp.PartitionedRandomizedResponse):
        mechanism, more = replace(mechanism, num_blocks=3), replace(more, num_blocks=3)
    if isinstance(mechanism, labeldp.SubsetSelection):
        mechanism, more = replace(mechanism, subset_size=1), replace(more, subset_size=1)
    seen = labeldp.privatize(more, NUMBERS, prior=PRIOR)
    if isinstance(mechanism, labeldp.NoisyOneHot):  # the points of another grid
        points = mechanism.points
        nearest = np.abs(seen.values[..., None] - points).argmin(axis=-1)
        seen = replace(seen, values=points[nearest])
    assert law_problem(replace(seen, mechanism=mechanism), NUMBERS)
    own = labeldp.privatize(mechanism, NUMBERS, prior=PRIOR)
    assert law_problem(own, NUMBERS) is None


def test_sound_noise_is_hardly_ever_called_unsound(mechanism, monkeypatch) -> None:
    """At a rate of 1e-6 each; shown at 5 % on 60 runs, where more than 12 have a probability below 2e-5."""
    monkeypatch.setattr(law_check, "ALARM", 0.05)
    alarms = sum(
        law_problem(labeldp.privatize(mechanism, NUMBERS[:400], prior=PRIOR[:400]), NUMBERS[:400]) is not None
        for _ in range(60)
    )
    assert alarms <= 12


def test_faults_of_files_columns_and_metadata_are_named(tmp_path) -> None:
    manifest, out = made(tmp_path, job_of(MECHANISMS[2])), tmp_path / "out.parquet"
    good = pq.read_table(out)
    field = pa.field("age", pa.int64(), metadata={"y": "flu"})
    changed = {
        "true labels": good.append_column("y", TABLE["y"]),
        "lacks": good.drop_columns(["p0"]),
        "metadata": good.replace_schema_metadata({"labels": "flu"}),
        "of age": good.set_column(good.column_names.index("age"), field, good["age"]),
        "cannot be read": good.set_column(good.column_names.index("y_noisy"), "y_noisy", pa.array(["x"] * N)),
        "not those of the event": good.slice(1),
    }
    for word, table in changed.items():
        pq.write_table(table, out)
        problems = verify(out, with_digest(manifest, out)).problems
        assert any(word in problem for problem in problems), (word, problems)
    pq.write_table(good, tmp_path / "other.parquet")
    assert any("not in the manifest" in p for p in verify(tmp_path / "other.parquet", manifest).problems)
    assert any("missing" in p for p in verify(tmp_path / "other.parquet", manifest).problems)


def test_the_ledger_has_to_hold_the_charge(tmp_path) -> None:
    source, out = labeldp.KeyedSource(bytes(32)), tmp_path / "out.parquet"
    with Ledger(tmp_path / "ledger") as ledger, Ledger(tmp_path / "other") as other:
        for one in (ledger, other):
            one.set_cap("clicks", 2.0, unit="label")
        other.charge("clicks", accounting.PureDP(0.5), unit="label")
        manifest = made(tmp_path, job_of(MECHANISMS[0]), source=source, ledger=ledger, dataset="clicks")
        assert verify(out, manifest, ledger=ledger).problems == ()
        assert any("not in the chain" in problem for problem in verify(out, manifest, ledger=other).problems)
        lied = replace(manifest, charge=manifest.charge | {"entry": 2})
        assert any("another charge" in problem for problem in verify(out, lied, ledger=ledger).problems)
        lied = replace(manifest, charge=manifest.charge | {"entry": 9})
        assert any("not in the ledger" in problem for problem in verify(out, lied, ledger=ledger).problems)
        lied = replace(manifest, release="0" * 64)
        assert any("another release" in problem for problem in verify(out, lied, ledger=ledger).problems)
        silent = replace(manifest, charge=None)
        assert any("no charge" in problem for problem in verify(out, silent, ledger=ledger).problems)


def test_a_charge_for_less_is_not_one_for_the_release(mechanism, tmp_path) -> None:
    """Fresh noise has no name in the ledger; its event has to be the one that was paid for."""
    with Ledger(tmp_path / "ledger") as ledger:
        ledger.set_cap("clicks", 2.0, unit="label")
        manifest = made(tmp_path, job_of(mechanism), ledger=ledger, dataset="clicks")
        manifest.save(tmp_path / "manifest")
        told = Manifest.load(tmp_path / "manifest")
        assert verify(tmp_path / "out.parquet", told, ledger=ledger).problems == ()
        little = ledger.charge("clicks", accounting.PureDP(0.01), unit="label")
        lied = replace(manifest, charge=manifest.charge | {"entry": little.entry, "head": little.head})
        (problem,) = verify(tmp_path / "out.parquet", lied, ledger=ledger).problems
        assert "another event" in problem


def test_metadata_within_a_column_is_left_out_and_named(tmp_path) -> None:
    told = pa.field("x", pa.int64(), metadata={"labels": "flu, flu, none"})
    fields = {
        "struct": pa.struct([told]),
        "list": pa.list_(pa.struct([told])),
        "large list": pa.large_list(told),
        "pair": pa.list_(told, 2),
        "map": pa.map_(pa.string(), pa.struct([told])),
    }
    values = {
        "struct": {"x": 1},
        "list": [{"x": 1}],
        "large list": [1],
        "pair": [1, 2],
        "map": [("a", {"x": 1})],
    }
    table = TABLE
    for name, kind in fields.items():
        table = table.append_column(name, pa.array([values[name]] * N, kind))
    manifest, out = made(tmp_path, job_of(MECHANISMS[0]), table), tmp_path / "out.parquet"
    assert verify(out, manifest).problems == ()
    assert pq.read_table(out).column("map").to_pylist()[0] == [("a", {"x": 1})]
    for name in fields:
        written = pq.read_table(out)
        place = written.column_names.index(name)
        pq.write_table(written.set_column(place, name, table[name]), tmp_path / "told.parquet")
        assert any(f"of {name}" in p for p in verify(tmp_path / "told.parquet", manifest).problems)
    told_of = {"label": "y", "classes": CLASSES}
    for given in (table, table.to_batches()[0]):
        result, _ = privatize(given, MECHANISMS[0], **told_of)
        assert b"labels" not in result.schema.serialize().to_pybytes()


def test_a_csv_and_a_folder_are_checked_too(tmp_path) -> None:
    (tmp_path / "in").mkdir()
    pq.write_table(TABLE[:1000], tmp_path / "in" / "a.parquet")
    pq.write_table(TABLE[1000:], tmp_path / "in" / "b.parquet")
    manifest = privatize_file(tmp_path / "in", tmp_path / "out", job_of(MECHANISMS[2]))
    assert verify(tmp_path / "out", manifest, truth=tmp_path / "in").problems == ()
    (tmp_path / "out" / "b.parquet").unlink()
    assert any("missing" in problem for problem in verify(tmp_path / "out", manifest).problems)
    labels = tmp_path / "labels.csv"
    labels.write_text("id,y\n" + "".join(f"{i},{CLASSES[y]}\n" for i, y in enumerate(NUMBERS)))
    job = Job(MECHANISMS[3], Columns("y", CLASSES, "id"))
    manifest = privatize_file(labels, tmp_path / "noisy.csv", job, source=labeldp.KeyedSource(bytes(32)))
    assert verify(tmp_path / "noisy.csv", manifest, truth=labels).problems == ()
    assert json.loads((tmp_path / "noisy.csv.manifest.json").read_text())["rows"] == N
