"""Asking runs to stop."""

from collections.abc import Sequence

from sqlalchemy import ColumnElement, Connection, exists, select, update

from talweg.store import pages, tables
from talweg.store.rows import LIVE
from talweg.store.selection import IDS_AT_ONCE, chosen
from talweg.store.types import FromNow

_COHORTS = tables.cohorts
_RUNS = tables.runs


def request_cancel(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Live runs are asked; those of cohorts that nobody holds are cancelled at once. Raises NotFound."""
    if study is not None:
        identity = pages.identify(connection, tables.studies, "study", study)
        # First, as whoever extends it does: what would have followed does not.
        connection.execute(update(tables.studies).where(tables.studies.c.id == identity).values(open=False))
    for which in chosen(connection, run_ids, study):
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
