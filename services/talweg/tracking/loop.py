"""Keeps draining: at once while there is work, now and then when there is none, ever more rarely in trouble."""

import threading
from collections.abc import Callable

import structlog

from talweg.errors import NotWritable, Unreachable

log = structlog.get_logger(__name__)

FIRST_DELAY, LAST_DELAY = 1.0, 60.0


def keep_mirroring(drain: Callable[[], bool], stop: threading.Event, *, seconds: float) -> None:
    """Call `drain` until `stop` is set; it returns whether there is more to do, or raises Unreachable.

    An MLflow server (or a database) that is away for days costs one attempt a minute. Nothing is lost meanwhile:
    what is not mirrored stays in the store's outbox.
    """
    delay = 0.0
    while not stop.wait(delay):
        try:
            behind = drain()
        except (Unreachable, NotWritable) as error:
            delay = min(2 * delay, LAST_DELAY) if delay >= FIRST_DELAY else FIRST_DELAY
            log.warning("not mirroring", retry_seconds=delay, error=str(error))
        else:
            delay = 0.0 if behind else seconds
