"""Runs over HTTP: submitted once by an idempotency key, found, listed, cancelled."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from talweg.store import Store

SPEC: dict[str, Any] = {"problem": "quadratic", "optimizer": {"name": "sgd", "learning_rate": 0.1}, "steps": 5}


def submit(http: httpx2.Client, **changes: Any) -> dict[str, Any]:
    response = http.post("/v1/runs", json=SPEC | changes)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


def test_a_run_is_stored_with_every_default_before_the_answer(http: httpx2.Client, store: Store) -> None:
    view = submit(http, seed=11, name="eleven")
    assert (view["state"], view["step"], view["steps"], view["seed"]) == ("queued", 0, 5, 11)
    assert view["spec"]["optimizer"]["learning_rate"] == 0.1
    assert view["spec"]["schedule"] == {"name": "constant"}
    assert view["tensors"]
    assert store.run("eleven").id == view["id"]
    assert http.get("/v1/runs/eleven").json() == http.get(f"/v1/runs/{view['id']}").json() == view


def test_a_repeated_key_gives_the_first_answer(http: httpx2.Client, store: Store) -> None:
    before = len(store.runs(limit=500).items)
    headers = {"Idempotency-Key": "sent-twice"}
    answers = [http.post("/v1/runs", json=SPEC, headers=headers) for _ in range(2)]
    assert [answer.status_code for answer in answers] == [201, 201]
    assert answers[0].json()["id"] == answers[1].json()["id"]
    assert len(store.runs(limit=500).items) == before + 1
    other = http.post("/v1/runs", json=SPEC | {"seed": 99}, headers=headers)
    assert (other.status_code, other.json()["code"]) == (409, "conflict")


def test_a_taken_name_is_a_conflict(http: httpx2.Client) -> None:
    submit(http, name="taken")
    response = http.post("/v1/runs", json=SPEC | {"name": "taken", "seed": 5})
    assert (response.status_code, response.json()["code"]) == (409, "conflict")
    assert "taken" in response.json()["detail"]


@pytest.mark.parametrize(
    "path",
    ["", "/cancel", "/steps/cost", "/records/gradient", "/records/norms", "/evaluations", "/explain?step=0&tensor=w"],
)
def test_an_unknown_run_is_not_found(http: httpx2.Client, path: str) -> None:
    url = f"/v1/runs/no-such-run{path}"
    response = http.post(url, json={}) if path == "/cancel" else http.get(url)
    assert (response.status_code, response.json()["code"]) == (404, "not-found")
    assert "no-such-run" in response.json()["detail"]


def test_pages_hold_each_run_once(http: httpx2.Client, store: Store) -> None:
    for seed in range(20, 25):
        submit(http, seed=seed)
    seen: list[str] = []
    cursor = None
    while True:
        params = {"limit": 2} | ({"cursor": cursor} if cursor else {})
        page = http.get("/v1/runs", params=params).json()
        assert len(page["items"]) <= 2
        seen += [view["id"] for view in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert seen == [row.id for row in store.runs(limit=500).items]
    assert seen == sorted(seen, reverse=True)


def test_a_queued_run_is_cancelled_at_once_and_stays_so(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = submit(http, seed=30)["id"]
    for _ in range(2):
        view = http.post(f"/v1/runs/{run}/cancel", json={}).json()
        assert (view["state"], view["stop_reason"]) == ("cancelled", "cancelled")
    train()
    assert http.get(f"/v1/runs/{run}").json()["state"] == "cancelled"
    listed = http.get("/v1/runs", params={"state": "cancelled"}).json()["items"]
    assert [view["id"] for view in listed] == [run]


def test_a_finished_run_is_not_cancelled(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = submit(http, seed=31)["id"]
    train()
    view = http.post(f"/v1/runs/{run}/cancel", json={}).json()
    assert (view["state"], view["stop_reason"], view["step"]) == ("finished", "finished", 5)


def test_a_diverged_run_has_no_number_in_json(http: httpx2.Client, train: Callable[[], None]) -> None:
    run = submit(http, problem="diabetes-linear", steps=400, optimizer={"name": "sgd", "learning_rate": 1e38})["id"]
    train()
    view = http.get(f"/v1/runs/{run}").json()
    assert (view["state"], view["stop_reason"]) == ("finished", "diverged")
    assert view["step"] < 400
    assert view["cost"] is None
