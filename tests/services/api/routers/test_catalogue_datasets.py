"""Datasets over the API: stored by name and digest, used in specs, refused with a reason."""

import contextlib
import io
import json
import logging
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import numpy as np
import pytest

from talweg.api.tokens import digest_of
from talweg.settings import Settings
from talweg.store import Store

BYTES = {"Content-Type": "application/octet-stream"}
NETWORK = [{"layer": "dense", "units": 2}]


def npz(seed: int = 0, **changed: Any) -> bytes:
    rng = np.random.default_rng(seed)
    arrays = {"inputs": rng.normal(size=(40, 3)), "targets": np.array(["no", "yes"] * 20)} | changed
    buffer = io.BytesIO()
    np.savez(buffer, **arrays)
    return buffer.getvalue()


def put(http: httpx2.Client, name: str, content: Any, **query: Any) -> httpx2.Response:
    return http.put(f"/v1/datasets/{name}", content=content, params={"format": "npz"} | query, headers=BYTES)


def test_a_dataset_is_stored_once_and_shown(http: httpx2.Client) -> None:
    first = put(http, "kept", npz())
    assert first.status_code == 201, first.text
    view = first.json()
    assert (view["name"], view["kind"], view["rows"], view["classes"]) == ("kept", "labels", 40, ["no", "yes"])
    assert first.headers["location"] == f"/v1/datasets/{view['digest']}"
    assert put(http, "kept", npz()).json() == view
    assert http.get("/v1/datasets/kept").json() == http.get(first.headers["location"]).json() == view
    assert view | {"report": []} in http.get("/v1/datasets").json()
    second = put(http, "kept", npz(1)).json()
    assert (second["name"], second["version"]) == ("kept", 2)
    assert http.get("/v1/datasets/kept").json() == http.get("/v1/datasets/kept@2").json() == second
    assert http.get("/v1/datasets/kept@1").json() == view
    assert put(http, "again", npz()).json()["digest"] == view["digest"]
    assert put(http, "digits", npz(2)).status_code == 409


