"""Find by id or name, make pages, and select the runs that a request names."""

from collections.abc import Iterator, Sequence
from typing import Any, TypeVar
from uuid import UUID

from sqlalchemy import Column, ColumnElement, Connection, Select, Table, case, or_, select

from talweg.errors import InvalidSpec, NotFound
from talweg.store import tables
from talweg.store.rows import Page

MAXIMUM = 1000

T = TypeVar("T")
_RUNS = tables.runs
# Far below the number of parameters that either database takes in one statement.
_AT_ONCE = 1000


def identify(connection: Connection, table: Table, kind: str, key_or_name: str, key: str = "id") -> str:
    """The key of the row in `table` with that key, else with that name; raises NotFound."""
    if storable(key_or_name):
        by_key = table.c[key] == key_or_name
        found = connection.execute(
            select(table.c[key]).where(or_(by_key, table.c.name == key_or_name)).order_by(case((by_key, 0), else_=1))
        ).scalar()
        if found is not None:
            return str(found)
    raise NotFound(f"{kind}: no {kind} has the {key} or name {key_or_name!r}")


def storable(value: str) -> bool:
    """Whether both databases accept the value: PostgreSQL takes no NUL, and neither takes a lone surrogate."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def page_query(
    query: Select[Any], identity: Column[Any], limit: int, cursor: str | None, *, oldest: bool = False
) -> Select[Any]:
    """Query one row more than a page, from `cursor` on: newest first, or oldest. Ids are uuid7, so they grow with time.

    Raises:
        InvalidSpec: The limit is out of range, or the cursor is no id.
    """
    if not 1 <= limit <= MAXIMUM:
        raise InvalidSpec(f"limit: must lie in [1, {MAXIMUM}], got {limit}")
    if cursor is not None:
        try:
            last = str(UUID(cursor))
            query = query.where(identity > last if oldest else identity < last)
        except ValueError:
            raise InvalidSpec(f"cursor: must be the cursor of an earlier page, got {cursor[:80]!r}") from None
    return query.order_by(identity if oldest else identity.desc()).limit(limit + 1)


def page_of(items: Sequence[T], ids: Sequence[str], limit: int) -> Page[T]:
    """A page of the rows of `page_query`, with the cursor of the next page if there is one."""
    return Page(list(items[:limit]), ids[limit - 1] if len(ids) > limit else None)


def chosen_runs(connection: Connection, run_ids: Sequence[str], study: str | None) -> Iterator[ColumnElement[bool]]:
    """Conditions that together select these runs, or those of the study; raises NotFound for the study."""
    if study is not None:
        yield _RUNS.c.study_id == identify(connection, tables.studies, "study", study)
    for some in portions(run_ids):
        yield _RUNS.c.id.in_(some)


def portions(values: Sequence[T]) -> Iterator[Sequence[T]]:
    """The values in slices that fit into one statement."""
    for start in range(0, len(values), _AT_ONCE):
        yield values[start : start + _AT_ONCE]
