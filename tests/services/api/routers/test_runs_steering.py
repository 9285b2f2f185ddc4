"""Pause, unpause, retry and mirror runs and studies over HTTP."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from talweg.store import Store

RUN: dict[str, Any] = {"problem": "quadratic", "optimizer": {"name": "sgd", "learning_rate": 0.1}, "steps": 5}
STUDY: dict[str, Any] = {"problem": "quadratic", "optimizers": [{"name": "sgd"}], "seeds": 2, "steps": 5}


def submit(http: httpx2.Client, what: str, spec: dict[str, Any]) -> dict[str, Any]:
    response = http.post(f"/v1/{what}", json=spec)
    assert response.status_code == 201, response.text
    view: dict[str, Any] = response.json()
    return view


def fail(store: Store, run: str) -> None:
    """Make the run's only attempt fail."""
    claim = store.claim(store.run(run).cohort_id, "tests", 60)
    assert claim is not None
    store.fail(claim, "Traceback: it broke", 1)


@pytest.mark.parametrize(("what", "spec"), [("runs", RUN), ("studies", STUDY)])
def test_paused_work_is_not_trained_until_it_is_unpaused(
    http: httpx2.Client, train: Callable[[], None], what: str, spec: dict[str, Any]
) -> None:
    place = f"/v1/{what}/{submit(http, what, spec)['id']}"
    for _ in range(2):
        view = http.post(f"{place}/pause", json={}).json()
        assert (view["state"], bool(view["paused"])) == ("queued", True)
    train()
    assert http.get(place).json()["state"] == "queued"
    assert not http.post(f"{place}/unpause", json={}).json()["paused"]
    train()
    assert http.get(place).json()["state"] == "finished"
    assert not http.post(f"{place}/pause", json={}).json()["paused"]


def test_only_a_failed_run_is_retried(http: httpx2.Client, store: Store, train: Callable[[], None]) -> None:
    place = f"/v1/runs/{submit(http, 'runs', RUN)['id']}"
    refused = http.post(f"{place}/retry", json={})
    assert refused.status_code == 409
    assert "only a failed run can be retried, it is queued" in refused.json()["detail"]
    fail(store, http.get(place).json()["id"])
    view = http.post(f"{place}/retry", json={}).json()
    assert (view["state"], view["error"]) == ("queued", None)
    train()
    assert http.get(place).json()["state"] == "finished"


def test_failed_runs_of_a_study_are_retried(http: httpx2.Client, store: Store, train: Callable[[], None]) -> None:
    place = f"/v1/studies/{submit(http, 'studies', STUDY)['id']}"
    runs = store.runs_of(http.get(place).json()["id"])
    fail(store, runs[0].id)
    train()
    assert http.get(place).json()["counts"] == {"failed": 1, "finished": 1}
    assert http.post(f"{place}/retry", json={}).json()["counts"] == {"finished": 1, "queued": 1}
    train()
    assert http.get(place).json()["state"] == "finished"


@pytest.mark.parametrize(("what", "spec"), [("runs", RUN), ("studies", STUDY)])
def test_mirrored_work_is_mirrored_again(
    http: httpx2.Client, store: Store, train: Callable[[], None], what: str, spec: dict[str, Any]
) -> None:
    view = submit(http, what, spec)
    train()
    mine = [run for run in store.runs(limit=500).items if view["id"] in (run.id, run.study_id)]
    for run in mine:
        store.mark_mirrored(run.id, 5, f"there-{run.id}", "finished")
    assert not {run.id for run in mine} & {run.id for run in store.outbox()}
    assert http.post(f"/v1/{what}/{view['id']}/mirror", json={}).status_code == 200
    waiting = {run.id: run for run in store.outbox(500)}
    for run in mine:
        assert (waiting[run.id].mirrored_step, waiting[run.id].mlflow_run_id) == (0, None)


@pytest.mark.parametrize("what", ["pause", "unpause", "retry", "mirror"])
@pytest.mark.parametrize("noun", ["runs", "studies"])
def test_what_is_not_there_is_not_found(http: httpx2.Client, stranger: httpx2.Client, noun: str, what: str) -> None:
    assert http.post(f"/v1/{noun}/nobody/{what}", json={}).status_code == 404
    assert stranger.post(f"/v1/{noun}/nobody/{what}", json={}).status_code == 401
