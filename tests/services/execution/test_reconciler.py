"""One pass over the store."""

from collections.abc import Callable

import pytest

from talweg.errors import Unreachable
from talweg.execution import reconcile
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store

Submit = Callable[[RunSpec], RunRow]
Spec = Callable[..., RunSpec]


@pytest.fixture
def settings() -> Settings:
    """Nothing waits."""
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
