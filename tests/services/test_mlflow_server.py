"""Command and environment of our MLflow server."""

import itertools
from importlib.metadata import version
from pathlib import Path

import pytest

from talweg import mlflow_server
from talweg.errors import TalwegError


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


def test_a_server_that_reads_a_laboratory_gets_both_databases_in_its_environment(tmp_path: Path) -> None:
    laboratory = "postgresql://reader:secret@db/talweg"
    environment = mlflow_server.environment(tmp_path, port=5055, laboratory_url=laboratory)
    assert environment["MLFLOW_BACKEND_STORE_URI"] == "talweg://"
    assert environment["TALWEG_MLFLOW_DATABASE_URL"] == f"sqlite:///{tmp_path / 'mlflow.db'}"
    assert environment["TALWEG_DATABASE_URL"] == laboratory
    command = mlflow_server.command(tmp_path, port=5055, laboratory=True)
    assert f"talweg://{tmp_path / 'artifacts'}" in command
    assert "secret" not in " ".join(command)


@pytest.mark.parametrize("installed", ["3.16.9", "3.18.0", "4.17.2"])
def test_another_minor_version_of_mlflow_is_refused_with_both_versions(installed: str) -> None:
    with pytest.raises(TalwegError, match=rf"tested with MLflow 3\.17, got {installed}.*TALWEG_MIRROR=rest"):
        mlflow_server.check_version(installed)
    mlflow_server.check_version("3.17.9")


def test_the_installed_version_of_mlflow_is_the_tested_one() -> None:
    mlflow_server.check_version(version("mlflow"))


def test_pages_open_on_runs_and_charts() -> None:
    page = mlflow_server.experiment_page("http://127.0.0.1:5055/", "7")
    assert page.startswith("http://127.0.0.1:5055/#/experiments/7/runs?")
    assert mlflow_server.run_page("http://127.0.0.1:5055", "abc").startswith("http://127.0.0.1:5055/#/runs/abc?")
