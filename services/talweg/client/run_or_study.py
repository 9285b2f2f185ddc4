"""The base class of Run and Study: a snapshot (`view`) of submitted work, its state, and waiting for it."""

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

from talweg.client.table import card
from talweg.client.waiting import OVER, Progress, polls, progress_display, say
from talweg.client.wire import Wire, copy_with_wire
from talweg.errors import RunFailed

PAGE: Final = 200


def every(wire: Wire, path: str, *, limit: int | None = None, **query: Any) -> Iterator[dict[str, Any]]:
    """The items of a list, at most `limit`; pages are requested as they are needed."""
    cursor: str | None = None
    left = limit
    while left is None or left > 0:
        size = PAGE if left is None else min(PAGE, left)
        page = wire.get(path, limit=size, cursor=cursor, **query)
        yield from page["items"]
        cursor = page["next"]
        if cursor is None:
            return
        left = None if left is None else left - len(page["items"])


class RunOrStudy(ABC):
    """A run or a study; `kind` is the word for it, `noun` its path in the API."""

    kind: ClassVar[str]
    noun: ClassVar[str]

    def __init__(self, wire: Wire, view: dict[str, Any]) -> None:
        """The run or study in `view`, an answer of the API; `wire` sends further requests."""
        self._wire = wire
        self._view = view

    @property
    def id(self) -> str:
        """Unique (uuid 7)."""
        return str(self._view["id"])

    @property
    def name(self) -> str:
        """Unique and readable; for `lab.run(name)` or `lab.study(name)`."""
        return str(self._view["name"])

    @property
    def state(self) -> str:
        """queued, running, finished, failed or cancelled, requested now."""
        return str(self._now()["state"])

    @property
    def spec(self) -> dict[str, Any]:
        """The submitted spec, with every default filled in."""
        return dict(self._view["spec"])

    @property
    def mlflow_url(self) -> str | None:
        """Its page in MLflow; None until the mirror has sent it."""
        url = self._now()["mlflow_url"]
        return None if url is None else str(url)

    @property
    def view(self) -> dict[str, Any]:
        """The API's last answer, as plain data; `refresh` requests a new one."""
        return dict(self._view)

    def refresh(self) -> Self:
        """Request the present state."""
        self._view = self._wire.get(self._path())
        return self

    def cancel(self) -> Self:
        """Stop after the present step; the record stays. No effect on ended work."""
        return self._post("cancel")

    def pause(self) -> Self:
        """Pause after the present step, until `unpause`; the record stays. No effect on ended work."""
        return self._post("pause")

    def unpause(self) -> Self:
        """Continue paused work."""
        return self._post("unpause")

    def retry(self) -> Self:
        """Queue failed work again: it continues from its last recorded step, to the same bits.

        Raises:
            Conflict: the run has not failed.
        """
        return self._post("retry")

    def mirror_again(self) -> Self:
        """Send the whole record to MLflow again, for a server that lost its data."""
        return self._post("mirror")

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Return when it has ended. Ctrl-C ends the wait, not the work, and prints how to wait again.

        After 10 s without progress a line says why: no live worker, a queue, a pause, an unreachable broker or
        laboratory. A laboratory that does not answer is retried until the timeout. A local stack that crashed is
        started again; one that was stopped (`talweg down`) is not.

        Args:
            progress: show progress on stderr: a bar in terminals and notebooks, else one line at the end.
            timeout: the longest wait in seconds; None: no limit.

        Raises:
            RunFailed: it failed; the message holds the reason.
            TimeoutError: it has not ended, or the laboratory does not answer; the message says which.
            LocalStackError: the local stack was stopped and not started again within a minute.
        """
        try:
            with progress_display(f"{self.kind} {self.name}", shown=progress) as show:
                for wait in polls(self, timeout):
                    show(replace(self._progress(), message=wait.message))
        except KeyboardInterrupt:
            say(self._hint_after_interrupt())
            raise
        reason = self._failure()
        if reason is not None:
            raise RunFailed(reason)
        return self

    def __copy__(self) -> Self:
        """The same with its own connections."""
        return copy_with_wire(self, copy.copy(self._wire))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        view = self._now()
        return card(f"{self.kind} {self.name}", self._line(), self._facts(), view["spec"], view["mlflow_url"])

    def _hint_after_interrupt(self) -> str:
        call = f"lab.{self.kind}({self.name!r})"
        return (
            f"Stopped waiting; the {self.kind} continues. Wait again: {call}.wait(). "
            f"Cancel it: {call}.cancel(), or talweg cancel {self.id}"
        )

    def _post(self, action: str) -> Self:
        self._view = self._wire.post(self._path(action))
        return self

    def _path(self, *more: str) -> str:
        return "/".join(["/v1", self.noun, quote(self.id, safe=""), *(quote(part, safe="") for part in more)])

    def _is_over(self) -> bool:
        return self._view["state"] in OVER

    def _now(self) -> dict[str, Any]:
        """The present view; not requested again where nothing can change."""
        if not self._is_over() or self._view["mlflow_url"] is None:
            self.refresh()
        return self._view

    def _line(self) -> str:
        """The present state in a few words."""
        self._now()
        return self._progress().words

    @abstractmethod
    def _progress(self) -> Progress:
        """The progress in the last view."""

    @abstractmethod
    def _failure(self) -> str | None:
        """The reason of the failure; None where it did not fail."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """Further rows of its card."""
