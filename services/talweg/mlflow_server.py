"""The MLflow server: its command line, environment and page addresses.

One process without a job runner (0.3 GB instead of 3), no telemetry, no pickles, on loopback, with a list of allowed
hosts. Given the address of a laboratory's database, it reads metric histories from there and makes files when they are
opened (`talweg.tracking.mlflow_store`, `mlflow_artifacts`).
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from talweg.environment import inherited
from talweg.errors import ChildFailed, TalwegError

# Without it, MLflow in a new browser opens its (empty) pages for language models.
WORKFLOW = "workflowType=machine_learning"
LOOPBACK = ("127.0.0.1", "localhost")
# Seconds. Clients must close connections, not the server: MLflow's clients reuse them, and a request on one that the
# server closes at that moment is lost. uvicorn's default of 5 s lost requests on a busy machine.
KEEP_ALIVE = 600
# The store of a server that reads the laboratory; such a server finds MLflow's own database in DATABASE_VARIABLE.
BACKEND = "talweg://"
BACKEND_VARIABLE, DATABASE_VARIABLE = "MLFLOW_BACKEND_STORE_URI", "TALWEG_MLFLOW_DATABASE_URL"
# The minor version of MLflow whose tables and stores ours were tested with.
TESTED = "3.17"


def check_version(installed: str) -> None:
    """Raises TalwegError where this version of MLflow is not one that the laboratory's store was tested with."""
    if installed.split(".")[:2] != TESTED.split("."):
        raise TalwegError(
            f"mlflow: the laboratory's store was tested with MLflow {TESTED}, got {installed}; "
            f"install mlflow=={TESTED}.*, or set TALWEG_MIRROR=rest, with which any version works"
        )


def command(folder: Path, *, port: int, host: str = "127.0.0.1", laboratory: bool = False) -> list[str]:
    """The command of a server that stores its artifacts in `folder`; start it with `environment`.

    Args:
        folder: Parent of `artifacts/`.
        port: Free port to listen on.
        host: Interface to listen on.
        laboratory: It reads a laboratory.
    """
    artifacts = folder.resolve() / "artifacts"
    return [
        sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", "talweg.tracking.mlflow_process", "server",
        "--serve-artifacts",
        "--artifacts-destination", f"talweg://{artifacts}" if laboratory else artifacts.as_uri(),
        "--host", host,
        "--port", str(port),
        "--workers", "1",
        "--uvicorn-opts", f"--timeout-keep-alive {KEEP_ALIVE}",
    ]  # fmt: skip


def database_of(folder: Path) -> str:
    """The URL of the server's own database in its folder."""
    return f"sqlite:///{folder.resolve() / 'mlflow.db'}"


def environment(
    folder: Path,
    *,
    port: int,
    hosts: Iterable[str] = LOOPBACK,
    database_url: str | None = None,
    laboratory_url: str | None = None,
) -> dict[str, str]:
    """This process's environment plus the server's settings and its database, `mlflow.db` in `folder`.

    The database URL is here and not on the command line, where every user of the machine could read its password.
    The caller's MLFLOW_TRACKING_* variables are removed: a server would use MLFLOW_TRACKING_URI as its own store.

    Args:
        folder: Parent of `mlflow.db`; must exist and be readable by its owner only.
        port: Port of the server.
        hosts: Host names of the server in requests of browsers and clients; allowed with this port only.
        database_url: Another database, in place of `mlflow.db`.
        laboratory_url: The database of the laboratory that it reads.
    """
    # MLflow's default pattern allows 10.evil.example; a name without `*` must match exactly, port included.
    names = [f"{name}:{port}" for name in hosts]
    kept = {key: value for key, value in inherited().items() if not key.startswith("MLFLOW_TRACKING_")}
    own = database_url or database_of(folder)
    stores = {BACKEND_VARIABLE: own}
    if laboratory_url is not None:
        stores = {BACKEND_VARIABLE: BACKEND, DATABASE_VARIABLE: own, "TALWEG_DATABASE_URL": laboratory_url}
    return (
        kept
        | stores
        | {
            # Not arguments, since MLflow's Flask application reads these at import.
            "MLFLOW_SERVER_ALLOWED_HOSTS": ",".join(names),
            "MLFLOW_SERVER_CORS_ALLOWED_ORIGINS": ",".join(f"http://{name}" for name in names),
            "MLFLOW_SERVER_X_FRAME_OPTIONS": "DENY",
            "MLFLOW_SERVER_ENABLE_JOB_EXECUTION": "false",
            "MLFLOW_DISABLE_TELEMETRY": "true",
            "MLFLOW_ALLOW_PICKLE_DESERIALIZATION": "false",
            "DO_NOT_TRACK": "true",
            "OPENBLAS_NUM_THREADS": "1",
            "OMP_NUM_THREADS": "1",
        }
    )


def health_url(port: int, host: str = "127.0.0.1") -> str:
    """The URL that answers 200 once the server is up; the only one without a check of the host."""
    return f"http://{host}:{port}/health"


def experiment_page(url: str, experiment: str) -> str:
    """The page with an experiment's runs and charts; `url` is the address of the server for browsers."""
    # The key of the view that the mirror saves, with its charts in sections.
    query = f"compareRunsMode=CHART&{WORKFLOW}&viewStateShareKey=talweg"
    return f"{url.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def run_page(url: str, run: str) -> str:
    """The page of one run."""
    return f"{url.rstrip('/')}/#/runs/{run}?{WORKFLOW}"


@contextmanager
def running(
    folder: Path,
    *,
    port: int,
    start_seconds: float = 300.0,
    database_url: str | None = None,
    laboratory_url: str | None = None,
) -> Iterator[str]:
    """Run a server without a supervisor while the context lasts; yields its URL once it answers.

    With `laboratory_url` it reads that laboratory; `database_url` is another database in place of `mlflow.db`.

    Raises:
        ChildFailed: It ended, or did not answer within `start_seconds`; the message holds its last log lines.
    """
    log = folder / "mlflow.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command(folder, port=port, laboratory=laboratory_url is not None),
            env=environment(folder, port=port, database_url=database_url, laboratory_url=laboratory_url),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=stream,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + start_seconds
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace").splitlines()[-20:]
                raise ChildFailed("\n".join(["mlflow: does not answer; its last log lines:", *tail]))
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            # Processes of the group that ignored SIGTERM.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    """Whether the server is up."""
    try:
        with urllib.request.urlopen(health_url(port), timeout=5) as response:  # noqa: S310 - our own, on loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False
