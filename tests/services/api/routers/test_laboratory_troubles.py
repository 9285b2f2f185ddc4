"""Every trouble with its remedy, and none if all is well."""

import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx2
import pytest
from pydantic import SecretStr
from sqlalchemy import event

from talweg.api.routers.laboratory import of_disk, of_store, of_writing
from talweg.settings import Settings
from talweg.store import Signs, Store, open_store

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
        ({"reconciler": None}, "no reconciler runs", "talweg.execution.reconciler"),
        ({"silent": 2}, "2 cohorts have an expired lease", "reconciler puts them back"),
        ({"waiting": 3, "waiting_seconds": 90.0}, "3 cohorts wait, the first for 90 s, and no worker", "start workers"),
        ({"failed": 1, "reason": "ValueError: no"}, "1 runs failed, the last with: ValueError: no", "talweg retry"),
        ({"unmirrored": 4, "unmirrored_seconds": 70.0}, "4 runs wait for MLflow", "http://127.0.0.1:5055"),
    ],
)
def test_each_trouble_has_a_remedy(signs: dict[str, Any], what: str, remedy: str) -> None:
    ((trouble, advice),) = of_store(Signs(**WELL | signs), WITH_MLFLOW)
    assert what in trouble
    assert remedy in advice


def test_the_api_tells_what_the_store_shows(http: httpx2.Client, store: Store, train: Callable[[], None]) -> None:
    spec = {"problem": "quadratic", "optimizer": {"name": "sgd"}, "steps": 5}
    run = http.post("/v1/runs", json=spec).json()["id"]
    claim = store.claim(store.run(run).cohort_id, "tests", 60)
    assert claim is not None
    store.fail(claim, "Traceback\nValueError: broken", 1)
    troubles = [trouble["what"] for trouble in http.get("/v1/troubles").json()]
    assert any("no reconciler runs" in what for what in troubles)
    assert any("1 runs failed, the last with: ValueError: broken" in what for what in troubles)
    assert store.lead("reconciler", "tests", 60.0)
    store.retry([run])
    train()
    troubles = [trouble["what"] for trouble in http.get("/v1/troubles").json()]
    assert not any("reconciler" in what or "failed" in what for what in troubles)


def test_a_disk_with_little_room_is_told_while_there_is_some(
    tmp_path: Path, sqlite_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Settings().model_copy(update={"database_url": SecretStr(sqlite_url)})
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=2_000_000_000))
    assert of_disk(here) == []
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=300_000_000))
    ((trouble, remedy),) = of_disk(here)
    assert "has 300 MB left" in trouble
    assert "make room" in remedy
    # Of a server's disk nothing is known here.
    assert of_disk(here.model_copy(update={"database_url": SecretStr("postgresql://talweg@db/talweg")})) == []


def test_a_database_that_someone_locks_is_told(sqlite_url: str) -> None:
    with open_store(sqlite_url, create=True) as store:
        assert of_writing(store) == []
        # As it is after half a minute: SQLite waits so long for the process that holds the lock.
        event.listen(store.engine, "connect", lambda connection, _: connection.execute("PRAGMA busy_timeout=20"))
        store.engine.dispose()
        with closing(sqlite3.connect(sqlite_url.removeprefix("sqlite:///"), isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ((trouble, remedy),) = of_writing(store)
            other.execute("ROLLBACK")
        assert "nothing can be recorded: database: database is locked" in trouble
        assert "end the process that holds it" in remedy
        assert of_writing(store) == []
