"""The broker's and the laboratory's state, read once in a while; as Prometheus reads it (text format 0.0.4)."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Final

from talweg import queue
from talweg.errors import TalwegError
from talweg.store import RUN_STATES, Meter, Store

# Health checks and dashboards ask all the time, and a broker that is away takes seconds to say so.
SECONDS: Final = 2.0
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Whoever asks more often gets the same numbers: counting all runs is not free.
METRICS_SECONDS: Final = 1.0

Labels = Mapping[str, object]
Sample = tuple[Labels, float]


class Broker:
    """The broker's queue, as of a moment ago."""

    def __init__(
        self,
        ask: Callable[[], int] = queue.depth,
        clock: Callable[[], float] = time.monotonic,
        listeners: Callable[[], int | None] = queue.listeners,
    ) -> None:
        """`ask`: how many messages wait, `listeners`: how many workers do; both raise TalwegError at no answer."""
        self._depth, self._listeners = _Kept(ask, clock), _Kept(listeners, clock)

    def depth(self) -> int | None:
        """Messages that wait for a worker; None where the broker does not answer, which is no reason to fail."""
        return self._depth.value()

    def answers(self) -> bool:
        """Whether it answered when it was last asked."""
        return self.depth() is not None

    def listeners(self) -> int | None:
        """Workers that wait for a message; None where the broker does not answer, or does not say."""
        return self._listeners.value()


class _Kept:
    """One number of the broker, kept for a moment."""

    def __init__(self, ask: Callable[[], int | None], clock: Callable[[], float]) -> None:
        self._ask, self._clock = ask, clock
        self._lock = threading.Lock()
        self._value: int | None = None
        self._until = float("-inf")

    def value(self) -> int | None:
        # Whoever comes while another asks gets what was known before.
        if self._clock() >= self._until and self._lock.acquire(blocking=self._until == float("-inf")):
            try:
                if self._clock() >= self._until:
                    self._value = self._asked()
                    self._until = self._clock() + SECONDS
            finally:
                self._lock.release()
        return self._value

    def _asked(self) -> int | None:
        try:
            return self._ask()
        except TalwegError:
            return None


class Metrics:
    """The numbers of one store, kept for a moment."""

    def __init__(self, store: Store, depth: Callable[[], int | None], clock: Callable[[], float] = time.monotonic):
        """`depth`: messages that wait in the broker, None where it does not answer."""
        self._store, self._depth, self._clock = store, depth, clock
        self._text, self._until = "", 0.0

    def text(self) -> str:
        """Everything, as one page."""
        if not self._text or self._clock() >= self._until:
            self._text = metrics_page(self._store.meter(), self._depth())
            self._until = self._clock() + METRICS_SECONDS
        return self._text


def metrics_page(meter: Meter, depth: int | None) -> str:
    """The page of these numbers. Steps a second are `rate(talweg_steps_total[1m])`."""
    counted = dict.fromkeys(map(str, RUN_STATES), 0) | meter.runs
    runs: list[Sample] = [({"state": state}, float(count)) for state, count in counted.items()]
    cohorts: list[Sample] = [({"state": state}, float(count)) for state, count in sorted(meter.cohorts.items())]
    lines = [
        *_metric("talweg_runs", "gauge", "Runs by state.", runs),
        *_metric("talweg_cohorts", "gauge", "Cohorts by state; a leased one has a worker.", cohorts),
        *_metric("talweg_steps_total", "counter", "Steps that all runs have made.", [({}, float(meter.steps))]),
        *_metric(
            "talweg_leases_lost_total",
            "counter",
            "Leases that ran out under a worker.",
            [({}, float(meter.counters.get("leases_lost", 0)))],
        ),
        *_metric("talweg_mirror_runs", "gauge", "Runs that MLflow lacks a part of.", [({}, float(meter.unmirrored))]),
        *_metric("talweg_mirror_steps", "gauge", "Steps that MLflow lacks.", [({}, float(meter.unmirrored_steps))]),
        *_metric(
            "talweg_mirror_lag_seconds",
            "gauge",
            "Since the longest waiting run was mirrored.",
            [({}, meter.mirror_lag)],
        ),
        *_metric("talweg_broker_up", "gauge", "Whether the broker answers.", [({}, float(depth is not None))]),
    ]
    if depth is not None:
        lines += _metric("talweg_queue_depth", "gauge", "Messages that wait for a worker.", [({}, float(depth))])
    return "\n".join([*lines, ""])


def _metric(name: str, kind: str, help_: str, samples: Iterable[Sample]) -> list[str]:
    return [f"# HELP {name} {help_}", f"# TYPE {name} {kind}", *(_line(name, *sample) for sample in samples)]


def _line(name: str, labels: Labels, value: float) -> str:
    # Our own labels only: none needs escaping.
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:.17g}"
