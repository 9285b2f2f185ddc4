"""The writer: makes segments durable from a thread of its own, while the cohort goes on training.

Where a writer process does the encoding, the thread only waits for it; else it encodes and writes itself. The queue is
bounded: a database that cannot keep up slows the training down instead of filling the memory. A database that is away
is asked again, with growing pauses and jitter, and not for ever.
"""

import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import TypeVar

import stamina
import structlog

from talweg.errors import Unreachable
from talweg.execution.segment import Segment
from talweg.execution.segment_store import SegmentStore
from talweg.store import Asked, Progress, Store

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds: a restart is over soon; a hundred workers that lost one database must not come back all at once.
_FIRST, _LONGEST, _JITTER = 0.1, 5.0, 1.0
# What was handed over and is not written yet. A commit may take longer than the training of a few small segments.
_WAITING_BYTES = 32_000_000


@dataclass(frozen=True)
class DatabaseRetry:
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


def log_ended(cohort_id: str, ended: Mapping[str, Progress]) -> None:
    """Runs that a commit ended: once it is made, and not before."""
    for run_id, progress in ended.items():
        _log_end(
            run_id, cohort_id, progress.state, progress.stop_reason, progress.step, progress.trained_seconds or 0.0
        )


def log_failed(store: Store, cohort_id: str) -> None:
    """Runs that ended with their cohort's quarantine."""
    for run in store.runs_in(cohort_id):
        if run.state == "failed":
            _log_end(run.id, cohort_id, run.state, run.stop_reason, run.step, run.trained_seconds)


def _log_end(run_id: str, cohort_id: str, state: str, reason: str | None, steps: int, seconds: float) -> None:
    ended = {"state": state, "reason": reason, "steps": steps, "seconds": round(seconds, 6)}
    log.info("run ended", run=run_id, cohort=cohort_id, **ended)


class Writer:
    """Takes segments in order; leaving its context waits until the last commit is made."""

    def __init__(self, segments: SegmentStore, patience: DatabaseRetry) -> None:
        """The thread starts when the context is entered."""
        self._segments, self._patience = segments, patience
        self._queue: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._waiting, self._taken = 0, threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer-{patience.cohort_id}", daemon=True)
        # As of the last commit; replaced, never changed.
        self.asked = Asked(frozenset(), pause=False)

    def put(self, segment: Segment) -> None:
        """Hand a segment over; waits while too much is waiting. Raises what went wrong with an earlier one."""
        size = segment.nbytes
        with self._taken:
            self._taken.wait_for(lambda: not self._waiting or self._waiting + size <= _WAITING_BYTES)
            self._waiting += size
        self._queue.put(segment)
        if self._failure is not None:
            raise self._failure

    def __enter__(self) -> "Writer":
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Wait for what was handed over; raises what went wrong with it, unless something else did before."""
        self._queue.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (segment := self._queue.get()) is not None:
            # What follows a failure is dropped, so that whoever puts never waits for ever.
            if self._failure is None:
                try:
                    self._write(segment)
                except BaseException as failure:  # noqa: BLE001
                    # Raised again where the training thread meets the writer.
                    self._failure = failure
            with self._taken:
                self._waiting -= segment.nbytes
                self._taken.notify()

    def _write(self, segment: Segment) -> None:
        self._segments.take(segment)
        if segment.commit:
            log_ended(self._patience.cohort_id, self._patience(lambda again: self._segments.commit(again=again)))
            self.asked = self._patience(lambda _: self._segments.asked())
