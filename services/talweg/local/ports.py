"""Ports on loopback: the one asked for, or the next free one, kept from other laboratories of this machine."""

import socket
import sys
from collections.abc import Container

from talweg.errors import PortTaken

HOST = "127.0.0.1"

_TRIES = 100


def choose(port: int, *, explicit: bool, what: str, besides: Container[int] = ()) -> tuple[int, str | None]:
    """A free port that is not one of `besides`, and a line to show where it is not the default one.

    Raises:
        PortTaken: `explicit`, and something listens there already.
    """
    if port == 0:
        return _any(besides), None
    if port not in besides and free(port):
        return port, None
    if explicit:
        raise PortTaken(f"{what}: port {port} is taken; choose another one, or 0 for any that is free")
    near = range(port + 1, min(port + _TRIES, 65536))
    found = next((other for other in near if other not in besides and free(other)), None) or _any(besides)
    return found, f"port {port} is taken, {what} uses {found}"


def free(port: int) -> bool:
    """Whether one could listen on the port now."""
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As servers do: a port whose last connections are still closing is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return not _kept(port)


def reserve(port: int) -> socket.socket | None:
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
    reserved = reserve(port)
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
