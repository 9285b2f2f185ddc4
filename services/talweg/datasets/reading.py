"""The parent's side of parsing: starts the child, waits for so long, and believes little of what it says."""

import json
import subprocess
import sys
import tempfile
import threading
from dataclasses import asdict, dataclass
from typing import IO, Any, Final

from talweg.datasets.preparing import Options
from talweg.errors import InvalidSpec, LimitReached, TalwegError, TooLarge, from_code

# One parser at a time: each may take some hundred megabytes.
_ONE: Final = threading.Lock()
_PATIENCE: Final = 60.0


@dataclass(frozen=True)
class Parsed:
    """A dataset ready to be kept; `payload` unpacks to `size` bytes with this digest."""

    digest: str
    kind: str
    shape: dict[str, Any]
    size: int
    payload: bytes


def parse(file: IO[bytes], options: Options, seconds: float) -> Parsed:
    """Read an open file, which must be a real one, in a process of its own.

    Raises:
        InvalidSpec: the file breaks a rule, which the message names.
        TooLarge: it needs more bytes, memory or time than is allowed.
        LimitReached: others are being read; later there will be room.
    """
    if not _ONE.acquire(timeout=_PATIENCE):
        busy = LimitReached("datasets: others are being read; send it again later")
        busy.retry_after = _PATIENCE
        raise busy
    try:
        with tempfile.TemporaryFile() as made:
            answer = _ask(file, options, seconds, made)
            if "code" in answer:
                raise from_code(str(answer["code"]), str(answer["message"]))
            made.seek(0)
            return Parsed(answer["digest"], answer["kind"], answer["shape"], answer["size"], made.read())
    finally:
        _ONE.release()


def _ask(file: IO[bytes], options: Options, seconds: float, made: IO[bytes]) -> dict[str, Any]:
    given = json.dumps(asdict(options) | {"out": made.fileno(), "seconds": seconds})
    file.flush()
    file.seek(0)
    try:
        done = subprocess.run(  # noqa: S603 - this interpreter, without a shell
            [sys.executable, "-m", "talweg.datasets.child", given],
            stdin=file,
            capture_output=True,
            pass_fds=(made.fileno(),),
            timeout=seconds,
            # No secret, no proxy, nothing of the user's: a parser that is taken over finds an empty room.
            env={"PYTHONSAFEPATH": "1", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "ARROW_NUM_THREADS": "1"},
            cwd="/",
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise TooLarge(f"dataset: reading it takes longer than {seconds:g} s") from None
    if done.returncode < 0 or b"MemoryError" in done.stderr or b"bad_alloc" in done.stderr:
        raise TooLarge("dataset: reading it takes more memory or time than is allowed")
    try:
        answer: dict[str, Any] = json.loads(done.stdout)
    except ValueError:
        last = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:200]
        raise TalwegError(f"dataset: the parser failed with status {done.returncode}: {last}") from None
    if answer.get("code") not in (None, InvalidSpec.code, TooLarge.code):
        raise TalwegError("dataset: the parser failed")
    return answer
