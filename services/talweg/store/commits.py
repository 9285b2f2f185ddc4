"""A worker's commit: prepared outside of the transaction, written inside it, all or nothing.

Many rows at once: binary COPY on PostgreSQL, statements of many rows on SQLite. A worker writes while it trains, so the
time that matters is how long a write holds the interpreter's lock: SQLite takes hundreds of rows per acquisition, and
NumPy lays out PostgreSQL's bytes.
"""

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Table,
    and_,
    bindparam,
    case,
    delete,
    func,
    or_,
    select,
    tuple_,
    update,
)

from talweg.store import codec, leases, tables
from talweg.store.batch import Checkpoint, CommitBatch, DerivativeRows, Evaluation, Progress, StepRows
from talweg.store.rows import LIVE, Claim
from talweg.store.tables import FromNow

if TYPE_CHECKING:
    import psycopg

Row = Sequence[Any]
Block = tuple[str, int, NDArray[np.float64]]

# SQLite takes at most 32,766 values a statement.
_ROWS_AT_ONCE = 500
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_RUNS = tables.runs
_CHECKPOINTS = tables.checkpoints


@dataclass(frozen=True)
class Rows:
    """Rows of one table: Python values in the order of its columns."""

    table: Table
    values: Sequence[Row] = ()

    def insert(self, connection: Connection) -> None:
        """Write all rows inside the caller's transaction."""
        if not self.values:
            return
        if connection.dialect.name == "sqlite":
            for first in range(0, len(self.values), _ROWS_AT_ONCE):
                some = self.values[first : first + _ROWS_AT_ONCE]
                insertion = _insertion(self.table, len(some))
                _execute(connection, insertion, tuple(chain.from_iterable(some)))
            return
        with _copy(connection, self.table) as copy:
            copy.set_types([_type_of(column) for column in self.table.c])
            for row in self.values:
                copy.write_row(row)


@dataclass(frozen=True)
class Blocks:
    """Rows of a table (run_id, step, numbers …); a block is a run, its first step and the numbers (n, k).

    NaN becomes NULL and −0 becomes 0, as in `numbers`.
    """

    table: Table
    values: Sequence[Block] = ()

    def insert(self, connection: Connection) -> None:
        """Write all rows inside the caller's transaction."""
        if not self.values:
            return
        if connection.dialect.name == "sqlite":
            for run_id, start, block in self.values:
                for first in range(0, len(block), _ROWS_AT_ONCE):
                    some = block[first : first + _ROWS_AT_ONCE]
                    insertion = _block_insertion(self.table, len(some))
                    # SQLite stores NaN as NULL.
                    _execute(connection, insertion, (run_id, start + first, *(some + 0.0).ravel().tolist()))
            return
        with _copy(connection, self.table) as copy:
            copy.write(b"".join((_COPY_HEADER, *map(_tuples, self.values), _COPY_END)))


def numbers(column: NDArray[np.floating[Any]]) -> list[float | None]:
    """The column (n,) as Python floats, None for NaN; −0 becomes 0, since SQLite has no negative zero."""
    values: list[float | None] = (column.astype(np.float64, copy=False) + 0.0).tolist()
    for position in np.flatnonzero(np.isnan(column)):
        values[position] = None
    return values


def number(value: float | None) -> float | None:
    """One number, as in `numbers`."""
    return None if value is None or np.isnan(value) else float(value) + 0.0


def columns(rows: Iterable[Row], count: int) -> NDArray[np.float64]:
    """The inverse of `numbers`: rows as columns (count, n), NaN for NULL."""
    table = np.array([tuple(row) for row in rows], dtype=np.float64)
    return table.reshape(-1, count).T


def _execute(connection: Connection, statement: str, values: tuple[Any, ...]) -> None:
    # Without SQLAlchemy, which takes as long for a statement as SQLite for twenty rows.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute(statement, values)


