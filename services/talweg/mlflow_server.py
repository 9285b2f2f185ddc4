"""The MLflow server: its command line, environment and page addresses.

One process without a job runner (0.3 GB instead of 3), no telemetry, no pickles, on loopback, with a list of allowed
hosts.

`python -m talweg.mlflow_server` is `python -m mlflow` in one process instead of two, which loads MLflow once. It first
creates the database: SQLite commits each table separately, so a server killed while it creates its tables leaves a part
of them, and no server can start on that database.
"""

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from importlib import import_module
from pathlib import Path

from talweg import startup
from talweg.environment import inherited
from talweg.errors import ChildFailed

# Without it, MLflow in a new browser opens its (empty) pages for language models.
WORKFLOW = "workflowType=machine_learning"
LOOPBACK = ("127.0.0.1", "localhost")
# Seconds. Clients must close connections, not the server: MLflow's clients reuse them, and a request on one that the
# server closes at that moment is lost. uvicorn's default of 5 s lost requests on a busy machine.
KEEP_ALIVE = 600
_SQLITE = "sqlite:///"


def command(folder: Path, *, port: int, host: str = "127.0.0.1") -> list[str]:
    """The command of a server that stores its artifacts in `folder`; start it with `environment`.

    Args:
        folder: Parent of `artifacts/`.
        port: Free port to listen on.
        host: Interface to listen on.
    """
    return [
        sys.executable, "-m", "talweg.mlflow_server", "server",
        "--serve-artifacts",
        "--artifacts-destination", (folder.resolve() / "artifacts").as_uri(),
        "--host", host,
        "--port", str(port),
        "--workers", "1",
        "--uvicorn-opts", f"--timeout-keep-alive {KEEP_ALIVE}",
    ]  # fmt: skip


def environment(
    folder: Path, *, port: int, hosts: Iterable[str] = LOOPBACK, database_url: str | None = None
) -> dict[str, str]:
    """This process's environment plus the server's settings and its database, `mlflow.db` in `folder`.

    The database URL is here and not on the command line, where every user of the machine could read its password.
    The caller's MLFLOW_TRACKING_* variables are removed: a server would use MLFLOW_TRACKING_URI as its own store.

    Args:
        folder: Parent of `mlflow.db`; must exist and be readable by its owner only.
        port: Port of the server.
        hosts: Host names of the server in requests of browsers and clients; allowed with this port only.
        database_url: Another database, in place of `mlflow.db`.
    """
    # MLflow's default pattern allows 10.evil.example; a name without `*` must match exactly, port included.
    names = [f"{name}:{port}" for name in hosts]
    kept = {key: value for key, value in inherited().items() if not key.startswith("MLFLOW_TRACKING_")}
    return kept | {
        "MLFLOW_BACKEND_STORE_URI": database_url or f"sqlite:///{folder.resolve() / 'mlflow.db'}",
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
def running(folder: Path, *, port: int, start_seconds: float = 300.0) -> Iterator[str]:
    """Run a server without a supervisor while the context lasts; yields its URL once it answers.

    Raises:
        ChildFailed: It ended, or did not answer within `start_seconds`; the message holds its last log lines.
    """
    log = folder / "mlflow.log"
    with log.open("wb") as stream:
        process = subprocess.Popen(  # noqa: S603 - the command is ours
            command(folder, port=port),
            env=environment(folder, port=port),
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


def make_database(url: str) -> None:
    """Create the SQLite database at `url`, whole or not at all; no effect where it exists or is not SQLite."""
    if not url.startswith(_SQLITE):
        return
    path = Path(url.removeprefix(_SQLITE))
    if path.exists():
        return
    draft = path.with_name(f"{path.name}.new")
    # From a process that was killed.
    draft.unlink(missing_ok=True)
    from mlflow.store.db import utils

    # Private functions of the pinned MLflow version: it has no public ones that create a database without a server.
    engine = utils.create_sqlalchemy_engine(f"{_SQLITE}{draft}")  # type: ignore[no-untyped-call]  # MLflow has no types
    utils._initialize_tables(engine)  # type: ignore[no-untyped-call]  # the same
    engine.dispose()
    draft.replace(path)


def _serve(command: list[str], *, extra_env: Mapping[str, str], **_: object) -> None:
    """Run in this process the web server that MLflow's command would start as a child and wait for.

    The waiting parent would hold 0.3 GB and take seconds to end; the child would load MLflow again.
    """
    import uvicorn

    os.environ.update(extra_env)
    import_module("mlflow.server.fastapi_app")
    startup.loaded()
    sys.stdout.flush()
    # Without `python -m uvicorn`.
    uvicorn.main(command[3:], prog_name="uvicorn")


def main() -> None:
    """Run MLflow's command line with the arguments of this process."""
    make_database(os.environ.get("MLFLOW_BACKEND_STORE_URI", ""))
    # Before MLflow, which takes a loaded uvicorn as the sign that it is a server and must check hosts.
    import_module("uvicorn")
    from mlflow import server
    from mlflow.cli import cli

    # A private function of the pinned MLflow version.
    setattr(server, "_exec_cmd", _serve)  # noqa: B010 - MLflow does not export it
    cli(sys.argv[1:], prog_name="mlflow")


if __name__ == "__main__":
    startup.begin()
    main()
