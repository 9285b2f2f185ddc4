"""Asking the database again while it is away: with growing pauses and jitter, and not for ever."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import stamina
import structlog

from talweg.errors import Unreachable

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds: a restart is over soon; a hundred workers that lost one database must not come back all at once.
_FIRST, _LONGEST, _JITTER = 0.1, 5.0, 1.0


@dataclass(frozen=True)
class Patience:
    """How long one cohort's worker waits for its database.

    Attributes:
        seconds: After so many, what went wrong is raised.
        cohort_id: Stands in each line of the log.
        leave: Once true, nothing is asked again: an orderly leave takes no longer than it must.
    """

    seconds: float
    cohort_id: str
    leave: Callable[[], bool] = lambda: False

    def __call__(self, call: Callable[[bool], T]) -> T:
        """What `call` returns; it is told whether it was called before, and must be safe to call twice.

        Raises:
            Unreachable: The database has not answered in time.
        """
        if not self.seconds:
            return call(False)
        for attempt in stamina.retry_context(
            on=self._again,
            attempts=None,
            timeout=self.seconds,
            wait_initial=_FIRST,
            wait_max=_LONGEST,
            wait_jitter=_JITTER,
        ):
            with attempt:
                return call(attempt.num > 1)
        raise AssertionError("stamina ends with an answer or an exception")

    def _again(self, error: Exception) -> bool:
        if not isinstance(error, Unreachable) or self.leave():
            return False
        log.warning("database asked again", cohort=self.cohort_id, reason=str(error))
        return True
