"""Publishes again what was lost, pass after pass. `python -m talweg.execution.reconciler`

One may run, or several: a repeated message is harmless.
"""

import signal
import sys
import time
from collections.abc import Callable

import structlog

from talweg import logs, queue
from talweg.errors import TalwegError, Unreachable
from talweg.execution.reconciliation import reconcile
from talweg.settings import Settings
from talweg.settings import settings as process_settings
from talweg.store import Store, open_store

log = structlog.get_logger(__name__)


def keep_reconciling(store: Store, publish: Callable[[str], None], *, settings: Settings) -> None:
    """Until the process is told to stop; broker and database may come and go."""
    while True:
        try:
            done = reconcile(store, publish, settings=settings)
            if done.published:
                log.info("published again", cohorts=done.published, taken_back=done.taken_back)
        except Unreachable as error:
            log.warning("not reconciled", reason=str(error))
        time.sleep(settings.reconcile_seconds)


def main() -> int:
    """Reconcile until SIGTERM or SIGINT."""
    chosen = process_settings()
    logs.configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError("store: TALWEG_DATABASE_URL is not set, so there is nothing to reconcile")
    # Each pass is a few transactions, so leaving in the middle of one breaks nothing.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    signal.signal(signal.SIGINT, lambda *_: sys.exit(0))
    with open_store(chosen.database_url.get_secret_value()) as store:
        keep_reconciling(store, queue.publish, settings=chosen)
    return 0


if __name__ == "__main__":
    sys.exit(main())
