"""The writer: a thread that makes segments durable while the cohort trains.

Where there is a writer process, it encodes and the thread waits for it; otherwise the thread encodes and writes itself.
The queue is bounded: a slow database slows the training down instead of filling the memory. Calls to an unreachable
database are retried, with growing pauses and jitter, for a limited time.
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
from talweg.store import Progress, Requests, Store

log = structlog.get_logger(__name__)

T = TypeVar("T")

# Seconds: a restart is short; the jitter keeps a hundred workers of one database from returning all at once.
_FIRST, _LONGEST, _JITTER = 0.1, 5.0, 1.0
# Bytes in the queue. A commit may take longer than the training of a few small segments.
_WAITING_BYTES = 32_000_000


@dataclass(frozen=True)
class DatabaseRetry:
    """Retries a cohort's calls to an unreachable database.

    Attributes:
        seconds: The error is raised after this time; 0 retries nothing.
        cohort_id: Logged with each retry.
        leave: Once true, nothing is retried, so that the worker stops without delay.
    """

    seconds: float
    cohort_id: str
    leave: Callable[[], bool] = lambda: False

    def __call__(self, call: Callable[[bool], T]) -> T:
        """The result of `call`, whose argument says whether it is a retry; it must be safe to call twice.

        Raises:
            Unreachable: The database has not answered in time.
        """
        if not self.seconds:
            return call(False)
        for attempt in stamina.retry_context(
            on=self._retries,
            attempts=None,
            timeout=self.seconds,
            wait_initial=_FIRST,
            wait_max=_LONGEST,
            wait_jitter=_JITTER,
        ):
            with attempt:
                return call(attempt.num > 1)
        raise AssertionError("stamina ends with an answer or an exception")

    def _retries(self, error: Exception) -> bool:
        if not isinstance(error, Unreachable) or self.leave():
            return False
        log.warning("database call retried", cohort=self.cohort_id, reason=str(error))
        return True


def log_ended(cohort_id: str, ended: Mapping[str, Progress]) -> None:
    """Log the runs that a commit ended; call it after the commit."""
    for run_id, progress in ended.items():
        _log_end(
            run_id, cohort_id, progress.state, progress.stop_reason, progress.step, progress.trained_seconds or 0.0
        )


def log_failed(store: Store, cohort_id: str) -> None:
    """Log the runs that failed with their quarantined cohort."""
    for run in store.runs_in(cohort_id):
        if run.state == "failed":
            _log_end(run.id, cohort_id, run.state, run.stop_reason, run.step, run.trained_seconds)


def _log_end(run_id: str, cohort_id: str, state: str, reason: str | None, steps: int, seconds: float) -> None:
    ended = {"state": state, "reason": reason, "steps": steps, "seconds": round(seconds, 6)}
    log.info("run ended", run=run_id, cohort=cohort_id, **ended)


class Writer:
    """Writes segments in order; leaving its context waits for the last commit."""

    def __init__(self, segments: SegmentStore, retry: DatabaseRetry) -> None:
        """Prepare; the thread starts when the context is entered."""
        self._segments, self._retry = segments, retry
        self._queue: queue.SimpleQueue[Segment | None] = queue.SimpleQueue()
        self._waiting, self._taken = 0, threading.Condition()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"writer-{retry.cohort_id}", daemon=True)
        # Read after each commit; replaced, never changed.
        self.requests = Requests(frozenset(), pause=False)

    def put(self, segment: Segment) -> None:
        """Add a segment to the queue, waiting while it is full. Raises the error of an earlier segment."""
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
        """Wait until the queue is written; raises the writer's error, unless the context ends with another."""
        self._queue.put(None)
        self._thread.join()
        if error is None and self._failure is not None:
            raise self._failure

    def _run(self) -> None:
        while (segment := self._queue.get()) is not None:
            # Segments after a failure are dropped, so that `put` never waits for ever.
            if self._failure is None:
                try:
                    self._write(segment)
                except BaseException as failure:  # noqa: BLE001
                    # Raised again in the training thread, by `put` or `__exit__`.
                    self._failure = failure
            with self._taken:
                self._waiting -= segment.nbytes
                self._taken.notify()

    def _write(self, segment: Segment) -> None:
        self._segments.take(segment)
        if segment.commit:
            log_ended(self._retry.cohort_id, self._retry(lambda again: self._segments.commit(again=again)))
            self.requests = self._retry(lambda _: self._segments.requests())
