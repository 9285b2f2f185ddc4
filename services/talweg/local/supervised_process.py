"""One supervised process: start, see it end, start again, stop. Nothing here waits."""

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
# A child that has lived this long has recovered: its next end counts as a first one.
HEALTHY_AFTER = 60.0
_LINES = 12


class Child:
    """A process of the stack; `state` is what others are told of it."""

    def __init__(self, plan: ChildPlan, env: dict[str, str], home: Path, watchdog: Watchdog) -> None:
        """Nothing is started yet."""
        self.plan = plan
        self.state = ChildState(plan.name, url=plan.url)
        self.log = home / "logs" / f"{plan.name}.log"
        self._env = {key: value for key, value in env.items() if key not in plan.without} | plan.env
        self._home = home
        self._watchdog = watchdog
        self._process: subprocess.Popen[bytes] | None = None
        self._failures = 0
        self._unseen = False
        self._since = 0.0
        self._retry = 0.0
        self._kill_at: float | None = None

    @property
    def done(self) -> bool:
        """Whether those that come after this one may start."""
        return self.state.phase == ("finished" if self.plan.once else "running")

    @property
    def living(self) -> bool:
        """Whether there is a process."""
        return self._process is not None

    def start(self) -> None:
        """Start the process in a session, hence a process group, of its own, with its output in its log."""
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
                self._unseen = True
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
        """Note that it is ready, if it answers by now."""
        if self.state.phase == "starting" and not self.plan.once and answers(self.plan.probe, self.plan.target):
            pid = self.state.pid
            if self.plan.probe != "http" or (pid is not None and listens(pid, self.plan.target)):
                self.state.phase = "running"

    def look(self) -> bool:
        """Whether it has ended unasked since the last look; then a time to start it again is set."""
        if self._process is None:
            failed, self._unseen = self._unseen, False
            return failed
        if (status := self._process.poll()) is None:
            return False
        self._forget()
        if self.plan.once and status == 0:
            self.state.phase = "finished"
            return False
        self._ended(_how(status))
        return True

    def rest(self) -> float | None:
        """Seconds until it is to be started again; None where it is not."""
        return self._retry - time.monotonic() if self.state.phase == "restarting" else None

    def restart(self) -> None:
        """Start it again, and count that; folders that someone removed meanwhile are made anew."""
        self.state.restarts += 1
        with contextlib.suppress(OSError):
            Folder(self._home).make()
        self.start()

    def stop(self) -> None:
        """Ask it to end; `stopped` sees to the rest."""
        if self._process is None:
            self.state.phase = self.state.phase if self.state.phase == "finished" else "stopped"
            return
        self._process.terminate()
        self._kill_at = time.monotonic() + self.plan.grace

    def stopped(self) -> bool:
        """Whether it has ended after `stop`; kills its group when its time is up."""
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
        """The first process has ended: nothing of its group may outlive it."""
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
        # People read the clock; the clock may be set, so it decides nothing.
        self._retry = time.monotonic() + delay
        self.state.retry_at = time.time() + delay
        self.state.phase = "restarting"


def _how(status: int) -> str:
    if status >= 0:
        return f"exit status {status}"
    try:
        return f"signal {-status} ({signal.Signals(-status).name})"
    except ValueError:
        return f"signal {-status}"
