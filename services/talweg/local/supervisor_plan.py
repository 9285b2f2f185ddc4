"""The plan of a supervisor (JSON on its standard input) and its state (`stack.json`); probes; the connection data."""

import http.client
import json
import socket
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from talweg.local.folder import Folder, write_private

ProbeKind = Literal["none", "http", "redis"]
_SECONDS = 1.0
Phase = Literal["starting", "ready", "stopping", "failed", "stopped"]
ChildPhase = Literal["waiting", "starting", "running", "restarting", "finished", "stopped"]


def answers(kind: ProbeKind, target: str) -> bool:
    """Whether the server at `target` (a URL, or the path of a socket) answers correctly."""
    if kind == "http":
        return _http(target)
    return _redis(target) if kind == "redis" else True


def listens(pid: int, url: str) -> bool:
    """Whether the process or a descendant listens on the port of `url`: another server may answer there."""
    port = urlsplit(url).port
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        sockets = [each for member in family for each in member.net_connections("tcp")]
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def _http(url: str) -> bool:
    # http.client uses no proxy and imports fast.
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=_SECONDS)
    try:
        connection.request("GET", parts.path or "/")
        return connection.getresponse().status == http.client.OK
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _redis(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(_SECONDS)
        try:
            connection.connect(path)
            connection.sendall(b"PING\r\n")
            return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@dataclass(frozen=True)
class ChildPlan:
    """The plan of one process.

    Attributes:
        env: Variables in addition to the stack's environment.
        without: Variables of the stack's environment that it does not get.
        after: Children that must be running (with `once`: finished) before it starts.
        once: It runs once and must exit with status 0; otherwise it must not exit.
        required: The stack is ready only after it is, and fails if it ends before.
        probe: The kind of readiness check, at `target`.
        url: Its address for people.
        grace: Seconds from SIGTERM to SIGKILL. The rest of its process group is killed after its end too.
        last: Stop it after all others.
        nice: Added niceness, for a lower priority than the workers'.
    """

    name: str
    argv: list[str]
    env: dict[str, str] = field(default_factory=dict)
    without: list[str] = field(default_factory=list)
    after: list[str] = field(default_factory=list)
    once: bool = False
    required: bool = True
    probe: ProbeKind = "none"
    target: str = ""
    url: str | None = None
    grace: float = 5.0
    last: bool = False
    nice: int = 0


@dataclass(frozen=True)
class Plan:
    """The plan of a stack; `owner` is a descriptor whose end of file stops a stack that belongs to one process."""

    home: str
    mark: str
    version: str
    url: str
    env: dict[str, str]
    children: list[ChildPlan]
    mlflow_url: str | None = None
    scratch: str | None = None
    notes: list[str] = field(default_factory=list)
    owner: int | None = None

    def to_json(self) -> str:
        """The plan as one JSON document."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> "Plan":
        """The plan that `to_json` wrote."""
        value: dict[str, Any] = json.loads(text)
        value["children"] = [ChildPlan(**child) for child in value["children"]]
        return cls(**value)


@dataclass(frozen=True)
class Connection:
    """The data for a client.

    Attributes:
        url: Address of the API.
        token: Its bearer token.
        mlflow_url: Address of MLflow, which may still be starting.
        home: The laboratory's folder.
        started: Whether this call started the stack.
    """

    url: str
    token: str = field(repr=False)
    mlflow_url: str | None
    home: Path
    started: bool


@dataclass
class ChildState:
    """The state of one child, for `talweg status`; `since` and fields with suffix `_at` are seconds since 1970.

    Attributes:
        born: Distinguishes the process from a later one with the same pid (`processes.birth`).
        restarts: Number of restarts after unexpected ends.
        last_exit: The last unexpected end: "exit status 1", "signal 9 (SIGKILL)".
        last_lines: The last lines of its log then.
    """

    name: str
    phase: ChildPhase = "waiting"
    pid: int | None = None
    born: float | None = None
    since: float | None = None
    url: str | None = None
    restarts: int = 0
    last_exit: str | None = None
    last_exit_at: float | None = None
    last_lines: list[str] = field(default_factory=list)
    retry_at: float | None = None


@dataclass
class StackState:
    """The state of the stack; `pid` and `born` are the supervisor's, `scratch` is the folder of a socket in /tmp."""

    phase: Phase = "starting"
    version: str = ""
    pid: int = 0
    born: float | None = None
    url: str = ""
    mlflow_url: str | None = None
    scratch: str | None = None
    notes: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None
    children: list[ChildState] = field(default_factory=list)

    def child(self, name: str) -> ChildState | None:
        """The child with that name, or None."""
        return next((child for child in self.children if child.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def write(folder: Folder, state: StackState) -> None:
    """Replace stack.json."""
    write_private(folder.state, json.dumps(state.to_json(), indent=1) + "\n")


def read(folder: Folder) -> StackState | None:
    """The content of stack.json; None where it is missing or of an unknown format."""
    try:
        value = json.loads(folder.state.read_text(encoding="utf-8"))
        children = [ChildState(**child) for child in value.pop("children")]
        return StackState(**value, children=children)
    except (OSError, ValueError, TypeError, KeyError):
        # The lock and the mark in the environment of its processes still identify the stack.
        return None
