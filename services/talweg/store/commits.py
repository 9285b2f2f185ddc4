"""A worker's commit: prepared outside of the transaction, written inside, all of it or nothing."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sqlalchemy import Connection, and_, bindparam, case, delete, func, or_, select, tuple_, update

from talweg.store import codec, leases, tables
from talweg.store.batch import Checkpoint, CommitBatch, DerivativeRows, Evaluation, Progress, StepRows
from talweg.store.bulk import Block, Blocks, Row, Rows, number, numbers
from talweg.store.rows import LIVE, Claim
from talweg.store.tables import FromNow

_RUNS = tables.runs
_CHECKPOINTS = tables.checkpoints
_STEPS = ("run_id", "step", "cost", "learning_rate", "gradient_norm", "parameter_norm", "update_norm")
_EVALUATIONS = ("run_id", "step", "split", "cost", "metric")
_DERIVATIVES = ("run_id", "step", "tensor", "position", "parameter", "derivative", "update")
_CHUNKS = ("run_id", "quantity", "first_step", "steps", "codec", "digest", "payload")
_CHECKPOINT = ("run_id", "step", "kept", "digest", "payload")


@dataclass(frozen=True)
class Prepared:
    """A batch as rows: the transaction has only to write them."""

    batch: CommitBatch
    rows: tuple[Rows | Blocks, ...]
    checkpoints: Rows
    run_ids: frozenset[str]


def prepare(batch: CommitBatch) -> Prepared:
    """Turns arrays into rows and takes digests; needs no database."""
    chunks = [tuple(getattr(chunk, name) for name in _CHUNKS) for chunk in batch.chunks]
    rows = (
        Blocks(tables.steps, _STEPS, [_step_block(steps) for steps in batch.steps]),
        Rows(tables.evaluations, _EVALUATIONS, [_evaluation_row(row) for row in batch.evaluations]),
        Rows(tables.derivatives, _DERIVATIVES, [row for rows in batch.derivatives for row in _derivative_rows(rows)]),
        Rows(tables.chunks, _CHUNKS, chunks),
    )
    lasting = [
        (made.run_id, made.step, made.kept, codec.digest_of(made.payload), made.payload)
        for made in _lasting(batch.checkpoints)
    ]
    checkpoints = Rows(_CHECKPOINTS, _CHECKPOINT, lasting)
    recorded: Iterable[Any] = (
        *batch.steps, *batch.evaluations, *batch.derivatives, *batch.chunks, *batch.checkpoints
    )  # fmt: skip
    return Prepared(batch, rows, checkpoints, frozenset(part.run_id for part in recorded) | set(batch.progress))


def write(connection: Connection, claim: Claim, prepared: Prepared, *, again: bool) -> None:
    """Everything under the claim's fence; raises LeaseLost before anything is written.

    With `again` the batch may stand there already, whole: then nothing is written but the lease.
    A commit that moves a run on starts the counting of attempts anew: a long training may lose many workers.
    """
    batch, before = prepared.batch, {run.id: run.step for run in claim.runs}
    strangers = prepared.run_ids - before.keys()
    if strangers:
        raise ValueError(f"commit: runs must be of cohort {claim.cohort_id}, got {', '.join(sorted(strangers))}")
    moved = any(progress.step > before[run_id] for run_id, progress in batch.progress.items())
    leases.guard(connection, claim, lease_until=FromNow(batch.lease_seconds), **({"attempts": 1} if moved else {}))
    if again and _stands(connection, batch):
        return
    _write_progress(connection, batch)
    for rows in prepared.rows:
        rows.insert(connection)
    _write_checkpoints(connection, prepared.checkpoints)


def _stands(connection: Connection, batch: CommitBatch) -> bool:
    """Whether its runs are where it would bring them: each batch moves or ends them, and nobody else can have."""
    if not batch.progress:
        return False
    query = select(_RUNS.c.id, _RUNS.c.step, _RUNS.c.state).where(_RUNS.c.id.in_(list(batch.progress)))
    found = {row.id: (row.step, row.state) for row in connection.execute(query)}
    return found == {run_id: (progress.step, progress.state) for run_id, progress in batch.progress.items()}


def _write_progress(connection: Connection, batch: CommitBatch) -> None:
    if not batch.progress:
        return
    # Not `not_in`: a list among the parameters cannot go to executemany.
    ended = and_(*(bindparam("new_state") != state for state in LIVE))
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.id == bindparam("run"))
        .values(
            step=bindparam("new_step"),
            cost=bindparam("new_cost"),
            best_cost=bindparam("new_best_cost"),
            state=bindparam("new_state"),
            stop_reason=bindparam("new_stop_reason"),
            numerics=func.coalesce(_RUNS.c.numerics, bindparam("new_numerics", type_=_RUNS.c.numerics.type)),
            trained_seconds=func.coalesce(
                bindparam("new_seconds", type_=_RUNS.c.trained_seconds.type), _RUNS.c.trained_seconds
            ),
            started_at=func.coalesce(_RUNS.c.started_at, FromNow()),
            finished_at=case((ended, FromNow()), else_=None),
            unmirrored=True,
        ),
        [_progress_values(run_id, progress) for run_id, progress in batch.progress.items()],
    )


def _progress_values(run_id: str, progress: Progress) -> dict[str, Any]:
    return {
        "run": run_id,
        "new_step": int(progress.step),
        "new_cost": number(progress.cost),
        "new_best_cost": number(progress.best_cost),
        "new_state": progress.state,
        "new_stop_reason": progress.stop_reason,
        "new_numerics": progress.numerics,
        "new_seconds": progress.trained_seconds,
    }


def _write_checkpoints(connection: Connection, checkpoints: Rows) -> None:
    if not checkpoints.values:
        return
    made = {(row[0], row[1]) for row in checkpoints.values}
    gives_way = or_(~_CHECKPOINTS.c.kept, tuple_(_CHECKPOINTS.c.run_id, _CHECKPOINTS.c.step).in_(made))
    # One statement instead of one a run: PostgreSQL answers each.
    connection.execute(delete(_CHECKPOINTS).where(_CHECKPOINTS.c.run_id.in_({run for run, _ in made}), gives_way))
    checkpoints.insert(connection)


def _lasting(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """Those that this very batch does not replace: of one run and step the last, of those not kept the latest."""
    latest: dict[str, int] = {}
    chosen: dict[tuple[str, int], Checkpoint] = {}
    for made in checkpoints:
        latest[made.run_id] = max(made.step, latest.get(made.run_id, 0))
        chosen[made.run_id, made.step] = made
    return [made for made in chosen.values() if made.kept or made.step == latest[made.run_id]]


def _step_block(rows: StepRows) -> Block:
    return rows.run_id, rows.first_step, np.stack([getattr(rows, name) for name in _STEPS[2:]], axis=1)


def _evaluation_row(row: Evaluation) -> Row:
    return (row.run_id, int(row.step), row.split, number(row.cost), number(row.metric))


def _derivative_rows(rows: DerivativeRows) -> Iterable[Row]:
    for offset in range(len(rows.parameter)):
        values = (numbers(array[offset]) for array in (rows.parameter, rows.derivative, rows.update))
        for (tensor, position), *value in zip(rows.coordinates, *values, strict=True):
            yield (rows.run_id, rows.first_step + offset, tensor, position, *value)
