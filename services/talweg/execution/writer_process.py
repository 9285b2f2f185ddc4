"""The writer process beside a worker, which encodes and writes what the worker trains; this is the worker's side of it.

Both could be threads of one process, and are where there is no writer process; but then each waits for the other's lock
some thousand times a second. The writer process knows only what it receives: a claim, and segments of it. It dies with
its worker.
"""

import fcntl
import json
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from talweg.errors import from_code
from talweg.execution.segment import Segment, pack
from talweg.store import Asked, Claim, Progress, RunRow

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
                [sys.executable, "-m", "talweg.execution.writer_process_main"],
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
