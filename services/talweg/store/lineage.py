"""Forks share their parents' history: what a fork has of the steps before it began stands in its ancestors' rows."""

from sqlalchemy import Connection, select

from talweg.store import tables

_RUNS = tables.runs

# (run_id, start, stop): the steps start … stop − 1 stand under that run; without `stop`, all from `start` on.
Range = tuple[str, int, int | None]


def ranges(connection: Connection, run_id: str, start: int, stop: int | None) -> list[Range]:
    """Under which runs the steps start … stop − 1 stand, oldest first; for a run without a parent itself alone."""
    found: list[Range] = []
    while True:
        query = select(_RUNS.c.parent_run_id, _RUNS.c.parent_step).where(_RUNS.c.id == run_id)
        row = connection.execute(query).one_or_none()
        if row is None or row.parent_run_id is None or start >= row.parent_step:
            return [(run_id, start, stop), *reversed(found)]
        if stop is None or stop > row.parent_step:
            found.append((run_id, row.parent_step, stop))
            stop = row.parent_step
        run_id = row.parent_run_id
