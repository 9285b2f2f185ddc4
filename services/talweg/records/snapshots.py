"""Snapshots of chosen steps with the optimizer's state, for the pages that explain runs."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from talweg.records.from_spec import cohort_of_run, engine_rules
from talweg.records.replay import check_cost
from talweg.records.steps import records
from talweg.store import RunRow, Store
from talweg_core import Cohort
from talweg_core.checkpoint import unpack
from talweg_core.layout import Array
from talweg_core.optimizers.base import Hyperparameters
from talweg_core.optimizers.coordinate import CoordinateOptimizer, compiled


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One step.

    Attributes:
        parameters, gradient, update: (P,), in the run's precision; update = θ_{t+1} − θ_t.
        before, after: The optimizer's state before and after the update, by name: arrays with one value for each
            coordinate, (P,).
        numbers: The rule's scalars, by name; empty where the rule is not for single coordinates.
        batch: Positions (B,) of the step's training examples.
    """

    step: int
    cost: float
    learning_rate: float
    parameters: Array
    gradient: Array
    update: Array
    before: dict[str, Array]
    after: dict[str, Array]
    numbers: dict[str, float]
    batch: NDArray[np.int64]


def recompute_snapshots(store: Store, run: RunRow, steps: Sequence[int]) -> Iterator[Snapshot]:
    """Snapshots of recorded `steps`, ascending, each recomputed from the nearest checkpoint before it.

    Raises ReplayDiverged where a step's cost is not, bit for bit, the recorded one.
    """
    cohort = cohort_of_run(run)
    recorded = store.steps(run.id, 0, run.step).cost
    for number, step in enumerate(steps):
        _go_to(store, run, cohort, step, first=number == 0)
        yield _snapshot(run, cohort, float(recorded[step]))


def stored_snapshots(store: Store, run: RunRow, steps: Sequence[int]) -> Iterator[Snapshot]:
    """Snapshots of a run whose record is full, as stored, the same on any machine; without the optimizer's state."""
    table = store.steps(run.id, 0, run.step)
    for step in steps:
        gradient = records(store, run, "gradient", step, step + 1)[0]
        last = step + 1 == run.step and not run.ended
        path = records(store, run, "parameters", step, step + (1 if last else 2))
        update = path[-1] - path[0]
        batch = np.empty(0, dtype=np.int64)
        rate = float(table.learning_rate[step])
        yield Snapshot(step, float(table.cost[step]), rate, path[0], gradient, update, {}, {}, {}, batch)


def _go_to(store: Store, run: RunRow, cohort: Cohort, step: int, *, first: bool) -> None:
    """Advance the cohort to `step`, from its current step or from a checkpoint, whichever is nearer."""
    found = store.checkpoint_before(run.id, step)
    if found is not None and (first or found[0] > cohort.step):
        with engine_rules():
            cohort.restore(0, found[1])
    while cohort.step < step:
        cohort.advance()


def _snapshot(run: RunRow, cohort: Cohort, recorded: float) -> Snapshot:
    parameters = cohort.parameters[0].copy()
    before, numbers = _state(cohort), _numbers(cohort)
    batch = cohort.batch(0, cohort.step)
    record = cohort.advance()
    cost = float(record.costs[0])
    check_cost(run, record.step, cost, recorded)
    return Snapshot(
        step=record.step,
        cost=cost,
        learning_rate=float(record.learning_rates[0]),
        parameters=parameters,
        gradient=record.gradient[0].copy(),
        update=cohort.parameters[0] - parameters,
        before=before,
        after=_state(cohort),
        numbers=numbers,
        batch=batch,
    )


def _state(cohort: Cohort) -> dict[str, Array]:
    shape = cohort.parameters.shape
    return {name: array[0].copy() for name, array in cohort.state.items() if array.shape == shape}


def _numbers(cohort: Cohort) -> dict[str, float]:
    """The scalars of the rule's next update."""
    optimizer = cohort.optimizers[0]
    if not isinstance(optimizer, CoordinateOptimizer) or optimizer.around:
        return {}
    hyperparameters = Hyperparameters([optimizer]) | {"learning_rate": cohort.learning_rates()}
    carried = {name: cohort.state[name] for name in optimizer.numbers}
    updates = np.array([float(unpack(cohort.checkpoint(0))[0]["updates"])])
    scalars = optimizer.scalars(hyperparameters | carried if carried else hyperparameters, updates)
    _, names = compiled(type(optimizer))
    return {name: float(np.asarray(scalars[name]).ravel()[0]) for name in names}
