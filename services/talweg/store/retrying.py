"""Queueing failed runs again, once what made them fail is mended."""

from collections.abc import Sequence

from sqlalchemy import Connection, exists, select, update

from talweg.store import splitting, tables
from talweg.store.selection import IDS_AT_ONCE, chosen

_COHORTS = tables.cohorts
_RUNS = tables.runs


def retry(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Each in a cohort of its own, which has all its attempts before it; raises NotFound."""
    made: list[str] = []
    for which in chosen(connection, run_ids, study):
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
            made += splitting.alone(connection, some)
            _close(connection, [run.cohort_id for run in some])
    return made


def _close(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """A quarantine that holds nothing any more is none."""
    left = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state == "failed")
    mine = (_COHORTS.c.id.in_(cohort_ids), _COHORTS.c.state == "quarantined", ~left)
    connection.execute(update(_COHORTS).where(*mine).values(state="finished"))
