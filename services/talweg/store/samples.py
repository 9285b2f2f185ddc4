"""What cohorts' workers take of their machines."""

from sqlalchemy import Connection, insert, select

from talweg.store import tables
from talweg.store.batch import Sample
from talweg.store.rows import Claim, SampleRow
from talweg.store.types import FromNow

_SAMPLES = tables.samples


def add(connection: Connection, claim: Claim, sample: Sample) -> None:
    """At the database's time. No fence guards it: whose claim it was stands in the row, and nothing follows from it."""
    own = {"cohort_id": claim.cohort_id, "fence": claim.fence, "number": sample.number}
    there = select(_SAMPLES.c.number).filter_by(**own)
    if connection.execute(there).first() is None:
        taken = {"taken_at": FromNow(), "processor": sample.processor, "memory": sample.memory}
        connection.execute(insert(_SAMPLES).values(**own, **taken))


def of_cohort(connection: Connection, cohort_id: str) -> list[SampleRow]:
    """By claim, then by number: the order in which they were taken."""
    query = (
        select(_SAMPLES.c.taken_at, _SAMPLES.c.processor, _SAMPLES.c.memory)
        .where(_SAMPLES.c.cohort_id == cohort_id)
        .order_by(_SAMPLES.c.fence, _SAMPLES.c.number)
    )
    return [SampleRow(**row._mapping) for row in connection.execute(query)]
