"""What the mirror has still to tell MLflow."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, or_, select, update

from talweg.store import tables
from talweg.store.finding import chosen_runs
from talweg.store.rows import RunRow, RunState
from talweg.store.runs import COLUMNS, row_of
from talweg.store.tables import FromNow

_RUNS = tables.runs
_STUDIES = tables.studies


def pending(connection: Connection, limit: int) -> list[RunRow]:
    """Runs with something not mirrored; who waits longest comes first, so that none starves."""
    query = select(*COLUMNS).where(_RUNS.c.unmirrored).order_by(_RUNS.c.mirrored_at, _RUNS.c.id).limit(limit)
    return [row_of(row) for row in connection.execute(query)]


def mark(connection: Connection, run_id: str, step: int, mlflow_run_id: str | None, state: RunState) -> None:
    """The run leaves the outbox, unless it has moved on since the mirror read it."""
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.id == run_id)
        .values(
            mirrored_step=step,
            mirrored_state=state,
            mirrored_at=FromNow(),
            mlflow_run_id=func.coalesce(mlflow_run_id, _RUNS.c.mlflow_run_id),
            unmirrored=or_(_RUNS.c.step > step, _RUNS.c.state != state),
        )
    )
    # A study whose report is there gets it again once its runs are there again.
    study = select(_RUNS.c.study_id).where(_RUNS.c.id == run_id).scalar_subquery()
    told = (_STUDIES.c.id == study) & _STUDIES.c.mlflow_told
    connection.execute(update(_STUDIES).where(told).values(mlflow_told=False))


def forget(connection: Connection, run_ids: Sequence[str], study: str | None) -> int:
    """As if the mirror had never seen them; how many they are. Raises NotFound."""
    anew = {"mlflow_run_id": None, "mirrored_step": 0, "mirrored_state": None, "unmirrored": True}
    found = 0
    for which in chosen_runs(connection, run_ids, study):
        found += connection.execute(update(_RUNS).where(which).values(**anew, mirrored_at=FromNow())).rowcount
    return found
