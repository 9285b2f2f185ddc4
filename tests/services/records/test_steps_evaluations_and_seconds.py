"""Evaluations and seconds of each step: counts equal the engine's, timing changes no bit."""

from collections.abc import Callable

import numpy as np
import pytest
from sqlalchemy import text

from talweg.execution import submit_run, submit_study, train
from talweg.records import cohort_of, evaluations_made, normalise, seconds
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store

SETTINGS = Settings().model_copy(update={"workers": 1, "commit_seconds": 0.02})


@pytest.fixture
def trained(store: Store, spec: Callable[..., RunSpec]) -> Callable[..., RunRow]:
    """Submit a run and train it to its end, with `pieces` under a new claim every 40 steps."""

    def train_it(pieces: bool = False, **changed: object) -> RunRow:
        run = submit_run(store, spec(**changed), publish=lambda _: None, settings=SETTINGS)
        while not store.run(run.id).ended:
            train(store, run.cohort_id, owner="t", settings=SETTINGS, leave=_after(40) if pieces else lambda: False)
        return store.run(run.id)

    return train_it


def _after(steps: int) -> Callable[[], bool]:
    """Returns true after `steps` calls."""
    calls = iter(range(steps))
    return lambda: next(calls, None) is None


def test_steps_of_one_gradient_store_no_counts(store: Store, trained: Callable[..., RunRow]) -> None:
    run = trained(optimizer={"name": "adam", "learning_rate": 0.01})
    assert evaluations_made(store, run) is None
    assert store.chunks(run.id, "evaluations", 0, run.step) == []


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("optimizer", ["lbfgs", "sophia", "sam"])
def test_evaluations_are_those_that_the_engine_counted(
    store: Store, trained: Callable[..., RunRow], optimizer: str, pieces: bool
) -> None:
    # L-BFGS needs all 124 examples in a batch.
    changed: dict[str, object] = {"batch_size": 124, "optimizer": {"name": optimizer, "learning_rate": 0.1}}
    run = trained(pieces=pieces, **changed)
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    counted = []
    for record in cohort.run(run.total_steps):
        made = record.evaluations
        counted.append([int(made.gradients[0]), int(made.costs[0]), int(made.hessian_products[0])])
    found = evaluations_made(store, run)
    assert found is not None
    assert found.tolist() == counted
    assert found.sum() > run.step


def test_every_step_has_its_seconds(store: Store, trained: Callable[..., RunRow]) -> None:
    run = trained(pieces=True)
    found = seconds(store, run)
    assert found is not None
    assert found.shape == (run.total_steps,)
    assert (found > 0).all()
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM chunks WHERE quantity = 'seconds' AND first_step = 0"))
    assert seconds(store, run) is None


def test_runs_of_a_cohort_share_its_seconds(store: Store) -> None:
    spec = StudySpec.model_validate({"problem": "wine-mlp", "optimizers": ["sgd"], "seeds": 3, "steps": 70})
    study = submit_study(store, spec, publish=lambda _: None, settings=SETTINGS)
    runs = store.runs_of(study.id)
    train(store, runs[0].cohort_id, owner="t", settings=SETTINGS)
    first, *others = [seconds(store, store.run(run.id)) for run in runs]
    assert first is not None
    for other in others:
        np.testing.assert_array_equal(first, other)
    assert normalise(spec.runs()[0]).steps == len(first)
