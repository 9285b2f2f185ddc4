"""Tokens over the API: shown once, never listed, revoked at once, limited."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest

from talweg.api.tokens import Rates, digest_of
from talweg.store import Store

RUN = {"problem": "quadratic", "optimizer": "sgd", "steps": 3}

Make = Callable[..., dict[str, Any]]


@pytest.fixture
def make(http: httpx2.Client) -> Make:
    """Makes a token; returns its view and the headers that use it."""
    made = []

    def one(name: str, scope: str = "submit", **more: Any) -> dict[str, Any]:
        made.append(name)
        answer = http.post("/v1/tokens", json={"name": name, "scope": scope, **more})
        assert answer.status_code == 201, answer.text
        view: dict[str, Any] = answer.json()
        return view | {"headers": {"Authorization": f"Bearer {view['token']}"}}

    return one


def test_a_token_is_shown_once_and_kept_as_a_digest(
    http: httpx2.Client, stranger: httpx2.Client, store: Store, make: Make
) -> None:
    made = make("shown-once", "read")
    assert len(made["token"]) > 40
    assert stranger.get("/v1/runs", headers=made["headers"]).status_code == 200
    listed = http.get("/v1/tokens")
    assert made["token"] not in listed.text
    assert digest_of(made["token"]) not in listed.text
    assert made["token"] not in str(store.tokens())
    assert "shown-once" in [row["name"] for row in listed.json()]


def test_a_revoked_token_is_refused_at_once(http: httpx2.Client, stranger: httpx2.Client, make: Make) -> None:
    made = make("soon-revoked", "read")
    assert http.delete("/v1/tokens/soon-revoked").status_code == 204
    assert stranger.get("/v1/runs", headers=made["headers"]).status_code == 401
    assert http.delete("/v1/tokens/soon-revoked").status_code == 404
    # The name can be used again.
    make("soon-revoked", "read")


def test_a_token_expires_at_the_requested_time(http: httpx2.Client, make: Make) -> None:
    ends = (datetime.now(UTC) + timedelta(days=1)).isoformat()
    assert datetime.fromisoformat(make("for-a-day", expires_at=ends)["expires_at"]) == datetime.fromisoformat(ends)
    past = (datetime.now(UTC) - timedelta(seconds=1)).isoformat()
    refused = http.post("/v1/tokens", json={"name": "past-its-end", "expires_at": past})
    assert refused.status_code == 422
    assert "expires_at: must lie in the future" in refused.json()["detail"]


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, "name"),
        ({"name": "a/b"}, "name"),
        ({"name": "x", "scope": "root"}, "scope"),
        ({"name": "x", "scopes": ["read"]}, "scopes"),
        ({"name": "x", "expires_at": "tomorrow"}, "expires_at"),
        ({"name": "x", "expires_at": "2030-01-01T00:00:00"}, "expires_at"),
        ({"name": "x", "limits": {"runs": 0}}, "limits.runs"),
        ({"name": "x", "limits": {"hats": 1}}, "limits.hats"),
        ({"name": "settings-abc"}, "settings-"),
    ],
)
def test_a_token_that_breaks_a_rule(http: httpx2.Client, spec: dict[str, Any], said: str) -> None:
    refused = http.post("/v1/tokens", json=spec)
    assert refused.status_code == 422
    assert said in refused.json()["detail"]


def test_a_taken_name_is_a_conflict(http: httpx2.Client, make: Make) -> None:
    make("taken")
    assert http.post("/v1/tokens", json={"name": "taken"}).status_code == 409


def test_quotas_are_held_at_submission(stranger: httpx2.Client, store: Store, make: Make) -> None:
    made = make("three-runs", limits={"runs": 3, "steps": 100})
    study = {"problem": "quadratic", "optimizers": ["sgd", "adam"], "seeds": 2, "steps": 3}
    refused = stranger.post("/v1/studies", json=study, headers=made["headers"])
    assert refused.status_code == 429
    assert refused.json()["code"] == "limit-reached"
    assert "may hold 3 runs that are queued or running, would hold 4" in refused.json()["detail"]
    assert store.studies().items == []
    for _ in range(3):
        assert stranger.post("/v1/runs", json=RUN, headers=made["headers"]).status_code == 201
    assert stranger.post("/v1/runs", json=RUN, headers=made["headers"]).status_code == 429
    store.request_cancel([run.id for run in store.runs().items])
    assert stranger.post("/v1/runs", json=RUN | {"steps": 101}, headers=made["headers"]).status_code == 429
    assert stranger.post("/v1/runs", json=RUN, headers=made["headers"]).status_code == 201


def test_too_many_requests_get_a_retry_after_header(stranger: httpx2.Client, make: Make) -> None:
    made = make("once-in-a-while", "read", limits={"rate": 0.001})
    assert stranger.get("/v1/runs", headers=made["headers"]).status_code == 200
    refused = stranger.get("/v1/runs", headers=made["headers"])
    assert refused.status_code == 429
    assert 900 < int(refused.headers["retry-after"]) <= 1000
    # Another token has its own rate.
    assert stranger.get("/v1/runs", headers=make("another", "read")["headers"]).status_code == 200


def test_a_bucket_fills_at_its_rate() -> None:
    now = [0.0]
    rates = Rates(lambda: now[0])
    assert [rates.wait("one", 2.0) for _ in range(5)] == [0, 0, 0, 0, 0.5]
    now[0] += 0.5
    assert [rates.wait("one", 2.0) for _ in range(2)] == [0, 0.5]
    assert rates.wait("other", 2.0) == 0
    now[0] += 1000
    assert sum(rates.wait("one", 2.0) == 0 for _ in range(9)) == 4


def test_every_change_is_logged_with_its_token_and_object(
    stranger: httpx2.Client, http: httpx2.Client, make: Make, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO, "talweg.api"):
        made = make("audited\N{LINE SEPARATOR}\x9b31mname")
        run = stranger.post("/v1/runs", json=RUN, headers=made["headers"]).json()
        http.delete(f"/v1/tokens/{made['name']}")
    lines = [record.getMessage() for record in caplog.records if record.name == "talweg.api"]
    assert any('"token created"' in line and '"by": "tests"' in line for line in lines)
    assert any('"token revoked"' in line and '"by": "tests"' in line for line in lines)
    assert any(f'"made": "/v1/runs/{run["id"]}"' in line and '"audited' in line for line in lines)
    # No name breaks a line or controls a terminal, and no line contains the token.
    assert all(line.isprintable() and made["token"] not in line for line in lines)
