"""Access tokens, of which only digests are stored, and their quotas: what a token may hold at once."""

from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import Connection, Row, func, insert, select, update

from talweg.errors import Conflict, LimitReached, NotFound
from talweg.store import tables
from talweg.store.rows import LIVE, Json, Limits, TokenRow
from talweg.store.tables import FromNow

_TOKENS = tables.tokens
_RUNS = tables.runs
_CHARGES = tables.charges
_DATASETS = tables.datasets


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


def hold_quota(connection: Connection, token: str) -> None:
    """Let no other submission of this token count before this one is through (SQLite has one writer anyway)."""
    connection.execute(select(_TOKENS.c.digest).where(_TOKENS.c.digest == token).with_for_update())


def charge_quota(connection: Connection, token: str, limits: Limits, cohort_ids: Sequence[str]) -> None:
    """New cohorts count against `token` from here on; raises LimitReached, and then nothing is written."""
    if cohort_ids:
        connection.execute(insert(_CHARGES), [{"cohort_id": cohort, "token": token} for cohort in cohort_ids])
    if limits.runs is None and limits.steps is None:
        return
    query = (
        select(
            func.count().label("runs"), func.coalesce(func.sum(_RUNS.c.total_steps - _RUNS.c.step), 0).label("steps")
        )
        .select_from(_CHARGES.join(_RUNS, _RUNS.c.cohort_id == _CHARGES.c.cohort_id))
        .where(_CHARGES.c.token == token, _RUNS.c.state.in_(LIVE))
    )
    held = connection.execute(query).one()
    _refuse("runs that are queued or running", held.runs, limits.runs)
    _refuse("steps still to be made", held.steps, limits.steps)


def check_bytes(connection: Connection, token: str, limits: Limits) -> None:
    """Raises LimitReached where the token's datasets take more bytes than it may hold."""
    if limits.bytes is not None:
        query = select(func.coalesce(func.sum(_DATASETS.c.size), 0)).where(_DATASETS.c.token == token)
        _refuse("bytes of datasets", connection.execute(query).scalar_one(), limits.bytes)


def _refuse(what: str, held: int, limit: int | None) -> None:
    if limit is not None and held > limit:
        raise LimitReached(f"token: may hold {limit} {what}, would hold {int(held)}")
