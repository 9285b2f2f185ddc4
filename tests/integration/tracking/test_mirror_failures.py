"""The mirror while MLflow is unreachable, refuses, or has lost its content."""

import math
import uuid
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient

from talweg.errors import Unreachable
from talweg.tracking import connect
from talweg.tracking.delays import FIRST_DELAY
from talweg.tracking.destination import Destination, Refused
from talweg.tracking.metrics import Series
from talweg.tracking.mirror import Mirror

BUDGET = 50_000


def drain(mirror: Mirror) -> None:
    """Mirror everything."""
    while mirror.drain():
        pass


@pytest.fixture
def mirror(laboratory: Any, destination: Destination) -> Mirror:
    """A mirror from the laboratory to the server."""
    return Mirror(laboratory.store, destination, budget=BUDGET, files=False)


def costs_of(client: MlflowClient, laboratory: Any, run: Any) -> list[tuple[int, float]]:
    """The cost's history in MLflow."""
    points = client.get_metric_history(laboratory.store.run(run.id).mlflow_run_id, "cost")
    return [(point.step, point.value) for point in points]


def test_an_unreachable_server_is_reported_at_once_and_nothing_is_lost(laboratory: Any, mirror: Mirror) -> None:
    worker, (run,) = laboratory.submit()
    worker.finish(run)
    # Nothing listens on port 9.
    with pytest.raises(Unreachable, match=r"127\.0\.0\.1:9"):
        Mirror(laboratory.store, connect("http://127.0.0.1:9"), budget=BUDGET, files=False).drain()
    assert [row.id for row in laboratory.store.outbox()] == [run.id]
    drain(mirror)
    assert laboratory.store.outbox() == []


def test_a_run_deleted_in_mlflow_is_not_created_again(laboratory: Any, mirror: Mirror, client: MlflowClient) -> None:
    worker, (run,) = laboratory.submit()
    worker.record(run, 10)
    drain(mirror)
    run_id = laboratory.store.run(run.id).mlflow_run_id
    client.delete_run(run_id)
    worker.finish(run)
    drain(mirror)
    assert laboratory.store.outbox() == []
    assert client.get_run(run_id).info.lifecycle_stage == "deleted"


def test_an_existing_experiment_gets_the_tags_it_lacks_and_keeps_changed_ones(
    destination: Destination, client: MlflowClient
) -> None:
    study = str(uuid.uuid4())
    experiment = destination.experiment(study, f"older {study}", {"note": "as it was"})
    client.set_experiment_tag(experiment, "note", "changed by hand")
    assert destination.experiment(study, f"older {study}", {"note": "anew", "view": "charts"}) == experiment
    tags = client.get_experiment(experiment).tags
    assert (tags["note"], tags["view"]) == ("changed by hand", "charts")


def test_a_deleted_experiment_is_restored_for_new_runs(laboratory: Any, mirror: Mirror, client: MlflowClient) -> None:
    worker, (first,) = laboratory.submit()
    worker.finish(first)
    drain(mirror)
    experiment = client.get_run(laboratory.store.run(first.id).mlflow_run_id).info.experiment_id
    client.delete_experiment(experiment)
    worker, (second,) = laboratory.submit()
    worker.finish(second)
    drain(Mirror(laboratory.store, connect(mirror.destination.url), budget=BUDGET, files=False))
    assert len(costs_of(client, laboratory, second)) == 100
    assert client.get_experiment(experiment).lifecycle_stage == "active"


def test_a_run_that_the_server_does_not_have_is_sent_from_the_start(
    laboratory: Any, mirror: Mirror, client: MlflowClient
) -> None:
    worker, (run,) = laboratory.submit()
    worker.record(run, 60)
    laboratory.store.mark_mirrored(run.id, 50, uuid.uuid4().hex, "running")
    drain(mirror)
    assert [step for step, _ in costs_of(client, laboratory, run)] == list(range(60))


def test_a_foreign_experiment_of_the_same_name_is_left_alone(
    laboratory: Any, mirror: Mirror, client: MlflowClient
) -> None:
    foreign = client.create_experiment("someone else's")
    worker, (run,) = laboratory.submit(study="someone else's")
    worker.finish(run)
    drain(mirror)
    mine = client.get_run(laboratory.store.run(run.id).mlflow_run_id).info.experiment_id
    assert mine != foreign
    assert client.get_experiment(mine).name.startswith("someone else's (")
    assert client.search_runs([foreign]) == []


