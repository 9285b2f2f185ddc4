"""A laboratory's database: its connections, and the transactions that everything else is made in."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Self

from sqlalchemy import Connection, Engine

from talweg.store.engine import room, translated
from talweg.store.rows import Limits


class Database:
    """May be shared between threads; a process opens its own."""

    def __init__(self, engine: Engine) -> None:
        """`open_store` is how one is made."""
        self._engine = engine
        self._writer = engine.execution_options(talweg_writes=True)
        self._charged: tuple[str, Limits] | None = None

    def on_behalf(self, token: str, limits: Limits) -> Self:
        """The same store, whose new runs and datasets count against the token of this digest and its limits."""
        charged = type(self)(self._engine)
        charged._charged = (token, limits)
        return charged

    def __enter__(self) -> Self:
        """The store itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close."""
        self.close()

    def close(self) -> None:
        """Close every connection; one that a thread still uses closes when the thread is done with it."""
        self._engine.dispose()
        # Of the pool that SQLAlchemy makes anew: a thread that asks later leaves no open connection behind either.
        self._engine.pool.dispose()

    def ping(self) -> None:
        """Raises Unreachable where the database does not answer."""
        with self._read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def ping_writing(self) -> None:
        """Raises Unreachable where the database takes no writes: SQLite waits half a minute for whoever locks it."""
        with self._write() as connection:
            connection.exec_driver_sql("SELECT 1")

    def check(self) -> None:
        """Raises Unreachable where the database does not answer, TalwegError where its schema is not this version's."""
        from talweg.store import migrate

        with self._read() as connection:
            migrate.check_revision(connection)

    def room(self) -> tuple[Path, int] | None:
        """The folder that grows with the records, and the bytes that are free there; None where that is unknown."""
        return room(self._engine.url)

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine: for tests, exports and people; nothing else of ours writes SQL."""
        return self._engine

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(self._engine.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with translated(self._engine.url), self._writer.begin() as connection:
            yield connection
