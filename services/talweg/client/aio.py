"""AsyncLab: the client for asyncio programs.

    async with AsyncLab() as lab:
        runs = [await lab.submit(problem="digits-mlp", optimizer="adam", seed=seed) for seed in range(20)]
        await asyncio.gather(*(run.wait() for run in runs))
        costs = [await run.costs() for run in runs]

All methods of `Lab`, `Run` and `Study` can be awaited with `ask`: `await run.ask(lambda run: run.explain(37))`. `ask`
runs the synchronous code over a wire that replays the known answers, awaits the first missing one, and runs the code
again.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from functools import partial
from types import TracebackType
from typing import TYPE_CHECKING, Any, Generic, Self, SupportsIndex, TypeVar

import httpx2

from talweg.client.lab import Lab
from talweg.client.run import Run
from talweg.client.run_or_study import RunOrStudy
from talweg.client.study import Study
from talweg.client.table import Table
from talweg.client.waiting import Events, MessagePrinter, Wait, fetch_reason, fetch_view, say
from talweg.client.wire import Request, Wire, copy_with_wire, http_errors, response_error
from talweg.errors import RunFailed, TalwegError, Unreachable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]

T = TypeVar("T")
Owner = TypeVar("Owner", bound=Lab | RunOrStudy)
Work = TypeVar("Work", bound=RunOrStudy)


class _AnswerMissing(TalwegError, code="missing-answer"):
    """A request whose answer is not known yet."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.path}: must be requested within `ask`, or through an object of AsyncLab")
        self.request = request


class _ReplayedWire(Wire):
    """A wire that replays known answers, each once; it has no connection."""

    def __init__(self, like: Wire, answers: list[tuple[str, Any]]) -> None:
        self.home, self._address = like.home, like.address
        self._left = list(answers)

    def _send(self, request: Request) -> Any:
        # By request, not by order: code that caches an answer, such as a catalogue, does not request it again.
        for position, (key, answer) in enumerate(self._left):
            if key == _key(request):
                del self._left[position]
                return answer
        raise _AnswerMissing(request)


def _key(request: Request) -> str:
    return f"{request.method} {request.path} {request.query}"


class AsyncWire:
    """An asynchronous Wire."""

    def __init__(self, wire: Wire) -> None:
        """Use the address of `wire`, with its token."""
        self.wire = wire
        self.messages = MessagePrinter(say)
        self._address = wire.address
        self.client = self._opened()
        # Clients of former addresses: another task may still use one.
        self._former: list[httpx2.AsyncClient] = []

    async def close(self) -> None:
        """Close the connections."""
        for client in (*self._former, self.client):
            await client.aclose()

    def _opened(self) -> httpx2.AsyncClient:
        transport = None if self._address.socket is None else httpx2.AsyncHTTPTransport(uds=self._address.socket)
        return httpx2.AsyncClient(**self._address.options, transport=transport)

    async def send(self, request: Request) -> Any:
        """The answer; raises as a Wire does."""
        async for attempt in request.retries():
            with attempt:
                address = self.wire.address
                try:
                    return await self._send_once(request)
                except TalwegError as error:
                    if not self.wire.has_new_address(request, error, address):
                        raise
                    return await self._send_once(request)
        raise AssertionError("stamina ends with an answer or an exception")

    async def _send_once(self, request: Request) -> Any:
        if self._address != self.wire.address:
            # The local stack was started again with another address.
            self._former.append(self.client)
            self._address = self.wire.address
            self.client = self._opened()
        with http_errors(self._address.url):
            response = await self.client.request(**request.arguments())
        if response.is_error:
            raise response_error(self._address.url, response)
        return request.read(response)

    async def run(self, owner: Owner, call: Callable[[Owner], T]) -> T:
        """The result of `call` on a copy of `owner`, with its requests awaited; calls it once more for each request."""
        answers: list[tuple[str, Any]] = []
        while True:
            copied = copy_with_wire(owner, _ReplayedWire(self.wire, answers))
            try:
                return call(copied)
            except _AnswerMissing as missing:
                answers.append((_key(missing.request), await self.send(missing.request)))

    async def lines(self, path: str) -> AsyncIterator[str]:
        """The lines that a GET returns, as they arrive; not retried."""
        with http_errors(self.wire.url):
            async with self.client.stream("GET", path) as response:
                if response.is_error:
                    await response.aread()
                    raise response_error(self.wire.url, response)
                async for line in response.aiter_lines():
                    yield line


class _Awaited(Generic[Owner]):
    """An asynchronous Lab, Run or Study with its synchronous counterpart."""

    _wire: AsyncWire
    _now: Owner

    async def ask(self, asked: Callable[[Owner], T]) -> T:
        """The result of any synchronous method: `await run.ask(lambda run: run.evaluations)`.

        `asked` is called once more for each answer that it needs: it must have no other side effects.
        """
        return await self._wire.run(self._now, asked)


