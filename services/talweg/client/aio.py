"""AsyncLab: the laboratory for asyncio programs; many runs at once, and nothing blocks.

    async with AsyncLab() as lab:
        runs = [await lab.submit(problem="digits-mlp", optimizer="adam", seed=seed) for seed in range(20)]
        await asyncio.gather(*(run.wait() for run in runs))
        costs = [await run.costs() for run in runs]

Nothing is said twice here. What a `Run` or `Study` asks is plain code over a wire; `ask` lets that code run over a wire
that knows the answers so far, awaits the first one that is missing, and begins again. So everything that those two can
tell can be awaited: `await run.ask(lambda run: run.explain(37))`.
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
Twin = TypeVar("Twin", bound=Lab | RunOrStudy)
Work = TypeVar("Work", bound=RunOrStudy)


class _AnswerMissing(TalwegError, code="missing-answer"):
    """A question whose answer is not known yet."""

    def __init__(self, request: Request) -> None:
        super().__init__(f"{request.path}: must be asked within `ask`, or of what AsyncLab gives")
        self.request = request


class _ReplayedWire(Wire):
    """A wire that gives answers that came before, each once; it is connected to nothing."""

    def __init__(self, like: Wire, answers: list[tuple[str, Any]]) -> None:
        self.home, self._address = like.home, like.address
        self._left = list(answers)

    def _ask(self, request: Request) -> Any:
        # By what was asked: what is kept from one time to the next, such as a catalogue, is not asked for again.
        for position, (asked, answer) in enumerate(self._left):
            if asked == _key(request):
                del self._left[position]
                return answer
        raise _AnswerMissing(request)


def _key(request: Request) -> str:
    return f"{request.method} {request.path} {request.query}"


class AsyncWire:
    """The questions of a `Wire`, awaited; opened and closed with `async with`."""

    def __init__(self, like: Wire) -> None:
        """To where `like` leads, with its token."""
        self.like = like
        self.messages = MessagePrinter(say)
        self._address = like.address
        self.client = self._opened()
        # Another task may still be asking there.
        self._former: list[httpx2.AsyncClient] = []

    async def close(self) -> None:
        """Close its connections."""
        for client in (*self._former, self.client):
            await client.aclose()

    def _opened(self) -> httpx2.AsyncClient:
        transport = None if self._address.socket is None else httpx2.AsyncHTTPTransport(uds=self._address.socket)
        return httpx2.AsyncClient(**self._address.options, transport=transport)

    async def ask(self, request: Request) -> Any:
        """What it answers; raises as a Wire does."""
        async for attempt in request.retries():
            with attempt:
                address = self.like.address
                try:
                    return await self._answer(request)
                except TalwegError as error:
                    if not self.like.has_new_address(request, error, address):
                        raise
                    return await self._answer(request)
        raise AssertionError("stamina ends with an answer or an exception")

    async def _answer(self, request: Request) -> Any:
        if self._address != self.like.address:
            # A local stack that was started again, elsewhere.
            self._former.append(self.client)
            self._address = self.like.address
            self.client = self._opened()
        with http_errors(self._address.url):
            response = await self.client.request(**request.arguments())
        if response.is_error:
            raise response_error(self._address.url, response)
        return request.read(response)

    async def through(self, twin: Twin, asked: Callable[[Twin], T]) -> T:
        """What `asked` makes of `twin`, whose questions are awaited here; it is called once more for each of them."""
        answers: list[tuple[str, Any]] = []
        while True:
            told = copy_with_wire(twin, _ReplayedWire(self.like, answers))
            try:
                return asked(told)
            except _AnswerMissing as missing:
                answers.append((_key(missing.request), await self.ask(missing.request)))

    async def lines(self, path: str) -> AsyncIterator[str]:
        """The lines that a GET answers, as they come; asked once."""
        with http_errors(self.like.url):
            async with self.client.stream("GET", path) as response:
                if response.is_error:
                    await response.aread()
                    raise response_error(self.like.url, response)
                async for line in response.aiter_lines():
                    yield line


class _Awaited(Generic[Twin]):
    """What `ask` asks of: a Lab, a Run or a Study."""

    _wire: AsyncWire
    _now: Twin

    async def ask(self, asked: Callable[[Twin], T]) -> T:
        """Whatever the synchronous one can tell: `await run.ask(lambda run: run.evaluations)`.

        `asked` is called once more for each answer that it needs: it should do nothing but ask.
        """
        return await self._wire.through(self._now, asked)


class AsyncRunOrStudy(_Awaited[Work]):
    """A run or a study; `now` is what was last heard of it, a Run or a Study over no wire of its own."""

    def __init__(self, wire: AsyncWire, now: Work) -> None:
        """Stand for `now`, and ask over `wire`."""
        self._wire = wire
        self._now = now

    @property
    def id(self) -> str:
        """Unique for ever (uuid 7)."""
        return self._now.id

    @property
    def name(self) -> str:
        """Unique and readable."""
        return self._now.name

    @property
    def view(self) -> dict[str, Any]:
        """The API's last answer about it, as plain data; `refresh` asks anew."""
        return self._now.view

    @property
    def state(self) -> str:
        """As of the last answer: queued, running, finished, failed or cancelled."""
        return str(self._now.view["state"])

    async def refresh(self) -> Self:
        """Ask the laboratory how things stand."""
        return await self._changed(lambda work: work.refresh())

    async def cancel(self) -> Self:
        """Stop after the step that is being made; what is recorded stays. Over already, nothing changes."""
        return await self._changed(lambda work: work.cancel())

    async def wait(self, *, timeout: float | None = None) -> Self:
        """Return when it is over. Cancelling the waiting leaves the work alone.

        It shows nothing but why nothing goes on, as `Run.wait` does: once, where many runs wait for the same.

        Raises:
            RunFailed: it failed; the message holds the reason.
            TimeoutError: it goes on after so many seconds, or the laboratory has not answered.
            LocalStackError: the local stack was stopped, and nobody started it again within a minute.
        """
        like = self._wire.like
        wait = Wait(f"{self._now.kind} {self.name}", like.url, timeout)
        try:
            while not wait.over:
                start = False
                try:
                    self._now._view = await self.ask(partial(fetch_view, timeout=wait.poll_timeout))
                except TalwegError as error:
                    start = wait.failed(error, like.stack_end(), like.home)
                else:
                    if wait.update(self._now._view):
                        with suppress(TalwegError):
                            wait.set_reason(await self.ask(partial(fetch_reason, timeout=wait.poll_timeout)))
                self._wire.messages.show(wait.message, of=wait)
                if start:
                    await asyncio.to_thread(like.start_stack)
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
    """One run; what is not here, `ask` has."""

    async def events(self) -> AsyncIterator[dict[str, Any]]:
        """Its progress (`state`, `step`, `steps`, `cost`, `best_cost`) whenever it changes, until the run is over."""
        events = Events()
        while not events.over:
            with suppress(Unreachable):
                async for line in self._wire.lines(self._now._path("events")):
                    if (told := events.take(line)) is not None:
                        yield told
            await self.refresh()

    async def costs(self) -> "Array":
        """(steps,) float64: the cost of each recorded step, before its update."""
        return await self.ask(lambda run: run.costs)

    async def gradient(self, step: SupportsIndex) -> "dict[str, Array]":
        """The derivatives of the step's cost, by tensor, bit for bit as the engine had them; raises NoSuchStep."""
        return await self.ask(lambda run: run.gradient(step))

    async def parameters(self, step: SupportsIndex) -> "dict[str, Array]":
        """The parameters before the step's update, by tensor; raises NoSuchStep."""
        return await self.ask(lambda run: run.parameters(step))


