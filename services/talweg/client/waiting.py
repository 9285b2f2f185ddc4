"""Wait for work and show its progress: a bar in a terminal or a notebook, and why it does not go on."""

import html
import json
import logging
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from typing import Any, ClassVar, Final, Literal, Protocol

from talweg.client.wire import Wire, is_temporary, stack_end_message
from talweg.errors import LocalStackError, TalwegError

Show = Callable[["Progress"], None]

log = logging.getLogger("talweg.client")
OVER: Final = frozenset({"finished", "failed", "cancelled"})
# Seconds between two looks: quick at first, since short runs end soon.
FIRST_POLL: Final = 0.02
LAST_POLL: Final = 0.5
# Seconds without a change after which it is asked why, and between two such questions.
IDLE_SECONDS: Final = 10.0
REASON_SECONDS: Final = 3.0
# Seconds that a look may take at first; a laboratory that is only slow gets more each time.
FIRST_TIMEOUT: Final = 10.0
LONGEST_TIMEOUT: Final = 60.0
# Seconds of silence after which it is said.
SILENT_SECONDS: Final = 5.0
# Seconds for which a local stack that someone stopped may be started again, as an upgrade does.
STOPPED_SECONDS: Final = 60.0
# A stack that was started again and ended within so many seconds is not started once more.
RESTART_SECONDS: Final = 60.0


class Events:
    """What lines told so far; a reader that comes again goes on with the same."""

    def __init__(self) -> None:
        """Nothing is known yet."""
        self.over = False
        self._name = ""
        self._last: dict[str, Any] | None = None

    def take(self, line: str) -> dict[str, Any] | None:
        """The progress that this line tells, where it is another than was told before."""
        if line.startswith("event:"):
            self._name = line.removeprefix("event:").strip()
        elif line.startswith("data:") and self._name in ("progress", "end"):
            told = json.loads(line.removeprefix("data:"))
            self.over = self.over or self._name == "end"
            if told != self._last:
                self._last = told
                return dict(told)
        return None

    def through(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """What these lines tell."""
        for line in lines:
            told = self.take(line)
            if told is not None:
                yield told


@dataclass(frozen=True)
class Message:
    """Why nothing goes on, as a sentence; one of the same `kind` says the same, whatever it counts."""

    kind: str
    text: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps, and the rest in words ("running, step 12 of 500, cost 0.31")."""

    done: int
    total: int
    words: str
    over: bool
    message: Message | None = None


class MessagePrinter:
    """Says each note once, as long as it is the same; of several that wait, whichever has it first says it."""

    def __init__(self, put: Callable[[str], None]) -> None:
        """`put` shows one line."""
        self._put = put
        self._had: dict[object, str] = {}

    def show(self, message: Message | None, of: object = None) -> None:
        """What there is to say now, where it is another than before."""
        if message is not None:
            if message.kind not in self._had.values():
                self._put(message.text)
            self._had[of] = message.kind
        elif self._had.get(of) != "queue":
            # A queue moves and stops in turns, which is not worth a line.
            self.forget(of)

    def forget(self, of: object) -> None:
        """It waits no more."""
        self._had.pop(of, None)


def say(line: str) -> None:
    """One line for people; stdout is for data."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # the one place where the client prints


@contextmanager
def progress_display(name: str, *, shown: bool) -> Iterator[Show]:
    """What to call with each new Progress of `name`; what it shows ends with the block."""
    if not shown:
        quiet = MessagePrinter(log.info)
        yield lambda progress: quiet.show(progress.message)
    elif _in_notebook():
        yield _Notebook(name).show
    elif sys.stderr.isatty():
        with _terminal(name) as show:
            yield show
    else:
        yield partial(_plain, name, MessagePrinter(say))


def _plain(name: str, messages: MessagePrinter, progress: Progress) -> None:
    messages.show(progress.message)
    if progress.over:
        say(f"{name}: {progress.words}")


@contextmanager
def _terminal(name: str) -> Iterator[Show]:
    from rich.console import Console
    from rich.progress import BarColumn, TaskProgressColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[words]}", markup=False),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=Console(stderr=True)) as bars:
        task = bars.add_task(name, total=None, words="")
        messages = MessagePrinter(partial(bars.console.print, markup=False, highlight=False, soft_wrap=True))

        def show(progress: Progress) -> None:
            # Above the bar, which has no room for a sentence.
            messages.show(progress.message)
            # Over is over: a run that diverged or was cancelled has fewer steps than were asked for.
            total = progress.done if progress.over else progress.total
            bars.update(task, completed=progress.done, total=max(total, 1), words=progress.words)
            if progress.over:
                bars.update(task, completed=max(total, 1))

        yield show


