"""Submission: specs become committed and published work."""

from collections.abc import Callable
from typing import Any

import pytest

from talweg.errors import Conflict, InvalidSpec, Unreachable
from talweg.execution import submit_run, submit_study
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import Store

Spec = Callable[..., RunSpec]


class Broker:
    """Keeps what was published; refuses it where it is down."""

    def __init__(self, *, down: bool = False) -> None:
        """Up, unless said otherwise."""
        self.down = down
        self.published: list[str] = []

    def __call__(self, cohort_id: str) -> None:
        """Take an id."""
        if self.down:
            raise Unreachable("broker: does not answer")
        self.published.append(cohort_id)


def study(**changed: Any) -> StudySpec:
    """Two optimizers, three seeds."""
    return StudySpec.model_validate({"problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 3} | changed)


def test_a_run_is_committed_with_every_default_then_published(store: Store, spec: Spec, settings: Settings) -> None:
    broker = Broker()
    run = submit_run(store, spec(), publish=broker, settings=settings)
    assert (run.state, run.step, run.total_steps, run.record) == ("queued", 0, 150, "full")
    assert run.spec["optimizer"]["beta1"] == 0.9
    assert run.spec["batch_size"] == 16
    assert [(tensor["name"], tensor["shape"]) for tensor in run.tensors] == [
        ("dense1.weight", [13, 16]),
        ("dense1.bias", [16]),
        ("dense2.weight", [16, 3]),
        ("dense2.bias", [3]),
    ]
    assert broker.published == [run.cohort_id]
    assert store.cohort(run.cohort_id).publications == 1


def test_a_dead_broker_fails_no_submission(store: Store, spec: Spec, settings: Settings) -> None:
    run = submit_run(store, spec(), publish=Broker(down=True), settings=settings)
    cohort = store.cohort(run.cohort_id)
    assert (cohort.state, cohort.publications, cohort.published_at) == ("queued", 0, None)
    assert store.unpublished(0) == [run.cohort_id]


def test_what_is_refused_leaves_nothing_behind(store: Store, spec: Spec, settings: Settings) -> None:
    broker = Broker()
    for wrong in (spec(optimizer="adm"), spec(problem="wine"), spec(batch_size=10**6)):
        with pytest.raises(InvalidSpec):
            submit_run(store, wrong, publish=broker, settings=settings)
    with pytest.raises(InvalidSpec):
        submit_study(store, study(optimizers=["sgd", "adm"]), publish=broker, settings=settings)
    assert (store.runs().items, store.studies().items, broker.published) == ([], [], [])


def test_a_study_has_its_runs_in_the_order_of_its_spec(store: Store, settings: Settings) -> None:
    broker = Broker()
    made = submit_study(store, study(name="wines"), publish=broker, settings=settings)
    runs = store.runs_of(made.id)
    assert [run.name for run in runs] == [
        "wines-sgd-s0", "wines-sgd-s1", "wines-sgd-s2", "wines-adam-s0", "wines-adam-s1", "wines-adam-s2"
    ]  # fmt: skip
    assert made.counts == {"queued": 6}
    assert sorted(broker.published) == sorted({run.cohort_id for run in runs})
    assert [run.row for run in runs] == [0, 1, 2, 0, 1, 2]


def test_settings_of_one_optimizer_are_numbered(store: Store, settings: Settings) -> None:
    rates = [{"name": "sgd", "learning_rate": rate} for rate in (0.1, 0.2)]
    made = submit_study(store, study(optimizers=rates, seeds=[7], name="rates"), publish=Broker(), settings=settings)
    assert [run.name for run in store.runs_of(made.id)] == ["rates-sgd1-s7", "rates-sgd2-s7"]


def test_a_name_returns_the_equal_run_or_study(store: Store, spec: Spec, settings: Settings) -> None:
    broker = Broker()
    first = submit_run(store, spec(name="mine"), publish=broker, settings=settings)
    assert submit_run(store, spec(name="mine"), publish=broker, settings=settings).id == first.id
    with pytest.raises(Conflict, match="mine"):
        submit_run(store, spec(name="mine", seed=1), publish=broker, settings=settings)
    known = submit_study(store, study(name="ours"), publish=broker, settings=settings)
    assert submit_study(store, study(name="ours"), publish=broker, settings=settings).id == known.id
    with pytest.raises(Conflict, match="ours"):
        submit_study(store, study(name="ours", seeds=2), publish=broker, settings=settings)
    assert len(store.runs(limit=100).items) == 7


def test_a_key_makes_a_retried_submission_safe(store: Store, spec: Spec, settings: Settings) -> None:
    broker = Broker()
    first = submit_run(store, spec(), idempotency_key="k", publish=broker, settings=settings)
    again = submit_run(store, spec(), idempotency_key="k", publish=broker, settings=settings)
    assert again.id == first.id
    assert broker.published == [first.cohort_id]
    with pytest.raises(Conflict):
        submit_run(store, spec(seed=1), idempotency_key="k", publish=broker, settings=settings)


def test_cohorts_published_before_the_broker_fails_are_recorded(store: Store, settings: Settings) -> None:
    broker = Broker()

    def twice(cohort_id: str) -> None:
        broker.down = len(broker.published) == 1
        broker(cohort_id)

    made = submit_study(store, study(optimizers=["sgd", "adam", "rmsprop"]), publish=twice, settings=settings)
    cohorts = {run.cohort_id for run in store.runs_of(made.id)}
    assert sum(store.cohort(cohort).publications for cohort in cohorts) == len(broker.published) == 1
