"""One at a time: a lease on a role, by the database's clock."""

from sqlalchemy import Connection, delete, or_
from sqlalchemy.dialects import postgresql, sqlite

from talweg.store import tables
from talweg.store.types import FromNow

_LEADERS = tables.leaders


def lead(connection: Connection, role: str, owner: str, seconds: float) -> bool:
    """One statement decides: a new lease, one's own extended, or another's that ran out."""
    build = sqlite.insert if connection.dialect.name == "sqlite" else postgresql.insert
    mine = {"owner": owner[:300], "lease_until": FromNow(seconds)}
    taken = connection.execute(
        build(_LEADERS)
        .values(role=role, **mine)
        .on_conflict_do_update(
            index_elements=[_LEADERS.c.role],
            set_=mine,
            where=or_(_LEADERS.c.owner == owner[:300], _LEADERS.c.lease_until < FromNow()),
        )
        .returning(_LEADERS.c.owner)
    )
    return taken.first() is not None


def step_down(connection: Connection, role: str, owner: str) -> None:
    """The lease ends now."""
    connection.execute(delete(_LEADERS).where(_LEADERS.c.role == role, _LEADERS.c.owner == owner[:300]))
