"""Leases: which worker may write a cohort's records, and which process leads a role; all times are the database's.

A claim raises the cohort's fence. Every write for the cohort goes through `guard`, which updates the one row that has
this fence and is leased: a worker that lost its claim changes nothing, however late it writes. A lease that ran out
stays valid until the cohort is queued again or claimed.
"""

from collections.abc import Iterable
from typing import Any, Literal

from sqlalchemy import Connection, Integer, Row, and_, bindparam, case, delete, func, literal, or_, select, update

from talweg.errors import LeaseLost, NotFound
from talweg.store import queueing, tables
from talweg.store.finding import storable
from talweg.store.rows import LIVE, Claim, CohortRow, Requests, RunRow
from talweg.store.runs import COLUMNS, row_of
from talweg.store.tables import FromNow

_COHORTS = tables.cohorts
_RUNS = tables.runs
# The wait between publications doubles 8 times at most: a long queue is not flooded, a lost message is sent again.
_DOUBLINGS = 8

_EXPIRED = and_(_COHORTS.c.state == "leased", _COHORTS.c.lease_until < FromNow())
WAITS = and_(_COHORTS.c.state == "queued", ~_COHORTS.c.paused)
_IDLE = {"owner": None, "owner_since": None, "lease_until": None}
_QUEUED = _IDLE | {"state": "queued", "queued_at": FromNow(), "published_at": None, "publications": 0}
_LEADERS = tables.leaders


def find(connection: Connection, cohort_id: str) -> CohortRow:
    """The cohort of that id; raises NotFound."""
    found = None
    if storable(cohort_id):
        found = connection.execute(select(_COHORTS).where(_COHORTS.c.id == cohort_id)).one_or_none()
    if found is None:
        raise NotFound(f"cohort: no cohort has the id {cohort_id!r}")
    return CohortRow(**found._mapping)


def counts(connection: Connection) -> dict[str, int]:
    """Cohorts by state; queued ones that are paused count as paused."""
    state = case((_COHORTS.c.paused & (_COHORTS.c.state == "queued"), "paused"), else_=_COHORTS.c.state)
    query = select(state.label("state"), func.count().label("cohorts")).group_by(state)
    return {row.state: int(row.cohorts) for row in connection.execute(query)}


def mark_published(connection: Connection, cohort_ids: Iterable[str]) -> None:
    """Record a publication, with the present time."""
    published = [{"cohort": cohort_id} for cohort_id in cohort_ids]
    if published:
        connection.execute(
            update(_COHORTS)
            .where(_COHORTS.c.id == bindparam("cohort"))
            .values(published_at=FromNow(), publications=_COHORTS.c.publications + 1),
            published,
        )


def unpublished(connection: Connection, older_than_seconds: float, limit: int) -> list[str]:
    """Cohorts queued for this long; the wait doubles with each publication."""
    published = _COHORTS.c.publications
    doublings = case((published > _DOUBLINGS, _DOUBLINGS), else_=published)
    wait = literal(-float(older_than_seconds)) * literal(1, Integer).op("<<")(doublings)
    since = func.coalesce(_COHORTS.c.published_at, _COHORTS.c.queued_at)
    query = (
        select(_COHORTS.c.id)
        .where(WAITS, since <= FromNow(wait))
        .order_by(_COHORTS.c.queued_at, _COHORTS.c.id)
        .limit(limit)
    )
    return list(connection.execute(query).scalars())


def claim(
    connection: Connection,
    cohort_id: str,
    owner: str,
    lease_seconds: float,
    claim_id: str | None = None,
    max_attempts: int | None = None,
) -> Claim | None:
    """One conditional UPDATE decides, then the runs are read. A second UPDATE finds an earlier claim by `claim_id`."""
    if not storable(cohort_id):
        return None
    taken = _take(connection, cohort_id, owner, lease_seconds, claim_id, max_attempts)
    if taken is None and claim_id is not None:
        taken = _reclaim(connection, cohort_id, lease_seconds, claim_id)
    if taken is None:
        return None
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.cohort_id == cohort_id, _RUNS.c.state == "queued")
        .values(state="running", started_at=func.coalesce(_RUNS.c.started_at, FromNow()), unmirrored=True)
    )
    return Claim(cohort_id, taken.fence, runs_in(connection, cohort_id), taken.attempts)


