"""Time limits: a run that reaches its limit stops between two steps, and can be resumed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from sqlalchemy import update

from talweg.errors import Conflict, InvalidSpec
from talweg.execution import resume_run, train
from talweg.execution.submission import resume_study
from talweg.execution.training import TimeLimits
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow, tables

# Seconds: less than any step takes.
NEXT_TO_NOTHING = 1e-9


def _publish_nothing(_: str) -> None: ...


def _evaluated(store: Store, run: RunRow) -> list[tuple[Any, ...]]:
    return [(row.step, row.split, row.cost, row.metric) for row in store.evaluations(run.id)]


def test_a_run_whose_time_is_up_ends_with_that_reason_and_its_record_is_complete(
    store: Store, trained: Callable[[RunSpec], RunRow], spec: Callable[..., RunSpec], held: Any
) -> None:
    asked = spec(max_seconds=NEXT_TO_NOTHING)
    run = trained(asked)
    assert (run.state, run.stop_reason, run.step) == ("cancelled", "time", 1)
    assert run.trained_seconds >= NEXT_TO_NOTHING
    assert store.steps(run.id).cost.tobytes() == held(asked).costs[:1].tobytes()
    assert 1 in store.replay_basis(run.id, 0, 1).digests
    # The time limit is a regular end, so the run is evaluated.
    assert {row.step for row in store.evaluations(run.id)} >= {1}


def test_a_run_resumed_after_its_limit_has_the_bits_of_one_without_a_limit(
    store: Store, trained: Callable[[RunSpec], RunRow], spec: Callable[..., RunSpec], settings: Settings, held: Any
) -> None:
    run = trained(spec(max_seconds=NEXT_TO_NOTHING))
    with pytest.raises(InvalidSpec, match="max_seconds: must be more than"):
        resume_run(store, run, max_seconds=NEXT_TO_NOTHING, publish=_publish_nothing)
    going = resume_run(store, run, publish=_publish_nothing)
    assert RunSpec.model_validate(going.spec).max_seconds is None
    assert train(store, going.cohort_id, owner="test", settings=settings) == "finished"
    done = store.run(run.id)
    assert (done.state, done.stop_reason, done.step) == ("finished", "finished", done.total_steps)
    assert done.trained_seconds > run.trained_seconds
    assert store.steps(run.id).cost.tobytes() == held(spec()).costs.tobytes()
    other = trained(spec())
    assert _evaluated(store, run) == _evaluated(store, other)


def test_a_new_limit_of_a_live_run_is_refused(
    store: Store, trained: Callable[[RunSpec], RunRow], spec: Callable[..., RunSpec]
) -> None:
    run = trained(spec(max_seconds=NEXT_TO_NOTHING))
    going = resume_run(store, run, max_seconds=60.0, publish=_publish_nothing)
    assert resume_run(store, going, max_seconds=60.0, publish=_publish_nothing) == going
    with pytest.raises(Conflict, match="is queued; a new max_seconds is taken when it has ended"):
        resume_run(store, going, max_seconds=90.0, publish=_publish_nothing)


def test_the_time_of_all_attempts_is_counted(
    store: Store, submit: Callable[[RunSpec], RunRow], spec: Callable[..., RunSpec], settings: Settings
) -> None:
    run = submit(spec(max_seconds=3600.0))
    asked: list[None] = []

    def after_a_while() -> bool:
        asked.append(None)
        return len(asked) > 20

    assert train(store, run.cohort_id, owner="one", settings=settings, leave=after_a_while) == "released"
    left = store.run(run.id)
    assert 0 < left.step < left.total_steps
    assert left.trained_seconds > 0
    # Set the limit to the time of the first attempt.
    with store.engine.begin() as connection:
        spent = left.spec | {"max_seconds": left.trained_seconds}
        connection.execute(update(tables.runs).where(tables.runs.c.id == run.id).values(spec=spent))
    assert train(store, run.cohort_id, owner="two", settings=settings) == "finished"
    ended = store.run(run.id)
    assert (ended.state, ended.stop_reason, ended.step) == ("cancelled", "time", left.step)


def test_every_run_of_a_study_has_the_studys_limit_and_none_is_resumed(
    store: Store, submitted_study: Callable[[StudySpec], StudyRow], settings: Settings
) -> None:
    study = submitted_study(
        StudySpec.model_validate(
            {
                "problem": "wine-mlp",
                "optimizers": ["sgd", "adam"],
                "seeds": 2,
                "steps": 50,
                "max_seconds": NEXT_TO_NOTHING,
            }
        )
    )
    for cohort in {run.cohort_id for run in store.runs_of(study.id)}:
        assert train(store, cohort, owner="test", settings=settings) == "finished"
    runs = store.runs_of(study.id)
    assert {(run.state, run.stop_reason, run.step) for run in runs} == {("cancelled", "time", 1)}
    assert resume_study(store, store.study(study.id), publish=_publish_nothing).counts == {"cancelled": 4}


def test_a_spec_without_a_limit_reads_as_it_did_before_there_were_any() -> None:
    asked = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam"})
    limited = RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "max_seconds": 60})
    assert "max_seconds" not in asked.model_dump(mode="json")
    assert limited.model_dump(mode="json")["max_seconds"] == 60
    assert asked.digest != limited.digest
    with pytest.raises(ValueError, match="max_seconds"):
        RunSpec.model_validate({"problem": "wine-mlp", "optimizer": "adam", "max_seconds": 0})


def test_without_limits_no_run_is_over(store: Store, submit: Callable[[RunSpec], RunRow], spec: Any) -> None:
    runs = [store.run(submit(spec()).id)]
    assert TimeLimits(runs).over(np.array([1e9]), np.array([True])) == []
