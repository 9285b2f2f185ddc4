"""All rows of a study: read them, write them into another laboratory, and delete them.

No role of a shared laboratory may delete records (`migrate`): only the owner of the tables can forget a study.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, Table, delete, func, insert, or_, select, update

from talweg.errors import Conflict, NotFound
from talweg.store import finding, tables
from talweg.store.batch import DERIVATIVE_BYTES, STEP_BYTES
from talweg.store.rows import LIVE, Json

_RUNS, _STUDIES, _COHORTS = tables.runs, tables.studies, tables.cohorts
# In the order in which they are written: the later ones refer to the earlier ones.
_TABLES: Sequence[Table] = (
    tables.datasets, tables.dataset_names, tables.rules, _STUDIES, _COHORTS, _RUNS, tables.steps, tables.evaluations,
    tables.derivatives, tables.chunks, tables.checkpoints, tables.samples, tables.charges,
)  # fmt: skip
# What other studies may use too: it stays where a study is forgotten, and may be there already where one is restored.
_SHARED = (tables.datasets, tables.dataset_names, tables.rules)
_BY_NAME = {table.name: table for table in _TABLES}
# What MLflow has of a study is not part of its records.
_UNMIRRORED: Mapping[str, Json] = {
    "studies": {"mlflow_experiment_id": None, "mlflow_told": False},
    "runs": {"mlflow_run_id": None, "mirrored_step": 0, "mirrored_state": None, "unmirrored": True},
}
_AT_ONCE = 1000


@dataclass(frozen=True)
class Extent:
    """How much a study holds.

    Attributes:
        bytes: Of its records, estimated: payloads as stored, other rows by their usual size.
        mlflow_runs: MLflow's ids of its runs; `mlflow_experiment` of its experiment.
    """

    id: str
    name: str
    runs: int
    steps: int
    bytes: int
    mlflow_runs: tuple[str, ...]
    mlflow_experiment: str | None


def extent(connection: Connection, study: str) -> Extent:
    """How much the study of that id or name holds; raises NotFound, and Conflict where it cannot be taken out.

    It cannot while a run of it is queued or running, or while a run outside of it was forked from one of its runs.
    """
    identity = finding.identify(connection, _STUDIES, "study", study)
    row = connection.execute(select(_STUDIES).where(_STUDIES.c.id == identity)).one()
    mine = _RUNS.c.study_id == identity
    live = connection.execute(select(func.count()).where(mine, _RUNS.c.state.in_(LIVE))).scalar_one()
    if live or row.open:
        raise Conflict(f"study {row.name}: {live} runs are not over; wait for them, or talweg cancel {row.name}")
    parent = _RUNS.alias()
    forks = select(_RUNS.c.name).join(parent, parent.c.id == _RUNS.c.parent_run_id)
    outside = or_(_RUNS.c.study_id.is_(None), _RUNS.c.study_id != identity)
    if fork := connection.execute(forks.where(parent.c.study_id == identity, outside).limit(1)).scalar():
        raise Conflict(
            f"study {row.name}: run {fork} outside of it was forked from one of its runs and needs its steps"
        )
    size = 0
    for table in (tables.chunks, tables.checkpoints):
        payloads = func.coalesce(func.sum(func.length(table.c.payload)), 0)
        size += int(connection.execute(select(payloads).where(_of(table, identity))).scalar_one())
    for table, each in ((tables.steps, STEP_BYTES), (tables.derivatives, DERIVATIVE_BYTES)):
        size += each * int(connection.execute(select(func.count()).where(_of(table, identity))).scalar_one())
    runs = connection.execute(select(_RUNS.c.step, _RUNS.c.mlflow_run_id).where(mine)).all()
    there = tuple(str(run.mlflow_run_id) for run in runs if run.mlflow_run_id is not None)
    steps = sum(int(run.step) for run in runs)
    return Extent(identity, row.name, len(runs), steps, size, there, row.mlflow_experiment_id)


def rows(connection: Connection, study_id: str) -> Iterator[tuple[str, Json]]:
    """Every row of a study with its table's name; a table's rows follow each other, in the order of their keys.

    The datasets of its problems, with their names, and the sources of users' own optimizers are among them.
    """
    shared = _used(connection, study_id)
    for table in _TABLES:
        query: Select[Any] = select(table).where(shared[table] if table in _SHARED else _of(table, study_id))
        ordered = query.order_by(*table.primary_key.columns)
        for row in connection.execution_options(yield_per=_AT_ONCE).execute(ordered):
            yield table.name, dict(row._mapping)


def add(connection: Connection, found: Iterable[tuple[str, Json]]) -> None:
    """Write the rows of a study, as `rows` gives them; nothing of it is in MLflow.

    Raises:
        Conflict: The laboratory has the study, a run of it, or another of the same name; the transaction must end.
        NotFound: A run was forked from one that the laboratory does not have.
    """
    present: list[Json] = []
    table: Table | None = None
    for name, row in found:
        if table is not _BY_NAME[name] or len(present) == _AT_ONCE:
            _add(connection, table, present)
            table, present = _BY_NAME[name], []
        present.append(row | _UNMIRRORED.get(name, {}))
    _add(connection, table, present)


def forget(connection: Connection, study_id: str) -> None:
    """Delete the study with all its rows, but not its datasets and its optimizers' sources.

    Check `extent` in the same transaction first.
    """
    # A fork refers to its parent, which may be deleted before it.
    mine = _RUNS.c.study_id == study_id
    connection.execute(update(_RUNS).where(mine).values(parent_run_id=None))
    submissions = tables.submissions
    connection.execute(delete(submissions).where(submissions.c.answer["study_id"].as_string() == study_id))
    for table in reversed(_TABLES):
        if table not in _SHARED:
            connection.execute(delete(table).where(_of(table, study_id)))


def _of(table: Table, study_id: str) -> ColumnElement[bool]:
    """The rows of the table that are of the study."""
    if table is _STUDIES:
        return _STUDIES.c.id == study_id
    if "study_id" in table.c:
        return table.c.study_id == study_id
    if "run_id" in table.c:
        return table.c.run_id.in_(select(_RUNS.c.id).where(_RUNS.c.study_id == study_id))
    return table.c.cohort_id.in_(select(_COHORTS.c.id).where(_COHORTS.c.study_id == study_id))


def _used(connection: Connection, study_id: str) -> dict[Table, ColumnElement[bool]]:
    """By shared table, the rows that the study's runs use."""
    specs = list(connection.execute(select(_RUNS.c.spec).where(_RUNS.c.study_id == study_id)).scalars())
    digests = {str(spec["problem"]["digest"]) for spec in specs if "digest" in spec["problem"]}
    optimizers = {str(spec["optimizer"]["name"]) for spec in specs}
    return {
        tables.datasets: tables.datasets.c.digest.in_(digests),
        tables.dataset_names: tables.dataset_names.c.digest.in_(digests),
        tables.rules: tables.rules.c.name.in_(optimizers),
    }


