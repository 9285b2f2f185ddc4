"""What a `wait` knows besides how far the work is: whether the laboratory answers, and why nothing goes on.

It rides out an API that is away (a restart, a machine that slept, a network that comes back) for as long as the user
waits, and starts a local stack again that ended without anyone stopping it.
"""

import time
from collections.abc import Iterator
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Literal

from talweg.client.progress import Note
from talweg.client.wire import passes, stack_ended
from talweg.errors import LocalStackError, TalwegError

if TYPE_CHECKING:
    from talweg.client.live import Live

OVER: Final = frozenset({"finished", "failed", "cancelled"})
# Seconds between two looks: quick at first, since short runs end soon.
FIRST_LOOK: Final = 0.02
LAST_LOOK: Final = 0.5
# Seconds without a change after which it is asked why, and between two such questions.
IDLE: Final = 10.0
ASK_AGAIN: Final = 3.0
# Seconds that a look may take at first; a laboratory that is only slow gets more each time.
LOOK: Final = 10.0
LONGEST_LOOK: Final = 60.0
# Seconds of silence after which it is said.
SILENCE: Final = 5.0
# Seconds for which a local stack that someone stopped may be started again, as an upgrade does.
STOPPED: Final = 60.0
# A stack that was started again and ended within so many seconds is not started once more.
ENDS_AGAIN: Final = 60.0


class Wait:
    """One wait for a run or a study. Times are of the monotonic clock; `note` is what to say just now."""

    def __init__(self, title: str, url: str, timeout: float | None) -> None:
        """For what `title` names, at the laboratory at `url`, for `timeout` seconds at most."""
        self.title, self.url = title, url
        self.note: Note | None = None
        self.over = False
        self._state = "as it was"
        now = time.monotonic()
        self._until = None if timeout is None else now + timeout
        self._pause = FIRST_LOOK
        self._look = LOOK
        self._seen: tuple[Any, ...] = ()
        self._changed = self._asked = now
        self._away: tuple[float, str] | None = None
        self._started: float | None = None

    @property
    def away(self) -> bool:
        """Whether the last look failed."""
        return self._away is not None

    @property
    def look(self) -> float:
        """Seconds that the next look may take."""
        left = LONGEST_LOOK if self._until is None else self._until - time.monotonic()
        return max(1.0, min(self._look, left))

    def seen(self, view: dict[str, Any]) -> bool:
        """Take in an answer; whether to ask now why nothing goes on."""
        now = time.monotonic()
        self._state, self.over = view["state"], view["state"] in OVER
        standing = tuple(view.get(key) for key in ("state", "step", "steps_done", "counts", "paused"))
        if standing != self._seen or self.over:
            self._changed, self._seen, self.note = now, standing, None
        if self._away is not None:
            self._away, self._look, self.note = None, LOOK, None
        if now - self._changed < IDLE or now - self._asked < ASK_AGAIN:
            return False
        self._asked = now
        return True

    def explained(self, reason: dict[str, str] | None) -> None:
        """Take in what the laboratory says of why nothing goes on."""
        self.note = None if reason is None else Note(reason["kind"], f"{self.title} waits: {reason['text']}")

    def missed(self, error: TalwegError, ended: Literal["stopped", "failed"] | None, home: Any) -> bool:
        """Take in that a look failed; whether to start the local stack again.

        Raises:
            TalwegError: `error`, where time does not mend it.
            LocalStackError: the local stack was stopped and stays so, or ends again and again.
        """
        if ended is None and not passes(error):
            raise error
        now = time.monotonic()
        if self._away is None:
            self._away = (now, time.strftime("%H:%M:%S"))
        since, clock = self._away
        # A look that took so long may only have been slow.
        self._look = min(2.0 * self._look, LONGEST_LOOK)
        if ended is not None:
            return self._without_stack(stack_ended(home, ended), now - since, fatal=ended == "stopped")
        if now - since >= SILENCE:
            reason = f"the laboratory has not answered since {clock}, and is asked again until it does ({error})"
            self.note = Note(f"away since {clock}", f"{self.title} waits: {reason}")
        return False

    def _without_stack(self, said: str, seconds: float, *, fatal: bool) -> bool:
        again = self._started is not None and time.monotonic() - self._started < ENDS_AGAIN
        if again or (fatal and seconds > STOPPED):
            raise LocalStackError(f"{self.title}: {said}")
        if fatal:
            self.note = Note("stopped", f"{self.title} waits: {said} (the wait ends after {STOPPED:.0f} s without it)")
            return False
        self.note = Note("failed", f"{self.title} waits: {said.partition(';')[0]}; it is started again now")
        self._started = time.monotonic()
        return True

    def pause(self) -> float:
        """Seconds until the next look; raises TimeoutError where the time is up."""
        if self._until is not None and time.monotonic() > self._until:
            if self._away is not None:
                told = f"the laboratory at {self.url} has not answered since {self._away[1]}"
                raise TimeoutError(f"{self.title} was {self._state}; {told}")
            why = "" if self.note is None else f" ({self.note.text})"
            raise TimeoutError(f"{self.title} is still {self._state}; it goes on{why}")
        self._pause = min(self._pause * 1.3, LAST_LOOK)
        return self._pause


def looks(work: "Live", timeout: float | None = None) -> Iterator[Wait]:
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
            work._view = wire.get(work._path(), patience=0.0, timeout=wait.look)
        except TalwegError as error:
            start = wait.missed(error, wire.ended(), wire.home)
        else:
            if wait.seen(work._view):
                # Of an older laboratory nothing can be known; of one that went away the next look tells.
                with suppress(TalwegError):
                    wait.explained(wire.get(work._path("waiting"), patience=0.0, timeout=wait.look))
        yield wait
        if wait.over:
            return
        if start:
            wire.start()
        time.sleep(wait.pause())
