"""A small study in a real MLflow server, and Debian's Chromium to open it."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from talweg import mlflow_server
from talweg.execution.submission import submit_run, submit_study
from talweg.execution.training import train
from talweg.settings import Settings
from talweg.spec import parse_run, parse_study
from talweg.store import RunRow, Store, StudyRow, open_store
from talweg.tracking.mlflow_rows import MlflowRows
from talweg.tracking.rows_mirror import RowsMirror

# No requests to the internet; no GPU and no sandbox, which a container does not have.
QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
]


@dataclass(frozen=True)
class Seen:
    """A mirrored study, a single run and one that diverged, and the address of their MLflow server."""

    store: Store
    study: StudyRow
    line: RunRow
    diverged: RunRow
    mlflow_url: str


@pytest.fixture(scope="session")
def base_url() -> None:
    """No base address: tests open pages by their full addresses.

    Replaces the fixture of pytest-base-url, which pytest 9 warns of.
    """


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """The system's Chromium instead of the one that Playwright downloads."""
    chromium = shutil.which("chromium")
    assert chromium is not None, "chromium: not installed; run make chromium"
    return {**browser_type_launch_args, "executable_path": chromium, "args": QUIET, "headless": True}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """A desktop's window."""
    return {**browser_context_args, "viewport": {"width": 1680, "height": 1000}}


@pytest.fixture(scope="session")
def screenshots() -> Path:
    """The folder of screenshots; git ignores it."""
    folder = Path("test-results")
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def seen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Seen]:
    """Four optimizers, two seeds each, on digits, and Adam on two layers of one unit; trained and mirrored.

    And SGD at a learning rate that diverges after some steps.
    """
    folder = tmp_path_factory.mktemp("laboratory")
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    optimizers = [{"name": "sgd", "learning_rate": 0.1}, {"name": "momentum", "learning_rate": 0.05}, "rmsprop", "adam"]
    spec = {"name": "digits", "problem": "digits-mlp", "optimizers": optimizers, "seeds": 2, "steps": 200}
    laboratory = f"sqlite:///{folder / 'talweg.db'}"
    with (
        open_store(laboratory, create=True) as store,
        mlflow_server.running(folder, port=port, laboratory_url=laboratory) as url,
    ):
        settings, cohorts = Settings(), list[str]()
        study = submit_study(store, parse_study(spec), publish=cohorts.append, settings=settings)
        lost = {"problem": "two-layer-line", "optimizer": {"name": "sgd", "learning_rate": 1.0}, "steps": 600}
        diverged = submit_run(store, parse_run(lost), publish=cohorts.append, settings=settings)
        line = {"problem": "two-layer-line", "optimizer": {"name": "adam", "learning_rate": 0.05}, "steps": 60}
        run = submit_run(store, parse_run(line), publish=cohorts.append, settings=settings)
        for cohort in cohorts:
            assert train(store, cohort, owner="tests", settings=settings) == "finished"
        with closing(RowsMirror(store, MlflowRows(mlflow_server.database_of(folder)))) as mirror:
            while mirror.drain():
                pass
        yield Seen(store, store.study(study.id), store.run(run.id), store.run(diverged.id), url)
