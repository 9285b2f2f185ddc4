"""The writer process beside a worker: it encodes and writes what the worker trains.

`WriterProcess` is the worker's side; `python -m talweg.execution.writer_process` is the process itself, started by a
worker. Both could be threads of one process, and are where there is no writer process; but then each waits for the
other's lock some thousand times a second. It knows only what it receives: a claim, and segments of it. It ends when its
input ends, so it dies with its worker; it imports no engine, and leaves signals to its worker, which decides what is
still to be written.
"""

import json
import os
import signal
import sys
import traceback
from dataclasses import asdict
from typing import IO, Any, NoReturn

from talweg import startup

if __name__ == "__main__":
    startup.begin()

import fcntl
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from talweg.errors import TalwegError, from_code
from talweg.execution.segment import Segment, pack, unpack
from talweg.execution.segment_store import LocalSegmentStore
from talweg.store import Asked, Claim, Progress, RunRow, Store, open_store

Answer = dict[str, Any]

# Bytes that the pipe holds, where it may: of the usual 64 KiB, a segment takes hundreds.
_PIPE = 1 << 20


class WriterProcessLost(Exception):
    """The writer process ended: it was killed, as its worker might have been."""


class WriterProcessFailed(Exception):
    """The writer process met with something that is no word of the laboratory's; carries its traceback."""


class WriterProcess:
    """The worker's side. Serves one claim at a time; a process that ended is followed by another at the next claim."""

    def __init__(self, database_url: str) -> None:
        """Nothing is started yet. The address goes through the pipe: others may see arguments and environments."""
        self._database_url = database_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Of the process that serves now, where one does."""
        return None if self._process is None else self._process.pid

    def __enter__(self) -> Self:
        """The writer process itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close."""
        self.close()

    def start(self) -> None:
        """Start the process, where none serves, without waiting for it."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "talweg.execution.writer_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._process.stdin is not None
            # A system may have no such call, or have given its user as much as it gives.
            with suppress(AttributeError, OSError):
                fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, _PIPE)

    def close(self) -> None:
        """End the process, and wait for that."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            # Where it is gone already, it did not read what was still to be sent.
            with suppress(BrokenPipeError):
                stream.close()
        process.wait()

    def open(
        self, claim: Claim, runs: Sequence[RunRow], *, every: int, numerics: dict[str, Any], lease_seconds: float
    ) -> "RemoteSegmentStore":
        """Begin a claim; arguments as in LocalSegmentStore. Raises what `ask` raises."""
        self.start()
        said = {
            "database_url": self._database_url,
            "cohort": claim.cohort_id,
            "fence": claim.fence,
            "attempts": claim.attempts,
            "runs": [run.id for run in runs],
            "every": every,
            "numerics": numerics,
            "lease_seconds": lease_seconds,
        }
        self.ask("open", said)
        return RemoteSegmentStore(self)

    def ask(self, what: str, said: Mapping[str, Any], body: Sequence[memoryview] = ()) -> Answer:
        """One question, one answer.

        Raises the TalwegError that the writer process met with; WriterProcessLost, WriterProcessFailed.
        """
        process, answer = self._process, None
        assert process is not None
        try:
            answer = _exchange(process, {"do": what, "said": said, "bytes": sum(map(len, body))}, body)
        except (BrokenPipeError, EOFError) as error:
            raise WriterProcessLost(f"writer process: process {process.pid} must answer, but ended") from error
        finally:
            if answer is None:
                # Whatever came between: a question without its answer would get the next one's.
                process.kill()
        if "code" in answer:
            raise from_code(answer["code"], answer["error"])
        if "failed" in answer:
            raise WriterProcessFailed(f"writer process: must write what it is given, got\n{answer['failed']}")
        return answer


class RemoteSegmentStore:
    """A claim's segments, written by the writer process."""

    def __init__(self, writer_process: WriterProcess) -> None:
        """Of the claim that the writer process has begun last."""
        self._writer_process = writer_process

    def take(self, segment: Segment) -> None:
        """As in SegmentStore."""
        self._writer_process.ask("take", *pack(segment))

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """As in SegmentStore."""
        ended = self._writer_process.ask("commit", {"again": again})["ended"]
        return {run_id: Progress(**progress) for run_id, progress in ended.items()}

    def asked(self) -> Asked:
        """As in SegmentStore."""
        asked = self._writer_process.ask("asked", {})
        return Asked(frozenset(asked["cancelled"]), asked["pause"])


def _exchange(process: "subprocess.Popen[bytes]", question: dict[str, Any], body: Sequence[memoryview]) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(question).encode() + b"\n")
    for piece in body:
        process.stdin.write(piece)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: Answer = json.loads(line)
    return answer


class WriterService:
    """Answers one question after another."""

    def __init__(self) -> None:
        """The store is opened at the first claim, so that one that is away is waited for there."""
        self._store: Store | None = None
        self._segments: LocalSegmentStore | None = None

    def answer(self, what: str, said: dict[str, Any], body: NDArray[np.uint8]) -> Answer:
        """Raises what the store raises."""
        if what == "open":
            self._segments = self._begun(**said)
            return {}
        assert self._segments is not None
        if what == "take":
            self._segments.take(unpack(said, body))
            return {}
        if what == "commit":
            ended = self._segments.commit(again=said["again"])
            return {"ended": {run_id: asdict(progress) for run_id, progress in ended.items()}}
        asked = self._segments.asked()
        return {"cancelled": sorted(asked.cancelled), "pause": asked.pause}

    def _begun(
        self, database_url: str, cohort: str, fence: int, attempts: int, runs: list[str], **said: Any
    ) -> LocalSegmentStore:
        self._store = self._store or open_store(database_url)
        # As they were claimed: nobody else moves them, and if someone did, the fence refuses what follows.
        claim = Claim(cohort, fence, self._store.runs_in(cohort), attempts)
        by_id = {run.id: run for run in claim.runs}
        return LocalSegmentStore(self._store, claim, [by_id[run_id] for run_id in runs], **said)


def main() -> NoReturn:
    """Serve until nobody asks any more."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    service = WriterService()
    startup.loaded()
    questions, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := questions.readline():
        asked = json.loads(line)
        body = _read(questions, asked["bytes"])
        if body is None:
            break
        try:
            answer = service.answer(asked["do"], asked["said"], body)
        except TalwegError as error:
            answer = {"code": error.code, "error": str(error)}
        except Exception:  # noqa: BLE001
            # Whatever it is, the worker writes it to the cohort.
            answer = {"failed": traceback.format_exc()}
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:
            # The worker was killed; what is committed is.
            break
    # Not by way of the interpreter's end, which would flush to nobody.
    os._exit(0)


def _read(stream: IO[bytes], size: int) -> NDArray[np.uint8] | None:
    """So many bytes; None where they end before."""
    body, at = np.empty(size, np.uint8), 0
    while at < size:
        read = stream.readinto(body[at:].data)  # type: ignore[attr-defined]  # a BufferedReader
        if not read:
            return None
        at += read
    return body


if __name__ == "__main__":
    main()
