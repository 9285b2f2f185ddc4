"""What this process, and one that works for it, take of their machine, sampled beside the training."""

import time
from collections.abc import Callable
from contextlib import suppress

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from talweg.store import Sample

# Samples after which they are taken half as often.
OFTEN = 240


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
