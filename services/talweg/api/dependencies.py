"""Dependencies of the routes: the laboratory with its broker state and metrics, and shared parameters."""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Annotated, Any, Final, Generic, Literal, TypeVar

from fastapi import Depends, Header, Path, Query, Request
from pydantic import BaseModel

from talweg import queue
from talweg.api.tokens import limits_of
from talweg.errors import TalwegError
from talweg.settings import Settings
from talweg.store import RUN_STATES, Meter, Store, TokenRow
from talweg.validation import IDEMPOTENCY_KEY

# Health checks and dashboards ask often, and a broker that is down takes seconds to fail.
BROKER_SECONDS: Final = 2.0
MEDIA_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"
# Counting all runs is slow.
METRICS_SECONDS: Final = 1.0

T = TypeVar("T")
Labels = Mapping[str, object]
Sample = tuple[Labels, float]
MAXIMUM_PAGE: Final = 500
PROBLEM_JSON: Final[dict[int | str, dict[str, Any]]] = {
    status: {"description": description, "content": {"application/problem+json": {}}}
    for status, description in {
        401: "No token, or one that is not known.",
        403: "The token's scope is too small.",
        400: "The request is malformed.",
        404: "No such name, id or step.",
        409: "The name or the idempotency key is in use for something else.",
        405: "The route has no such method.",
        408: "The body did not arrive in time.",
        413: "The body is too large.",
        415: "The body does not have the content type that the route takes.",
        421: "The host is not this laboratory's.",
        422: "A value breaks a rule; the detail names the rule and the value received.",
        429: "The token's quota or rate is used up.",
        503: "The database does not answer.",
        507: "The disk is full, or would be.",
    }.items()
}

Reference = Annotated[str, Path(min_length=1, max_length=200, description="An id or a name.")]
Limit = Annotated[int, Query(ge=1, le=MAXIMUM_PAGE)]
Cursor = Annotated[str | None, Query(max_length=500, description="The `next` of the page before.")]
State = Literal["queued", "running", "finished", "failed", "cancelled"]
# The range of PostgreSQL's integers.
Step = Annotated[int, Query(ge=0, lt=2**31)]
IdempotencyKey = Annotated[
    str | None,
    Header(min_length=1, max_length=200, pattern=IDEMPOTENCY_KEY, description="Makes a repeated POST harmless."),
]


class Broker:
    """What the broker last answered, kept for BROKER_SECONDS."""

    def __init__(
        self,
        ask: Callable[[], int] = queue.depth,
        clock: Callable[[], float] = time.monotonic,
        listeners: Callable[[], int | None] = queue.listeners,
    ) -> None:
        """`ask` counts waiting messages, `listeners` idle workers; both raise TalwegError if there is no answer."""
        self._depth = _Kept(partial(_or_none, ask), BROKER_SECONDS, clock)
        self._listeners = _Kept(partial(_or_none, listeners), BROKER_SECONDS, clock)

    def depth(self) -> int | None:
        """Messages that wait for a worker; None if the broker does not answer."""
        return self._depth.value()

    def answers(self) -> bool:
        """Whether the broker answered the last question."""
        return self.depth() is not None

    def listeners(self) -> int | None:
        """Workers that wait for a message; None if the broker does not answer, or cannot count them."""
        return self._listeners.value()


def _or_none(ask: Callable[[], int | None]) -> int | None:
    try:
        return ask()
    except TalwegError:
        return None


class Metrics:
    """The metrics page of one store, kept for METRICS_SECONDS."""

    def __init__(self, store: Store, depth: Callable[[], int | None], clock: Callable[[], float] = time.monotonic):
        """`depth`: messages that wait in the broker, None if it does not answer."""
        self._page = _Kept(lambda: metrics_page(store.meter(), depth()), METRICS_SECONDS, clock)

    def text(self) -> str:
        """The whole page."""
        return self._page.value()


class _Kept(Generic[T]):
    """A value that is computed at most once in so many seconds."""

    def __init__(self, compute: Callable[[], T], seconds: float, clock: Callable[[], float]) -> None:
        self._compute, self._seconds, self._clock = compute, seconds, clock
        self._lock = threading.Lock()
        self._value: T
        self._until = float("-inf")

    def value(self) -> T:
        # While one thread computes, the others get the previous value; at first there is none, and they wait.
        if self._clock() >= self._until and self._lock.acquire(blocking=self._until == float("-inf")):
            try:
                if self._clock() >= self._until:
                    self._value = self._compute()
                    self._until = self._clock() + self._seconds
            finally:
                self._lock.release()
        return self._value


def metrics_page(meter: Meter, depth: int | None) -> str:
    """The numbers in Prometheus's text format. Steps a second are `rate(talweg_steps_total[1m])`."""
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
            "Leases that expired while a worker held them.",
            [({}, float(meter.counters.get("leases_lost", 0)))],
        ),
        *_metric("talweg_mirror_runs", "gauge", "Runs not completely in MLflow.", [({}, float(meter.unmirrored))]),
        *_metric("talweg_mirror_steps", "gauge", "Steps not in MLflow.", [({}, float(meter.unmirrored_steps))]),
        *_metric(
            "talweg_mirror_lag_seconds",
            "gauge",
            "Seconds since the run that waits longest was mirrored.",
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
    # The labels are constants of this module: none needs escaping.
    inside = ",".join(f'{key}="{text}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {value:g}" if inside else f"{name} {value:.17g}"


@dataclass(frozen=True)
class Laboratory:
    """The store, the settings, the function that publishes a cohort's id, the broker's state and the metrics."""

    store: Store
    settings: Settings
    publish: Callable[[str], None]
    broker: Broker
    metrics: Metrics


def _laboratory(request: Request) -> Laboratory:
    """The laboratory of one request; its store counts submissions against the token's limits, if it has any."""
    laboratory: Laboratory = request.app.state.laboratory
    holder: TokenRow | None = getattr(request.state, "holder", None)
    limits = None if holder is None else limits_of(holder, laboratory.settings)
    if holder is None or limits is None:
        return laboratory
    return replace(laboratory, store=laboratory.store.on_behalf(holder.digest, limits))


Here = Annotated[Laboratory, Depends(_laboratory)]


def body_of(kind: type[BaseModel]) -> dict[str, Any]:
    """The OpenAPI entry for a JSON body that is a `kind`; the route itself parses it."""
    schema = {"$ref": f"#/components/schemas/{kind.__name__}"}
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
