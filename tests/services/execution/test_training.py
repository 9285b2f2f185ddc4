"""A cohort from claim to finish, in this process, on both databases."""

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np
import pytest

from talweg.errors import CorruptRecord, LeaseLost
from talweg.execution import train
from talweg.records import norms, records
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow
from talweg_core import Cohort

Submit = Callable[[RunSpec], RunRow]


def after(steps: int) -> Callable[[], bool]:
    """True from the call on that comes before step `steps` of this training."""
    asked = iter(range(steps))
    return lambda: next(asked, None) is None


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("precision", ["float32", "float64"])
def test_records_are_what_the_engine_computed(
    store: Store, trained: Submit, spec: Callable[..., RunSpec], held: Any, record: str, precision: str
) -> None:
    asked = spec(record=record, precision=precision, steps=200)
    run, engine = trained(asked), held(asked)
    assert (run.state, run.stop_reason, run.step) == ("finished", "finished", 200)
    assert store.steps(run.id).cost.tobytes() == engine.costs.tobytes()
    gradients, parameters = records(store, run, "gradient", 0, 200), records(store, run, "parameters", 0, 201)
    assert gradients.dtype == parameters.dtype == precision
    assert gradients.tobytes() == engine.gradients.tobytes()
    assert parameters.tobytes() == engine.parameters.tobytes()


@pytest.mark.parametrize("record", ["full", "replay"])
@pytest.mark.parametrize("optimizer", ["sgd", "momentum", "nesterov", "rmsprop", "adam", "adamw"])
def test_a_training_interrupted_twice_has_the_same_record(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    held: Any,
    record: str,
    optimizer: str,
) -> None:
    asked = spec(record=record, optimizer=optimizer)
    run, engine = submit(asked), held(asked)
    for steps, outcome in ((37, "released"), (64, "released"), (10_000, "finished")):
        assert train(store, run.cohort_id, owner="test", settings=settings, leave=after(steps)) == outcome
    run = store.run(run.id)
    assert store.steps(run.id).cost.tobytes() == engine.costs.tobytes()
    assert records(store, run, "gradient", 0, 150).tobytes() == engine.gradients.tobytes()
    assert records(store, run, "parameters", 0, 151).tobytes() == engine.parameters.tobytes()
    evaluated = [(row.step, row.split) for row in store.evaluations(run.id)]
    assert evaluated == [(0, "validation"), (50, "validation"), (100, "validation"), (150, "test"), (150, "validation")]


def test_norms_are_those_of_gradient_parameters_and_update(
    store: Store, trained: Submit, spec: Callable[..., RunSpec], held: Any
) -> None:
    asked = spec(precision="float64")
    run, engine = trained(asked), held(asked)
    found, first = norms(store, run, 0, 150), slice(0, 13 * 16)
    assert found.shape == (150, 3, 4)
    updates = np.diff(engine.parameters, axis=0)
    for position, values in enumerate((engine.gradients, engine.parameters[:-1], updates)):
        # Summed in another order, in float64.
        np.testing.assert_allclose(found[:, position, 0], np.linalg.norm(values[:, first], axis=1), rtol=1e-12)
    table = store.steps(run.id)
    np.testing.assert_allclose(table.gradient_norm, np.linalg.norm(engine.gradients, axis=1), rtol=1e-12)
    np.testing.assert_allclose(table.update_norm, np.linalg.norm(updates, axis=1), rtol=1e-12)
    assert run.best_cost == engine.costs.min()
    assert run.cost == engine.costs[-1]


def test_each_run_of_a_cohort_has_its_own_end(
    store: Store, submitted_study: Callable[[StudySpec], StudyRow], settings: Settings
) -> None:
    rates = [1e30, 0.01]
    study = submitted_study(
        StudySpec.model_validate(
            {
                "problem": "diabetes-linear",
                "optimizers": [{"name": "sgd", "learning_rate": rate} for rate in rates],
                "seeds": 1,
                "steps": 100,
            }
        )
    )
    wild, tame = store.runs_of(study.id)
    assert wild.cohort_id == tame.cohort_id
    assert train(store, wild.cohort_id, owner="test", settings=settings) == "finished"
    wild, tame = store.runs_of(study.id)
    assert (tame.state, tame.stop_reason, tame.step) == ("finished", "finished", 100)
    assert (wild.state, wild.stop_reason) == ("finished", "diverged")
    assert wild.step < 20
    assert len(store.steps(wild.id)) == wild.step
    last = records(store, wild, "parameters", wild.step - 1, wild.step + 1)
    # Frozen where it diverged.
    assert last[0].tobytes() == last[1].tobytes()
    assert wild.cost is None or not np.isfinite(wild.cost)


def test_a_diverged_run_replays_to_the_same_end(store: Store, trained: Submit) -> None:
    wild = {"problem": "diabetes-linear", "optimizer": {"name": "sgd", "learning_rate": 1e30}, "record": "replay"}
    run = trained(RunSpec.model_validate(wild))
    assert run.stop_reason == "diverged"
    assert len(records(store, run, "gradient", 0, run.step)) == run.step


