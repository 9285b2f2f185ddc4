"""The queue: add cohorts, move runs to other cohorts; resume, cancel, pause, unpause, retry.

Runs of a cohort train in lock-step, so one cannot wait while the others continue. A run's bits do not depend on the
other runs of its cohort, and its record does not mention cohorts: to move a run, two columns are changed.
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

# Columns of a run that had ended and is queued again.
REQUEUED: Final[dict[str, Any]] = {
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
    """Write queued cohorts; returns the time at which they were queued, by the database's clock."""
    now: datetime = connection.execute(select(FromNow())).scalar_one()
    fresh = {"state": "queued", "fence": 0, "attempts": 0, "publications": 0, "queued_at": now}
    if cohorts:
        connection.execute(insert(tables.cohorts), [fresh | vars(cohort) for cohort in cohorts])
    return now


def undo_ends(connection: Connection, ends: Sequence[tuple[str, int, bool]]) -> None:
    """For each (run, step, keep): remove what was recorded because the run ended at that step.

    Its evaluations are deleted: a run with more steps would not have made them there, and an evaluation that is due at
    that step is made again. Without `keep` its last checkpoint is replaced by the next one.
    """

    def at_end(table: Any) -> Any:
        return (table.c.run_id == bindparam("run")) & (table.c.step == bindparam("at"))

    connection.execute(delete(_EVALUATIONS).where(at_end(_EVALUATIONS)), [{"run": r, "at": at} for r, at, _ in ends])
    not_kept = [{"run": run, "at": at} for run, at, keep in ends if not keep]
    if not_kept:
        connection.execute(update(_CHECKPOINTS).where(at_end(_CHECKPOINTS)).values(kept=False), not_kept)


def split(connection: Connection, cohort_id: str) -> list[str]:
    """Move each live run to a cohort of its own and finish this one; empty, and nothing done, for a single run."""
    live = _live(connection, [cohort_id])
    if len(live) < 2:
        return []
    connection.execute(update(_COHORTS).where(_COHORTS.c.id == cohort_id).values(state="finished"))
    made = queue_alone(connection, live)
    apply_pauses(connection, made)
    return made


def queue_alone(connection: Connection, runs: Sequence[Row[*tuple[Any, ...]]]) -> list[str]:
    """Queue each run (`id`, `study_id`) in a new cohort; returns the cohorts' ids."""
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


def apply_pauses(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """Pause queued runs that have a pause request: the whole cohort, or these runs in a new cohort."""
    for some in portions(cohort_ids):
        live = _live(connection, some)
        for cohort_id, group in groupby(live, key=lambda run: run.cohort_id):
            runs = list(group)
            paused = [run for run in runs if run.paused]
            if not paused:
                continue
            target = cohort_id
            if len(paused) < len(runs):
                target = str(uuid7())
                add_cohorts(connection, [NewCohort(target, paused[0].study_id)])
                chosen = _RUNS.c.id.in_([run.id for run in paused])
                connection.execute(update(_RUNS).where(chosen).values(cohort_id=target))
            connection.execute(update(_COHORTS).where(_COHORTS.c.id == target).values(paused=True))


def _live(connection: Connection, cohort_ids: Sequence[str]) -> Sequence[Row[*tuple[Any, ...]]]:
    return connection.execute(
        select(_RUNS.c.id, _RUNS.c.study_id, _RUNS.c.cohort_id, _RUNS.c.paused)
        .where(_RUNS.c.cohort_id.in_(cohort_ids), _RUNS.c.state.in_(LIVE))
        .order_by(_RUNS.c.cohort_id, _RUNS.c.row)
    ).all()


def resume(
    connection: Connection, run: RunRow, cohort: NewCohort, spec: Json, digest: str, steps: int, *, keep: bool
) -> None:
    """Queue the run alone in a new cohort, without what its end left; raises Conflict where it has changed."""
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
            **REQUEUED,
        )
    )
    if changed.rowcount != 1:
        raise Conflict(f"run {run.name}: has changed since it was read; read it again, then repeat the request")
    undo_ends(connection, [(run.id, run.step, keep)])


