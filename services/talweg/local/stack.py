"""Start, find and end the local stack of a folder.

A stack outlives whoever started it, as a database server does: training goes on when a script ends or is killed, and
the next `Lab()` finds it there. `stop` (`talweg down`) ends it. A stack that was started with `keep=False` ends with
its owner instead, also when the owner is killed.
"""

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from talweg.errors import ChildFailed, PortTaken, from_code
from talweg.local.folder import Folder, discard_scratch, exclusive_lock, is_held, open_log, tail
from talweg.local.processes import alive, end, in_groups, marked
from talweg.local.stack_plan import plan_stack, require_extra, reserve_port
from talweg.local.supervisor_plan import Connection, Plan, StackState, answers, read, write
from talweg.settings import Settings
from talweg.settings import settings as current_settings

START_SECONDS = 120.0
# Longer than the longest grace of a child, and the broker after it.
STOP_SECONDS = 30.0
_TRIES = 5

Say = Callable[[str], None]
Planner = Callable[[Settings, Folder, int | None], Plan]

# The writing ends of the pipes of stacks that end with this process.
_owned: dict[Path, int] = {}


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"talweg: {line}\n")


def _laboratory(settings: Settings, folder: Folder, owner: int | None) -> Plan:
    return plan_stack(settings, folder, owner=owner)


def ensure(
    home: Path | str | None = None,
    *,
    keep: bool = True,
    settings: Settings | None = None,
    say: Say = _to_stderr,
    planner: Planner = _laboratory,
) -> Connection:
    """The stack of `home`, started where it does not run; returns when its API answers.

    Args:
        home: The laboratory's folder; the setting `home` where None.
        keep: Whether a stack started here outlives this process; one that runs already is left as it is.
        settings: In place of those of this process.
        say: Takes one line a surprise, such as another port than the usual one.
        planner: Makes the plan; the laboratory's own by default.

    Raises:
        LocalStackError: NotWritable, NewerLaboratory, PortTaken, MissingExtra; ChildFailed with the last lines of
            the log of the process that could not start.
        DiskFull: It does not run, and there is no room to start it.
    """
    chosen = settings or current_settings()
    folder = Folder.of(Path(home) if home is not None else chosen.home)
    if planner is _laboratory:
        # Before anything is written: what cannot run leaves no folder behind.
        require_extra()
    if (found := _found(folder)) is not None:
        return found
    folder.prepare()
    # Two that come at once: the second waits here, and then finds what the first has started.
    with exclusive_lock(folder.start_lock, timeout=START_SECONDS):
        started = not is_held(folder.supervisor_lock)
        state = _start(folder, chosen, keep=keep, planner=planner) if started else _ready(folder)
    if started:
        for note in state.notes:
            say(note)
    return _connection(folder, state, started)


def _start(folder: Folder, settings: Settings, *, keep: bool, planner: Planner) -> StackState:
    """Start a stack; returns its state when it is ready."""
    for _ in range(_TRIES):
        _clear(folder)
        # Raises PortTaken where that very port was asked for.
        _launch(folder, settings, keep=keep, planner=planner)
        # Another program took it before our server did.
        with contextlib.suppress(PortTaken):
            return _ready(folder)
        _disown(folder)
    raise PortTaken(f"each of the {_TRIES} ports that were tried was taken by another program meanwhile")


def _found(folder: Folder) -> Connection | None:
    """The stack, where one is ready and nobody is ending it. Nothing is written: the disk may be full."""
    if not folder.home.is_dir() or is_held(folder.start_lock) or not is_held(folder.supervisor_lock):
        return None
    folder.check()
    state = read(folder)
    return _connection(folder, state, started=False) if state is not None and _is_ready(state) else None


def _is_ready(state: StackState) -> bool:
    # While its API starts again, another's may answer there.
    running = all(child.phase == "running" for child in state.children if child.url == state.url)
    return state.phase == "ready" and running and answers("http", f"{state.url}/healthz")


def _connection(folder: Folder, state: StackState, started: bool) -> Connection:
    return Connection(state.url, folder.token(), state.mlflow_url, folder.home, started)


def status(home: Path | str | None = None) -> StackState | None:
    """What runs in `home`; None where nothing does. A stack whose supervisor was killed has phase "failed"."""
    folder = _folder(home)
    if folder.home.is_dir():
        folder.check()
    state = read(folder)
    if is_held(folder.supervisor_lock) or state is None or state.phase in ("stopped", "failed"):
        return state if state is None or state.phase != "stopped" else None
    state.phase = "failed"
    state.error = {"code": ChildFailed.code, "message": "supervisor: ended unasked; talweg up starts anew"}
    for child in state.children:
        if not alive(child.pid, child.born):
            child.phase = "finished" if child.phase == "finished" else "stopped"
            child.pid = child.born = child.since = None
    return state


def found(home: Path | str | None = None) -> Connection | None:
    """Where the stack of `home` answers, if it runs; starts nothing."""
    folder = _folder(home)
    state = read(folder)
    if state is None or state.phase != "ready" or not is_held(folder.supervisor_lock):
        return None
    return Connection(state.url, folder.token(), state.mlflow_url, folder.home, started=False)


