"""Bodies: JSON objects and uploads of requests, arrays in answers as `.npy`."""

import io
import json
import math
import tempfile
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import IO, Annotated, Any, Final

import numpy as np
from anyio.to_thread import run_sync
from fastapi import Depends, Request
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from talweg.errors import InvalidSpec, LimitReached

MAXIMUM_DEPTH: Final = 32
# Keys and values together; the longest part of a spec is a starting point.
MAXIMUM_VALUES: Final = 250_000
LARGEST_INTEGER: Final = 2**63
# At once; each takes up to `upload_bytes` of disk.
MAXIMUM_UPLOADS: Final = 4
_uploads: Final = threading.BoundedSemaphore(MAXIMUM_UPLOADS)
MEDIA_TYPE: Final = "application/x-npy"
# Maximum bytes of one answer; a longer range is read in pages.
PAGE: Final = 64_000_000
SLICE: Final = 1_000_000

NPY: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "description": "An array.",
    }
}


async def _json_object(request: Request) -> dict[str, Any]:
    body = await request.body()
    try:
        value = json.loads(body) if body else {}
    except RecursionError:
        raise InvalidSpec(f"body: must not be nested more than {MAXIMUM_DEPTH} deep") from None
    except ValueError as error:
        raise InvalidSpec(f"body: must be JSON: {error}") from None
    if not isinstance(value, dict):
        raise InvalidSpec(f"body: must be a JSON object, got {type(value).__name__}")
    if (count := _count(value)) > MAXIMUM_VALUES:
        raise InvalidSpec(f"body: must have at most {MAXIMUM_VALUES} keys and values, got {count}")
    check(value)
    return value


def _count(value: object) -> int:
    """Keys and values at every depth; without recursion, since the depth is not checked yet."""
    found, left = 0, [value]
    while left:
        one = left.pop()
        found += 1
        if isinstance(one, dict):
            found += len(one)
            left += one.values()
        elif isinstance(one, list):
            left += one
    return found


JsonBody = Annotated[dict[str, Any], Depends(_json_object)]


def check(value: object, where: str = "", depth: int = 0) -> None:
    """Refuse JSON values that the laboratory cannot store.

    Raises:
        InvalidSpec: NaN or infinite numbers (Python's parser takes `NaN`, and 1e400 overflows), integers past
            64 bits, text that no database stores (NUL, lone surrogates), or too deep nesting; names the key.
    """
    name = where or "body"
    if depth > MAXIMUM_DEPTH:
        raise InvalidSpec(f"{name}: must not be nested more than {MAXIMUM_DEPTH} deep")
    if isinstance(value, dict):
        for key, inner in value.items():
            check(key, f"a key of {name}", depth)
            check(inner, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            check(inner, f"{where}[{position}]", depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise InvalidSpec(f"{name}: must be finite, got {value}")
    elif isinstance(value, int) and not -LARGEST_INTEGER <= value < LARGEST_INTEGER:
        raise InvalidSpec(f"{name}: must fit into 64 bits, got an integer of {value.bit_length()} bits")
    elif isinstance(value, str) and ("\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value)):
        raise InvalidSpec(f"{name}: must be text without NUL and lone surrogates, got {value[:80]!r}")


@asynccontextmanager
async def spooled(request: Request) -> AsyncIterator[IO[bytes]]:
    """The request's body in an unnamed temporary file, which is deleted at the end.

    Raises:
        LimitReached: MAXIMUM_UPLOADS are being received already.
    """
    if not _uploads.acquire(blocking=False):
        busy = LimitReached(f"datasets: at most {MAXIMUM_UPLOADS} uploads at once, got one more; send it again later")
        busy.retry_after = 10.0
        raise busy
    try:
        # The file has no name: the kernel deletes it when the process ends.
        with tempfile.TemporaryFile() as file:
            async for piece in request.stream():
                await run_sync(file.write, piece)
            yield file
    finally:
        _uploads.release()


def page(start: int, stop: int | None, end: int, row_bytes: int) -> tuple[int, int]:
    """The first and last row of one answer: start … stop of a column with rows 0 … end, each of `row_bytes` bytes.

    Without `stop`: as many rows as fit into PAGE bytes; the client continues after them. A range that reaches past
    `end` ends there, as a slice does.

    Raises:
        InvalidSpec: `stop` is less than `start`, or the range does not fit into a page.
    """
    longest = max(1, PAGE // max(1, row_bytes))
    if stop is None:
        stop = start + longest
    if stop < start:
        raise InvalidSpec(f"stop: must be at least start = {start}, got {stop}")
    first, last = min(start, end), min(stop, end)
    if last - first > longest:
        raise InvalidSpec(f"stop: must ask for at most {longest} steps in one answer, got {last - first}")
    return first, last


def npy(array: NDArray[Any]) -> StreamingResponse:
    """An answer that streams `array`.

    The caller has read and checked all of it, so that damage is an error and never half a file.
    """
    array = np.ascontiguousarray(array)
    if array.dtype.hasobject:
        raise TypeError(f"array: must not hold objects, got dtype {array.dtype}")
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, np.lib.format.header_data_from_array_1_0(array))
    return StreamingResponse(
        _slices(header.getvalue(), array),
        media_type=MEDIA_TYPE,
        headers={"Content-Length": str(len(header.getvalue()) + array.nbytes)},
    )


def _slices(header: bytes, array: NDArray[Any]) -> Iterator[bytes]:
    yield header
    data = array.reshape(-1).view(np.uint8)
    for start in range(0, len(data), SLICE):
        yield data[start : start + SLICE].tobytes()
