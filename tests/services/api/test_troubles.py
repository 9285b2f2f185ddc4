"""What is wrong, and what to do: each trouble is told, and none where there is none."""

from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from talweg.api.routers.troubles import of_store
from talweg.settings import Settings
from talweg.store import Signs, Store

WELL: dict[str, Any] = {
    "waiting": 0,
    "waiting_seconds": 0.0,
    "working": 0,
    "silent": 0,
    "failed": 0,
    "reason": None,
    "stopped": None,
    "reconciler": "host:1",
    "unmirrored": 0,
    "unmirrored_seconds": 0.0,
}
WITH_MLFLOW = Settings().model_copy(update={"mlflow_url": "http://127.0.0.1:5055"})


def test_nothing_is_wrong_where_all_is_well_or_only_busy() -> None:
    assert of_store(Signs(**WELL), WITH_MLFLOW) == []
    busy = {"waiting": 1000, "waiting_seconds": 5000.0, "working": 2, "unmirrored": 7, "unmirrored_seconds": 3.0}
    assert of_store(Signs(**WELL | busy), WITH_MLFLOW) == []


@pytest.mark.parametrize(
    ("signs", "what", "remedy"),
    [
        ({"stopped": "database: disk is full"}, "could not record: database: disk is full", "make room"),
        ({"reconciler": None}, "no reconciler is at work", "talweg.execution.reconciler"),
        ({"silent": 2}, "2 cohorts were left by workers that are silent", "reconciler takes them back"),
        ({"waiting": 3, "waiting_seconds": 90.0}, "3 cohorts wait, the first for 90 s, and no worker", "start workers"),
        ({"failed": 1, "reason": "ValueError: no"}, "1 runs failed, the last with: ValueError: no", "talweg retry"),
        ({"unmirrored": 4, "unmirrored_seconds": 70.0}, "4 runs wait for MLflow", "http://127.0.0.1:5055"),
    ],
)
def test_each_trouble_is_told_with_a_remedy(signs: dict[str, Any], what: str, remedy: str) -> None:
    ((told, to_do),) = of_store(Signs(**WELL | signs), WITH_MLFLOW)
    assert what in told
    assert remedy in to_do


def test_the_api_tells_what_the_store_shows(http: httpx2.Client, store: Store, train: Callable[[], None]) -> None:
    spec = {"problem": "quadratic", "optimizer": {"name": "sgd"}, "steps": 5}
    run = http.post("/v1/runs", json=spec).json()["id"]
    claim = store.claim(store.run(run).cohort_id, "tests", 60)
    assert claim is not None
    store.fail(claim, "Traceback\nValueError: broken", 1)
    told = [trouble["what"] for trouble in http.get("/v1/troubles").json()]
    assert any("no reconciler is at work" in what for what in told)
    assert any("1 runs failed, the last with: ValueError: broken" in what for what in told)
    assert store.lead("reconciler", "tests", 60.0)
    store.retry([run])
    train()
    told = [trouble["what"] for trouble in http.get("/v1/troubles").json()]
    assert not any("reconciler" in what or "failed" in what for what in told)
