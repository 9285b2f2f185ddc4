"""End a supervisor's children when the supervisor dies without ending them (SIGKILL, out of memory).

It runs as a separate script with the standard library only, and reads a pipe whose other end only the supervisor holds:
`+pid` and `-pid` add and remove a process group. End of file means that the supervisor has ended; the remaining groups
get SIGTERM, then SIGKILL.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

GRACE = 10.0


class Watchdog:
    """The supervisor's side: start and restart the watchdog, and send it the process groups."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._groups: set[int] = set()
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The pid of the watchdog."""
        return self._process.pid

    def add(self, group: int) -> None:
        """Add a running group."""
        self._groups.add(group)
        self._send(f"+{group}\n")

    def remove(self, group: int) -> None:
        """Remove an ended group: its number may be reused."""
        self._groups.discard(group)
        self._send(f"-{group}\n")

    def check(self) -> None:
        """Restart the watchdog if it has ended."""
        if self._process.poll() is not None:
            self._process = self._start()

    def close(self) -> None:
        """Close the pipe and wait: the watchdog ends the remaining groups, then itself."""
        self._close_pipe()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE + 5)

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603 - our own file
            # Isolated and without site-packages: starts in 20 ms, and no installed package can break it.
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        self._process = process
        for group in self._groups:
            self._send(f"+{group}\n")
        return process

    def _send(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            pipe.write(line.encode())
            pipe.flush()
        except OSError:
            # It has ended; `check` starts another one with all groups.
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.stdin = None


def _runs(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except (ProcessLookupError, PermissionError):
        return False
    return True


def _end(groups: set[int], grace: float) -> None:
    for group in groups:
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGTERM)
    deadline = time.monotonic() + grace
    while any(map(_runs, groups)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for group in filter(_runs, groups):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Read the pipe to its end, then end the groups."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # Ignore these signals: a watchdog that ends early leaves the supervisor unwatched. It ends with the pipe.
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line.startswith("+") else groups.discard)(group)
    _end(groups, GRACE)


if __name__ == "__main__":
    main()
