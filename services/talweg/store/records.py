"""Read what runs recorded, by ranges of steps: each query walks one key range.

A fork's steps, evaluations and derivatives from before the fork are rows of its ancestors; chunks and checkpoints are
the run's own.
"""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import Column, ColumnElement, Connection, Select, Table, and_, delete, func, insert, select, update

from talweg.errors import Conflict, CorruptRecord, NotFound
from talweg.store import codec, tables
from talweg.store.batch import Chunk
from talweg.store.commits import Row, columns
from talweg.store.finding import portions
from talweg.store.rows import DerivativeRow, EvaluationRow, LatestValues, ReplayBasis, SampleRow, StepTable

_STEPS = tables.steps
_CHUNKS = tables.chunks
_CHECKPOINTS = tables.checkpoints
_DERIVATIVES = tables.derivatives
_EVALUATIONS = tables.evaluations
_RUNS = tables.runs

# (run_id, start, stop): the rows of the steps start … stop − 1 have that run's id; without `stop`, all from `start` on.
Range = tuple[str, int, int | None]


def steps(connection: Connection, run_id: str, start: int, stop: int | None) -> StepTable:
    """The steps start … stop − 1 as columns."""
    names = [column for column in _STEPS.c if column.name != "run_id"]
    step, *rest = _columns(connection, names, run_id, start, stop)
    return StepTable(step.astype(np.int64), *(np.ascontiguousarray(column) for column in rest))


def _columns(
    connection: Connection, names: Sequence[Column[Any]], run_id: str, start: int, stop: int | None
) -> NDArray[np.float64]:
    """The named columns (k, n) of a range."""
    found: list[Row] = []
    for owner, first, last in ranges(connection, run_id, start, stop):
        query = _range(select(*names), _STEPS, owner, first, last).order_by(_STEPS.c.step)
        found += connection.execute(query).all()
    return columns(found, len(names))


def evaluations(connection: Connection, run_id: str, start: int, limit: int | None) -> list[EvaluationRow]:
    """Evaluations of a run from step `start` on."""
    names = [column for column in _EVALUATIONS.c if column.name != "run_id"]
    found: list[EvaluationRow] = []
    for owner, first, last in ranges(connection, run_id, start, None):
        query = _range(select(*names), _EVALUATIONS, owner, first, last)
        left = None if limit is None else limit - len(found)
        ordered = query.order_by(_EVALUATIONS.c.step, _EVALUATIONS.c.split).limit(left)
        found += [EvaluationRow(**row._mapping) for row in connection.execute(ordered)]
    return found


def derivatives(connection: Connection, run_id: str, start: int, stop: int | None) -> list[DerivativeRow]:
    """The derivatives of the steps start … stop − 1."""
    names = [column for column in _DERIVATIVES.c if column.name != "run_id"]
    found = []
    for owner, first, last in ranges(connection, run_id, start, stop):
        query = _range(select(*names), _DERIVATIVES, owner, first, last)
        ordered = query.order_by(_DERIVATIVES.c.step, _DERIVATIVES.c.tensor, _DERIVATIVES.c.position)
        found += [DerivativeRow(**row._mapping) for row in connection.execute(ordered)]
    return found


def coordinate(
    connection: Connection, run_id: str, tensor: str, position: str, start: int, stop: int
) -> NDArray[np.float64]:
    """(3, n): steps, parameter and derivative of one coordinate at the steps start … stop − 1."""
    found: list[Row] = []
    names = (_DERIVATIVES.c.step, _DERIVATIVES.c.parameter, _DERIVATIVES.c.derivative)
    for owner, first, last in ranges(connection, run_id, start, stop):
        query = _range(select(*names), _DERIVATIVES, owner, first, last)
        query = query.where(_DERIVATIVES.c.tensor == tensor, _DERIVATIVES.c.position == position)
        found += connection.execute(query.order_by(_DERIVATIVES.c.step)).all()
    return columns(found, len(names))


