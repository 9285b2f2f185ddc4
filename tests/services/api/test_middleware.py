"""Access: every route needs a token, every change a scope, every request an allowed host."""

import re
import socket
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.client import HTTPConnection
from urllib.parse import urlsplit

import httpx2
import pytest
from fastapi.routing import APIRoute

from talweg.api.middleware import MAXIMUM_BODY, PUBLIC
from talweg.api.routers import ALL
from talweg.api.tokens import FOR_METRICS, digest_of, register
from talweg.errors import InvalidSpec
from talweg.store import Store


def routes() -> Iterator[tuple[str, str]]:
    """Method and path of every route, with parameters filled in."""
    for router in ALL:
        for route in router.routes:
            assert isinstance(route, APIRoute), f"{route}: must be a route, since a mount bypasses the routers"
            for method in route.methods or ():
                yield method, re.sub(r"\{[^}]*\}", "x", route.path)


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def test_only_the_two_health_routes_answer_without_a_token(stranger: httpx2.Client) -> None:
    asked = list(routes())
    assert len(asked) > 15
    for method, path in asked:
        response = stranger.request(method, path, json={} if method == "POST" else None)
        assert response.status_code == (200 if path in PUBLIC else 401), (method, path)
        if path not in PUBLIC:
            assert response.headers["content-type"] == "application/problem+json"
            assert response.headers["www-authenticate"] == "Bearer"
            assert response.json()["code"] == "access-denied"


def test_an_unknown_path_is_401_without_a_token(stranger: httpx2.Client, http: httpx2.Client) -> None:
    for path in ("/", "/docs", "/openapi.json", "/v1/nothing", "/v1/runs/", "//healthz"):
        assert stranger.get(path).status_code == 401, path
        assert http.get(path).status_code == 404, path
    assert http.delete("/v1/runs", headers={"Content-Type": "application/json"}).status_code == 405


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", "Bearer not-the-token-that-it-should-be")],
        [("Authorization", "Basic YTpi")],
        [("Authorization", "Bearer")],
        [("Authorization", "")],
        [("Authorization", "Bearer {token}"), ("Authorization", "Bearer {token}")],
        [("Cookie", "token={token}; Authorization=Bearer {token}")],
        [("X-Forwarded-For", "127.0.0.1")],
    ],
)
def test_anything_but_one_header_with_a_known_token_is_refused(
    stranger: httpx2.Client, http: httpx2.Client, headers: list[tuple[str, str]]
) -> None:
    token = http.headers["authorization"].removeprefix("Bearer ")
    sent = [(name, value.replace("{token}", token)) for name, value in headers]
    assert stranger.get("/v1/runs", headers=sent).status_code == 401
    assert stranger.get("/v1/runs", headers=sent, params={"token": token, "access_token": token}).status_code == 401


def test_a_revoked_token_fails_at_the_next_request(stranger: httpx2.Client, store: Store) -> None:
    token = "one-that-will-be-revoked-soon"  # noqa: S105
    store.add_token(digest_of(token), "soon", ["read"])
    assert stranger.get("/v1/runs", headers=bearer(token)).status_code == 200
    store.revoke_token("soon")
    assert stranger.get("/v1/runs", headers=bearer(token)).status_code == 401


def test_a_token_ends_when_it_expires(stranger: httpx2.Client, store: Store) -> None:
    now = datetime.now(UTC)
    for name, expires, status in [("past", now - timedelta(seconds=1), 401), ("future", now + timedelta(days=1), 200)]:
        store.add_token(digest_of(f"token-of-the-{name}"), name, ["read"], expires)
        assert stranger.get("/v1/runs", headers=bearer(f"token-of-the-{name}")).status_code == status


def test_each_scope_includes_those_below_it_and_no_more(stranger: httpx2.Client, store: Store) -> None:
    for scope in ("none", "read", "submit", "admin"):
        store.add_token(digest_of(f"a-token-to-{scope}"), f"to-{scope}", [scope])
    reach = {"none": 0, "read": 1, "submit": 2, "admin": 3}
    for method, path in routes():
        needed = 0 if path in PUBLIC else 3 if path.startswith("/v1/tokens") else 1 if method == "GET" else 2
        for scope, height in reach.items():
            body: dict[str, str] | None = {} if method in ("POST", "PUT") else None
            response = stranger.request(method, path, json=body, headers=bearer(f"a-token-to-{scope}"))
            assert (response.status_code == 403) == (height < needed), (method, path, scope)


def test_only_digests_of_tokens_are_stored(store: Store) -> None:
    register(store, "a-secret-that-nobody-should-read")
    assert "a-secret-that-nobody-should-read" not in str(store.tokens())


def test_the_settings_token_replaces_the_previous_one(store: Store) -> None:
    first, second = "the-first-token-of-the-settings", "the-second-token-of-the-settings"
    for token in (first, second, second):
        register(store, token)
    live = {row.digest for row in store.tokens() if row.revoked_at is None and row.name.startswith("settings-")}
    assert live == {digest_of(second)}
    with pytest.raises(InvalidSpec, match="was revoked"):
        register(store, first)


def test_the_metrics_token_is_separate_and_only_reads(store: Store) -> None:
    admin, metrics = "the-one-token-of-the-settings", "the-token-of-the-settings-for-metrics"
    register(store, admin)
    register(store, metrics, scope="read", prefix=FOR_METRICS)
    # A restart revokes neither.
    register(store, admin)
    live = {row.digest: list(row.scopes) for row in store.tokens() if row.revoked_at is None}
    assert (live[digest_of(admin)], live[digest_of(metrics)]) == (["admin"], ["read"])
    with pytest.raises(InvalidSpec, match="must have the scope read alone, but is in use with admin"):
        register(store, admin, scope="read", prefix=FOR_METRICS)


