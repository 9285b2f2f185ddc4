"""`python -m talweg.tracking.mlflow_process`: `python -m mlflow` in one process, which loads MLflow once.

It first creates the database: SQLite commits each table separately, so a server killed while it creates its tables
leaves a part of them, and no server can start on that database.

A server that reads the laboratory (its backend store is `talweg://`) gets our tracking store and artifacts, and refuses
to start with another minor version of MLflow than they were tested with. Where TALWEG_MLFLOW_PASSWORD is set, requests
must carry it.
"""

import base64
import hmac
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

from talweg import startup
from talweg.errors import TalwegError
from talweg.mlflow_server import BACKEND, BACKEND_VARIABLE, DATABASE_VARIABLE, check_version
from talweg.settings import settings

_SQLITE = "sqlite:///"
# Answered without a password: whether the server is up.
_OPEN = ("/health",)

_Scope = MutableMapping[str, Any]
_Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
_Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


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
    engine = utils.create_sqlalchemy_engine(f"{_SQLITE}{draft}")
    utils._initialize_tables(engine)
    engine.dispose()
    draft.replace(path)


def register() -> None:
    """Give MLflow's registries our tracking store and artifact repository, in this process.

    Not by entry points: those would load our modules into every process on the machine that imports MLflow.
    """
    from mlflow.server import handlers
    from mlflow.store.artifact.artifact_repository_registry import _artifact_repository_registry

    from talweg.tracking.mlflow_artifacts import SCHEME, MadeArtifacts
    from talweg.tracking.mlflow_store import build

    handlers._tracking_store_registry.register(BACKEND.partition(":")[0], build)
    _artifact_repository_registry.register(SCHEME, MadeArtifacts)


class Password:
    """Lets requests through that carry the name and password of the settings (HTTP Basic); answers 401 to others."""

    def __init__(self, app: Callable[[_Scope, _Receive, _Send], Awaitable[None]], name: str, password: str) -> None:
        """`app` is the server, an ASGI application."""
        self._app = app
        self._expected = b"Basic " + base64.b64encode(f"{name}:{password}".encode())

    async def __call__(self, scope: _Scope, receive: _Receive, send: _Send) -> None:
        """Answer one request."""
        if scope["type"] == "http" and scope["path"] not in _OPEN and not self._allowed(scope):
            headers = [
                (b"www-authenticate", b'Basic realm="MLflow", charset="UTF-8"'),
                (b"content-type", b"text/plain"),
            ]
            await send({"type": "http.response.start", "status": 401, "headers": headers})
            await send({"type": "http.response.body", "body": b"MLflow: name and password needed\n"})
            return
        await self._app(scope, receive, send)

    def _allowed(self, scope: _Scope) -> bool:
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        return len(given) == 1 and hmac.compare_digest(given[0], self._expected)


def _serve(command: list[str], *, extra_env: Mapping[str, str], **_: object) -> None:
    """Run in this process the web server that MLflow's command would start as a child and wait for.

    The waiting parent would hold 0.3 GB and take seconds to end; the child would load MLflow again.
    """
    import uvicorn

    os.environ.update(extra_env)
    app = import_module("mlflow.server.fastapi_app").app
    chosen = settings()
    # Compose passes an empty one where none is wanted.
    if chosen.mlflow_password is not None and (password := chosen.mlflow_password.get_secret_value()):
        app.add_middleware(Password, name=chosen.mlflow_username, password=password)
    startup.loaded()
    sys.stdout.flush()
    # Without `python -m uvicorn`.
    uvicorn.main(command[3:], prog_name="uvicorn")


def main() -> int:
    """Run MLflow's command line with the arguments of this process; returns an exit code where it refuses to."""
    reads_laboratory = os.environ.get(BACKEND_VARIABLE) == BACKEND
    try:
        if reads_laboratory:
            check_version(version("mlflow"))
            chosen = settings()
            if chosen.mlflow_database_url is None or chosen.database_url is None:
                raise TalwegError("mlflow: TALWEG_MLFLOW_DATABASE_URL and TALWEG_DATABASE_URL must be set")
            # Also where the settings name a file that holds it.
            os.environ[DATABASE_VARIABLE] = chosen.mlflow_database_url.get_secret_value()
            os.environ["TALWEG_DATABASE_URL"] = chosen.database_url.get_secret_value()
            os.environ["MLFLOW_REGISTRY_STORE_URI"] = os.environ[DATABASE_VARIABLE]
    except TalwegError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    make_database(os.environ.get(DATABASE_VARIABLE if reads_laboratory else BACKEND_VARIABLE, ""))
    # Before MLflow, which takes a loaded uvicorn as the sign that it is a server and must check hosts.
    import_module("uvicorn")
    from mlflow import server
    from mlflow.cli import cli

    if reads_laboratory:
        register()
    # A private function of the pinned MLflow version.
    setattr(server, "_exec_cmd", _serve)  # noqa: B010 - MLflow does not export it
    cli(sys.argv[1:], prog_name="mlflow")
    return 0


if __name__ == "__main__":
    startup.begin()
    sys.exit(main())
