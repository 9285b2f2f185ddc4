"""Find and end a stack's processes: whole process groups, never another process that got an old pid."""

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
    """A number that tells the process from others of its pid; None where there is none, or only its remains.

    It is no time of day. On Linux psutil's start times move when the clock is set, by minutes where a virtual machine
    was asleep; what the kernel counts, ticks since it started, does not.
    """
    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            return None
        if sys.platform != "linux":
            return float(process.create_time())
        # The name, in brackets, may itself hold spaces and brackets.
        after_name = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2]
        return float(after_name.split()[19])
    except (psutil.Error, OSError):
        return None


def alive(pid: int | None, born: float | None) -> bool:
    """Whether the very process that had this `birth` still runs."""
    return pid is not None and born is not None and birth(pid) == born


def signal_group(group: int, number: signal.Signals) -> None:
    """Send a signal to a process group; one that is gone is no matter."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def marked(mark: str) -> list[psutil.Process]:
    """Every living process whose environment carries this stack's mark, whoever its parent is now."""
    return _living(lambda process: process.environ().get(MARK) == mark)


def in_groups(groups: Iterable[int]) -> list[psutil.Process]:
    """Every living process in these process groups."""
    wanted = set(groups)
    return _living(lambda process: os.getpgid(process.pid) in wanted)


def _living(wanted: Callable[[psutil.Process], bool]) -> list[psutil.Process]:
    found = []
    for process in psutil.process_iter():
        # A process may end, or belong to another user.
        with contextlib.suppress(psutil.Error, OSError):
            if wanted(process) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def end(processes: Iterable[psutil.Process], *, grace: float) -> None:
    """SIGTERM, and SIGKILL for what is left after `grace` seconds; psutil spares a pid that was given anew."""
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
    # Remains (zombies) whose parent never asks, as in many containers, hold nothing and cannot be ended.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.Error:
        return False