@lru_cache(maxsize=256)
def _insertion(table: Table, rows: int) -> str:
    placeholders = ", ".join("?" * len(table.c))
    return _insertion_of(table, [placeholders] * rows)


@lru_cache(maxsize=256)
def _block_insertion(table: Table, rows: int) -> str:
    """Parameters 1 and 2 are the run and its first step, the others each row's numbers."""
    width = len(table.c) - 2
    numbered = (", ".join(f"?{3 + row * width + i}" for i in range(width)) for row in range(rows))
    return _insertion_of(table, [f"?1, ?2 + {row}, {placeholders}" for row, placeholders in enumerate(numbered)])


def _insertion_of(table: Table, rows: Sequence[str]) -> str:
    # Names are those of our own schema.
    return f"INSERT INTO {_with_columns(table)} VALUES {', '.join(f'({row})' for row in rows)}"  # noqa: S608


def _with_columns(table: Table) -> str:
    quoted = ", ".join(f'"{name}"' for name in table.c.keys())  # noqa: SIM118 - no dict
    return f'"{table.name}" ({quoted})'


@contextmanager
def _copy(connection: Connection, table: Table) -> "Iterator[psycopg.Copy]":
    driver: Any = connection.connection.driver_connection
    statement = f"COPY {_with_columns(table)} FROM STDIN (FORMAT BINARY)"
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        yield copy


def _tuples(block: Block) -> bytes:
    """A block in COPY's binary format: for each row the number of fields, for each field its length and bytes."""
    run_id, first, values = block
    key, (rows, width) = run_id.encode(), values.shape
    frame = [("fields", ">i2"), ("key_length", ">i4"), ("key", f"S{len(key)}"), ("step_length", ">i4"), ("step", ">i4")]
    fields = [(name, kind) for i in range(width) for name, kind in ((f"length{i}", ">i4"), (f"value{i}", ">f8"))]
    table = np.empty(rows, frame + fields)
    table["fields"], table["key_length"], table["key"], table["step_length"] = width + 2, len(key), key, 4
    table["step"] = np.arange(first, first + rows)
    for i in range(width):
        table[f"length{i}"], table[f"value{i}"] = 8, values[:, i] + 0.0
    missing = np.isnan(values)
    if not missing.any():
        return table.tobytes()
    # NULL has the length −1 and no bytes: rows with NULL are built one by one.
    return b"".join(
        _without(row.tobytes(), absent, width) if absent.any() else row.tobytes()
        for row, absent in zip(table, missing, strict=True)
    )


def _without(row: bytes, absent: NDArray[np.bool_], width: int) -> bytes:
    start = len(row) - 12 * width
    fields = (row[start + 12 * i : start + 12 * (i + 1)] for i in range(width))
    return row[:start] + b"".join(
        b"\xff\xff\xff\xff" if gone else field for gone, field in zip(absent, fields, strict=True)
    )


def _type_of(column: Column[Any]) -> str:
    for known, name in ((Integer, "int4"), (Double, "float8"), (LargeBinary, "bytea"), (Boolean, "bool")):
        if isinstance(column.type, known):
            return name
    return "text"


@dataclass(frozen=True)
class Prepared:
    """A batch as rows, ready to be written."""

    batch: CommitBatch
    rows: tuple[Rows | Blocks, ...]
    checkpoints: Rows
    run_ids: frozenset[str]


def prepare(batch: CommitBatch) -> Prepared:
    """Convert arrays to rows and compute digests; needs no database."""
    chunks = [tuple(getattr(chunk, name) for name in tables.chunks.c.keys()) for chunk in batch.chunks]  # noqa: SIM118
    rows = (
        Blocks(tables.steps, [_step_block(steps) for steps in batch.steps]),
        Rows(tables.evaluations, [_evaluation_row(row) for row in batch.evaluations]),
        Rows(tables.derivatives, [row for rows in batch.derivatives for row in _derivative_rows(rows)]),
        Rows(tables.chunks, chunks),
    )
    kept = [
        (made.run_id, made.step, made.kept, codec.digest_of(made.payload), made.payload)
        for made in _not_replaced(batch.checkpoints)
    ]
    checkpoints = Rows(_CHECKPOINTS, kept)
    recorded: Iterable[Any] = (
        *batch.steps, *batch.evaluations, *batch.derivatives, *batch.chunks, *batch.checkpoints
    )  # fmt: skip
    return Prepared(batch, rows, checkpoints, frozenset(part.run_id for part in recorded) | set(batch.progress))


