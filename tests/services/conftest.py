"""Fixtures of the services' tests: the engine's own record of a run, runs made by hand, trained runs, waiting."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pytest

from talweg.comparison import Costs, Evaluations, Result
from talweg.execution import submit_run, train
from talweg.records import cohort_of, normalise
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_run
from talweg.store import RunRow, Store, open_store
from talweg_core.layout import Array


@dataclass(frozen=True)
class Held:
    """One run's costs (n,), gradients (n, P) and parameters (n + 1, P), directly from the engine."""

    costs: Array
    gradients: Array
    parameters: Array


@pytest.fixture
def held() -> Callable[[RunSpec], Held]:
    """Trains a spec with the engine alone, in this process."""

    def train(spec: RunSpec) -> Held:
        cohort = cohort_of([normalise(spec)])
        costs, gradients, parameters = [], [], [cohort.parameters[0].copy()]
        for record in cohort.run(spec.steps):
            costs.append(record.costs[0])
            gradients.append(record.gradient[0].copy())
            parameters.append(cohort.parameters[0].copy())
        return Held(np.array(costs), np.stack(gradients), np.stack(parameters))

    return train


@pytest.fixture
def same_bits() -> Callable[[Array, Array], bool]:
    """Whether two arrays are equal in dtype, shape and every bit, NaN included."""

    def same(one: Array, other: Array) -> bool:
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()

    return same


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    """Returns the spec of a small run on real data, with the given settings changed."""

    def make(**changed: object) -> RunSpec:
        base: dict[str, object] = {"problem": "wine-mlp", "optimizer": "adam", "steps": 150, "seed": 0}
        return RunSpec.model_validate(base | changed)

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition, up to 120 s: longer than any takes on a busy machine."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, f"{what}: not within 120 s"
            time.sleep(0.02)

    return wait


@pytest.fixture
def result() -> Callable[..., Result]:
    """Make a run: `result("adam", seed=1, costs=[3, 2, 1], validation=[0.5], accuracy=[0.9])`."""

    def make(
        optimizer: str = "adam",
        *,
        seed: int = 0,
        costs: Sequence[float] = (3.0, 2.0, 1.0),
        validation: Sequence[float] | None = None,
        accuracy: Sequence[float] | None = None,
        state: str = "finished",
        stop_reason: str | None = "finished",
        **settings: float | bool,
    ) -> Result:
        evaluations = {}
        if validation is not None:
            metrics = None if accuracy is None else np.array(accuracy)
            steps = np.arange(1, len(validation) + 1)
            evaluations["validation"] = Evaluations(steps, np.array(validation), metrics)
        return Result(
            run=f"{optimizer}-{seed}",
            optimizer={"name": optimizer, "learning_rate": 0.1, **settings},
            seed=seed,
            state=state,
            stop_reason=stop_reason,
            costs=Costs.of(costs),
            evaluations=evaluations,
            metric=None if accuracy is None else "accuracy",
        )

    return make


@pytest.fixture
def local(sqlite_url: str) -> Iterator[Store]:
    """An empty store on SQLite."""
    with open_store(sqlite_url) as opened:
        yield opened


@pytest.fixture
def trained(local: Store) -> Callable[..., RunRow]:
    """Submit a run and train it to its end."""

    def train_it(**spec: object) -> RunRow:
        settings = Settings().model_copy(update={"workers": 1})
        run = submit_run(local, parse_run({"steps": 20} | spec), publish=lambda _: None, settings=settings)
        train(local, run.cohort_id, owner="test", settings=settings)
        return local.run(run.id)

    return train_it
