"""A laboratory's database: connections to SQLite and PostgreSQL, and the transactions on them."""

import os
import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import sqlalchemy
from sqlalchemy import URL, Connection, Engine, QueuePool, event, exc, make_url
from sqlalchemy.pool import ConnectionPoolEntry

from talweg.errors import Conflict, DiskFull, NotWritable, TalwegError, Unreachable
from talweg.store.rows import Limits

if TYPE_CHECKING:
    import psycopg

_BUSY_SECONDS = 30
# Bytes that SQLite may need at once in addition to what is written.
_LEAST = 1_000_000
# How long a stopped process may block others, in milliseconds.
_POSTGRESQL_LIMITS = {
    "lock_timeout": 30_000,
    "idle_in_transaction_session_timeout": 30_000,
    "statement_timeout": 120_000,
}
# When the network is cut, neither side receives anything, not even the end of the connection. Without keepalive probes
# a worker would wait for hours, and PostgreSQL would keep the locks of a vanished worker in the middle of a COPY, which
# no other limit ends. A connection ends after 5 + 3 × 5 seconds without an answer, less than a lease. Unix sockets need
# no probes.
_CLIENT_KEEPALIVE = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
_SERVER_KEEPALIVE = {
    "tcp_keepalives_idle": 5,
    "tcp_keepalives_interval": 5,
    "tcp_keepalives_count": 3,
    "tcp_user_timeout": 20_000,
}


def parse(url: str) -> URL:
    """The URL with its driver; raises TalwegError, which does not contain the URL's password."""
    try:
        parsed = make_url(url)
    except exc.ArgumentError:
        raise TalwegError("database_url: must look like sqlite:///PATH or postgresql://USER@HOST/NAME") from None
    backend = parsed.drivername.split("+")[0]
    if backend in ("postgresql", "postgres"):
        return parsed.set(drivername="postgresql+psycopg")
    if backend == "sqlite" and parsed.database not in (None, "", ":memory:"):
        return parsed
    raise TalwegError(f"database_url: must be sqlite:///PATH or postgresql://…, got {parsed.render_as_string()}")


