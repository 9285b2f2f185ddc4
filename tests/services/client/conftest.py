"""A laboratory's API in its own process, and a client; the tests train submitted runs in place of a worker."""

import json
import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import pytest

from talweg.client import Lab
from talweg.execution.training import train as train_cohort
from talweg.settings import Settings
from talweg.store import Store, open_store

TOKEN = "a-token-that-is-long-enough-for-tests"  # noqa: S105


@dataclass(frozen=True)
class Address:
    """Where the laboratory is found."""

    url: str
    token: str


@pytest.fixture(scope="module")
def database(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A database for this module."""
    return f"sqlite:///{tmp_path_factory.mktemp('laboratory') / 'talweg.db'}"


@pytest.fixture(scope="module")
def store(database: str) -> Iterator[Store]:
    """The store that the API serves."""
    with open_store(database, create=True) as store:
        yield store


@pytest.fixture(scope="module")
def address(store: Store, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Address]:
    """`python -m talweg.api` on a free port; without a broker, so that only the tests train."""
    kept = {key: value for key, value in os.environ.items() if not key.startswith("TALWEG_")}
    environment = kept | {
        "TALWEG_DATABASE_URL": database,
        "TALWEG_BROKER_URL": "redis://127.0.0.1:1/0",
        "TALWEG_TOKEN": TOKEN,
        "TALWEG_PORT": "0",
    }
    command = [sys.executable, "-m", "talweg.api"]
    folder = tmp_path_factory.mktemp("api")
    with subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        said: list[str] = []
        for line in process.stderr:
            said.append(line)
            if '"listening"' in line:
                break
        else:
            pytest.fail("".join(said))
        # A log that nobody reads would stop the process once the pipe is full.
        reader = threading.Thread(target=process.stderr.read)
        reader.start()
        try:
            yield Address(json.loads(said[-1])["url"], TOKEN)
        finally:
            process.terminate()
            process.wait(timeout=600)
            reader.join()


@pytest.fixture(scope="module")
def lab(address: Address) -> Iterator[Lab]:
    """The client."""
    with Lab(address.url, token=address.token) as lab:
        yield lab


@pytest.fixture(scope="module")
def train(store: Store) -> Callable[[], None]:
    """Trains every cohort that waits."""

    def everything() -> None:
        for cohort in store.unpublished(older_than_seconds=0):
            train_cohort(store, cohort, owner="tests", settings=Settings())

    return everything
