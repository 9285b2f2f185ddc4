"""What a token may hold at once. Counted after the new rows are in, in the same transaction: so no two can slip by."""

from collections.abc import Sequence

from sqlalchemy import Connection, func, insert, select

from talweg.errors import LimitReached
from talweg.store import tables
from talweg.store.rows import LIVE, Limits

_RUNS = tables.runs
_CHARGES = tables.charges
_TOKENS = tables.tokens
_DATASETS = tables.datasets


def hold(connection: Connection, token: str) -> None:
    """Let no other submission of this token count before this one is through (SQLite has one writer anyway)."""
    connection.execute(select(_TOKENS.c.digest).where(_TOKENS.c.digest == token).with_for_update())


def charge(connection: Connection, token: str, limits: Limits, cohort_ids: Sequence[str]) -> None:
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
