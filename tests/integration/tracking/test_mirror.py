"""MLflow has the numbers of SQL, one by one, whatever interrupted the mirror."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from requests.adapters import HTTPAdapter

from talweg.execution import fork_run, resume_run, submit_run, train
from talweg.settings import Settings
from talweg.spec import RunSpec, parse_fork
from talweg.tracking import connect
from talweg.tracking.destination import Destination
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


@pytest.mark.parametrize("problem", ["two-layer-line", "digits-mlp"])
def test_mirrored_metrics_equal_sql_step_by_step(
    laboratory: Any, mirror: Mirror, client: MlflowClient, problem: str, metrics: Any
) -> None:
    worker, runs = laboratory.submit([{"name": "sgd"}, {"name": "adam"}], study=f"equal {problem}", problem=problem)
    for run in runs:
        worker.finish(run)
    drain(mirror)
    for run in runs:
        metrics.same(metrics.history(client, laboratory.store, run), metrics.recorded(laboratory.store, run))
    assert laboratory.store.outbox() == []


def test_ten_random_runs_of_a_trained_study_equal_sql(
    laboratory: Any,
    destination: Destination,
    client: MlflowClient,
    train_study: Callable[..., str],
    metrics: Any,
) -> None:
    optimizers = ["sam", "adam", {"name": "adam", "learning_rate": 0.1}, {"name": "sgd", "learning_rate": 1e30}]
    study = train_study(
        problem="two-layer-line",
        optimizers=optimizers,
        seeds=3,
        steps=30,
        evaluate_every=7,
        schedule={"name": "cosine", "steps": 30},
    )
    # As in the local stack: several runs at a time.
    drain(Mirror(laboratory.store, destination, budget=BUDGET, at_once=3, files=False))
    runs = laboratory.store.runs_of(study)
    for chosen in np.random.default_rng(5).choice(len(runs), size=10, replace=False):
        metrics.same(
            metrics.history(client, laboratory.store, runs[chosen]), metrics.recorded(laboratory.store, runs[chosen])
        )
    assert {run.stop_reason for run in runs} == {"finished", "diverged"}


def test_a_run_grows_in_mlflow_while_it_trains(
    laboratory: Any, mirror: Mirror, client: MlflowClient, metrics: Any
) -> None:
    worker, (run,) = laboratory.submit()
    for stop in (13, 50, 51, 99):
        worker.record(run, stop)
        drain(mirror)
        metrics.same(metrics.history(client, laboratory.store, run), metrics.recorded(laboratory.store, run))
        assert client.get_run(laboratory.store.run(run.id).mlflow_run_id).info.status == "RUNNING"
    worker.finish(run)
    drain(mirror)
    metrics.same(metrics.history(client, laboratory.store, run), metrics.recorded(laboratory.store, run))
    assert client.get_run(laboratory.store.run(run.id).mlflow_run_id).info.status == "FINISHED"


def test_sending_everything_twice_changes_nothing(
    laboratory: Any, mirror: Mirror, client: MlflowClient, mlflow_url: str, metrics: Any
) -> None:
    worker, runs = laboratory.submit(study="twice", seeds=2, steps=40)
    for run in runs:
        worker.finish(run)
    drain(mirror)
    before = [metrics.history(client, laboratory.store, run) for run in runs]
    infos = [client.get_run(laboratory.store.run(run.id).mlflow_run_id).to_dictionary() for run in runs]
    for run in runs:
        # As if the store had no record of the mirror.
        laboratory.store.mark_mirrored(run.id, 0, None, "queued")
    drain(Mirror(laboratory.store, connect(mlflow_url), budget=BUDGET, files=False))
    for run, points, info in zip(runs, before, infos, strict=True):
        metrics.same(metrics.history(client, laboratory.store, run), points)
        assert client.get_run(laboratory.store.run(run.id).mlflow_run_id).to_dictionary() == info
    (experiment,) = client.search_experiments(filter_string="name = 'twice'")
    # And the study's own.
    assert len(client.search_runs([experiment.experiment_id])) == 3


class Killed(BaseException):
    """Ends the mirror at once: none of our code catches it."""


def killed_at(call: int, function: Callable[..., Any], *, after: bool) -> Callable[..., Any]:
    """`function`, which raises Killed before or after the given call takes effect."""
    calls = iter(range(1, 1_000_000))

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        last = next(calls) == call
        if last and not after:
            raise Killed
        answer = function(*args, **kwargs)
        if last:
            raise Killed
        return answer

    return wrapped


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_killing_the_mirror_at_random_requests_is_harmless(
    laboratory: Any, mlflow_url: str, client: MlflowClient, monkeypatch: pytest.MonkeyPatch, after: bool, metrics: Any
) -> None:
    worker, runs = laboratory.submit(study=f"killed {after}", seeds=2, steps=20)
    for run in runs:
        worker.finish(run)
    draw = np.random.default_rng(11)
    kills = 0
    while True:
        # Every time a new mirror, with only what SQL and MLflow hold.
        mirror = Mirror(laboratory.store, connect(mlflow_url), budget=BUDGET, files=False)
        with monkeypatch.context() as patch:
            patch.setattr(HTTPAdapter, "send", killed_at(int(draw.integers(1, 12)), HTTPAdapter.send, after=after))
            try:
                drain(mirror)
            except Killed:
                kills += 1
                continue
        break
    assert kills > 5
    for run in runs:
        metrics.same(metrics.history(client, laboratory.store, run), metrics.recorded(laboratory.store, run))
    (experiment,) = client.search_experiments(filter_string=f"name = 'killed {after}'")
    assert len(client.search_runs([experiment.experiment_id])) == 3


def test_a_fork_has_its_whole_curve_and_names_its_parent(
    laboratory: Any, mirror: Mirror, client: MlflowClient, metrics: Any
) -> None:
    store, settings = laboratory.store, Settings().model_copy(update={"workers": 1})
    asked = RunSpec.model_validate({"problem": "two-layer-line", "optimizer": "adam", "steps": 40})
    parent = submit_run(store, asked, publish=lambda _: None, settings=settings)
    train(store, parent.cohort_id, owner="tests", settings=settings)
    fork = fork_run(store, store.run(parent.id), parse_fork({"step": 25, "optimizer": "sgd"}), publish=lambda _: None)
    train(store, fork.cohort_id, owner="tests", settings=settings)
    drain(mirror)
    metrics.same(metrics.history(client, store, fork), metrics.recorded(store, fork))
    tags = client.get_run(store.run(fork.id).mlflow_run_id).data.tags
    assert (tags["talweg.parent"], tags["talweg.parent_step"]) == (parent.id, "25")
    # A resumed run goes on in the same MLflow run.
    more = resume_run(store, store.run(fork.id), 60, publish=lambda _: None)
    train(store, more.cohort_id, owner="tests", settings=settings)
    drain(mirror)
    found, expected = metrics.history(client, store, fork), metrics.recorded(store, fork)
    assert len(found["cost"]) == 60
    # The evaluation at its former end, and its worker's samples until then, stay in MLflow.
    assert {key: points for key, points in found.items() if not set(key) & set("./")} == {
        key: points for key, points in expected.items() if not set(key) & set("./")
    }
    assert set(found["system/worker_memory_megabytes"]) > set(expected["system/worker_memory_megabytes"])


def test_a_server_that_lost_everything_is_rebuilt_from_sql_and_a_second_rebuild_changes_nothing(
    laboratory: Any, mirror: Mirror, second_mlflow_url: str, metrics: Any
) -> None:
    worker, runs = laboratory.submit(study="again", seeds=2, steps=40)
    for run in runs:
        worker.finish(run)
    drain(mirror)
    # The server is replaced by one that has nothing of the study.
    emptied, found = MlflowClient(tracking_uri=second_mlflow_url), []
    for _ in range(2):
        # What `talweg mirror --again again` asks for.
        assert laboratory.store.mirror_again(study="again") == 2
        drain(Mirror(laboratory.store, connect(second_mlflow_url), budget=BUDGET, files=False))
        assert laboratory.store.outbox() == []
        for run in runs:
            metrics.same(metrics.history(emptied, laboratory.store, run), metrics.recorded(laboratory.store, run))
        (experiment,) = emptied.search_experiments(filter_string="name = 'again'")
        # And the study's own.
        there = emptied.search_runs([experiment.experiment_id])
        assert {run.info.status for run in there} == {"FINISHED"}
        found.append(sorted(run.info.run_id for run in there))
    assert len(found[0]) == 3
    assert found[0] == found[1]
