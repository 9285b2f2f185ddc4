"""Faults of a laboratory, drawn at random from a seed."""

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
WORKER_TERMINATED = "worker: SIGTERM"
WRITER_KILLED = "worker: kill -9 of its writer process alone"
WORKER_JUMPED = "worker: its clock jumps by up to two days, forward or back"
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
LOCKED = "SQLite: locked by another process for up to three seconds"

_WEIGHTS = {
    WORKER_KILLED: 8, WORKER_PAUSED: 4, WORKER_TERMINATED: 2, WORKER_JUMPED: 2, WRITER_KILLED: 2, BROKER_KILLED: 2,
    BROKER_FLUSHED: 2, RECONCILER_KILLED: 2, REPEATED: 1, API_KILLED: 2, MIRROR_KILLED: 1, MLFLOW_KILLED: 1,
}  # fmt: skip
_ON_SQLITE = {LOCKED: 3}
_ON_POSTGRESQL = {RESTARTED: 2, CRASHED: 1, DATABASE_KILLED: 1}
_SIGNALS = {RESTARTED: "SIGINT", CRASHED: "SIGQUIT", DATABASE_KILLED: "SIGKILL"}
_DAY = 86_400.0
# Seconds for a submission to an API that is killed and restarted.
_SUBMIT_SECONDS = 300.0


class Faults:
    """Injects faults into a laboratory, in an order given by the seed. Each kind occurs once before any occurs again.

    Attributes:
        done: How often each kind occurred.
        exit_seconds: Seconds that workers took to exit at SIGTERM.
        submitted: Names of the runs that were submitted to an API that was killed.
        unanswered: Those of them that no API confirmed.
    """

    def __init__(self, laboratory: Laboratory, seed: int, spec: dict[str, Any]) -> None:
        """`spec` is submitted when the API is killed, with a new seed each time."""
        self.done: Counter[str] = Counter()
        self.exit_seconds: list[float] = []
        self.submitted: list[str] = []
        self.unanswered: list[str] = []
        self._laboratory, self._random, self._spec = laboratory, random.Random(seed), spec
        postgresql = isinstance(laboratory.database, Postgresql)
        self._weights = _WEIGHTS | (_ON_POSTGRESQL if postgresql else _ON_SQLITE)
        self._first = self._random.sample(list(self._weights), len(self._weights))
        self._threads: list[threading.Thread] = []

    def inject(self) -> None:
        """Inject one fault, and start again what it ended."""
        kind = self._first.pop() if self._first else self._drawn()
        share, number = self._random.random(), self._random.randrange(1000)
        time.sleep(0.5 * self._random.random())
        self.done[kind] += 1
        here = self._laboratory
        if kind.startswith("worker"):
            self._disturb_worker(kind, here.workers[number % len(here.workers)], share)
        elif kind == BROKER_KILLED:
            here.broker.kill()
            time.sleep(share)
            here.broker.start()
        elif kind == BROKER_FLUSHED:
            here.broker.flush()
        elif kind == RECONCILER_KILLED:
            _restart(here.reconcilers[number % len(here.reconcilers)])
        elif kind == MIRROR_KILLED:
            _restart(here.mirror)
        elif kind == MLFLOW_KILLED:
            here.mlflow.kill()
            time.sleep(5 * share)
            here.mlflow.start()
        elif kind == API_KILLED:
            self._submit_and_kill_api(share)
        elif kind == REPEATED:
            self._repeat()
        elif kind == LOCKED:
            here.database.disturb(kind, 3 * share)
        else:
            here.database.disturb(_SIGNALS[kind], share)

    def settled(self) -> bool:
        """Whether no worker is stopped any more, and every submission is answered."""
        return not any(thread.is_alive() for thread in self._threads)

    def _drawn(self) -> str:
        return self._random.choices(list(self._weights), list(self._weights.values()))[0]

    def _disturb_worker(self, kind: str, worker: Part, share: float) -> None:
        if kind == WORKER_KILLED:
            _restart(worker)
        elif kind == WORKER_PAUSED:
            # In a thread: the other faults must go on while the worker is stopped.
            self._in_thread(self._pause, worker, share)
        elif kind == WRITER_KILLED:
            # A worker that has just started has no writer process yet.
            with contextlib.suppress(psutil.NoSuchProcess):
                for writer_process in psutil.Process(worker.process.pid).children():
                    writer_process.kill()
        elif kind == WORKER_JUMPED:
            set_clock(worker.clock, _DAY * (4 * share - 2))
        else:
            # A stopped worker handles SIGTERM only after SIGCONT.
            worker.process.send_signal(signal.SIGCONT)
            self.exit_seconds.append(worker.terminate())
            worker.start()

    def _pause(self, worker: Part, share: float) -> None:
        process = worker.process
        process.send_signal(signal.SIGSTOP)
        time.sleep(QUICK["lease_seconds"] * (1.1 + share))
        # The process may have been killed in the meantime.
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)

    def _submit_and_kill_api(self, share: float) -> None:
        name = f"through-the-api-{len(self.submitted)}"
        self.submitted.append(name)
        self._in_thread(self._submit, self._spec | {"name": name, "seed": 1_000_000 + len(self.submitted)})
        # Kill before, during or after the request.
        time.sleep(0.1 * share)
        _restart(self._laboratory.api)

    def _submit(self, spec: dict[str, Any]) -> None:
        deadline = time.monotonic() + _SUBMIT_SECONDS
        with Wire(self._laboratory.url, self._laboratory.token) as wire:
            while time.monotonic() < deadline:
                # Sending it again is safe: a name belongs to one run.
                with contextlib.suppress(Unreachable):
                    wire.post("/v1/runs", spec)
                    return
        self.unanswered.append(str(spec["name"]))

    def _repeat(self) -> None:
        cohorts = [run.cohort_id for run in self._laboratory.store.runs(limit=50).items]
        for cohort_id in self._random.choices(cohorts, k=5):
            with contextlib.suppress(Unreachable, TalwegError):
                self._laboratory.publish(cohort_id)

    def _in_thread(self, do: Any, *arguments: Any) -> None:
        self._threads.append(threading.Thread(target=do, args=arguments))
        self._threads[-1].start()


def _restart(part: Part) -> None:
    part.kill()
    part.start()