class _Notebook:
    """One output that is updated in place and stays, in its last form, when the notebook is saved."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.handle: Any = None

    def show(self, progress: Progress) -> None:
        display = import_module("IPython.display")
        message = progress.message
        percent = 100 if progress.over else 100 * progress.done // max(progress.total, 1)
        page = display.HTML(
            f'<div>{html.escape(self.name)} <progress value="{percent}" max="100"></progress> '
            f"{html.escape(progress.words)}{'' if message is None else f'<br>{html.escape(message.text)}'}</div>"
        )
        if self.handle is None:
            self.handle = display.display(page, display_id=True)
        else:
            self.handle.update(page)


def _in_notebook() -> bool:
    """Whether this process is a Jupyter kernel; IPython is looked at only if it is loaded already."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Wait:
    """One wait for a run or a study. Times are of the monotonic clock; `note` is what to say just now."""

    def __init__(self, title: str, url: str, timeout: float | None) -> None:
        """For what `title` names, at the laboratory at `url`, for `timeout` seconds at most."""
        self.title, self.url = title, url
        self.message: Message | None = None
        self.over = False
        self._state = "as it was"
        now = time.monotonic()
        self._until = None if timeout is None else now + timeout
        self._delay = FIRST_POLL
        self._timeout = FIRST_TIMEOUT
        self._seen: tuple[Any, ...] = ()
        self._changed = self._asked = now
        self._away: tuple[float, str] | None = None
        self._started: float | None = None

    @property
    def unreachable(self) -> bool:
        """Whether the last look failed."""
        return self._away is not None

    @property
    def poll_timeout(self) -> float:
        """Seconds that the next look may take."""
        left = LONGEST_TIMEOUT if self._until is None else self._until - time.monotonic()
        return max(1.0, min(self._timeout, left))

    def update(self, view: dict[str, Any]) -> bool:
        """Take in an answer; whether to ask now why nothing goes on."""
        now = time.monotonic()
        self._state, self.over = view["state"], view["state"] in OVER
        standing = tuple(view.get(key) for key in ("state", "step", "steps_done", "counts", "paused"))
        if standing != self._seen or self.over:
            self._changed, self._seen, self.message = now, standing, None
        if self._away is not None:
            self._away, self._timeout, self.message = None, FIRST_TIMEOUT, None
        if now - self._changed < IDLE_SECONDS or now - self._asked < REASON_SECONDS:
            return False
        self._asked = now
        return True

    def set_reason(self, reason: dict[str, str] | None) -> None:
        """Take in what the laboratory says of why nothing goes on."""
        self.message = None if reason is None else Message(reason["kind"], f"{self.title} waits: {reason['text']}")

    def failed(self, error: TalwegError, ended: Literal["stopped", "failed"] | None, home: Any) -> bool:
        """Take in that a look failed; whether to start the local stack again.

        Raises:
            TalwegError: `error`, if it does not pass by waiting.
            LocalStackError: the local stack was stopped and stays so, or ends again and again.
        """
        if ended is None and not is_temporary(error):
            raise error
        now = time.monotonic()
        if self._away is None:
            self._away = (now, time.strftime("%H:%M:%S"))
        since, clock = self._away
        # A look that took so long may only have been slow.
        self._timeout = min(2.0 * self._timeout, LONGEST_TIMEOUT)
        if ended is not None:
            return self._without_stack(stack_end_message(home, ended), now - since, fatal=ended == "stopped")
        if now - since >= SILENT_SECONDS:
            reason = f"the laboratory has not answered since {clock}, and is asked again until it does ({error})"
            self.message = Message(f"away since {clock}", f"{self.title} waits: {reason}")
        return False

    def _without_stack(self, said: str, seconds: float, *, fatal: bool) -> bool:
        again = self._started is not None and time.monotonic() - self._started < RESTART_SECONDS
        if again or (fatal and seconds > STOPPED_SECONDS):
            raise LocalStackError(f"{self.title}: {said}")
        if fatal:
            self.message = Message(
                "stopped", f"{self.title} waits: {said} (the wait ends after {STOPPED_SECONDS:.0f} s without it)"
            )
            return False
        self.message = Message("failed", f"{self.title} waits: {said.partition(';')[0]}; it is started again now")
        self._started = time.monotonic()
        return True

    def delay(self) -> float:
        """Seconds until the next look; raises TimeoutError where the time is up."""
        if self._until is not None and time.monotonic() > self._until:
            if self._away is not None:
                told = f"the laboratory at {self.url} has not answered since {self._away[1]}"
                raise TimeoutError(f"{self.title} was {self._state}; {told}")
            why = "" if self.message is None else f" ({self.message.text})"
            raise TimeoutError(f"{self.title} is still {self._state}; it goes on{why}")
        self._delay = min(self._delay * 1.3, LAST_POLL)
        return self._delay


class Waitable(Protocol):
    """What is waited for: a run or a study."""

    kind: ClassVar[str]
    _wire: Wire
    _view: dict[str, Any]

    @property
    def name(self) -> str:
        """As its owner gave it."""

    def _path(self, *more: str) -> str:
        """Its place in the API."""


def fetch_view(work: Waitable, timeout: float) -> dict[str, Any]:
    """The view, requested once."""
    view: dict[str, Any] = work._wire.get(work._path(), retry_seconds=0.0, timeout=timeout)
    return view


def fetch_reason(work: Waitable, timeout: float) -> dict[str, str] | None:
    """Why it makes no progress, requested once."""
    reason: dict[str, str] | None = work._wire.get(work._path("waiting"), retry_seconds=0.0, timeout=timeout)
    return reason


def polls(work: Waitable, timeout: float | None = None) -> Iterator[Wait]:
    """Look at `work` until it is over; after each look what is known, `work.view` as it is by then.

    Raises:
        TimeoutError: it is not over after `timeout` seconds.
        TalwegError: the laboratory refuses, or its local stack was stopped.
    """
    wire = work._wire
    wait = Wait(f"{work.kind} {work.name}", wire.url, timeout)
    while True:
        start = False
        try:
            work._view = fetch_view(work, wait.poll_timeout)
        except TalwegError as error:
            start = wait.failed(error, wire.stack_end(), wire.home)
        else:
            if wait.update(work._view):
                # Of an older laboratory nothing can be known; of one that went away the next look tells.
                with suppress(TalwegError):
                    wait.set_reason(fetch_reason(work, wait.poll_timeout))
        yield wait
        if wait.over:
            return
        if start:
            wire.start_stack()
        time.sleep(wait.delay())
