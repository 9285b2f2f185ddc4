"""What a supervisor runs, as plain data on its standard input, and what it says of itself in `stack.json`.

With how to see whether a child answers yet, and where a running stack is found.
"""

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
    """Whether what listens at `target` (a URL, or a socket's path) answers as it should."""
    if kind == "http":
        return _http(target)
    return _redis(target) if kind == "redis" else True


def listens(pid: int, url: str) -> bool:
    """Whether the process, or one that it started, listens where `url` leads: another's server may answer there."""
    port = urlsplit(url).port
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
        sockets = [each for member in family for each in member.net_connections("tcp")]
    except psutil.Error:
        return False
    return any(each.status == psutil.CONN_LISTEN and each.laddr.port == port for each in sockets)


def _http(url: str) -> bool:
    # http.client, for it asks no proxy and imports in no time.
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
    """One process.

    Attributes:
        env: What its environment has beyond the stack's.
        without: What it lacks of the stack's environment.
        after: Children that must answer (or, if they run once, have finished) before it starts.
        once: It is done when it exits with status 0; otherwise it should never exit.
        required: The stack is not ready before it is, and fails if it ends before that.
        probe: How to ask whether it is ready, at `target`.
        url: Where people find it.
        grace: Seconds that it has after SIGTERM to end what it started and itself; what is left of its process group
            then, or once it has ended, is killed.
        last: It is stopped after all the others.
        nice: Lower priority than what computes.
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
    """A whole stack; `owner` is a descriptor whose end-of-file stops it, where it belongs to one process."""

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
    """What a client needs.

    Attributes:
        url: The API.
        token: Its bearer token.
        mlflow_url: Where MLflow will be found; it may still be starting.
        home: The laboratory's folder.
        started: Whether this call started the stack, rather than found it.
    """

    url: str
    token: str = field(repr=False)
    mlflow_url: str | None
    home: Path
    started: bool


@dataclass
class ChildState:
    """One child as `talweg status` shows it; `since` and what ends in `_at` are seconds since 1970.

    Attributes:
        born: What tells the process from a later one of the same pid (`processes.birth`).
        restarts: How often it was started again after it had ended unasked.
        last_exit: How it ended the last time it ended unasked: "exit status 1", "signal 9 (SIGKILL)".
        last_lines: The end of its log at that moment.
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
    """The stack; `pid` and `born` are the supervisor's, `scratch` is a folder to remove at the end."""

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
        """The child of that name, if there is one."""
        return next((child for child in self.children if child.name == name), None)

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def write(folder: Folder, state: StackState) -> None:
    """Replace stack.json."""
    write_private(folder.state, json.dumps(state.to_json(), indent=1) + "\n")


def read(folder: Folder) -> StackState | None:
    """What stack.json says; None where there is none, or none that this version understands."""
    try:
        value = json.loads(folder.state.read_text(encoding="utf-8"))
        children = [ChildState(**child) for child in value.pop("children")]
        return StackState(**value, children=children)
    except (OSError, ValueError, TypeError, KeyError):
        # A stack that cannot be read about is still found: by its lock and by the mark its processes carry.
        return None
