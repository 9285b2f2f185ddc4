"""Growing delays of what could not be mirrored, so that one run that fails holds up no other."""

from collections.abc import Callable
from dataclasses import dataclass

import structlog

from talweg.errors import TalwegError

# Seconds.
FIRST_DELAY, LAST_DELAY = 5.0, 600.0

log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class _Delay:
    until: float
    seconds: float


class Delays:
    """When runs and studies may be tried again, by their ids."""

    def __init__(self, clock: Callable[[], float]) -> None:
        """`clock` gives seconds."""
        self._clock = clock
        self._delayed: dict[str, _Delay] = {}

    def holds(self, what: str) -> bool:
        """Whether it must still wait."""
        delay = self._delayed.get(what)
        return delay is not None and self._clock() < delay.until

    def add(self, what: str, error: TalwegError, longest: float = LAST_DELAY) -> None:
        """Delay it after an error, twice as long as the last time."""
        before = self._delayed.get(what)
        seconds = min(2 * before.seconds, longest) if before else FIRST_DELAY
        self._delayed[what] = _Delay(self._clock() + seconds, seconds)
        log.warning("not mirrored", what=what, retry_seconds=seconds, error=str(error))

    def end(self, what: str) -> None:
        """It was mirrored."""
        self._delayed.pop(what, None)
