"""The Celery task that trains a cohort, safe to run twice; and how a worker acknowledges its message."""

import os
import socket
from functools import cache
from typing import Any

import structlog
from celery.signals import worker_shutting_down
from celery.worker.request import Request

from talweg.errors import NotWritable, TalwegError, Unreachable
from talweg.execution.submission import extend_studies
from talweg.execution.training import train
from talweg.execution.writer_process import WriterProcess
from talweg.queue import TRAIN, app, publish
from talweg.settings import settings
from talweg.store import Store, open_store

log = structlog.get_logger(__name__)

_stop_requested = False


class AcknowledgingRequest(Request):
    """A request that acknowledges its message at once, and raises where that fails.

    Celery's own request leaves the acknowledgement to the event loop, and only logs one that failed. With the solo pool
    the loop continues after the training. If the broker was unreachable then, the message stayed unacknowledged for as
    long as the connection lived, and a worker with an unacknowledged message takes no other: it waited for ever,
    without an error. The raised error makes the consumer connect again; the reconciler publishes the cohort again.
    """

    def acknowledge(self) -> None:
        """Acknowledge the message to the broker; raises the error of a failed acknowledgement."""
        if not self.acknowledged:
            self.message.ack()
            self.acknowledged = True


@app.task(name=TRAIN)
def train_cohort(cohort_id: str) -> None:
    """Train a cohort to its end, or until this worker is stopped; then publish it again at once."""
    if not isinstance(cohort_id, str):
        # A forged message: our messages hold an id.
        log.warning("message without a cohort id", received=type(cohort_id).__name__)
        return
    try:
        outcome = train(
            process_store(),
            cohort_id,
            owner=owner(),
            settings=settings(),
            leave=lambda: _stop_requested,
            writer_process=process_writer(),
        )
    except (Unreachable, NotWritable) as error:
        # A lease, if it was claimed, runs out; the reconciler queues it again when the database is back.
        log.error("cohort abandoned", cohort=cohort_id, reason=str(error))
        return
    except TalwegError as error:
        # The schema has changed: the cohort waits for a worker of that version.
        log.error("cohort refused", cohort=cohort_id, reason=str(error))
        return
    log.info("training ended", cohort=cohort_id, outcome=outcome)
    if outcome in ("finished", "quarantined"):
        extend_studies(process_store(), publish, settings=settings())
    if outcome == "released":
        try:
            publish(cohort_id)
        except Unreachable as error:
            log.warning("not published; the reconciler will", cohort=cohort_id, reason=str(error))


@cache
def process_store() -> Store:
    """The store of this process."""
    return open_store(_database_url())


@cache
def process_writer() -> WriterProcess:
    """The writer process of this process."""
    return WriterProcess(_database_url())


def _database_url() -> str:
    url = settings().database_url
    if url is None:
        raise TalwegError(
            "store: TALWEG_DATABASE_URL is not set: no database to train from; set it, or database_url in talweg.toml"
        )
    return url.get_secret_value()


def owner() -> str:
    """The owner of this process's claims: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


@worker_shutting_down.connect(weak=False)
def _request_stop(**_: Any) -> None:
    """Called in the signal handler; the training checks the flag between two steps."""
    global _stop_requested
    _stop_requested = True
