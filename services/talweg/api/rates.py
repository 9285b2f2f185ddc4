"""How often a token may ask: a bucket each, which fills at the token's rate and holds two seconds' worth.

Each API process has its own: with N of them a token gets N times its rate. It holds off a loop that ran wild, and is
no account of who used what.
"""

import time
from collections.abc import Callable
from typing import Final

BURST_SECONDS: Final = 2.0
# Tokens remembered at once; one that is forgotten begins with a full bucket.
MAXIMUM: Final = 10_000


class Rates:
    """Buckets by key. For one event loop: nothing here waits, so nothing interrupts it."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """`clock` in seconds."""
        self._clock = clock
        self._buckets: dict[str, tuple[float, float]] = {}

    def wait(self, key: str, rate: float) -> float:
        """Take one request out of the bucket of `key`: 0, or the seconds until there is one, and then none is taken."""
        now = self._clock()
        full = max(1.0, rate * BURST_SECONDS)
        level, since = self._buckets.pop(key, (full, now))
        level = min(full, level + (now - since) * rate)
        taken = level >= 1.0
        # Put back as the newest: the oldest goes first.
        self._buckets[key] = (level - taken, now)
        if len(self._buckets) > MAXIMUM:
            del self._buckets[next(iter(self._buckets))]
        return 0.0 if taken else (1.0 - level) / rate
