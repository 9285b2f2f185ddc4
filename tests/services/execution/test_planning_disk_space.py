"""A full disk: refused at submission, and not counted as an attempt."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import update
from sqlalchemy.event import listen

from talweg.errors import DiskFull
from talweg.execution import reconcile, submit_run
from talweg.execution.planning import left_to_record, readable_size
from talweg.execution.reconciler import AfterFullDisk
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg.store.engine import translated
from talweg.store.tables import FromNow, cohorts

Submit = Callable[[RunSpec], RunRow]
Spec = Callable[..., RunSpec]


def _publish_nothing(_: str) -> None:
    """No broker is there."""


def _expire(store: Store, cohort_id: str) -> None:
    """Let the lease run out."""
    with store.engine.begin() as connection:
        connection.execute(update(cohorts).where(cohorts.c.id == cohort_id).values(lease_until=FromNow(-1.0)))


def _fill(submit: Submit, spec: Spec) -> None:
    for _ in range(100):
        submit(spec())


def full() -> None:
    """What a write meets."""
    raise DiskFull("database: database or disk is full")


def test_a_run_that_would_record_more_than_is_free_is_refused_with_its_size(
    store: Store, spec: Spec, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = 3_000_000
    monkeypatch.setattr(store, "room", lambda: (Path("lab"), free))
    published: list[str] = []
    with pytest.raises(DiskFull, match=r"would record about .* MB, and 3.0 MB are free in lab; record='replay' would"):
        submit_run(store, spec(record="full", steps=5000), publish=published.append, settings=settings)
    assert not store.runs(limit=10).items
    assert published == []
    submitted = submit_run(store, spec(record="full", steps=5), publish=published.append, settings=settings)
    assert published == [submitted.cohort_id]


def test_only_steps_that_are_not_made_are_still_to_be_recorded(store: Store, submit: Submit, spec: Spec) -> None:
    few, many = submit(spec(steps=100)), submit(spec(steps=1000))
    assert 0 < left_to_record([few]) < left_to_record([many]) < 11 * left_to_record([few])
    assert left_to_record([few, many]) == left_to_record([few]) + left_to_record([many])


@pytest.mark.parametrize(
    ("count", "text"), [(311_600, "312 kB"), (4_600_000, "4.6 MB"), (187_400_000, "187 MB"), (0, "0 kB")]
)
def test_bytes_are_shown_with_a_unit(count: int, text: str) -> None:
    assert readable_size(count) == text


def test_leases_that_ran_out_while_the_disk_was_full_are_extended_and_count_as_no_attempt(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    now = [0.0]
    disk = AfterFullDisk(settings, clock=lambda: now[0])
    # Its one attempt, were it counted.
    once = settings.model_copy(update={"max_attempts": 1, "reconcile_seconds": 1e-6})
    run = submit(spec())
    assert store.claim(run.cohort_id, "could not beat", -1) is not None
    with pytest.raises(DiskFull), disk.watch():
        full()
    assert not disk.counts(store)
    # Its worker has time for another heartbeat.
    assert reconcile(store, _publish_nothing, settings=once, counted=False).taken_back == ()
    # It had none: another worker makes the same attempt.
    _expire(store, run.cohort_id)
    done = reconcile(store, _publish_nothing, settings=once, counted=disk.counts(store))
    assert (done.taken_back, done.given_up) == ((run.cohort_id,), ())
    assert store.cohort(run.cohort_id).attempts == 0
    # Later, an attempt without a heartbeat counts.
    now[0] = 2 * settings.lease_seconds
    assert store.claim(run.cohort_id, "vanishes", -1) is not None
    done = reconcile(store, _publish_nothing, settings=once, counted=disk.counts(store))
    assert (done.taken_back, done.given_up) == ((), (run.cohort_id,))


def test_a_database_that_may_not_grow_says_that_the_disk_is_full_and_is_read(
    store: Store, submit: Submit, spec: Spec
) -> None:
    if store.engine.dialect.name != "sqlite":
        # PostgreSQL says it in one word, which the driver has an exception for.
        with pytest.raises(DiskFull, match="no space"), translated():
            raise psycopg.errors.DiskFull("no space left on device")
        return
    run = submit(spec())
    listen(store.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))
    with pytest.raises(DiskFull, match=r"database or disk is full, [\d.]+ MB are free in .*; make room"):
        _fill(submit, spec)
    assert store.run(run.id).state == "queued"
