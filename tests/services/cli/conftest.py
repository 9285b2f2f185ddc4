"""Fixtures: commands in this process, and a laboratory in a thread."""

import json
import logging
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import structlog
import uvicorn

from talweg.api.app import create_app
from talweg.api.server import listen
from talweg.api.tokens import digest_of
from talweg.cli import main
from talweg.execution.training import train as train_cohort
from talweg.settings import Settings, settings
from talweg.store import Store, open_store

TOKEN = "a-token-that-only-the-command-line-has"  # noqa: S105


@dataclass
class Served:
    """A laboratory: its address, its store, and the cohorts that its API published."""

    url: str
    store: Store
    published: list[str] = field(default_factory=list)

    def train(self) -> None:
        """Train every cohort that was published, here and now, as a worker would."""
        while self.published:
            train_cohort(self.store, self.published.pop(0), owner="tests", settings=settings())


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    status: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """stdout, parsed."""
        return json.loads(self.out)


Talweg = Callable[..., Done]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The API in a thread; a laboratory for each module."""
    folder = tmp_path_factory.mktemp("laboratory")
    chosen = Settings(port=0, mlflow_url="http://127.0.0.1:5055")
    # Without configuration structlog prints to stdout, which the command uses.
    before = structlog.get_config()
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    listener, url = listen(chosen)
    with listener, open_store(f"sqlite:///{folder / 'talweg.db'}", create=True) as store:
        store.add_token(digest_of(TOKEN), "command line", ["admin"])
        here = Served(url, store)
        app = create_app(store, chosen, here.published.append)
        server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off", access_log=False))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            yield here
        finally:
            server.should_exit = True
            thread.join(timeout=20)
            structlog.configure(**before)


@pytest.fixture
def talweg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Talweg]:
    """Runs one command in an empty folder, without settings from the environment."""
    monkeypatch.chdir(tmp_path)
    for name in ("TALWEG_URL", "TALWEG_TOKEN", "TALWEG_HOME", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    settings.cache_clear()

    def run(*arguments: str) -> Done:
        settings.cache_clear()
        monkeypatch.setattr(sys, "argv", ["talweg", *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capsys.readouterr()
        return Done(int(ended.value.code or 0), out, err)

    yield run
    settings.cache_clear()


@pytest.fixture
def remote(talweg: Talweg, served: Served, monkeypatch: pytest.MonkeyPatch) -> Talweg:
    """The same, with TALWEG_URL and TALWEG_TOKEN of the laboratory that is served."""
    monkeypatch.setenv("TALWEG_URL", served.url)
    monkeypatch.setenv("TALWEG_TOKEN", TOKEN)
    return talweg


@pytest.fixture
def url(served: Served) -> str:
    """The laboratory's address."""
    return served.url


@pytest.fixture
def train(served: Served) -> Callable[[], None]:
    """Trains what was submitted."""
    return served.train


@pytest.fixture
def training(served: Served) -> Iterator[None]:
    """Trains what is submitted, while the test waits for it."""
    over = threading.Event()

    def loop() -> None:
        while not over.wait(0.02):
            served.train()

    thread = threading.Thread(target=loop)
    thread.start()
    yield
    over.set()
    thread.join(timeout=20)
