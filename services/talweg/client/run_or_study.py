"""What Run and Study share: a view of work that changes while it runs."""

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
    """Each item of a list, asked for page by page as it is gone through; at most `limit` of them."""
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
    """A run or a study; `kind` is its word, `noun` its place in the API."""

    kind: ClassVar[str]
    noun: ClassVar[str]

    def __init__(self, wire: Wire, view: dict[str, Any]) -> None:
        """Stand for what `view`, the API's answer, describes; reached again over `wire`."""
        self._wire = wire
        self._view = view

    @property
    def id(self) -> str:
        """Unique for ever (uuid 7)."""
        return str(self._view["id"])

    @property
    def name(self) -> str:
        """Unique and readable; `lab.run(name)` or `lab.study(name)` finds it again."""
        return str(self._view["name"])

    @property
    def state(self) -> str:
        """queued, running, finished, failed or cancelled, as of now."""
        return str(self._now()["state"])

    @property
    def spec(self) -> dict[str, Any]:
        """What was asked for, with every default filled in."""
        return dict(self._view["spec"])

    @property
    def mlflow_url(self) -> str | None:
        """Where MLflow shows it; None until the mirror has brought it there."""
        url = self._now()["mlflow_url"]
        return None if url is None else str(url)

    @property
    def view(self) -> dict[str, Any]:
        """The API's last answer about it, as plain data; `refresh` asks anew."""
        return dict(self._view)

    def refresh(self) -> Self:
        """Ask the laboratory how things stand."""
        self._view = self._wire.get(self._path())
        return self

    def cancel(self) -> Self:
        """Stop after the step that is being made; what is recorded stays. Over already, nothing changes."""
        return self._post("cancel")

    def pause(self) -> Self:
        """Rest after the step that is being made, until `unpause`; what is recorded stays. Over, nothing changes."""
        return self._post("pause")

    def unpause(self) -> Self:
        """Unpause: go on from where it was paused."""
        return self._post("unpause")

    def retry(self) -> Self:
        """Queue what failed again: it goes on from its last recorded step, to the same bits.

        Raises:
            Conflict: it is a run that has not failed.
        """
        return self._post("retry")

    def mirror_again(self) -> Self:
        """Have all of it sent to MLflow once more, from what is recorded: for a server that lost what it had."""
        return self._post("mirror")

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Return when it is over. Ctrl-C ends the waiting alone, and says how to get back.

        Where nothing goes on for 10 s, a line says why: no worker alive, a queue before it, paused, the broker or the
        laboratory away. A laboratory that does not answer is asked again for as long as the wait may last; a local
        stack that ended by itself is started again, one that was stopped (`talweg down`) is not.

        Args:
            progress: show it, on stderr: a bar in terminals and notebooks, else one line at the end.
            timeout: seconds to wait at most.

        Raises:
            RunFailed: it failed; the message holds the reason.
            TimeoutError: it goes on, or the laboratory has not answered; the message says which.
            LocalStackError: the local stack was stopped, and nobody started it again within a minute.
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
        """The same over connections of its own."""
        return copy_with_wire(self, copy.copy(self._wire))

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        view = self._now()
        return card(f"{self.kind} {self.name}", self._line(), self._facts(), view["spec"], view["mlflow_url"])

    def _hint_after_interrupt(self) -> str:
        call = f"lab.{self.kind}({self.name!r})"
        return (
            f"Stopped waiting; the {self.kind} goes on. Back to it: {call}.wait(). "
            f"End it: {call}.cancel(), or talweg cancel {self.id}"
        )

    def _post(self, action: str) -> Self:
        self._view = self._wire.post(self._path(action))
        return self

    def _path(self, *more: str) -> str:
        return "/".join(["/v1", self.noun, quote(self.id, safe=""), *(quote(part, safe="") for part in more)])

    def _is_over(self) -> bool:
        return self._view["state"] in OVER

    def _now(self) -> dict[str, Any]:
        """The view, asked for anew unless nothing can have changed but the mirror's link."""
        if not self._is_over() or self._view["mlflow_url"] is None:
            self.refresh()
        return self._view

    def _line(self) -> str:
        """How things stand, in a few words."""
        self._now()
        return self._progress().words

    @abstractmethod
    def _progress(self) -> Progress:
        """How far it is, from the view as it is."""

    @abstractmethod
    def _failure(self) -> str | None:
        """Why it failed; None where it did not."""

    @abstractmethod
    def _facts(self) -> dict[str, Any]:
        """What a card shows besides."""
