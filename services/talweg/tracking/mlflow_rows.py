"""The database of our own MLflow server: runs, parameters, tags and last metrics as rows, written in bulk.

Metric histories are not here: the server's plug-in (`mlflow_store`) reads them from the laboratory. MLflow itself is
not imported. The statements fit the tables of the version that `talweg.mlflow_server` names.

What users change in MLflow stays: a name, a description or a colour that is no longer the mirror's is not written
again, a deleted run stays deleted, and only the mirror's own tags are updated.
"""

import hashlib
import time
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Connection, bindparam, text
from sqlalchemy.exc import ProgrammingError

from talweg.errors import NotFound, Unreachable
from talweg.store.engine import create_engine, translated
from talweg.tracking.descriptions import UsedDataset
from talweg.tracking.metrics import DIVERGED, Series
from talweg.tracking.naming import COLOUR_TAG, DESCRIPTION_TAG, RUN_TAG, STUDY_TAG

# The digest of the description that the mirror wrote last: another text is a user's.
NOTE_DIGEST_TAG = "talweg.note"
_NAME_TAG = "mlflow.runName"
# Tags that no longer hold once an ended run goes on.
_ENDINGS = ("stop_reason", "talweg.error", DIVERGED)
# Rows of one statement, well below what either database takes.
_AT_ONCE = 500

# By table: the columns with their types on PostgreSQL, and the key.
_TABLES: Mapping[str, tuple[Mapping[str, str], Sequence[str]]] = {
    "runs": (
        {
            "run_uuid": "text", "name": "text", "source_type": "text", "source_name": "text",
            "entry_point_name": "text", "user_id": "text", "status": "text", "start_time": "bigint",
            "end_time": "bigint", "source_version": "text", "lifecycle_stage": "text", "artifact_uri": "text",
            "experiment_id": "integer",
        },
        ["run_uuid"],
    ),
    "tags": ({"key": "text", "value": "text", "run_uuid": "text"}, ["key", "run_uuid"]),
    "params": ({"key": "text", "value": "text", "run_uuid": "text"}, ["key", "run_uuid"]),
    "latest_metrics": (
        {
            "key": "text", "value": "float8", "timestamp": "bigint", "step": "bigint", "is_nan": "boolean",
            "run_uuid": "text",
        },
        ["key", "run_uuid"],
    ),
    "inputs": (
        {
            "input_uuid": "text", "source_type": "text", "source_id": "text", "destination_type": "text",
            "destination_id": "text",
        },
        ["source_type", "source_id", "destination_type", "destination_id"],
    ),
    "input_tags": ({"input_uuid": "text", "name": "text", "value": "text"}, ["input_uuid", "name"]),
    "experiment_tags": ({"key": "text", "value": "text", "experiment_id": "integer"}, ["key", "experiment_id"]),
}  # fmt: skip
# The tables that have rows of a run, with the column of its id; `runs` last, which the others refer to.
_OF_RUN = (
    ("tags", "run_uuid"),
    ("params", "run_uuid"),
    ("metrics", "run_uuid"),
    ("latest_metrics", "run_uuid"),
    ("input_tags", "input_uuid"),
    ("inputs", "destination_id"),
    ("runs", "run_uuid"),
)


@dataclass(frozen=True)
class MlflowRun:
    """A run as MLflow shows it.

    Attributes:
        id: MLflow's id, 32 hex digits.
        source: What the run mirrors, its tag `talweg.run`.
        study: What its experiment is of, the experiment's tag `talweg.study`.
        name: Its name; `live_name` is the name that it had before it ended.
        start, end: Milliseconds since 1970.
        tags: The mirror's own tags.
        colour: Set when the run is made; None: MLflow chooses.
        metrics: The last point of each metric.
        fresh: It is new to this server, or sent again as a whole.
    """

    id: str
    source: str
    study: str
    experiment: str
    name: str
    live_name: str
    status: str
    start: int
    end: int | None
    tags: Mapping[str, str]
    parameters: Mapping[str, str] = field(default_factory=dict)
    colour: str | None = None
    metrics: Sequence[Series] = ()
    dataset: UsedDataset | None = None
    fresh: bool = True


def mlflow_id(talweg_id: str) -> str:
    """MLflow's id of the run that mirrors the laboratory's run or study: its uuid, as 32 hex digits."""
    return talweg_id.replace("-", "")