def create_engine(url: str, *, migrates: bool = False) -> Engine:
    """An engine whose writers (execution option `talweg_writes`) take SQLite's write lock when they begin.

    SQLite: WAL, so readers never wait; synchronous FULL, so commits survive a power cut and not only a crash (one sync
    per commit, and commits are few); foreign keys on. PostgreSQL: times in UTC, results in binary, and limits on how
    long a stopped process can hold locks; an engine that `migrates` has neither of the last two: a migration is long,
    waits for another's lock, and reads the catalogue. A connection whose other side has vanished is closed after 20
    seconds, by client and server, unless the URL sets it otherwise.
    """
    parsed = parse(url)
    if parsed.get_backend_name() == "sqlite":
        engine = sqlalchemy.create_engine(parsed, poolclass=_Pool, connect_args={"timeout": _BUSY_SECONDS})
        event.listen(engine, "connect", _set_up_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine
    options = {"timezone": "UTC"} | _SERVER_KEEPALIVE | ({} if migrates else _POSTGRESQL_LIMITS)
    defaults = {"application_name": "talweg", "connect_timeout": 10} | _CLIENT_KEEPALIVE
    engine = sqlalchemy.create_engine(
        parsed,
        poolclass=_Pool,
        pool_pre_ping=True,
        connect_args={
            **{name: value for name, value in defaults.items() if name not in parsed.query},
            "options": " ".join(f"-c {name}={value}" for name, value in options.items()),
        },
    )
    if not migrates:
        event.listen(engine, "connect", _set_up_postgresql)
    return engine


def make_file(url: URL) -> None:
    """Create the URL's SQLite file if it does not exist, readable by its owner alone; raises NotWritable."""
    if url.get_backend_name() != "sqlite" or url.database is None:
        return
    path = Path(url.database)
    try:
        # SQLite gives its -wal and -shm files the same mode.
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
    except OSError as error:
        raise NotWritable(f"database: {path} cannot be written: {error.strerror}") from error


def room(url: URL) -> tuple[Path, int] | None:
    """The folder of a SQLite file and the bytes that are free there; None for a server, whose disk is unknown."""
    if url.get_backend_name() != "sqlite" or url.database is None:
        return None
    folder = Path(url.database).resolve().parent
    try:
        return folder, shutil.disk_usage(folder).free
    except OSError:
        return None


@contextmanager
def translated(url: URL | None = None) -> Iterator[None]:
    """Translate the drivers' errors into the laboratory's; the messages contain no SQL and no values.

    `url` names the database; where its disk is full, the message says how much is free.
    """
    try:
        yield
    except exc.TimeoutError as error:
        raise Unreachable("database: no connection was free in time") from error
    # SQLAlchemy wraps the errors of queries, but not those of COPY or of setting up a connection.
    except _drivers_errors() as error:
        reason = str(getattr(error, "orig", None) or error).strip()
        translation = _translation(error, reason, None if url is None else room(url))
        if translation is None:
            raise
        raise translation from error


def _drivers_errors() -> tuple[type[Exception], ...]:
    # Not imported here: a laboratory in a SQLite file does not need psycopg.
    psycopg = sys.modules.get("psycopg")
    own: tuple[type[Exception], ...] = (exc.DBAPIError, sqlite3.Error)
    return own if psycopg is None else (*own, psycopg.Error)


def _translation(error: Exception, reason: str, room: tuple[Path, int] | None) -> TalwegError | None:
    kind = type(error).__name__
    if _is_full(error, reason, room):
        free = "" if room is None else f", {room[1] / 1e6:.1f} MB are free in {room[0]}"
        return DiskFull(f"database: {reason}{free}; make room, then waiting work continues by itself")
    # psycopg derives a class for each of PostgreSQL's codes from these.
    if any(base.__name__ in ("OperationalError", "InterfaceError") for base in type(error).__mro__):
        if "unable to open database file" in reason or "readonly database" in reason:
            return NotWritable(f"database: {reason}")
        return Unreachable(f"database: {reason}")
    if "permission denied" in reason or type(getattr(error, "orig", None)).__name__ == "InsufficientPrivilege":
        return NotWritable(f"database: this role may not do it: {reason}; connect as the owner of the tables")
    if "UNIQUE constraint failed" in reason or "violates unique constraint" in reason:
        return Conflict(f"database: a row with this name or id exists already: {reason}")
    # What SQLite raises for a file that is damaged or is no database.
    return TalwegError(f"database: {reason}") if kind == "DatabaseError" else None


def _is_full(error: Exception, reason: str, room: tuple[Path, int] | None) -> bool:
    if type(getattr(error, "orig", None) or error).__name__ == "DiskFull" or "disk is full" in reason:
        return True
    # SQLite's message where a sync, or the index of the WAL, finds no room.
    return "disk I/O error" in reason and room is not None and room[1] < _LEAST


class _Pool(QueuePool):
    """A pool that also closes connections returned after `dispose`; SQLAlchemy's own keeps them open."""

    _disposed = False

    def dispose(self) -> None:
        self._disposed = True
        super().dispose()

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self._disposed:
            super().dispose()


def _set_up_postgresql(connection: "psycopg.Connection[Any]", _: Any) -> None:
    connection.cursor_factory = _binary_cursor()


@cache
def _binary_cursor() -> "type[psycopg.Cursor[Any]]":
    from psycopg import Cursor, pq

    class BinaryCursor(Cursor[Any]):
        """Results in binary: as text, a payload is twice as long and has to be parsed."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            self.format = pq.Format.BINARY

    return BinaryCursor


def _set_up_sqlite(connection: sqlite3.Connection, _: Any) -> None:
    # Stops the driver from beginning transactions itself; `_begin_sqlite` does.
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout={_BUSY_SECONDS * 1000}")
    # Applies to a new file; one with tables keeps its page size. Most writes are payloads of some ten kilobytes: with
    # the usual pages of 4 KiB their commits take half as long again.
    connection.execute("PRAGMA page_size=16384")
    _turn_on_wal(connection)
    # temp_store: queries sort in memory, so reading works on a full disk.
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-16000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _turn_on_wal(connection: sqlite3.Connection) -> None:
    """Switch to WAL. While another process does so in a new file, SQLite fails at once, despite its busy timeout."""
    deadline = time.monotonic() + _BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A transaction that reads first and writes later fails at once if another process wrote in between.
    writes = connection.get_execution_options().get("talweg_writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


class Database:
    """A database and its transactions. Threads may share one; each process opens its own."""

    def __init__(self, engine: Engine) -> None:
        """Called by `open_store`."""
        self._engine = engine
        self._writer = engine.execution_options(talweg_writes=True)
        self._charged: tuple[str, Limits] | None = None

    def on_behalf(self, token: str, limits: Limits) -> Self:
        """The same store, which charges new runs and datasets to the token of this digest, with these limits."""
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
        # SQLAlchemy has made a new pool: a thread that queries later must leave no open connection there either.
        self._engine.pool.dispose()

    def ping(self) -> None:
        """Raises Unreachable where the database does not answer."""
        with self._read() as connection:
            connection.exec_driver_sql("SELECT 1")

    def ping_writing(self) -> None:
        """Raises Unreachable where the database takes no writes; SQLite waits up to 30 s for another's lock."""
        with self._write() as connection:
            connection.exec_driver_sql("SELECT 1")

    def room(self) -> tuple[Path, int] | None:
        """The folder of the database and the bytes that are free there; None where that is unknown."""
        return room(self._engine.url)

    @property
    def engine(self) -> Engine:
        """SQLAlchemy's engine, for tests, exports and ad hoc queries; no other code of ours writes SQL."""
        return self._engine

    @contextmanager
    def _read(self) -> Iterator[Connection]:
        with translated(self._engine.url), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _write(self) -> Iterator[Connection]:
        with translated(self._engine.url), self._writer.begin() as connection:
            yield connection
