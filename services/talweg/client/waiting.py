"""Wait for runs and studies; show progress as a bar or line, and the reason where there is none."""

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
# Seconds between two polls: short at first, since short runs end soon.
FIRST_POLL: Final = 0.02
LAST_POLL: Final = 0.5
# Seconds without progress before the reason is requested, and between two such requests.
IDLE_SECONDS: Final = 10.0
REASON_SECONDS: Final = 3.0
# Timeout of a poll in seconds: it doubles after each failure, for a laboratory that is slow.
FIRST_TIMEOUT: Final = 10.0
LONGEST_TIMEOUT: Final = 60.0
# Seconds without an answer before a message says so.
SILENT_SECONDS: Final = 5.0
# Seconds that a wait allows for the restart of a stopped local stack, as during an upgrade.
STOPPED_SECONDS: Final = 60.0
# A stack that ends within so many seconds after its restart is not started again.
RESTART_SECONDS: Final = 60.0


class Events:
    """A parser of server-sent events; it keeps its state over reconnections."""

    def __init__(self) -> None:
        """Start without events."""
        self.over = False
        self._name = ""
        self._last: dict[str, Any] | None = None

    def parse(self, line: str) -> dict[str, Any] | None:
        """The progress in this line; None where the line holds none, or the same as before."""
        if line.startswith("event:"):
            self._name = line.removeprefix("event:").strip()
        elif line.startswith("data:") and self._name in ("progress", "end"):
            progress = json.loads(line.removeprefix("data:"))
            self.over = self.over or self._name == "end"
            if progress != self._last:
                self._last = progress
                return dict(progress)
        return None

    def parse_all(self, lines: Iterable[str]) -> Iterator[dict[str, Any]]:
        """The changes of progress in these lines."""
        for line in lines:
            progress = self.parse(line)
            if progress is not None:
                yield progress


@dataclass(frozen=True)
class Message:
    """The reason for no progress, as a sentence; messages of one `kind` differ only in numbers."""

    kind: str
    text: str


@dataclass(frozen=True)
class Progress:
    """`done` of `total` steps, and a description ("running, step 12 of 500, cost 0.31")."""

    done: int
    total: int
    words: str
    over: bool
    message: Message | None = None


class MessagePrinter:
    """Print each message once while it stays the same, also where several waits have it."""

    def __init__(self, put: Callable[[str], None]) -> None:
        """`put` prints one line."""
        self._put = put
        self._shown: dict[object, str] = {}

    def show(self, message: Message | None, of: object = None) -> None:
        """Print the message of the wait `of`, if it is new; None: there is progress."""
        if message is not None:
            if message.kind not in self._shown.values():
                self._put(message.text)
            self._shown[of] = message.kind
        elif self._shown.get(of) != "queue":
            # A queue often stops and continues: do not print that each time.
            self.forget(of)

    def forget(self, of: object) -> None:
        """Drop the message of an ended wait."""
        self._shown.pop(of, None)


def say(line: str) -> None:
    """Print one line to stderr; stdout is for data."""
    print(line, file=sys.stderr, flush=True)  # noqa: T201  # the one place where the client prints


@contextmanager
def progress_display(name: str, *, shown: bool) -> Iterator[Show]:
    """Yield a function that shows a Progress of `name`; the display ends with the block."""
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
            # Above the bar.
            messages.show(progress.message)
            # An ended run is at 100 %, also where it diverged or was cancelled before its last step.
            total = progress.done if progress.over else progress.total
            bars.update(task, completed=progress.done, total=max(total, 1), words=progress.words)
            if progress.over:
                bars.update(task, completed=max(total, 1))

        yield show


