"""Moving live runs to other cohorts: away from a neighbour that may be at fault, or to where they rest.

Runs of a cohort move in lock-step, so one cannot wait while the others go on. A run's bits do not depend on who is
beside it, and its record knows nothing of cohorts: moving one is a change of two columns.
"""

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, bindparam, select, update
from uuid_utils.compat import uuid7

from talweg.store import queueing, tables
from talweg.store.batch import NewCohort
from talweg.store.rows import LIVE
from talweg.store.selection import IDS_AT_ONCE

_COHORTS = tables.cohorts
_RUNS = tables.runs


def split(connection: Connection, cohort_id: str) -> list[str]:
    """Give each of its live runs a cohort of its own and close it; none, and nothing done, where it has but one."""
    live = _live(connection, [cohort_id])
    if len(live) < 2:
        return []
    connection.execute(update(_COHORTS).where(_COHORTS.c.id == cohort_id).values(state="finished"))
    made = alone(connection, live)
    park(connection, made)
    return made


def alone(connection: Connection, runs: Sequence[Row[*tuple[Any, ...]]]) -> list[str]:
    """Queue each run (`id`, `study_id`) in a new cohort; the ids of these."""
    made = [str(uuid7()) for _ in runs]
    if runs:
        cohorts = [NewCohort(cohort, run.study_id) for cohort, run in zip(made, runs, strict=True)]
        queueing.add_cohorts(connection, cohorts)
        connection.execute(
            update(_RUNS)
            .where(_RUNS.c.id == bindparam("run"))
            .values(cohort_id=bindparam("cohort"), row=0, state="queued", unmirrored=True),
            [{"run": run.id, "cohort": cohort} for cohort, run in zip(made, runs, strict=True)],
        )
    return made


def park(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """Let those runs of queued cohorts rest that were asked to: the whole cohort, or apart from the others."""
    for start in range(0, len(cohort_ids), IDS_AT_ONCE):
        live = _live(connection, cohort_ids[start : start + IDS_AT_ONCE])
        for cohort_id, group in groupby(live, key=lambda run: run.cohort_id):
            runs = list(group)
            resting = [run for run in runs if run.paused]
            if not resting:
                continue
            place = cohort_id
            if len(resting) < len(runs):
                place = str(uuid7())
                queueing.add_cohorts(connection, [NewCohort(place, resting[0].study_id)])
                mine = _RUNS.c.id.in_([run.id for run in resting])
                connection.execute(update(_RUNS).where(mine).values(cohort_id=place))
            connection.execute(update(_COHORTS).where(_COHORTS.c.id == place).values(paused=True))


def _live(connection: Connection, cohort_ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    return connection.execute(
        select(_RUNS.c.id, _RUNS.c.study_id, _RUNS.c.cohort_id, _RUNS.c.paused)
        .where(_RUNS.c.cohort_id.in_(cohort_ids), _RUNS.c.state.in_(LIVE))
        .order_by(_RUNS.c.cohort_id, _RUNS.c.row)
    ).all()
