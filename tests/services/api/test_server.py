"""`python -m talweg.api`: the process listens, logs JSON without secrets, and ends at SIGTERM."""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest

from talweg.store import open_store

TOKEN = "a-token-for-a-process-of-its-own"  # noqa: S105


@pytest.fixture
def database(tmp_path: Path) -> str:
    """A database with the schema."""
    url = f"sqlite:///{tmp_path / 'talweg.db'}"
    open_store(url, create=True).close()
    return url


@contextmanager
def api(database: str, folder: Path, **settings: str) -> Iterator[subprocess.Popen[str]]:
    """The process; killed if it did not end by itself."""
    names = {
        "TALWEG_DATABASE_URL": database,
        # Nothing listens there.
        "TALWEG_BROKER_URL": "redis://127.0.0.1:1/0",
        "TALWEG_TOKEN": TOKEN,
        "TALWEG_PORT": "0",
    }
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
    environment = kept | names | {f"TALWEG_{key.upper()}": value for key, value in settings.items()}
    command = [sys.executable, "-m", "talweg.api"]
    with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()


def listening(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The log line with the address."""
    assert process.stderr is not None
    for text in process.stderr:
        line: dict[str, Any] = json.loads(text)
        if line["event"] == "listening":
            return line
    raise AssertionError("the process ended before it listened")


def test_it_listens_logs_changes_and_ends_when_asked(database: str, tmp_path: Path) -> None:
    spec = {"problem": "quadratic", "optimizer": "sgd", "steps": 3, "name": "one\u2028two"}
    with api(database, tmp_path) as process:
        url = listening(process)["url"]
        headers = {"Authorization": f"Bearer {TOKEN}"}
        with httpx2.Client(base_url=url, headers=headers, trust_env=False, timeout=600) as http:
            # There is no broker: the run waits for the reconciler, and is submitted all the same.
            assert http.post("/v1/runs", json=spec).status_code == 201
            assert http.get("/v1/runs").status_code == 200
            forged = "/v1/runs/a%0d%0a%7b%22event%22%3a%22forged%22%7d%1b%5b31m%e2%80%a8/cancel"
            assert http.post(forged).status_code == 404
        process.send_signal(signal.SIGTERM)
        _, rest = process.communicate(timeout=600)
    assert process.returncode == 0
    lines = [json.loads(line) for line in rest.splitlines()]
    changes = [line for line in lines if line["event"] == "changed"]
    said = [(line["method"], line["path"].partition("\r")[0], line["status"]) for line in changes]
    assert said == [("POST", "/v1/runs", 201), ("POST", "/v1/runs/a", 404)]
    # Line 49 of guards.toml: a name breaks no line, and cannot control a terminal.
    assert all(line.isprintable() for line in rest.split("\n"))
    assert changes[0]["token"].startswith("settings-")
    assert not [line for line in lines if line["event"] == "read"]
    assert TOKEN not in rest


def test_a_unix_socket_is_private_and_deleted_with_the_process(database: str, tmp_path: Path) -> None:
    path = tmp_path / "api.sock"
    # The socket file of a server that was killed.
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with api(database, tmp_path, socket=str(path)) as process:
        assert listening(process)["url"] == f"unix:{path}"
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        with httpx2.Client(
            base_url="http://localhost", transport=httpx2.HTTPTransport(uds=str(path)), timeout=60
        ) as http:
            assert http.get("/healthz").status_code == 200
            assert http.get("/v1/runs").status_code == 401
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=600)
    assert not path.exists()


def test_a_taken_port_is_a_clear_error(database: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        with api(database, tmp_path, port=str(port)) as process:
            _, said = process.communicate(timeout=600)
    assert process.returncode == 2
    last = said.splitlines()[-1]
    assert last == f"talweg: error: port-taken: port: must be free, but 127.0.0.1:{port} is in use by another process"


@pytest.mark.parametrize("token", ["", "short", "changeme"])
def test_it_does_not_start_with_a_short_secret(database: str, tmp_path: Path, token: str) -> None:
    with api(database, tmp_path, token=token) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 2
    assert said.splitlines()[-1].startswith("talweg: error: invalid-spec: token: must have at least 20 characters")


def test_it_does_not_start_without_a_laboratory(tmp_path: Path) -> None:
    with api(f"sqlite:///{tmp_path / 'nothing.db'}", tmp_path) as process:
        _, said = process.communicate(timeout=600)
    assert process.returncode == 1
    assert said.splitlines()[-1].startswith("talweg: error: not-found:")
