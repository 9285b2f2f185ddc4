"""Studies whose report MLflow does not have yet."""

from collections.abc import Callable
from typing import Any

from talweg.store import CommitBatch, Progress, Store


def test_a_study_is_reported_once_all_of_its_runs_have_ended_and_are_mirrored(
    store: Store, claimed: Callable[..., Any], new_batch: Callable[..., CommitBatch]
) -> None:
    claim = claimed(2, study="reported")
    study, (first, second) = store.study("reported"), claim.runs
    store.commit(claim, new_batch(claim))
    for run in (first, second):
        store.mark_mirrored(run.id, 4, "mlflow", "running")
    assert store.unreported_studies() == []
    ended = {run.id: Progress(4, state="finished", stop_reason="finished") for run in (first, second)}
    store.commit(claim, CommitBatch(60.0, ended))
    store.mark_mirrored(first.id, 4, None, "finished")
    assert store.unreported_studies() == []
    store.mark_mirrored(second.id, 4, None, "finished")
    assert store.unreported_studies() == [study.id]
    assert not store.study("reported").mlflow_told
    store.mark_study_reported(study.id)
    assert store.unreported_studies() == []
    assert store.study("reported").mlflow_told


def test_a_study_is_reported_again_when_a_run_of_it_is_mirrored_again(
    store: Store, claimed: Callable[..., Any], new_batch: Callable[..., CommitBatch]
) -> None:
    claim, other = claimed(1, study="again"), claimed(1, study="other")
    for each in (claim, other):
        (run,) = each.runs
        store.commit(each, new_batch(each, progress={run.id: Progress(4, state="finished", stop_reason="finished")}))
        store.mark_mirrored(run.id, 4, "mlflow", "finished")
        store.mark_study_reported(run.study_id)
    assert store.unreported_studies() == []
    store.mark_mirrored(claim.runs[0].id, 4, "mlflow", "finished")
    assert store.unreported_studies() == [store.study("again").id]


def test_runs_of_no_study_and_empty_laboratories_leave_nothing_to_report(
    store: Store, claimed: Callable[..., Any], new_batch: Callable[..., CommitBatch]
) -> None:
    assert store.unreported_studies() == []
    claim = claimed(1)
    (run,) = claim.runs
    store.commit(claim, new_batch(claim, progress={run.id: Progress(4, state="finished", stop_reason="finished")}))
    store.mark_mirrored(run.id, 4, "mlflow", "finished")
    assert store.unreported_studies() == []
