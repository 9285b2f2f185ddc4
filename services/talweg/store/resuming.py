"""What changes a record that was written: an ended run that goes on, a damaged chunk that is put back."""

from sqlalchemy import Connection, delete, insert, select, update

from talweg.errors import Conflict, NotFound
from talweg.store import codec, queueing, tables
from talweg.store.batch import Chunk, NewCohort
from talweg.store.rows import LIVE, Json, RunRow

_RUNS = tables.runs
_CHUNKS = tables.chunks
_EVALUATIONS = tables.evaluations
_CHECKPOINTS = tables.checkpoints


def resume(
    connection: Connection, run: RunRow, cohort: NewCohort, spec: Json, digest: str, steps: int, *, keep: bool
) -> None:
    """Queue it alone in a new cohort; raises Conflict where it is not as `run` says any more.

    What was made because it ended goes, as `queueing.forget_ends` says.
    """
    queueing.add_cohorts(connection, [cohort])
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
            **queueing.AGAIN,
        )
    )
    if changed.rowcount != 1:
        raise Conflict(f"run {run.name}: has changed meanwhile; look at it again")
    queueing.forget_ends(connection, [(run.id, run.step, keep)])


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
