"""The writer process itself: `python -m talweg.execution.writer_process_main`, started by a worker.

It ends when its input ends. It imports no engine, and leaves signals to its worker, which decides what is still to be
written.
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

import numpy as np
from numpy.typing import NDArray

from talweg.errors import TalwegError
from talweg.execution.segment import unpack
from talweg.execution.segment_store import LocalSegmentStore
from talweg.store import Claim, Store, open_store

Answer = dict[str, Any]


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
