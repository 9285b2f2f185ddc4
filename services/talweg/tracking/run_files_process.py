"""Processes that make runs' files beside the mirror: drawing takes longer than all that is sent."""

import json
import os
import subprocess
import sys
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import IO

from talweg.errors import TalwegError, Unreachable, from_code
from talweg.store import RunRow

Files = dict[str, bytes]


class RunFilesProcesses:
    """Makes them in `processes` of their own, which are started at the first run and ended when nothing waits."""

    def __init__(self, database_url: str, processes: int) -> None:
        """The processes read the store at `database_url`, which goes to them in their environment."""
        self._environment = {**os.environ, "TALWEG_DATABASE_URL": database_url}
        # Where it was read from; two that differ would leave it open which one counts.
        self._environment.pop("TALWEG_DATABASE_URL_FILE", None)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="drawing")
        self._own = threading.local()
        self._begun: dict[tuple[str, int, str], Future[Files]] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self, run: RunRow, title: str) -> "Future[Files]":
        """Goes to the next process that is free; asking again gives what was begun, if the database was there."""
        key = (run.id, run.step, run.state)
        begun = self._begun.get(key)
        # Each that failed with the database would hold up the mirror once more, long after it came back.
        if begun is None or (begun.done() and isinstance(begun.exception(), Unreachable)):
            begun = self._begun[key] = self._threads.submit(self._draw, run.id, title)
        return begun

    def take(self, run: RunRow) -> Files | None:
        """What was begun, once it is made; None where nothing was. Raises what reading the record raised."""
        begun = self._begun.pop((run.id, run.step, run.state), None)
        return None if begun is None else begun.result()

    def rest(self) -> None:
        """End the processes, once they have made what they are at."""
        for begun in self._begun.values():
            begun.cancel()
        wait(self._begun.values())
        self._begun.clear()
        running, self._running = self._running, []
        for process in running:
            _end(process)

    def _draw(self, run_id: str, title: str) -> Files:
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps({"run": run_id, "title": title}).encode() + b"\n")
            process.stdin.flush()
            return _answer(process.stdout)
        except (OSError, EOFError) as error:
            # It was killed, or ran out of memory; the next run gets another one.
            raise TalwegError(f"drawing: process {process.pid} must answer, but ended") from error

    def _process(self) -> "subprocess.Popen[bytes]":
        """This thread's own."""
        process: subprocess.Popen[bytes] | None = getattr(self._own, "process", None)
        if process is None or process.poll() is not None or process.stdin is None or process.stdin.closed:
            process = subprocess.Popen(
                [sys.executable, "-m", "talweg.tracking.run_files_main"],
                env=self._environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            self._own.process = process
            self._running.append(process)
        return process


def _answer(stream: IO[bytes]) -> Files:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    said = json.loads(line)
    if "error" in said:
        raise from_code(said["code"], said["error"])
    files = {}
    for name, size in said["files"].items():
        files[name] = stream.read(size)
        if len(files[name]) != size:
            raise EOFError
    return files


def _end(process: "subprocess.Popen[bytes]") -> None:
    for stream in (process.stdin, process.stdout):
        if stream is not None:
            stream.close()
    process.wait()
