"""The reconciler: publishes lost cohorts again, at regular passes. `python -m talweg.execution.reconciler`

Several may run: one at a time leads, and the others wait until its lease ends. Where two lead, since one was suspended
in the middle of a pass, no harm is done: a repeated message changes nothing.
"""

import contextlib
import math
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator

from talweg import startup

if __name__ == "__main__":
    startup.begin()

from dataclasses import dataclass

import structlog

from talweg import logs, queue
from talweg.errors import DiskFull, NotWritable, TalwegError, Unreachable
from talweg.execution.writer import log_failed
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.store import Store, open_store

log = structlog.get_logger(__name__)

ROLE = "reconciler"
# The lease of the leader, in passes.
_LEASE_PASSES = 4


@dataclass(frozen=True)
class Reconciled:
    """The cohorts of one pass: queued again after their leases ran out, published, quarantined after all attempts."""

    taken_back: tuple[str, ...]
    published: tuple[str, ...]
    given_up: tuple[str, ...] = ()


def reconcile(store: Store, publish: Callable[[str], None], *, settings: Settings, counted: bool = True) -> Reconciled:
    """Queue and publish cohorts whose lease ran out; publish cohorts again that no worker claimed.

    A waiting cohort is published again after a delay that doubles each time, so that a long queue is not flooded.
    Studies whose next stage is due are extended. Attempts are not `counted` where leases ran out because the disk was
    full.

    Raises Unreachable where the broker takes no message; cohorts published before that are recorded as such.
    """
    given_up: list[str] = []
    taken_back = store.requeue_expired(settings.max_attempts, given_up=given_up, counted=counted)
    if store.studies_to_extend():
        # Imports the engine, which most passes do not need: usually a worker extends a study.
        from talweg.execution.submission import extend_studies

        extend_studies(store, publish, settings=settings)
    waiting = store.unpublished(settings.reconcile_seconds)
    published: list[str] = []
    try:
        for cohort_id in dict.fromkeys([*taken_back, *waiting]):
            publish(cohort_id)
            published.append(cohort_id)
    finally:
        store.mark_published(published)
    return Reconciled(tuple(taken_back), tuple(published), tuple(given_up))


def keep_reconciling(store: Store, publish: Callable[[str], None], *, settings: Settings, owner: str) -> None:
    """Reconcile until the process is stopped; an unreachable broker or database is logged and tried again."""
    led, disk = None, AfterFullDisk(settings)
    while True:
        try:
            with disk.watch():
                leads = store.lead(ROLE, owner, _LEASE_PASSES * settings.reconcile_seconds)
            if leads != led:
                log.info("leading" if leads else "standing by", owner=owner)
            led = leads
            if leads:
                _pass(store, publish, settings, counted=disk.counts(store))
        except (Unreachable, NotWritable) as error:
            log.warning("not reconciled", reason=str(error))
        time.sleep(settings.reconcile_seconds)


class AfterFullDisk:
    """Spares workers that could not extend their leases while the disk was full.

    When there is room again, leases that ran out are extended once, and for the time of two leases no attempt counts.
    """

    def __init__(self, settings: Settings, clock: Callable[[], float] = time.monotonic) -> None:
        """Start without a full disk."""
        # A worker that is alive extends its lease itself at its next heartbeat.
        self._extension, self._lease_seconds = 3 * settings.heartbeat_seconds, settings.lease_seconds
        self._clock, self._full, self._until = clock, False, -math.inf

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        """Record whether a write inside the context raises DiskFull."""
        try:
            yield
        except DiskFull:
            self._full = True
            raise

    def counts(self, store: Store) -> bool:
        """Whether an attempt whose lease ran out counts; extends leases at the first call with room again."""
        if self._full:
            store.renew_expired(self._extension)
            self._full, self._until = False, self._clock() + 2 * self._lease_seconds
        return self._clock() >= self._until


def _pass(store: Store, publish: Callable[[str], None], settings: Settings, *, counted: bool) -> None:
    done = reconcile(store, publish, settings=settings, counted=counted)
    for cohort_id in done.taken_back:
        log.warning("cohort queued again", cohort=cohort_id)
    for cohort_id in done.given_up:
        log_failed(store, cohort_id)
    for cohort_id in done.published:
        log.info("cohort published again", cohort=cohort_id)


def main() -> int:
    """Reconcile until SIGTERM or SIGINT."""
    chosen = process_settings()
    logs.configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError(
            "store: TALWEG_DATABASE_URL is not set: no database to reconcile; set it, or database_url in talweg.toml"
        )
    # Each pass is a few transactions, so it may be interrupted anywhere.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    owner = f"{socket.gethostname()}:{os.getpid()}"
    with open_store(chosen.database_url.get_secret_value()) as store:
        startup.loaded()
        try:
            keep_reconciling(store, queue.publish, settings=chosen, owner=owner)
        finally:
            # So that another does not wait for the end of this one's lease.
            with contextlib.suppress(TalwegError):
                store.step_down(ROLE, owner)
    return 0


if __name__ == "__main__":
    sys.exit(main())
