"""The queue: new cohorts, runs that move to another cohort or go on; cancel, pause, unpause, retry.

Runs of a cohort move in lock-step, so one cannot wait while the others go on. A run's bits do not depend on who is
beside it, and its record knows nothing of cohorts: moving one is a change of two columns.
"""

from collections.abc import Sequence
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, Row, bindparam, delete, exists, insert, select, update
from uuid_utils.compat import uuid7

from talweg.errors import Conflict
from talweg.store import finding, tables
from talweg.store.batch import NewCohort
from talweg.store.finding import chosen_runs, portions
from talweg.store.rows import LIVE, Json, RunRow
from talweg.store.tables import FromNow

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
_COHORTS = tables.cohorts
_RUNS = tables.runs


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
        add_cohorts(connection, cohorts)
        connection.execute(
            update(_RUNS)
            .where(_RUNS.c.id == bindparam("run"))
            .values(cohort_id=bindparam("cohort"), row=0, state="queued", unmirrored=True),
            [{"run": run.id, "cohort": cohort} for cohort, run in zip(made, runs, strict=True)],
        )
    return made


def park(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """Pause the runs of queued cohorts that have a pause request: the whole cohort, or apart from the others."""
    for some in portions(cohort_ids):
        live = _live(connection, some)
        for cohort_id, group in groupby(live, key=lambda run: run.cohort_id):
            runs = list(group)
            resting = [run for run in runs if run.paused]
            if not resting:
                continue
            place = cohort_id
            if len(resting) < len(runs):
                place = str(uuid7())
                add_cohorts(connection, [NewCohort(place, resting[0].study_id)])
                mine = _RUNS.c.id.in_([run.id for run in resting])
                connection.execute(update(_RUNS).where(mine).values(cohort_id=place))
            connection.execute(update(_COHORTS).where(_COHORTS.c.id == place).values(paused=True))


def _live(connection: Connection, cohort_ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    return connection.execute(
        select(_RUNS.c.id, _RUNS.c.study_id, _RUNS.c.cohort_id, _RUNS.c.paused)
        .where(_RUNS.c.cohort_id.in_(cohort_ids), _RUNS.c.state.in_(LIVE))
        .order_by(_RUNS.c.cohort_id, _RUNS.c.row)
    ).all()


def resume(
    connection: Connection, run: RunRow, cohort: NewCohort, spec: Json, digest: str, steps: int, *, keep: bool
) -> None:
    """Queue it alone in a new cohort; raises Conflict where it is not as `run` says any more.

    What was made because it ended goes, as `queueing.forget_ends` says.
    """
    add_cohorts(connection, [cohort])
    changed = connection.execute(
        update(_RUNS)
        .where(
            _RUNS.c.id == run.id,
            _RUNS.c.state.not_in(LIVE),
            _RUNS.c.step == run.step,
            _RUNS.c.total_steps == run.total_steps,
        )
        .values(
            cohort_id=cohort.id,
            row=0,
            spec=spec,
            spec_digest=digest,
            total_steps=steps,
            **AGAIN,
        )
    )
    if changed.rowcount != 1:
        raise Conflict(f"run {run.name}: has changed meanwhile; look at it again")
    forget_ends(connection, [(run.id, run.step, keep)])


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
    cohorts = _locked_cohorts(connection, asked)
    connection.execute(update(_RUNS).where(*asked).values(cancel_requested=True))
    idle = [cohort.id for cohort in cohorts if cohort.state == "queued"]
    for some in portions(idle):
        connection.execute(
            update(_RUNS)
            .where(*asked, _RUNS.c.cohort_id.in_(some))
            .values(state="cancelled", stop_reason="cancelled", finished_at=FromNow(), unmirrored=True)
        )
        alive = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state.in_(LIVE))
        connection.execute(update(_COHORTS).where(_COHORTS.c.id.in_(some), ~alive).values(state="finished"))


def request_pause(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Mark live runs; those of cohorts that nobody holds are paused at once. Raises NotFound."""
    for which in chosen_runs(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), ~_RUNS.c.paused)
        cohorts = _locked_cohorts(connection, asked)
        connection.execute(update(_RUNS).where(*asked).values(paused=True))
        park(connection, [cohort.id for cohort in cohorts if cohort.state == "queued"])


def unpause(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Cohorts with a run that goes on; runs beside it that stay paused move to another cohort. Raises NotFound."""
    going: list[str] = []
    for which in chosen_runs(connection, run_ids, study):
        asked = (which, _RUNS.c.state.in_(LIVE), _RUNS.c.paused)
        cohorts = [cohort.id for cohort in _locked_cohorts(connection, asked) if cohort.paused]
        connection.execute(update(_RUNS).where(*asked).values(paused=False))
        for some in portions(cohorts):
            connection.execute(
                update(_COHORTS)
                .where(_COHORTS.c.id.in_(some))
                .values(paused=False, queued_at=FromNow(), published_at=None, publications=0)
            )
        park(connection, cohorts)
        going += cohorts
    return going


def _locked_cohorts(connection: Connection, asked: Sequence[ColumnElement[bool]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """Their cohorts, before anything is changed and in one order, as commits and claims do.

    So there is no deadlock, and none of them is claimed meanwhile.
    """
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
        for some in portions(failed):
            mine = _RUNS.c.id.in_([run.id for run in some])
            connection.execute(update(_RUNS).where(mine).values(**AGAIN, paused=False))
            made += alone(connection, some)
            _close(connection, [run.cohort_id for run in some])
    return made


def _close(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """A quarantine that holds nothing any more is none."""
    left = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state == "failed")
    mine = (_COHORTS.c.id.in_(cohort_ids), _COHORTS.c.state == "quarantined", ~left)
    connection.execute(update(_COHORTS).where(*mine).values(state="finished"))
