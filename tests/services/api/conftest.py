"""Fixtures: a real API on loopback with a real SQLite store."""

import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import httpx2
import pytest
import uvicorn

from talweg.api.app import create_app
from talweg.api.server import listen
from talweg.api.tokens import digest_of
from talweg.execution.training import train as train_cohort
from talweg.settings import Settings
from talweg.store import Store, open_store

TOKEN = "a-token-that-is-long-enough-for-tests"  # noqa: S105


@dataclass
class Served:
    """A running API, and the cohorts that it published."""

    url: str
    store: Store
    settings: Settings
    published: list[str] = field(default_factory=list)

    def train(self) -> None:
        """Train every cohort that was published, here and now, as a worker would."""
        while self.published:
            train_cohort(self.store, self.published.pop(0), owner="tests", settings=self.settings)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API in a thread; a new laboratory for each module."""
    folder = tmp_path_factory.mktemp("laboratory")
    settings = Settings(port=0, mlflow_url="http://127.0.0.1:5055", allowed_hosts="talweg.example")
    listener, url = listen(settings)
    with listener, open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
        store.add_token(digest_of(TOKEN), "tests", ["admin"])
        here = Served(url, store, settings)
        app = create_app(store, settings, here.published.append)
        server = uvicorn.Server(
            uvicorn.Config(app, log_config=None, lifespan="off", access_log=False, server_header=False)
        )
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield here
        finally:
            server.should_exit = True
            thread.join(timeout=20)


@pytest.fixture(scope="module")
def store(served: Served) -> Store:
    """The store behind the API."""
    return served.store


@pytest.fixture(scope="module")
def train(served: Served) -> Callable[[], None]:
    """Trains what was submitted."""
    return served.train


@pytest.fixture(scope="module")
def url(served: Served) -> str:
    """The API's address."""
    return served.url


@pytest.fixture(scope="module")
def http(url: str) -> Iterator[httpx2.Client]:
    """Requests with a token."""
    with httpx2.Client(
        base_url=url, headers={"Authorization": f"Bearer {TOKEN}"}, trust_env=False, timeout=60
    ) as client:
        yield client


@pytest.fixture(scope="module")
def stranger(url: str) -> Iterator[httpx2.Client]:
    """Requests without a token."""
    with httpx2.Client(base_url=url, trust_env=False, timeout=60) as client:
        yield client
