"""Find and end the processes of a stack: whole process groups, but no unrelated process that reuses a pid."""

import contextlib
import os
import signal
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

MARK = "TALWEG_STACK"


def birth(pid: int) -> float | None:
    """A number that distinguishes the process from others with its pid; None where it has ended or is a zombie.

    It is not a time of day. On Linux psutil's start times change when the clock is set, by minutes after a virtual
    machine was suspended; the kernel's start time in ticks since boot does not change.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform != "linux":
            return float(process.create_time())
        # The name is in brackets, and may contain spaces and brackets.
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return float(after_name.split()[19])
    except (psutil.Error, OSError):
        return None


def alive(pid: int | None, born: float | None) -> bool:
    """Whether the process with this pid and `birth` still runs."""
    return pid is not None and born is not None and birth(pid) == born


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group; no effect where it has ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def marked(mark: str) -> list[psutil.Process]:
    """All running processes with this stack's mark in their environment, whatever their parent."""
    return _running(lambda process: process.environ().get(MARK) == mark)


def in_groups(groups: Iterable[int]) -> list[psutil.Process]:
    """All running processes in these process groups."""
    wanted = set(groups)
    return _running(lambda process: os.getpgid(process.pid) in wanted)


def _running(wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # A process may end, or belong to another user.
        with contextlib.suppress(psutil.Error, OSError):
            if wanted(process) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], *, grace: float) -> None:
    """Send SIGTERM, and SIGKILL after `grace` seconds; psutil sends no signal to a reused pid."""
    left = list(processes)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.terminate()
    left = _wait(left, grace)
    for process in left:
        with contextlib.suppress(psutil.Error):
            process.kill()
    _wait(left, 5.0)


def _wait(processes: list[psutil.Process], seconds: float) -> list[psutil.Process]:
    deadline = time.monotonic() + seconds
    while processes := [process for process in processes if _runs(process)]:
        if time.monotonic() > deadline:
            break
        time.sleep(0.05)
    return processes


def _runs(process: psutil.Process) -> bool:
    # A zombie whose parent never waits for it, as in many containers, holds no resources and cannot be ended.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
