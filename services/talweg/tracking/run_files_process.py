"""Processes that make runs' files beside the mirror: drawing takes longer than all that is sent.

`RunFilesProcesses` is the mirror's side; `python -m talweg.tracking.run_files_process` is such a process.
"""

import json
import os
import signal
import sys
from typing import BinaryIO

from talweg import startup

if __name__ == "__main__":
    startup.begin()

import subprocess
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from typing import IO

from talweg.errors import TalwegError, Unreachable, from_code
from talweg.logs import configure
from talweg.settings import settings
from talweg.store import RunRow, Store, open_store

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
                [sys.executable, "-m", "talweg.tracking.run_files_process"],
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


def main() -> int:
    """Draw what is asked for, from the store at TALWEG_DATABASE_URL."""
    # Ctrl-C goes to all processes of a terminal; this one ends with the mirror.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chosen = settings()
    configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError("drawing: TALWEG_DATABASE_URL must be set")
    # What a plug-in prints must not stand among the answers.
    with os.fdopen(os.dup(1), "wb") as answered, open_store(chosen.database_url.get_secret_value()) as store:
        os.dup2(2, 1)
        serve_drawings(store, sys.stdin.buffer, answered)
    return 0


def serve_drawings(store: Store, asked: BinaryIO, answered: BinaryIO) -> None:
    """Answer each line of `asked`."""
    from talweg.datasets.sources import serve
    from talweg.tracking.run_files import drawn

    startup.loaded()
    serve(store)
    for line in asked:
        question = json.loads(line)
        try:
            files = drawn(store, store.run(question["run"]), question["title"])
        except TalwegError as error:
            _say(answered, {"error": str(error), "code": error.code})
            continue
        _say(answered, {"files": {name: len(content) for name, content in files.items()}})
        for content in files.values():
            answered.write(content)
        answered.flush()


def _say(answered: BinaryIO, value: dict[str, object]) -> None:
    answered.write(json.dumps(value).encode() + b"\n")
    answered.flush()


if __name__ == "__main__":
    sys.exit(main())
