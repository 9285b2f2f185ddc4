"""Whom the MLflow server answers."""

import urllib.error
import urllib.request

import pytest

# The first test also starts the server, which takes 20 s on a quiet machine and minutes on a busy one.
pytestmark = pytest.mark.timeout(300, func_only=True)


def status(url: str, host: str) -> int:
    """The answer to a question to `url` that names `host`."""
    page = f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    request = urllib.request.Request(page, headers={"Host": host})  # noqa: S310 - our own, on loopback
    try:
        with urllib.request.urlopen(request, timeout=60) as response:  # noqa: S310 - the same
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_answers_to_its_own_names(mlflow_url: str) -> None:
    port = mlflow_url.rpartition(":")[2]
    assert status(mlflow_url, f"127.0.0.1:{port}") == 200
    assert status(mlflow_url, f"localhost:{port}") == 200


@pytest.mark.parametrize(
    "host", ["10.evil.example", "localhost.evil.example", "192.168.1.evil.example", "127.0.0.1", "localhost:1", "x"]
)
def test_it_refuses_every_other_name(mlflow_url: str, host: str) -> None:
    assert status(mlflow_url, host) == 403
