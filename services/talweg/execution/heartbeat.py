"""Keeps a claim's lease alive while its cohort trains, and samples what that takes, from a thread of its own."""

import threading
from types import TracebackType

import structlog

from talweg.errors import LeaseLost
from talweg.execution.sampling import Sampler
from talweg.store import Claim, Sample, Store

log = structlog.get_logger(__name__)


class Heartbeat:
    """Extends the lease every `seconds`, between entering and leaving the context.

    Attributes:
        lost: The claim is another worker's by now; this one must write nothing more.
    """

    def __init__(
        self, store: Store, claim: Claim, *, seconds: float, lease_seconds: float, beside: int | None = None
    ) -> None:
        """Nothing beats before the context is entered. `beside`: a process that works for this one."""
        self.lost = False
        self._store, self._claim = store, claim
        self._seconds, self._lease_seconds = seconds, lease_seconds
        self._sampler = Sampler(beside)
        self._left = threading.Event()
        self._thread = threading.Thread(target=self._beat, name=f"heartbeat-{claim.cohort_id}", daemon=True)

    def __enter__(self) -> "Heartbeat":
        """Start to beat."""
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop, and wait for a beat under way."""
        self._left.set()
        self._thread.join()
        if kind is None and not self.lost:
            # A training that is over before the first beat has one too.
            self._keep(self._sampler.sample())

    def _beat(self) -> None:
        while not self._left.wait(self._seconds):
            try:
                self._store.heartbeat(self._claim, self._lease_seconds)
            except LeaseLost:
                self.lost = True
                return
            except Exception as error:  # noqa: BLE001
                # A database that is away for a moment ends no training: the fence guards every write, and the
                # lease outlasts three beats.
                log.warning("heartbeat failed", cohort=self._claim.cohort_id, error=repr(error))
            else:
                self._keep(self._sampler.beat())

    def _keep(self, sample: Sample | None) -> None:
        try:
            if sample is not None:
                self._store.add_sample(self._claim, sample)
        except Exception as error:  # noqa: BLE001
            # Nobody's training waits for it, or ends with it.
            log.warning("sample not kept", cohort=self._claim.cohort_id, error=repr(error))
