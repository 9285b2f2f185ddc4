"""Whether a child answers yet."""

import http.client
import socket
from typing import Literal
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