def ended(home: Path | str | None = None) -> Literal["stopped", "failed"] | None:
    """How the stack of `home` ended: someone stopped it, or nobody did; None where it runs, starts or is on its way."""
    folder = _folder(home)
    # Whoever holds the lock is about to start or to end it.
    if is_held(folder.start_lock):
        return None
    state = status(home)
    if is_held(folder.start_lock) or is_held(folder.supervisor_lock):
        return None
    return "stopped" if state is None else "failed"


def stop(home: Path | str | None = None) -> list[str]:
    """End the stack of `home` and everything it left behind; returns the names of what was running.

    Side effects: frees ports and sockets. Databases, records and logs stay; unfinished runs go on when the stack is
    started again.
    """
    folder = _folder(home)
    if not folder.home.is_dir():
        return []
    folder.check()
    with exclusive_lock(folder.start_lock, timeout=START_SECONDS):
        state = read(folder)
        running = [child.name for child in state.children if alive(child.pid, child.born)] if state else []
        running += ["supervisor"] if is_held(folder.supervisor_lock) else []
        if is_held(folder.supervisor_lock):
            _end_supervisor(folder)
        _clear(folder)
        _disown(folder)
    return running


def _disown(folder: Folder) -> None:
    """Close the pipe whose end tells a stack of this process to end."""
    if (owner := _owned.pop(folder.home, None)) is not None:
        os.close(owner)


def _folder(home: Path | str | None) -> Folder:
    return Folder.of(Path(home) if home is not None else current_settings().home)


def _launch(folder: Folder, settings: Settings, *, keep: bool, planner: Planner) -> None:
    """Start a supervisor; returns when it holds its lock."""
    reading, writing = (None, None) if keep else os.pipe()
    kept: list[socket.socket] = []
    try:
        plan, kept = _planned(settings, folder, reading, planner)
        write(folder, StackState(version=plan.version, url=plan.url, scratch=plan.scratch))
        log_path = folder.log("supervisor")
        with open_log(log_path) as log:
            done = subprocess.run(
                [sys.executable, "-m", "talweg.local.supervisor"],
                input=plan.to_json().encode(),
                stdout=log,
                stderr=subprocess.STDOUT,
                env=plan.env,
                cwd=folder.home,
                start_new_session=True,
                # The ports are kept for as long as it lives.
                pass_fds=[*([] if reading is None else [reading]), *(each.fileno() for each in kept)],
                check=False,
            )
        if done.returncode:
            raise ChildFailed(f"supervisor: exit status {done.returncode}; the last lines of {_last_lines(log_path)}")
    except BaseException:
        if writing is not None:
            os.close(writing)
        raise
    finally:
        if reading is not None:
            os.close(reading)
        for each in kept:
            each.close()
    if writing is not None:
        _owned[folder.home] = writing


def _planned(
    settings: Settings, folder: Folder, owner: int | None, planner: Planner
) -> tuple[Plan, list[socket.socket]]:
    """A plan, and what keeps its ports from other laboratories while it is open."""
    while True:
        plan = planner(settings, folder, owner)
        ports = [urlsplit(child.target).port or 0 for child in plan.children if child.probe == "http"]
        kept = [each for port in ports if (each := reserve_port(port)) is not None]
        if len(kept) == len(ports):
            return plan, kept
        for each in kept:
            each.close()


def _ready(folder: Folder) -> StackState:
    """The state once the stack is ready; ends a stack that is not in time."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        lives = is_held(folder.supervisor_lock)
        state = read(folder)
        if state is not None and state.error is not None:
            # It is on its way out; the next one must not find its ports taken.
            _wait_released(folder, STOP_SECONDS)
            raise from_code(state.error["code"], state.error["message"])
        if lives and state is not None and _is_ready(state):
            return state
        if not lives:
            raise ChildFailed(f"supervisor: ended; the last lines of {_last_lines(folder.log('supervisor'))}")
        if time.monotonic() > deadline:
            _end_supervisor(folder)
            raise ChildFailed(_late(folder, state))
        time.sleep(0.03)


def _late(folder: Folder, state: StackState | None) -> str:
    slow = [child.name for child in state.children if child.phase == "starting"] if state else []
    logs = "".join(f"\n  {_last_lines(folder.log(name))}" for name in slow)
    return f"{', '.join(slow) or 'supervisor'}: did not answer within {START_SECONDS:.0f} s; the last lines of{logs}"


def _last_lines(log: Path) -> str:
    return f"{log}:" + "".join(f"\n    {line}" for line in tail(log, 12))


def _end_supervisor(folder: Folder) -> None:
    """SIGTERM, and SIGKILL where that does not help: its watchdog and `_clear` see to its children then."""
    for number, patience in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(OSError, ValueError):
            # Whoever holds the lock wrote its pid into it: this is no stranger.
            os.kill(int(folder.supervisor_lock.read_text(encoding="utf-8")), number)
        if _wait_released(folder, patience):
            return


def _wait_released(folder: Folder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(folder.supervisor_lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def _clear(folder: Folder) -> None:
    """End what a stack without a supervisor left behind, and forget it."""
    state = read(folder)
    left = {process.pid: process for process in marked(folder.marker)}
    if state is not None:
        groups = [child.pid for child in state.children if child.pid and alive(child.pid, child.born)]
        left |= {process.pid: process for process in in_groups(groups)}
        if state.scratch:
            discard_scratch(Path(state.scratch))
    # A script that a stack's own process started carries the mark too, and must not end itself.
    left.pop(os.getpid(), None)
    end(left.values(), grace=15.0)
    folder.state.unlink(missing_ok=True)
