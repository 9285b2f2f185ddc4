"""Whether a child answers yet."""

import http.client
import socket
from typing import Literal
from urllib.parse import urlsplit

ProbeKind = Literal["none", "http", "redis"]
_SECONDS = 1.0


def answers(kind: ProbeKind, target: str) -> bool:
    """Whether what listens at `target` (a URL, or a socket's path) answers as it should."""
    if kind == "http":
        return _http(target)
    return _redis(target) if kind == "redis" else True


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