def write(connection: Connection, claim: Claim, prepared: Prepared, *, again: bool) -> None:
    """Write everything under the claim's fence; raises LeaseLost before anything is written.

    With `again` the batch may be written already: then only the lease is extended. A commit in which a run makes
    progress resets the number of attempts, since a long training may lose many workers.
    """
    batch, before = prepared.batch, {run.id: run.step for run in claim.runs}
    foreign = prepared.run_ids - before.keys()
    if foreign:
        raise ValueError(f"commit: runs must be of cohort {claim.cohort_id}, got {', '.join(sorted(foreign))}")
    progressed = any(progress.step > before[run_id] for run_id, progress in batch.progress.items())
    leases.guard(connection, claim, lease_until=FromNow(batch.lease_seconds), **({"attempts": 1} if progressed else {}))
    if again and _is_written(connection, batch):
        return
    _write_progress(connection, batch)
    for rows in prepared.rows:
        rows.insert(connection)
    _write_checkpoints(connection, prepared.checkpoints)


def _is_written(connection: Connection, batch: CommitBatch) -> bool:
    """Whether its runs have the steps and states of the batch; under the fence only this batch can have set them."""
    if not batch.progress:
        return False
    query = select(_RUNS.c.id, _RUNS.c.step, _RUNS.c.state).where(_RUNS.c.id.in_(list(batch.progress)))
    found = {row.id: (row.step, row.state) for row in connection.execute(query)}
    return found == {run_id: (progress.step, progress.state) for run_id, progress in batch.progress.items()}


def _write_progress(connection: Connection, batch: CommitBatch) -> None:
    if not batch.progress:
        return
    # Not `not_in`: executemany takes no list as a parameter.
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
    replaced = or_(~_CHECKPOINTS.c.kept, tuple_(_CHECKPOINTS.c.run_id, _CHECKPOINTS.c.step).in_(made))
    # One statement for all runs: each one costs a round trip to PostgreSQL.
    connection.execute(delete(_CHECKPOINTS).where(_CHECKPOINTS.c.run_id.in_({run for run, _ in made}), replaced))
    checkpoints.insert(connection)


def _not_replaced(checkpoints: Sequence[Checkpoint]) -> list[Checkpoint]:
    """The checkpoints that no later one of the batch replaces."""
    latest: dict[str, int] = {}
    chosen: dict[tuple[str, int], Checkpoint] = {}
    for made in checkpoints:
        latest[made.run_id] = max(made.step, latest.get(made.run_id, 0))
        chosen[made.run_id, made.step] = made
    return [made for made in chosen.values() if made.kept or made.step == latest[made.run_id]]


def _step_block(rows: StepRows) -> Block:
    return rows.run_id, rows.first_step, np.stack([getattr(rows, name) for name in tables.steps.c.keys()[2:]], axis=1)


def _evaluation_row(row: Evaluation) -> Row:
    return (row.run_id, int(row.step), row.split, number(row.cost), number(row.metric))


def _derivative_rows(rows: DerivativeRows) -> Iterable[Row]:
    for offset in range(len(rows.parameter)):
        values = (numbers(array[offset]) for array in (rows.parameter, rows.derivative, rows.update))
        for (tensor, position), *value in zip(rows.coordinates, *values, strict=True):
            yield (rows.run_id, rows.first_step + offset, tensor, position, *value)
