"""What the services' tests share: what the engine alone would have held, to compare records with; how to wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest

from talweg.records import cohort_of, normalise
from talweg.spec import RunSpec
from talweg_core.layout import Array


@dataclass(frozen=True)
class Held:
    """One run's costs (n,), gradients (n, P) and parameters (n + 1, P), straight from the engine."""

    costs: Array
    gradients: Array
    parameters: Array


@pytest.fixture
def held() -> Callable[[RunSpec], Held]:
    """Train a spec in this process, alone, with nothing between engine and answer."""

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
    """Whether two arrays are equal in type, shape and every bit, NaN included."""

    def same(one: Array, other: Array) -> bool:
        return one.dtype == other.dtype and one.shape == other.shape and one.tobytes() == other.tobytes()

    return same


@pytest.fixture
def spec() -> Callable[..., RunSpec]:
    """A small run on real data, with some of its settings changed."""

    def make(**changed: object) -> RunSpec:
        base: dict[str, object] = {"problem": "wine-mlp", "optimizer": "adam", "steps": 150, "seed": 0}
        return RunSpec.model_validate(base | changed)

    return make


@pytest.fixture
def until() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition, for far longer than any takes on a busy machine."""

    def wait(condition: Callable[[], bool], what: str) -> None:
        deadline = time.monotonic() + 120
        while not condition():
            assert time.monotonic() < deadline, f"in vain waited for: {what}"
            time.sleep(0.02)

    return wait
