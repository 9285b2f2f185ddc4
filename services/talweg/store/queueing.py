"""What every way into the queue writes: new cohorts, and runs that go on after their end."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection, bindparam, delete, insert, select, update

from talweg.store import tables
from talweg.store.batch import NewCohort
from talweg.store.types import FromNow

_EVALUATIONS = tables.evaluations
_CHECKPOINTS = tables.checkpoints

# Of a run that had ended, and waits for a worker once more.
AGAIN: Final[dict[str, Any]] = {
    "state": "queued",
    "stop_reason": None,
    "cancel_requested": False,
    "error": None,
    "finished_at": None,
    "unmirrored": True,
}


def add_cohorts(connection: Connection, cohorts: Sequence[NewCohort]) -> datetime:
    """Write cohorts that wait for a worker; returns since when, by the database's clock."""
    now: datetime = connection.execute(select(FromNow())).scalar_one()
    fresh = {"state": "queued", "fence": 0, "attempts": 0, "publications": 0, "queued_at": now}
    if cohorts:
        connection.execute(insert(tables.cohorts), [fresh | vars(cohort) for cohort in cohorts])
    return now


def forget_ends(connection: Connection, ends: Sequence[tuple[str, int, bool]]) -> None:
    """Of (run, step, keep): take back what was made because the run ended at that step.

    Its evaluations go: a run that had been asked for more would not have made them there, and where one is due at that
    step it is made again. Without `keep` its last checkpoint gives way to the next, as others do.
    """

    def at_end(table: Any) -> Any:
        return (table.c.run_id == bindparam("run")) & (table.c.step == bindparam("at"))

    connection.execute(delete(_EVALUATIONS).where(at_end(_EVALUATIONS)), [{"run": r, "at": at} for r, at, _ in ends])
    passing = [{"run": run, "at": at} for run, at, keep in ends if not keep]
    if passing:
        connection.execute(update(_CHECKPOINTS).where(at_end(_CHECKPOINTS)).values(kept=False), passing)
