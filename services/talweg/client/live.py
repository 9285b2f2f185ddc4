"""What Run and Study have in common: something of the laboratory that changes while one looks at it."""

import time
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Final, Self
from urllib.parse import quote

from talweg.client.cards import card
from talweg.client.progress import Progress, meter, say
from talweg.client.wire import Wire
from talweg.errors import RunFailed

OVER: Final = frozenset({"finished", "failed", "cancelled"})
# Seconds between two looks: quick at first, since short runs end soon.
FIRST_LOOK: Final = 0.02
LAST_LOOK: Final = 0.5
# A laboratory that restarts while someone waits is waited for, this long.
PATIENCE_WHILE_WAITING: Final = 60.0


class Live(ABC):
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
        self._view = self._wire.post(self._path("cancel"))
        return self

    def pause(self) -> Self:
        """Rest after the step that is being made, until `unpause`; what is recorded stays. Over, nothing changes."""
        self._view = self._wire.post(self._path("pause"))
        return self

    def unpause(self) -> Self:
        """Go on from where it rests."""
        self._view = self._wire.post(self._path("unpause"))
        return self

    def retry(self) -> Self:
        """Queue what failed again: it goes on from its last recorded step, to the same bits.

        Raises:
            Conflict: it is a run that has not failed.
        """
        self._view = self._wire.post(self._path("retry"))
        return self

    def mirror_again(self) -> Self:
        """Have all of it sent to MLflow once more, from what is recorded: for a server that lost what it had."""
        self._view = self._wire.post(self._path("mirror"))
        return self

    def wait(self, *, progress: bool = True, timeout: float | None = None) -> Self:
        """Return when it is over. Ctrl-C ends the waiting alone, and says how to get back.

        Args:
            progress: show it, on stderr: a bar in terminals and notebooks, else one line at the end.
            timeout: seconds to wait at most.

        Raises:
            RunFailed: it failed; the message holds the reason.
            TimeoutError: it goes on.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        pause = FIRST_LOOK
        try:
            with meter(f"{self.kind} {self.name}", shown=progress) as show:
                while True:
                    self._view = self._wire.get(self._path(), patience=PATIENCE_WHILE_WAITING)
                    show(self._progress())
                    if self._is_over():
                        break
                    if deadline is not None and time.monotonic() > deadline:
                        raise TimeoutError(f"{self.kind} {self.name} is still {self._view['state']}; it goes on")
                    time.sleep(pause)
                    pause = min(pause * 1.3, LAST_LOOK)
        except KeyboardInterrupt:
            say(self._how_to_return())
            raise
        reason = self._failure()
        if reason is not None:
            raise RunFailed(reason)
        return self

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.name}: {self._line()}>"

    def _repr_html_(self) -> str:
        view = self._now()
        return card(f"{self.kind} {self.name}", self._line(), self._facts(), view["spec"], view["mlflow_url"])

    def _how_to_return(self) -> str:
        call = f"lab.{self.kind}({self.name!r})"
        return (
            f"Stopped waiting; the {self.kind} goes on. Back to it: {call}.wait(). "
            f"End it: {call}.cancel(), or talweg cancel {self.id}"
        )

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