def latest(connection: Connection, run_ids: Sequence[str]) -> LatestValues:
    """The last values of several runs, in a few queries for all of them together.

    A fork has only its own steps here. Runs in progress may have committed more since their rows were read.
    """
    found = LatestValues({}, {}, {}, {}, {}, frozenset())
    counted: set[str] = set()
    for some in portions(run_ids):
        last = (_RUNS.c.id == _STEPS.c.run_id) & (_STEPS.c.step == _RUNS.c.step - 1)
        query = select(_STEPS.c.run_id, _STEPS.c.step, _STEPS.c.cost, _STEPS.c.learning_rate)
        for row in connection.execute(query.join(_RUNS, last).where(_RUNS.c.id.in_(some))):
            found.steps[row.run_id] = (row.step, *(math.nan if value is None else value for value in row[2:]))
        last = (_RUNS.c.id == _DERIVATIVES.c.run_id) & (_DERIVATIVES.c.step == _RUNS.c.step - 1)
        for row in connection.execute(select(_DERIVATIVES).join(_RUNS, last).where(_RUNS.c.id.in_(some))):
            values = dict(row._mapping)
            found.derivatives.setdefault(values.pop("run_id"), []).append(DerivativeRow(**values))
        norms = _CHUNKS.c.run_id.in_(some), _CHUNKS.c.quantity == "norms"
        newest = select(_CHUNKS.c.run_id, func.max(_CHUNKS.c.first_step).label("step")).where(*norms)
        of_run = newest.group_by(_CHUNKS.c.run_id).subquery()
        same = (of_run.c.run_id == _CHUNKS.c.run_id) & (of_run.c.step == _CHUNKS.c.first_step)
        for row in connection.execute(select(_CHUNKS).join(of_run, same).where(_CHUNKS.c.quantity == "norms")):
            found.norms[row.run_id] = Chunk(**row._mapping)
        many = select(_CHUNKS.c.run_id).where(_CHUNKS.c.run_id.in_(some), _CHUNKS.c.quantity == "evaluations")
        counted.update(connection.execute(many.distinct()).scalars())
        _latest_evaluations(connection, some, found)
        _latest_samples(connection, some, found)
    return replace(found, counted=frozenset(counted))


def _latest_evaluations(connection: Connection, run_ids: Sequence[str], found: LatestValues) -> None:
    key = _EVALUATIONS.c.run_id, _EVALUATIONS.c.split
    newest = select(*key, func.max(_EVALUATIONS.c.step).label("step")).where(_EVALUATIONS.c.run_id.in_(run_ids))
    of_split = newest.group_by(*key).subquery()
    same = and_(*(of_split.c[name] == _EVALUATIONS.c[name] for name in ("run_id", "split", "step")))
    for row in connection.execute(select(_EVALUATIONS).join(of_split, same)):
        values = dict(row._mapping)
        found.evaluations.setdefault(values.pop("run_id"), []).append(EvaluationRow(**values))


def _latest_samples(connection: Connection, run_ids: Sequence[str], found: LatestValues) -> None:
    samples = tables.samples
    query = (
        select(_RUNS.c.id, samples.c.taken_at, samples.c.processor, samples.c.memory)
        .join(samples, samples.c.cohort_id == _RUNS.c.cohort_id)
        .where(_RUNS.c.id.in_(run_ids))
        .order_by(samples.c.taken_at)
    )
    for row in connection.execute(query):
        found.samples[row.id] = SampleRow(row.taken_at, row.processor, row.memory)


def chunks(connection: Connection, run_id: str, quantity: str, start: int, stop: int) -> list[Chunk]:
    """The chunks that overlap the range, from the last that begins at or before `start`."""
    of_run = _of_run(run_id, quantity)
    # The key has only the first steps of chunks; an earlier chunk may reach into the range.
    first = select(func.max(_CHUNKS.c.first_step)).where(*of_run, _CHUNKS.c.first_step <= start).scalar_subquery()
    query = (
        select(_CHUNKS)
        .where(*of_run, _CHUNKS.c.first_step >= func.coalesce(first, start), _CHUNKS.c.first_step < stop)
        .order_by(_CHUNKS.c.first_step)
    )
    found = [Chunk(**row._mapping) for row in connection.execute(query)]
    return [chunk for chunk in found if chunk.first_step + chunk.steps > start]


def chunk_bounds(connection: Connection, run_id: str, quantity: str, start: int, stop: int) -> list[tuple[int, int]]:
    """From the chunk before the one that holds `start` to the chunk after the one that holds `stop` − 1."""
    of_run = _of_run(run_id, quantity)
    holding = select(func.max(_CHUNKS.c.first_step)).where(*of_run, _CHUNKS.c.first_step <= start).scalar_subquery()
    before = select(func.max(_CHUNKS.c.first_step)).where(*of_run, _CHUNKS.c.first_step < holding).scalar_subquery()
    after = select(func.min(_CHUNKS.c.first_step)).where(*of_run, _CHUNKS.c.first_step >= stop).scalar_subquery()
    query = (
        select(_CHUNKS.c.first_step, _CHUNKS.c.steps)
        .where(
            *of_run,
            _CHUNKS.c.first_step >= func.coalesce(before, holding, 0),
            _CHUNKS.c.first_step <= func.coalesce(after, stop),
        )
        .order_by(_CHUNKS.c.first_step)
    )
    return [(row.first_step, row.first_step + row.steps) for row in connection.execute(query)]


