"""Runs change their cohort after a failure, a pause or a retry; leases of roles."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from talweg.errors import LeaseLost, NotFound
from talweg.store import Claim, CommitBatch, Progress, Store, open_store, tables
from talweg.store.tables import FromNow


def _expire(store: Store, cohort_id: str) -> None:
    """Let the lease run out."""
    with store.engine.begin() as connection:
        mine = tables.cohorts.c.id == cohort_id
        connection.execute(update(tables.cohorts).where(mine).values(lease_until=FromNow(-1.0)))


def _take(store: Store, cohort_id: str) -> Claim:
    claim = store.claim(cohort_id, "worker", 60.0)
    assert claim is not None
    return claim


def _cohorts(store: Store, claim: Claim) -> list[str]:
    """The present cohorts of the claim's runs."""
    return [store.run(run.id).cohort_id for run in claim.runs]


def test_runs_of_a_failed_cohort_continue_one_by_one(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(3, study="mixed")
    store.commit(claim, new_batch(claim))
    assert store.fail(claim, "Traceback", 3) == "queued"
    parts = _cohorts(store, claim)
    assert len({claim.cohort_id, *parts}) == 4
    assert store.cohort_counts() == {"finished": 1, "queued": 3}
    for part, run in zip(parts, claim.runs, strict=True):
        alone = _take(store, part)
        assert [(r.id, r.row, r.step, r.study_id) for r in alone.runs] == [(run.id, 0, 4, run.study_id)]
        assert alone.attempts == 1
    assert store.study("mixed").state == "running"


def test_one_bad_run_fails_alone(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(3, study="one bad")
    store.fail(claim, "Traceback: it was one of three", 2)
    bad, *good = _cohorts(store, claim)
    for _ in range(2):
        store.fail(_take(store, bad), "Traceback: it was this one", 2)
    for part in good:
        taken = _take(store, part)
        store.commit(taken, CommitBatch(60.0, {taken.runs[0].id: Progress(10, state="finished")}))
        store.finish(taken)
    assert [store.run(run.id).state for run in claim.runs] == ["failed", "finished", "finished"]
    assert store.run(claim.runs[0].id).error == "Traceback: it was this one"


def test_a_run_that_kills_its_workers_does_not_fail_the_others(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2)
    for _ in range(2):
        claim = _take(store, work.cohort)
        _expire(store, work.cohort)
        queued = store.requeue_expired(2)
    assert queued == _cohorts(store, claim)
    assert store.cohort(work.cohort).state == "finished"
    assert [store.run(run.id).state for run in claim.runs] == ["queued", "queued"]
    with pytest.raises(LeaseLost):
        store.finish(claim)


def test_a_stale_worker_writes_nothing_to_runs_that_were_split_off(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    stale = claimed(2, lease_seconds=-1.0)
    fresh = _take(store, stale.cohort_id)
    store.fail(fresh, "Traceback", 3)
    before = [store.run(run.id) for run in stale.runs]
    writes: list[Callable[[], None]] = [
        lambda: store.commit(stale, new_batch(stale)),
        lambda: store.commit(stale, new_batch(stale), again=True),
        lambda: store.release(stale),
        lambda: store.finish(stale),
    ]
    for write in writes:
        with pytest.raises(LeaseLost):
            write()
    assert [store.run(run.id) for run in stale.runs] == before


def test_a_commit_whose_answer_was_lost_is_written_once(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(2)
    batch = new_batch(claim)
    store.commit(claim, batch)
    store.commit(claim, batch, again=True)
    assert [len(store.steps(run.id)) for run in claim.runs] == [4, 4]
    later = new_batch(claim, first=4)
    store.commit(claim, later, again=True)
    assert [len(store.steps(run.id)) for run in claim.runs] == [8, 8]


def test_a_failed_run_is_retried_from_its_last_commit(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(1)
    store.commit(claim, new_batch(claim))
    store.fail(claim, "Traceback", 1)
    (cohort,) = store.retry([claim.runs[0].id])
    run = store.run(claim.runs[0].id)
    assert (run.state, run.stop_reason, run.error, run.finished_at, run.step) == ("queued", None, None, None, 4)
    # The quarantine has ended, and the old claim can finish nothing.
    assert store.cohort_counts() == {"finished": 1, "queued": 1}
    with pytest.raises(LeaseLost):
        store.finish(claim)
    assert _take(store, cohort).attempts == 1
    assert store.retry([claim.runs[0].id]) == []


def test_only_failed_runs_of_a_study_are_retried(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(2, study="half done")
    store.commit(claim, CommitBatch(60.0, {claim.runs[0].id: Progress(10, state="finished")}))
    store.fail(claim, "Traceback", 1)
    assert len(store.retry(study="half done")) == 1
    assert store.study("half done").counts == {"finished": 1, "queued": 1}
    with pytest.raises(NotFound):
        store.retry(study="no such study")


def test_a_paused_queued_run_is_not_claimed_until_it_is_unpaused(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2, study="paused")
    store.request_pause(study="paused")
    assert store.claim(work.cohort, "worker", 60.0) is None
    assert store.unpublished(0.0) == []
    assert store.cohort_counts() == {"paused": 1}
    assert [store.run(run.id).paused for run in work.runs] == [True, True]
    assert store.unpause(study="paused") == [work.cohort]
    assert store.unpublished(0.0) == [work.cohort]
    assert len(_take(store, work.cohort).runs) == 2


def test_one_paused_run_of_a_queued_cohort_moves_to_another_cohort(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(3)
    store.request_pause([work.runs[1].id])
    claim = _take(store, work.cohort)
    assert [run.id for run in claim.runs] == [work.runs[0].id, work.runs[2].id]
    apart = store.run(work.runs[1].id).cohort_id
    assert apart != work.cohort
    assert store.claim(apart, "worker", 60.0) is None
    assert store.unpause([work.runs[1].id]) == [apart]
    assert [run.id for run in _take(store, apart).runs] == [work.runs[1].id]


def test_a_training_run_is_paused_when_its_worker_releases_it(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(2)
    store.request_pause([claim.runs[0].id])
    assert store.requests(claim).pause
    store.commit(claim, new_batch(claim))
    store.release(claim)
    assert store.run(claim.runs[0].id).state == "queued"
    assert [run.id for run in _take(store, claim.cohort_id).runs] == [claim.runs[1].id]
    assert store.claim(store.run(claim.runs[0].id).cohort_id, "worker", 60.0) is None


def test_a_pause_request_is_applied_when_the_worker_was_killed(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    store.request_pause([claim.runs[0].id])
    _expire(store, claim.cohort_id)
    store.requeue_expired(3)
    assert store.claim(claim.cohort_id, "worker", 60.0) is None


def test_of_two_paused_runs_one_is_unpaused_alone(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2)
    store.request_pause([run.id for run in work.runs])
    assert store.unpause([work.runs[0].id]) == [work.cohort]
    assert [run.id for run in _take(store, work.cohort).runs] == [work.runs[0].id]
    assert store.claim(store.run(work.runs[1].id).cohort_id, "worker", 60.0) is None


def test_a_paused_run_can_be_cancelled(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(1)
    store.request_pause([work.runs[0].id])
    store.request_cancel([work.runs[0].id])
    assert store.run(work.runs[0].id).state == "cancelled"
    assert store.cohort_counts() == {"finished": 1}
    assert store.unpause([work.runs[0].id]) == []


def test_an_ended_run_is_not_paused(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    store.commit(claim, CommitBatch(60.0, {claim.runs[0].id: Progress(10, state="finished")}))
    store.finish(claim)
    before = store.run(claim.runs[0].id)
    store.request_pause([claim.runs[0].id])
    assert store.run(claim.runs[0].id) == before


def test_a_reconciler_that_loses_the_race_to_a_finisher_does_not_fail_the_job(
    database_url: str, store: Store, claimed: Callable[..., Claim]
) -> None:
    for _ in range(5):
        claim = claimed(1, lease_seconds=-1.0)
        run_id = claim.runs[0].id
        done = CommitBatch(60.0, {run_id: Progress(10, state="finished", stop_reason="finished")})
        with open_store(database_url) as other, ThreadPoolExecutor(2) as threads:
            # One attempt: the process that queues it again quarantines it.
            taken = threads.submit(other.requeue_expired, 1)
            try:
                store.commit(claim, done)
                store.finish(claim)
                finished = True
            except LeaseLost:
                finished = False
            taken.result()
        ended, cohort = store.run(run_id), store.cohort(claim.cohort_id)
        # The first one decided, and the other changed nothing.
        right = ("finished", 10, "finished") if finished else ("failed", 0, "quarantined")
        assert (ended.state, ended.step, cohort.state) == right


def test_one_leads_until_its_lease_ends(store: Store) -> None:
    assert store.lead("reconciler", "one", 60.0)
    assert not store.lead("reconciler", "two", 60.0)
    assert store.lead("another role", "two", 60.0)
    assert store.lead("reconciler", "one", -1.0)
    assert store.lead("reconciler", "two", 60.0)
    assert not store.lead("reconciler", "one", 60.0)
    store.step_down("reconciler", "one")
    assert not store.lead("reconciler", "one", 60.0)
    store.step_down("reconciler", "two")
    assert store.lead("reconciler", "one", 60.0)


def test_of_many_concurrent_candidates_one_leads(database_url: str, store: Store) -> None:
    with open_store(database_url) as other, ThreadPoolExecutor(8) as threads:
        led = list(threads.map(lambda i: (store, other)[i % 2].lead("reconciler", f"number {i}", 60.0), range(16)))
    assert led.count(True) == 1
