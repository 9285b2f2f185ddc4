"""What can happen to a laboratory, drawn at random from a seed."""

import contextlib
import random
import signal
import threading
import time
from collections import Counter

from chaos.services import QUICK, Laboratory, Postgresql
from talweg.errors import TalwegError, Unreachable

WORKER_KILLED = "worker: kill -9"
WORKER_PAUSED = "worker: SIGSTOP past its lease, then SIGCONT"
WORKER_LEFT = "worker: SIGTERM"
BROKER_KILLED = "broker: kill -9, away for up to a second"
BROKER_FLUSHED = "broker: FLUSHALL"
RECONCILER_KILLED = "reconciler: kill -9"
REPEATED = "message: five cohorts published again"
RESTARTED = "PostgreSQL: fast restart, away for up to a second"
CRASHED = "PostgreSQL: immediate stop, away for up to a second"
LOCKED = "SQLite: locked by another for up to three seconds"

_WEIGHTS = {
    WORKER_KILLED: 8, WORKER_PAUSED: 4, WORKER_LEFT: 2, BROKER_KILLED: 2, BROKER_FLUSHED: 2,
    RECONCILER_KILLED: 2, REPEATED: 1,
}  # fmt: skip


class Faults:
    """Strikes a laboratory; the same seed strikes in the same order."""

    def __init__(self, laboratory: Laboratory, seed: int) -> None:
        """Nothing happens yet."""
        self.done: Counter[str] = Counter()
        self.leaving: list[float] = []
        self._laboratory, self._random = laboratory, random.Random(seed)
        on_database = {RESTARTED: 2, CRASHED: 1} if isinstance(laboratory.database, Postgresql) else {LOCKED: 3}
        self._weights = _WEIGHTS | on_database
        self._resting: list[threading.Thread] = []

    def strike(self) -> None:
        """One fault, and whatever it ended is started again."""
        kind = self._random.choices(list(self._weights), list(self._weights.values()))[0]
        share, number = self._random.random(), self._random.randrange(1000)
        time.sleep(0.5 * self._random.random())
        self.done[kind] += 1
        here = self._laboratory
        worker = here.workers[number % len(here.workers)]
        if kind == WORKER_KILLED:
            worker.kill()
            worker.start()
        elif kind == WORKER_PAUSED:
            # The others go on meanwhile: that is what it is about.
            self._resting.append(threading.Thread(target=self._pause, args=[worker, share]))
            self._resting[-1].start()
        elif kind == WORKER_LEFT:
            # One that is stopped just now hears of it when it goes on.
            worker.process.send_signal(signal.SIGCONT)
            self.leaving.append(worker.terminate())
            worker.start()
        elif kind == BROKER_KILLED:
            here.broker.kill()
            time.sleep(share)
            here.broker.start()
        elif kind == BROKER_FLUSHED:
            here.broker.flush()
        elif kind == RECONCILER_KILLED:
            reconciler = here.reconcilers[number % len(here.reconcilers)]
            reconciler.kill()
            reconciler.start()
        elif kind == REPEATED:
            self._repeat()
        elif kind == LOCKED:
            here.database.trouble(kind, 3 * share)
        else:
            here.database.trouble("SIGINT" if kind == RESTARTED else "SIGQUIT", share)

    def settle(self) -> None:
        """Wait until nobody is stopped any more."""
        for thread in self._resting:
            thread.join()

    def _pause(self, worker: object, share: float) -> None:
        process = worker.process  # type: ignore[attr-defined]
        process.send_signal(signal.SIGSTOP)
        time.sleep(QUICK["lease_seconds"] * (1.1 + share))
        # It may have been killed and started anew meanwhile: then this is for the one that is gone.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def _repeat(self) -> None:
        cohorts = [run.cohort_id for run in self._laboratory.store.runs(limit=50).items]
        for cohort_id in self._random.choices(cohorts, k=5):
            with contextlib.suppress(Unreachable, TalwegError):
                self._laboratory.publish(cohort_id)
