"""Access tokens, of which only digests are here."""

from datetime import datetime

from sqlalchemy import Connection, Row, insert, select, update

from talweg.errors import Conflict, NotFound
from talweg.store import tables
from talweg.store.rows import Json, TokenRow
from talweg.store.types import FromNow

_TOKENS = tables.tokens


def add(
    connection: Connection,
    digest: str,
    name: str,
    scopes: tuple[str, ...],
    expires_at: datetime | None,
    limits: Json | None = None,
) -> None:
    """A new row; raises Conflict where the digest is known, or a token of that name is not revoked."""
    if find(connection, digest) is not None:
        raise Conflict(f"token {name}: is known already")
    live = select(_TOKENS.c.digest).where(_TOKENS.c.name == name, _TOKENS.c.revoked_at.is_(None))
    if connection.execute(live.limit(1)).first() is not None:
        raise Conflict(f"token {name}: the name is taken; revoke that one first, or take another name")
    connection.execute(
        insert(_TOKENS).values(
            digest=digest,
            name=name,
            scopes=list(scopes),
            created_at=FromNow(),
            expires_at=expires_at,
            limits=limits,
        )
    )


def find(connection: Connection, digest: str) -> TokenRow | None:
    """The row of this digest, whatever became of it."""
    row = connection.execute(select(_TOKENS).where(_TOKENS.c.digest == digest)).one_or_none()
    return None if row is None else _row(row)


def all_of_them(connection: Connection) -> list[TokenRow]:
    """By name, then age."""
    ordered = select(_TOKENS).order_by(_TOKENS.c.name, _TOKENS.c.created_at)
    return [_row(row) for row in connection.execute(ordered)]


def revoke(connection: Connection, name: str) -> None:
    """End every live token of that name; raises NotFound where there is none."""
    ended = connection.execute(
        update(_TOKENS).where(_TOKENS.c.name == name, _TOKENS.c.revoked_at.is_(None)).values(revoked_at=FromNow())
    )
    if ended.rowcount == 0:
        raise NotFound(f"token {name}: there is none, or it was revoked before")


def _row(row: Row[tuple[object, ...]]) -> TokenRow:
    values = dict(row._mapping)
    return TokenRow(**(values | {"scopes": tuple(values["scopes"])}))