def runs_in(connection: Connection, cohort_id: str) -> tuple[RunRow, ...]:
    """The runs of a cohort, by their row."""
    found = connection.execute(select(*COLUMNS).where(_RUNS.c.cohort_id == cohort_id).order_by(_RUNS.c.row))
    return tuple(row_of(row) for row in found)


def _take(
    connection: Connection,
    cohort_id: str,
    owner: str,
    lease_seconds: float,
    claim_id: str | None,
    max_attempts: int | None,
) -> Row[tuple[int, int]] | None:
    left = _EXPIRED if max_attempts is None else and_(_EXPIRED, _COHORTS.c.attempts < max_attempts)
    return connection.execute(
        update(_COHORTS)
        .where(_COHORTS.c.id == cohort_id, or_(WAITS, left))
        .values(
            state="leased",
            fence=_COHORTS.c.fence + 1,
            attempts=_COHORTS.c.attempts + 1,
            owner=owner[:300],
            owner_since=FromNow(),
            lease_until=FromNow(lease_seconds),
            claim_id=claim_id,
        )
        .returning(_COHORTS.c.fence, _COHORTS.c.attempts)
    ).one_or_none()


def _reclaim(
    connection: Connection, cohort_id: str, lease_seconds: float, claim_id: str
) -> Row[tuple[int, int]] | None:
    """Fence and attempts stay: it is the same claim, whose answer did not arrive."""
    return connection.execute(
        update(_COHORTS)
        .where(_COHORTS.c.id == cohort_id, _COHORTS.c.state == "leased", _COHORTS.c.claim_id == claim_id)
        .values(lease_until=FromNow(lease_seconds))
        .returning(_COHORTS.c.fence, _COHORTS.c.attempts)
    ).one_or_none()


def guard(connection: Connection, claim: Claim, **values: Any) -> None:
    """Update the claim's cohort, which locks its row until the transaction ends; raises LeaseLost."""
    changed = connection.execute(
        update(_COHORTS)
        .where(_COHORTS.c.id == claim.cohort_id, _COHORTS.c.fence == claim.fence, _COHORTS.c.state == "leased")
        .values(**values)
    )
    if changed.rowcount != 1:
        raise LeaseLost(
            f"cohort {claim.cohort_id}: the claim with fence {claim.fence} is no longer valid; nothing was written"
        )


def extend(connection: Connection, claim: Claim, lease_seconds: float) -> None:
    """Let the lease end `lease_seconds` from now."""
    guard(connection, claim, lease_until=FromNow(lease_seconds))


def finish(connection: Connection, claim: Claim) -> None:
    """Runs that are still live become failed: a run that no worker trains must not be shown as running."""
    guard(connection, claim, **_IDLE, state="finished", error=None)
    _end_runs(connection, claim.cohort_id, "its cohort finished before this run had ended")


def release(connection: Connection, claim: Claim, reason: str | None) -> None:
    """The attempt is not counted; runs with a pause request are paused."""
    reported = {} if reason is None else {"error": reason}
    guard(connection, claim, **_QUEUED, attempts=_COHORTS.c.attempts - 1, **reported)
    _requeue_runs(connection, [claim.cohort_id])
    queueing.apply_pauses(connection, [claim.cohort_id])


def fail(connection: Connection, claim: Claim, traceback: str, max_attempts: int) -> Literal["queued", "quarantined"]:
    """Store the traceback in the cohort and, when no attempt is left, in its runs.

    Of several runs one may be the cause: each continues in a cohort of its own, so that only that one fails.
    """
    error = traceback.replace("\x00", "\\0").encode(errors="replace").decode()
    guard(connection, claim, **_QUEUED, error=error)
    if queueing.split(connection, claim.cohort_id):
        return "queued"
    attempts = connection.execute(select(_COHORTS.c.attempts).where(_COHORTS.c.id == claim.cohort_id)).scalar_one()
    if attempts < max_attempts:
        _requeue_runs(connection, [claim.cohort_id])
        queueing.apply_pauses(connection, [claim.cohort_id])
        return "queued"
    connection.execute(update(_COHORTS).where(_COHORTS.c.id == claim.cohort_id).values(state="quarantined"))
    _end_runs(connection, claim.cohort_id, error)
    return "quarantined"


