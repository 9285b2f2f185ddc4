"""The OpenAPI document: scopes, keys and pages; and random requests against it."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import httpx2
import pytest

from talweg.api.middleware import PUBLIC

COMMAND = Path(__file__).parents[4] / "benchmarks" / "fuzz_api.py"


@pytest.fixture(scope="module")
def document(http: httpx2.Client) -> dict[str, Any]:
    """The document as the API serves it."""
    served: dict[str, Any] = http.get("/v1/openapi.json").json()
    return served


def test_16_no_answer_is_outside_of_the_document() -> None:
    done = subprocess.run(
        [sys.executable, str(COMMAND), "--requests", "360", "--seed", "0"], capture_output=True, text=True, timeout=250
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    counted = dict(line.strip().rsplit(": ", 1) for line in done.stdout.splitlines()[1:])
    # The requests reached every kind of answer.
    assert {"admin 200", "admin 422", "submit 403", "read 403", "anonymous 401"} <= counted.keys()


@pytest.mark.parametrize(
    ("method", "path", "scope"),
    [
        ("get", "/v1/runs", "read"),
        ("get", "/v1/runs/{run}", "read"),
        ("get", "/v1/runs/{run}/steps/{column}", "read"),
        ("get", "/v1/runs/{run}/records/{quantity}", "read"),
        ("get", "/v1/runs/{run}/evaluations", "read"),
        ("get", "/v1/runs/{run}/events", "read"),
        ("get", "/v1/studies", "read"),
        ("get", "/v1/studies/{study}/ranking", "read"),
        ("get", "/v1/datasets", "read"),
        ("get", "/v1/optimizers", "read"),
        ("get", "/v1/problems", "read"),
        ("get", "/v1/schedules", "read"),
        ("get", "/metrics", "read"),
        ("post", "/v1/runs", "submit"),
        ("post", "/v1/studies", "submit"),
        ("post", "/v1/runs/{run}/fork", "submit"),
        ("post", "/v1/runs/{run}/resume", "submit"),
        ("post", "/v1/runs/{run}/cancel", "submit"),
        ("post", "/v1/runs/{run}/pause", "submit"),
        ("post", "/v1/runs/{run}/unpause", "submit"),
        ("post", "/v1/runs/{run}/retry", "submit"),
        ("post", "/v1/studies/{study}/cancel", "submit"),
        ("post", "/v1/studies/{study}/pause", "submit"),
        ("post", "/v1/studies/{study}/retry", "submit"),
        ("put", "/v1/datasets/{name}", "submit"),
        ("get", "/v1/tokens", "admin"),
        ("post", "/v1/tokens", "admin"),
        ("delete", "/v1/tokens/{name}", "admin"),
    ],
)
def test_the_document_names_the_scope_of_each_route(
    document: dict[str, Any], method: str, path: str, scope: str
) -> None:
    route = document["paths"][path][method]
    assert route["security"] == [{"token": [scope]}]
    assert {"401", "403", "404", "422", "429"} <= route["responses"].keys()
    assert all(
        "application/problem+json" in answer["content"]
        for status, answer in route["responses"].items()
        if status.startswith(("4", "5"))
    )


def test_the_document_asks_no_token_where_none_is_needed(document: dict[str, Any]) -> None:
    routes = [(path, route) for path, of in document["paths"].items() for route in of.values()]
    assert len(routes) > 40
    assert sorted(path for path, route in routes if route["security"] == []) == sorted(PUBLIC)


def test_creating_routes_take_a_key_and_lists_have_pages(document: dict[str, Any]) -> None:
    for path in ("/v1/runs", "/v1/studies", "/v1/runs/{run}/fork"):
        assert "idempotency-key" in _named(document["paths"][path]["post"])
    for path in ("/v1/runs", "/v1/studies"):
        assert {"limit", "cursor"} <= _named(document["paths"][path]["get"])


def _named(route: dict[str, Any]) -> set[str]:
    return {parameter["name"].lower() for parameter in route["parameters"]}
