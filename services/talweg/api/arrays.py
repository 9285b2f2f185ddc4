"""Arrays as `.npy`: what `numpy.save(…, allow_pickle=False)` writes, sent in slices without a second copy."""

import io
from collections.abc import Iterator
from typing import Any, Final

import numpy as np
from fastapi.responses import StreamingResponse
from numpy.typing import NDArray

from talweg.errors import InvalidSpec

MEDIA_TYPE: Final = "application/x-npy"
# Bytes that one answer may hold; a longer range is asked for in pages.
PAGE: Final = 64_000_000
SLICE: Final = 1_000_000

NPY: Final[dict[int | str, dict[str, Any]]] = {
    200: {
        "content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}},
        "description": "An array.",
    }
}


def page(start: int, stop: int | None, end: int, row_bytes: int) -> tuple[int, int]:
    """The rows of one answer: start … stop of a column with rows 0 … end, each of `row_bytes` bytes.

    Without `stop` it is as many rows as a page holds, so that a client goes on from what it got. A range that
    reaches past `end` is cut there, as slices are.

    Raises:
        InvalidSpec: `start` lies behind `stop`, or the range asked for does not fit into a page.
    """
    longest = max(1, PAGE // max(1, row_bytes))
    if stop is None:
        stop = start + longest
    if stop < start:
        raise InvalidSpec(f"stop: must be at least start = {start}, got {stop}")
    first, last = min(start, end), min(stop, end)
    if last - first > longest:
        raise InvalidSpec(f"stop: one answer holds at most {longest} steps of this, got {last - first}")
    return first, last


def npy(array: NDArray[Any]) -> StreamingResponse:
    """The answer that holds `array`.

    It was read whole and checked before, so that damage is an error and never half a file.
    """
    array = np.ascontiguousarray(array)
    if array.dtype.hasobject:
        raise TypeError(f"arrays of objects are never sent, got dtype {array.dtype}")
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
