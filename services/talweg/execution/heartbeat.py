"""Keep a claim's lease alive while its cohort trains, and sample what that takes, from a thread of its own."""

import threading
import time
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import structlog

from talweg.errors import LeaseLost
from talweg.store import Claim, Sample, Store

# Samples after which they are taken half as often.
OFTEN = 240
log = structlog.get_logger(__name__)


class Sampler:
    """Samples of one claim: at first at each beat, then ever more rarely, so that a week has some thousand."""

    def __init__(self, beside: int | None = None) -> None:
        """Counts from here on; `beside` is a process that works for this one."""
        self._processes = [psutil.Process()]
        if beside is not None:
            with suppress(psutil.NoSuchProcess):
                self._processes.append(psutil.Process(beside))
        self._beats = self._taken = 0
        self._every = 1
        self._at, self._used = time.monotonic(), self._seconds()

    def beat(self) -> Sample | None:
        """A sample, where this beat has one."""
        self._beats += 1
        return self.sample() if self._beats % self._every == 0 else None

    def sample(self) -> Sample:
        """Processor time since the last sample, memory now."""
        at, used = time.monotonic(), self._seconds()
        share = 100 * max(used - self._used, 0.0) / max(at - self._at, 1e-3)
        self._at, self._used = at, used
        number, self._taken = self._taken, self._taken + 1
        if self._taken % OFTEN == 0:
            self._every *= 2
        return Sample(number, share, int(self._sum(lambda process: process.memory_info().rss)))

    def _seconds(self) -> float:
        return self._sum(lambda process: sum(process.cpu_times()[:2]))

    def _sum(self, of: Callable[[psutil.Process], float]) -> float:
        total = 0.0
        for process in self._processes:
            # One that was killed takes nothing, and ends no training here.
            with suppress(psutil.NoSuchProcess):
                total += of(process)
        return total


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
