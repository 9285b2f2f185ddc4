"""Messages of a wait without progress, and the errors that it retries."""

import asyncio
import ssl
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest

from talweg import AsyncLab, Lab
from talweg.client import waiting
from talweg.client.waiting import Message, MessagePrinter, Wait, polls
from talweg.client.wire import http_errors, is_temporary, response_error
from talweg.errors import LocalStackError, TalwegError, Unreachable

Until = Callable[[Callable[[], bool], str], None]
SPEC: dict[str, Any] = {"problem": "quadratic", "optimizer": "sgd", "steps": 5}


def answered(status: int, code: str | None = None, **headers: str) -> TalwegError:
    """The error of an answer with this status and code."""
    if code is None:
        return response_error("http://lab", httpx2.Response(status, text="no"))
    kind = {"content-type": "application/problem+json"} | headers
    return response_error("http://lab", httpx2.Response(status, headers=kind, json={"code": code, "detail": "d"}))


def failed(error: Exception) -> TalwegError:
    """The error of a request without an answer, for this reason."""

    def ask(request: httpx2.Request) -> httpx2.Response:
        raise httpx2.ConnectError(str(error)) from error

    client = httpx2.Client(transport=httpx2.MockTransport(ask))
    with pytest.raises(Unreachable) as caught, client, http_errors("http://lab"):
        client.get("http://lab")
    return caught.value


@pytest.mark.parametrize(
    ("error", "temporary"),
    [
        (answered(500, "error"), True),
        (answered(500), True),
        (answered(502), True),
        (answered(503, "unreachable"), True),
        (answered(429, "limit-reached", **{"retry-after": "2"}), True),
        (answered(429, "limit-reached"), False),
        (answered(500, "corrupt-record"), False),
        (answered(401, "access-denied"), False),
        (answered(404, "not-found"), False),
        (answered(404), False),
        (failed(ConnectionRefusedError("refused")), True),
        (failed(OSError("Name or service not known")), True),
        (failed(ssl.SSLCertVerificationError("self-signed certificate")), False),
    ],
)
def test_only_temporary_errors_are_retried_by_a_wait(error: TalwegError, temporary: bool) -> None:
    assert is_temporary(error) is temporary
    wait = Wait("run one", "http://lab", None)
    if temporary:
        assert not wait.failed(error, None, None)
    else:
        with pytest.raises(type(error)):
            wait.failed(error, None, None)


def test_a_laboratory_without_answer_is_reported_and_the_timeout_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    wait = Wait("run one", "http://lab", 0.0)
    wait.update({"state": "running"})
    wait.failed(answered(503), None, None)
    assert wait.message is None
    monkeypatch.setattr(waiting, "SILENT_SECONDS", 0.0)
    wait.failed(answered(503), None, None)
    assert wait.message is not None
    assert "run one waits: the laboratory has not answered since" in wait.message.text
    with pytest.raises(TimeoutError, match="run one was running; the laboratory at http://lab has not answered since"):
        wait.delay()
    wait.update({"state": "running"})
    assert wait.message is None
    with pytest.raises(TimeoutError, match="is still running; it goes on"):
        wait.delay()


def test_the_timeout_of_polls_doubles_up_to_a_limit() -> None:
    wait = Wait("run one", "http://lab", None)
    asked = []
    for _ in range(4):
        asked.append(wait.poll_timeout)
        wait.failed(answered(503), None, None)
    assert asked == [10.0, 20.0, 40.0, 60.0]
    wait.update({"state": "running"})
    assert wait.poll_timeout == 10.0
    assert Wait("run one", "http://lab", 4.0).poll_timeout <= 4.0


def test_a_stopped_stack_is_not_restarted_and_a_failing_one_only_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone, home = answered(503), Path("/lab")
    wait = Wait("run one", "http://lab", None)
    assert not wait.failed(gone, "stopped", home)
    assert wait.message is not None
    assert "was stopped; start it again with: talweg up --home /lab" in wait.message.text
    monkeypatch.setattr(waiting, "STOPPED_SECONDS", -1.0)
    with pytest.raises(LocalStackError, match="run one: the local stack in /lab was stopped"):
        wait.failed(gone, "stopped", home)
    wait = Wait("run one", "http://lab", None)
    assert wait.failed(gone, "failed", home)
    assert wait.message is not None
    assert "starting it again now" in wait.message.text
    with pytest.raises(LocalStackError, match="talweg up --home /lab"):
        wait.failed(gone, "failed", home)


def test_a_message_is_printed_once_while_it_is_the_same() -> None:
    said: list[str] = []
    messages = MessagePrinter(said.append)
    for message in (
        Message("no-worker", "1"),
        Message("no-worker", "2"),
        None,
        Message("no-worker", "3"),
        Message("queue", "4"),
        None,
    ):
        messages.show(message)
    messages.show(Message("queue", "5"))
    assert said == ["1", "3", "4"]
    messages.show(Message("paused", "6"), of="another")
    messages.show(Message("paused", "7"), of="a third")
    messages.forget("another")
    messages.show(Message("paused", "8"), of="a third")
    messages.forget("a third")
    messages.show(Message("paused", "9"), of="another")
    assert said == ["1", "3", "4", "6", "9"]


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lines that waits print, with short delays."""
    lines: list[str] = []
    monkeypatch.setattr(waiting, "IDLE_SECONDS", 0.1)
    monkeypatch.setattr(waiting, "REASON_SECONDS", 0.05)
    for module in ("waiting", "aio"):
        monkeypatch.setattr(f"talweg.client.{module}.say", lines.append)
    return lines


def test_a_wait_prints_each_reason_for_no_progress_once(lab: Lab, said: list[str], until: Until) -> None:
    run = lab.submit(SPEC, seed=91)
    with ThreadPoolExecutor(1) as pool:
        # The wait blocks, so it runs in a thread.
        waited = pool.submit(run.wait)
        until(lambda: len(said) == 1, "the reason")
        lab.run(run.id).pause()
        until(lambda: len(said) == 2, "another reason")
        lab.run(run.id).cancel()
        assert waited.result(timeout=600).state == "cancelled"
    assert said == [
        f"run {run.name} waits: the broker does not answer; nothing is lost, it continues when the broker is back",
        f"run {run.name} waits: it is paused; `unpause` continues it",
        f"run {run.name}: cancelled, step 0 of 5",
    ]


def test_a_timeout_names_the_reason_for_no_progress(lab: Lab, said: list[str]) -> None:
    run = lab.submit(SPEC, seed=92)
    run.pause()
    for wait in polls(run, 60.0):
        if wait.message is not None:
            wait._until = 0.0
            with pytest.raises(TimeoutError, match=r"is still queued; it goes on \(run .* waits: it is paused"):
                wait.delay()
            break
    assert said == []
    run.cancel()


def test_many_waits_of_one_program_print_a_reason_once(address: Any, said: list[str]) -> None:
    async def work() -> None:
        async with AsyncLab(address.url, token=address.token) as lab:
            runs = [await lab.submit(SPEC, seed=seed) for seed in range(93, 97)]
            waits = asyncio.gather(*(run.wait() for run in runs))
            while len(lab._wire.messages._shown) < len(runs):
                await asyncio.sleep(0.02)
            for run in runs:
                await run.cancel()
            assert {run.state for run in await waits} == {"cancelled"}
            assert lab._wire.messages._shown == {}

    asyncio.run(asyncio.wait_for(work(), 60))
    (line,) = said
    assert "waits: the broker does not answer" in line
