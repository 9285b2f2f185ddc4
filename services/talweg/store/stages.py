"""Studies that go on: the next stage when the last has ended, and what was interrupted when it is asked for again."""

from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, bindparam, exists, insert, or_, select, update

from talweg.store import runs, tables
from talweg.store.batch import NewCohort, NewRun
from talweg.store.rows import LIVE
from talweg.store.types import FromNow

_STUDIES = tables.studies
_COHORTS = tables.cohorts
_RUNS = tables.runs
_INTERRUPTED = ("cancelled", "failed")


def ready(connection: Connection) -> list[str]:
    """Open studies none of whose runs is live."""
    live = exists().where(_RUNS.c.study_id == _STUDIES.c.id, _RUNS.c.state.in_(LIVE))
    query = select(_STUDIES.c.id).where(_STUDIES.c.open, ~live).order_by(_STUDIES.c.id)
    return list(connection.execute(query).scalars())


def extend(connection: Connection, study_id: str, new: Sequence[NewRun], cohorts: Sequence[NewCohort]) -> bool:
    """Add the last stage and close the study; one conditional UPDATE decides who does it."""
    closed = connection.execute(update(_STUDIES).where(_STUDIES.c.id == study_id, _STUDIES.c.open).values(open=False))
    if closed.rowcount != 1:
        return False
    runs.add(connection, new, cohorts)
    return True


def resume(connection: Connection, study_id: str, cohorts: Mapping[str, Sequence[str]], reopen: bool) -> list[str]:
    """Queue interrupted runs again, each under its new cohort; the ids of the cohorts that got any."""
    connection.execute(
        update(_STUDIES).where(_STUDIES.c.id == study_id).values(open=_STUDIES.c.open if not reopen else True)
    )
    # Not `in_`: a list among the parameters cannot go to executemany.
    interrupted = or_(*(_RUNS.c.state == state for state in _INTERRUPTED))
    taken = []
    for cohort_id, run_ids in cohorts.items():
        fresh = NewCohort(cohort_id, study_id)
        waiting = {"state": "queued", "fence": 0, "attempts": 0, "publications": 0, "queued_at": FromNow()}
        connection.execute(insert(_COHORTS).values(**vars(fresh), **waiting))
        moved = connection.execute(
            update(_RUNS)
            .where(_RUNS.c.id == bindparam("run"), interrupted)
            .values(
                cohort_id=cohort_id,
                row=bindparam("place"),
                state="queued",
                stop_reason=None,
                cancel_requested=False,
                paused=False,
                error=None,
                finished_at=None,
                unmirrored=True,
            ),
            [{"run": run_id, "place": place} for place, run_id in enumerate(run_ids)],
        )
        if moved.rowcount:
            taken.append(cohort_id)
        else:
            # Someone else was first, and has them in cohorts of their own.
            connection.execute(update(_COHORTS).where(_COHORTS.c.id == cohort_id).values(state="finished"))
    return taken
