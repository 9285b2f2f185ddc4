"""End a supervisor's children when the supervisor dies without ending them (SIGKILL, out of memory).

It runs as a script of its own, on the standard library alone, and reads a pipe whose other end only the supervisor
holds: `+pid` and `-pid` say which process groups live. End of file means that the supervisor is gone; whatever still
lives then is asked to end, and killed if it does not.
"""

import contextlib
import os
import signal
import subprocess
import sys
import time

GRACE = 10.0


class Watchdog:
    """The supervisor's end: starts the watchdog, starts it anew if it is gone, tells it who lives."""

    def __init__(self, env: dict[str, str]) -> None:
        self._env = env
        self._groups: set[int] = set()
        self._process = self._start()

    @property
    def pid(self) -> int:
        """The watchdog's process."""
        return self._process.pid

    def add(self, group: int) -> None:
        """This group lives."""
        self._groups.add(group)
        self._tell(f"+{group}\n")

    def remove(self, group: int) -> None:
        """This group has ended: its number may soon be another's."""
        self._groups.discard(group)
        self._tell(f"-{group}\n")

    def check(self) -> None:
        """Start the watchdog anew if it has ended."""
        if self._process.poll() is not None:
            self._process = self._start()

    def close(self) -> None:
        """Let it go: it ends what was not removed, then itself."""
        self._close_pipe()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE + 5)

    def _start(self) -> "subprocess.Popen[bytes]":
        process = subprocess.Popen(  # noqa: S603 - our own file
            # Isolated and without site-packages: it starts in 20 ms and nothing installed can break it.
            [sys.executable, "-I", "-S", __file__],
            stdin=subprocess.PIPE,
            env=self._env,
            start_new_session=True,
        )
        self._process = process
        for group in self._groups:
            self._tell(f"+{group}\n")
        return process

    def _tell(self, line: str) -> None:
        pipe = self._process.stdin
        if pipe is None:
            return
        try:
            pipe.write(line.encode())
            pipe.flush()
        except OSError:
            # It is gone; `check` starts another one, which is told of every group.
            self._close_pipe()

    def _close_pipe(self) -> None:
        if self._process.stdin is not None:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.stdin = None


def _lives(group: int) -> bool:
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
    while any(map(_lives, groups)) and time.monotonic() < deadline:
        time.sleep(0.1)
    for group in filter(_lives, groups):
        with contextlib.suppress(OSError):
            os.killpg(group, signal.SIGKILL)


def main() -> None:
    """Follow the pipe to its end."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        # A politely ended watchdog would leave the supervisor unwatched; the end of the pipe is its only end.
        signal.signal(number, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        group = int(line[1:])
        (groups.add if line.startswith("+") else groups.discard)(group)
    _end(groups, GRACE)


if __name__ == "__main__":
    main()
