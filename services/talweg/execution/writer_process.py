"""The writer process: encodes and writes the segments of one worker.

`WriterProcess` is the worker's side; `python -m talweg.execution.writer_process` is the process itself, started by a
worker. Without it, both are threads of one process, which wait for each other's interpreter lock some thousand times a
second. It receives a claim and its segments. It ends when its input ends, and so with its worker; it does not import
the engine, and ignores signals, since its worker decides what is still to be written.
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
from talweg.store import Claim, Progress, Requests, RunRow, Store, open_store

Answer = dict[str, Any]

# Bytes of the pipe's buffer, where the system allows it: a segment would fill the usual 64 KiB hundreds of times.
_PIPE = 1 << 20


class WriterProcessLost(Exception):
    """The writer process ended, for example because it was killed."""


class WriterProcessFailed(Exception):
    """An error in the writer process that is no TalwegError; the message holds its traceback."""


class WriterProcess:
    """The worker's side. Serves one claim at a time; a process that ended is replaced at the next claim."""

    def __init__(self, database_url: str) -> None:
        """Start nothing yet. The URL is sent through the pipe: other users may see arguments and environments."""
        self._database_url = database_url
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The id of the running process, if there is one."""
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
        """Start the process, if none runs, without waiting for it."""
        if self._process is not None and self._process.poll() is not None:
            self.close()
        if self._process is None:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "talweg.execution.writer_process"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            )
            assert self._process.stdin is not None
            # The system may not have this call, or the user may have reached the limit for pipes.
            with suppress(AttributeError, OSError):
                fcntl.fcntl(self._process.stdin, fcntl.F_SETPIPE_SZ, _PIPE)

    def close(self) -> None:
        """End the process, and wait for its end."""
        process, self._process = self._process, None
        if process is None:
            return
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            # A process that has ended did not read what is still buffered.
            with suppress(BrokenPipeError):
                stream.close()
        process.wait()

    def open(
        self, claim: Claim, runs: Sequence[RunRow], *, every: int, numerics: dict[str, Any], lease_seconds: float
    ) -> "RemoteSegmentStore":
        """Open a claim; arguments as in LocalSegmentStore. Raises as `request` does."""
        self.start()
        arguments = {
            "database_url": self._database_url,
            "cohort": claim.cohort_id,
            "fence": claim.fence,
            "attempts": claim.attempts,
            "runs": [run.id for run in runs],
            "every": every,
            "numerics": numerics,
            "lease_seconds": lease_seconds,
        }
        self.request("open", arguments)
        return RemoteSegmentStore(self)

    def request(self, action: str, arguments: Mapping[str, Any], body: Sequence[memoryview] = ()) -> Answer:
        """Send one request and return its answer.

        Raises the TalwegError that the writer process raised; WriterProcessLost, WriterProcessFailed.
        """
        process, answer = self._process, None
        assert process is not None
        try:
            answer = _exchange(process, {"action": action, "arguments": arguments, "bytes": sum(map(len, body))}, body)
        except (BrokenPipeError, EOFError) as error:
            raise WriterProcessLost(f"writer process: process {process.pid} ended before it answered") from error
        finally:
            if answer is None:
                # After any interruption: the next request would read this one's answer.
                process.kill()
        if "code" in answer:
            raise from_code(answer["code"], answer["error"])
        if "failed" in answer:
            raise WriterProcessFailed(f"writer process: a request failed:\n{answer['failed']}")
        return answer


class RemoteSegmentStore:
    """A claim's segments, written by the writer process."""

    def __init__(self, writer_process: WriterProcess) -> None:
        """For the claim that the writer process has opened last."""
        self._writer_process = writer_process

    def take(self, segment: Segment) -> None:
        """As in SegmentStore."""
        self._writer_process.request("take", *pack(segment))

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """As in SegmentStore."""
        ended = self._writer_process.request("commit", {"again": again})["ended"]
        return {run_id: Progress(**progress) for run_id, progress in ended.items()}

    def requests(self) -> Requests:
        """As in SegmentStore."""
        requests = self._writer_process.request("requests", {})
        return Requests(frozenset(requests["cancelled"]), requests["pause"])


def _exchange(process: "subprocess.Popen[bytes]", request: dict[str, Any], body: Sequence[memoryview]) -> Answer:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(json.dumps(request).encode() + b"\n")
    for piece in body:
        process.stdin.write(piece)
    process.stdin.flush()
    line = process.stdout.readline()
    if not line.endswith(b"\n"):
        raise EOFError
    answer: Answer = json.loads(line)
    return answer


class WriterService:
    """Answers one request after another."""

    def __init__(self) -> None:
        """Open no store yet: it is opened with the first claim, where an unreachable one is retried."""
        self._store: Store | None = None
        self._segments: LocalSegmentStore | None = None

    def answer(self, action: str, arguments: dict[str, Any], body: NDArray[np.uint8]) -> Answer:
        """The answer to a request; raises what the store raises."""
        if action == "open":
            self._segments = self._open(**arguments)
            return {}
        assert self._segments is not None
        if action == "take":
            self._segments.take(unpack(arguments, body))
            return {}
        if action == "commit":
            ended = self._segments.commit(again=arguments["again"])
            return {"ended": {run_id: asdict(progress) for run_id, progress in ended.items()}}
        requests = self._segments.requests()
        return {"cancelled": sorted(requests.cancelled), "pause": requests.pause}

    def _open(
        self, database_url: str, cohort: str, fence: int, attempts: int, runs: list[str], **options: Any
    ) -> LocalSegmentStore:
        self._store = self._store or open_store(database_url)
        # As they were claimed: no other worker trains them, and if one does, the fence refuses this one's commits.
        claim = Claim(cohort, fence, self._store.runs_in(cohort), attempts)
        by_id = {run.id: run for run in claim.runs}
        return LocalSegmentStore(self._store, claim, [by_id[run_id] for run_id in runs], **options)


def main() -> NoReturn:
    """Answer requests until the input ends."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    service = WriterService()
    startup.loaded()
    requests, answers = sys.stdin.buffer, sys.stdout.buffer
    while line := requests.readline():
        request = json.loads(line)
        body = _read(requests, request["bytes"])
        if body is None:
            break
        try:
            answer = service.answer(request["action"], request["arguments"], body)
        except TalwegError as error:
            answer = {"code": error.code, "error": str(error)}
        except Exception:  # noqa: BLE001
            # The worker writes the traceback to the cohort.
            answer = {"failed": traceback.format_exc()}
        try:
            answers.write(json.dumps(answer).encode() + b"\n")
            answers.flush()
        except BrokenPipeError:
            # The worker was killed.
            break
    # Without the interpreter's shutdown, which would flush to a closed pipe.
    os._exit(0)


def _read(stream: IO[bytes], size: int) -> NDArray[np.uint8] | None:
    """Read `size` bytes; None where the stream ends before."""
    body, at = np.empty(size, np.uint8), 0
    while at < size:
        read = stream.readinto(body[at:].data)  # type: ignore[attr-defined]  # a BufferedReader
        if not read:
            return None
        at += read
    return body


if __name__ == "__main__":
    main()