def test_a_run_on_a_dataset_trains_and_has_its_digest(
    http: httpx2.Client, store: Store, train: Callable[[], None]
) -> None:
    digest = put(http, "trained on", npz(3)).json()["digest"]
    spec = {
        "problem": {"dataset": "trained on", "network": NETWORK, "cost": "cross_entropy"},
        "optimizer": "sgd",
        "steps": 8,
        "record": "replay",
    }
    run = http.post("/v1/runs", json=spec).json()
    assert run["spec"]["problem"]["digest"] == digest
    train()
    done = http.get(f"/v1/runs/{run['id']}").json()
    assert (done["state"], done["error"]) == ("finished", None)
    # A replay gets the same data: it answers 200 only if every recomputed cost equals the recorded one.
    assert http.get(f"/v1/runs/{run['id']}/records/gradient", params={"start": 3, "stop": 5}).status_code == 200
    # The run's spec can be submitted again.
    again = http.post("/v1/runs", json=run["spec"] | {"name": None})
    assert again.status_code == 201, again.text
    assert again.json()["spec"] == run["spec"]
    study = {"problem": spec["problem"], "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 4}
    made = http.post("/v1/studies", json=study).json()
    train()
    assert http.get(f"/v1/studies/{made['id']}/ranking").json()["metric"] == "accuracy"


@pytest.mark.parametrize(
    ("problem", "said"),
    [
        ({"dataset": "unknwn"}, "dataset: there is no 'unknwn'; did you mean 'unknown'?"),
        ({"dataset": "unknown", "digest": "0" * 64}, "digest: must be that of a version of 'unknown', got '000"),
        ({"dataset": "unknown", "network": 7}, "network: must be a list"),
        ({"dataset": "unknown", "network": [{"layer": "dense", "units": 1}]}, "one unit for each of the 2 classes"),
        ({"dataset": "unknown", "cost": "squared_error"}, "targets' shape"),
        ({"dataset": "digits", "digest": "0" * 64}, "digest"),
        ({"dataset": 7}, "dataset: must be a name, got 7"),
        ({"dataset": ["unknown"]}, "dataset: must be a name"),
    ],
)
def test_a_spec_that_names_no_fitting_dataset(http: httpx2.Client, problem: dict[str, Any], said: str) -> None:
    assert put(http, "unknown", npz(4)).status_code == 201
    spec = {"problem": {"network": NETWORK, "cost": "cross_entropy"} | problem, "optimizer": "sgd", "steps": 1}
    refused = http.post("/v1/runs", json=spec)
    assert refused.status_code == 422, refused.text
    assert said in refused.json()["detail"]


TABLES = Path(__file__).parents[2] / "datasets" / "tables"


def test_each_of_the_ten_tables_is_trained_on(http: httpx2.Client, train: Callable[[], None]) -> None:
    runs = {}
    for file in sorted(path.name for path in TABLES.iterdir()):
        made = put(http, file, (TABLES / file).read_bytes(), format="csv")
        assert made.status_code == 201, made.text
        assert [row["column"] for row in made.json()["report"]]
        assert [one["name"] for one in made.json()["baselines"]][1:] == ["linear model"]
        spec = {"problem": {"dataset": file}, "optimizer": "adam", "steps": 20, "record": "replay"}
        runs[file] = http.post("/v1/runs", json=spec).json()
    assert len(runs) == 10
    train()
    for file, run in runs.items():
        done = http.get(f"/v1/runs/{run['id']}").json()
        assert (done["state"], done["stop_reason"]) == ("finished", "finished"), file


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({"columns": "{"}, "columns: must be a JSON object"),
        ({"columns": '{"a": "numeric"}'}, "columns: must be a JSON object of names and one of 'number', 'category'"),
        ({"columns": '{"zz": "number"}'}, "columns: must be one of the columns a, b, kind, got 'zz'"),
        ({"categories": 0}, "categories"),
        ({"groups": "a", "order_by": "b"}, "only one of groups, order_by and split"),
        ({"decimal": "x"}, "decimal"),
        ({"encoding": "zip"}, "encoding: must be one of"),
        ({"target": "a\u2028b"}, "target: must be printable"),
        ({"colour": "x"}, "colour"),
        ({"missing": ["x"] * 101}, "missing"),
        ({"missing": ["x" * 201]}, "at most 200 characters"),
    ],
)
def test_options_that_break_a_rule_are_named(http: httpx2.Client, query: dict[str, Any], said: str) -> None:
    refused = put(http, "options", (TABLES / "measurements.tsv").read_bytes(), **({"format": "csv"} | query))
    assert refused.status_code == 422
    assert said in refused.json()["detail"]


def test_an_error_in_a_file_is_named(http: httpx2.Client) -> None:
    refused = put(http, "bad", npz(5, inputs=np.full((40, 3), np.nan)))
    assert refused.status_code == 422
    assert "column 0: must be finite" in refused.json()["detail"]
    assert put(http, "bad", b"nothing").status_code == 422
    assert put(http, "bad", b"").status_code == 422
    assert put(http, "bad", npz(5), format="pickle").status_code == 422
    assert http.get("/v1/datasets/bad").status_code == 404


@pytest.mark.parametrize("name", ["..%2f..%2fetc", "%252e%252e", "a%5cb", "a;b%00", "%23", "x" * 201, "a%0d%0ab", ".a"])
def test_15_a_name_is_one_plain_word(http: httpx2.Client, store: Store, name: str) -> None:
    before = store.datasets()
    assert put(http, name, npz(6)).status_code in (404, 405, 422)
    assert store.datasets() == before


@pytest.mark.parametrize("media", ["application/json", "text/plain", "multipart/form-data; boundary=x", ""])
def test_14_only_bytes_are_taken_as_a_dataset(http: httpx2.Client, media: str) -> None:
    refused = http.put("/v1/datasets/x", params={"format": "npz"}, content=npz(), headers={"Content-Type": media})
    assert refused.status_code == 415


def test_18_a_hundred_thousand_parts_are_refused_unread(http: httpx2.Client) -> None:
    part = b"--x\r\nContent-Disposition: form-data; name=a\r\n\r\n\r\n"
    for path in ("/v1/datasets/x?format=csv", "/v1/runs"):
        method = "PUT" if "datasets" in path else "POST"
        for body, media in (
            (part * 100_000, "multipart/form-data; boundary=x"),
            (b"-" * 5_000_000, "multipart/form-data; boundary=x"),
            (b"a=1&" * 1_000_000, "application/x-www-form-urlencoded"),
        ):
            answer = http.request(method, path, content=body, headers={"Content-Type": media})
            assert answer.status_code == 415
    assert http.get("/healthz").status_code == 200


