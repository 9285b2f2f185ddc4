"""A study in a file, back from it, and out of the laboratory."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sqlalchemy import update

from talweg.datasets.options import Options
from talweg.datasets.sources import parse
from talweg.errors import Conflict, CorruptRecord, InvalidSpec, NotFound
from talweg.execution import fork_run, submit_study, train
from talweg.settings import Settings
from talweg.spec import parse_fork, parse_study
from talweg.store import Store, open_store
from talweg.store.tables import metadata, runs
from talweg.tracking import archive as archiving
from talweg.tracking.archive import archive, forget, restore
from talweg_core.optimizers.source import digest_of, name_of

# What MLflow has of them is not archived.
MIRRORED = {"mlflow_experiment_id", "mlflow_told", "mlflow_run_id", "mirrored_step", "mirrored_state", "unmirrored"}
Make = Callable[..., str]
RULE = """
from talweg_core.optimizers import CoordinateOptimizer
class Mine(CoordinateOptimizer):
    learning_rate: float = 1e-3
    def rule(gradient, learning_rate):
        return -learning_rate * gradient
"""


@pytest.fixture
def make(store: Store) -> Make:
    """Submit a study of every kind of record, train it, and return its name."""

    def made(name: str, *, over: bool = True) -> str:
        settings, cohorts = Settings().model_copy(update={"workers": 1}), list[str]()
        spec = {"name": name, "problem": "two-layer-line", "seeds": 1, "steps": 70, "evaluate_every": 20}
        optimizers = ["sam", "adam", {"name": "sgd", "learning_rate": 1e30}]
        study = submit_study(
            store, parse_study(spec | {"optimizers": optimizers}), publish=cohorts.append, settings=settings
        )
        for cohort in cohorts if over else ():
            train(store, cohort, owner="tests", settings=settings)
        return study.name

    return made


def rows_of(store: Store, study: str) -> list[tuple[str, dict[str, Any]]]:
    """Every row of a study, without what MLflow has of it."""
    return [
        (table, {key: value for key, value in row.items() if key not in MIRRORED})
        for table, row in store.study_rows(store.study(study).id)
    ]


def counts(store: Store) -> dict[str, int]:
    """The number of rows of every table."""
    with store.engine.connect() as connection:
        return {
            name: connection.execute(table.select()).all().__len__()
            for name, table in metadata.tables.items()
            if name != "leaders"
        }


def test_an_archived_study_comes_back_bit_for_bit(store: Store, make: Make, tmp_path: Path) -> None:
    make("other")
    without = counts(store)
    study, path = make("kept"), tmp_path / "kept.parquet"
    store.mark_mirrored(store.runs_of(store.study(study).id)[0].id, 70, "a" * 32, "finished")
    before = rows_of(store, study)
    assert {table for table, _ in before} == {
        "studies", "cohorts", "runs", "steps", "evaluations", "derivatives", "chunks", "checkpoints", "samples"
    }  # fmt: skip
    found = archive(store, study, path)
    assert (found.runs, found.name) == (3, "kept")
    assert found.bytes > sum(len(row["payload"]) for _, row in before if "payload" in row) > 0
    forget(store, Settings(), found)
    assert counts(store) == without
    with pytest.raises(NotFound):
        store.study(study)
    assert restore(store, path) == "kept"
    assert rows_of(store, study) == before
    # It is sent to MLflow anew.
    assert {run.study_id for run in store.outbox()} >= {found.id}
    assert all(run.mlflow_run_id is None for run in store.runs_of(found.id))


def test_an_archive_of_either_database_is_restored_in_another(store: Store, make: Make, tmp_path: Path) -> None:
    study, path = make("moved"), tmp_path / "moved.parquet"
    archive(store, study, path)
    with open_store(f"sqlite:///{tmp_path / 'other.db'}", create=True) as other:
        restore(other, path)
        assert rows_of(other, study) == rows_of(store, study)


def test_data_and_sources_that_its_runs_use_come_with_a_study(local: Store, tmp_path: Path) -> None:
    store, path = local, tmp_path / "own.parquet"
    csv = tmp_path / "mine.csv"
    csv.write_text("a,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)))
    with csv.open("rb") as file:
        data = parse(file, Options(format="csv"), 60)
    held = store.add_dataset("mine", data.digest, data.kind, data.shape, data.size, data.payload)
    store.add_dataset("unused", "1" * 64, "values", data.shape, 8, b"other")
    name = name_of(RULE)
    store.add_rule(name, digest_of(RULE), RULE)
    settings, cohorts = Settings().model_copy(update={"workers": 1, "rules": tmp_path}), list[str]()
    problem = {"dataset": "mine", "network": [{"layer": "dense", "units": 2}], "cost": "cross_entropy"}
    spec = {"name": "own", "problem": problem, "optimizers": ["adam"], "seeds": 1, "steps": 5}
    submit_study(store, parse_study(spec), publish=cohorts.append, settings=settings)
    (run,) = store.runs_of(store.study("own").id)
    with store.engine.begin() as connection:
        # As a worker of a local laboratory would have trained it.
        changed = run.spec | {"optimizer": run.spec["optimizer"] | {"name": name}}
        connection.execute(update(runs).where(runs.c.id == run.id).values(spec=changed))
    store.request_cancel([run.id])
    before = rows_of(store, "own")
    assert [table for table, _ in before][:3] == ["datasets", "dataset_names", "rules"]
    archive(store, "own", path)
    with open_store(f"sqlite:///{tmp_path / 'other.db'}", create=True) as other:
        restore(other, path)
        assert rows_of(other, "own") == before
        assert other.dataset("mine", data.digest).digest == held.digest
        assert other.dataset_payload(held.digest) == data.payload
        assert other.rule_source(name) == (digest_of(RULE), RULE)
    with open_store(f"sqlite:///{tmp_path / 'taken.db'}", create=True) as taken:
        # The name has other data there: it keeps it.
        taken.add_dataset("mine", "2" * 64, data.kind, data.shape, 8, b"theirs")
        restore(taken, path)
        assert taken.dataset("mine").digest == "2" * 64
        assert taken.dataset(held.digest).name == f"mine-{held.digest[:12]}"
        assert taken.dataset_payload(held.digest) == data.payload
    with open_store(f"sqlite:///{tmp_path / 'clash.db'}", create=True) as clash:
        clash.add_rule(name, "3" * 64, "another")
        with pytest.raises(Conflict, match=f"optimizer {name}: the laboratory has another source of this name, 333"):
            restore(clash, path)
        assert clash.studies().items == []


def test_what_is_not_over_or_needed_elsewhere_is_neither_archived_nor_forgotten(
    store: Store, make: Make, tmp_path: Path
) -> None:
    live, parent = make("live", over=False), make("parent")
    run = store.runs_of(store.study(parent).id)[1]
    fork = fork_run(store, run, parse_fork({"step": 30, "optimizer": "sgd"}), publish=lambda _: None)
    before = counts(store)
    for study, reason in ((live, "3 runs are not over"), (parent, f"run {fork.name} outside of it was forked")):
        with pytest.raises(Conflict, match=reason):
            archive(store, study, tmp_path / "a.parquet")
        with pytest.raises(Conflict, match=reason):
            store.forget_study(store.study(study).id)
    assert counts(store) == before
    assert list(tmp_path.glob("*.parquet*")) == []


@pytest.fixture
def kept(store: Store, make: Make, tmp_path: Path) -> Path:
    """An archive of a study that the laboratory has."""
    archive(store, make("kept"), tmp_path / "kept.parquet")
    return tmp_path / "kept.parquet"


def test_a_file_is_not_written_over_and_a_study_not_restored_twice(store: Store, kept: Path) -> None:
    before, content = counts(store), kept.read_bytes()
    with pytest.raises(Conflict, match="exists; name another file"):
        archive(store, "kept", kept)
    assert kept.read_bytes() == content
    with pytest.raises(Conflict, match="studies: the laboratory has kept already"):
        restore(store, kept)
    assert counts(store) == before


def rewritten(path: Path, change: Callable[[pa.Table], pa.Table]) -> None:
    """Change the content of an archive, as damage that Parquet does not notice would."""
    about = pq.read_metadata(path).metadata
    pq.write_table(change(pq.read_table(path)).replace_schema_metadata(about), path)


def test_a_changed_number_is_noticed_and_nothing_is_restored(store: Store, kept: Path) -> None:
    store.forget_study(store.study("kept").id)
    before = counts(store)

    def change(table: pa.Table) -> pa.Table:
        texts = table["row"].to_pylist()
        texts[-1] = texts[-1].replace("1", "2", 1)
        return table.set_column(1, "row", pa.array(texts))

    rewritten(kept, change)
    with pytest.raises(CorruptRecord, match="is damaged"):
        restore(store, kept)
    assert counts(store) == before


def test_other_files_and_other_schemas_are_refused(store: Store, kept: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.parquet"
    other.write_bytes(b"nothing")
    with pytest.raises(InvalidSpec, match="is no archive"):
        restore(store, other)
    pq.write_table(pa.table({"x": [1]}), other)
    with pytest.raises(InvalidSpec, match="talweg archive writes them"):
        restore(store, other)
    about = json.loads(pq.read_metadata(kept).metadata[b"talweg.archive"]) | {"revision": "0001", "version": "0.0.1"}
    pq.write_table(pq.read_table(kept).replace_schema_metadata({"talweg.archive": json.dumps(about)}), kept)
    with pytest.raises(Conflict, match=r"written by Talweg 0\.0\.1 with schema 0001"):
        restore(store, kept)


@pytest.mark.parametrize(("answer", "left"), [("n\n", 1), ("", 1), ("y\n", 0)])
def test_forgetting_asks_first_and_says_how_much_it_is(
    store: Store,
    make: Make,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    answer: str,
    left: int,
) -> None:
    make("asked")
    monkeypatch.setenv("TALWEG_DATABASE_URL", store.engine.url.render_as_string(hide_password=False))
    monkeypatch.setattr("sys.stdin", io.StringIO(answer))
    assert archiving.main(["forget", "asked"]) == left
    said = capsys.readouterr().err
    assert "study asked: 3 runs, " in said
    assert " MB of records" in said
    assert len(store.studies().items) == left
