"""Studies: find them, count their runs, add their next stage, resume interrupted ones."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, bindparam, case, exists, func, or_, select, update

from talweg.store import finding, queueing, runs, tables
from talweg.store.batch import Extension, NewCohort, ResumedRun
from talweg.store.rows import LIVE, Page, StudyRow

_STUDIES = tables.studies
_RUNS = tables.runs
_COHORTS = tables.cohorts
_EVALUATIONS = tables.evaluations
_CHECKPOINTS = tables.checkpoints
_INTERRUPTED = ("cancelled", "failed")


def find(connection: Connection, id_or_name: str) -> StudyRow:
    """By id, then name; raises NotFound."""
    identity = finding.identify(connection, _STUDIES, "study", id_or_name)
    rows = connection.execute(select(_STUDIES).where(_STUDIES.c.id == identity)).all()
    return _counted(connection, rows)[0]


def page(connection: Connection, limit: int, cursor: str | None) -> Page[StudyRow]:
    """Newest first; raises InvalidSpec."""
    rows = connection.execute(finding.page_query(select(_STUDIES), _STUDIES.c.id, limit, cursor)).all()
    return finding.page_of(_counted(connection, rows[:limit]), [row.id for row in rows], limit)


def mark_mirrored(connection: Connection, study_id: str, experiment_id: str) -> None:
    """Record the MLflow experiment that mirrors the study."""
    connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(mlflow_experiment_id=experiment_id))


def unreported(connection: Connection, limit: int) -> list[str]:
    """Ids of studies whose runs have all ended and are mirrored, and whose report MLflow does not have."""
    waiting = select(_RUNS.c.id).where(
        _RUNS.c.study_id == _STUDIES.c.id, or_(_RUNS.c.unmirrored, _RUNS.c.state.in_(LIVE))
    )
    query = (
        select(_STUDIES.c.id)
        .where(~_STUDIES.c.mlflow_told, ~_STUDIES.c.open, ~waiting.exists())
        .order_by(_STUDIES.c.id)
    )
    return list(connection.execute(query.limit(limit)).scalars())


def mark_reported(connection: Connection, study_id: str, reported: bool) -> None:
    """Record whether MLflow has the study's report."""
    connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id).values(mlflow_told=reported))


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


def to_extend(connection: Connection) -> list[str]:
    """Open studies without a live run."""
    live = exists().where(_RUNS.c.study_id == _STUDIES.c.id, _RUNS.c.state.in_(LIVE))
    query = select(_STUDIES.c.id).where(_STUDIES.c.open, ~live).order_by(_STUDIES.c.id)
    return list(connection.execute(query).scalars())


def extend(connection: Connection, study_id: str, extension: Extension) -> bool:
    """Add the next stage, and close the study where it is the last.

    One conditional UPDATE decides which process does it: one that waited for its lock finds the study closed, or with
    other runs than the extension was computed from.
    """
    open_study = update(_STUDIES).where(_STUDIES.c.id == study_id, _STUDIES.c.open)
    if connection.execute(open_study.values(open=True)).rowcount != 1:
        return False
    total = select(func.count(), func.sum(_RUNS.c.total_steps)).where(_RUNS.c.study_id == study_id)
    count, steps = connection.execute(total).one()
    if (count, int(steps or 0)) != (extension.runs_seen, extension.steps_seen):
        return False
    connection.execute(open_study.values(open=not extension.last))
    runs.add(connection, extension.runs, extension.cohorts)
    for cohort_id, resumed in extension.resumed.items():
        _resume(connection, NewCohort(cohort_id, study_id), resumed)
    if extension.pruned:
        connection.execute(
            update(_RUNS).where(_RUNS.c.id == bindparam("run")).values(stop_reason="pruned", unmirrored=True),
            [{"run": run_id} for run_id in extension.pruned],
        )
    return True


def _resume(connection: Connection, cohort: NewCohort, resumed: Sequence[ResumedRun]) -> None:
    """Queue ended runs for more steps, without what their ends left, as in `queueing.resume`."""
    queueing.add_cohorts(connection, [cohort])
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.id == bindparam("run"))
        .values(
            cohort_id=cohort.id,
            row=bindparam("new_row"),
            total_steps=bindparam("new_steps"),
            **queueing.REQUEUED,
        ),
        [{"run": run.run_id, "new_row": row, "new_steps": run.steps} for row, run in enumerate(resumed)],
    )
    queueing.undo_ends(connection, [(run.run_id, run.step, run.keep) for run in resumed])


def resume(connection: Connection, study_id: str, cohorts: Mapping[str, Sequence[str]], reopen: bool) -> list[str]:
    """Queue interrupted runs again, each in its new cohort; returns the ids of the cohorts that got any."""
    connection.execute(
        update(_STUDIES).where(_STUDIES.c.id == study_id).values(open=_STUDIES.c.open if not reopen else True)
    )
    # Not `in_`: executemany takes no list as a parameter.
    interrupted = or_(*(_RUNS.c.state == state for state in _INTERRUPTED))
    taken = []
    for cohort_id, run_ids in cohorts.items():
        queueing.add_cohorts(connection, [NewCohort(cohort_id, study_id)])
        moved = connection.execute(
            update(_RUNS)
            .where(_RUNS.c.id == bindparam("run"), interrupted)
            .values(
                cohort_id=cohort_id,
                row=bindparam("new_row"),
                paused=False,
                **queueing.REQUEUED,
            ),
            [{"run": run_id, "new_row": row} for row, run_id in enumerate(run_ids)],
        )
        if moved.rowcount:
            taken.append(cohort_id)
        else:
            # Another process was first and has queued them in other cohorts.
            connection.execute(update(_COHORTS).where(_COHORTS.c.id == cohort_id).values(state="finished"))
    return taken
