"""The mirror to MLflow: send the store's content there, with retries. `python -m talweg.tracking` runs it.

Importing this package does not import MLflow, which takes seconds; `connect` does.
"""

import os
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

import structlog

from talweg.errors import NotWritable, Unreachable

if TYPE_CHECKING:
    from talweg.tracking.destination import Destination

log = structlog.get_logger(__name__)

# Seconds between attempts; the longest also for MLflow's own database, which answers or refuses at once.
FIRST_WAIT, LAST_WAIT, LAST_WAIT_FOR_ROWS = 1.0, 60.0, 5.0

# MLflow's own retries would block the mirror for four minutes a call, and repeat a creation whose answer was only late.
# The mirror retries by itself, after reading what has arrived.
_CLIENT = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "30",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "DO_NOT_TRACK": "true",
    "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
}


def connect(url: str) -> "Destination":
    """The MLflow server at `url`; it need not be up yet. Turns off the retries of this process's MLflow client.

    Credentials come from MLflow's own variables: MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN.
    """
    os.environ.update(_CLIENT)
    from talweg.tracking.destination import Destination

    return Destination(url)


def keep_mirroring(
    drain: Callable[[], bool], stop: threading.Event, *, seconds: float, longest: float = LAST_WAIT
) -> None:
    """Call `drain` until `stop` is set; it returns whether there is more to do, or raises Unreachable.

    While MLflow or the database does not answer, there is one attempt every `longest` seconds. Nothing is lost: what is
    not mirrored stays in the store's outbox.
    """
    delay = 0.0
    while not stop.wait(delay):
        try:
            behind = drain()
        except (Unreachable, NotWritable) as error:
            delay = min(2 * delay, longest) if delay >= FIRST_WAIT else FIRST_WAIT
            log.warning("not mirroring", retry_seconds=delay, error=str(error))
        else:
            delay = 0.0 if behind else seconds
