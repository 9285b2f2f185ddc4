"""Quotas of tokens, also under concurrent submissions; and datasets."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import pytest
from sqlalchemy import event, text

from talweg.errors import Conflict, LimitReached, NotFound
from talweg.store import Limits, Store

TOKEN, OTHER = "a" * 64, "b" * 64
SHAPE = {"inputs": [10, 2], "targets": [10]}


@pytest.fixture
def holder(store: Store) -> Store:
    """The store charging a token with a quota of three runs, 25 steps and 100 bytes."""
    for digest in (TOKEN, OTHER):
        store.add_token(digest, digest[:1], ["submit"])
    return store.on_behalf(TOKEN, Limits(runs=3, steps=25, bytes=100))


def test_runs_over_the_limit_are_refused_whole(store: Store, holder: Store, new_work: Callable[..., Any]) -> None:
    first = new_work(2, total_steps=5)
    holder.submit(None, first.runs, first.cohorts)
    second = new_work(2, total_steps=5)
    with pytest.raises(LimitReached, match="may hold 3 runs that are queued or running, would hold 4"):
        holder.submit(None, second.runs, second.cohorts)
    assert len(store.runs().items) == 2
    # The quota applies neither to other tokens nor to the laboratory itself.
    store.on_behalf(OTHER, Limits(runs=2)).submit(None, second.runs, second.cohorts)
    third = new_work(9, total_steps=5)
    store.submit(None, third.runs, third.cohorts)


def test_ended_runs_do_not_count(store: Store, holder: Store, new_work: Callable[..., Any]) -> None:
    first, second = new_work(3, total_steps=5), new_work(3, total_steps=5)
    holder.submit(None, first.runs, first.cohorts)
    store.request_cancel([run.id for run in first.runs])
    holder.submit(None, second.runs, second.cohorts)


def test_steps_have_a_limit(holder: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(2, total_steps=13)
    with pytest.raises(LimitReached, match="may hold 25 steps still to be made, would hold 26"):
        holder.submit(None, work.runs, work.cohorts)


def test_a_repeated_submission_counts_once(holder: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(2, total_steps=10)
    holder.submit(None, work.runs, work.cohorts, "key")
    assert holder.submit(None, work.runs, work.cohorts, "key").repeated


def _is_accepted(holder: Store, work: Any) -> bool:
    try:
        holder.submit(None, work.runs, work.cohorts)
    except LimitReached:
        return False
    return True


def test_of_many_concurrent_submissions_the_quota_is_accepted(
    store: Store, holder: Store, new_work: Callable[..., Any]
) -> None:
    with ThreadPoolExecutor(4) as threads:
        got = list(threads.map(partial(_is_accepted, holder), [new_work(1, total_steps=1) for _ in range(12)]))
    assert sum(got) == 3 == len(store.runs().items)


def test_of_two_submissions_that_count_concurrently_one_is_accepted(
    store: Store, holder: Store, new_work: Callable[..., Any]
) -> None:
    """Without a lock both would count before the other's rows are visible."""
    counting: list[bool] = []

    def is_blocked() -> bool:
        """Whether a connection waits for a lock. SQLite has one writer: the second waits to begin."""
        if store.engine.dialect.name == "sqlite":
            return True
        with store.engine.connect() as connection:
            waiting = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
            return bool(connection.execute(waiting).scalar_one())

    @event.listens_for(store.engine, "before_cursor_execute")
    def meet(_: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "charges" in statement and "sum(" in statement:
            counting.append(True)
            deadline = time.monotonic() + 120
            while len(counting) < 2 and not is_blocked():
                assert time.monotonic() < deadline, "the other submission neither counts nor waits"
                time.sleep(0.01)

    with ThreadPoolExecutor(2) as threads:
        got = list(threads.map(partial(_is_accepted, holder), [new_work(2, total_steps=1) for _ in range(2)]))
    event.remove(store.engine, "before_cursor_execute", meet)
    assert sorted(got) == [False, True]
    assert len(store.runs().items) == 2


def test_bytes_have_a_limit(holder: Store, store: Store) -> None:
    holder.add_dataset("one", "1" * 64, "values", SHAPE, 80, b"packed")
    with pytest.raises(LimitReached, match="may hold 100 bytes of datasets, would hold 160"):
        holder.add_dataset("two", "2" * 64, "values", SHAPE, 80, b"packed")
    assert [row.name for row in store.datasets()] == ["one"]


def test_a_dataset_is_found_by_digest_and_name(store: Store) -> None:
    kept = store.add_dataset("mine", "1" * 64, "values", SHAPE, 80, b"packed")
    assert store.add_dataset("mine", "1" * 64, "values", SHAPE, 80, b"packed") == kept
    assert store.dataset("mine") == store.dataset("1" * 64) == kept
    assert store.dataset_payload("1" * 64) == b"packed"
    for missing in ("nothing", "\x00", "\ud800", "mine@", "mine@2", "mine@x", "mine@1\x00"):
        with pytest.raises(NotFound, match="dataset"):
            store.dataset(missing)


def test_other_data_under_a_name_is_its_next_version_and_the_same_data_an_alias(store: Store) -> None:
    first = store.add_dataset("mine", "1" * 64, "values", SHAPE, 80, b"packed")
    second = store.add_dataset("mine", "2" * 64, "values", SHAPE, 80, b"other")
    assert (first.version, second.version) == (1, 2)
    assert store.dataset("mine") == store.dataset("mine@2") == store.dataset("mine", "2" * 64) == second
    assert store.dataset("mine@1") == store.dataset("mine", "1" * 64) == first
    # The latest version is what was uploaded last, also where an earlier one had the same data.
    third = store.add_dataset("mine", "1" * 64, "values", SHAPE, 80, b"packed")
    assert (third.version, third.digest) == (3, "1" * 64)
    assert store.dataset("mine").version == 3
    alias = store.add_dataset("alias", "1" * 64, "values", SHAPE, 80, b"packed")
    assert (alias.name, alias.version, alias.digest) == ("alias", 1, "1" * 64)
    assert store.add_dataset("alias", "3" * 64, "values", SHAPE, 80, b"third").version == 2
    assert [(row.name, row.version) for row in store.datasets()] == [
        ("alias", 1), ("alias", 2), ("mine", 1), ("mine", 2), ("mine", 3),
    ]  # fmt: skip
    assert (store.dataset_payload("1" * 64), store.dataset_payload("3" * 64)) == (b"packed", b"third")
    with pytest.raises(NotFound, match="dataset"):
        store.dataset("alias", "2" * 64)


def test_uploads_at_the_same_time_become_versions_one_after_the_other(store: Store) -> None:
    def add(number: int) -> int:
        return store.add_dataset("mine", f"{number:064}", "values", SHAPE, 80, b"packed").version

    with ThreadPoolExecutor(4) as threads:
        assert sorted(threads.map(add, range(8))) == list(range(1, 9))


def test_a_name_of_a_live_token_is_taken(store: Store) -> None:
    store.add_token(TOKEN, "laptop", ["read"], limits={"runs": 1})
    with pytest.raises(Conflict, match="laptop: the name is taken"):
        store.add_token(OTHER, "laptop", ["read"])
    store.revoke_token("laptop")
    store.add_token(OTHER, "laptop", ["read"])
    found = store.find_token(TOKEN)
    assert found is not None
    assert found.limits == {"runs": 1}


def test_the_meter_counts_runs_steps_and_lost_leases(store: Store, new_work: Callable[..., Any]) -> None:
    work = new_work(3)
    store.submit(None, work.runs, work.cohorts)
    assert store.claim(work.cohort, "worker", -1.0) is not None
    assert store.requeue_expired(max_attempts=3) == [work.cohort]
    meter = store.meter()
    assert (meter.runs, meter.cohorts, meter.steps) == ({"queued": 3}, {"queued": 1}, 0)
    assert meter.counters == {"leases_lost": 1}
    assert (meter.unmirrored, meter.unmirrored_steps) == (3, 0)
    assert meter.mirror_lag >= 0
