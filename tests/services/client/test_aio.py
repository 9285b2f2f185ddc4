"""AsyncLab gives the same answers as Lab, and does not block."""

import asyncio
import itertools
import threading
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest

from talweg import AsyncLab, Lab
from talweg.errors import AccessDenied, InvalidSpec, NotFound, RunFailed, TalwegError, Unreachable
from talweg.store import Store

T = TypeVar("T")
SPEC: dict[str, Any] = {"problem": "two-layer-line", "optimizer": "adam", "steps": 30}

Awaited = Callable[[Callable[[AsyncLab], Coroutine[Any, Any, T]]], T]


@pytest.fixture
def awaited(address: Any) -> Awaited[Any]:
    """Runs a function of an open AsyncLab to its end."""

    def run(work: Callable[[AsyncLab], Coroutine[Any, Any, Any]]) -> Any:
        async def opened() -> Any:
            async with AsyncLab(address.url, token=address.token) as lab:
                return await work(lab)

        return asyncio.run(opened())

    return run


def test_many_runs_are_waited_for_at_once(awaited: Awaited[Any], lab: Lab, train: Callable[[], None]) -> None:
    async def work(mine: AsyncLab) -> list[str]:
        # A hyperparameter makes the client ask for the catalogue first.
        made = await asyncio.gather(*(mine.submit(SPEC, learning_rate=0.01, seed=seed) for seed in range(8)))
        worker = asyncio.create_task(asyncio.to_thread(train))
        waited = await asyncio.gather(*(run.wait() for run in made))
        await worker
        assert {run.state for run in waited} == {"finished"}
        costs = await made[3].costs()
        gradient = await made[3].gradient(7)
        parameters = await made[3].parameters(7)
        same = lab.run(made[3].id)
        assert same.spec["optimizer"]["learning_rate"] == 0.01
        np.testing.assert_array_equal(costs, same.costs)
        for name, array in same.gradient(7).items():
            np.testing.assert_array_equal(gradient[name], array)
            np.testing.assert_array_equal(parameters[name], same.parameters(7)[name])
        assert await made[3].ask(lambda run: run.explain(7).text) == same.explain(7).text
        assert repr(made[3]).startswith(f"<AsyncRun {made[3].name}: finished, step 30 of 30")
        return [run.id for run in made]

    ids = awaited(work)
    assert len(set(ids)) == 8


def test_events_report_each_change_once(awaited: Awaited[Any], lab: Lab, train: Callable[[], None]) -> None:
    async def work(mine: AsyncLab) -> list[dict[str, Any]]:
        run = await mine.submit(SPEC, seed=20)
        events: list[dict[str, Any]] = []
        async for event in run.events():
            if not events:
                worker = asyncio.create_task(asyncio.to_thread(train))
            events.append(event)
        await worker
        assert run.state == "finished"
        return events

    events = awaited(work)
    assert (events[0]["state"], events[-1]["state"], events[-1]["step"]) == ("queued", "finished", 30)
    assert all(one != other for one, other in itertools.pairwise(events))
    # The same for whoever does not await.
    run = lab.submit(SPEC, seed=21)
    events = run.events()
    first = next(events)
    worker = threading.Thread(target=train)
    worker.start()
    rest = list(events)
    worker.join()
    assert (first["state"], rest[-1]["state"], rest[-1]["cost"]) == ("queued", "finished", run.cost)


def test_a_study_is_waited_for_and_ranked(awaited: Awaited[Any], train: Callable[[], None]) -> None:
    async def work(mine: AsyncLab) -> None:
        study = await mine.compare(problem="quadratic", optimizers=["sgd", "adam"], seeds=2, steps=10)
        with pytest.raises(TimeoutError, match="is still queued; it goes on"):
            await study.wait(timeout=0.0)
        train()
        await study.wait(timeout=600)
        assert len(await study.ranking()) == 2
        runs = await study.runs()
        assert [(await run.costs()).shape for run in runs] == [(10,)] * 4
        assert (await mine.study(study.name)).id == study.id

    awaited(work)


def test_errors_are_those_of_the_synchronous_client(awaited: Awaited[Any], address: Any, store: Store) -> None:
    async def work(mine: AsyncLab) -> None:
        with pytest.raises(InvalidSpec, match="did you mean 'adam'"):
            await mine.submit(SPEC, optimizer="adm")
        with pytest.raises(InvalidSpec, match="did you mean 'learning_rate'"):
            await mine.submit(SPEC, learning_rat=0.1)
        with pytest.raises(NotFound):
            await mine.run("nobody")
        run = await mine.submit(SPEC, seed=30)
        claim = store.claim(store.run(run.id).cohort_id, "tests", 60)
        assert claim is not None
        store.fail(claim, "Traceback: it broke", 1)
        with pytest.raises(RunFailed, match="it broke"):
            await run.wait()
        assert (await (await mine.submit(SPEC, seed=31)).cancel()).state == "cancelled"
        async with AsyncLab(address.url, token="a-token-that-nobody-knows") as stranger:  # noqa: S106 - none
            with pytest.raises(AccessDenied):
                await stranger.submit(SPEC)
        # A Run that `ask` gave has no way to ask for more, and says so.
        loose = await mine.ask(lambda lab: lab.run(run.id))
        with pytest.raises(TalwegError, match="within `ask`"):
            _ = loose.costs

    awaited(work)


def test_a_laboratory_that_does_not_answer_is_unreachable(tmp_path: Path) -> None:
    async def work() -> None:
        async with AsyncLab(f"unix:{tmp_path / 'nobody.sock'}") as mine:
            with pytest.raises(Unreachable, match="does not answer"):
                await mine.ask(lambda lab: lab._wire.get("/v1/status", retry_seconds=0.0))
            asking = asyncio.create_task(mine.ask(lambda lab: lab.status()))
            # While it is asked again and again, others go on, and may call it off.
            for _ in range(20):
                await asyncio.sleep(0.01)
            assert not asking.done()
            asking.cancel()
            with pytest.raises(asyncio.CancelledError):
                await asking

    asyncio.run(work())
