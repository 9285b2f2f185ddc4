"""Column types and clock expressions that mean the same on SQLite and PostgreSQL."""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Dialect, Float, String, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.expression import ColumnElement, FunctionElement
from sqlalchemy.types import TypeDecorator

# PostgreSQL compares ids by their bytes; a locale's order would be slower and could differ between machines.
Id = String(36).with_variant(String(36, collation="C"), "postgresql")


class Instant(TypeDecorator[datetime]):
    """A moment: aware and in UTC in Python, `timestamptz` on PostgreSQL, text in UTC on SQLite."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """SQLite's text has no zone, so what goes there must be in UTC."""
        return None if value is None else value.astimezone(UTC)

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """As it was, with its zone."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class FromNow(FunctionElement[datetime]):
    """The database's clock, plus so many seconds: a number, or an expression of one."""

    type = Instant()
    inherit_cache = True

    def __init__(self, seconds: float | ColumnElement[Any] = 0.0) -> None:
        """Seconds may be negative."""
        super().__init__(seconds if isinstance(seconds, ColumnElement) else literal(float(seconds), Float))


@compiles(FromNow, "sqlite")
def _sqlite(element: FromNow, compiler: SQLCompiler, **kw: Any) -> str:
    # The format in which SQLAlchemy keeps a time as text, so that comparing texts compares times.
    seconds = compiler.process(element.clause_expr, **kw)
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', {seconds} || ' seconds')"


@compiles(FromNow, "postgresql")
def _postgresql(element: FromNow, compiler: SQLCompiler, **kw: Any) -> str:
    # Not now(): that is when the transaction began, which may have waited for a lock since.
    seconds = compiler.process(element.clause_expr, **kw)
    return f"(clock_timestamp() + make_interval(secs => {seconds}))"
