"""`python -m talweg.tracking --to`: another server gets the same content, and the first one's progress stays."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run

from talweg.tracking.destination import Destination
from talweg.tracking.mirror import Mirror


def run_copy(database_url: str, folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    """The command, in a process of its own."""
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
    command = [sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", "talweg.tracking", *arguments]
    return subprocess.run(
        command, env=environment | {"TALWEG_DATABASE_URL": database_url}, cwd=folder, capture_output=True, text=True
    )


def listed(client: MlflowClient, run_id: str, path: str | None = None) -> list[str]:
    """Every artifact's path."""
    found = client.list_artifacts(run_id, path)
    return sorted(
        name for file in found for name in (listed(client, run_id, file.path) if file.is_dir else [file.path])
    )


def content(client: MlflowClient, run: Run, folder: Path) -> dict[str, Any]:
    """All that a run holds, without the ids that a server gives."""
    ids = f"{run.info.run_id}|#/experiments/{run.info.experiment_id}/"
    tags = {key: re.sub(ids, "…", value) for key, value in run.data.tags.items()}
    target = folder / run.info.run_id
    target.mkdir(parents=True)
    files = listed(client, run.info.run_id)
    client.download_artifacts(run.info.run_id, "", str(target))
    assert run.inputs is not None
    return {
        "name": run.info.run_name,
        "status": (run.info.status, run.info.start_time, run.info.end_time),
        "params": run.data.params,
        "tags": tags,
        "inputs": [(one.dataset.name, one.dataset.digest) for one in run.inputs.dataset_inputs],
        "metrics": {
            key: sorted(repr((p.step, p.timestamp, p.value)) for p in client.get_metric_history(run.info.run_id, key))
            for key in run.data.metrics
        },
        "files": {path: (target / path).read_bytes() for path in files},
    }


def everything(client: MlflowClient, study: str, folder: Path) -> dict[str, Any]:
    """A study's experiment, by its tag, with every run."""
    (experiment,) = client.search_experiments(filter_string=f"tags.`talweg.study` = '{study}'")
    runs = client.search_runs([experiment.experiment_id])
    ids = rf"#/experiments/{experiment.experiment_id}/runs/\w+/"
    note = re.sub(ids, "…", experiment.tags["mlflow.note.content"])
    return {"name": experiment.name, "note": note} | {
        run.data.tags["talweg.run"]: content(client, run, folder) for run in runs
    }


def test_a_second_server_gets_the_same_and_the_first_ones_progress_stays(
    laboratory: Any,
    destination: Destination,
    client: MlflowClient,
    second_mlflow_url: str,
    train_study: Callable[..., str],
    sqlite_url: str,
    tmp_path: Path,
) -> None:
    study = train_study(problem="two-layer-line", optimizers=["sgd", "adam"], seeds=2, steps=20, name="copied")
    _, (single,) = laboratory.submit(steps=10)
    mirror = Mirror(laboratory.store, destination, budget=50_000)
    while mirror.drain():
        pass
    rows = laboratory.store.runs_of(study)
    second = MlflowClient(tracking_uri=second_mlflow_url)

    done = run_copy(sqlite_url, tmp_path, "--to", second_mlflow_url, "copied")
    assert (done.returncode, done.stdout) == (0, f"4 runs are at {second_mlflow_url}\n"), done.stderr
    one, other = everything(client, study, tmp_path / "one"), everything(second, study, tmp_path / "other")
    assert one == other
    # Name and description of the experiment, the study's runs, and its own run with the report.
    assert len(one) == 2 + 4 + 1
    whole = one[f"study {study}"]
    assert whole["files"].keys() == {"report.html", "report.md", "figures/cost.png", "figures/cost.svg"}
    assert laboratory.store.runs_of(study) == rows

    # Again, with all studies: what is there is found, and only the single run is new.
    done = run_copy(sqlite_url, tmp_path, "--to", second_mlflow_url)
    assert done.returncode == 0, done.stderr
    assert everything(second, study, tmp_path / "again") == other
    assert laboratory.store.runs_of(study) == rows
    alone = second.get_experiment_by_name("single runs")
    assert alone is not None
    assert len(second.search_runs([alone.experiment_id])) == 1
    assert laboratory.store.run(single.id).mlflow_run_id not in {None, ""}


def test_an_unknown_study_and_a_missing_option_are_reported(sqlite_url: str, tmp_path: Path) -> None:
    # Nothing listens on port 9.
    done = run_copy(sqlite_url, tmp_path, "--to", "http://127.0.0.1:9", "nothing")
    assert (done.returncode, done.stdout) == (1, "")
    assert "nothing" in done.stderr
    assert "Traceback" not in done.stderr
    done = run_copy(sqlite_url, tmp_path, "nothing")
    assert done.returncode == 2
    assert "--to" in done.stderr
