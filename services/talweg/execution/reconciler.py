"""Publishes again what was lost, pass after pass. `python -m talweg.execution.reconciler`

One may run, or several: one at a time leads, and the others look on until it has been silent for long. Two that both
believe to lead, since one was stopped in the middle of a pass, do no harm: a repeated message changes nothing.
"""

import contextlib
import os
import signal
import socket
import sys
import time
from collections.abc import Callable

import structlog

from talweg import logs, queue
from talweg.errors import TalwegError, Unreachable
from talweg.execution.endings import tell_failed
from talweg.execution.reconciliation import reconcile
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.store import Store, open_store

log = structlog.get_logger(__name__)

ROLE = "reconciler"
# A leader that was silent for so many passes is one no more.
_PASSES = 4


def keep_reconciling(store: Store, publish: Callable[[str], None], *, settings: Settings, owner: str) -> None:
    """Until the process is told to stop; broker and database may come and go."""
    led = None
    while True:
        try:
            leads = store.lead(ROLE, owner, _PASSES * settings.reconcile_seconds)
            if leads != led:
                log.info("leading" if leads else "looking on", owner=owner)
            led = leads
            if leads:
                _pass(store, publish, settings)
        except Unreachable as error:
            log.warning("not reconciled", reason=str(error))
        time.sleep(settings.reconcile_seconds)


def _pass(store: Store, publish: Callable[[str], None], settings: Settings) -> None:
    done = reconcile(store, publish, settings=settings)
    for cohort_id in done.taken_back:
        log.warning("cohort taken back", cohort=cohort_id)
    for cohort_id in done.given_up:
        tell_failed(store, cohort_id)
    for cohort_id in done.published:
        log.info("cohort published again", cohort=cohort_id)


def main() -> int:
    """Reconcile until SIGTERM or SIGINT."""
    chosen = process_settings()
    logs.configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError("store: TALWEG_DATABASE_URL is not set, so there is nothing to reconcile")
    # Each pass is a few transactions, so leaving in the middle of one breaks nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    owner = f"{socket.gethostname()}:{os.getpid()}"
    with open_store(chosen.database_url.get_secret_value()) as store:
        try:
            keep_reconciling(store, queue.publish, settings=chosen, owner=owner)
        finally:
            # Another need not wait for the end of this one's lease.
            with contextlib.suppress(TalwegError):
                store.step_down(ROLE, owner)
    return 0


if __name__ == "__main__":
    sys.exit(main())
