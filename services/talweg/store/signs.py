"""Signs of trouble, for people who ask what is wrong: what waits, what failed, what nobody does."""

from dataclasses import dataclass

from sqlalchemy import Connection, case, func, or_, select

from talweg.store import tables
from talweg.store.types import FromNow, Instant

_COHORTS = tables.cohorts
_RUNS = tables.runs
_LEADERS = tables.leaders


@dataclass(frozen=True)
class Signs:
    """As of now, by the database's clock.

    Attributes:
        waiting: Cohorts that anyone may claim; `waiting_seconds` is how long the first of them has.
        working: Cohorts whose lease stands, and `silent` those whose lease ran out with nobody taking them back.
        failed: Runs that failed, and `reason`, the last line of what one of them said.
        stopped: What the trouble of database or disk was for which a worker left a cohort that has not gone on since.
        reconciler: Who leads, None where nobody does.
        unmirrored: Runs of which MLflow does not know everything; `unmirrored_seconds` since one was looked at.
    """

    waiting: int
    waiting_seconds: float
    working: int
    silent: int
    failed: int
    reason: str | None
    stopped: str | None
    reconciler: str | None
    unmirrored: int
    unmirrored_seconds: float


def signs(connection: Connection) -> Signs:
    """Read them; each is a look at an index."""
    now = connection.execute(select(FromNow())).scalar_one()
    queued = (_COHORTS.c.state == "queued", ~_COHORTS.c.paused)
    waiting = connection.execute(select(func.count(), func.min(_COHORTS.c.queued_at, type_=Instant())).where(*queued))
    count, since = waiting.one()
    stands = case((_COHORTS.c.lease_until >= FromNow(), 1), else_=0)
    held = connection.execute(select(func.count(), func.sum(stands)).where(_COHORTS.c.state == "leased")).one()
    failed = connection.execute(select(func.count()).where(_RUNS.c.state == "failed")).scalar_one()
    last = select(_RUNS.c.error).where(_RUNS.c.state == "failed").order_by(_RUNS.c.id.desc()).limit(1)
    reason = connection.execute(last).scalar()
    outside = or_(_COHORTS.c.error.startswith("database: "), _COHORTS.c.error.startswith("disk: "))
    stopped = select(_COHORTS.c.error).where(*queued, outside).limit(1)
    leads = select(_LEADERS.c.owner).where(_LEADERS.c.role == "reconciler", _LEADERS.c.lease_until >= FromNow())
    behind = connection.execute(
        select(func.count(), func.min(_RUNS.c.mirrored_at, type_=Instant())).where(_RUNS.c.unmirrored)
    ).one()
    return Signs(
        waiting=count,
        waiting_seconds=0.0 if since is None else (now - since).total_seconds(),
        working=int(held[1] or 0),
        silent=held[0] - int(held[1] or 0),
        failed=failed,
        reason=None if reason is None else _last_line(reason),
        stopped=connection.execute(stopped).scalar(),
        reconciler=connection.execute(leads).scalar(),
        unmirrored=behind[0],
        unmirrored_seconds=0.0 if behind[1] is None else (now - behind[1]).total_seconds(),
    )


def _last_line(text: str) -> str:
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    return lines[-1][:300] if lines else ""
