"""Signs of trouble, on both databases."""

from collections.abc import Callable
from typing import Any

from talweg.store import Backlog, Claim, CommitBatch, Store


def test_an_empty_laboratory_has_no_reconciler_and_no_trouble(store: Store) -> None:
    signs = store.signs()
    assert (signs.waiting, signs.working, signs.silent, signs.failed, signs.unmirrored) == (0, 0, 0, 0, 0)
    assert (signs.reconciler, signs.reason, signs.stopped) == (None, None, None)


def test_waiting_working_silent_and_failed_are_counted(
    store: Store, submitted: Callable[..., Any], claimed: Callable[..., Claim]
) -> None:
    submitted(1)
    store.request_pause([submitted(1).runs[0].id])
    claimed(1)
    claimed(1, lease_seconds=-1.0)
    store.fail(claimed(1), "Traceback\n  a line\nValueError: broken\n", 1)
    assert store.lead("reconciler", "host:1", 60.0)
    signs = store.signs()
    assert (signs.waiting, signs.working, signs.silent, signs.failed) == (1, 1, 1, 1)
    assert (signs.reason, signs.reconciler, signs.unmirrored) == ("ValueError: broken", "host:1", 5)
    assert 0 <= signs.waiting_seconds < 3600
    assert 0 <= signs.unmirrored_seconds < 3600


def test_a_cohort_released_for_a_database_error_is_reported_until_it_continues(
    store: Store, claimed: Callable[..., Claim]
) -> None:
    claim = claimed(1)
    store.release(claim, "database: database or disk is full")
    assert store.signs().stopped == "database: database or disk is full"
    taken = store.claim(claim.cohort_id, "worker", 60.0)
    assert taken is not None
    store.commit(taken, CommitBatch(60.0))
    assert store.signs().stopped is None


def test_the_backlog_of_the_mirror_counts_runs_and_takes_the_last_minutes_pace(
    store: Store, claimed: Callable[..., Any]
) -> None:
    assert store.backlog() == Backlog(0, 0, 0.0)
    runs = claimed(4).runs
    assert store.backlog() == Backlog(4, 4, None)
    store.mark_all_mirrored([(run, "mlflow") for run in runs[:3]])
    # Three in the last minute: one more takes 20 s.
    assert store.backlog() == Backlog(4, 1, 20.0)
    store.mark_all_mirrored([(runs[3], "mlflow")])
    assert store.backlog() == Backlog(4, 0, 0.0)
