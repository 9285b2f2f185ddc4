"""Locks that the kernel releases when their holder dies, however it dies."""

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from talweg.errors import LocalStackError


def acquire(path: Path, *, note: str = "") -> int | None:
    """An open descriptor that holds the lock, with `note` as the file's text; None where another holds it."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    sign(descriptor, note)
    return descriptor


def sign(descriptor: int, note: str) -> None:
    """Make `note` the text of a lock that is held; over the old one, which needs no room on a full disk."""
    written = os.pwrite(descriptor, note.encode(), 0)
    os.ftruncate(descriptor, written)


def held(path: Path) -> bool:
    """Whether some process holds the lock."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        # Shared, so that two who only look do not take each other for the holder.
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


@contextmanager
def exclusive(path: Path, *, timeout: float) -> Iterator[None]:
    """Hold the lock; wait for it at most `timeout` seconds.

    Raises:
        LocalStackError: Another process still holds it.
    """
    deadline = time.monotonic() + timeout
    while (descriptor := acquire(path, note=str(os.getpid()))) is None:
        if time.monotonic() > deadline:
            holder = path.read_text(encoding="utf-8") or "unknown"
            raise LocalStackError(
                f"{path.parent}: process {holder} has been starting or stopping the stack for {timeout:.0f} s"
            )
        time.sleep(0.05)
    try:
        yield
    finally:
        os.close(descriptor)
