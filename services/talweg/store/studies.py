"""Studies, with how far their runs are: counted when asked for, so that it is never stale."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row, case, func, or_, select, update

from talweg.store import pages, tables
from talweg.store.rows import LIVE, Page, StudyRow

_STUDIES = tables.studies
_RUNS = tables.runs


def find(connection: Connection, id_or_name: str) -> StudyRow:
    """By id, then name; raises NotFound."""
    identity = pages.identify(connection, _STUDIES, "study", id_or_name)
    rows = connection.execute(select(_STUDIES).where(_STUDIES.c.id == identity)).all()
    return _counted(connection, rows)[0]


def page(connection: Connection, limit: int, cursor: str | None) -> Page[StudyRow]:
    """Newest first; raises InvalidSpec."""
    rows = connection.execute(pages.after(select(_STUDIES), _STUDIES.c.id, limit, cursor)).all()
    return pages.cut(_counted(connection, rows[:limit]), [row.id for row in rows], limit)


def mark_mirrored(connection: Connection, study_id: str, experiment_id: str) -> None:
    """The MLflow experiment that mirrors it."""
    connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(mlflow_experiment_id=experiment_id))


def untold(connection: Connection, limit: int) -> list[str]:
    """Ids of studies all of whose runs have ended and are mirrored, and of whose end MLflow does not know."""
    waiting = select(_RUNS.c.id).where(
        _RUNS.c.study_id == _STUDIES.c.id, or_(_RUNS.c.unmirrored, _RUNS.c.state.in_(LIVE))
    )
    query = (
        select(_STUDIES.c.id)
        .where(~_STUDIES.c.mlflow_told, ~_STUDIES.c.open, ~waiting.exists())
        .order_by(_STUDIES.c.id)
    )
    return list(connection.execute(query.limit(limit)).scalars())


def mark_told(connection: Connection, study_id: str, told: bool) -> None:
    """Whether MLflow knows how it ended."""
    connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(mlflow_told=told))


def _counted(connection: Connection, rows: Sequence[Row[Any]]) -> list[StudyRow]:
    totals = connection.execute(
        select(
            _RUNS.c.study_id,
            _RUNS.c.state,
            func.count().label("runs"),
            func.sum(_RUNS.c.step).label("done"),
            func.sum(case((_RUNS.c.paused & _RUNS.c.state.in_(LIVE), 1), else_=0)).label("paused"),
            func.sum(_RUNS.c.total_steps).label("total"),
        )
        .where(_RUNS.c.study_id.in_([row.id for row in rows]))
        .group_by(_RUNS.c.study_id, _RUNS.c.state)
    ).all()
    return [
        StudyRow(
            **row._mapping,
            counts={total.state: total.runs for total in totals if total.study_id == row.id},
            steps_done=sum(int(total.done) for total in totals if total.study_id == row.id),
            steps_total=sum(int(total.total) for total in totals if total.study_id == row.id),
            paused=sum(int(total.paused) for total in totals if total.study_id == row.id),
        )
        for row in rows
    ]
