"""What a supervisor runs, as plain data on its standard input, with how to see whether a child answers yet."""

import http.client
import json
import socket
from dataclasses import asdict, dataclass, field
from typing import Any, Literal
from urllib.parse import urlsplit

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

ProbeKind = Literal["none", "http", "redis"]
_SECONDS = 1.0


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
