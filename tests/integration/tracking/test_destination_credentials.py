"""A server that requires credentials: MLflow behind a proxy with basic authentication, or with a token."""

import base64
import http.client
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from mlflow import MlflowClient

from talweg.errors import Unreachable
from talweg.tracking import connect
from talweg.tracking.mirror import Mirror

BASIC = "Basic " + base64.b64encode(b"ada:pass:word").decode()
VARIABLES = ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD", "MLFLOW_TRACKING_TOKEN")
Guard = Callable[[str], str]


@pytest.fixture
def guarded(mlflow_url: str) -> Iterator[Guard]:
    """Start a proxy before MLflow that requires this Authorization header; returns its URL."""
    servers: list[ThreadingHTTPServer] = []
    there = mlflow_url.removeprefix("http://")

    def start(wanted: str) -> str:
        class Proxy(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.headers.get("Authorization") != wanted:
                    return self.answer(401, b"who are you?", "text/plain")
                behind = http.client.HTTPConnection(there, timeout=600)
                headers = {"Content-Type": self.headers.get("Content-Type", ""), "Host": there}
                behind.request(self.command, self.path, body, headers)
                answer = behind.getresponse()
                content = answer.read()
                behind.close()
                return self.answer(answer.status, content, answer.headers.get("Content-Type") or "text/plain")

            # The names that http.server calls.
            do_POST = do_PUT = do_PATCH = do_GET  # noqa: N815

            def answer(self, status: int, content: bytes, kind: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: Any) -> None:
                pass

        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), Proxy))
        threading.Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("wanted", "given"),
    [
        (BASIC, {"MLFLOW_TRACKING_USERNAME": "ada", "MLFLOW_TRACKING_PASSWORD": "pass:word"}),
        ("Bearer a-token", {"MLFLOW_TRACKING_TOKEN": "a-token"}),
    ],
    ids=["basic", "token"],
)
def test_runs_reach_a_server_that_requires_credentials(
    laboratory: Any,
    client: MlflowClient,
    guarded: Guard,
    monkeypatch: pytest.MonkeyPatch,
    wanted: str,
    given: dict[str, str],
) -> None:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    worker, (run,) = laboratory.submit(steps=10)
    worker.finish(run)
    url = guarded(wanted)
    with pytest.raises(
        Unreachable, match=r"requires credentials \(HTTP 401\); set MLFLOW_TRACKING_USERNAME"
    ) as refused:
        Mirror(laboratory.store, connect(url), budget=1000).drain()
    assert [row.id for row in laboratory.store.outbox()] == [run.id]
    for name, value in given.items():
        monkeypatch.setenv(name, value)
        assert value not in str(refused.value)
    mirror = Mirror(laboratory.store, connect(url), budget=1000)
    while mirror.drain():
        pass
    assert laboratory.store.outbox() == []
    # Artifacts were sent with credentials too; they are read without the proxy.
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    run_id = laboratory.store.run(run.id).mlflow_run_id
    assert "run.html" in {file.path for file in client.list_artifacts(run_id)}
    assert client.get_run(run_id).info.status == "FINISHED"