def test_a_refused_run_is_retried_later_and_delays_no_other(
    laboratory: Any, destination: Destination, monkeypatch: pytest.MonkeyPatch
) -> None:
    worker, (first, second) = laboratory.submit(seeds=2)
    worker.finish(first)
    worker.finish(second)
    now = [0.0]
    mirror = Mirror(laboratory.store, destination, budget=BUDGET, clock=lambda: now[0])
    send, refuse = destination.send, [laboratory.store.run(first.id)]

    def choosy(run_id: str, series: list[Series]) -> int:
        if refuse:
            refuse.pop()
            raise Refused("MLflow: not this one")
        return send(run_id, series)

    monkeypatch.setattr(destination, "send", choosy)
    drain(mirror)
    assert [run.id for run in laboratory.store.outbox()] == [first.id]
    drain(mirror)
    assert [run.id for run in laboratory.store.outbox()] == [first.id]
    now[0] += FIRST_DELAY
    drain(mirror)
    assert laboratory.store.outbox() == []


def test_a_diverged_run_has_its_finite_costs_and_says_where_it_diverged(
    laboratory: Any, mirror: Mirror, client: MlflowClient
) -> None:
    worker, (nan, infinite) = laboratory.submit(seeds=2, study="diverged")
    last = {"state": "finished", "stop_reason": "diverged"}
    worker.record(nan, 3, costs=np.array([1.0, 2.0, math.nan]), **last)
    worker.record(infinite, 3, costs=np.array([1.0, 2.0, math.inf]), **last)
    drain(mirror)
    for run in (nan, infinite):
        # MLflow shows no chart of a metric whose last value is NaN, and turns infinity into 1.8e308.
        assert costs_of(client, laboratory, run) == [(0, 1.0), (1, 2.0)]
        info = client.get_run(laboratory.store.run(run.id).mlflow_run_id)
        assert (info.data.metrics["cost"], info.data.metrics["diverged_at_step"]) == (2.0, 2.0)
        assert info.data.tags["diverged_at_step"] == "2"
        assert "**diverged** at step 2" in info.data.tags["mlflow.note.content"]
        assert info.info.run_name == f"adam s{run.seed} diverged · lr 0.001"
        assert (info.info.status, info.data.tags["stop_reason"]) == ("FINISHED", "diverged")


@pytest.mark.parametrize(("state", "status"), [("failed", "FAILED"), ("cancelled", "KILLED")])
def test_runs_that_did_not_finish_say_so(
    laboratory: Any, mirror: Mirror, client: MlflowClient, state: str, status: str
) -> None:
    worker, (run,) = laboratory.submit()
    worker.record(run, 5, state=state, stop_reason=state)
    drain(mirror)
    assert client.get_run(laboratory.store.run(run.id).mlflow_run_id).info.status == status


def test_a_run_cancelled_before_it_began_is_mirrored_too(laboratory: Any, mirror: Mirror, client: MlflowClient) -> None:
    worker, (run,) = laboratory.submit()
    laboratory.store.release(worker.claim)
    laboratory.store.request_cancel([run.id])
    drain(mirror)
    assert client.get_run(laboratory.store.run(run.id).mlflow_run_id).info.status == "KILLED"
    assert laboratory.store.outbox() == []


def test_runs_that_log_the_same_new_datasets_at_the_same_time_all_have_them(
    destination: Destination, client: MlflowClient
) -> None:
    """MLflow searches for a dataset and then adds it, without a lock in between."""
    experiment = destination.experiment("at-once", "at once", {})
    runs = [destination.run(experiment, f"at-once-{k}", name=f"r{k}", start=0, tags={}) for k in range(4)]
    names = [f"new-{n}" for n in range(10)]
    for name in names:
        with ThreadPoolExecutor(len(runs)) as threads:
            list(threads.map(partial(destination.use, name=name, digest="0", source="{}", context="training"), runs))
    for run in runs:
        inputs = client.get_run(run).inputs
        assert inputs is not None
        assert sorted(given.dataset.name for given in inputs.dataset_inputs) == sorted(names)
