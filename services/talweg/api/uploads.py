"""A body on its way to a file: as it comes, bounded in size, in time, and in how many there are at once."""

import tempfile
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import IO, Final

import anyio
from anyio.to_thread import run_sync
from fastapi import Request
from starlette.exceptions import HTTPException

from talweg.errors import LimitReached

# Each takes as much disk as an upload may have.
AT_ONCE: Final = 4
_places: Final = threading.BoundedSemaphore(AT_ONCE)


@asynccontextmanager
async def spooled(request: Request, seconds: float) -> AsyncIterator[IO[bytes]]:
    """The request's body in a file that nobody else sees, and that is gone afterwards, whatever happens.

    Raises:
        LimitReached: as many come in already as may.
        HTTPException: 408 after so many seconds. How large a body may be, the guard sees to.
    """
    if not _places.acquire(blocking=False):
        busy = LimitReached(f"datasets: {AT_ONCE} are coming in already; send it again later")
        busy.retry_after = 10.0
        raise busy
    try:
        # It has no name: the kernel takes it away with the process.
        with tempfile.TemporaryFile() as file:
            try:
                with anyio.fail_after(seconds):
                    async for piece in request.stream():
                        await run_sync(file.write, piece)
            except TimeoutError:
                raise HTTPException(408, f"body: must come within {seconds:g} s") from None
            yield file
    finally:
        _places.release()
