"""The API process: uvicorn on a socket that this module opens, so that a taken port has a clear error."""

import errno
import logging
import signal
import socket
import stat
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog
import uvicorn

from talweg import logs, queue, startup
from talweg.api.app import create_app
from talweg.api.tokens import FOR_METRICS, register
from talweg.errors import LocalStackError, PortTaken, TalwegError
from talweg.settings import Settings, settings
from talweg.store import open_store

log = structlog.get_logger("talweg.api")

# Connections that the kernel queues while all handlers are busy.
BACKLOG = 512


def configure_logs(level: str) -> None:
    """`talweg.logs.configure`, without uvicorn's own start messages: `serve` logs the address."""
    logs.configure(level)
    logging.getLogger("uvicorn").setLevel(logging.WARNING)


def main() -> int:
    """Serve until SIGTERM or SIGINT, and return the exit status; an error is the last line of stderr."""
    try:
        serve(settings())
    except TalwegError as error:
        print(f"talweg: error: {error.code}: {error}", file=sys.stderr)  # noqa: T201
        return error.exit_code
    return 0


def serve(settings: Settings) -> None:
    """Open the store, register the settings' tokens, and serve.

    Raises:
        TalwegError: a setting is missing, the database is of another version, or the address is taken.
    """
    configure_logs(settings.log_level)
    if settings.database_url is None or settings.broker_url is None:
        name = "TALWEG_DATABASE_URL" if settings.database_url is None else "TALWEG_BROKER_URL"
        raise LocalStackError(f"api: {name} must be set")
    # Without this, uvicorn raises the signal again at its end, and no `finally` runs.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    listener, url = listen(settings)
    database = settings.database_url.get_secret_value()
    with closing(listener, settings.socket), open_store(database) as store:
        if settings.token is not None:
            register(store, settings.token.get_secret_value())
        if settings.metrics_token is not None:
            register(store, settings.metrics_token.get_secret_value(), scope="read", prefix=FOR_METRICS)
        app = create_app(store, settings, queue.publish)
        config = uvicorn.Config(
            app,
            log_config=None,
            access_log=False,
            server_header=False,
            # Clients are known by their token, never by a header that anyone can set.
            proxy_headers=False,
            lifespan="off",
            timeout_keep_alive=30,
            timeout_graceful_shutdown=5,
        )
        startup.loaded()
        log.info("listening", url=url)
        uvicorn.Server(config).run(sockets=[listener])


def listen(settings: Settings) -> tuple[socket.socket, str]:
    """A listening socket at the settings' address, and its URL; port 0 takes any free port.

    Raises:
        PortTaken: another process has the port.
        LocalStackError: the address cannot be used.
    """
    if settings.socket is not None:
        return _unix(settings.socket), f"unix:{settings.socket}"
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    # A port in TIME_WAIT after a restart can be used at once; one that another process listens on cannot.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        where = f"{settings.host}:{settings.port}"
        if error.errno == errno.EADDRINUSE:
            raise PortTaken(f"port: must be free, but {where} is in use by another process") from error
        raise LocalStackError(f"host: {where} cannot be listened on: {error.strerror or error}") from error
    host = f"[{settings.host}]" if family == socket.AF_INET6 else settings.host
    return listener, f"http://{host}:{listener.getsockname()[1]}"


@contextmanager
def closing(listener: socket.socket, path: Path | None) -> Iterator[None]:
    """Close the socket at the end, and delete its file if it has one."""
    try:
        yield
    finally:
        listener.close()
        if path is not None:
            path.unlink(missing_ok=True)


def _unix(path: Path) -> socket.socket:
    """A socket file for its owner only; it replaces the socket of a dead server, and nothing else."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        if path.is_socket() and not _answers(path):
            path.unlink()
        listener.bind(str(path))
        # Nobody can connect before `listen`, so there is no moment in which others could.
        path.chmod(stat.S_IRUSR | stat.S_IWUSR)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        kind = PortTaken if error.errno == errno.EADDRINUSE else LocalStackError
        raise kind(f"socket: {path} cannot be listened on: {error.strerror or error}") from error
    return listener


def _answers(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except OSError:
            return False
        return True