class AsyncStudy(AsyncRunOrStudy[Study]):
    """One study; what is not here, `ask` has."""

    async def runs(self) -> list[AsyncRun]:
        """Every run, by optimizer setting, then by seed."""
        return [AsyncRun(self._wire, run) for run in await self.ask(lambda study: study.runs)]

    async def ranking(self) -> Table:
        """The optimizer settings, best first."""
        return await self.ask(lambda study: study.ranking())


class AsyncLab(_Awaited[Lab]):
    """A laboratory, as `Lab` finds it, for `async with`; what is not here, `ask` has."""

    def __init__(
        self, url: str | None = None, *, token: str | None = None, home: str | os.PathLike[str] | None = None
    ) -> None:
        """As Lab's; nothing is found or started before `async with`."""
        self._arguments: dict[str, Any] = {"url": url, "token": token, "home": home}

    async def __aenter__(self) -> Self:
        # Starting a local one takes seconds, of which others make use.
        self._now = await asyncio.to_thread(lambda: Lab(**self._arguments))
        self._wire = AsyncWire(self._now._wire)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._now.close()
        await self._wire.close()

    async def submit(self, spec: object = None, /, **keywords: Any) -> AsyncRun:
        """Hand in one run, as `Lab.submit`."""
        return AsyncRun(self._wire, await self.ask(lambda lab: lab.submit(spec, **keywords)))

    async def compare(self, spec: object = None, /, **keywords: Any) -> AsyncStudy:
        """Hand in a study, as `Lab.compare`."""
        return AsyncStudy(self._wire, await self.ask(lambda lab: lab.compare(spec, **keywords)))

    async def run(self, id_or_name: str) -> AsyncRun:
        """The run of that id or name; raises NotFound."""
        return AsyncRun(self._wire, await self.ask(lambda lab: lab.run(id_or_name)))

    async def study(self, id_or_name: str) -> AsyncStudy:
        """The study of that id or name; raises NotFound."""
        return AsyncStudy(self._wire, await self.ask(lambda lab: lab.study(id_or_name)))
