"""A process beside a worker that encodes and writes what the worker trains: one interpreter does not hold up the other.

Both could be threads of one process, and are where there is no scribe; but then each waits for the other's lock some
thousand times a second. The scribe knows only what it is told: a claim, and segments of it. It dies with its worker.
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
from talweg.execution.parcel import pack
from talweg.execution.segment import Segment
from talweg.store import Asked, Claim, Progress, RunRow

Answer = dict[str, Any]

# Bytes that the pipe holds, where it may: of the usual 64 KiB, a segment takes hundreds.
_PIPE = 1 << 20


class ScribeLost(Exception):
    """The scribe ended: it was killed, as its worker might have been."""


class ScribeFailed(Exception):
    """The scribe met with something that is no word of the laboratory's; carries its traceback."""


class Scribe:
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
        """The scribe itself."""
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
                [sys.executable, "-m", "talweg.execution.scribing"],
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
    ) -> "RemoteLedger":
        """Begin a claim; arguments as in StoreLedger. Raises what `ask` raises."""
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
        return RemoteLedger(self)

    def ask(self, what: str, said: Mapping[str, Any], body: Sequence[memoryview] = ()) -> Answer:
        """One question, one answer. Raises the TalwegError that the scribe met with; ScribeLost and ScribeFailed."""
        process, answer = self._process, None
        assert process is not None
        try:
            answer = _exchange(process, {"do": what, "said": said, "bytes": sum(map(len, body))}, body)
        except (BrokenPipeError, EOFError) as error:
            raise ScribeLost(f"scribe: process {process.pid} must answer, but ended") from error
        finally:
            if answer is None:
                # Whatever came between: a question without its answer would get the next one's.
                process.kill()
        if "code" in answer:
            raise from_code(answer["code"], answer["error"])
        if "failed" in answer:
            raise ScribeFailed(f"scribe: must write what it is given, got\n{answer['failed']}")
        return answer


class RemoteLedger:
    """A claim's ledger, kept by a scribe."""

    def __init__(self, scribe: Scribe) -> None:
        """Of the claim that the scribe has begun last."""
        self._scribe = scribe

    def take(self, segment: Segment) -> None:
        """As in Ledger."""
        self._scribe.ask("take", *pack(segment))

    def commit(self, *, again: bool) -> Mapping[str, Progress]:
        """As in Ledger."""
        ended = self._scribe.ask("commit", {"again": again})["ended"]
        return {run_id: Progress(**progress) for run_id, progress in ended.items()}

    def asked(self) -> Asked:
        """As in Ledger."""
        asked = self._scribe.ask("asked", {})
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
