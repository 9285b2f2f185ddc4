"""Start, find and end the local stack of a folder.

A stack continues after the process that started it, like a database server: training goes on after a script ends or is
killed, and the next `Lab()` finds the stack. `stop` (`talweg down`) ends it. A stack started with `keep=False` ends
with the process that started it, also if that is killed.
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
from talweg.local.folder import Folder, exclusive_lock, is_held, open_log, remove_socket_folder, tail
from talweg.local.processes import alive, end, in_groups, marked
from talweg.local.stack_plan import plan_stack, require_extra, reserve_port
from talweg.local.supervisor_plan import Connection, Plan, StackState, answers, read, write
from talweg.settings import Settings
from talweg.settings import settings as current_settings

START_SECONDS = 120.0
# Longer than the longest grace of a child plus that of the broker, which is stopped last.
STOP_SECONDS = 30.0
_TRIES = 5

Say = Callable[[str], None]
Planner = Callable[[Settings, Folder, int | None], Plan]

# The write ends of the pipes of stacks that end with this process.
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
    """Find or start the stack of `home`; returns when its API answers.

    Args:
        home: The laboratory's folder; the setting `home` where None.
        keep: Whether a stack started here continues after this process; no effect on a running stack.
        settings: Settings; None for those of this process.
        say: Prints a message, such as one about another port than the default.
        planner: Creates the plan; by default that of the laboratory.

    Raises:
        LocalStackError: NotWritable, NewerLaboratory, PortTaken, MissingExtra; ChildFailed with the last log lines of
            the process that could not start.
        DiskFull: There is no room to start it.
    """
    chosen = settings or current_settings()
    folder = Folder.of(Path(home) if home is not None else chosen.home)
    if planner is _laboratory:
        # Before anything is written: a stack that cannot run must leave no folder.
        require_extra()
    if (found := _found(folder)) is not None:
        return found
    folder.prepare()
    # If two processes start it, the second one waits here and then finds the stack of the first.
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
        # Raises PortTaken where the port was given explicitly.
        _launch(folder, settings, keep=keep, planner=planner)
        # Another program may take the port before our server listens.
        with contextlib.suppress(PortTaken):
            return _ready(folder)
        _close_owner_pipe(folder)
    raise PortTaken(f"other programs took each of the {_TRIES} ports that were tried")


def _found(folder: Folder) -> Connection | None:
    """The stack, if it is ready and not being stopped. Writes nothing, since the disk may be full."""
    if not folder.home.is_dir() or is_held(folder.start_lock) or not is_held(folder.supervisor_lock):
        return None
    folder.check()
    state = read(folder)
    return _connection(folder, state, started=False) if state is not None and _is_ready(state) else None


def _is_ready(state: StackState) -> bool:
    # While its API restarts, another program may answer at the URL.
    running = all(child.phase == "running" for child in state.children if child.url == state.url)
    return state.phase == "ready" and running and answers("http", f"{state.url}/healthz")


def _connection(folder: Folder, state: StackState, started: bool) -> Connection:
    return Connection(state.url, folder.token(), state.mlflow_url, folder.home, started)


def status(home: Path | str | None = None) -> StackState | None:
    """The state of the stack in `home`; None where it does not run. Phase "failed": its supervisor was killed."""
    folder = _folder(home)
    if folder.home.is_dir():
        folder.check()
    state = read(folder)
    if is_held(folder.supervisor_lock) or state is None or state.phase in ("stopped", "failed"):
        return state if state is None or state.phase != "stopped" else None
    state.phase = "failed"
    state.error = {"code": ChildFailed.code, "message": "supervisor: ended unexpectedly; start again with: talweg up"}
    for child in state.children:
        if not alive(child.pid, child.born):
            child.phase = "finished" if child.phase == "finished" else "stopped"
            child.pid = child.born = child.since = None
    return state


def found(home: Path | str | None = None) -> Connection | None:
    """The connection to the stack of `home`, if it runs; starts nothing."""
    folder = _folder(home)
    state = read(folder)
    if state is None or state.phase != "ready" or not is_held(folder.supervisor_lock):
        return None
    return Connection(state.url, folder.token(), state.mlflow_url, folder.home, started=False)


def ended(home: Path | str | None = None) -> Literal["stopped", "failed"] | None:
    """Whether the stack of `home` was stopped or failed; None where it runs, starts or stops."""
    folder = _folder(home)
    # The holder of the lock is starting or stopping it.
    if is_held(folder.start_lock):
        return None
    state = status(home)
    if is_held(folder.start_lock) or is_held(folder.supervisor_lock):
        return None
    return "stopped" if state is None else "failed"


def stop(home: Path | str | None = None) -> list[str]:
    """Stop the stack of `home` and its remaining processes; returns the names of those that ran.

    Side effects: frees ports and sockets. Databases, records and logs stay; unfinished runs continue after the next
    start.
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
        _close_owner_pipe(folder)
    return running


def _close_owner_pipe(folder: Folder) -> None:
    """Close the pipe of a stack that ends with this process."""
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
                # The supervisor holds the reserved ports while it runs.
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
    """A plan, and the sockets that reserve its ports while they are open."""
    while True:
        plan = planner(settings, folder, owner)
        ports = [urlsplit(child.target).port or 0 for child in plan.children if child.probe == "http"]
        kept = [each for port in ports if (each := reserve_port(port)) is not None]
        if len(kept) == len(ports):
            return plan, kept
        for each in kept:
            each.close()


def _ready(folder: Folder) -> StackState:
    """Wait until the stack is ready and return its state; stop it after START_SECONDS."""
    deadline = time.monotonic() + START_SECONDS
    while True:
        lives = is_held(folder.supervisor_lock)
        state = read(folder)
        if state is not None and state.error is not None:
            # Wait for its end: the next stack needs its ports.
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
    """Send SIGTERM, then SIGKILL; then its watchdog and `_clear` end its children."""
    for number, seconds in ((signal.SIGTERM, STOP_SECONDS), (signal.SIGKILL, 5.0)):
        with contextlib.suppress(OSError, ValueError):
            # The holder of the lock wrote its pid into it, so the pid is the supervisor's.
            os.kill(int(folder.supervisor_lock.read_text(encoding="utf-8")), number)
        if _wait_released(folder, seconds):
            return


def _wait_released(folder: Folder, seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while is_held(folder.supervisor_lock):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.03)
    return True


def _clear(folder: Folder) -> None:
    """End the remaining processes of a stack without a supervisor, and remove its state."""
    state = read(folder)
    left = {process.pid: process for process in marked(folder.marker)}
    if state is not None:
        groups = [child.pid for child in state.children if child.pid and alive(child.pid, child.born)]
        left |= {process.pid: process for process in in_groups(groups)}
        if state.scratch:
            remove_socket_folder(Path(state.scratch))
    # A script started by a process of the stack has the mark too, and must not end itself.
    left.pop(os.getpid(), None)
    end(left.values(), grace=15.0)
    folder.state.unlink(missing_ok=True)
