"""Makes segments durable from a thread of its own, while the cohort goes on training.

Where a scribe keeps the ledger, the thread only waits for it; else it encodes and writes itself. The queue is
bounded: a database that cannot keep up slows the training down instead of filling the memory.
"""

import queue
import threading
from types import TracebackType

from talweg.execution.endings import tell_ended
from talweg.execution.ledger import Ledger
from talweg.execution.patience import Patience
from talweg.execution.segment import Segment
from talweg.store import Asked

# What was handed over and is not written yet. A commit may take longer than the training of a few small segments.
_WAITING_BYTES = 32_000_000


class Writer:
    """Takes segments in order; leaving its context waits until the last commit is made."""

    def __init__(self, ledger: Ledger, patience: Patience) -> None:
        """The thread starts when the context is entered."""
        self._ledger, self._patience = ledger, patience
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
        self._ledger.take(segment)
        if segment.commit:
            tell_ended(self._patience.cohort_id, self._patience(lambda again: self._ledger.commit(again=again)))
            self.asked = self._patience(lambda _: self._ledger.asked())
