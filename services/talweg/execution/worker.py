"""The worker: a process that trains one cohort at a time. `python -m talweg.execution.worker`

The pool is Celery's "solo": the task runs in the worker's own process. More workers are more processes, started by the
local stack or by containers. So a worker that is killed for lack of memory interrupts its own cohort alone, a SIGTERM
reaches the training, and nothing forks with BLAS, Numba and a heartbeat thread loaded. A separate writer process writes
the worker's records.
"""

import os
import sys
from typing import Any

from talweg import startup

if __name__ == "__main__":
    startup.begin()

from celery.signals import setup_logging, worker_ready
from stamina.instrumentation import set_on_retry_hooks

from talweg import logs
from talweg.environment import inherited, numerics_environment
from talweg.settings import settings


def main() -> int:
    """Work until SIGTERM, which ends the training between two steps; returns Celery's exit code."""
    chosen = settings()
    _pin(inherited() | numerics_environment(chosen.numerics))
    from talweg.execution.tasks import owner, process_store, process_writer
    from talweg.queue import app

    logs.configure(chosen.log_level)
    # `DatabaseRetry` logs each retry itself, with the cohort.
    set_on_retry_hooks(())
    # A store that cannot be opened fails here, not at the first task.
    process_store()
    worker = app.Worker(
        hostname=f"talweg@{owner()}",
        pool="solo",
        concurrency=1,
        loglevel=chosen.log_level.upper(),
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=True,
        quiet=True,
    )
    startup.loaded()
    with process_writer() as writer_process:
        # After worker_ready, so that the worker's start does not wait for its writer process.
        worker_ready.connect(lambda **_: writer_process.start(), weak=False)
        worker.start()
    return int(worker.exitcode or 0)


def _pin(wanted: dict[str, str]) -> None:
    """Execute this program again in the same process where its environment differs: NumPy has read it already."""
    if os.environ != wanted:
        again = [sys.executable, "-m", "talweg.execution.worker", *sys.argv[1:]]
        os.execve(sys.executable, again, wanted)  # noqa: S606 - this program, without a shell


@setup_logging.connect(weak=False)
def _keep_ours(**_: Any) -> None:
    """Celery sets up its own logging only where nothing is connected here."""


if __name__ == "__main__":
    sys.exit(main())