def request_cancel(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Record the request; live runs of queued cohorts are cancelled at once. Raises NotFound."""
    if study is not None:
        identity = finding.identify(connection, tables.studies, "study", study)
        # First, as in `studies.extend`: no further stage is added.
        connection.execute(update(tables.studies).where(tables.studies.c.id == identity).values(open=False))
    for which in chosen_runs(connection, run_ids, study):
        _cancel(connection, which)


def _cancel(connection: Connection, which: ColumnElement[bool]) -> None:
    selected = (which, _RUNS.c.state.in_(LIVE))
    cohorts = _locked_cohorts(connection, selected)
    connection.execute(update(_RUNS).where(*selected).values(cancel_requested=True))
    idle = [cohort.id for cohort in cohorts if cohort.state == "queued"]
    for some in portions(idle):
        connection.execute(
            update(_RUNS)
            .where(*selected, _RUNS.c.cohort_id.in_(some))
            .values(state="cancelled", stop_reason="cancelled", finished_at=FromNow(), unmirrored=True)
        )
        alive = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state.in_(LIVE))
        connection.execute(update(_COHORTS).where(_COHORTS.c.id.in_(some), ~alive).values(state="finished"))


def request_pause(connection: Connection, run_ids: Sequence[str], study: str | None) -> None:
    """Record the request; live runs of queued cohorts are paused at once. Raises NotFound."""
    for which in chosen_runs(connection, run_ids, study):
        selected = (which, _RUNS.c.state.in_(LIVE), ~_RUNS.c.paused)
        cohorts = _locked_cohorts(connection, selected)
        connection.execute(update(_RUNS).where(*selected).values(paused=True))
        apply_pauses(connection, [cohort.id for cohort in cohorts if cohort.state == "queued"])


def unpause(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """The cohorts that are queued again; their runs that stay paused move to another cohort. Raises NotFound."""
    queued: list[str] = []
    for which in chosen_runs(connection, run_ids, study):
        selected = (which, _RUNS.c.state.in_(LIVE), _RUNS.c.paused)
        cohorts = [cohort.id for cohort in _locked_cohorts(connection, selected) if cohort.paused]
        connection.execute(update(_RUNS).where(*selected).values(paused=False))
        for some in portions(cohorts):
            connection.execute(
                update(_COHORTS)
                .where(_COHORTS.c.id.in_(some))
                .values(paused=False, queued_at=FromNow(), published_at=None, publications=0)
            )
        apply_pauses(connection, cohorts)
        queued += cohorts
    return queued


def _locked_cohorts(connection: Connection, selected: Sequence[ColumnElement[bool]]) -> Sequence[Row[*tuple[Any, ...]]]:
    """The cohorts of these runs, locked before any change, so that no worker claims one in between.

    Locked in the order of their ids, as commits and claims lock them: no deadlock.
    """
    touched = select(_RUNS.c.cohort_id).where(*selected)
    return connection.execute(
        select(_COHORTS.c.id, _COHORTS.c.state, _COHORTS.c.paused)
        .where(_COHORTS.c.id.in_(touched))
        .order_by(_COHORTS.c.id)
        .with_for_update()
    ).all()


def retry(connection: Connection, run_ids: Sequence[str], study: str | None) -> list[str]:
    """Queue each failed run in a cohort of its own, with no attempts counted; raises NotFound."""
    made: list[str] = []
    for which in chosen_runs(connection, run_ids, study):
        failed = connection.execute(
            select(_RUNS.c.id, _RUNS.c.study_id, _RUNS.c.cohort_id)
            .where(which, _RUNS.c.state == "failed")
            .order_by(_RUNS.c.id)
            .with_for_update()
        ).all()
        for some in portions(failed):
            chosen = _RUNS.c.id.in_([run.id for run in some])
            connection.execute(update(_RUNS).where(chosen).values(**REQUEUED, paused=False))
            made += queue_alone(connection, some)
            _close(connection, [run.cohort_id for run in some])
    return made


def _close(connection: Connection, cohort_ids: Sequence[str]) -> None:
    """Finish quarantined cohorts that have no failed run left."""
    left = exists().where(_RUNS.c.cohort_id == _COHORTS.c.id, _RUNS.c.state == "failed")
    chosen = (_COHORTS.c.id.in_(cohort_ids), _COHORTS.c.state == "quarantined", ~left)
    connection.execute(update(_COHORTS).where(*chosen).values(state="finished"))
