"""Many rows at once: COPY in binary on PostgreSQL, one prepared statement on SQLite."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
import psycopg
from numpy.typing import NDArray
from sqlalchemy import Boolean, Connection, Double, Integer, LargeBinary, Table

Row = Sequence[Any]


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
            connection.exec_driver_sql(_insertion(self.table.name, self.columns), [tuple(row) for row in self.values])
            return
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        names = ", ".join(f'"{name}"' for name in self.columns)
        statement = f'COPY "{self.table.name}" ({names}) FROM STDIN (FORMAT BINARY)'
        with driver.cursor() as cursor, cursor.copy(statement.encode()) as copy:
            copy.set_types([_type_of(self.table, name) for name in self.columns])
            for row in self.values:
                copy.write_row(row)


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


@cache
def _insertion(table: str, names: tuple[str, ...]) -> str:
    quoted = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    # Names are those of our own schema.
    return f'INSERT INTO "{table}" ({quoted}) VALUES ({marks})'  # noqa: S608


def _type_of(table: Table, name: str) -> str:
    kind = table.c[name].type
    for known, spelled in ((Integer, "int4"), (Double, "float8"), (LargeBinary, "bytea"), (Boolean, "bool")):
        if isinstance(kind, known):
            return spelled
    return "text"
