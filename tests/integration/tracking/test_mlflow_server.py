"""The MLflow server as a process: the hosts it answers to, its connections and its start."""

import http.client
import sqlite3
import subprocess
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg import mlflow_server
from talweg.local.stack_plan import choose_port


def status(url: str, host: str) -> int:
    """The status of a request to `url` with the header `Host: host`."""
    page = f"{url}/api/2.0/mlflow/experiments/get?experiment_id=0"
    request = urllib.request.Request(page, headers={"Host": host})  # noqa: S310 - our own, on loopback
    try:
        with urllib.request.urlopen(request, timeout=600) as response:  # noqa: S310 - the same
            return int(response.status)
    except urllib.error.HTTPError as error:
        with error:
            return error.code


def test_it_answers_requests_for_its_own_hosts(mlflow_url: str) -> None:
    port = mlflow_url.rpartition(":")[2]
    assert status(mlflow_url, f"127.0.0.1:{port}") == 200
    assert status(mlflow_url, f"localhost:{port}") == 200


@pytest.mark.parametrize(
    "host", ["10.evil.example", "localhost.evil.example", "192.168.1.evil.example", "127.0.0.1", "localhost:1", "x"]
)
def test_it_refuses_every_other_host(mlflow_url: str, host: str) -> None:
    assert status(mlflow_url, host) == 403


def test_a_connection_is_kept_open_for_the_next_request(mlflow_url: str) -> None:
    # What broke: uvicorn closes a connection after 5 s, on a busy machine just when a client sent its next request.
    port = mlflow_url.rpartition(":")[2]
    connection = http.client.HTTPConnection("127.0.0.1", int(port), timeout=600)
    with closing(connection):
        connection.request("GET", "/health")
        assert connection.getresponse().read() == b"OK"
        assert connection.sock is not None
        connection.sock.settimeout(5.5)
        with pytest.raises(TimeoutError):
            connection.sock.recv(1)


def test_no_page_may_frame_it(mlflow_url: str) -> None:
    with urllib.request.urlopen(mlflow_url, timeout=600) as response:  # noqa: S310 - our own, on loopback
        assert response.headers["X-Frame-Options"] == "DENY"


def test_it_is_one_process(mlflow_url: str) -> None:
    port = mlflow_url.rpartition(":")[2]
    commands = [" ".join(process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])]
    assert sum(f"--port {port}" in command for command in commands) == 1


def test_a_server_that_is_killed_while_it_makes_its_database_starts_again(
    tmp_path: Path, eventually: Callable[[Callable[[], bool], str], None]
) -> None:
    # What broke: half of the tables were there, and no server ever started on those again.
    port = choose_port(0, explicit=True, what="MLflow")[0]
    with subprocess.Popen(
        mlflow_server.command(tmp_path, port=port),
        env=mlflow_server.environment(tmp_path, port=port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as first:
        eventually(lambda: _tables(tmp_path / "mlflow.db.new") > 3, "some tables")
        first.kill()
    assert not (tmp_path / "mlflow.db").exists()
    with mlflow_server.running(tmp_path, port=port) as url:
        assert status(url, f"127.0.0.1:{port}") == 200


def _tables(path: Path) -> int:
    if not path.exists():
        return 0
    with closing(sqlite3.connect(path)) as connection:
        return int(connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'table'").fetchone()[0])