def _of_run(run_id: str, quantity: str) -> tuple[ColumnElement[bool], ...]:
    return _CHUNKS.c.run_id == run_id, _CHUNKS.c.quantity == quantity


def latest_checkpoints(connection: Connection, run_ids: Sequence[str]) -> dict[str, tuple[int, bytes]]:
    """The last checkpoint (step, payload) by run."""
    found = {}
    for some in portions(run_ids):
        latest = (
            select(_CHECKPOINTS.c.run_id, func.max(_CHECKPOINTS.c.step).label("step"))
            .where(_CHECKPOINTS.c.run_id.in_(some))
            .group_by(_CHECKPOINTS.c.run_id)
            .subquery()
        )
        query = select(_CHECKPOINTS).join(
            latest, (latest.c.run_id == _CHECKPOINTS.c.run_id) & (latest.c.step == _CHECKPOINTS.c.step)
        )
        for row in connection.execute(query):
            found[row.run_id] = (row.step, _verified(row.run_id, row.step, row.digest, row.payload))
    return found


def checkpoint_before(connection: Connection, run_id: str, step: int) -> tuple[int, bytes] | None:
    """The last checkpoint at or before the step."""
    query = (
        select(_CHECKPOINTS)
        .where(_CHECKPOINTS.c.run_id == run_id, _CHECKPOINTS.c.step <= step)
        .order_by(_CHECKPOINTS.c.step.desc())
        .limit(1)
    )
    row = connection.execute(query).one_or_none()
    return None if row is None else (row.step, _verified(run_id, row.step, row.digest, row.payload))


def replay_basis(connection: Connection, run_id: str, start: int, end: int) -> ReplayBasis:
    """What steps `start` to `end` are recomputed from; three queries."""
    first, checkpoint = checkpoint_before(connection, run_id, start) or (0, None)
    (costs,) = _columns(connection, [_STEPS.c.cost], run_id, first, end)
    query = select(_CHECKPOINTS.c.step, _CHECKPOINTS.c.digest).where(
        _CHECKPOINTS.c.run_id == run_id, _CHECKPOINTS.c.step > first, _CHECKPOINTS.c.step <= end
    )
    return ReplayBasis(checkpoint, costs, {row.step: row.digest for row in connection.execute(query)})


def facts(connection: Connection) -> dict[str, str]:
    """The rows of the table `laboratory`."""
    return {row.key: row.value for row in connection.execute(select(tables.laboratory))}


def _range(
    query: Select[tuple[object, ...]], table: Table, run_id: str, start: int, stop: int | None
) -> Select[tuple[object, ...]]:
    query = query.where(table.c.run_id == run_id, table.c.step >= start)
    return query if stop is None else query.where(table.c.step < stop)


def _verified(run_id: str, step: int, digest: str, payload: bytes) -> bytes:
    try:
        codec.verify(payload, digest)
    except CorruptRecord as error:
        raise CorruptRecord(f"run {run_id}: checkpoint of step {step}: {error}") from error
    return payload


def ranges(connection: Connection, run_id: str, start: int, stop: int | None) -> list[Range]:
    """The runs that hold the rows of the steps start … stop − 1, oldest first; without a parent, the run itself."""
    found: list[Range] = []
    while True:
        query = select(_RUNS.c.parent_run_id, _RUNS.c.parent_step).where(_RUNS.c.id == run_id)
        row = connection.execute(query).one_or_none()
        if row is None or row.parent_run_id is None or start >= row.parent_step:
            return [(run_id, start, stop), *reversed(found)]
        if stop is None or stop > row.parent_step:
            found.append((run_id, row.parent_step, stop))
            stop = row.parent_step
        run_id = row.parent_run_id


def replace_chunk(connection: Connection, chunk: Chunk) -> None:
    """Replace the chunk of the same run, quantity and steps, or add it where none begins at its first step.

    Raises Conflict where the stored chunk has another number of steps.
    """
    stored = (*_of_run(chunk.run_id, chunk.quantity), _CHUNKS.c.first_step == chunk.first_step)
    held = connection.execute(select(_CHUNKS.c.steps).where(*stored)).scalar_one_or_none()
    if held not in (None, chunk.steps):
        raise Conflict(f"run {chunk.run_id}: {chunk.quantity} from step {chunk.first_step} on must be {held} steps")
    connection.execute(delete(_CHUNKS).where(*stored))
    connection.execute(insert(_CHUNKS).values(**vars(chunk)))


def replace_checkpoint(connection: Connection, run_id: str, step: int, payload: bytes) -> None:
    """Replace a damaged checkpoint by the bytes that have its digest; raises NotFound."""
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
