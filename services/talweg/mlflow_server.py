"""How our MLflow server is started: one command line for the local stack, the tests and whoever asks.

Lean and closed: one process and no job runner (0.3 GB instead of 3), no telemetry, no pickles,
loopback, and only the hosts that are named may be asked for.

`python -m talweg.mlflow_server` is `python -m mlflow` in one process instead of two, which loads MLflow once, after
making sure of the database: SQLite commits each table by itself, so a server that is killed while it makes its own
leaves half of them, and none ever starts on those again.
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

# Without it in an address, MLflow opens in a new browser on what it has about language models, which is nothing.
WORKFLOW = "workflowType=machine_learning"
LOOPBACK = ("127.0.0.1", "localhost")
# Seconds. Whoever asks closes the connection, not the server: MLflow's clients keep theirs and ask on it again, and one
# that the server closes just then is a request lost. uvicorn's own limit of 5 s let that happen on a busy machine.
KEEP_ALIVE = 600
_SQLITE = "sqlite:///"


def command(folder: Path, *, port: int, host: str = "127.0.0.1") -> list[str]:
    """The arguments of a server that keeps its artifacts in `folder`; to be started with `environment`.

    Args:
        folder: Where `artifacts/` goes.
        port: Port to listen on; a free one, chosen by the caller.
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
    """This process's environment with the server's switches set, and its database: `mlflow.db` in `folder`.

    The database's URL goes here, not on the command line, since it may hold a password that every user of the
    machine could read there. Whatever MLflow settings the caller has for its own client, such as a tracking
    URI, are left out: a server that found MLFLOW_TRACKING_URI would take it for its own store.

    Args:
        folder: Where `mlflow.db` goes; must exist, readable by its owner only.
        port: Port that it listens on.
        hosts: Names under which browsers and clients ask for it; each is allowed with this port only.
        database_url: A database elsewhere, instead of `mlflow.db`.
    """
    # MLflow's own default pattern lets 10.evil.example in; without a `*`, names match exactly, port included.
    names = [f"{name}:{port}" for name in hosts]
    kept = {key: value for key, value in inherited().items() if not key.startswith("MLFLOW_TRACKING_")}
    return kept | {
        "MLFLOW_BACKEND_STORE_URI": database_url or f"sqlite:///{folder.resolve() / 'mlflow.db'}",
        # Here and not among the arguments, since MLflow's half in Flask reads them when it is imported.
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
    """Answers 200 once the server is up; the only page that asks for no known host."""
    return f"http://{host}:{port}/health"


def experiment_page(url: str, experiment: str) -> str:
    """Where people see an experiment's runs and charts; `url` is the server as their browser reaches it."""
    # The key is that of the view that the mirror saved there, whose charts stand in sections.
    query = f"compareRunsMode=CHART&{WORKFLOW}&viewStateShareKey=talweg"
    return f"{url.rstrip('/')}/#/experiments/{experiment}/runs?{query}"


def run_page(url: str, run: str) -> str:
    """Where people see one run."""
    return f"{url.rstrip('/')}/#/runs/{run}?{WORKFLOW}"


@contextmanager
def running(folder: Path, *, port: int, patience: float = 300.0) -> Iterator[str]:
    """A server for as long as the context lasts, without a supervisor; gives its URL once it answers.

    Raises:
        ChildFailed: It ended, or did not answer within `patience` seconds; holds its last log lines.
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
        deadline = time.monotonic() + patience
        while not answers(port):
            if process.poll() is not None or time.monotonic() > deadline:
                tail = log.read_text(errors="replace").splitlines()[-20:]
                raise ChildFailed("\n".join(["mlflow: does not answer; it said last:", *tail]))
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        try:
            process.wait(10)
        finally:
            # Whatever of the group did not listen.
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def answers(port: int) -> bool:
    """The server is up."""
    try:
        with urllib.request.urlopen(health_url(port), timeout=5) as response:  # noqa: S310 - our own, on loopback
            return bool(response.status == 200)
    except (urllib.error.URLError, OSError):
        return False


def make_database(url: str) -> None:
    """Make the SQLite database that `url` names, whole or not at all; one that is there, and others, are left alone."""
    if not url.startswith(_SQLITE):
        return
    path = Path(url.removeprefix(_SQLITE))
    if path.exists():
        return
    begun = path.with_name(f"{path.name}.new")
    # What another left that was killed.
    begun.unlink(missing_ok=True)
    from mlflow.store.db import utils

    # MLflow's own, of the version that is pinned: there is no public way to make one without a server.
    engine = utils.create_sqlalchemy_engine(f"{_SQLITE}{begun}")  # type: ignore[no-untyped-call]  # MLflow has no types
    utils._initialize_tables(engine)  # type: ignore[no-untyped-call]  # the same
    engine.dispose()
    begun.replace(path)


def _serve(command: list[str], *, extra_env: Mapping[str, str], **_: object) -> None:
    """Be the web server that MLflow's command would start as a child, and then only wait for.

    What waits keeps 0.3 GB, and takes seconds to end; what it starts loads MLflow once more.
    """
    import uvicorn

    os.environ.update(extra_env)
    import_module("mlflow.server.fastapi_app")
    startup.loaded()
    sys.stdout.flush()
    # After `python -m uvicorn`.
    uvicorn.main(command[3:], prog_name="uvicorn")


def main() -> None:
    """What the arguments say, as MLflow's own command line."""
    make_database(os.environ.get("MLFLOW_BACKEND_STORE_URI", ""))
    # First: by its presence MLflow knows that it serves, and whom it must refuse.
    import_module("uvicorn")
    from mlflow import server
    from mlflow.cli import cli

    # Of the version that is pinned.
    setattr(server, "_exec_cmd", _serve)  # noqa: B010 - MLflow exports it to nobody
    cli(sys.argv[1:], prog_name="mlflow")


if __name__ == "__main__":
    startup.begin()
    main()
