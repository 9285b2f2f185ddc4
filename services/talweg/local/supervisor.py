"""The supervisor: `python -m talweg.local.supervisor`, with a plan on its standard input.

It belongs to no terminal and outlives whoever started it. It starts children in the plan's order, starts those anew
that end unasked, says in `stack.json` what it does, and ends them all on SIGTERM, when its folder is removed, or at
the end of file of its owner, where it has one. A watchdog ends them if it is killed itself.
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
from talweg.local.folder import Folder, acquire_lock, discard_scratch, sign_lock, tail
from talweg.local.processes import birth
from talweg.local.supervised_process import Child
from talweg.local.supervisor_plan import Plan, StackState, write
from talweg.local.watchdog import Watchdog

# What a child that knows what is wrong prints last: `talweg: error: newer-laboratory: …`.
_KNOWN = re.compile(r"talweg: error: (?P<code>[a-z]+(?:-[a-z]+)*): (?P<message>.+)")
# How often it looks at what is starting or stopping, and at its folder when nothing happens.
SOON = 0.05
SELDOM = 2.0
ALREADY_RUNNING = 3


def verdict(child: Child) -> dict[str, str]:
    """The error's code and message: what the child says itself, or how it ended with its last lines."""
    for line in reversed(tail(child.log, 3)):
        known = _KNOWN.fullmatch(line)
        if known and type(from_code(known["code"], "")) is not TalwegError:
            return {"code": known["code"], "message": known["message"]}
    return {"code": ChildFailed.code, "message": last_words(child)}


def last_words(child: Child) -> str:
    """How it ended, and the end of its log."""
    lines = "".join(f"\n    {line}" for line in child.state.last_lines) or " (it wrote nothing)"
    return f"{child.plan.name}: ended, {child.state.last_exit}; the last lines of {child.log}:{lines}"


class Supervisor:
    """Runs one plan from its start to its end."""

    def __init__(self, plan: Plan, wakeup: socket.socket) -> None:
        """Nothing is started yet; `wakeup` becomes readable with each signal."""
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
        self._written = self._complaint = ""
        self._lock = self.folder.supervisor_lock.stat().st_ino

    def run(self) -> int:
        """Until everything has ended; the exit status is 1 where the stack failed to start."""
        self._say()
        while not self.stopping:
            self._tick()
            self._say()
            self._sleep(self._patience())
        self._end()
        return 1 if self.state.error else 0

    def _tick(self) -> None:
        self.watchdog.check()
        for child in self.children:
            if child.look() and child.plan.required and self.state.phase == "starting":
                self.state.error = verdict(child)
                self.stopping = True
                return
            child.probe()
        done = {child.plan.name for child in self.children if child.done}
        for child in self.children:
            if child.state.phase == "waiting" and done.issuperset(child.plan.after):
                child.start()
            elif (rest := child.rest()) is not None and rest <= 0:
                child.restart()
        if self.state.phase == "starting" and all(child.done for child in self.children if child.plan.required):
            self.state.phase = "ready"

    def _patience(self) -> float:
        if any(child.state.phase == "starting" for child in self.children):
            return SOON
        rests = [rest for child in self.children if (rest := child.rest()) is not None]
        return max(SOON, min([SELDOM, *rests]))

    def _sleep(self, seconds: float) -> None:
        wakeup = self._wakeup.fileno()
        owner = [self.plan.owner] if self.plan.owner is not None else []
        ready, _, _ = select([wakeup, *owner], [], [], seconds)
        if wakeup in ready:
            numbers = self._wakeup.recv(4096)
            self.stopping |= signal.SIGTERM in numbers or signal.SIGINT in numbers
        # Nobody ever writes to the owner's pipe: it is readable at its end of file.
        self.stopping |= any(descriptor in ready for descriptor in owner) or not self._at_home()

    def _at_home(self) -> bool:
        """Whether the folder is still the one it was; someone may have removed it."""
        try:
            return self.folder.supervisor_lock.stat().st_ino == self._lock
        except OSError:
            return False

    def _end(self) -> None:
        self.state.phase = "stopping"
        self._say()
        for last in (False, True):
            group = [child for child in self.children if child.plan.last is last]
            for child in group:
                child.stop()
            while [child for child in group if not child.stopped()]:
                self._say()
                select([self._wakeup], [], [], SOON)
        self.watchdog.close()
        if self.state.scratch:
            discard_scratch(Path(self.state.scratch))
        self.state.phase = "failed" if self.state.error else "stopped"
        self._say()

    def _say(self) -> None:
        """Write stack.json if it would differ; where that fails, the old one stays, and the next turn tries again."""
        text = json.dumps(self.state.to_json())
        if not self._at_home() or (text == self._written and self.folder.state.exists()):
            return
        try:
            write(self.folder, self.state)
        except OSError as error:
            # A full disk, or one that is read-only by now, ends no training.
            self._complain(f"{self.folder.state}: cannot be written: {error.strerror or error}")
        else:
            self._written, self._complaint = text, ""

    def _complain(self, line: str) -> None:
        """Into this process's log, once; that disk may be full too."""
        if line != self._complaint:
            self._complaint = line
            with contextlib.suppress(OSError):
                print(f"supervisor: {line}", file=sys.stderr, flush=True)  # noqa: T201


def main() -> int:
    """Take the lock, leave the starter's side, and run the plan that stands on standard input."""
    plan = Plan.from_json(sys.stdin.read())
    # Databases, logs and sockets are their owner's alone.
    os.umask(0o077)
    lock = acquire_lock(Folder(Path(plan.home)).supervisor_lock, note=str(os.getpid()))
    if lock is None:
        return ALREADY_RUNNING
    # The starter waits for this process only; its child is nobody's, and keeps the lock.
    if os.fork():
        os._exit(0)
    sign_lock(lock, str(os.getpid()))
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
