"""`wait` while workers, the API or the whole local stack stop and start."""

import asyncio
import multiprocessing
import operator
import os
import pickle
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from talweg import AsyncLab, Lab
from talweg.client import waiting
from talweg.errors import LocalStackError
from talweg.local import StackState, status, stop
from talweg.settings import settings

# The fixtures' classes are in conftest.py, which no test imports.
Stack = Any
Eventually = Callable[[Callable[[], bool], str], None]

TOKEN = "a-token-that-only-this-test-has"  # noqa: S105
SPEC: dict[str, Any] = {"problem": "digits-mlp", "optimizer": "adam", "steps": 40}


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The messages of waits, printed after a shorter time than by default."""
    lines: list[str] = []
    monkeypatch.setattr(waiting, "IDLE_SECONDS", 0.5)
    monkeypatch.setattr(waiting, "REASON_SECONDS", 0.2)
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 0.3)
    for module in ("waiting", "aio"):
        monkeypatch.setattr(f"talweg.client.{module}.say", lines.append)
    return lines


def test_a_wait_reports_missing_workers_and_continues_when_the_api_is_killed(
    stack: Stack, said: list[str], eventually: Eventually
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

    def start_api() -> "subprocess.Popen[bytes]":
        started = stack._start("talweg.api", {"token": TOKEN, "port": port})
        process: subprocess.Popen[bytes] = started.process
        # A client that has connected before gives up sooner than a busy machine starts the API.
        eventually(lambda: started.says('"listening"'), "the API to listen")
        return process

    async def wait_as_well(name: str) -> str:
        async with AsyncLab(f"http://127.0.0.1:{port}", token=TOKEN) as lab:
            return (await (await lab.run(name)).wait()).state

    api = start_api()
    with Lab(f"http://127.0.0.1:{port}", token=TOKEN) as lab, ThreadPoolExecutor(2) as pool:
        run = lab.submit(SPEC)
        waited = pool.submit(run.wait)
        waited_as_well = pool.submit(lambda: asyncio.run(wait_as_well(run.name)))
        eventually(lambda: len(said) == 2, "the reason, from either wait")
        assert len(set(said)) == 1
        assert said[0].startswith(f"run {run.name} waits: no worker is connected to the broker; start one: python -m")
        api.kill()
        api.wait()
        eventually(lambda: len(said) == 4, "the silence")
        assert all("waits: the laboratory has not answered since" in line for line in said[2:])
        assert not waited.done()
        stack.start_worker()
        start_api()
        assert (waited.result(timeout=600).state, waited_as_well.result(timeout=600)) == ("finished", "finished")
        assert said[-1].startswith(f"run {run.name}: finished, step 40 of 40")


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a local stack with one worker and without MLflow, on a free port at each start."""
    for name, value in {"PORT": "0", "WORKERS": "1", "MLFLOW_URL": "http://127.0.0.1:1", "URL": None}.items():
        if value is None:
            monkeypatch.delenv(f"TALWEG_{name}", raising=False)
        else:
            monkeypatch.setenv(f"TALWEG_{name}", value)
    settings.cache_clear()
    yield tmp_path / ".talweg"
    stop(tmp_path / ".talweg")
    settings.cache_clear()


def state_of(home: Path) -> StackState:
    """The state of the stack, as its supervisor last wrote it."""
    state = status(home)
    assert state is not None
    return state


def test_a_wait_restarts_a_killed_stack_but_not_a_stopped_one(
    home: Path, said: list[str], monkeypatch: pytest.MonkeyPatch, eventually: Eventually
) -> None:
    with Lab(home=home) as lab:
        run = lab.submit(SPEC)
        pickled, before = pickle.dumps(run), lab.url
        assert (home / "token").read_bytes() not in pickled
        os.kill(state_of(home).pid, signal.SIGKILL)
        eventually(lambda: {child.pid for child in state_of(home).children} == {None}, "the watchdog to end all")
        assert run.wait(timeout=600).state == "finished"
        assert f"run {run.name} waits: the local stack in {home.resolve()} ended" in said[0]
        assert said[0].endswith("starting it again now")
        assert lab.url != before
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            (costs,) = pool.map(operator.attrgetter("costs"), [pickle.loads(pickled)])  # noqa: S301 - our own
        np.testing.assert_array_equal(costs, run.costs)
        endless = lab.submit(SPEC, steps=10_000_000)
        stop(home)
        monkeypatch.setattr(waiting, "STOPPED_SECONDS", 0.1)
        with pytest.raises(LocalStackError, match="was stopped; start it again with: talweg up --home"):
            endless.wait()
        with pytest.raises(LocalStackError, match="was stopped"):
            lab.runs()
    assert status(home) is None
