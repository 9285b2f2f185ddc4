"""Processes that draw runs' files for the mirror: drawing takes longer than sending all of a run.

`RunFilesProcesses` is the mirror's side; `python -m talweg.tracking.run_files_process` runs such a process.
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
    """Draws files in up to `processes` processes, which start at the first run and end at `close`."""

    def __init__(self, database_url: str, processes: int) -> None:
        """The processes read the store at `database_url`, which they get in their environment."""
        self._environment = {**os.environ, "TALWEG_DATABASE_URL": database_url}
        # The file's content may differ from `database_url`, and settings refuse both.
        self._environment.pop("TALWEG_DATABASE_URL_FILE", None)
        self._threads = ThreadPoolExecutor(processes, thread_name_prefix="drawing")
        self._own = threading.local()
        self._begun: dict[tuple[str, int, str], Future[Files]] = {}
        self._running: list[subprocess.Popen[bytes]] = []

    def begin(self, run: RunRow, title: str) -> "Future[Files]":
        """Queue a run for the next free process; a second call returns the same future, unless it ended Unreachable."""
        key = (run.id, run.step, run.state)
        begun = self._begun.get(key)
        # A future that failed while the database was unreachable must not fail the mirror again after its return.
        if begun is None or (begun.done() and isinstance(begun.exception(), Unreachable)):
            begun = self._begun[key] = self._threads.submit(self._draw, {"run": run.id, "title": title})
        return begun

    def draw(self, kind: str, identity: str) -> Files:
        """The files of a "run" or a "study", named by its id; waits for them, and raises the error of reading it."""
        return self._threads.submit(self._draw, {kind: identity}).result()

    def take(self, run: RunRow) -> Files | None:
        """Wait for the files of a run; None if they were not begun. Raises the error of reading the record."""
        begun = self._begun.pop((run.id, run.step, run.state), None)
        return None if begun is None else begun.result()

    def close(self) -> None:
        """End the processes, after the files that they are drawing. `begin` starts new ones."""
        for begun in self._begun.values():
            begun.cancel()
        wait(self._begun.values())
        self._begun.clear()
        running, self._running = self._running, []
        for process in running:
            _end(process)

    def _draw(self, request: dict[str, str]) -> Files:
        process = self._process()
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(json.dumps(request).encode() + b"\n")
            process.stdin.flush()
            return _answer(process.stdout)
        except (OSError, EOFError) as error:
            # It was killed, or ran out of memory; the next run gets a new process.
            raise TalwegError(f"drawing: process {process.pid} ended without an answer; the mirror retries") from error

    def _process(self) -> "subprocess.Popen[bytes]":
        """The process of this thread; started if there is none."""
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
    answer = json.loads(line)
    if "error" in answer:
        raise from_code(answer["code"], answer["error"])
    files = {}
    for name, size in answer["files"].items():
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
    """Draw the runs that standard input asks for, from the store at TALWEG_DATABASE_URL."""
    # Ctrl-C reaches all processes of a terminal; this one ends when the mirror closes its standard input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    chosen = settings()
    configure(chosen.log_level)
    if chosen.database_url is None:
        raise TalwegError("drawing: TALWEG_DATABASE_URL must be set")
    # Output of a plug-in must not mix with the answers: standard output goes to standard error.
    with os.fdopen(os.dup(1), "wb") as answers, open_store(chosen.database_url.get_secret_value()) as store:
        os.dup2(2, 1)
        serve_drawings(store, sys.stdin.buffer, answers)
    return 0


def serve_drawings(store: Store, requests: BinaryIO, answers: BinaryIO) -> None:
    """Answer each line of `requests`."""
    from talweg.datasets.sources import serve

    startup.loaded()
    serve(store)
    for line in requests:
        try:
            files = _files(store, json.loads(line))
        except TalwegError as error:
            _send(answers, {"error": str(error), "code": error.code})
            continue
        _send(answers, {"files": {name: len(content) for name, content in files.items()}})
        for content in files.values():
            answers.write(content)
        answers.flush()


def _files(store: Store, request: dict[str, str]) -> Files:
    """The files of the study, or of the run; with its note where no title is given."""
    from talweg.comparison.from_store import comparison_of
    from talweg.records import problem_of
    from talweg.spec import parse_run
    from talweg.tracking.descriptions import run_tags
    from talweg.tracking.experiments import experiment_of
    from talweg.tracking.metrics import Thinning
    from talweg.tracking.naming import DESCRIPTION_TAG, NOTE_FILE
    from talweg.tracking.run_files import drawn
    from talweg.tracking.study_files import study_files

    if (study_id := request.get("study")) is not None:
        study = store.study(study_id)
        return study_files(store, study, comparison_of(store, study))
    run = store.run(request["run"])
    if (title := request.get("title")) is not None:
        return drawn(store, run, title)
    experiment = experiment_of(None if run.study_id is None else store.study(run.study_id), "")
    note = run_tags(run, problem_of(parse_run(run.spec)), Thinning())[DESCRIPTION_TAG]
    return {NOTE_FILE: note.encode(), **drawn(store, run, experiment.name(run))}


def _send(answers: BinaryIO, value: dict[str, object]) -> None:
    answers.write(json.dumps(value).encode() + b"\n")
    answers.flush()


if __name__ == "__main__":
    sys.exit(main())