def _add(connection: Connection, table: Table | None, present: Sequence[Json]) -> None:
    if table is None or not present:
        return
    if table in _SHARED:
        for row in present:
            _add_shared(connection, table, row)
        return
    if "name" in table.c:
        names, ids = [row["name"] for row in present], [row["id"] for row in present]
        same = or_(table.c.name.in_(names), table.c.id.in_(ids))
        if taken := connection.execute(select(table.c.name).where(same).limit(1)).scalar():
            raise Conflict(f"{table.name}: the laboratory has {taken} already; an archive is restored where it is not")
    if table is _RUNS:
        _require_parents(connection, present)
        # Parents are older than forks, but a batch is one statement for the database.
        present = sorted(present, key=lambda row: str(row["id"]))
    connection.execute(insert(table), list(present))


def _add_shared(connection: Connection, table: Table, row: Json) -> None:
    """Add a row that may be there already. A name that other data has gets the start of the digest behind it.

    Raises Conflict where an optimizer's name has another source: runs find the source by the name alone.
    """
    same = [table.c.name == row["name"], *([table.c.version == row["version"]] if "version" in row else [])]
    held = connection.execute(select(table.c.digest).where(*same)).scalar_one_or_none()
    if held not in (None, row["digest"]):
        if table is tables.rules:
            raise Conflict(f"optimizer {row['name']}: the laboratory has another source of this name, {held}")
        row = row | {"name": f"{row['name']}-{row['digest'][:12]}"}
    connection.execute(tables.upsert(connection, table).on_conflict_do_nothing(), row)


def _require_parents(connection: Connection, runs: Sequence[Json]) -> None:
    known = {run["id"] for run in runs}
    wanted = {run["parent_run_id"] for run in runs if run["parent_run_id"] is not None} - known
    there = set(connection.execute(select(_RUNS.c.id).where(_RUNS.c.id.in_(wanted))).scalars())
    if missing := sorted(wanted - there):
        raise NotFound(
            f"run {missing[0]}: a run of the archive was forked from it, and the laboratory does not have it"
        )


def parsed(name: str, row: Json) -> Json:
    """A row with the times that its table has, from text."""
    times = {column.name for column in _BY_NAME[name].c if isinstance(column.type, tables.Instant)}
    return {
        key: datetime.fromisoformat(value) if key in times and value is not None else value
        for key, value in row.items()
    }