def test_17_an_upload_has_a_limit_whether_or_not_it_states_its_length(
    http: httpx2.Client, url: str, store: Store
) -> None:
    maximum = Settings().upload_bytes
    assert put(http, "large", b"", format="csv").status_code == 422
    # Nothing is sent: the stated length is enough.
    with _said(url, f"Content-Length: {maximum + 1}") as connection:
        assert b" 413 " in connection.recv(65536).split(b"\r\n")[0]

    sent = 0

    def endless() -> Iterator[bytes]:
        nonlocal sent
        while True:
            sent += 1_000_000
            yield bytes(1_000_000)

    try:
        assert put(http, "large", endless()).status_code == 413
    except httpx2.HTTPError:
        # The server answers and closes the connection while this side still sends; either may be seen first.
        assert sent > maximum
    assert sent < 4 * maximum
    assert http.get("/healthz").status_code == 200
    assert "large" not in [row.name for row in store.datasets()]


def _said(url: str, *headers: str, path: str = "/v1/datasets/large?format=csv") -> socket.socket:
    parts = urlsplit(url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=60)
    dataset = "datasets" in path
    lines = [
        f"{'PUT' if dataset else 'POST'} {path} HTTP/1.1",
        f"Host: {parts.netloc}",
        "Authorization: Bearer a-token-that-is-long-enough-for-tests",
        f"Content-Type: application/{'octet-stream' if dataset else 'json'}",
        *headers,
    ]
    connection.sendall("\r\n".join([*lines, "", ""]).encode())
    return connection


def test_a_sender_that_stops_gets_a_timeout(url: str, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("talweg.api.middleware.IDLE", 0.3)
    with _said(url, "Content-Length: 1000") as connection:
        connection.sendall(b"x,y\n")
        assert b" 408 " in connection.recv(65536).split(b"\r\n")[0]
    assert http.get("/healthz").status_code == 200


@pytest.mark.parametrize("path", ["/v1/datasets/slow?format=csv", "/v1/runs"])
def test_a_sender_of_single_bytes_gets_a_timeout(
    url: str, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.setattr("talweg.api.middleware.Guard._seconds", lambda *_: 0.5)
    with _said(url, "Content-Length: 100000", path=path) as connection:
        connection.settimeout(0.02)
        answer, began = b"", time.monotonic()
        while not answer and time.monotonic() - began < 20:
            # However often a byte arrives, the time for the whole body ends.
            with contextlib.suppress(ConnectionError):
                connection.sendall(b" ")
            with contextlib.suppress(TimeoutError):
                answer = connection.recv(65536)
    assert b" 408 " in answer.split(b"\r\n")[0]
    assert b"connection: close" in answer.lower()
    assert http.get("/healthz").status_code == 200


def test_uploads_at_once_are_limited_and_their_slots_return(
    url: str, http: httpx2.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    from talweg.api import bodies

    held = [bodies._uploads.acquire(blocking=False) for _ in range(bodies.MAXIMUM_UPLOADS)]
    try:
        assert all(held)
        refused = put(http, "waiting", npz(8))
        assert refused.status_code == 429
        assert "at most 4 uploads at once" in refused.json()["detail"]
    finally:
        for _ in held:
            bodies._uploads.release()
    assert put(http, "waiting", npz(8)).status_code == 201


def test_bytes_count_against_the_token(http: httpx2.Client, stranger: httpx2.Client, store: Store) -> None:
    store.add_token(digest_of("a-token-with-little-room-left"), "little-room", ["submit"], limits={"bytes": 1000})
    headers = {"Authorization": "Bearer a-token-with-little-room-left"}
    refused = stranger.put("/v1/datasets/much", content=npz(9), params={"format": "npz"}, headers=headers | BYTES)
    assert refused.status_code == 429
    assert "may hold 1000 bytes of datasets" in refused.json()["detail"]
    assert http.get("/v1/datasets/much").status_code == 404


def test_an_upload_is_logged_with_its_token(http: httpx2.Client, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO, "talweg.api"):
        digest = put(http, "logged", npz(10)).json()["digest"]
    said = [json.loads(record.getMessage()) for record in caplog.records if record.name == "talweg.api"]
    assert [line["digest"] for line in said if line["event"] == "dataset kept" and line["by"] == "tests"] == [digest]