class MlflowRows:
    """MLflow's database. Methods are one transaction each; they raise Unreachable where it does not answer."""

    def __init__(self, url: str) -> None:
        """Connects at the first call; the server creates the tables when it starts first."""
        self._engine = create_engine(url)
        self._writer = self._engine.execution_options(talweg_writes=True)
        self._others: dict[str, str] | None = None
        self._datasets: dict[tuple[str, str, str], str] = {}

    def __enter__(self) -> Self:
        """The rows themselves."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._engine.dispose()

    def forget(self) -> None:
        """Empty the caches: the server may have lost its content, or be another one."""
        self._others = None
        self._datasets.clear()

    def experiment(self, study: str, name: str, tags: Mapping[str, str]) -> str:
        """The id of the study's experiment, found by its tag or created with `tags`.

        One that is found gets only the tags that it lacks, and stays deleted if a user deleted it.
        """
        with self._write() as connection:
            found = connection.execute(
                text("SELECT experiment_id FROM experiment_tags WHERE key = :key AND value = :study"),
                {"key": STUDY_TAG, "study": study},
            ).scalars()
            number = min(map(int, found), default=None)
            if number is None:
                number = _new_experiment(connection, name, study)
                tags = _with_digest({**tags, STUDY_TAG: study})
            rows = [(key, value, number) for key, value in tags.items()]
            _insert(connection, "experiment_tags", rows)
            return str(number)

    def restore_experiment(self, experiment: str) -> None:
        """Restore an experiment that a user deleted, without its deleted runs; no effect on another."""
        with self._write() as connection:
            connection.execute(
                text("UPDATE experiments SET lifecycle_stage = 'active' WHERE experiment_id = :number"),
                {"number": int(experiment)},
            )

    def annotate(self, experiment: str, note: str) -> None:
        """Set the description of an experiment, unless a user wrote another."""
        with self._write() as connection:
            rows = connection.execute(
                text("SELECT key, value FROM experiment_tags WHERE experiment_id = :number"),
                {"number": int(experiment)},
            )
            held = {str(row.key): str(row.value) for row in rows}
            if _is_users(held):
                return
            written = _with_digest({DESCRIPTION_TAG: note})
            _upsert(connection, "experiment_tags", [(key, value, int(experiment)) for key, value in written.items()])

    def identify(self, source: str) -> str:
        """MLflow's id for what mirrors `source`: the one that the REST mirror gave it, else that of `mlflow_id`."""
        if self._others is None:
            with self._read() as connection:
                rows = connection.execute(
                    text(
                        "SELECT run_uuid, value FROM tags WHERE key = :key "
                        "AND run_uuid <> replace(replace(value, '-', ''), 'study ', '')"
                    ),
                    {"key": RUN_TAG},
                )
                self._others = {str(row.value): str(row.run_uuid) for row in rows}
        return self._others.get(source) or mlflow_id(source.removeprefix("study "))

    def write(self, runs: Sequence[MlflowRun]) -> None:
        """Write these runs; one that is there already gets what changed. Raises NotFound for a lost experiment."""
        with self._write() as connection:
            there = _present(connection, [run.id for run in runs])
            made = [run for run in runs if run.id not in there]
            locations = {of: _location(connection, *of) for of in {(run.experiment, run.study) for run in made}}
            _insert(connection, "runs", [_row(run, locations[run.experiment, run.study]) for run in made])
            kept = [run for run in runs if run.id in there]
            _update(connection, kept)
            _upsert(connection, "tags", [*_new_tags(made), *_changed_tags(connection, kept)])
            written = [run for run in runs if run.fresh or run.id not in there]
            _upsert(
                connection, "params", [(key, value, run.id) for run in written for key, value in run.parameters.items()]
            )
            _upsert(
                connection,
                "latest_metrics",
                [
                    (one.key, float(one.values[0]), int(one.times[0]), int(one.steps[0]), False, run.id)
                    for run in runs
                    for one in run.metrics
                ],
            )
            self._link_datasets(connection, written)

    def remove(self, ids: Collection[str], experiments: Collection[str] = ()) -> None:
        """Remove runs with all their rows, and experiments that have no other runs."""
        with self._write() as connection:
            for some in _portions(list(ids)):
                for table, column in _OF_RUN:
                    statement = text(f"DELETE FROM {table} WHERE {column} IN :ids")  # noqa: S608 - our own names
                    connection.execute(statement.bindparams(bindparam("ids", expanding=True)), {"ids": list(some)})
            for number in map(int, experiments):
                others = text("SELECT count(*) FROM runs WHERE experiment_id = :number")
                if connection.execute(others, {"number": number}).scalar_one() == 0:
                    for table in ("experiment_tags", "datasets", "experiments"):
                        statement = text(f"DELETE FROM {table} WHERE experiment_id = :number")  # noqa: S608 - the same
                        connection.execute(statement, {"number": number})
        self.forget()

    def _link_datasets(self, connection: Connection, runs: Iterable[MlflowRun]) -> None:
        inputs, tags = [], []
        for run in runs:
            if run.dataset is not None:
                dataset = self._dataset(connection, run.experiment, run.dataset)
                # The run's id is free as the id of its one input.
                inputs.append((run.id, "DATASET", dataset, "RUN", run.id))
                tags.append((run.id, "mlflow.data.context", "training"))
        _insert(connection, "inputs", inputs)
        _insert(connection, "input_tags", tags)

    def _dataset(self, connection: Connection, experiment: str, used: UsedDataset) -> str:
        key = (experiment, used.name, used.digest)
        if key in self._datasets:
            return self._datasets[key]
        values = {"number": int(experiment), "name": used.name, "digest": used.digest, "source": used.source}
        same = "experiment_id = :number AND name = :name AND digest = :digest"
        find = text(f"SELECT dataset_uuid FROM datasets WHERE {same}")  # noqa: S608 - our own text
        found = connection.execute(find, values).scalar()
        if found is None:
            found = hashlib.sha256(repr(key).encode()).hexdigest()[:32]
            connection.execute(
                text(
                    "INSERT INTO datasets (dataset_uuid, experiment_id, name, digest, dataset_source_type,"
                    " dataset_source) VALUES (:uuid, :number, :name, :digest, 'talweg', :source)"
                ),
                values | {"uuid": found},
            )
        self._datasets[key] = str(found)
        return str(found)

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with self._errors(), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with self._errors(), self._writer.begin() as connection:
            yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        url = self._engine.url
        if url.get_backend_name() == "sqlite" and not Path(str(url.database)).exists():
            # Connecting would make an empty file, which the server could not tell from a database.
            raise Unreachable("MLflow's database: is not made yet; its server makes it when it starts first")
        try:
            with translated(url):
                yield
        except Unreachable as error:
            raise Unreachable(f"MLflow's {error}") from error
        except ProgrammingError as error:
            # PostgreSQL's error where the tables are not made yet.
            raise Unreachable(f"MLflow's database: {error.orig}") from error


