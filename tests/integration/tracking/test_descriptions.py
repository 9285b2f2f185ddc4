"""A study in MLflow: names, parameters, tags, descriptions, data, artifacts; and the thinning of long runs."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Run

from talweg.tracking.destination import Destination
from talweg.tracking.experiments import VIEW_TAG
from talweg.tracking.mirror import Mirror


def drain(laboratory: Any, destination: Destination, budget: int = 50_000) -> None:
    """Mirror everything."""
    mirror = Mirror(laboratory.store, destination, budget=budget)
    while mirror.drain():
        pass


@pytest.fixture
def study(laboratory: Any, destination: Destination, client: MlflowClient) -> list[Run]:
    """Adam at two learning rates and SGD, two seeds each, on digits; as MLflow has them."""
    optimizers = [{"name": "adam", "learning_rate": r} for r in (0.001, 0.003)] + [{"name": "sgd"}]
    worker, runs = laboratory.submit(optimizers, study="appearance", seeds=2, problem="digits-mlp", steps=20)
    for run in runs:
        worker.finish(run)
    drain(laboratory, destination)
    return [client.get_run(laboratory.store.run(run.id).mlflow_run_id) for run in runs]


def test_a_study_is_an_experiment_whose_runs_are_named_for_what_varies(
    study: list[Run], laboratory: Any, client: MlflowClient, tmp_path: Path
) -> None:
    assert [run.info.run_name for run in study] == [
        "adam s0 · lr 0.001",
        "adam s1 · lr 0.001",
        "adam s0 · lr 0.003",
        "adam s1 · lr 0.003",
        "sgd s0 · lr 0.001",
        "sgd s1 · lr 0.001",
    ]
    experiment = client.get_experiment(study[0].info.experiment_id)
    assert experiment.name == "appearance"
    assert "3 optimizer settings × 2 seeds" in experiment.tags["mlflow.note.content"]
    assert laboratory.store.study("appearance").mlflow_experiment_id == experiment.experiment_id
    assert VIEW_TAG in experiment.tags

    # Parameters, tags, description and data of the first run.
    run = study[0]
    assert run.data.params["optimizer"] == "adam"
    assert run.data.params["learning_rate"] == "0.001"
    assert run.data.params["problem"] == "digits-mlp"
    assert run.data.params["batch_size"] == "32"
    assert run.data.tags["talweg.study"] == laboratory.store.study("appearance").id
    assert laboratory.store.run(run.data.tags["talweg.run"]).mlflow_run_id == run.info.run_id
    assert "It finished after 20 steps." in run.data.tags["mlflow.note.content"]
    assert run.inputs is not None
    assert run.inputs.dataset_inputs[0].dataset.name == "digits"
    row = laboratory.store.run(run.data.tags["talweg.run"])
    assert run.info.start_time == round(row.started_at.timestamp() * 1000)
    assert run.info.end_time == round(row.finished_at.timestamp() * 1000)

    # Its files.
    assert {file.path for file in client.list_artifacts(run.info.run_id)} == {
        "cost.png", "figures", "note.md", "record.parquet", "run.html"
    }  # fmt: skip
    picture = Path(client.download_artifacts(run.info.run_id, "cost.png", str(tmp_path)))
    assert picture.read_bytes().startswith(b"\x89PNG")

    # MLflow's own search finds them as users look for them.
    found = client.search_runs([experiment.experiment_id], "params.optimizer = 'sgd' and tags.seed = '1'")
    assert [one.info.run_id for one in found] == [study[5].info.run_id]


def test_a_long_run_is_thinned_says_so_and_keeps_its_extremes(
    laboratory: Any, destination: Destination, client: MlflowClient
) -> None:
    worker, (run,) = laboratory.submit(problem="quadratic", steps=3000, evaluate_every=0)
    draw = np.random.default_rng(3)
    costs = draw.lognormal(size=3000)
    costs[1234], costs[2345] = 1e4, 1e-4
    for stop in (700, 1300, 3000):
        last = {"state": "finished", "stop_reason": "finished"} if stop == 3000 else {}
        worker.record(run, stop, costs=costs[laboratory.store.run(run.id).step : stop], **last)
        drain(laboratory, destination, budget=2000)
    run_id = laboratory.store.run(run.id).mlflow_run_id
    found = {key: client.get_metric_history(run_id, key) for key in client.get_run(run_id).data.metrics}
    assert sum(map(len, found.values())) <= 2000
    kept = {point.step: point.value for point in found["cost"]}
    assert {0, 1234, 2345, 2999} <= kept.keys()
    assert all(value == costs[step] for step, value in kept.items())
    assert len(kept) == len(found["cost"])
    tags = client.get_run(run_id).data.tags
    assert tags["talweg.thinned"].startswith("cost: the first, least and greatest of every 9 steps")

    # Sent again in one piece: nothing changes.
    laboratory.store.mark_mirrored(run.id, 0, None, "queued")
    drain(laboratory, destination, budget=2000)
    again = {key: client.get_metric_history(run_id, key) for key in client.get_run(run_id).data.metrics}
    assert {key: len(points) for key, points in again.items()} == {key: len(points) for key, points in found.items()}