@pytest.mark.parametrize("token", ["", "secret", "changeme", "a" * 19])
def test_short_tokens_are_refused(store: Store, token: str) -> None:
    with pytest.raises(InvalidSpec, match=f"at least 20 characters, got {len(token)}"):
        register(store, token)


@pytest.mark.parametrize(
    "host",
    ["10.evil.example", "localhost.evil.example", "evil.example", "127.0.0.1.evil.example", "a b", "[::2]", ":80"],
)
def test_other_hosts_are_refused_on_every_route(http: httpx2.Client, host: str) -> None:
    for path in ("/v1/runs", *PUBLIC):
        response = http.get(path, headers={"Host": host})
        assert response.status_code == 421, path
        assert "host: must be" in response.json()["detail"]


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:8000", "127.0.0.1:1", "[::1]:8000", "talweg.example"])
def test_loopback_names_and_configured_hosts_are_allowed(http: httpx2.Client, host: str) -> None:
    assert http.get("/v1/runs", headers={"Host": host}).status_code == 200


def test_a_request_without_a_host_is_refused(url: str) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=120) as connection:
        connection.sendall(b"GET /healthz HTTP/1.0\r\n\r\n")
        assert b" 421 " in connection.recv(65536).split(b"\r\n")[0]


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1"])
def test_a_page_of_another_site_changes_nothing(http: httpx2.Client, store: Store, origin: str) -> None:
    spec = {"problem": "quadratic", "optimizer": "sgd", "steps": 3}
    response = http.post("/v1/runs", json=spec, headers={"Origin": origin})
    assert response.status_code == 403
    assert store.runs().items == []


@pytest.mark.parametrize("media", ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""])
def test_only_json_is_taken(http: httpx2.Client, media: str) -> None:
    body = b'{"problem": "quadratic", "optimizer": "sgd"}'
    response = http.post("/v1/runs", content=body, headers={"Content-Type": media})
    assert response.status_code == 415
    assert "must be application/json" in response.json()["detail"]


def test_a_body_has_a_limit(http: httpx2.Client) -> None:
    headers = {"Content-Type": "application/json"}
    large = b'"' + b"x" * MAXIMUM_BODY + b'"'
    assert http.post("/v1/runs", content=large, headers=headers).status_code == 413
    # A chunked body states no length.
    chunked = http.post(
        "/v1/runs", content=(large[i : i + 65536] for i in range(0, len(large), 65536)), headers=headers
    )
    assert chunked.status_code == 413
    assert http.get("/healthz").status_code == 200


def test_answers_have_headers_that_restrict_browsers(http: httpx2.Client) -> None:
    for path in ("/healthz", "/v1/runs", "/v1/nothing"):
        headers = http.get(path).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in headers["content-security-policy"]
        assert "access-control-allow-origin" not in headers
        assert "server" not in headers


@pytest.mark.parametrize("noun", ["runs", "studies"])
def test_a_change_that_needs_no_body_needs_no_type(http: httpx2.Client, noun: str) -> None:
    for what in ("cancel", "pause", "unpause", "retry", "mirror"):
        asked = http.post(f"/v1/{noun}/nobody/{what}")
        assert "content-type" not in asked.request.headers
        assert asked.status_code == 404, what
    # A missing body is named by its first missing key.
    missing = http.post("/v1/studies")
    assert missing.status_code == 422
    assert "optimizers: is required" in missing.json()["detail"]


def test_a_body_needs_a_content_type(http: httpx2.Client) -> None:
    body = b'{"problem": "quadratic", "optimizer": "sgd"}'
    assert http.post("/v1/runs", content=body).status_code == 415
    # A chunked body states no length.
    assert http.post("/v1/runs", content=iter([body])).status_code == 415
    form = {"Content-Type": "application/x-www-form-urlencoded"}
    assert http.post("/v1/runs/nobody/cancel", headers=form).status_code == 415


def test_a_refusal_arrives_although_the_body_was_not_read(http: httpx2.Client) -> None:
    """A connection that is closed while its client writes is reset, and the answer can be lost."""
    head = [
        "POST /v1/runs HTTP/1.1",
        f"Host: {http.base_url.netloc.decode()}",
        f"Authorization: {http.headers['Authorization']}",
        "Content-Length: 5000000",
    ]
    with socket.create_connection((http.base_url.host, http.base_url.port), timeout=60) as connection:
        connection.sendall("\r\n".join([*head, "", ""]).encode())
        answer = connection.recv(65536)
        connection.sendall(bytes(5_000_000))
        while more := connection.recv(65536):
            answer += more
    assert answer.startswith(b"HTTP/1.1 415 ")
    assert b"connection: close" in answer.lower()
    assert answer.endswith(b"}")


def test_a_refusal_of_a_request_without_a_body_keeps_the_connection(http: httpx2.Client) -> None:
    connection = HTTPConnection(http.base_url.host, http.base_url.port, timeout=60)
    token = {"Authorization": http.headers["Authorization"]}
    connection.connect()
    held = connection.sock
    for method, path, headers, status in (
        ("GET", "/v1/runs", {}, 401),
        ("GET", "/v1/runs/nobody", token, 404),
        ("POST", "/v1/runs/nobody/cancel", token, 404),
        ("GET", "/v1/runs", token, 200),
    ):
        connection.request(method, path, headers=headers)
        answer = connection.getresponse()
        answer.read()
        assert (answer.status, answer.getheader("connection"), connection.sock is held) == (status, None, True)
    connection.close()