def _present(connection: Connection, ids: Sequence[str]) -> set[str]:
    """Those of these runs that are there, deleted ones too."""
    query = text("SELECT run_uuid FROM runs WHERE run_uuid IN :ids").bindparams(bindparam("ids", expanding=True))
    return {str(found) for some in _portions(ids) for found in connection.execute(query, {"ids": list(some)}).scalars()}


def _location(connection: Connection, experiment: str, study: str) -> str:
    """Where the artifacts of the study's experiment are; raises NotFound where the server does not have it any more.

    SQLite gives the number of a removed experiment to the next one, which is another's.
    """
    query = text(
        "SELECT artifact_location FROM experiments JOIN experiment_tags USING (experiment_id) "
        "WHERE experiment_id = :number AND key = :key AND value = :study"
    )
    found = connection.execute(query, {"number": int(experiment), "key": STUDY_TAG, "study": study}).scalar()
    if found is None:
        raise NotFound(f"MLflow's database: has no experiment {experiment} of {study}")
    return str(found)


def _row(run: MlflowRun, location: str) -> tuple[Any, ...]:
    return (
        run.id, run.name, "UNKNOWN", "", "", "talweg", run.status, run.start, run.end, "", "active",
        f"{location}/{run.id}/artifacts", int(run.experiment),
    )  # fmt: skip


def _new_experiment(connection: Connection, name: str, study: str) -> int:
    taken = connection.execute(text("SELECT 1 FROM experiments WHERE name = :name"), {"name": name}).scalar()
    now = time.time_ns() // 1_000_000
    values = {"name": name if taken is None else f"{name} ({study[-8:]})", "now": now}
    columns = "name, lifecycle_stage, creation_time, last_update_time"
    insert = f"INSERT INTO experiments ({columns}) VALUES (:name, 'active', :now, :now) RETURNING experiment_id"  # noqa: S608 - our own text
    number = int(connection.execute(text(insert), values).scalar_one())
    connection.execute(
        text("UPDATE experiments SET artifact_location = :location WHERE experiment_id = :number"),
        {"location": f"mlflow-artifacts:/{number}", "number": number},
    )
    return number


