"""Asking runs to rest, and to go on."""

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Row, select, update

from talweg.store import splitting, tables
from talweg.store.rows import LIVE
from talweg.store.selection import IDS_AT_ONCE, chosen
from talweg.store.types import FromNow

_COHORTS = tables.cohorts
_RUNS = tables.runs


def request_pause(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Live runs are asked; those of cohorts that nobody holds rest at once. Raises NotFound."""
    for which in chosen(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), ~_RUNS.c.paused)
        cohorts = _locked(connection, asked)
        connection.execute(update(_RUNS).where(*asked).values(paused=True))
        splitting.park(connection, [cohort.id for cohort in cohorts if cohort.state == "queued"])


def unpause(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Cohorts with a run that goes on; its neighbours that still rest are put apart. Raises NotFound."""
    going: list[str] = []
    for which in chosen(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), _RUNS.c.paused)
        cohorts = [cohort.id for cohort in _locked(connection, asked) if cohort.paused]
        connection.execute(update(_RUNS).where(*asked).values(paused=False))
        for start in range(0, len(cohorts), IDS_AT_ONCE):
            some = cohorts[start : start + IDS_AT_ONCE]
            connection.execute(
                update(_COHORTS)
                .where(_COHORTS.c.id.in_(some))
                .values(paused=False, queued_at=FromNow(), published_at=None, publications=0)
            )
        splitting.park(connection, cohorts)
        going += cohorts
    return going


def _locked(connection: Connection, asked: Sequence[ColumnElement[bool]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Their cohorts, before anything is changed and in one order, as commits and claims do: no deadlock."""
    touched = select(_RUNS.c.cohort_id).where(*asked)
    return connection.execute(
        select(_COHORTS.c.id, _COHORTS.c.state, _COHORTS.c.paused)
        .where(_COHORTS.c.id.in_(touched))
        .order_by(_COHORTS.c.id)
        .with_for_update()
    ).all()
