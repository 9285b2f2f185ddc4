"""What this process takes of its machine, sampled beside its training."""

import time

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from talweg.store import Sample

# Samples after which they are taken half as often.
OFTEN = 240


class Sampler:
    """Samples of one claim: at first at each beat, then ever more rarely, so that a week has some thousand."""

    def __init__(self) -> None:
        """Counts from here on."""
        self._process = psutil.Process()
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
        share = 100 * (used - self._used) / max(at - self._at, 1e-3)
        self._at, self._used = at, used
        number, self._taken = self._taken, self._taken + 1
        if self._taken % OFTEN == 0:
            self._every *= 2
        return Sample(number, share, int(self._process.memory_info().rss))

    def _seconds(self) -> float:
        times = self._process.cpu_times()
        return float(times.user + times.system)
