"""A full disk: submissions that would not fit are refused, and its error says how much is free."""

from collections.abc import Callable
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.event import listen

from talweg.errors import DiskFull
from talweg.execution import submit_run
from talweg.execution.planning import left_to_record, readable_size
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg.store.engine import translated

Submit = Callable[[RunSpec], RunRow]
Spec = Callable[..., RunSpec]


def _fill(submit: Submit, spec: Spec) -> None:
    for _ in range(100):
        submit(spec())


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


def test_a_database_that_may_not_grow_says_that_the_disk_is_full_and_is_read(
    store: Store, submit: Submit, spec: Spec
) -> None:
    if store.engine.dialect.name != "sqlite":
        # The driver has an exception of its own for PostgreSQL's error.
        with pytest.raises(DiskFull, match="no space"), translated():
            raise psycopg.errors.DiskFull("no space left on device")
        return
    run = submit(spec())
    listen(store.engine, "begin", lambda connection: connection.exec_driver_sql("PRAGMA max_page_count=1"))
    with pytest.raises(DiskFull, match=r"database or disk is full, [\d.]+ MB are free in .*; make room"):
        _fill(submit, spec)
    assert store.run(run.id).state == "queued"
