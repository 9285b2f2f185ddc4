"""Totals and counters, samples of workers, signs of trouble, and what unfinished work waits for."""

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, case, func, insert, or_, select, update

from talweg.store import finding, leases, tables
from talweg.store.batch import Sample
from talweg.store.rows import LIVE, Claim, Meter, SampleRow
from talweg.store.tables import FromNow, Instant

_RUNS = tables.runs
_COUNTERS = tables.counters
LEASES_LOST = "leases_lost"
_SAMPLES = tables.samples
_COHORTS = tables.cohorts
_LEADERS = tables.leaders


def count(connection: Connection, name: str, times: int) -> None:
    """Add `times` to a counter."""
    if times == 0:
        return
    added = update(_COUNTERS).where(_COUNTERS.c.name == name).values(value=_COUNTERS.c.value + times)
    if connection.execute(added).rowcount == 0:
        connection.execute(insert(_COUNTERS).values(name=name, value=times))


def meter(connection: Connection) -> Meter:
    """Totals, by four queries; the one over all runs takes about 0.1 s per million runs."""
    states = select(_RUNS.c.state, func.count().label("runs"), func.sum(_RUNS.c.step).label("steps"))
    by_state = connection.execute(states.group_by(_RUNS.c.state)).all()
    waiting = connection.execute(
        select(
            func.count().label("runs"),
            func.coalesce(func.sum(_RUNS.c.step - _RUNS.c.mirrored_step), 0).label("steps"),
            func.min(_RUNS.c.mirrored_at).label("since"),
            FromNow().label("now"),
        ).where(_RUNS.c.unmirrored)
    ).one()
    lag = 0.0 if waiting.since is None else (waiting.now - waiting.since).total_seconds()
    return Meter(
        runs={row.state: int(row.runs) for row in by_state},
        cohorts=leases.counts(connection),
        steps=sum(int(row.steps) for row in by_state),
        unmirrored=int(waiting.runs),
        unmirrored_steps=int(waiting.steps),
        mirror_lag=max(0.0, lag),
        counters={row.name: int(row.value) for row in connection.execute(select(_COUNTERS))},
    )


@dataclass(frozen=True)
class Backlog:
    """How far the mirror is: `waiting` of all `runs` are not completely in MLflow.

    Attributes:
        seconds_left: At the pace of the last minute; None where no run got there in it.
    """

    runs: int
    waiting: int
    seconds_left: float | None


# Seconds over which the mirror's pace is measured.
_PACE = 60.0


def backlog(connection: Connection) -> Backlog:
    """How far the mirror is, by three counts; the one over all runs takes about 0.1 s per million runs."""
    runs = connection.execute(select(func.count()).select_from(_RUNS)).scalar_one()
    waiting = connection.execute(select(func.count()).where(_RUNS.c.unmirrored)).scalar_one()
    if not waiting:
        return Backlog(runs, 0, 0.0)
    recent = ~_RUNS.c.unmirrored & (_RUNS.c.mirrored_at >= FromNow(-_PACE))
    done = connection.execute(select(func.count()).where(recent)).scalar_one()
    return Backlog(runs, waiting, waiting * _PACE / done if done else None)


def add_sample(connection: Connection, claim: Claim, sample: Sample) -> None:
    """Add a sample, at the database's time. No fence is checked: the row names its claim, and no work depends on it."""
    own = {"cohort_id": claim.cohort_id, "fence": claim.fence, "number": sample.number}
    there = select(_SAMPLES.c.number).filter_by(**own)
    if connection.execute(there).first() is None:
        taken = {"taken_at": FromNow(), "processor": sample.processor, "memory": sample.memory}
        connection.execute(insert(_SAMPLES).values(**own, **taken))


def samples_of(connection: Connection, cohort_id: str) -> list[SampleRow]:
    """Samples by claim, then by number: the order in which they were taken."""
    query = (
        select(_SAMPLES.c.taken_at, _SAMPLES.c.processor, _SAMPLES.c.memory)
        .where(_SAMPLES.c.cohort_id == cohort_id)
        .order_by(_SAMPLES.c.fence, _SAMPLES.c.number)
    )
    return [SampleRow(**row._mapping) for row in connection.execute(query)]


@dataclass(frozen=True)
class Signs:
    """Signs of trouble, by the database's clock.

    Attributes:
        waiting: Cohorts that a worker may claim; `waiting_seconds` is how long the first of them has waited.
        working: Cohorts with a valid lease; `silent` those whose lease ran out and that are not queued again yet.
        failed: Runs that failed; `reason` is the last line of one's error.
        stopped: The error of database or disk for which a worker released a cohort that has not continued since.
        reconciler: The owner that leads, None where none does.
        unmirrored: Runs that MLflow does not have completely; `unmirrored_seconds` since the mirror read one.
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
    """Signs of trouble; each query reads an index."""
    now = connection.execute(select(FromNow())).scalar_one()
    waiting = connection.execute(
        select(func.count(), func.min(_COHORTS.c.queued_at, type_=Instant())).where(leases.WAITS)
    )
    count, since = waiting.one()
    valid = case((_COHORTS.c.lease_until >= FromNow(), 1), else_=0)
    held = connection.execute(select(func.count(), func.sum(valid)).where(_COHORTS.c.state == "leased")).one()
    failed = connection.execute(select(func.count()).where(_RUNS.c.state == "failed")).scalar_one()
    last = select(_RUNS.c.error).where(_RUNS.c.state == "failed").order_by(_RUNS.c.id.desc()).limit(1)
    reason = connection.execute(last).scalar()
    outside_cause = or_(_COHORTS.c.error.startswith("database: "), _COHORTS.c.error.startswith("disk: "))
    stopped = select(_COHORTS.c.error).where(leases.WAITS, outside_cause).limit(1)
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


@dataclass(frozen=True)
class Waits:
    """What the cohorts of some live runs wait for, by the database's clock.

    Attributes:
        held: How many of these cohorts have a valid lease.
        silent: The owner of one whose lease ran out; `silent_seconds` since then.
        queued: How many a worker may claim; `unpublished` how many of these were not published yet.
        paused: How many are paused.
        ahead: Cohorts of the laboratory that were queued before the first of these.
        working: Cohorts of the laboratory with a valid lease.
        stopped: The database's error for which a worker released one of these cohorts.
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
    """What the run of that id waits for, or the study of that id or name; raises NotFound for the study."""
    which = _RUNS.c.id == run_id
    if study is not None:
        which = _RUNS.c.study_id == finding.identify(connection, tables.studies, "study", study)
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
    query = select(func.count()).where(leases.WAITS, before)
    return int(connection.execute(query).scalar_one())


def _working(connection: Connection, now: datetime) -> int:
    query = select(func.count()).where(_COHORTS.c.state == "leased", _COHORTS.c.lease_until >= now)
    return int(connection.execute(query).scalar_one())
