"""Pages: newest first, complete, without overlap, and read by an index."""

import re
from collections.abc import Callable
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import event
from uuid_utils.compat import uuid7

from talweg.errors import InvalidSpec, NotFound
from talweg.store import RunState, Store


def _all(store: Store, limit: int, **which: Any) -> list[str]:
    names, cursor = [], None
    while True:
        page = store.runs(limit=limit, cursor=cursor, **which)
        names += [run.id for run in page.items]
        cursor = page.cursor
        if cursor is None:
            return names


@pytest.mark.parametrize("limit", [1, 3, 7, 8, 50])
def test_pages_hold_each_run_once_newest_first(store: Store, submitted: Callable[..., Any], limit: int) -> None:
    ids = [run.id for _ in range(3) for run in submitted(2).runs] + [submitted(1).runs[0].id]
    assert _all(store, limit) == sorted(ids, reverse=True)


def test_runs_submitted_in_between_change_no_page(store: Store, submitted: Callable[..., Any]) -> None:
    ids = [run.id for run in submitted(4).runs]
    page = store.runs(limit=2)
    submitted(3)
    rest = store.runs(limit=2, cursor=page.cursor)
    assert [run.id for run in [*page.items, *rest.items]] == sorted(ids, reverse=True)
    assert rest.cursor is None


def test_pages_are_of_a_study_and_of_a_state(store: Store, submitted: Callable[..., Any]) -> None:
    one, other = submitted(3, study="one"), submitted(2, study="other")
    submitted(1)
    store.claim(one.cohort, "worker", 60.0)
    assert {run.id for run in store.runs(study="one").items} == {run.id for run in one.runs}
    assert {run.id for run in store.runs(study=other.study.id).items} == {run.id for run in other.runs}
    assert len(_all(store, 2, state="queued")) == 3
    assert len(_all(store, 2, study="one", state="running")) == 3
    assert _all(store, 2, study="other", state="running") == []
    assert [run.id for run in store.runs_of(one.study.id)] == [run.id for run in one.runs]


def test_pages_may_begin_with_the_oldest(store: Store, submitted: Callable[..., Any]) -> None:
    ids = [run.id for run in submitted(5, study="one").runs]
    first = store.runs(study="one", limit=3, oldest=True)
    rest = store.runs(study="one", limit=3, cursor=first.cursor, oldest=True)
    assert [run.id for run in [*first.items, *rest.items]] == ids
    assert rest.cursor is None


def test_studies_have_pages_too(store: Store, submitted: Callable[..., Any]) -> None:
    ids = [submitted(2, study=f"study {number}").study.id for number in range(5)]
    first = store.studies(limit=3)
    second = store.studies(limit=3, cursor=first.cursor)
    assert [study.id for study in [*first.items, *second.items]] == sorted(ids, reverse=True)
    assert second.cursor is None
    assert all(study.counts == {"queued": 2} for study in first.items)


@pytest.mark.parametrize("cursor", ["", "x", "\x00", "1 OR 1=1", "é" * 36, "0" * 31])
def test_an_invalid_cursor_is_refused(store: Store, cursor: str) -> None:
    with pytest.raises(InvalidSpec, match="cursor"):
        store.runs(cursor=cursor)
    with pytest.raises(InvalidSpec, match="cursor"):
        store.studies(cursor=cursor)


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_limit_out_of_range_is_refused(store: Store, limit: int) -> None:
    with pytest.raises(InvalidSpec, match=r"limit: must lie in \[1, 1000\]"):
        store.runs(limit=limit)


def test_an_unknown_state_names_the_nearest(store: Store) -> None:
    wrong: RunState = "runing"  # type: ignore[assignment]  # what a client may send
    with pytest.raises(InvalidSpec, match="did you mean 'running'"):
        store.runs(state=wrong)


def test_pages_of_a_study_that_is_not_there_are_not_found(store: Store) -> None:
    with pytest.raises(NotFound, match="study"):
        store.runs(study="none")


@pytest.mark.parametrize(
    ("which", "index"),
    [
        ({}, "(pk_runs|autoindex_runs)"),
        ({"study": "planned"}, "ix_runs_study_id_id"),
        ({"study": "planned", "oldest": True}, "ix_runs_study_id_id"),
        ({"state": "queued"}, "ix_runs_state_id"),
        # Where all runs of a study are queued, each of the three indices has them in order.
        ({"study": "planned", "state": "queued"}, "ix_runs_(study_id_id|study_id_state|state_id)"),
    ],
)
def test_pages_walk_their_index_and_sort_nothing(
    store: Store, submitted: Callable[..., Any], which: dict[str, Any], index: str
) -> None:
    # With few runs and no statistics PostgreSQL may sort instead.
    submitted(600, study="other")
    submitted(60, study="planned")
    with store.engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE runs SET state = 'finished' WHERE name NOT IN (SELECT name FROM runs ORDER BY id DESC LIMIT 60)"
        )
        connection.exec_driver_sql("ANALYZE runs")
    cursor = str(UUID(int=0) if "oldest" in which else uuid7())
    _assert_indexed(store, lambda: store.runs(cursor=cursor, **which), index)


def test_the_outbox_walks_its_index(store: Store, submitted: Callable[..., Any]) -> None:
    submitted(1)
    _assert_indexed(store, lambda: store.outbox(), "ix_runs_unmirrored")


def test_steps_and_chunks_walk_their_key(store: Store, submitted: Callable[..., Any]) -> None:
    run_id = submitted(1).runs[0].id
    _assert_indexed(store, lambda: store.steps(run_id, 5, 9), "steps")
    _assert_indexed(store, lambda: store.chunks(run_id, "gradient", 5, 9), "chunks")
    _assert_indexed(store, lambda: store.checkpoint_before(run_id, 5), "checkpoints")


def _assert_indexed(store: Store, ask: Callable[[], object], index: str) -> None:
    """The plan of the last query of `ask` walks an index whose name holds `index`, and sorts nothing."""
    asked: list[tuple[str, Any]] = []

    @event.listens_for(store.engine, "before_cursor_execute")
    def note(_: Any, cursor: Any, statement: str, parameters: Any, *rest: Any) -> None:
        asked.append((statement, parameters))

    ask()
    event.remove(store.engine, "before_cursor_execute", note)
    statement, parameters = asked[-1]
    with store.engine.connect() as connection:
        if connection.dialect.name == "sqlite":
            plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", parameters)
        else:
            # PostgreSQL reads small tables whole, whatever the indices are.
            connection.exec_driver_sql("SET LOCAL enable_seqscan = off")
            connection.exec_driver_sql("SET LOCAL enable_bitmapscan = off")
            plan = connection.exec_driver_sql(f"EXPLAIN {statement}", parameters)
        lines = " ".join(str(row[-1]) for row in plan)
    assert re.search(rf"(Index Scan|USING (INDEX|PRIMARY KEY)).*{index}|SEARCH {index} USING", lines), lines
    assert "Sort" not in lines, lines
    assert "TEMP B-TREE" not in lines, lines
