"""Many rows at once: COPY in binary on PostgreSQL, statements of many rows on SQLite.

A worker writes while it trains, so what counts is how long it holds the interpreter's lock: SQLite takes a hundred
rows for one round through the lock, and PostgreSQL's bytes are laid out by NumPy.
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
from sqlalchemy import Boolean, Connection, Double, Integer, LargeBinary, Table

if TYPE_CHECKING:
    import psycopg

Row = Sequence[Any]
Block = tuple[str, int, NDArray[np.float64]]

# SQLite takes at most 32,766 values a statement.
_ROWS_AT_ONCE = 500
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"


@dataclass(frozen=True)
class Rows:
    """Rows of one table, whose values are Python's own and in the order of `columns`."""

    table: Table
    columns: tuple[str, ...]
    values: Sequence[Row] = ()

    def insert(self, connection: Connection) -> None:
        """Write them all, inside the caller's transaction."""
        if not self.values:
            return
        if connection.dialect.name == "sqlite":
            for first in range(0, len(self.values), _ROWS_AT_ONCE):
                some = self.values[first : first + _ROWS_AT_ONCE]
                insertion = _insertion(self.table.name, self.columns, len(some))
                _execute(connection, insertion, tuple(chain.from_iterable(some)))
            return
        with _copy(connection, self.table, self.columns) as copy:
            copy.set_types([_type_of(self.table, name) for name in self.columns])
            for row in self.values:
                copy.write_row(row)


@dataclass(frozen=True)
class Blocks:
    """Rows of a table (run_id, step, numbers …): of each block a run, its first step and the numbers (n, k).

    NaN becomes NULL, and −0 becomes 0, as in `numbers`.
    """

    table: Table
    columns: tuple[str, ...]
    values: Sequence[Block] = ()

    def insert(self, connection: Connection) -> None:
        """Write them all, inside the caller's transaction."""
        if not self.values:
            return
        if connection.dialect.name == "sqlite":
            for run_id, start, block in self.values:
                for first in range(0, len(block), _ROWS_AT_ONCE):
                    some = block[first : first + _ROWS_AT_ONCE]
                    insertion = _block_insertion(self.table.name, self.columns, len(some))
                    # SQLite itself makes NULL of NaN.
                    _execute(connection, insertion, (run_id, start + first, *(some + 0.0).ravel().tolist()))
            return
        with _copy(connection, self.table, self.columns) as copy:
            copy.write(b"".join((_COPY_HEADER, *map(_tuples, self.values), _COPY_END)))


def numbers(column: NDArray[np.floating[Any]]) -> list[float | None]:
    """The column (n,) as Python's floats, in which None stands for NaN; −0 becomes 0, since SQLite has one zero."""
    values: list[float | None] = (column.astype(np.float64, copy=False) + 0.0).tolist()
    for position in np.flatnonzero(np.isnan(column)):
        values[position] = None
    return values


def number(value: float | None) -> float | None:
    """One of Python's floats, as in `numbers`."""
    return None if value is None or np.isnan(value) else float(value) + 0.0


def columns(rows: Iterable[Row], count: int) -> NDArray[np.float64]:
    """What `numbers` came to, read back: (count, n), NaN for NULL."""
    table = np.array([tuple(row) for row in rows], dtype=np.float64)
    return table.reshape(-1, count).T


def _execute(connection: Connection, statement: str, values: tuple[Any, ...]) -> None:
    # Not through SQLAlchemy, which takes as long for a statement as SQLite for twenty rows.
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    driver.execute(statement, values)


@lru_cache(maxsize=256)
def _insertion(table: str, names: tuple[str, ...], rows: int) -> str:
    marks = ", ".join("?" * len(names))
    return _insertion_of(table, names, [marks] * rows)


@lru_cache(maxsize=256)
def _block_insertion(table: str, names: tuple[str, ...], rows: int) -> str:
    """The run and its first step are given once, then each row's numbers."""
    width = len(names) - 2
    numbered = (", ".join(f"?{3 + row * width + i}" for i in range(width)) for row in range(rows))
    return _insertion_of(table, names, [f"?1, ?2 + {row}, {marks}" for row, marks in enumerate(numbered)])


def _insertion_of(table: str, names: tuple[str, ...], rows: Sequence[str]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    # Names are those of our own schema.
    return f'INSERT INTO "{table}" ({quoted}) VALUES {", ".join(f"({row})" for row in rows)}'  # noqa: S608


@contextmanager
def _copy(connection: Connection, table: Table, names: tuple[str, ...]) -> "Iterator[psycopg.Copy]":
    driver: Any = connection.connection.driver_connection
    quoted = ", ".join(f'"{name}"' for name in names)
    statement = f'COPY "{table.name}" ({quoted}) FROM STDIN (FORMAT BINARY)'
    with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
        yield copy


def _tuples(block: Block) -> bytes:
    """A block in COPY's binary format: of each row the count of its fields, of each field its length and bytes."""
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
    # NULL has the length −1 and no bytes: such rows are cut together one by one.
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


def _type_of(table: Table, name: str) -> str:
    kind = table.c[name].type
    for known, spelled in ((Integer, "int4"), (Double, "float8"), (LargeBinary, "bytea"), (Boolean, "bool")):
        if isinstance(kind, known):
            return spelled
    return "text"
