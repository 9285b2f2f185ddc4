"""What changes a record that was written: an ended run that goes on, a damaged chunk that is put back."""

from sqlalchemy import Connection, delete, insert, select, update

from talweg.errors import Conflict, NotFound
from talweg.store import codec, tables
from talweg.store.batch import Chunk, NewCohort
from talweg.store.rows import LIVE, Json, RunRow
from talweg.store.types import FromNow

_RUNS = tables.runs
_CHUNKS = tables.chunks
_EVALUATIONS = tables.evaluations
_CHECKPOINTS = tables.checkpoints


def resume(
    connection: Connection, run: RunRow, cohort: NewCohort, spec: Json, digest: str, steps: int, *, keep: bool
) -> None:
    """Queue it alone in a new cohort; raises Conflict where it is not as `run` says any more.

    The evaluations of its end go: a run that had been asked for more would not have made them there, and where one
    is due at that step it is made again. Without `keep` its last checkpoint gives way to the next, as others do.
    """
    now = connection.execute(select(FromNow())).scalar_one()
    fresh = {"state": "queued", "fence": 0, "attempts": 0, "publications": 0, "queued_at": now}
    connection.execute(insert(tables.cohorts).values(id=cohort.id, study_id=cohort.study_id, **fresh))
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
            state="queued",
            stop_reason=None,
            cancel_requested=False,
            error=None,
            finished_at=None,
            unmirrored=True,
        )
    )
    if changed.rowcount != 1:
        raise Conflict(f"run {run.name}: has changed meanwhile; look at it again")
    at_its_end = (_EVALUATIONS.c.run_id == run.id, _EVALUATIONS.c.step == run.step)
    connection.execute(delete(_EVALUATIONS).where(*at_its_end))
    if not keep:
        connection.execute(
            update(_CHECKPOINTS)
            .where(_CHECKPOINTS.c.run_id == run.id, _CHECKPOINTS.c.step == run.step)
            .values(kept=False)
        )


def replace_chunk(connection: Connection, chunk: Chunk) -> None:
    """Put these bytes where a chunk of the same run, quantity and steps stands, or where none begins at its step.

    Raises Conflict where one of other steps does.
    """
    of_run = (_CHUNKS.c.run_id == chunk.run_id, _CHUNKS.c.quantity == chunk.quantity)
    there = (*of_run, _CHUNKS.c.first_step == chunk.first_step)
    held = connection.execute(select(_CHUNKS.c.steps).where(*there)).scalar_one_or_none()
    if held not in (None, chunk.steps):
        raise Conflict(f"run {chunk.run_id}: {chunk.quantity} from step {chunk.first_step} on must be {held} steps")
    connection.execute(delete(_CHUNKS).where(*there))
    connection.execute(insert(_CHUNKS).values(**vars(chunk)))


def replace_checkpoint(connection: Connection, run_id: str, step: int, payload: bytes) -> None:
    """Put these bytes in place of a damaged checkpoint whose digest they have; raises NotFound."""
    changed = connection.execute(
        update(_CHECKPOINTS)
        .where(
            _CHECKPOINTS.c.run_id == run_id,
            _CHECKPOINTS.c.step == step,
            _CHECKPOINTS.c.digest == codec.digest_of(payload),
        )
        .values(payload=payload)
    )
    if changed.rowcount != 1:
        raise NotFound(f"run {run_id}: has no checkpoint of step {step} with this digest")
