"""Numbers about the whole laboratory, for whoever watches it; and what is counted for good."""

from sqlalchemy import Connection, func, insert, select, update

from talweg.store import leases, tables
from talweg.store.rows import Meter
from talweg.store.types import FromNow

_RUNS = tables.runs
_COUNTERS = tables.counters
LEASES_LOST = "leases_lost"


def count(connection: Connection, name: str, times: int) -> None:
    """Add to a counter."""
    if times == 0:
        return
    added = update(_COUNTERS).where(_COUNTERS.c.name == name).values(value=_COUNTERS.c.value + times)
    if connection.execute(added).rowcount == 0:
        connection.execute(insert(_COUNTERS).values(name=name, value=times))


def meter(connection: Connection) -> Meter:
    """Four queries; that over all runs takes about 0.1 s a million of them."""
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
