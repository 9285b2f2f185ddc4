"""Which runs something was asked of: some by id, or all of a study."""

from collections.abc import Iterator, Sequence

from sqlalchemy import ColumnElement, Connection

from talweg.store import pages, tables

_RUNS = tables.runs
IDS_AT_ONCE = 1000


def chosen(connection: Connection, run_ids: Sequence[str], study: str | None) -> Iterator[ColumnElement[bool]]:
    """Conditions on runs that together mean all of them; raises NotFound for the study."""
    if study is not None:
        yield _RUNS.c.study_id == pages.identify(connection, tables.studies, "study", study)
    for start in range(0, len(run_ids), IDS_AT_ONCE):
        yield _RUNS.c.id.in_(run_ids[start : start + IDS_AT_ONCE])
