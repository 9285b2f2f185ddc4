"""The supervisor: `python -m talweg.local.supervisor`, with a plan on its standard input.

It has no terminal and continues after the process that started it. It starts children in the plan's order, restarts
those that end unexpectedly, writes its state to `stack.json`, and stops all children on SIGTERM, when its folder is
removed, or at the end of file of its owner's pipe, where it has an owner. If it is killed, a watchdog ends the
children.
"""

import contextlib
import json
import os
import re
import signal
import socket
import sys
from pathlib import Path
from select import select

from talweg.errors import ChildFailed, TalwegError, from_code
from talweg.local.folder import Folder, acquire_lock, remove_socket_folder, tail, write_lock
from talweg.local.processes import birth
from talweg.local.supervised_process import Child
from talweg.local.supervisor_plan import Plan, StackState, write
from talweg.local.watchdog import Watchdog

# The last line of a child that ends with a known error: `talweg: error: newer-laboratory: …`.
_KNOWN = re.compile(r"talweg: error: (?P<code>[a-z]+(?:-[a-z]+)*): (?P<message>.+)")
# Seconds between polls: of starting and stopping children, and otherwise.
FAST_POLL = 0.05
SLOW_POLL = 2.0
ALREADY_RUNNING = 3


def child_error(child: Child) -> dict[str, str]:
    """The error's code and message: those that the child printed, or its exit status and last log lines."""
    for line in reversed(tail(child.log, 3)):
        known = _KNOWN.fullmatch(line)
        if known and type(from_code(known["code"], "")) is not TalwegError:
            return {"code": known["code"], "message": known["message"]}
    return {"code": ChildFailed.code, "message": exit_message(child)}


def exit_message(child: Child) -> str:
    """Exit status and last log lines."""
    lines = "".join(f"\n    {line}" for line in child.state.last_lines) or " (it wrote nothing)"
    return f"{child.plan.name}: ended, {child.state.last_exit}; the last lines of {child.log}:{lines}"


class Supervisor:
    """Run one plan from start to end."""

    def __init__(self, plan: Plan, wakeup: socket.socket) -> None:
        """Start nothing; `wakeup` becomes readable with each signal."""
        self.plan = plan
        self.folder = Folder(Path(plan.home))
        self.state = StackState(
            version=plan.version,
            pid=os.getpid(),
            born=birth(os.getpid()),
            url=plan.url,
            mlflow_url=plan.mlflow_url,
            scratch=plan.scratch,
            notes=plan.notes,
        )
        self.watchdog = Watchdog(plan.env)
        self.children = [Child(child, plan.env, self.folder.home, self.watchdog) for child in plan.children]
        self.state.children = [child.state for child in self.children]
        self.stopping = False
        self._wakeup = wakeup
        self._written = self._logged = ""
        self._lock = self.folder.supervisor_lock.stat().st_ino

    def run(self) -> int:
        """Run until all children have ended; returns exit status 1 where the stack failed to start."""
        self._write_state()
        while not self.stopping:
            self._tick()
            self._write_state()
            self._sleep(self._poll_seconds())
        self._stop_all()
        return 1 if self.state.error else 0

    def _tick(self) -> None:
        self.watchdog.check()
        for child in self.children:
            if child.poll_end() and child.plan.required and self.state.phase == "starting":
                self.state.error = child_error(child)
                self.stopping = True
                return
            child.probe()
        done = {child.plan.name for child in self.children if child.done}
        for child in self.children:
            if child.state.phase == "waiting" and done.issuperset(child.plan.after):
                child.start()
            elif (delay := child.seconds_to_restart()) is not None and delay <= 0:
                child.restart()
        if self.state.phase == "starting" and all(child.done for child in self.children if child.plan.required):
            self.state.phase = "ready"

    def _poll_seconds(self) -> float:
        if any(child.state.phase == "starting" for child in self.children):
            return FAST_POLL
        delays = [delay for child in self.children if (delay := child.seconds_to_restart()) is not None]
        return max(FAST_POLL, min([SLOW_POLL, *delays]))

    def _sleep(self, seconds: float) -> None:
        wakeup = self._wakeup.fileno()
        owner = [self.plan.owner] if self.plan.owner is not None else []
        ready, _, _ = select([wakeup, *owner], [], [], seconds)
        if wakeup in ready:
            numbers = self._wakeup.recv(4096)
            self.stopping |= signal.SIGTERM in numbers or signal.SIGINT in numbers
        # No process writes to the owner's pipe: it is readable only at its end of file.
        self.stopping |= any(descriptor in ready for descriptor in owner) or not self._folder_exists()

    def _folder_exists(self) -> bool:
        """Whether the folder still exists and is the same one."""
        try:
            return self.folder.supervisor_lock.stat().st_ino == self._lock
        except OSError:
            return False

    def _stop_all(self) -> None:
        self.state.phase = "stopping"
        self._write_state()
        for last in (False, True):
            group = [child for child in self.children if child.plan.last is last]
            for child in group:
                child.stop()
            while [child for child in group if not child.stopped()]:
                self._write_state()
                select([self._wakeup], [], [], FAST_POLL)
        self.watchdog.close()
        if self.state.scratch:
            remove_socket_folder(Path(self.state.scratch))
        self.state.phase = "failed" if self.state.error else "stopped"
        self._write_state()

    def _write_state(self) -> None:
        """Write stack.json if it has changed; after a failure the old file stays, and the next call tries again."""
        text = json.dumps(self.state.to_json())
        if not self._folder_exists() or (text == self._written and self.folder.state.exists()):
            return
        try:
            write(self.folder, self.state)
        except OSError as error:
            # A full or read-only disk must not end training.
            self._log_once(f"{self.folder.state}: cannot be written: {error.strerror or error}")
        else:
            self._written, self._logged = text, ""

    def _log_once(self, line: str) -> None:
        """Print the line to this process's log, once; the disk of the log may be full too."""
        if line != self._logged:
            self._logged = line
            with contextlib.suppress(OSError):
                print(f"supervisor: {line}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Take the lock, detach from the starting process, and run the plan on standard input."""
    plan = Plan.from_json(sys.stdin.read())
    # Databases, logs and sockets are private to their owner.
    os.umask(0o077)
    lock = acquire_lock(Folder(Path(plan.home)).supervisor_lock, text=str(os.getpid()))
    if lock is None:
        return ALREADY_RUNNING
    # The starting process waits for this process only; the forked child keeps the lock and is adopted by init.
    if os.fork():
        os._exit(0)
    write_lock(lock, str(os.getpid()))
    listen, wakeup = socket.socketpair()
    listen.setblocking(False)
    wakeup.setblocking(False)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    signal.set_wakeup_fd(wakeup.fileno(), warn_on_full_buffer=False)
    return Supervisor(plan, listen).run()


if __name__ == "__main__":
    sys.exit(main())
