"""What the unfinished work of a run or a study waits for, as far as the database knows."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, or_, select

from talweg.store import pages, tables
from talweg.store.rows import LIVE
from talweg.store.types import FromNow

_COHORTS = tables.cohorts
_RUNS = tables.runs


@dataclass(frozen=True)
class Waits:
    """The cohorts in which its live runs are, as of now, by the database's clock.

    Attributes:
        held: How many of them a worker holds whose lease stands.
        silent: Who held one whose lease ran out, and `silent_seconds` since then.
        queued: How many anyone may claim, and `unpublished` how many of these no message was sent for yet.
        paused: How many are paused.
        ahead: Cohorts of the laboratory that were queued before the first of these.
        working: Cohorts of the laboratory that a worker holds whose lease stands.
        stopped: The database's trouble for which a worker left one of them.
    """

    held: int = 0
    silent: str | None = None
    silent_seconds: float = 0.0
    queued: int = 0
    unpublished: int = 0
    paused: int = 0
    ahead: int = 0
    working: int = 0
    stopped: str | None = None


def waits(connection: Connection, run_id: str | None, study: str | None) -> Waits:
    """Of a run's id, or of a study's id or name; raises NotFound for the study."""
    which = _RUNS.c.id == run_id
    if study is not None:
        which = _RUNS.c.study_id == pages.identify(connection, tables.studies, "study", study)
    now = connection.execute(select(FromNow())).scalar_one()
    mine = _COHORTS.c.id.in_(select(_RUNS.c.cohort_id).where(which, _RUNS.c.state.in_(LIVE)))
    columns = ("id", "state", "owner", "lease_until", "paused", "queued_at", "published_at", "error")
    found = connection.execute(select(*(_COHORTS.c[name] for name in columns)).where(mine)).all()
    leased = [cohort for cohort in found if cohort.state == "leased"]
    silent = min((cohort for cohort in leased if cohort.lease_until < now), key=lambda c: c.lease_until, default=None)
    queued = [cohort for cohort in found if cohort.state == "queued" and not cohort.paused]
    first = min(((cohort.queued_at, cohort.id) for cohort in queued), default=None)
    stopped = (cohort.error for cohort in queued if (cohort.error or "").startswith("database: "))
    return Waits(
        held=sum(cohort.lease_until >= now for cohort in leased),
        silent=None if silent is None else silent.owner,
        silent_seconds=0.0 if silent is None else (now - silent.lease_until).total_seconds(),
        queued=len(queued),
        unpublished=sum(cohort.published_at is None for cohort in queued),
        paused=sum(cohort.state == "queued" and cohort.paused for cohort in found),
        ahead=0 if first is None else _ahead(connection, *first),
        working=_working(connection, now),
        stopped=next(stopped, None),
    )


def _ahead(connection: Connection, queued_at: datetime, cohort_id: str) -> int:
    at = _COHORTS.c.queued_at
    before = or_(at < queued_at, and_(at == queued_at, _COHORTS.c.id < cohort_id))
    query = select(func.count()).where(_COHORTS.c.state == "queued", ~_COHORTS.c.paused, before)
    return int(connection.execute(query).scalar_one())


def _working(connection: Connection, now: datetime) -> int:
    query = select(func.count()).where(_COHORTS.c.state == "leased", _COHORTS.c.lease_until >= now)
    return int(connection.execute(query).scalar_one())
