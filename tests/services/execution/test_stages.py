"""Studies of several stages, and studies that were interrupted: only what is missing runs."""

from collections.abc import Callable

import pytest

from talweg.comparison.reading import results_of
from talweg.comparison.stages import best_learning_rate
from talweg.errors import Conflict
from talweg.execution import extend_studies, reconcile, submit_study, train
from talweg.records import parameters
from talweg.settings import Settings
from talweg.spec import StudySpec
from talweg.store import RunRow, Store, StudyRow

GRID = StudySpec.model_validate(
    {
        "name": "tuned",
        "problems": [{"problem": "wine-mlp", "batch_size": 8}, "rosenbrock"],
        "optimizers": ["sgd", "adam"],
        "protocol": "grid",
        "grid": {"low": 1e-3, "high": 10.0, "points": 5},
        "seeds": 2,
        "steps": 40,
        "evaluate_every": 10,
    }
)
FIXED = StudySpec.model_validate(
    {"name": "plain", "problem": "wine-mlp", "optimizers": ["sgd", "adam"], "seeds": 3, "steps": 200}
)


def nobody(_: str) -> None:
    """Hears of nothing."""


def train_all(store: Store, settings: Settings, study: str, leave: Callable[[], bool] = lambda: False) -> None:
    """Train every cohort that waits, as a worker would."""
    for cohort_id in dict.fromkeys(run.cohort_id for run in store.runs_of(study) if not run.ended):
        train(store, cohort_id, owner="test", settings=settings, leave=leave)


def by_stage(runs: list[RunRow], stage: str) -> list[RunRow]:
    """Those of one stage."""
    return [run for run in runs if run.part is not None and run.part["stage"] == stage]


def test_a_grid_goes_on_with_its_best_setting_and_fresh_seeds(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=nobody, settings=settings)
    assert (study.open, study.runs) == (True, 2 * 2 * 5)
    assert extend_studies(store, nobody, settings=settings) == []
    train_all(store, settings, study.id)
    assert store.study(study.id).state == "running"
    published: list[str] = []
    assert extend_studies(store, published.append, settings=settings) == [study.id]
    # By hand: whoever comes second adds nothing.
    assert extend_studies(store, published.append, settings=settings) == []
    runs = by_stage(store.runs_of(study.id), "final")
    assert set(published) == {run.cohort_id for run in runs}
    assert [(run.part or {})["problem"] for run in runs] == [0, 0, 0, 0, 1, 1, 1, 1]
    assert {run.seed for run in runs} == {0, 1}
    assert {run.seed for run in by_stage(store.runs_of(study.id), "tuning")} == {2}
    tuning = [r for r in results_of(store, study) if r.stage == "tuning"]
    for run in runs:
        part = run.part or {}
        problem = GRID.problem_names()[part["problem"]]
        mine = [r for r in tuning if (r.problem, r.contender) == (problem, part["optimizer"])]
        assert run.spec["optimizer"]["learning_rate"] == best_learning_rate(mine)
    train_all(store, settings, study.id)
    assert store.study(study.id).state == "finished"


def test_the_reconciler_extends_a_study_whose_worker_died_before_it_could(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=nobody, settings=settings)
    train_all(store, settings, study.id)
    reconcile(store, nobody, settings=settings)
    assert len(by_stage(store.runs_of(study.id), "final")) == 2 * 2 * 2


def test_a_cancelled_grid_has_no_next_stage_until_it_is_asked_for_again(store: Store, settings: Settings) -> None:
    study = submit_study(store, GRID, publish=nobody, settings=settings)
    store.request_cancel(study=study.id)
    assert store.study(study.id).state == "cancelled"
    assert extend_studies(store, nobody, settings=settings) == []
    again = submit_study(store, GRID, publish=nobody, settings=settings)
    assert (again.id, again.open, again.counts) == (study.id, True, {"queued": 20})
    train_all(store, settings, study.id)
    assert extend_studies(store, nobody, settings=settings) == [study.id]


@pytest.mark.parametrize("after", [0, 1, 70, 150])
def test_an_interrupted_study_runs_only_what_is_missing(store: Store, settings: Settings, after: int) -> None:
    """Left by its worker after some steps, cancelled there, and submitted again."""
    study = submit_study(store, FIXED, publish=nobody, settings=settings)
    calls = iter(range(after))
    train_all(store, settings, study.id, leave=lambda: next(calls, None) is None)
    before = {run.id: run.step for run in store.runs_of(study.id)}
    store.request_cancel(study=study.id)
    published: list[str] = []
    again = submit_study(store, FIXED, publish=published.append, settings=settings)
    assert again.id == study.id
    assert {run.id: run.step for run in store.runs_of(study.id)} == before
    assert set(published) == {run.cohort_id for run in store.runs_of(study.id) if run.state == "queued"}
    train_all(store, settings, study.id)
    whole = submit_study(store, FIXED.model_copy(update={"name": "whole"}), publish=nobody, settings=settings)
    train_all(store, settings, whole.id)
    for run, other in zip(store.runs_of(study.id), store.runs_of(whole.id), strict=True):
        assert (run.state, run.step) == ("finished", 200)
        assert store.steps(run.id).cost.tobytes() == store.steps(other.id).cost.tobytes()
        assert parameters(store, run, 200).tobytes() == parameters(store, other, 200).tobytes()
        assert store.evaluations(run.id) == store.evaluations(other.id)


def test_a_finished_study_submitted_again_runs_nothing(store: Store, settings: Settings) -> None:
    study = submit_study(store, FIXED, publish=nobody, settings=settings)
    train_all(store, settings, study.id)
    published: list[str] = []
    again: StudyRow = submit_study(store, FIXED, publish=published.append, settings=settings)
    assert (again.id, again.counts, published) == (study.id, {"finished": 6}, [])


def test_another_study_does_not_resume_under_the_name(store: Store, settings: Settings) -> None:
    submit_study(store, FIXED, publish=nobody, settings=settings)
    with pytest.raises(Conflict, match="another study"):
        submit_study(store, FIXED.model_copy(update={"steps": 201}), publish=nobody, settings=settings)
