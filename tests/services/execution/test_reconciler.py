"""One pass of the reconciler over the store."""

from collections.abc import Callable

import pytest
from sqlalchemy import update

from talweg.errors import DiskFull, Unreachable
from talweg.execution import reconcile
from talweg.execution.reconciler import AfterFullDisk
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store
from talweg.store.tables import FromNow, cohorts

Submit = Callable[[RunSpec], RunRow]
Spec = Callable[..., RunSpec]


def _publish_nothing(_: str) -> None:
    """Publish nothing."""


def _expire(store: Store, cohort_id: str) -> None:
    """Let the lease run out."""
    with store.engine.begin() as connection:
        connection.execute(update(cohorts).where(cohorts.c.id == cohort_id).values(lease_until=FromNow(-1.0)))


def full() -> None:
    """Raise the error of a write to a full disk."""
    raise DiskFull("database: database or disk is full")


@pytest.fixture
def settings() -> Settings:
    """Settings without waiting times."""
    return Settings().model_copy(update={"workers": 1, "reconcile_seconds": 1e-6, "max_attempts": 2})


def test_what_was_never_published_is(store: Store, submit: Submit, spec: Spec, settings: Settings) -> None:
    published: list[str] = []
    run = submit(spec())
    done = reconcile(store, published.append, settings=settings.model_copy(update={"reconcile_seconds": 0.0}))
    assert published == list(done.published) == [run.cohort_id]


def test_a_published_cohort_waits_before_it_is_published_again(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    submit(spec())
    published: list[str] = []
    patient = settings.model_copy(update={"reconcile_seconds": 60.0})
    for _ in range(3):
        reconcile(store, published.append, settings=patient)
    assert published == []


def test_a_cohort_whose_lease_ran_out_is_taken_back_and_published(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    published: list[str] = []
    run = submit(spec())
    assert store.claim(run.cohort_id, "gone", -1) is not None
    done = reconcile(store, published.append, settings=settings)
    assert done.taken_back == done.published == (run.cohort_id,)
    assert published == [run.cohort_id]
    assert store.run(run.id).state == "queued"


def test_a_live_lease_and_a_finished_cohort_are_left_alone(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    published: list[str] = []
    busy, done = submit(spec()), submit(spec(seed=1))
    assert store.claim(busy.cohort_id, "at work", 60) is not None
    claim = store.claim(done.cohort_id, "quick", 60)
    assert claim is not None
    store.finish(claim)
    assert reconcile(store, published.append, settings=settings).published == ()


def test_a_cohort_that_loses_its_worker_again_and_again_is_given_up(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    run = submit(spec())
    for _ in range(settings.max_attempts):
        assert store.claim(run.cohort_id, "gone", -1) is not None
        reconcile(store, lambda _: None, settings=settings)
    assert store.cohort(run.cohort_id).state == "quarantined"
    assert store.run(run.id).state == "failed"
    assert store.claim(run.cohort_id, "late", 60) is None


def test_a_dead_broker_is_said_and_what_was_published_is_noted(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    published: list[str] = []
    runs = [submit(spec(seed=seed)) for seed in range(3)]
    before = {run.cohort_id: store.cohort(run.cohort_id).publications for run in runs}

    def once(cohort_id: str) -> None:
        if published:
            raise Unreachable("broker: does not answer")
        published.append(cohort_id)

    with pytest.raises(Unreachable):
        reconcile(store, once, settings=settings.model_copy(update={"reconcile_seconds": 0.0}))
    noted = {cohort_id for cohort_id, count in before.items() if store.cohort(cohort_id).publications > count}
    assert noted == set(published)


def test_leases_that_ran_out_while_the_disk_was_full_are_extended_and_count_as_no_attempt(
    store: Store, submit: Submit, spec: Spec, settings: Settings
) -> None:
    now = [0.0]
    disk = AfterFullDisk(settings, clock=lambda: now[0])
    # One attempt, if it is counted.
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
