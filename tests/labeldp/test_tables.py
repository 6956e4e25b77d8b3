"""Tables in memory: one key, one answer for a row, on whatever engine and however the rows are cut; labels nowhere else."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest

import accounting
import labeldp
from labeldp.release.keyed import Context, integer_items
from labeldp.tables import (
    BudgetSpent,
    Columns,
    Job,
    Ledger,
    Manifest,
    likelihood,
    memory,
    noisy_labels_of,
    privatize,
)
from labeldp.tables.arrow_job import noisy_batch, output_schema, source_for
from labeldp.tables.surveys import Increasing, Names, survey

KEY = bytes(range(32))
N, K = 3000, 4
CLASSES = ("flu", "cold", "measles", "none")
PRIORS = ["p0", "p1", "p2", "p3"]
RNG = np.random.default_rng(0)
NUMBERS = RNG.integers(K, size=N)
TABLE = pa.table(
    {
        "id": RNG.permutation(10 * N)[:N] - 5 * N,
        "y": pa.array(np.array(CLASSES)[NUMBERS]),
        **dict(zip(PRIORS, RNG.dirichlet(np.full(K, 0.5), size=N).T, strict=True)),
        "who": np.arange(N) // 3,
        "note": [f"row {i}" for i in range(N)],
    }
)
RR = labeldp.RandomizedResponse(1.0, K)
MECHANISMS = [
    RR,
    labeldp.SelectiveRandomizedResponse(1.0, K),
    labeldp.SelectiveRandomizedResponse(1.0, K, size=2, outside="other"),
    labeldp.SubsetSelection(0.3, K),
    labeldp.UnaryEncoding(1.0, K),
    labeldp.NoisyOneHot(1.0, K),
]
each_mechanism = pytest.mark.parametrize("mechanism", MECHANISMS, ids=repr)


def released(table=TABLE, mechanism=RR, **options):
    usual = {
        "label": "y",
        "classes": CLASSES,
        "item": "id",
        "prior": PRIORS,
        "source": labeldp.KeyedSource(KEY),
    }
    return privatize(table, mechanism, **(usual | options))


def answers(table) -> dict[int, object]:
    """What each item was answered."""
    arrow = table if isinstance(table, pa.Table) else pa.table(table)
    return dict(zip(arrow["id"].to_pylist(), map(str, arrow["y_noisy"].to_pylist()), strict=True))


class ByTheRow(labeldp.KeyedSource):
    """Noise that goes with the place of a row, not with its item."""

    def within(self, name):
        return ByTheRow(self._key, epoch=json.dumps([self.epoch, name]))

    def words(self, count, context=None):
        assert isinstance(context, Context)
        return super().words(count, replace(context, items=integer_items(np.arange(len(context.labels)))))


def is_the_same_however_it_is_cut(mechanism, source_type, monkeypatch) -> bool:
    whole = answers(released(mechanism=mechanism, source=source_type(KEY)).table)
    order = np.random.default_rng(1).permutation(N)
    monkeypatch.setattr(memory, "BATCH_ROWS", 700)
    shuffled = answers(released(TABLE.take(order), mechanism, source=source_type(KEY)).table)
    parts: dict[int, object] = {}
    for rows in np.array_split(order, 5):
        parts |= answers(released(TABLE.take(rows), mechanism, source=source_type(KEY)).table)
    return whole == shuffled == parts


@each_mechanism
def test_one_key_gives_one_answer_however_rows_are_cut_and_ordered(mechanism, monkeypatch) -> None:
    assert is_the_same_however_it_is_cut(mechanism, labeldp.KeyedSource, monkeypatch)


def test_noise_that_goes_with_the_row_would_be_seen(monkeypatch) -> None:
    assert not is_the_same_however_it_is_cut(RR, ByTheRow, monkeypatch)


def engines():
    yield "pyarrow", TABLE
    yield "record batch", TABLE.combine_chunks().to_batches()[0]
    yield "pandas", TABLE.to_pandas().set_index(pd.Index(np.arange(N) % 7))
    yield "polars", pl.from_arrow(TABLE)
    yield "categories", TABLE.set_column(1, "y", TABLE["y"].dictionary_encode())
    yield "polars categories", pl.from_arrow(TABLE).with_columns(pl.col("y").cast(pl.Categorical))
    yield "large strings", TABLE.set_column(1, "y", TABLE["y"].cast(pa.large_string()))
    yield "string views", TABLE.set_column(1, "y", TABLE["y"].cast(pa.string_view()))
    yield "chunks", pa.concat_tables([TABLE[:10], TABLE[10:10], TABLE[10:]])


ENGINES = dict(engines())


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("mechanism", MECHANISMS[2:4], ids=repr)
def test_every_engine_gets_its_own_type_back_and_the_same_answers(engine: str, mechanism) -> None:
    table = ENGINES[engine]
    result, manifest = released(table, mechanism)
    expected, same = released(mechanism=mechanism)
    assert type(result) is type(table)
    assert manifest == same
    arrow = pa.table(result) if not isinstance(result, pa.Table | pa.RecordBatch) else result
    assert answers(arrow) == answers(expected)
    np.testing.assert_array_equal(likelihood(result, manifest), likelihood(expected, manifest))
    assert [name for name in arrow.schema.names if not name.startswith(("y_", "__"))] == [
        "id", *PRIORS, "who", "note",
    ]  # fmt: skip
    assert [name for name in arrow.schema.names if not name.startswith("__")][-1].startswith("y_")
    if engine == "pandas":
        pd.testing.assert_frame_equal(result[["id", *PRIORS, "who", "note"]], table.drop(columns="y"))


def test_a_relation_of_duckdb_comes_back_as_one() -> None:
    duckdb = pytest.importorskip("duckdb", reason="DuckDB is not installed")
    result = released(duckdb.from_arrow(TABLE)).table
    assert type(result) is duckdb.DuckDBPyRelation
    assert answers(pa.table(result)) == answers(released().table)


def test_everything_else_is_untouched_and_metadata_is_gone() -> None:
    noted = TABLE.replace_schema_metadata({"labels": json.dumps(NUMBERS[:10].tolist())})
    field = noted.schema.field("note").with_metadata({"y": "measles"})
    noted = noted.set_column(noted.schema.get_field_index("note"), field, noted["note"])
    result = released(noted).table
    assert result.drop_columns(["y_noisy"]).equals(TABLE.drop_columns(["y"]))
    assert not result.schema.metadata
    assert not any(field.metadata for field in result.schema)
    frame = TABLE.to_pandas()
    frame.attrs["labels"] = NUMBERS.tolist()
    assert not released(frame).table.attrs


@each_mechanism
def test_a_learner_needs_the_output_and_its_manifest_alone(mechanism, tmp_path) -> None:
    """The likelihoods read back are those of the release that `labeldp.privatize` makes with the same key."""
    result, manifest = released(mechanism=mechanism)
    manifest.save(tmp_path / "m.json")
    job = manifest.job
    source = source_for(job, pa.string(), labeldp.KeyedSource(KEY))
    prior = np.stack([TABLE[name].to_numpy() for name in PRIORS], axis=1)
    direct = labeldp.privatize(mechanism, NUMBERS, prior=prior, source=source, items=TABLE["id"].to_numpy())
    loaded = Manifest.load(tmp_path / "m.json")
    assert loaded == manifest
    np.testing.assert_array_equal(likelihood(result, loaded), direct.likelihood())
    assert noisy_labels_of(result, loaded).event == direct.event


def test_a_damaged_manifest_is_refused(tmp_path) -> None:
    released().manifest.save(tmp_path / "m.json")
    good = json.loads((tmp_path / "m.json").read_text())
    for change in (
        {"format": "?"},
        {"rows": None},
        {"guarantee": {}},
        {"event": {}},
        {"mechanism": {"name": "?"}},
    ):
        with pytest.raises(ValueError, match="manifest"):
            Manifest.from_dict(good | change)
    with pytest.raises(ValueError, match="belong together"):
        Manifest.from_dict(good | {"guarantee": good["guarantee"] | {"epsilon": 0.9}})
    words = good["guarantee"] | {"why": "in the words of another version"}
    assert Manifest.from_dict(good | {"guarantee": words}).rows == N


def test_numbers_stay_numbers_and_null_is_no_candidate() -> None:
    for kind in (pa.int8(), pa.uint32(), pa.float64()):
        table = TABLE.set_column(1, "y", pa.array(NUMBERS).cast(kind))
        other = MECHANISMS[2]
        result, manifest = released(table, other, classes=range(K))
        column = result["y_noisy"]
        assert column.type == kind
        assert set(column.unique().to_pylist()) == {None, 0, 1, 2, 3}
        assert likelihood(result, manifest).shape == (N, K)
        same = released(table, other, classes=["0", "1", "2", "3"]).table  # as a command line names them
        assert column.equals(same["y_noisy"])
    lists = released(table, MECHANISMS[3], classes=range(K)).table["y_noisy"]
    assert lists.type == pa.list_(pa.float64())


def test_times_and_booleans_are_labels_too() -> None:
    days = pa.array(["2026-01-01", "2026-01-02"]).cast(pa.timestamp("ns"))
    two = labeldp.RandomizedResponse(1.0, 2)
    table = TABLE.set_column(1, "y", days.take(pa.array(NUMBERS % 2)))
    result = released(table, two, classes=["2026-01-01", "2026-01-02"], prior=[]).table
    assert result["y_noisy"].type == pa.timestamp("ns")
    table = TABLE.set_column(1, "y", pa.array(NUMBERS % 2 == 1))
    assert released(table, two, classes=[False, True], prior=[]).table["y_noisy"].type == pa.bool_()


def test_values_on_a_grid_need_no_classes() -> None:
    mechanism = labeldp.RandomizedResponseOnBins(1.0, [0, 1, 2, 3], [1, 1, 1, 1])
    table = TABLE.set_column(1, "y", pa.array(NUMBERS))
    result, manifest = released(table, mechanism, classes=None, prior=[])
    assert result["y_noisy"].type == pa.float64()
    assert likelihood(result, manifest).shape == (N, K)
    with pytest.raises(ValueError, match="no classes"):
        released(table, mechanism, prior=[])


def test_partitions_are_kept_for_learning_and_refused_with_a_key() -> None:
    mechanism = labeldp.PartitionedRandomizedResponse(1.0, K)
    result, manifest = released(mechanism=mechanism, source=None)
    assert result["y_blocks"].type.list_size == K
    assert likelihood(result, manifest).shape == (N, K)
    with pytest.raises(TypeError, match="partitions go with the row"):
        released(mechanism=mechanism)


@each_mechanism
def test_the_schema_is_known_beforehand(mechanism) -> None:
    job = Job(mechanism, Columns("y", CLASSES, "id", tuple(PRIORS)))
    (batch,) = TABLE[:5].combine_chunks().to_batches()
    assert noisy_batch(batch, job, labeldp.KeyedSource(KEY)).schema == output_schema(TABLE.schema, job)
    assert len(released(TABLE[:0], mechanism).table) == 0
    assert Job.from_dict(json.loads(json.dumps(job.to_dict()))) == job
    assert pickle.loads(pickle.dumps(job)) == job


def with_labels(values) -> pa.Table:
    return TABLE.slice(0, len(values)).set_column(1, "y", pa.array(values, pa.string()))


def test_null_and_unknown_labels_are_refused_or_have_a_class_of_their_own() -> None:
    table = with_labels(["flu", None, "ebola", "none"])
    for values, word in ((["flu", None], "null"), (["flu", "ebola"], "none of them")):
        with pytest.raises(ValueError, match=word) as caught:
            released(with_labels(values))
        assert "ebola" not in str(caught.value)
    sure = labeldp.RandomizedResponse(79.0, K)
    result = released(table, sure, missing="none", unknown="cold").table
    assert result["y_noisy"].to_pylist() == ["flu", "none", "cold", "none"]
    coded = pa.DictionaryArray.from_arrays(
        pa.array([0, None, 1, 3, 2]), pa.array(["flu", "ebola", None, "none"])
    )
    five = TABLE[:5].set_column(1, "y", coded)  # null by its index and by its value
    result = released(five, sure, missing="none", unknown="cold").table
    assert result["y_noisy"].to_pylist() == ["flu", "none", "cold", "none", "none"]
    with pytest.raises(ValueError, match="null"):
        released(table, sure, unknown="cold")
    with pytest.raises(ValueError, match="none of them"):
        released(table, sure, missing="cold")
    with pytest.raises(ValueError, match="one of the classes"):
        released(missing="ebola")
    frame = pd.DataFrame({"id": [1, 2], "y": [1.0, np.nan]})
    with pytest.raises(ValueError, match="null"):
        released(frame, classes=[0, 1, 2, 3], prior=[])


SECRET = "ebola"
HOSTILE = {
    "no label": (TABLE.drop_columns(["y"]), {}, "one column y"),
    "label twice": (TABLE.append_column("y", TABLE["y"]), {}, "one column y"),
    "label as item": (TABLE, {"item": "y"}, "decide"),
    "label as prior": (TABLE, {"prior": [*PRIORS[:3], "y"]}, "decide"),
    "label as person": (TABLE, {"person": "y"}, "decide"),
    "noisy column there": (TABLE.append_column("y_noisy", TABLE["y"]), {}, "y_noisy"),
    "candidates there": (TABLE.append_column("y_candidates", TABLE["y"]), {}, "y_candidates"),
    "nested labels": (TABLE.set_column(1, "y", pa.array([[SECRET]] * N)), {}, "can hold"),
    "binary labels": (TABLE.set_column(1, "y", pa.array([SECRET.encode()] * N)), {}, "can hold"),
    "null type": (TABLE.set_column(1, "y", pa.nulls(N)), {}, "can hold"),
    "texts for numbers": (TABLE.set_column(1, "y", pa.array(NUMBERS)), {}, "can hold"),
    "numbers for texts": (TABLE, {"classes": range(K)}, "can hold"),
    "one value twice": (
        TABLE.set_column(1, "y", pa.array(NUMBERS)),
        {"classes": ["0", "00", "1", "2"]},
        "distinct",
    ),
    "class twice": (TABLE, {"classes": ["flu", "flu", "cold", "none"]}, "distinct"),
    "several kinds": (TABLE, {"classes": ["flu", 1, True, "none"]}, "one kind|several kinds"),
    "a text of classes": (TABLE, {"classes": "flu"}, "list"),
    "too few classes": (TABLE, {"classes": ["flu", "cold"]}, "4 classes"),
    "reserved class": (TABLE, {"classes": ["flu", "cold", "none", "not a candidate"]}, "other than"),
    "too few priors": (TABLE, {"prior": PRIORS[:2]}, "4 prior columns"),
    "prior of texts": (TABLE, {"prior": [*PRIORS[:3], "note"]}, "numbers"),
    "null in a prior": (TABLE.set_column(2, "p0", pa.array([None] * N, pa.float64())), {}, "null"),
    "null item": (TABLE.set_column(0, "id", pa.array([None] * N, pa.int64())), {}, "name in every row"),
    "item of floats": (TABLE, {"item": "p0"}, "integers or texts"),
    "no such item": (TABLE, {"item": "number"}, "one column number"),
    "no item with a key": (TABLE, {"item": None}, "item=COLUMN"),
    "item twice": (pa.concat_tables([TABLE, TABLE[-1:]]), {}, "named once"),
    "text item twice": (pa.concat_tables([TABLE, TABLE[:1]]), {"item": "note"}, "named once"),
    "ledger without data": (TABLE, {"dataset": "clicks"}, "together"),
    "not a table": ([1, 2], {}, "speaks Arrow"),
    "lazy": (pl.from_arrow(TABLE).lazy(), {}, "collect"),
    "mixed labels": (pd.DataFrame({"id": [1, 2], "y": [1, SECRET]}), {"prior": []}, "one type"),
    "huge label": (pd.DataFrame({"id": [1, 2], "y": [1, 10**30]}), {"prior": []}, "one type"),
    "index of labels": (TABLE.to_pandas().set_index("y", drop=False), {}, "no index named y"),
    "empty person": (TABLE, {"person": ""}, "names of columns"),
    "unknown label": (with_labels([SECRET]), {}, "none of them"),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_tables_are_refused_without_a_label_in_the_message(name: str) -> None:
    table, options, word = HOSTILE[name]
    with pytest.raises((ValueError, TypeError), match=word) as caught:
        released(table, **options)
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None


def test_no_label_of_a_grid_is_told_by_an_error() -> None:
    mechanism = labeldp.RandomizedResponseOnBins(1.0, [0, 1e17], [1, 1])
    big = 9007199254740993  # not a double
    table = TABLE[:2].set_column(1, "y", pa.array([1, big]))
    assert released(table, mechanism, classes=None, prior=[]).manifest.rows == 2


def test_repeats_are_found_across_batches(monkeypatch) -> None:
    monkeypatch.setattr(memory, "BATCH_ROWS", 100)
    far = pa.concat_tables([TABLE, TABLE[:1]])  # first and last
    for item in ("id", "note"):
        with pytest.raises(ValueError, match="named once"):
            released(far, item=item)
        assert released(TABLE, item=item).manifest.rows == N
    increasing = TABLE.sort_by("id")
    with pytest.raises(ValueError, match="named once"):
        released(pa.concat_tables([increasing, increasing[-1:]]))


def test_names_are_counted_exactly() -> None:
    draw = np.random.default_rng(2)
    for values in (
        draw.integers(-5, 5, size=200),
        draw.integers(0, 2**63, size=50),
        np.arange(9),
        np.empty(0, int),
    ):
        most = np.unique(values, return_counts=True)[1].max(initial=0)
        names, texts, increasing = Names(), Names(), Increasing()
        for part in np.array_split(values, 4):
            names.add(integer_items(part))
            increasing.add(pa.array(part))
            from labeldp.release.keyed import text_items

            texts.add(text_items([str(value).encode() for value in part]))
        assert (names.most(), texts.most()) == (most, most)
        assert increasing.so_far == bool((values[1:] > values[:-1]).all())


def test_items_that_increase_are_read_once_and_not_kept() -> None:
    readings = []
    job = Job(RR, Columns("y", CLASSES, "id"))

    def batches(table):
        def read():
            readings.append(1)
            return iter(table.select(["id"]).to_batches(max_chunksize=500))

        return read

    survey(batches(TABLE.sort_by("id")), job, pa.string(), labeldp.KeyedSource(KEY))
    assert len(readings) == 1
    survey(batches(TABLE), job, pa.string(), labeldp.KeyedSource(KEY))
    assert len(readings) == 3


def test_rows_of_one_person_add_up() -> None:
    manifest = released(person="who").manifest
    assert manifest.rows_of_one_person == 3
    assert manifest.guarantee().epsilon == pytest.approx(3.0)
    assert "unit" in manifest.to_dict()["guarantee"]
    assert released().manifest.guarantee().epsilon == 1.0
    texts = TABLE.set_column(
        TABLE.schema.get_field_index("who"), "who", pa.array([f"w{i // 2}" for i in range(N)])
    )
    assert released(texts, person="who").manifest.rows_of_one_person == 2
    with pytest.raises(ValueError, match="null"):
        released(TABLE.set_column(7, "note", pa.nulls(N, pa.string())), person="note")


def test_a_seeded_release_says_that_it_is_none() -> None:
    guarantee = released(source=labeldp.SeededSource(0)).manifest.guarantee()
    assert not guarantee.holds
    assert not guarantee.releasable


@pytest.fixture
def clicks(ledger):
    ledger.set_cap("clicks", 2.5, unit="label")
    return ledger


def charged(ledger: Ledger) -> int:
    return sum(row["kind"] == "charge" for row in ledger.entries())


def test_a_rerun_is_charged_once_and_anything_else_again(clicks) -> None:
    first = released(ledger=clicks, dataset="clicks").manifest
    order = np.random.default_rng(3).permutation(N)
    again = released(TABLE.take(order).to_pandas(), ledger=clicks, dataset="clicks").manifest
    assert first == again
    assert charged(clicks) == 1
    assert first.charge == {"dataset": "clicks", "part": "", "entry": 4, "head": clicks.head}
    epoch = labeldp.KeyedSource(KEY, epoch="corrected")
    released(ledger=clicks, dataset="clicks", source=epoch)
    assert charged(clicks) == 2
    with pytest.raises(BudgetSpent):
        released(ledger=clicks, dataset="clicks", mechanism=labeldp.RandomizedResponse(1.1, K))
    assert charged(clicks) == 2


def test_other_candidates_are_another_release(clicks) -> None:
    mechanism = MECHANISMS[2]
    released(mechanism=mechanism, ledger=clicks, dataset="clicks")
    swapped = TABLE.set_column(2, "p0", TABLE["p1"]).set_column(3, "p1", TABLE["p0"])
    released(swapped, mechanism, ledger=clicks, dataset="clicks")
    assert charged(clicks) == 2


def test_labels_read_in_another_way_are_another_release(clicks) -> None:
    """The same table and key: another column that names rows, or another class for unknown labels, gives other answers."""
    table = TABLE.append_column("other", pa.array(np.arange(N)))
    mechanism = labeldp.RandomizedResponse(0.1, K)
    ways = (
        {},
        {"item": "other"},
        {"item": "note"},
        {"unknown": "cold"},
        {"unknown": "flu"},
        {"missing": "flu"},
    )
    for count, way in enumerate((*ways, *ways), 1):
        released(table, mechanism, ledger=clicks, dataset="clicks", **way)
        assert charged(clicks) == min(count, len(ways))


def test_the_charge_comes_before_the_first_label(clicks) -> None:
    """Labels that would be refused: a ledger that refuses is heard first; one that allows has charged by then."""
    bad = with_labels(["ebola"] * 5)
    with pytest.raises(BudgetSpent):
        released(bad, labeldp.RandomizedResponse(3.0, K), ledger=clicks, dataset="clicks")
    with pytest.raises(ValueError, match="none of them"):
        released(bad, ledger=clicks, dataset="clicks")
    assert charged(clicks) == 1


def test_a_person_with_more_rows_is_another_release(clicks) -> None:
    released(
        TABLE, person="who", mechanism=labeldp.RandomizedResponse(0.2, K), ledger=clicks, dataset="clicks"
    )
    fourth = TABLE.set_column(6, "who", pa.array(np.arange(N) // 4))
    released(
        fourth, person="who", mechanism=labeldp.RandomizedResponse(0.2, K), ledger=clicks, dataset="clicks"
    )
    events = [json.loads(row["content"]) for row in clicks.entries() if row["kind"] == "charge"]
    assert [accounting.event_from_dict(event).count for event in events] == [3, 4]


def test_other_rows_of_a_person_are_charged(clicks) -> None:
    """One key and epoch, two cuts of a table: a person with a row in each is answered about twice; a label, never."""
    cuts = [
        TABLE.take(np.arange(place, N, 3)) for place in range(3)
    ]  # a person has three rows, one after the other
    told = {"ledger": clicks, "dataset": "clicks", "mechanism": labeldp.RandomizedResponse(1.0, K)}
    for cut in cuts[:2]:
        assert released(cut, person="who", **told).manifest.rows_of_one_person == 1
    released(cuts[0].take(np.arange(len(cuts[0]))[::-1]), person="who", **told)  # a rerun
    assert charged(clicks) == 2
    with pytest.raises(BudgetSpent):
        released(cuts[2], person="who", **told)
    rows = {**told, "mechanism": labeldp.RandomizedResponse(0.5, K)}
    for cut in cuts:
        released(cut, **rows)
    assert charged(clicks) == 3


def test_seeded_noise_is_not_charged(clicks) -> None:
    with pytest.raises(ValueError, match="Seeded"):
        released(ledger=clicks, dataset="clicks", source=labeldp.SeededSource(0))
