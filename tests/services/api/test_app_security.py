"""Attacks from the same network; a number in a test's name is a line of tests/security/guards.toml."""

import json
import logging
import os
import re
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi.routing import APIRoute

from talweg.api.models import mlflow_url
from talweg.api.routers import ALL
from talweg.api.tokens import digest_of
from talweg.settings import Settings
from talweg.store import Store

RUN = {"problem": "quadratic", "optimizer": "sgd", "steps": 3}
CHANGES = ("POST", "PUT", "DELETE", "PATCH")
REFERENCES = (
    "..",
    "../..",
    "%2e%2e",
    "%252e%252e",
    "..%2f..%2fcanary",
    "..\\canary",
    "canary;x",
    "canary%252fsecret",
    "..%252f{folder}%252fcanary%252fsecret",
    "..%255c{folder}%255ccanary",
    "%23",
    "%00",
    "%2f",
    "~",
)


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route, with its parameters as `{}`."""
    for router in ALL:
        for route in router.routes:
            assert isinstance(route, APIRoute)
            for method in route.methods or ():
                yield method, re.sub(r"\{[^}]*\}", "{}", route.path)


def raw(url: str, method: str, path: str, *headers: str, body: bytes = b"") -> bytes:
    """The answer to a request that is sent as it is, without a client that normalises it."""
    parts = urlsplit(url)
    lines = [
        f"{method} {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Authorization: Bearer a-token-that-is-long-enough-for-tests",
        f"Content-Length: {len(body)}",
        "Connection: close",
        *headers,
    ]
    with socket.create_connection((parts.hostname, parts.port), timeout=600) as connection:
        connection.sendall("\r\n".join([*lines, "", ""]).encode("latin1") + body)
        answer = b""
        while piece := connection.recv(65536):
            answer += piece
    return answer


def status(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


def test_05_forbidden_and_missing_things_have_the_same_answer(
    http: httpx2.Client, stranger: httpx2.Client, store: Store
) -> None:
    store.add_token(digest_of("a-token-of-somebody-else"), "somebody", ["submit"])
    headers = {"Authorization": "Bearer a-token-of-somebody-else"}
    for path in ("/v1/runs/{}", "/v1/runs/{}/steps/cost", "/v1/studies/{}/ranking", "/v1/datasets/{}"):
        said = [client.get(path.format("none"), headers=given) for client, given in ((http, {}), (stranger, headers))]
        assert [answer.status_code for answer in said] == [404, 404]
        assert said[0].json() == said[1].json()


def test_15_no_reference_leads_to_a_file(url: str, store: Store) -> None:
    database = Path(str(store.engine.url.database))
    canary = database.parent / "canary"
    canary.mkdir()
    (canary / "secret").write_text("what nobody may read")
    os.utime(canary / "secret", (1, 1))
    before = sorted((path, path.stat().st_mtime_ns) for path in canary.rglob("*"))
    for method, path in routes():
        if "{}" not in path:
            continue
        named = [reference.replace("{folder}", canary.parent.name) for reference in REFERENCES]
        for reference in (*named, "canary", str(canary / "secret"), "%252f".join(str(canary / "secret").split("/"))):
            filled = path.replace("{}", reference)
            answer = raw(url, method, filled, "Content-Type: application/json", body=b"{}")
            assert 400 <= status(answer) < 500, (method, filled)
            assert b"what nobody may read" not in answer
    assert sorted((path, path.stat().st_mtime_ns) for path in canary.rglob("*")) == before
    # The file was not read (on file systems that record access times).
    assert (canary / "secret").stat().st_atime == 1


def test_19_a_header_of_ten_thousand_ranges_costs_nothing(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = http.post("/v1/runs", json=RUN).json()["id"]
    train()
    ranges = "bytes=" + ",".join(f"{i}-{i + 1}" for i in range(10_000))
    plain = http.get(f"/v1/runs/{run}/steps/cost")
    asked = http.get(f"/v1/runs/{run}/steps/cost", headers={"Range": ranges[:60_000]})
    assert asked.status_code == plain.status_code == 200
    assert asked.content == plain.content
    assert "content-range" not in asked.headers
    # The server itself refuses headers longer than any client sends, and may close the connection before reading them.
    with suppress(httpx2.ReadError):
        assert http.get("/v1/runs", headers={"Range": ranges * 20}).status_code in (400, 431)
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost.evil.example"]
)
def test_24_no_page_of_another_site_changes_anything(http: httpx2.Client, origin: str) -> None:
    for method, path in routes():
        if method not in CHANGES:
            continue
        answer = http.request(method, path.replace("{}", "x"), json={}, headers={"Origin": origin})
        assert answer.status_code == 403, (method, path)
        assert answer.json()["detail"].startswith("origin:")
    for method in CHANGES:
        assert http.request(method, "/v1/nothing", headers={"Origin": origin}).status_code == 403


def test_25_neither_loopback_nor_a_header_grants_anything(url: str) -> None:
    forwarded = (
        "X-Forwarded-For: 127.0.0.1",
        "X-Real-IP: 127.0.0.1",
        "Forwarded: for=127.0.0.1",
        "X-Forwarded-Host: localhost",
    )
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=600) as connection:
        lines = ["GET /v1/runs HTTP/1.1", f"Host: {parts.netloc}", *forwarded, "Connection: close", "", ""]
        connection.sendall("\r\n".join(lines).encode())
        assert status(connection.recv(65536)) == 401


def test_46_what_users_wrote_is_saved_and_never_run(http: httpx2.Client, train: Callable[[], None]) -> None:
    name = "<img src=x onerror=alert(1)>"
    study = {"problem": "quadratic", "optimizers": ["sgd"], "seeds": 1, "steps": 3, "name": name}
    made = http.post("/v1/studies", json=study).json()["id"]
    train()
    for path in (f"/v1/studies/{made}/report.html", f"/v1/studies/{made}/figure.svg", f"/v1/studies/{made}/figure.png"):
        answer = http.get(path)
        assert answer.headers["content-disposition"] == "attachment"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "sandbox" in answer.headers["content-security-policy"]
        assert b"<img src=x" not in answer.content
    assert "content-disposition" not in http.get(f"/v1/studies/{made}").headers


def test_49_no_name_makes_a_line_in_the_log(
    http: httpx2.Client, caplog: pytest.LogCaptureFixture, until: Callable[[Callable[[], bool], str], None]
) -> None:
    def said() -> list[str]:
        return [record.getMessage() for record in list(caplog.records) if record.name == "talweg.api"]

    with caplog.at_level(logging.DEBUG, "talweg.api"):
        for name in ("a%0d%0ab", "a%1b%5b31mb", "a%e2%80%a8b"):
            http.post(f"/v1/runs/{name}/cancel", json={})
        # A line is written after its answer is sent: the last one may come later than the answer.
        until(lambda: len([line for line in said() if '"changed"' in line]) == 3, "a line for each change")
    assert all(line.isprintable() for line in said())


def test_48_the_address_of_mlflow_is_answered_without_its_password(store: Store) -> None:
    for url in ("http://talweg:hunter2@mlflow.example:5000/base", "http://u:p@x@mlflow.example:5000/base"):
        assert mlflow_url(Settings(mlflow_url=url)) == "http://mlflow.example:5000/base"


@pytest.mark.parametrize("module", ["talweg.api", "talweg.execution.worker", "talweg.execution.reconciler"])
def test_48_no_process_prints_its_secrets_when_it_fails(tmp_path: Path, module: str) -> None:
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
    environment |= {
        "TALWEG_DATABASE_URL": "postgresql://lab:hunter2-database@127.0.0.1:1/lab",
        "TALWEG_BROKER_URL": "redis://:hunter2-broker@127.0.0.1:1/0",
        "TALWEG_TOKEN": "hunter2-the-token-of-this-laboratory",
        "TALWEG_PORT": "0",
        "TALWEG_LOG_LEVEL": "debug",
    }
    done = subprocess.run(
        [sys.executable, "-m", module], env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120
    )
    assert done.returncode != 0
    said = done.stdout + done.stderr
    assert "database" in said
    assert "hunter2" not in said


def test_48_settings_show_no_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("TOKEN", "DATABASE_URL", "BROKER_URL"):
        monkeypatch.setenv(f"TALWEG_{name}", "hunter2-is-long-enough-here")
    read = Settings()
    assert "hunter2" not in f"{read!r} {read} {json.dumps(read.model_dump(mode='json'))}"
