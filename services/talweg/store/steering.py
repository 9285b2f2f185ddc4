"""Cancel, pause and unpause live runs; retry failed ones."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, exists, select, update

from talweg.store import finding, queueing, tables
from talweg.store.finding import IDS_AT_ONCE, chosen_runs
from talweg.store.rows import LIVE
from talweg.store.tables import FromNow

_COHORTS = tables.cohorts
_RUNS = tables.runs


def request_cancel(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Live runs are asked; those of cohorts that nobody holds are cancelled at once. Raises NotFound."""
    if study is not None:
        identity = finding.identify(connection, tables.studies, "study", study)
        # First, as whoever extends it does: what would have followed does not.
        connection.execute(update(tables.studies).where(tables.studies.c.id == identity).values(open=False))
    for which in chosen_runs(connection, run_ids, study):
        _cancel(connection, which)


def _cancel(connection: Connection, which: ColumnElement[bool]) -> None:
    asked = (which, _RUNS.c.state.in_(LIVE))
    # Cohorts first, in one order, as commits and claims do: no deadlock, and none is claimed meanwhile.
    touched = select(_RUNS.c.cohort_id).where(*asked)
    cohorts = connection.execute(
        select(_COHORTS.c.id, _COHORTS.c.state)
        .where(_COHORTS.c.id.in_(touched))
        .order_by(_COHORTS.c.id)
        .with_for_update()
    ).all()
    connection.execute(update(_RUNS).where(*asked).values(cancel_requested=True))
    idle = [cohort.id for cohort in cohorts if cohort.state == "queued"]
    for start in range(0, len(idle), IDS_AT_ONCE):
        some = idle[start : start + IDS_AT_ONCE]
        connection.execute(
            update(_RUNS)
            .where(*asked, _RUNS.c.cohort_id.in_(some))
            .values(state="cancelled", stop_reason="cancelled", finished_at=FromNow(), unmirrored=True)
        )
        alive = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state.in_(LIVE))
        connection.execute(update(_COHORTS).where(_COHORTS.c.id.in_(some), ~alive).values(state="finished"))


def request_pause(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Live runs are asked; those of cohorts that nobody holds rest at once. Raises NotFound."""
    for which in chosen_runs(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), ~_RUNS.c.paused)
        cohorts = _locked_cohorts(connection, asked)
        connection.execute(update(_RUNS).where(*asked).values(paused=True))
        queueing.park(connection, [cohort.id for cohort in cohorts if cohort.state == "queued"])


def unpause(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Cohorts with a run that goes on; its neighbours that still rest are put apart. Raises NotFound."""
    going: list[str] = []
    for which in chosen_runs(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), _RUNS.c.paused)
        cohorts = [cohort.id for cohort in _locked_cohorts(connection, asked) if cohort.paused]
        connection.execute(update(_RUNS).where(*asked).values(paused=False))
        for start in range(0, len(cohorts), IDS_AT_ONCE):
            some = cohorts[start : start + IDS_AT_ONCE]
            connection.execute(
                update(_COHORTS)
                .where(_COHORTS.c.id.in_(some))
                .values(paused=False, queued_at=FromNow(), published_at=None, publications=0)
            )
        queueing.park(connection, cohorts)
        going += cohorts
    return going


def _locked_cohorts(connection: Connection, asked: Sequence[ColumnElement[bool]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Their cohorts, before anything is changed and in one order, as commits and claims do: no deadlock."""
    touched = select(_RUNS.c.cohort_id).where(*asked)
    return connection.execute(
        select(_COHORTS.c.id, _COHORTS.c.state, _COHORTS.c.paused)
        .where(_COHORTS.c.id.in_(touched))
        .order_by(_COHORTS.c.id)
        .with_for_update()
    ).all()


def retry(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Each in a cohort of its own, which has all its attempts before it; raises NotFound."""
    made: list[str] = []
    for which in chosen_runs(connection, run_ids, study):
        failed = connection.execute(
            select(_RUNS.c.id, _RUNS.c.study_id, _RUNS.c.cohort_id)
            .where(which, _RUNS.c.state == "failed")
            .order_by(_RUNS.c.id)
            .with_for_update()
        ).all()
        for start in range(0, len(failed), IDS_AT_ONCE):
            some = failed[start : start + IDS_AT_ONCE]
            fresh = {"stop_reason": None, "error": None, "finished_at": None, "cancel_requested": False}
            mine = _RUNS.c.id.in_([run.id for run in some])
            connection.execute(update(_RUNS).where(mine).values(**fresh, paused=False))
            made += queueing.alone(connection, some)
            _close(connection, [run.cohort_id for run in some])
    return made


def _close(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """A quarantine that holds nothing any more is none."""
    left = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state == "failed")
    mine = (_COHORTS.c.id.in_(cohort_ids), _COHORTS.c.state == "quarantined", ~left)
    connection.execute(update(_COHORTS).where(*mine).values(state="finished"))
