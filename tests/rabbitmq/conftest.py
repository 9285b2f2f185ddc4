"""A real RabbitMQ for the session, and workers that only get its URL."""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from talweg.errors import TalwegError
from talweg.execution import submit_run
from talweg.queue import create_app, depth, publish
from talweg.settings import Settings
from talweg.spec import RunSpec
from talweg.store import RunRow, Store, open_store

# Erlang starts slowly on a busy machine.
TIMEOUT_SECONDS = 180.0
QUICK = {"commit_seconds": 0.05, "heartbeat_seconds": 0.3, "lease_seconds": 2.0, "reconcile_seconds": 0.2}
# The first is the server itself; Debian's wrapper in /usr/sbin changes the user.
_SERVERS = (Path("/usr/lib/rabbitmq/bin/rabbitmq-server"), Path("/usr/sbin/rabbitmq-server"))


def wait_until(condition: Callable[[], bool], what: str) -> None:
    """Wait until `condition` holds; fail with `what` where it does not in time."""
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while not condition():
        if time.monotonic() > deadline:
            pytest.fail(f"{what}: not within {TIMEOUT_SECONDS:g} s")
        time.sleep(0.05)


def free_port() -> int:
    """A port on which no process listens at the moment."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


@dataclass
class RabbitMQ:
    """A node on loopback; its durable queues survive `kill` and `start`."""

    folder: Path
    port: int = field(default_factory=free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """The URL for Celery."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def __post_init__(self) -> None:
        """Choose the ports, which stay the same after a restart."""
        self._environment = os.environ | {
            "HOME": str(self.folder),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(free_port()),
            "RABBITMQ_NODENAME": "talweg@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "plugins"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "none"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
        }

    def start(self) -> None:
        """Start it and wait until it answers."""
        server = next((path for path in _SERVERS if path.exists()), None)
        if server is None:
            pytest.fail("rabbitmq-server must be installed: apt-get install rabbitmq-server (make rabbitmq-test does)")
        with (self.folder / "out.log").open("ab") as log:
            self.process = subprocess.Popen(
                [server], env=self._environment, stdout=log, stderr=log, start_new_session=True
            )
        wait_until(self._answers, "RabbitMQ")

    def kill(self) -> None:
        """End Erlang and its shell with SIGKILL, like a crash."""
        if self.process is not None:
            os.killpg(self.process.pid, 9)
            self.process.wait()
            self.process = None

    def close(self) -> None:
        """End the node and epmd, Erlang's name server, which would keep running."""
        self.kill()
        if epmd := shutil.which("epmd"):
            subprocess.run([epmd, "-kill"], env=self._environment, capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _answers(self) -> bool:
        app = create_app(lambda: self.url)
        try:
            return depth(through=app) >= 0
        except TalwegError:
            return False
        finally:
            app.close()


@dataclass
class Laboratory:
    """Store, broker and worker processes."""

    url: str
    store: Store
    broker: RabbitMQ
    folder: Path
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    def __post_init__(self) -> None:
        """Create the Celery app and the settings."""
        self.celery = create_app(lambda: self.broker.url)
        self.settings = Settings().model_copy(update={"workers": 1, **QUICK})

    def start(self, what: str) -> "subprocess.Popen[bytes]":
        """Start a worker or a reconciler."""
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TALWEG_")}
        environment |= {f"TALWEG_{name.upper()}": str(value) for name, value in QUICK.items()}
        environment |= {"TALWEG_DATABASE_URL": self.url, "TALWEG_BROKER_URL": self.broker.url}
        command = [sys.executable, "-m", f"talweg.execution.{what}"]
        with (self.folder / f"{what}-{len(self.processes)}.log").open("wb") as log:
            self.processes.append(subprocess.Popen(command, env=environment, cwd=self.folder, stdout=log, stderr=log))
        return self.processes[-1]

    def publish(self, cohort_id: str) -> None:
        """Publish a cohort to the workers."""
        publish(cohort_id, through=self.celery)

    def messages(self) -> int:
        """How many messages wait for a worker."""
        return depth(through=self.celery)

    def submit(self, spec: RunSpec) -> RunRow:
        """Submit one run."""
        return submit_run(self.store, spec, publish=self.publish, settings=self.settings)

    def wait(self, run: RunRow) -> RunRow:
        """Wait until the run has finished and return its row."""
        try:
            wait_until(lambda: self.store.run(run.id).ended, f"run {run.name} to end")
        except pytest.fail.Exception:
            for log in self.folder.glob("*.log"):
                print(f"--- {log.name}\n{log.read_text()}")  # noqa: T201 - shown by pytest with the failure
            raise
        found = self.store.run(run.id)
        assert found.state == "finished", found.error
        return found

    def close(self) -> None:
        """End every process that still runs."""
        for process in self.processes:
            process.kill()
            process.wait()
        self.celery.close()
        self.store.close()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """A running node."""
    folder = Path(tempfile.mkdtemp(prefix="talweg-rabbitmq-"))
    node = RabbitMQ(folder)
    node.start()
    yield node
    node.close()


@pytest.fixture
def laboratory(rabbitmq: RabbitMQ, sqlite_url: str, tmp_path: Path) -> Iterator[Laboratory]:
    """A laboratory on SQLite and RabbitMQ, without workers, with an empty queue."""
    made = Laboratory(sqlite_url, open_store(sqlite_url), rabbitmq, tmp_path)
    with made.celery.connection_for_write() as connection:
        connection.SimpleQueue("talweg.train").clear()
    yield made
    made.close()


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool], str], None]:
    """Waits for a condition, and fails at a deadline."""
    return wait_until