def test_a_cohort_is_trained_once(
    store: Store, trained: Submit, settings: Settings, spec: Callable[..., RunSpec]
) -> None:
    run = trained(spec(steps=5))
    assert train(store, run.cohort_id, owner="test", settings=settings) == "unclaimed"
    assert train(store, "no such cohort", owner="test", settings=settings) == "unclaimed"
    assert store.run(run.id) == run


def test_an_error_is_written_to_the_cohort_and_ends_in_quarantine(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def explode(_: Cohort) -> None:
        raise MemoryError("no room for the gradient")

    monkeypatch.setattr(Cohort, "advance", explode)
    run = submit(spec())
    outcomes = [train(store, run.cohort_id, owner="test", settings=settings) for _ in range(settings.max_attempts)]
    assert outcomes == ["queued", "queued", "quarantined"]
    failed = store.run(run.id)
    assert failed.state == "failed"
    assert failed.error is not None
    assert "MemoryError: no room for the gradient" in failed.error


def test_an_error_in_the_writer_is_raised(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    here = get_ident()

    def full(*_: object, **__: object) -> None:
        assert get_ident() != here, "commits belong to the writer's thread"
        raise OSError("no space left on device")

    monkeypatch.setattr(Store, "commit", full)
    run = submit(spec())
    assert train(store, run.cohort_id, owner="test", settings=settings) == "queued"
    assert "no space left on device" in (store.cohort(run.cohort_id).error or "")


def test_a_worker_that_lost_the_lease_stops_and_writes_nothing_more(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run = submit(spec(steps=100_000))
    commit = Store.commit
    commits = []

    def late(self: Store, claim: Any, batch: Any, *, again: bool = False) -> None:
        commits.append(claim)
        if len(commits) == 3:
            # The database's clock passes the lease, and another worker takes the cohort.
            commit(self, claim, type(batch)(lease_seconds=-1))
            assert self.claim(run.cohort_id, "another", 60) is not None
        commit(self, claim, batch)

    monkeypatch.setattr(Store, "commit", late)
    assert train(store, run.cohort_id, owner="test", settings=settings) == "lost"
    assert len(commits) == 3
    assert store.cohort(run.cohort_id).owner == "another"


def test_a_heartbeat_that_finds_the_lease_lost_stops_the_training(
    store: Store,
    submit: Submit,
    settings: Settings,
    spec: Callable[..., RunSpec],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def lost(*_: object) -> None:
        raise LeaseLost("cohort: another worker holds it")

    monkeypatch.setattr(Store, "heartbeat", lost)
    quick = settings.model_copy(update={"heartbeat_seconds": 0.01, "commit_seconds": 1e6})
    run = submit(spec(steps=10_000_000))
    assert train(store, run.cohort_id, owner="test", settings=quick) == "lost"


def test_a_cancelled_run_ends_alone(
    store: Store, submitted_study: Callable[[StudySpec], StudyRow], settings: Settings
) -> None:
    study = {"problem": "wine-mlp", "optimizers": ["adam"], "seeds": 2, "steps": 3000, "record": "replay"}
    one, other = store.runs_of(submitted_study(StudySpec.model_validate(study)).id)
    asked = False

    def ask_meanwhile() -> bool:
        nonlocal asked
        if not asked and store.run(one.id).step:
            store.request_cancel([one.id])
            asked = True
        return False

    assert train(store, one.cohort_id, owner="test", settings=settings, leave=ask_meanwhile) == "finished"
    one, other = store.run(one.id), store.run(other.id)
    assert (one.state, one.stop_reason) == ("cancelled", "cancelled")
    assert 0 < one.step < 3000
    assert (other.state, other.step) == ("finished", 3000)
    assert len(records(store, one, "parameters", 0, one.step + 1)) == one.step + 1


def test_a_run_whose_checkpoint_is_missing_is_not_trained_on(
    store: Store, submit: Submit, settings: Settings, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(spec())
    assert train(store, run.cohort_id, owner="test", settings=settings, leave=after(30)) == "released"
    monkeypatch.setattr(Store, "latest_checkpoints", lambda *_: {})
    assert train(store, run.cohort_id, owner="test", settings=settings) == "queued"
    assert CorruptRecord.__name__ in (store.cohort(run.cohort_id).error or "")


def test_a_run_begun_under_other_numerics_is_not_trained_on(
    store: Store, submit: Submit, settings: Settings, spec: Callable[..., RunSpec], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = submit(spec())
    assert train(store, run.cohort_id, owner="test", settings=settings, leave=after(30)) == "released"
    monkeypatch.setattr("talweg_core.numerics.fingerprint", lambda: {"cpu": "another"})
    assert train(store, run.cohort_id, owner="test", settings=settings) == "queued"
    assert "this worker has {'cpu': 'another'}" in (store.cohort(run.cohort_id).error or "")