class AsyncRunOrStudy(_Awaited[Work]):
    """A run or a study."""

    def __init__(self, wire: AsyncWire, now: Work) -> None:
        """The run or study of `now`, requested over `wire`."""
        self._wire = wire
        self._now = now

    @property
    def id(self) -> str:
        """Unique (uuid 7)."""
        return self._now.id

    @property
    def name(self) -> str:
        """Unique and readable."""
        return self._now.name

    @property
    def view(self) -> dict[str, Any]:
        """The API's last answer, as plain data; `refresh` requests a new one."""
        return self._now.view

    @property
    def state(self) -> str:
        """queued, running, finished, failed or cancelled, in the last answer."""
        return str(self._now.view["state"])

    async def refresh(self) -> Self:
        """Request the present state."""
        return await self._changed(lambda work: work.refresh())

    async def cancel(self) -> Self:
        """Stop after the present step; the record stays. No effect on ended work."""
        return await self._changed(lambda work: work.cancel())

    async def wait(self, *, timeout: float | None = None) -> Self:
        """Return when it has ended. Cancelling the wait does not cancel the work.

        It prints no progress, only the reason where there is none, as `Run.wait` does; a common reason of many waits
        once.

        Raises:
            RunFailed: it failed; the message holds the reason.
            TimeoutError: it has not ended after `timeout` seconds, or the laboratory does not answer.
            LocalStackError: the local stack was stopped and not started again within a minute.
        """
        wire = self._wire.wire
        wait = Wait(f"{self._now.kind} {self.name}", wire.url, timeout)
        try:
            while not wait.over:
                start = False
                try:
                    self._now._view = await self.ask(partial(fetch_view, timeout=wait.poll_timeout))
                except TalwegError as error:
                    start = wait.failed(error, wire.stack_end(), wire.home)
                else:
                    if wait.update(self._now._view):
                        with suppress(TalwegError):
                            wait.set_reason(await self.ask(partial(fetch_reason, timeout=wait.poll_timeout)))
                self._wire.messages.show(wait.message, of=wait)
                if start:
                    await asyncio.to_thread(wire.start_stack)
                if not wait.over:
                    await asyncio.sleep(wait.delay())
        finally:
            self._wire.messages.forget(wait)
        reason = await self.ask(lambda work: work._failure())
        if reason is not None:
            raise RunFailed(reason)
        return self

    async def _changed(self, asked: Callable[[Work], RunOrStudy]) -> Self:
        self._now._view = (await self.ask(asked))._view
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._now._progress().words}>"


class AsyncRun(AsyncRunOrStudy[Run]):
    """One run; `ask` has the other methods of Run."""

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Its progress (`state`, `step`, `steps`, `cost`, `best_cost`) whenever it changes, until the run is over."""
        events = Events()
        while not events.over:
            with suppress(Unreachable):
                async for line in self._wire.lines(self._now._path("events")):
                    if (progress := events.parse(line)) is not None:
                        yield progress
            await self.refresh()

    async def costs(self) -> "Array":
        """(steps,) float64: the cost of each recorded step, before its update."""
        return await self.ask(lambda run: run.costs)

    async def gradient(self, step: SupportsIndex) -> "dict[str, Array]":
        """The derivatives of the step's cost, by tensor, bit for bit as the engine computed them; raises NoSuchStep."""
        return await self.ask(lambda run: run.gradient(step))

    async def parameters(self, step: SupportsIndex) -> "dict[str, Array]":
        """The parameters before the step's update, by tensor; raises NoSuchStep."""
        return await self.ask(lambda run: run.parameters(step))


class AsyncStudy(AsyncRunOrStudy[Study]):
    """One study; `ask` has the other methods of Study."""

    async def runs(self) -> list[AsyncRun]:
        """All runs, by optimizer setting, then by seed."""
        return [AsyncRun(self._wire, run) for run in await self.ask(lambda study: list(study.runs))]

    async def ranking(self) -> Table:
        """The optimizer settings, best first."""
        return await self.ask(lambda study: study.ranking())


class AsyncLab(_Awaited[Lab]):
    """A laboratory, for `async with`; `ask` has the other methods of Lab."""

    def __init__(
        self, url: str | None = None, *, token: str | None = None, home: str | os.PathLike[str] | None = None
    ) -> None:
        """The arguments of Lab; `async with` connects."""
        self._arguments: dict[str, Any] = {"url": url, "token": token, "home": home}

    async def __aenter__(self) -> Self:
        # In a thread: a local stack takes seconds to start.
        self._now = await asyncio.to_thread(lambda: Lab(**self._arguments))
        self._wire = AsyncWire(self._now._wire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._now.close()
        await self._wire.close()

    async def submit(self, spec: object = None, /, **keywords: Any) -> AsyncRun:
        """Submit a run, as `Lab.submit`."""
        return AsyncRun(self._wire, await self.ask(lambda lab: lab.submit(spec, **keywords)))

    async def compare(self, spec: object = None, /, **keywords: Any) -> AsyncStudy:
        """Submit a study, as `Lab.compare`."""
        return AsyncStudy(self._wire, await self.ask(lambda lab: lab.compare(spec, **keywords)))

    async def run(self, id_or_name: str) -> AsyncRun:
        """The run of that id or name; raises NotFound."""
        return AsyncRun(self._wire, await self.ask(lambda lab: lab.run(id_or_name)))

    async def study(self, id_or_name: str) -> AsyncStudy:
        """The study of that id or name; raises NotFound."""
        return AsyncStudy(self._wire, await self.ask(lambda lab: lab.study(id_or_name)))