class _Notebook:
    """One output, updated in place and kept when the notebook is saved."""

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
    """Whether this process is a Jupyter kernel; does not import IPython."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return type(shell).__name__ == "ZMQInteractiveShell"


class Wait:
    """The state of one wait. Times are of the monotonic clock; `message` is the present reason for no progress."""

    def __init__(self, title: str, url: str, timeout: float | None) -> None:
        """Wait for `title` at the laboratory at `url`, at most `timeout` seconds."""
        self.title, self.url = title, url
        self.message: Message | None = None
        self.over = False
        self._state = "in an unknown state"
        now = time.monotonic()
        self._until = None if timeout is None else now + timeout
        self._delay = FIRST_POLL
        self._timeout = FIRST_TIMEOUT
        self._seen: tuple[Any, ...] = ()
        self._changed = self._asked = now
        self._failed_since: tuple[float, str] | None = None
        self._started: float | None = None

    @property
    def unreachable(self) -> bool:
        """Whether the last poll failed."""
        return self._failed_since is not None

    @property
    def poll_timeout(self) -> float:
        """Timeout of the next poll in seconds."""
        left = LONGEST_TIMEOUT if self._until is None else self._until - time.monotonic()
        return max(1.0, min(self._timeout, left))

    def update(self, view: dict[str, Any]) -> bool:
        """Record an answer; returns whether to request the reason for no progress now."""
        now = time.monotonic()
        self._state, self.over = view["state"], view["state"] in OVER
        snapshot = tuple(view.get(key) for key in ("state", "step", "steps_done", "counts", "paused"))
        if snapshot != self._seen or self.over:
            self._changed, self._seen, self.message = now, snapshot, None
        if self._failed_since is not None:
            self._failed_since, self._timeout, self.message = None, FIRST_TIMEOUT, None
        if now - self._changed < IDLE_SECONDS or now - self._asked < REASON_SECONDS:
            return False
        self._asked = now
        return True

    def set_reason(self, reason: dict[str, str] | None) -> None:
        """Record the laboratory's reason for no progress."""
        self.message = None if reason is None else Message(reason["kind"], f"{self.title} waits: {reason['text']}")

    def failed(self, error: TalwegError, ended: Literal["stopped", "failed"] | None, home: Any) -> bool:
        """Record a failed poll; returns whether to start the local stack again.

        Raises:
            TalwegError: `error`, if it is not temporary.
            LocalStackError: the local stack was stopped and not started again, or ended soon after its restart.
        """
        if ended is None and not is_temporary(error):
            raise error
        now = time.monotonic()
        if self._failed_since is None:
            self._failed_since = (now, time.strftime("%H:%M:%S"))
        since, clock = self._failed_since
        # The laboratory may only be slow.
        self._timeout = min(2.0 * self._timeout, LONGEST_TIMEOUT)
        if ended is not None:
            return self._without_stack(stack_end_message(home, ended), now - since, fatal=ended == "stopped")
        if now - since >= SILENT_SECONDS:
            reason = f"the laboratory has not answered since {clock}; retrying until it does ({error})"
            self.message = Message(f"away since {clock}", f"{self.title} waits: {reason}")
        return False

    def _without_stack(self, text: str, seconds: float, *, fatal: bool) -> bool:
        again = self._started is not None and time.monotonic() - self._started < RESTART_SECONDS
        if again or (fatal and seconds > STOPPED_SECONDS):
            raise LocalStackError(f"{self.title}: {text}")
        if fatal:
            self.message = Message(
                "stopped", f"{self.title} waits: {text} (the wait ends after {STOPPED_SECONDS:.0f} s without it)"
            )
            return False
        self.message = Message("failed", f"{self.title} waits: {text.partition(';')[0]}; starting it again now")
        self._started = time.monotonic()
        return True

    def delay(self) -> float:
        """Seconds until the next poll; raises TimeoutError after the timeout."""
        if self._until is not None and time.monotonic() > self._until:
            if self._failed_since is not None:
                reason = f"the laboratory at {self.url} has not answered since {self._failed_since[1]}"
                raise TimeoutError(f"{self.title} was {self._state}; {reason}")
            why = "" if self.message is None else f" ({self.message.text})"
            raise TimeoutError(f"{self.title} is still {self._state}; it goes on{why}")
        self._delay = min(self._delay * 1.3, LAST_POLL)
        return self._delay


class Waitable(Protocol):
    """A run or a study."""

    kind: ClassVar[str]
    _wire: Wire
    _view: dict[str, Any]

    @property
    def name(self) -> str:
        """Its name."""

    def _path(self, *more: str) -> str:
        """Its path in the API."""


def fetch_view(work: Waitable, timeout: float) -> dict[str, Any]:
    """The view, requested once."""
    view: dict[str, Any] = work._wire.get(work._path(), retry_seconds=0.0, timeout=timeout)
    return view


def fetch_reason(work: Waitable, timeout: float) -> dict[str, str] | None:
    """Why it makes no progress, requested once."""
    reason: dict[str, str] | None = work._wire.get(work._path("waiting"), retry_seconds=0.0, timeout=timeout)
    return reason


def polls(work: Waitable, timeout: float | None = None) -> Iterator[Wait]:
    """Poll `work` until it has ended; yields the wait after each poll, with `work.view` updated.

    Raises:
        TimeoutError: it has not ended after `timeout` seconds.
        TalwegError: the laboratory refuses the request, or the local stack was stopped.
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
                # An older laboratory has no such route; an unreachable one fails the next poll too.
                with suppress(TalwegError):
                    wait.set_reason(fetch_reason(work, wait.poll_timeout))
        yield wait
        if wait.over:
            return
        if start:
            wire.start_stack()
        time.sleep(wait.delay())
