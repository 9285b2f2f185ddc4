"""Command and environment of our MLflow server."""

import itertools
from pathlib import Path

import pytest

from talweg import mlflow_server


def test_the_command_is_lean_and_on_loopback(tmp_path: Path) -> None:
    command = mlflow_server.command(tmp_path, port=5055)
    options = dict(itertools.pairwise(command))
    assert options["--host"] == "127.0.0.1"
    assert options["--port"] == "5055"
    assert options["--workers"] == "1"
    environment = mlflow_server.environment(tmp_path, port=5055)
    assert environment["MLFLOW_SERVER_ALLOWED_HOSTS"] == "127.0.0.1:5055,localhost:5055"
    assert "*" not in environment["MLFLOW_SERVER_CORS_ALLOWED_ORIGINS"] + " ".join(command)
    assert options["--artifacts-destination"].startswith("file:///")


def test_a_password_is_in_the_environment_and_not_on_the_command_line(tmp_path: Path) -> None:
    url = "postgresql://mlflow:secret@db/mlflow"
    assert mlflow_server.environment(tmp_path, port=5055, database_url=url)["MLFLOW_BACKEND_STORE_URI"] == url
    assert "secret" not in " ".join(mlflow_server.command(tmp_path, port=5055))


def test_the_server_runs_no_jobs_reads_no_pickles_and_sends_no_telemetry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://elsewhere.invalid")
    environment = mlflow_server.environment(tmp_path, port=5055)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert environment["MLFLOW_SERVER_ENABLE_JOB_EXECUTION"] == "false"
    assert environment["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] == "false"
    assert environment["MLFLOW_DISABLE_TELEMETRY"] == "true"
    assert "MLFLOW_TRACKING_URI" not in environment


def test_pages_open_on_runs_and_charts() -> None:
    page = mlflow_server.experiment_page("http://127.0.0.1:5055/", "7")
    assert page.startswith("http://127.0.0.1:5055/#/experiments/7/runs?")
    assert mlflow_server.run_page("http://127.0.0.1:5055", "abc").startswith("http://127.0.0.1:5055/#/runs/abc?")