def _update(connection: Connection, runs: Sequence[MlflowRun]) -> None:
    """Status, times and names of runs that are there; a name that a user gave stays."""
    if not runs:
        return
    connection.execute(
        text("UPDATE runs SET status = :status, start_time = :start, end_time = :end WHERE run_uuid = :id"),
        [{"status": run.status, "start": run.start, "end": run.end, "id": run.id} for run in runs],
    )
    if renamed := [
        {"id": run.id, "old": run.live_name, "new": run.name, "key": _NAME_TAG}
        for run in runs
        if run.name != run.live_name
    ]:
        connection.execute(text("UPDATE runs SET name = :new WHERE run_uuid = :id AND name = :old"), renamed)
        connection.execute(
            text("UPDATE tags SET value = :new WHERE key = :key AND run_uuid = :id AND value = :old"), renamed
        )


def _new_tags(runs: Iterable[MlflowRun]) -> Iterator[tuple[str, str, str]]:
    for run in runs:
        once = {_NAME_TAG: run.name} | ({} if run.colour is None else {COLOUR_TAG: run.colour})
        for key, value in (_with_digest(run.tags) | once | {RUN_TAG: run.source}).items():
            yield key, value, run.id


def _changed_tags(connection: Connection, runs: Sequence[MlflowRun]) -> list[tuple[str, str, str]]:
    """The tags to write of runs that are there. Own tags that no longer hold are deleted here."""
    held: dict[str, dict[str, str]] = {run.id: {} for run in runs}
    query = text("SELECT run_uuid, key, value FROM tags WHERE run_uuid IN :ids")
    for some in _portions(list(held)):
        for row in connection.execute(query.bindparams(bindparam("ids", expanding=True)), {"ids": list(some)}):
            held[row.run_uuid][row.key] = row.value
    changed, gone = [], []
    for run in runs:
        before = held[run.id]
        now = _with_digest(run.tags) | {RUN_TAG: run.source}
        if _is_users(before):
            now = {key: value for key, value in now.items() if key not in (DESCRIPTION_TAG, NOTE_DIGEST_TAG)}
        changed += [(key, value, run.id) for key, value in now.items() if before.get(key) != value]
        gone += [{"key": key, "id": run.id} for key in _ENDINGS if key in before and key not in now]
    if gone:
        connection.execute(text("DELETE FROM tags WHERE key = :key AND run_uuid = :id"), gone)
        connection.execute(text("DELETE FROM latest_metrics WHERE key = :key AND run_uuid = :id"), gone)
    return changed


def _with_digest(tags: Mapping[str, str]) -> dict[str, str]:
    """The tags, and the digest of the description among them."""
    note = tags.get(DESCRIPTION_TAG)
    return dict(tags) if note is None else {**tags, NOTE_DIGEST_TAG: _digest(note)}


def _is_users(held: Mapping[str, str]) -> bool:
    """Whether a user wrote or deleted the description, or wrote the mirror's anew."""
    digest = held.get(NOTE_DIGEST_TAG)
    return digest is not None and digest != _digest(held.get(DESCRIPTION_TAG, ""))


def _digest(note: str) -> str:
    return hashlib.sha256(note.encode()).hexdigest()[:16]


def _insert(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows whose key is new."""
    _execute(connection, table, rows, "DO NOTHING")


def _upsert(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert the rows, and update those whose key is there with other values."""
    columns, key = _TABLES[table]
    others = [name for name in columns if name not in key]
    values = ", ".join(f"{name} = excluded.{name}" for name in others)
    differ = " OR ".join(f"{table}.{name} IS DISTINCT FROM excluded.{name}" for name in others)
    _execute(connection, table, rows, f"DO UPDATE SET {values} WHERE {differ}")


def _execute(connection: Connection, table: str, rows: Sequence[tuple[Any, ...]], conflict: str) -> None:
    if not rows:
        return
    columns, key = _TABLES[table]
    head, tail = f"INSERT INTO {table} ({', '.join(columns)})", f"ON CONFLICT ({', '.join(key)}) {conflict}"
    if connection.dialect.name == "sqlite":
        marks = ", ".join("?" * len(columns))
        connection.exec_driver_sql(f"{head} VALUES ({marks}) {tail}", list(rows))
        return
    # One statement with an array a column: PostgreSQL takes ten times as long for a statement a row.
    arrays = ", ".join(f"%s::{kind}[]" for kind in columns.values())
    statement = f"{head} SELECT * FROM unnest({arrays}) {tail}"  # noqa: S608 - our own names
    connection.exec_driver_sql(statement, tuple(list(column) for column in zip(*rows, strict=True)))


def _portions(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _AT_ONCE):
        yield ids[start : start + _AT_ONCE]
