"""What can happen to a laboratory, drawn at random from a seed."""

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from typing import Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from chaos.jumping import set_clock
from chaos.services import QUICK, Laboratory, Part, Postgresql
from talweg.client.wire import Wire
from talweg.errors import TalwegError, Unreachable

WORKER_KILLED = "worker: kill -9"
WORKER_PAUSED = "worker: SIGSTOP past its lease, then SIGCONT"
WORKER_LEFT = "worker: SIGTERM"
WRITER_KILLED = "worker: kill -9 of its writer process alone"
WORKER_JUMPED = "worker: its clock jumps, by up to two days to and fro"
BROKER_KILLED = "broker: kill -9, away for up to a second"
BROKER_FLUSHED = "broker: FLUSHALL"
RECONCILER_KILLED = "reconciler: kill -9"
REPEATED = "message: five cohorts published again"
API_KILLED = "API: kill -9 with a submission under way, which is sent again"
MIRROR_KILLED = "mirror: kill -9"
MLFLOW_KILLED = "MLflow: kill -9 of all its processes, away for up to five seconds"
RESTARTED = "PostgreSQL: fast restart, away for up to a second"
CRASHED = "PostgreSQL: immediate stop, away for up to a second"
DATABASE_KILLED = "PostgreSQL: kill -9 of all its processes, away for up to a second"
LOCKED = "SQLite: locked by another for up to three seconds"

_WEIGHTS = {
    WORKER_KILLED: 8, WORKER_PAUSED: 4, WORKER_LEFT: 2, WORKER_JUMPED: 2, WRITER_KILLED: 2, BROKER_KILLED: 2,
    BROKER_FLUSHED: 2, RECONCILER_KILLED: 2, REPEATED: 1, API_KILLED: 2, MIRROR_KILLED: 1, MLFLOW_KILLED: 1,
}  # fmt: skip
_ON_SQLITE = {LOCKED: 3}
_ON_POSTGRESQL = {RESTARTED: 2, CRASHED: 1, DATABASE_KILLED: 1}
_SIGNALS = {RESTARTED: "SIGINT", CRASHED: "SIGQUIT", DATABASE_KILLED: "SIGKILL"}
_DAY = 86_400.0
# Seconds for a submission to be answered by an API that is killed meanwhile.
_PATIENCE = 300.0


class Faults:
    """Strikes a laboratory; the same seed strikes in the same order. Each kind comes once before any comes again.

    Attributes:
        done: How often each kind struck.
        leaving: Seconds that workers took to leave at SIGTERM.
        submitted: Names of the runs that were handed in through an API that was killed.
        unanswered: Those among them that no API ever confirmed.
    """

    def __init__(self, laboratory: Laboratory, seed: int, spec: dict[str, Any]) -> None:
        """Nothing happens yet; `spec` is what is submitted while the API dies, with a seed of its own each time."""
        self.done: Counter[str] = Counter()
        self.leaving: list[float] = []
        self.submitted: list[str] = []
        self.unanswered: list[str] = []
        self._laboratory, self._random, self._spec = laboratory, random.Random(seed), spec
        postgresql = isinstance(laboratory.database, Postgresql)
        self._weights = _WEIGHTS | (_ON_POSTGRESQL if postgresql else _ON_SQLITE)
        self._first = self._random.sample(list(self._weights), len(self._weights))
        self._resting: list[threading.Thread] = []

    def strike(self) -> None:
        """One fault, and whatever it ended is started again."""
        kind = self._first.pop() if self._first else self._drawn()
        share, number = self._random.random(), self._random.randrange(1000)
        time.sleep(0.5 * self._random.random())
        self.done[kind] += 1
        here = self._laboratory
        if kind.startswith("worker"):
            self._strike_worker(kind, here.workers[number % len(here.workers)], share)
        elif kind == BROKER_KILLED:
            here.broker.kill()
            time.sleep(share)
            here.broker.start()
        elif kind == BROKER_FLUSHED:
            here.broker.flush()
        elif kind == RECONCILER_KILLED:
            _again(here.reconcilers[number % len(here.reconcilers)])
        elif kind == MIRROR_KILLED:
            _again(here.mirror)
        elif kind == MLFLOW_KILLED:
            here.mlflow.kill()
            time.sleep(5 * share)
            here.mlflow.start()
        elif kind == API_KILLED:
            self._submit_through_it(share)
        elif kind == REPEATED:
            self._repeat()
        elif kind == LOCKED:
            here.database.trouble(kind, 3 * share)
        else:
            here.database.trouble(_SIGNALS[kind], share)

    def settled(self) -> bool:
        """Whether nobody is stopped any more, and every submission is answered."""
        return not any(thread.is_alive() for thread in self._resting)

    def _drawn(self) -> str:
        return self._random.choices(list(self._weights), list(self._weights.values()))[0]

    def _strike_worker(self, kind: str, worker: Part, share: float) -> None:
        if kind == WORKER_KILLED:
            _again(worker)
        elif kind == WORKER_PAUSED:
            # The others go on meanwhile: that is what it is about.
            self._beside(self._pause, worker, share)
        elif kind == WRITER_KILLED:
            # A worker that has just begun has none yet.
            with contextlib.suppress(psutil.NoSuchProcess):
                for writer_process in psutil.Process(worker.process.pid).children():
                    writer_process.kill()
        elif kind == WORKER_JUMPED:
            set_clock(worker.clock, _DAY * (4 * share - 2))
        else:
            # One that is stopped just now hears of it when it goes on.
            worker.process.send_signal(signal.SIGCONT)
            self.leaving.append(worker.terminate())
            worker.start()

    def _pause(self, worker: Part, share: float) -> None:
        process = worker.process
        process.send_signal(signal.SIGSTOP)
        time.sleep(QUICK["lease_seconds"] * (1.1 + share))
        # It may have been killed and started anew meanwhile: then this is for the one that is gone.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def _submit_through_it(self, share: float) -> None:
        name = f"through-the-api-{len(self.submitted)}"
        self.submitted.append(name)
        self._beside(self._submit, self._spec | {"name": name, "seed": 1_000_000 + len(self.submitted)})
        # Before, in the middle of, or after it.
        time.sleep(0.1 * share)
        _again(self._laboratory.api)

    def _submit(self, spec: dict[str, Any]) -> None:
        deadline = time.monotonic() + _PATIENCE
        with Wire(self._laboratory.url, self._laboratory.token) as wire:
            while time.monotonic() < deadline:
                # A name stands for one run, however often it is sent.
                with contextlib.suppress(Unreachable):
                    wire.post("/v1/runs", spec)
                    return
        self.unanswered.append(str(spec["name"]))

    def _repeat(self) -> None:
        cohorts = [run.cohort_id for run in self._laboratory.store.runs(limit=50).items]
        for cohort_id in self._random.choices(cohorts, k=5):
            with contextlib.suppress(Unreachable, TalwegError):
                self._laboratory.publish(cohort_id)

    def _beside(self, do: Any, *arguments: Any) -> None:
        self._resting.append(threading.Thread(target=do, args=arguments))
        self._resting[-1].start()


def _again(part: Part) -> None:
    part.kill()
    part.start()
