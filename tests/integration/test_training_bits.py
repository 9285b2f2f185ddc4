"""The same spec and seed give the same bits, for any worker, cohort, database and crash."""

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import pytest

from talweg.records import cohort_of, normalise, records
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow
from talweg_core.layout import Array

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

RUN = RunSpec.model_validate(
    {
        "problem": "digits-mlp",
        "optimizer": {"name": "adam", "learning_rate": 0.001},
        "seed": 3,
        "steps": 300,
        "evaluate_every": 100,
    }
)
# Takes a second or two, time enough to kill a worker in. Its products are far below the size from which a BLAS
# takes more threads, which give other bits: this process may have several, workers have one.
LONG_RUN = RunSpec.model_validate(
    {"problem": "wine-mlp", "optimizer": "adam", "seed": 3, "steps": 6_000, "evaluate_every": 2_500}
)


@cache
def held(run: RunSpec) -> dict[str, Array]:
    """What the engine holds when nothing is around it: costs (n,), gradients (n, P), parameters (n + 1, P)."""
    cohort = cohort_of([normalise(run)])
    costs, gradients, parameters = [], [], [cohort.parameters[0].copy()]
    for record in cohort.run(run.steps):
        costs.append(record.costs[0])
        gradients.append(record.gradient[0].copy())
        parameters.append(cohort.parameters[0].copy())
    return {"costs": np.array(costs), "gradient": np.stack(gradients), "parameters": np.stack(parameters)}


def differing(stack: "Stack", run: RunRow, expected: RunSpec) -> list[str]:
    """What of a run's record differs from the engine in type, shape or any bit."""
    found: dict[str, Array] = {
        "costs": stack.store.steps(run.id).cost,
        "gradient": records(stack.store, run, "gradient", 0, expected.steps),
        "parameters": records(stack.store, run, "parameters", 0, expected.steps + 1),
    }
    return [
        name
        for name, array in held(expected).items()
        if (found[name].dtype, found[name].shape) != (array.dtype, array.shape)
        or found[name].tobytes() != array.tobytes()
    ]


@pytest.mark.parametrize("record", ["full", "replay"])
def test_a_run_alone_has_the_engines_bits(any_stack: "Stack", record: str) -> None:
    any_stack.start_worker()
    run = any_stack.wait(any_stack.submit(RUN.model_copy(update={"record": record})))
    assert run.record == record
    assert differing(any_stack, run, RUN) == []


def test_a_run_in_a_cohort_of_eight_has_the_engines_bits(any_stack: "Stack") -> None:
    study = StudySpec.model_validate(
        RUN.model_dump(exclude={"optimizer", "seed"})
        | {
            "optimizers": [{"name": "adam", "learning_rate": rate} for rate in (0.001, 0.003)],
            "seeds": [1, 2, 3, 4],
        }
    )
    any_stack.start_worker()
    runs = any_stack.store.runs_of(any_stack.submit_study(study).id)
    assert len(runs) == 8
    assert len({run.cohort_id for run in runs}) == 1
    ended = [any_stack.wait(run) for run in runs]
    mine = ended[2]
    assert (mine.seed, mine.spec["optimizer"]["learning_rate"]) == (3, 0.001)
    assert differing(any_stack, mine, RUN) == []


@pytest.mark.parametrize("record", ["full", "replay"])
def test_a_run_whose_worker_was_killed_half_way_has_the_engines_bits(any_stack: "Stack", record: str) -> None:
    first = any_stack.start_worker()
    run = any_stack.submit(LONG_RUN.model_copy(update={"record": record}))
    any_stack.wait_step(run, 100)
    first.kill()
    assert any_stack.store.run(run.id).step < LONG_RUN.steps
    any_stack.start_reconciler()
    any_stack.start_worker()
    run = any_stack.wait(run)
    assert any_stack.store.cohort(run.cohort_id).fence > 1
    assert differing(any_stack, run, LONG_RUN) == []


def test_a_run_whose_worker_was_asked_to_leave_has_the_engines_bits(stack: "Stack") -> None:
    first = stack.start_worker()
    run = stack.submit(LONG_RUN)
    stack.wait_step(run, 100)
    assert first.terminate() == 0
    left = stack.store.run(run.id)
    assert 100 <= left.step < LONG_RUN.steps
    # The leaving worker has published the cohort itself: no reconciler is needed, and the attempt did not count.
    assert (left.state, stack.store.cohort(run.cohort_id).attempts) == ("queued", 0)
    stack.start_worker()
    assert differing(stack, stack.wait(run), LONG_RUN) == []
