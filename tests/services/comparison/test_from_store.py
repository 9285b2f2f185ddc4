"""A study's results are what its runs recorded, read with few queries however many runs there are."""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest
from sqlalchemy import event, text

from talweg.comparison import from_store
from talweg.comparison.from_store import comparison_of, results_of
from talweg.comparison.results import Result
from talweg.execution import submit_study, train
from talweg.records import cohort_of
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import Store, StudyRow

SETTINGS = Settings().model_copy(update={"workers": 1, "commit_seconds": 0.02})


def study(store: Store, pieces: bool = False, **changed: object) -> StudyRow:
    """A study that was trained to its end, with `pieces` under a new claim every 40 steps."""
    spec = {"problem": "wine-mlp", "optimizers": ["sgd"], "seeds": 1, "steps": 70} | changed
    submitted = submit_study(store, StudySpec.model_validate(spec), publish=lambda _: None, settings=SETTINGS)
    for cohort in {run.cohort_id for run in store.runs_of(submitted.id)}:
        while store.cohort(cohort).state != "finished":
            train(store, cohort, owner="t", settings=SETTINGS, leave=_after(40) if pieces else lambda: False)
    return store.study(submitted.id)


def _after(steps: int) -> Callable[[], bool]:
    """Returns true after `steps` calls."""
    calls = iter(range(steps))
    return lambda: next(calls, None) is None


@contextmanager
def counted(store: Store) -> Iterator[list[str]]:
    """The SQL statements that are executed meanwhile."""
    statements: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(store.engine, "before_cursor_execute", note)
    try:
        yield statements
    finally:
        event.remove(store.engine, "before_cursor_execute", note)


@pytest.mark.parametrize(
    ("problem", "rates"),
    [("diabetes-linear", (0.01, 1e10)), ("rosenbrock", (1e-4, 10.0))],
    ids=["network", "test function"],
)
def test_results_are_what_the_runs_recorded(store: Store, problem: str, rates: tuple[float, float]) -> None:
    optimizers = [{"name": "sgd", "learning_rate": rate} for rate in rates]
    found = results_of(store, study(store, problem=problem, optimizers=optimizers, seeds=2, evaluate_every=20))
    rows = {run.id: run for run in store.runs_of(store.studies().items[0].id)}
    assert [result.run for result in found] == list(rows)
    assert {result.diverged for result in found} == {False, True}
    for result in found:
        row = rows[result.run]
        _same_costs(result, store.steps(row.id, 0, row.step).cost)
        assert (result.seed, result.steps, result.stop_reason) == (row.seed, row.total_steps, row.stop_reason)
        recorded = [(r.split, r.step, r.cost, r.metric) for r in store.evaluations(row.id)]
        read = [
            (split, int(step), _null(cost), None if own.metrics is None else _null(own.metrics[i]))
            for split, own in result.evaluations.items()
            for i, (step, cost) in enumerate(zip(own.steps, own.costs, strict=True))
        ]
        assert sorted(read) == sorted(recorded)


def _null(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


def _same_costs(result: Result, costs: np.ndarray) -> None:
    """The summary agrees with the array, and the array with what is stored."""
    np.testing.assert_array_equal(result.costs.array, costs)
    finite = costs[np.isfinite(costs)]
    assert result.costs.count == len(costs) > 0
    np.testing.assert_array_equal(
        [result.costs.first, result.costs.last, result.costs.least], [costs[0], costs[-1], finite.min()]
    )


def test_the_number_of_queries_does_not_grow_with_the_runs(store: Store) -> None:
    few = study(store, optimizers=["sgd", "lbfgs"], seeds=2, batch_size=124, steps=5)
    many = study(store, optimizers=["sgd", "lbfgs"], seeds=30, batch_size=124, steps=5)
    with counted(store) as for_few:
        results_of(store, few, timed=True)
    with counted(store) as for_many:
        assert len(results_of(store, many, timed=True)) == 60
    assert len(for_many) == len(for_few)


def test_a_comparison_is_kept_until_a_run_makes_a_step(store: Store) -> None:
    found = study(store, seeds=2)
    first = comparison_of(store, found)
    with counted(store) as statements:
        assert comparison_of(store, found) is first
    assert statements == []
    with store.engine.begin() as connection:
        connection.execute(text("UPDATE runs SET step = step - 1"))
    assert comparison_of(store, store.study(found.id)) is not first


def test_only_so_many_runs_are_kept(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(from_store, "_MOST_RUNS", 3)
    one, other = study(store, seeds=2), study(store, seeds=2)
    first, second = comparison_of(store, one), comparison_of(store, other)
    assert comparison_of(store, other) is second
    assert comparison_of(store, one) is not first


@pytest.mark.parametrize("pieces", [False, True])
@pytest.mark.parametrize("optimizer", ["lbfgs", "sophia", "sam"])
def test_evaluations_are_those_that_the_engine_counted(store: Store, optimizer: str, pieces: bool) -> None:
    # L-BFGS needs all 124 examples in a batch.
    trained = study(store, pieces, batch_size=124, optimizers=[{"name": optimizer, "learning_rate": 0.1}, "adam"])
    found, plain = results_of(store, trained)
    assert plain.evaluations_made is None
    assert found.evaluations_made is not None
    run = store.run(found.run)
    cohort = cohort_of([RunSpec.model_validate(run.spec)])
    expected = []
    for record in cohort.run(run.total_steps):
        made = record.evaluations
        expected.append([int(made.gradients[0]), int(made.costs[0]), int(made.hessian_products[0])])
    assert found.evaluations_made.tolist() == expected
    assert found.evaluations_made.sum() > run.step


def test_every_step_has_its_seconds(store: Store) -> None:
    trained = study(store, pieces=True, seeds=3)
    first, *others = [result.seconds for result in results_of(store, trained, timed=True)]
    assert first is not None
    assert first.shape == (70,)
    assert (first > 0).all()
    # The runs of a cohort share its time.
    for other in others:
        np.testing.assert_array_equal(first, other)
    with store.engine.begin() as connection:
        connection.execute(text("DELETE FROM chunks WHERE quantity = 'seconds' AND first_step = 0"))
    assert [result.seconds for result in results_of(store, trained, timed=True)] == [None, None, None]
    assert [result.seconds for result in results_of(store, trained)] == [None, None, None]
