"""What the API knows of the broker: whether it answers, what waits there, who listens. Looked at once in a while."""

import threading
import time
from collections.abc import Callable
from typing import Final

from talweg import queue
from talweg.errors import TalwegError

# Health checks and dashboards ask all the time, and a broker that is away takes seconds to say so.
SECONDS: Final = 2.0


class Broker:
    """The broker's queue, as of a moment ago."""

    def __init__(
        self,
        ask: Callable[[], int] = queue.depth,
        clock: Callable[[], float] = time.monotonic,
        listeners: Callable[[], int | None] = queue.listeners,
    ) -> None:
        """`ask`: how many messages wait, `listeners`: how many workers do; both raise TalwegError at no answer."""
        self._depth, self._listeners = _Kept(ask, clock), _Kept(listeners, clock)

    def depth(self) -> int | None:
        """Messages that wait for a worker; None where the broker does not answer, which is no reason to fail."""
        return self._depth.value()

    def answers(self) -> bool:
        """Whether it answered when it was last asked."""
        return self.depth() is not None

    def listeners(self) -> int | None:
        """Workers that wait for a message; None where the broker does not answer, or does not say."""
        return self._listeners.value()


class _Kept:
    """One number of the broker, kept for a moment."""

    def __init__(self, ask: Callable[[], int | None], clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._value: int | None = None
        self._until = float("-inf")

    def value(self) -> int | None:
        # Whoever comes while another asks gets what was known before.
        if self._clock() >= self._until and self._lock.acquire(blocking=self._until == float("-inf")):
            try:
                if self._clock() >= self._until:
                    self._value = self._asked()
                    self._until = self._clock() + SECONDS
            finally:
                self._lock.release()
        return self._value

    def _asked(self) -> int | None:
        try:
            return self._ask()
        except TalwegError:
            return None
