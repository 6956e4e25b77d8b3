"""Spark: the same bytes as on one machine, whatever the partitions and retries. Slow, and only where pyspark and Java are installed."""

import importlib.util
import os
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import labeldp
from labeldp.tables import Ledger, new_key, privatize, read_key, spark

ROOT = Path(__file__).parent.parent.parent
N, K = 3000, 4
CLASSES = ("flu", "cold", "measles", "none")
PRIORS = tuple(f"p{c}" for c in range(K))
DRAW = np.random.default_rng(0)
TABLE = pa.table(
    {
        "id": DRAW.permutation(N),
        "y": pa.array(np.array(CLASSES)[DRAW.integers(K, size=N)]),
        **dict(zip(PRIORS, DRAW.dirichlet(np.full(K, 0.5), size=N).T, strict=True)),
        "who": np.arange(N) // 3,
    }
)
missing = [
    name
    for name, there in (("pyspark", importlib.util.find_spec("pyspark")), ("Java", shutil.which("java")))
    if not there
]
with_spark = [
    pytest.mark.slow,
    pytest.mark.skipif(bool(missing), reason=f"not installed: {', '.join(missing)}"),
    pytest.mark.filterwarnings(
        "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::ResourceWarning"
    ),
]


def test_where_java_is_missing_the_error_says_how_to_get_it(monkeypatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda _: None)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    with pytest.raises(FileNotFoundError, match="Java 17 .*apt-get install openjdk-17-jre-headless"):
        spark.session()
    with pytest.raises(FileNotFoundError, match="Java 17"):
        spark.privatize(
            None, labeldp.RandomizedResponse(1.0, 2), label="y", item="id", key_file="k", classes=[0, 1]
        )


@pytest.fixture(scope="module")
def session():
    os.environ["PYTHONPATH"] = str(ROOT)
    made = spark.session(**{"spark.master": "local[2,4]", "spark.sql.shuffle.partitions": "3"})
    made.sparkContext.setLogLevel("OFF")
    yield made
    made.stop()


@pytest.fixture
def key(tmp_path):
    new_key(tmp_path / "key")
    return tmp_path / "key"


def told(**options):
    return {"label": "y", "item": "id", "classes": CLASSES, "prior": PRIORS, "person": "who"} | options


def answers(table: pa.Table) -> dict[int, object]:
    return dict(zip(table["id"].to_pylist(), map(str, table["y_noisy"].to_pylist()), strict=True))


class TestWithSpark:
    pytestmark = with_spark

    @pytest.mark.parametrize(
        "mechanism",
        [
            labeldp.RandomizedResponse(0.5, K),
            labeldp.SelectiveRandomizedResponse(0.5, K, outside="other"),
            labeldp.SubsetSelection(0.5, K),
            labeldp.NoisyOneHot(0.5, K),
        ],
        ids=repr,
    )
    def test_spark_answers_as_one_machine_does_and_is_charged_once(
        self, session, key, ledger, mechanism
    ) -> None:
        ledger.set_cap("d", 1.5, unit="label")
        source = labeldp.KeyedSource(read_key(key), epoch="May")
        expected, manifest = privatize(TABLE, mechanism, source=source, ledger=ledger, dataset="d", **told())
        for parts in (1, 7):
            frame = session.createDataFrame(TABLE).repartition(parts)
            options = told(key_file=key, epoch="May", ledger=ledger, dataset="d")
            released, same = spark.privatize(frame, mechanism, **options)
            assert same == manifest
            assert answers(released.toArrow()) == answers(expected)
            assert "y" not in released.columns
        assert sum(row["kind"] == "charge" for row in ledger.entries()) == 1

    def test_a_task_that_fails_after_it_has_written_gives_the_same_answers_again(
        self, session, key, tmp_path
    ) -> None:
        pq.write_table(TABLE, tmp_path / "in.parquet")
        log = str(tmp_path / "log")
        Path(log).mkdir()

        def fail_once(batches):
            import uuid
            from pathlib import Path

            import pyarrow.parquet as pq
            from pyspark import TaskContext

            for number, batch in enumerate(batches):
                name = f"{TaskContext.get().partitionId()}-{number}-{uuid.uuid4().hex}"
                pq.write_table(pa.Table.from_batches([batch]), f"{log}/{name}.parquet")
                yield batch
            if not Path(f"{log}/failed").exists():
                Path(f"{log}/failed").touch()
                raise RuntimeError("made to fail after it has written")

        import pyarrow as pa

        mechanism = labeldp.RandomizedResponse(0.5, K)
        frame = session.read.parquet(str(tmp_path / "in.parquet")).repartition(3)
        released, _ = spark.privatize(frame, mechanism, key_file=key, **told())
        released.mapInArrow(fail_once, released.schema).write.parquet(str(tmp_path / "out"))
        expected = answers(
            privatize(TABLE, mechanism, source=labeldp.KeyedSource(read_key(key)), **told()).table
        )
        assert answers(pq.read_table(tmp_path / "out")) == expected
        attempts = [pq.read_table(path) for path in Path(log).glob("*.parquet")]
        assert (Path(log) / "failed").exists()
        assert sum(map(len, attempts)) > N  # some rows were answered twice
        for attempt in attempts:
            assert answers(attempt).items() <= expected.items()

    def test_repeats_are_refused_and_the_key_is_in_no_plan(self, session, key, ledger, capfd) -> None:
        ledger.set_cap("d", 1.0, unit="label")
        twice = session.createDataFrame(pa.concat_tables([TABLE, TABLE[:1]]))
        mechanism = labeldp.RandomizedResponse(0.5, K)
        with pytest.raises(ValueError, match="named once"):
            spark.privatize(twice, mechanism, key_file=key, ledger=ledger, dataset="d", **told())
        assert not [row for row in ledger.entries() if row["kind"] == "charge"]
        released, manifest = spark.privatize(
            session.createDataFrame(TABLE), mechanism, key_file=key, **told()
        )
        plan = released._jdf.queryExecution().toString()
        secret = read_key(key)
        assert "release" in plan
        assert secret.hex() not in plan
        from pyspark.cloudpickle import dumps

        assert secret not in dumps(manifest.job)
        assert isinstance(ledger, Ledger)

    def test_the_lines_of_the_documents_run(self, session, ledger, tmp_path, monkeypatch) -> None:
        from tests.test_docs import blocks

        monkeypatch.chdir(tmp_path)
        (block,) = blocks(ROOT / "docs" / "scale.md", "py")
        new_key("visits.key")
        ledger.set_cap("visits", 1.0, unit="label")
        visits = pa.table({"visit": [1, 2, 3], "diagnosis": ["flu", "cold", "none"], "age": [3, 4, 5]})
        pq.write_table(visits, "visits.parquet")
        for name in (
            "visits.parquet",
            "visits.key",
            "noisy",
        ):  # Java stays in the directory it was started in
            block = block.replace(f'"{name}"', f'"{tmp_path / name}"')
        exec(block, {"mechanism": labeldp.RandomizedResponse(1.0, 3), "ledger": ledger})
        assert pq.read_table("noisy").column_names == ["visit", "age", "diagnosis_noisy"]
