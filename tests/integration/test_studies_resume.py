"""Studies on real workers: a grid is extended automatically, and a study that lost its worker completes."""

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from talweg.records import cohort_of
from talweg.spec import RunSpec, StudySpec

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

GRID = StudySpec.model_validate(
    {
        "name": "tuned",
        "problem": "wine-mlp",
        "optimizers": ["sgd", "adam"],
        "protocol": "grid",
        "grid": {"low": 1e-3, "high": 1.0, "points": 3},
        "seeds": 2,
        "steps": 1500,
        "evaluate_every": 500,
    }
)


def test_a_grid_killed_in_both_stages_and_submitted_again_runs_only_what_is_missing(
    stack: "Stack", eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    study = stack.submit_study(GRID)
    worker = stack.start_worker()
    eventually(lambda: stack.store.study(study.id).steps_done > 1000, "some steps of the tuning")
    worker.kill()
    assert stack.submit_study(GRID).id == study.id
    worker = stack.start_worker()
    # The reconciler publishes the cohort of the killed worker.
    stack.start_reconciler()
    eventually(lambda: not stack.store.study(study.id).open, "the second stage")
    judged = [run for run in stack.store.runs_of(study.id) if (run.part or {})["stage"] == "final"]
    eventually(lambda: stack.store.run(judged[0].id).step > 100, "some steps of the second stage")
    worker.kill()
    assert stack.submit_study(GRID).id == study.id
    stack.start_worker()
    eventually(lambda: stack.store.study(study.id).state == "finished", "the study")
    runs = stack.store.runs_of(study.id)
    assert len(runs) == 2 * 3 + 2 * 2
    for run in runs:
        table = stack.store.steps(run.id)
        # Each step was recorded once, as the engine makes it without any interruption.
        assert table.step.tolist() == list(range(1500))
    spec = RunSpec.model_validate(judged[0].spec)
    costs = np.array([record.costs[0] for record in cohort_of([spec]).run(1500)])
    assert stack.store.steps(judged[0].id).cost.tobytes() == costs.tobytes()


LEARNS = StudySpec.model_validate(
    {
        "name": "learns",
        "problem": "wine-mlp",
        "optimizers": ["sgd", "adam"],
        "protocol": "search",
        "search": {"trials": 4, "startup": 2, "sampler": "tpe"},
        "seeds": 2,
        "steps": 600,
        "evaluate_every": 300,
    }
)


def test_a_search_by_tpe_needs_no_client_and_survives_its_worker(
    stack: "Stack", eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    """Two workers look for what follows, and one of them is killed on the way: each trial is made once."""
    study = stack.submit_study(LEARNS)
    workers = [stack.start_worker(), stack.start_worker()]
    stack.start_reconciler()
    eventually(lambda: stack.store.study(study.id).runs == 2 * 2 * 3, "the first trials that were suggested")
    workers[0].kill()
    eventually(lambda: stack.store.study(study.id).state == "finished", "the study")
    runs = stack.store.runs_of(study.id)
    trials = sorted((part["optimizer"], run.seed, part["trial"]) for run in runs if (part := run.part) is not None)
    assert trials == [(optimizer, seed, trial) for optimizer in (0, 1) for seed in (0, 1) for trial in range(4)]
    assert {(run.state, run.step) for run in runs} == {("finished", 600)}
