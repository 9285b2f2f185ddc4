"""The Celery task that trains: it takes an id, and may safely run twice; and how a worker acknowledges its message."""

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

_leaving = False


class HonestRequest(Request):
    """Celery's own leaves the acknowledgement to the event loop, and only logs one that failed.

    In a process that trains by itself the loop goes on when the training is over. Where the broker was away by then,
    the message counted as one in hand for as long as the connection lived, and a worker that has one in hand takes no
    other: it waited for ever, healthy to look at. Raised, the error makes the consumer connect anew, with nothing in
    hand; the cohort comes back through the reconciler.
    """

    def acknowledge(self) -> None:
        """Tell the broker that the message was taken up; raises what went wrong with it."""
        if not self.acknowledged:
            self.message.ack()
            self.acknowledged = True


@app.task(name=TRAIN)
def train_cohort(cohort_id: str) -> None:
    """Train a cohort to its end, or until this worker is stopped; then it is published again at once."""
    if not isinstance(cohort_id, str):
        # A forged message: whatever it holds, it is no id of ours.
        log.warning("no cohort id", received=type(cohort_id).__name__)
        return
    try:
        outcome = train(
            process_store(),
            cohort_id,
            owner=owner(),
            settings=settings(),
            leave=lambda: _leaving,
            writer_process=process_writer(),
        )
    except (Unreachable, NotWritable) as error:
        # Its lease, where it had one, runs out; the reconciler sees to it when the database is back.
        log.error("cohort left unsaid", cohort=cohort_id, reason=str(error))
        return
    except TalwegError as error:
        # Of another schema, by now: the cohort waits for a worker that knows it.
        log.error("cohort not taken", cohort=cohort_id, reason=str(error))
        return
    log.info("cohort left", cohort=cohort_id, outcome=outcome)
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
        raise TalwegError("store: TALWEG_DATABASE_URL is not set, so there is nothing to train from")
    return url.get_secret_value()


def owner() -> str:
    """Who claims: host and process, for people who look into the table."""
    return f"{socket.gethostname()}:{os.getpid()}"


@worker_shutting_down.connect(weak=False)
def _leave(**_: Any) -> None:
    """Called in the signal handler: the training sees it between two steps."""
    global _leaving
    _leaving = True
