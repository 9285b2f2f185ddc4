"""The logs of a stack: one file a process, private, kept small."""

import os
import time
from collections.abc import Callable, Iterator
from io import FileIO
from pathlib import Path

# A log longer than this is put aside (as NAME.log.1) when its process starts.
LARGEST = 10_000_000
_BLOCK = 65_536


def open_log(path: Path) -> FileIO:
    """The log to append to, in a folder that is made where it is gone; raises OSError."""
    path.parent.mkdir(mode=0o700, exist_ok=True)
    if path.exists() and path.stat().st_size > LARGEST:
        path.replace(path.with_suffix(".log.1"))
    return FileIO(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600), "ab")


def open_log_or_none(path: Path) -> FileIO:
    """The log, or the null device where it cannot be opened: a process without a log is better than none."""
    try:
        return open_log(path)
    except OSError:
        return FileIO(os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC), "wb")


def tail(path: Path, lines: int) -> list[str]:
    """The last lines, without reading a long file whole; none where there is no file."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            start = max(0, end - max(_BLOCK, lines * 512))
            file.seek(start)
            found = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return []
    return found[-lines:] if lines else []


def follow(paths: dict[str, Path], *, going: Callable[[], bool]) -> Iterator[tuple[str, str]]:
    """(name, line) as lines are written from now on, while `going` says so."""
    places = {name: path.stat().st_size if path.exists() else 0 for name, path in paths.items()}
    pending = dict.fromkeys(paths, b"")
    while True:
        more = going()
        for name, path in paths.items():
            fresh, places[name] = _since(path, places[name])
            *complete, pending[name] = (pending[name] + fresh).split(b"\n")
            for line in complete:
                yield name, line.decode("utf-8", "replace")
        if not more:
            return
        time.sleep(0.2)


def _since(path: Path, place: int) -> tuple[bytes, int]:
    try:
        # A shorter file is a new one: the old one was put aside.
        start = place if path.stat().st_size >= place else 0
        with path.open("rb") as file:
            file.seek(start)
            fresh = file.read()
    except OSError:
        return b"", 0
    return fresh, start + len(fresh)
