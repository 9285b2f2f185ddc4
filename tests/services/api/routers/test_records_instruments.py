"""Instruments over HTTP: answers of limited length that name the next step, and refusals that name the reason."""

from collections.abc import Callable

import httpx2
import pytest

RUN = {"problem": "wine-mlp", "optimizer": "adam", "steps": 70, "name": "looked-at", "record": "replay"}


@pytest.fixture(scope="module", autouse=True)
def trained(http: httpx2.Client, train: Callable[[], None]) -> None:
    """One run."""
    assert http.post("/v1/runs", json=RUN).status_code == 201
    train()


def test_every_instrument_has_its_formula(http: httpx2.Client) -> None:
    entries = {entry["name"]: entry for entry in http.get("/v1/instruments").json()}
    assert len(entries) == 9
    assert "s_j² the sample variance" in entries["gradient_snr"]["formula"]
    assert entries["alpha"]["edges"] is None
    edges = entries["gradient_histogram"]["edges"]
    assert edges == sorted(edges)


def test_an_answer_ends_where_the_next_one_begins(http: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
    query: dict[str, str | int] = {"name": "alpha", "start": 3, "stride": 20}
    whole = http.get("/v1/runs/looked-at/instruments", params=query).json()
    assert (whole["steps"], whole["next"], whole["columns"]) == ([3, 23, 43, 63], None, {"alpha": ["alpha"]})
    # Without any time, one step is answered.
    monkeypatch.setattr("talweg.api.routers.records.SECONDS", 0.0)
    part = http.get("/v1/runs/looked-at/instruments", params=query).json()
    assert (part["steps"], part["next"], part["rows"]) == ([3], 23, whole["rows"][:1])


@pytest.mark.parametrize(
    ("query", "status", "message"),
    [
        ({"name": "alhpa"}, 422, "instrument: there is no 'alhpa'; did you mean 'alpha'"),
        ({"start": 70}, 404, "has instruments of the steps 0 to 69, got 70"),
        ({"start": 60, "stop": 80}, 404, "has instruments of the steps 0 to 69, got 60 to 79"),
        ({"start": 9, "stop": 9}, 404, "has instruments of the steps 0 to 69, got 9"),
        ({"stride": 0}, 422, "stride: input should be greater than or equal to 1, got '0'"),
    ],
)
def test_a_refusal_names_its_reason(
    http: httpx2.Client, query: dict[str, str | int], status: int, message: str
) -> None:
    response = http.get("/v1/runs/looked-at/instruments", params=query)
    assert response.status_code == status
    assert message in response.json()["detail"]


def test_a_run_that_is_not_there_is_not_found(http: httpx2.Client) -> None:
    assert http.get("/v1/runs/nobody/instruments").status_code == 404