def renew_expired(connection: Connection, lease_seconds: float) -> None:
    """Extend leases that ran out: a worker that is alive extends its own again, for a dead one this changes nothing."""
    connection.execute(update(_COHORTS).where(_EXPIRED).values(lease_until=FromNow(lease_seconds)))


def requeue_expired(
    connection: Connection, max_attempts: int, given_up: list[str] | None = None, *, counted: bool = True
) -> list[str]:
    """Raise the fence, so that a worker that was suspended past its lease has lost the cohort.

    At the last attempt each of several runs gets another attempt in a cohort of its own: a single run may be what
    kills its workers. Quarantined cohorts are added to `given_up`. Attempts that ended because the database took no
    writes are not `counted`, and then no cohort is quarantined.
    """
    # Locked rows are skipped: another process is changing them, so they are not abandoned.
    left = connection.execute(
        select(_COHORTS.c.id, _COHORTS.c.attempts, _COHORTS.c.error)
        .where(_EXPIRED)
        .order_by(_COHORTS.c.id)
        .with_for_update(skip_locked=True)
    ).all()
    queued = []
    for cohort in left:
        own = update(_COHORTS).where(_COHORTS.c.id == cohort.id)
        if not counted or cohort.attempts < max_attempts:
            attempts = _COHORTS.c.attempts - (0 if counted else 1)
            connection.execute(own.values(**_QUEUED, fence=_COHORTS.c.fence + 1, attempts=attempts))
            queued.append(cohort.id)
        else:
            error = cohort.error or "the worker vanished, at this attempt and at those before"
            connection.execute(own.values(**_IDLE, state="quarantined", fence=_COHORTS.c.fence + 1, error=error))
            if parts := queueing.split(connection, cohort.id):
                queued += parts
            else:
                _end_runs(connection, cohort.id, error)
                if given_up is not None:
                    given_up.append(cohort.id)
    _requeue_runs(connection, queued)
    queueing.apply_pauses(connection, queued)
    return queued


def requests(connection: Connection, claim: Claim) -> Requests:
    """Requests for the cohort's live runs."""
    query = select(_RUNS.c.id, _RUNS.c.cancel_requested).where(
        _RUNS.c.cohort_id == claim.cohort_id,
        _RUNS.c.state.in_(LIVE),
        or_(_RUNS.c.cancel_requested, _RUNS.c.paused),
    )
    found = connection.execute(query).all()
    cancelled = frozenset(run.id for run in found if run.cancel_requested)
    return Requests(cancelled, pause=len(found) > len(cancelled))


def _requeue_runs(connection: Connection, cohort_ids: list[str]) -> None:
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.cohort_id.in_(cohort_ids), _RUNS.c.state == "running")
        .values(state="queued", unmirrored=True)
    )


def _end_runs(connection: Connection, cohort_id: str, error: str) -> None:
    connection.execute(
        update(_RUNS)
        .where(_RUNS.c.cohort_id == cohort_id, _RUNS.c.state.in_(LIVE))
        .values(state="failed", stop_reason="failed", error=error, finished_at=FromNow(), unmirrored=True)
    )


def lead(connection: Connection, role: str, owner: str, seconds: float) -> bool:
    """One statement decides: a new lease, an extension of one's own, or the lease of another owner that ran out."""
    own = {"owner": owner[:300], "lease_until": FromNow(seconds)}
    taken = connection.execute(
        tables.upsert(connection, _LEADERS)
        .values(role=role, **own)
        .on_conflict_do_update(
            index_elements=[_LEADERS.c.role],
            set_=own,
            where=or_(_LEADERS.c.owner == owner[:300], _LEADERS.c.lease_until < FromNow()),
        )
        .returning(_LEADERS.c.owner)
    )
    return taken.first() is not None


def step_down(connection: Connection, role: str, owner: str) -> None:
    """End the lease now."""
    connection.execute(delete(_LEADERS).where(_LEADERS.c.role == role, _LEADERS.c.owner == owner[:300]))
