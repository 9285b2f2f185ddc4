"""One supervised process: start, detect its end, restart, stop. No function blocks."""

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

from talweg.local.folder import Folder, open_log_or_none, tail
from talweg.local.processes import birth, signal_group
from talweg.local.supervisor_plan import ChildPlan, ChildState, answers, listens
from talweg.local.watchdog import Watchdog

FIRST_DELAY = 0.5
LONGEST_DELAY = 30.0
# Seconds after which a child counts as recovered: its next restart has the first delay again.
HEALTHY_AFTER = 60.0
_LINES = 12


class Child:
    """A process of the stack; `state` is its part of stack.json."""

    def __init__(self, plan: ChildPlan, env: dict[str, str], home: Path, watchdog: Watchdog) -> None:
        """Start nothing."""
        self.plan = plan
        self.state = ChildState(plan.name, url=plan.url)
        self.log = home / "logs" / f"{plan.name}.log"
        self._env = {key: value for key, value in env.items() if key not in plan.without} | plan.env
        self._home = home
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._unreported = False
        self._since = 0.0
        self._retry = 0.0
        self._kill_at: float | None = None

    @property
    def done(self) -> bool:
        """Whether the children that depend on it may start."""
        return self.state.phase == ("finished" if self.plan.once else "running")

    @property
    def living(self) -> bool:
        """Whether the process runs."""
        return self._process is not None

    def start(self) -> None:
        """Start the process in a new session and process group, with its output in its log."""
        self._since = time.monotonic()
        with open_log_or_none(self.log) as log:
            try:
                self._process = subprocess.Popen(  # noqa: S603 - the plan's own arguments, no shell
                    self.plan.argv,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    env=self._env,
                    cwd=self._home,
                    start_new_session=True,
                )
            except OSError as error:
                with contextlib.suppress(OSError):
                    log.write(f"{self.plan.argv[0]}: cannot be started: {error.strerror}\n".encode())
                self._ended("not started")
                self._unreported = True
                return
        pid = self._process.pid
        self._watchdog.add(pid)
        if self.plan.nice:
            with contextlib.suppress(OSError):
                os.setpriority(os.PRIO_PROCESS, pid, self.plan.nice)
        self.state.pid, self.state.born, self.state.since = pid, birth(pid), time.time()
        self.state.retry_at = None
        waits = self.plan.once or self.plan.probe != "none"
        self.state.phase = "starting" if waits else "running"

    def probe(self) -> None:
        """Set the phase to running once it answers."""
        if self.state.phase == "starting" and not self.plan.once and answers(self.plan.probe, self.plan.target):
            pid = self.state.pid
            if self.plan.probe != "http" or (pid is not None and listens(pid, self.plan.target)):
                self.state.phase = "running"

    def poll_end(self) -> bool:
        """Whether it has ended unexpectedly since the last call; then its restart is scheduled."""
        if self._process is None:
            failed, self._unreported = self._unreported, False
            return failed
        if (status := self._process.poll()) is None:
            return False
        self._forget()
        if self.plan.once and status == 0:
            self.state.phase = "finished"
            return False
        self._ended(_exit_text(status))
        return True

    def seconds_to_restart(self) -> float | None:
        """Seconds until its scheduled restart; None where there is none."""
        return self._retry - time.monotonic() if self.state.phase == "restarting" else None

    def restart(self) -> None:
        """Start it again and count the restart; creates missing subfolders."""
        self.state.restarts += 1
        with contextlib.suppress(OSError):
            Folder(self._home).make()
        self.start()

    def stop(self) -> None:
        """Send SIGTERM; `stopped` does the rest."""
        if self._process is None:
            self.state.phase = self.state.phase if self.state.phase == "finished" else "stopped"
            return
        self._process.terminate()
        self._kill_at = time.monotonic() + self.plan.grace

    def stopped(self) -> bool:
        """Whether it has ended after `stop`; kills its group after the grace."""
        if self._process is None:
            return True
        if self._process.poll() is None:
            if self._kill_at is not None and time.monotonic() > self._kill_at:
                signal_group(self._process.pid, signal.SIGKILL)
            return False
        self._forget()
        self.state.phase = "stopped"
        return True

    def _forget(self) -> None:
        """Kill the rest of the process group after the end of its first process."""
        if self._process is not None:
            signal_group(self._process.pid, signal.SIGKILL)
            self._watchdog.remove(self._process.pid)
        self._process = None
        self.state.pid = self.state.born = self.state.since = None

    def _ended(self, how: str) -> None:
        if time.monotonic() - self._since > HEALTHY_AFTER:
            self._failures = 0
        delay = min(LONGEST_DELAY, FIRST_DELAY * 2.0 ** min(self._failures, 10))
        self._failures += 1
        self.state.last_exit, self.state.last_exit_at = how, time.time()
        self.state.last_lines = tail(self.log, _LINES)
        # `retry_at` is for people; the wall clock may be set, so restarts follow the monotonic clock.
        self._retry = time.monotonic() + delay
        self.state.retry_at = time.time() + delay
        self.state.phase = "restarting"


def _exit_text(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
