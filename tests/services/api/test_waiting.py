"""Why work waits: each reason, and none while a worker trains it."""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from talweg.api.dependencies import Broker, Laboratory, Metrics
from talweg.api.waiting import reason_of
from talweg.errors import Unreachable
from talweg.local.folder import Folder
from talweg.local.supervisor_plan import ChildState, StackState, write
from talweg.settings import Settings
from talweg.store import Store, Waits, open_store

SPEC: dict[str, Any] = {"problem": "quadratic", "optimizer": {"name": "sgd"}, "steps": 5}
QUEUED = Waits(queued=1)


def laboratory(store: Store, home: Path, listeners: int | None = 0, *, answers: bool = True) -> Laboratory:
    """A laboratory with this store; `listeners` workers listen at its broker."""

    def depth() -> int:
        if not answers:
            raise Unreachable("away")
        return 1

    broker = Broker(depth, listeners=lambda: listeners)
    return Laboratory(store, Settings(home=home), lambda _: None, broker, Metrics(store, broker.depth))


@pytest.fixture
def sqlite_store(sqlite_url: str) -> Iterator[Store]:
    """An empty database that no server uses."""
    with open_store(sqlite_url) as store:
        yield store


@pytest.mark.parametrize(
    ("waits", "kind", "said"),
    [
        (Waits(paused=1), "paused", "`unpause` continues it"),
        (Waits(silent="host:7", silent_seconds=4.0), "worker-lost", "worker host:7 is silent, 4 s past its lease"),
        (Waits(queued=1, stopped="database: full"), "database", "could not record (database: full)"),
        (QUEUED, "no-worker", "no worker is connected to the broker; start one"),
    ],
)
def test_reasons_from_the_database(sqlite_store: Store, tmp_path: Path, waits: Waits, kind: str, said: str) -> None:
    reason = reason_of(laboratory(sqlite_store, tmp_path), waits)
    assert reason is not None
    assert (reason.kind, said in reason.text) == (kind, True), reason


def test_there_is_no_reason_while_a_worker_trains_it_or_nothing_is_left(sqlite_store: Store, tmp_path: Path) -> None:
    here = laboratory(sqlite_store, tmp_path)
    for waits in (Waits(held=1, queued=3), Waits()):
        assert reason_of(here, waits) is None
    reason = reason_of(here, Waits(), more=True)
    assert reason is not None
    assert reason.kind == "no-reconciler"
    assert sqlite_store.lead("reconciler", "tests", 60.0)
    assert reason_of(here, Waits(), more=True) is None


def test_reasons_from_the_broker_and_the_queue(sqlite_store: Store, tmp_path: Path) -> None:
    def said(waits: Waits, **broker: Any) -> tuple[str, str]:
        reason = reason_of(laboratory(sqlite_store, tmp_path, **broker), waits)
        assert reason is not None
        return reason.kind, reason.text

    assert said(QUEUED, answers=False)[0] == "broker"
    assert "the broker does not answer; nothing is lost" in said(QUEUED, answers=False)[1]
    assert said(QUEUED, listeners=None)[1].startswith("no worker is at work")
    assert said(QUEUED, listeners=2) == (
        "not-taken",
        "2 idle workers, and none claims it; their logs say why",
    )
    assert said(replace(QUEUED, unpublished=1), listeners=1)[0] == "no-reconciler"
    busy = replace(QUEUED, working=1)
    assert said(busy) == ("queue", "it is next in the queue, 1 worker at work")
    assert said(replace(busy, ahead=12)) == ("queue", "12 cohorts before it in the queue, 1 worker at work")


def test_reasons_contain_the_log_lines_of_a_local_stack(sqlite_store: Store, tmp_path: Path) -> None:
    folder = Folder.of(tmp_path)
    here = laboratory(sqlite_store, tmp_path)
    worker = ChildState("worker-1", "running", since=time.time())
    broker = ChildState("broker", "restarting", last_exit="exit status 1", last_lines=["no room", ""])
    state = StackState("ready", children=[ChildState("api", "running", pid=os.getpid()), worker, broker])

    def said(here: Laboratory = here) -> str:
        write(folder, state)
        reason = reason_of(here, QUEUED)
        assert reason is not None
        return reason.text

    assert said() == "no worker is alive yet; the workers are starting"
    worker.since = time.time() - 300.0
    assert "none listens at this laboratory's broker" in said()
    worker.last_exit, worker.last_lines = "exit status 1", ["Traceback", "a.DeprecationWarning: old", "  uid=0", ""]
    assert said() == "no worker is alive: worker-1 ended (exit status 1): a.DeprecationWarning: old"
    assert "the broker is down: broker ended (exit status 1): no room" in said(
        laboratory(sqlite_store, tmp_path, answers=False)
    )
    # Another stack in this folder is not this API's.
    state.children[0].pid = os.getppid()
    assert said().startswith("no worker is connected")


def test_the_api_answers_the_reason(http: httpx2.Client, store: Store, train: Callable[[], None]) -> None:
    run = http.post("/v1/runs", json=SPEC).json()
    study = {"problem": "quadratic", "optimizers": [{"name": "sgd"}], "seeds": 2, "steps": 5}
    made = http.post("/v1/studies", json=study).json()
    for path in (f"/v1/runs/{run['name']}", f"/v1/studies/{made['name']}"):
        # This laboratory has no broker.
        assert http.get(f"{path}/waiting").json()["kind"] == "broker"
    train()
    for path in (f"/v1/runs/{run['name']}", f"/v1/studies/{made['name']}"):
        assert http.get(f"{path}/waiting").json() is None
    for path in ("/v1/runs/nobody", "/v1/studies/nobody"):
        assert http.get(f"{path}/waiting").status_code == 404
