"""Claims, fences and leases: one worker at a time, by the database's clock."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from sqlalchemy import update

from talweg.errors import LeaseLost
from talweg.store import Claim, CommitBatch, Progress, Requests, Store, open_store, tables
from talweg.store.tables import FromNow

_COHORTS = tables.cohorts


def _expire(store: Store, cohort_id: str) -> None:
    """Let the lease run out."""
    with store.engine.begin() as connection:
        connection.execute(update(_COHORTS).where(_COHORTS.c.id == cohort_id).values(lease_until=FromNow(-1.0)))


def _age(store: Store, seconds: float) -> None:
    """Move the times of queueing and publication into the past."""
    with store.engine.begin() as connection:
        connection.execute(update(_COHORTS).values(queued_at=FromNow(-seconds)))
        connection.execute(
            update(_COHORTS).where(_COHORTS.c.published_at.is_not(None)).values(published_at=FromNow(-seconds))
        )


def test_a_claim_holds_the_runs_by_their_row(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(3)
    claim = store.claim(work.cohort, "host:1", 60.0)
    assert claim is not None
    assert (claim.fence, claim.attempts) == (1, 1)
    assert [(run.id, run.row, run.state) for run in claim.runs] == [(run.id, run.row, "running") for run in work.runs]
    assert all(run.started_at is not None for run in claim.runs)
    cohort = store.cohort(work.cohort)
    assert (cohort.state, cohort.owner) == ("leased", "host:1")
    assert cohort.owner_since is not None
    assert cohort.lease_until is not None
    assert 59 < (cohort.lease_until - cohort.owner_since).total_seconds() < 61


def test_a_leased_cohort_is_not_claimed_again(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed()
    assert store.claim(claim.cohort_id, "worker-2", 60.0) is None
    store.finish(claim)
    assert store.claim(claim.cohort_id, "worker-2", 60.0) is None


def test_a_claim_whose_answer_was_lost_is_found_again_by_its_id(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2)
    first = store.claim(work.cohort, "worker-1", 5.0, claim_id="a")
    again = store.claim(work.cohort, "worker-1", 60.0, claim_id="a")
    assert first is not None
    assert again is not None
    # The same claim, with a lease from now on: no attempt is counted for a lost answer.
    assert (again.fence, again.attempts, again.runs) == (first.fence, first.attempts, first.runs)
    store.heartbeat(first, 60.0)
    assert store.claim(work.cohort, "worker-2", 60.0, claim_id="b") is None
    assert store.claim(work.cohort, "worker-1", 60.0) is None


def test_a_claim_that_another_took_over_is_not_found_again(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(1)
    assert store.claim(work.cohort, "worker-1", 60.0, claim_id="a") is not None
    _expire(store, work.cohort)
    taken = store.claim(work.cohort, "worker-2", 60.0, claim_id="b")
    assert taken is not None
    assert store.claim(work.cohort, "worker-1", 60.0, claim_id="a") is None
    store.finish(taken)
    assert store.claim(work.cohort, "worker-2", 60.0, claim_id="b") is None


def test_of_many_that_claim_at_once_one_gets_it(database_url: str, store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(1)
    with open_store(database_url) as other, ThreadPoolExecutor(8) as threads:
        claims = list(threads.map(lambda i: (store, other)[i % 2].claim(work.cohort, f"worker-{i}", 60.0), range(24)))
    assert sum(claim is not None for claim in claims) == 1


def test_an_expired_lease_is_taken_over(store: Store, claimed: Callable[..., Claim]) -> None:
    stale = claimed()
    _expire(store, stale.cohort_id)
    fresh = store.claim(stale.cohort_id, "worker-2", 60.0)
    assert fresh is not None
    assert (fresh.fence, fresh.attempts) == (stale.fence + 1, 2)
    assert fresh.runs[0].started_at == stale.runs[0].started_at


def test_a_lease_that_ran_out_at_the_last_attempt_is_quarantined_and_not_claimed(
    store: Store, claimed: Callable[..., Claim]
) -> None:
    first = claimed(1)
    _expire(store, first.cohort_id)
    second = store.claim(first.cohort_id, "worker-2", 60.0, max_attempts=2)
    assert second is not None
    _expire(store, first.cohort_id)
    # A repeated message must not give a cohort that kills its workers another attempt.
    assert store.claim(first.cohort_id, "worker-3", 60.0, max_attempts=2) is None
    assert store.requeue_expired(2) == []
    cohort = store.cohort(first.cohort_id)
    assert (cohort.state, cohort.attempts) == ("quarantined", 2)


def test_a_stale_worker_writes_nothing(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    stale = claimed()
    _expire(store, stale.cohort_id)
    fresh = store.claim(stale.cohort_id, "worker-2", 60.0)
    assert fresh is not None
    before = (store.cohort(stale.cohort_id), store.run(stale.runs[0].id))
    for write in (
        lambda: store.commit(stale, new_batch(stale)),
        lambda: store.heartbeat(stale, 60.0),
        lambda: store.finish(stale),
        lambda: store.release(stale),
        lambda: store.fail(stale, "Traceback", 1),
    ):
        with pytest.raises(LeaseLost, match="fence 1 is no longer valid"):
            write()
    assert (store.cohort(stale.cohort_id), store.run(stale.runs[0].id)) == before
    assert len(store.steps(stale.runs[0].id)) == 0
    assert store.chunks(stale.runs[0].id, "gradient", 0, 100) == []
    store.commit(fresh, new_batch(fresh))
    assert len(store.steps(stale.runs[0].id)) == 4


def test_a_worker_paused_past_its_lease_finds_the_cohort_taken_back(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed()
    _expire(store, claim.cohort_id)
    assert store.requeue_expired(3) == [claim.cohort_id]
    with pytest.raises(LeaseLost):
        store.commit(claim, new_batch(claim))
    assert store.run(claim.runs[0].id).state == "queued"
    assert store.cohort(claim.cohort_id).owner is None


def test_an_expired_lease_is_extended_while_no_other_claims(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed()
    _expire(store, claim.cohort_id)
    store.heartbeat(claim, 60.0)
    assert store.requeue_expired(3) == []
    assert store.claim(claim.cohort_id, "worker-2", 60.0) is None


def test_a_lease_counts_by_the_clock_of_the_database(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(lease_seconds=-0.001)
    assert store.requeue_expired(3) == [claim.cohort_id]
    assert store.claim(claim.cohort_id, "worker", 3600.0) is not None
    assert store.requeue_expired(3) == []


def test_commits_extend_the_lease(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed()
    _expire(store, claim.cohort_id)
    store.commit(claim, new_batch(claim))
    assert store.requeue_expired(3) == []


def test_releasing_counts_no_attempt(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed()
    for _ in range(5):
        store.release(claim)
        assert store.cohort(claim.cohort_id).state == "queued"
        assert store.run(claim.runs[0].id).state == "queued"
        taken = store.claim(claim.cohort_id, "worker", 60.0)
        assert taken is not None
        claim = taken
    assert claim.attempts == 1


def test_failing_again_and_again_ends_in_quarantine(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1, study="doomed")
    for attempt in (1, 2):
        assert store.fail(claim, f"Traceback {attempt}", 3) == "queued"
        taken = store.claim(claim.cohort_id, "worker", 60.0)
        assert taken is not None
        claim = taken
    assert store.fail(claim, "Traceback \x00 3 \ud800", 3) == "quarantined"
    cohort, run = store.cohort(claim.cohort_id), store.run(claim.runs[0].id)
    assert (cohort.state, cohort.attempts, cohort.error) == ("quarantined", 3, "Traceback \\0 3 ?")
    assert (run.state, run.stop_reason, run.error) == ("failed", "failed", cohort.error)
    assert run.finished_at is not None
    assert store.study("doomed").state == "failed"
    assert store.claim(claim.cohort_id, "worker", 60.0) is None


def test_workers_that_vanish_end_in_quarantine(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(1)
    for attempt in (1, 2, 3):
        assert store.claim(work.cohort, "worker", 60.0) is not None
        _expire(store, work.cohort)
        assert store.requeue_expired(3) == ([work.cohort] if attempt < 3 else [])
    assert store.cohort(work.cohort).state == "quarantined"
    assert "vanished" in str(store.run(work.runs[0].id).error)


def test_progress_resets_the_attempts(
    store: Store, claimed: Callable[..., Claim], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(1)
    for attempt in range(5):
        store.commit(claim, new_batch(claim, first=4 * attempt))
        assert store.fail(claim, "Traceback", 2) == "queued"
        taken = store.claim(claim.cohort_id, "worker", 60.0)
        assert taken is not None
        claim = taken
    assert store.fail(claim, "Traceback", 2) == "quarantined"
    assert store.run(claim.runs[0].id).step == 20


def test_a_finished_run_outlives_its_cohorts_failure(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(2)
    first, second = (run.id for run in claim.runs)
    done = Progress(10, state="finished", stop_reason="diverged")
    store.commit(claim, CommitBatch(60.0, {first: done}))
    store.fail(claim, "Traceback", 1)
    assert (store.run(first).state, store.run(first).stop_reason) == ("finished", "diverged")
    assert store.run(second).state == "failed"


def test_finishing_leaves_no_run_that_reads_running(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    store.finish(claim)
    assert store.run(claim.runs[0].id).state == "failed"
    assert store.cohort_counts() == {"finished": 1}


def test_cohorts_without_a_recent_publication_are_found(store: Store, submitted: Callable[..., Any]) -> None:
    cohorts = [submitted(1).cohort for _ in range(3)]
    assert store.unpublished(5.0) == []
    assert store.unpublished(0.0) == cohorts
    _age(store, 6.0)
    assert store.unpublished(5.0) == cohorts
    store.claim(cohorts[0], "worker", 60.0)
    assert store.unpublished(5.0, limit=1) == cohorts[1:2]


def test_the_wait_doubles_with_each_publication_up_to_a_limit(store: Store, submitted: Callable[..., Any]) -> None:
    cohort = submitted(1).cohort
    for publications, wait in [(1, 10.0), (2, 20.0), (3, 40.0)]:
        store.mark_published([cohort])
        assert store.unpublished(5.0) == []
        _age(store, wait - 1.0)
        assert store.unpublished(5.0) == []
        _age(store, wait + 1.0)
        assert store.unpublished(5.0) == [cohort]
        assert store.cohort(cohort).publications == publications
    for _ in range(40):
        store.mark_published([cohort])
    _age(store, 5.0 * 256 + 1)
    assert store.unpublished(5.0) == [cohort]


def test_publishing_an_unknown_cohort_changes_nothing(store: Store) -> None:
    store.mark_published(["none"])
    store.mark_published([])
    assert store.cohort_counts() == {}


def test_two_reconcilers_take_back_a_cohort_once(
    database_url: str, store: Store, submitted: Callable[..., Any]
) -> None:
    works = [submitted(1) for _ in range(10)]
    for work in works:
        store.claim(work.cohort, "worker", -1.0)
    with open_store(database_url) as other, ThreadPoolExecutor(4) as threads:
        taken = list(threads.map(lambda i: (store, other)[i % 2].requeue_expired(3), range(4)))
    assert sorted(cohort for ids in taken for cohort in ids) == [work.cohort for work in works]
    assert all(store.cohort(work.cohort).fence == 2 for work in works)


def test_cancelling_queued_runs_ends_them_at_once(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2, cohorts=2, study="unwanted")
    store.request_cancel(study="unwanted")
    assert {run.state for run in store.runs().items} == {"cancelled"}
    assert {run.stop_reason for run in store.runs().items} == {"cancelled"}
    assert store.cohort_counts() == {"finished": 2}
    assert store.study("unwanted").state == "cancelled"
    assert store.claim(work.cohort, "worker", 60.0) is None


def test_cancelling_one_of_a_queued_cohort_leaves_the_others(store: Store, submitted: Callable[..., Any]) -> None:
    work = submitted(2)
    store.request_cancel([work.runs[0].id])
    claim = store.claim(work.cohort, "worker", 60.0)
    assert claim is not None
    assert [run.state for run in claim.runs] == ["cancelled", "running"]


def test_a_running_run_is_cancelled_by_its_worker(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(3)
    assert store.requests(claim) == Requests(frozenset(), pause=False)
    store.request_cancel([claim.runs[1].id, "none"])
    assert store.requests(claim) == Requests(frozenset({claim.runs[1].id}), pause=False)
    assert store.run(claim.runs[1].id).state == "running"
    stopped = {claim.runs[1].id: Progress(5, state="cancelled", stop_reason="cancelled")}
    store.commit(claim, CommitBatch(60.0, stopped))
    assert store.requests(claim).cancelled == frozenset()


def test_cancelling_an_ended_run_changes_nothing(store: Store, claimed: Callable[..., Claim]) -> None:
    claim = claimed(1)
    store.commit(claim, CommitBatch(60.0, {claim.runs[0].id: Progress(10, state="finished", stop_reason="finished")}))
    store.finish(claim)
    before = store.run(claim.runs[0].id)
    store.request_cancel([claim.runs[0].id])
    assert store.run(claim.runs[0].id) == before


def test_cancelling_and_claiming_at_once_leaves_no_run_behind(store: Store, submitted: Callable[..., Any]) -> None:
    for _ in range(5):
        work = submitted(2)
        ids = [run.id for run in work.runs]
        with ThreadPoolExecutor(2) as threads:
            asked = threads.submit(store.request_cancel, ids)
            claim = threads.submit(store.claim, work.cohort, "worker", 60.0).result()
            asked.result()
        if claim is None:
            assert {store.run(run_id).state for run_id in ids} == {"cancelled"}
        else:
            live = {run.id for run in claim.runs if not run.ended}
            assert store.requests(claim).cancelled == live
